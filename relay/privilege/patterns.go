package privilege

import (
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// pattern is an envelope.Pattern in two halves: "*@*.corp.example" is {"*",
// "*.corp.example"}.
type pattern struct{ local, domain string }

// patterns is a set of addresses: the union of its members.
type patterns []pattern

var everything = pattern{"*", "*"}

func parseOne(s string) pattern {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return everything
	}
	return pattern{s[:i], s[i+1:]}
}

// parse takes no pattern at all for every address, as policies and routes do.
func parse(ps []envelope.Pattern) patterns {
	if len(ps) == 0 {
		return patterns{everything}
	}
	out := make(patterns, len(ps))
	for i, p := range ps {
		out[i] = parseOne(p.String())
	}
	return out
}

func addresses(as []envelope.Address) patterns {
	var out patterns
	for _, a := range as {
		out = append(out, parseOne(a.Key()))
	}
	return out
}

func (p pattern) String() string {
	if p == everything {
		return "*"
	}
	return p.local + "@" + p.domain
}

func (ps patterns) strings() []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return out
}

func (ps patterns) any() bool { return slices.Contains(ps, everything) }

// cut keeps what is in both sets, or a little more.
func (ps patterns) cut(by patterns) patterns {
	var out patterns
	for _, a := range ps {
		for _, b := range by {
			if p, ok := both(a, b); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

// compact drops what another member covers, and sorts.
func (ps patterns) compact() patterns {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b pattern) int {
		return strings.Compare(a.domain+"@"+a.local, b.domain+"@"+b.local)
	})
	ps = slices.Compact(ps)
	var out patterns
	for i, p := range ps {
		covered := false
		for j, q := range ps {
			covered = covered || i != j && covers(q, p) && (j < i || !covers(p, q))
		}
		if !covered {
			out = append(out, p)
		}
	}
	return out
}

// both is the intersection of two patterns; of two locals that each have a star
// inside it is the first, which is more than the intersection.
func both(a, b pattern) (pattern, bool) {
	var out pattern
	switch {
	case domainCovers(a.domain, b.domain):
		out.domain = b.domain
	case domainCovers(b.domain, a.domain):
		out.domain = a.domain
	default:
		return out, false
	}
	switch {
	case localCovers(a.local, b.local):
		out.local = b.local
	case localCovers(b.local, a.local), strings.Contains(a.local, "*") && strings.Contains(b.local, "*"):
		out.local = a.local
	default:
		return out, false
	}
	return out, true
}

// covers tells whether every address of b is one of a.
func covers(a, b pattern) bool {
	return domainCovers(a.domain, b.domain) && localCovers(a.local, b.local)
}

func domainCovers(a, b string) bool {
	if a == "*" || a == b {
		return true
	}
	suffix, ok := strings.CutPrefix(a, "*.")
	return ok && strings.HasSuffix(b, "."+suffix)
}

// localCovers knows one star on each side, and no difference of case, as policies.
func localCovers(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	pre, post, star := strings.Cut(a, "*")
	if !star {
		return a == b
	}
	return len(b) >= len(pre)+len(post) && strings.HasPrefix(b, pre) && strings.HasSuffix(b, post)
}
