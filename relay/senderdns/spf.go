package senderdns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// spfRecord is one SPF record, parsed (RFC 7208 4.6.1).
type spfRecord struct {
	terms []spfTerm
}

// spfTerm is one mechanism or modifier.
type spfTerm struct {
	text      string // as it stands there
	qualifier byte   // of a mechanism: + - ~ ?
	name      string // in lower case: include, ip4, redirect
	value     string // what stands behind : or =, without the prefix lengths of a and mx
	modifier  bool
	net       netip.Prefix // of ip4 and ip6
	bits      [2]int       // of a and mx: prefix lengths for IPv4 and IPv6
}

// isSPF tells whether a TXT value is an SPF record (RFC 7208 4.5).
func isSPF(txt string) bool {
	const version = "v=spf1"
	return len(txt) >= len(version) && strings.EqualFold(txt[:len(version)], version) && (len(txt) == len(version) || txt[len(version)] == ' ')
}

// parseSPF reads a record. The error names the term that is none; those that
// are right are there all the same.
func parseSPF(txt string) (spfRecord, error) {
	var r spfRecord
	var bad error
	for _, word := range strings.Fields(txt)[1:] {
		t, err := parseTerm(word)
		if err != nil {
			if bad == nil {
				bad = fmt.Errorf("%q %w", word, err)
			}
			continue
		}
		r.terms = append(r.terms, t)
	}
	return r, bad
}

var mechanisms = []string{"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"}

func parseTerm(word string) (spfTerm, error) {
	t := spfTerm{text: word, qualifier: '+', bits: [2]int{32, 128}}
	rest := word
	if at := strings.IndexAny(rest, ":=/"); at > 0 && rest[at] == '=' {
		t.modifier, t.name, t.value = true, strings.ToLower(rest[:at]), rest[at+1:]
		if !isModifierName(t.name) {
			return t, errors.New("is no name of a modifier")
		}
		if t.name == "redirect" && t.value == "" {
			return t, errors.New("names no domain")
		}
		return t, nil
	}
	if strings.ContainsRune("+-~?", rune(rest[0])) {
		t.qualifier, rest = rest[0], rest[1:]
	}
	at := strings.IndexAny(rest, ":/")
	if at < 0 {
		at = len(rest)
	}
	t.name = strings.ToLower(rest[:at])
	rest = rest[at:]
	if !slices.Contains(mechanisms, t.name) {
		return t, errors.New("is no mechanism of SPF")
	}
	return t, t.argument(rest)
}

func isModifierName(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// argument reads what stands behind a mechanism's name: ":domain", "/24//64".
func (t *spfTerm) argument(rest string) error {
	switch t.name {
	case "all":
		if rest != "" {
			return errors.New("takes nothing behind it")
		}
	case "ip4", "ip6":
		return t.network(rest)
	case "include", "exists":
		if !strings.HasPrefix(rest, ":") || len(rest) == 1 {
			return errors.New("names no domain")
		}
		t.value = rest[1:]
	case "ptr":
		t.value = strings.TrimPrefix(rest, ":")
	case "a", "mx":
		return t.lengths(rest)
	}
	return nil
}

func (t *spfTerm) network(rest string) error {
	text, found := strings.CutPrefix(rest, ":")
	p, err := netip.ParsePrefix(text)
	if a, single := netip.ParseAddr(text); single == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if !found || err != nil || p.Addr().Is4() != (t.name == "ip4") || p.Addr().Zone() != "" {
		return errors.New("is no network")
	}
	t.value, t.net = text, p.Masked()
	return nil
}

// lengths reads ":domain/24//64" of a and mx.
func (t *spfTerm) lengths(rest string) error {
	domain, tail := rest, ""
	if at := strings.IndexByte(rest, '/'); at >= 0 && !strings.Contains(rest[:at], "{") {
		domain, tail = rest[:at], rest[at:]
	}
	if domain != "" {
		var found bool
		if t.value, found = strings.CutPrefix(domain, ":"); !found || t.value == "" {
			return errors.New("names no domain")
		}
	}
	four, six, both := strings.Cut(tail, "//")
	for i, text := range []string{strings.TrimPrefix(four, "/"), six} {
		if text == "" {
			if i == 0 && four != "" || i == 1 && both {
				return errors.New("has no prefix length behind /")
			}
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > []int{32, 128}[i] {
			return errors.New("has a prefix length that is none")
		}
		t.bits[i] = n
	}
	return nil
}

// mechanismsOf are the mechanisms of a record that let somebody send, as they
// stand there; all is none of them.
func mechanismsOf(txt string) (out []string) {
	r, _ := parseSPF(txt) //nolint:errcheck // what is wrong in it is left out
	for _, t := range r.terms {
		if !t.modifier && t.name != "all" && t.qualifier == '+' {
			out = append(out, strings.TrimPrefix(t.text, "+"))
		}
	}
	return out
}

// ipTerm is the mechanism for a network.
func ipTerm(p netip.Prefix) string {
	name, text := "ip4:", p.String()
	if p.Addr().Is6() {
		name = "ip6:"
	}
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	return name + text
}

// freshSPF is the record where none is. Softfail: a forwarded mail that carries a
// signature is judged by that (DMARC), not refused for its way.
func freshSPF(terms []string) string {
	return "v=spf1 " + strings.Join(unique(terms), " ") + " ~all"
}

func unique(terms []string) (out []string) {
	for _, t := range terms {
		if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, t) }) {
			out = append(out, t)
		}
	}
	return out
}

// mergeSPF puts mechanisms into a record: before all, since nothing behind it
// counts, else before the first modifier. What cannot be parsed is left out.
func mergeSPF(r spfRecord, terms []string) string {
	at := slices.IndexFunc(r.terms, func(t spfTerm) bool { return !t.modifier && t.name == "all" })
	if at < 0 {
		at = slices.IndexFunc(r.terms, func(t spfTerm) bool { return t.modifier })
	}
	if at < 0 {
		at = len(r.terms)
	}
	words := []string{"v=spf1"}
	for _, t := range r.terms[:at] {
		words = append(words, t.text)
	}
	words = append(words, unique(terms)...)
	for _, t := range r.terms[at:] {
		words = append(words, t.text)
	}
	return strings.Join(words, " ")
}
