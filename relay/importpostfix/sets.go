package importpostfix

import (
	"slices"
	"strings"
)

// everyone is the pattern of every address.
const everyone = "*"

// covers tells whether every address of pattern b is one of pattern a. Patterns
// are *, *@domain, *@*.domain and local@domain, in lower case; of two of them one
// covers the other, or they have no address in common.
func covers(a, b string) bool {
	if a == everyone || a == b {
		return true
	}
	localA, domainA, okA := cutAt(a)
	_, domainB, okB := cutAt(b)
	if !okA || !okB || localA != "*" {
		return false
	}
	if suffix, ok := strings.CutPrefix(domainA, "*"); ok {
		return strings.HasSuffix(strings.TrimPrefix(domainB, "*"), suffix) && domainB != suffix[1:]
	}
	return domainA == domainB
}

func cutAt(s string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// both gives the addresses that two lists of patterns have in common.
func both(a, b []string) []string {
	var out []string
	for _, x := range a {
		for _, y := range b {
			switch {
			case covers(x, y):
				out = append(out, y)
			case covers(y, x):
				out = append(out, x)
			}
		}
	}
	return tidy(out)
}

// tidy removes what another pattern of the list covers, and sorts.
func tidy(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(slices.Clone(list), func(p string) bool {
		return slices.ContainsFunc(list, func(q string) bool { return p != q && covers(q, p) })
	})
}

// part is a set of recipients that a list of restrictions lets through: those of
// include without those of exclude, and on what terms.
type part struct {
	include, exclude []string
	tls, hold        bool
}

func (p part) only(patterns []string) part {
	p.include = both(p.include, patterns)
	return p
}

func (p part) without(patterns []string) part {
	p.exclude = append(slices.Clone(p.exclude), patterns...)
	p.include = slices.DeleteFunc(slices.Clone(p.include), func(i string) bool {
		return slices.ContainsFunc(p.exclude, func(e string) bool { return covers(e, i) })
	})
	return p
}

// intersect gives what both of two lists let through.
func intersect(a, b []part) []part {
	var out []part
	for _, x := range a {
		for _, y := range b {
			p := part{include: both(x.include, y.include), tls: x.tls || y.tls, hold: x.hold || y.hold}
			if p = p.without(append(slices.Clone(x.exclude), y.exclude...)); len(p.include) > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

// patterns gives the recipients as a list, which has no exceptions: lost are those
// patterns that would let through what the restrictions do not.
func patterns(parts []part) (list, lost []string) {
	var all []string
	for _, p := range parts {
		all = append(all, p.include...)
	}
	for _, p := range parts {
		for _, i := range p.include {
			bad := slices.ContainsFunc(p.exclude, func(e string) bool {
				return covers(i, e) && !slices.ContainsFunc(all, func(a string) bool { return a != i && covers(a, e) })
			})
			if bad {
				lost = append(lost, i)
			} else {
				list = append(list, i)
			}
		}
	}
	return tidy(list), tidy(lost)
}
