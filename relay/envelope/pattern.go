package envelope

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Pattern names a set of addresses: "*" (every address), "*@corp.example",
// "scan-*@corp.example", "it@corp.example", "*@*.corp.example" (every
// subdomain, not corp.example itself). A star stands for any run of characters
// of its side of the @. No pattern matches the null reverse-path.
type Pattern struct {
	local  string // lower case, with at most one star
	domain string // DomainKey, or "*." + DomainKey, or "*"
}

// ParsePattern reads a pattern. A side holds at most one star; in the domain
// it is the whole of it or its first label. A domain is what DomainKey makes of
// it, and that has to be a domain too.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{local: "*", domain: "*"}, nil
	}
	if !utf8.ValidString(s) {
		return Pattern{}, fmt.Errorf("%q is not valid UTF-8", s)
	}
	i := strings.LastIndexByte(s, '@')
	if i <= 0 || i == len(s)-1 {
		return Pattern{}, fmt.Errorf("%q is not an address pattern: write *, *@domain or local@domain", s)
	}
	local, domain := strings.ToLower(s[:i]), s[i+1:]
	if strings.Count(local, "*") > 1 {
		return Pattern{}, fmt.Errorf("%q has more than one * before the @", s)
	}
	if strings.ContainsAny(s, " \t\r\n<>,;") {
		return Pattern{}, fmt.Errorf("%q contains a character that no address pattern has", s)
	}
	if domain != "*" {
		rest := strings.TrimPrefix(domain, "*.")
		if strings.Contains(rest, "*") {
			return Pattern{}, fmt.Errorf("%q: in the domain a * is the whole of it or its first label", s)
		}
		if err := checkDomain(rest); err != nil {
			return Pattern{}, fmt.Errorf("%q: %w", s, err)
		}
		key := DomainKey(rest)
		if err := checkDomain(key); err != nil {
			return Pattern{}, fmt.Errorf("%q: %w", s, err)
		}
		domain = domain[:len(domain)-len(rest)] + key
	}
	return Pattern{local: local, domain: domain}, nil
}

// Match tells whether a is in the set.
func (p Pattern) Match(a Address) bool {
	_, ok := p.Capture(a)
	return ok
}

// Capture is Match that also gives what the star of the local part stood for,
// or the whole local part where there is none.
func (p Pattern) Capture(a Address) (string, bool) {
	if a.IsNull() || p.local == "" {
		return "", false
	}
	if !p.MatchDomain(a.Domain) {
		return "", false
	}
	pre, post, star := strings.Cut(p.local, "*")
	low := strings.ToLower(a.Local)
	if !star {
		return a.Local, low == pre
	}
	if len(low) != len(a.Local) { // a letter whose lower case has another length: no slicing by it
		return low, p.local == "*"
	}
	if len(low) < len(pre)+len(post) || !strings.HasPrefix(low, pre) || !strings.HasSuffix(low, post) {
		return "", false
	}
	return a.Local[len(pre) : len(a.Local)-len(post)], true
}

// MatchDomain tells whether d fits the pattern's domain.
func (p Pattern) MatchDomain(d string) bool {
	if p.domain == "*" {
		return true
	}
	k := DomainKey(d)
	if suffix, ok := strings.CutPrefix(p.domain, "*"); ok {
		return len(k) > len(suffix) && strings.HasSuffix(k, suffix)
	}
	return k == p.domain
}

// Expand makes the address that a template of a rewrite names: a star in the
// template's local part becomes star.
func (p Pattern) Expand(star string) (Address, error) {
	if strings.HasPrefix(p.domain, "*") {
		return Address{}, errors.New("the target of a rewrite needs a whole domain")
	}
	return ParseAddress(Address{Local: strings.Replace(p.local, "*", star, 1), Domain: p.domain}.String())
}

// String is the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	if p.local == "*" && p.domain == "*" {
		return "*"
	}
	return p.local + "@" + p.domain
}

// MarshalText writes the pattern as String does.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Pattern) UnmarshalText(b []byte) error {
	v, err := ParsePattern(string(b))
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// MatchAny tells whether one of ps matches a.
func MatchAny(ps []Pattern, a Address) bool {
	for _, p := range ps {
		if p.Match(a) {
			return true
		}
	}
	return false
}
