// Package envelope holds the values of an SMTP envelope: addresses and the
// patterns that policies name them with (RFC 5321 4.1.2, RFC 6531 3.3).
//
// It is pure: it may import the standard library and golang.org/x/net/idna,
// and nothing of this module.
package envelope

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321 4.5.3.1, in octets.
const (
	maxLocal   = 64
	maxDomain  = 255
	maxMailbox = 254 // a path is 256 octets with its angle brackets
)

// Address is one mailbox of an envelope. Local is unquoted: the value that
// the quotes stand for. The zero Address is the null reverse-path "<>".
// A Domain may be an address literal, with its brackets.
type Address struct {
	Local  string
	Domain string
}

// ErrNoDomain says that an address has a local part only. Copiers send such
// senders; a listener may complete them with its default domain.
var ErrNoDomain = errors.New("the address has no domain")

// ParseAddress reads a Mailbox of RFC 5321 4.1.2 without angle brackets; the
// empty string is the null reverse-path. It refuses control characters, source
// routes, and what is longer than RFC 5321 4.5.3.1 allows. UTF-8 is allowed
// (RFC 6531); see Address.ASCII.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	if !utf8.ValidString(s) {
		return Address{}, errors.New("the address is not valid UTF-8")
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return Address{}, errors.New("the address contains a control character")
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Address{}, err
	}
	if len(local) > maxLocal {
		return Address{}, fmt.Errorf("the local part is longer than %d octets", maxLocal)
	}
	if rest == "" {
		return Address{Local: local}, ErrNoDomain
	}
	domain := rest[1:]
	if err := checkDomain(domain); err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > maxMailbox {
		return Address{}, fmt.Errorf("the address is longer than %d octets", maxMailbox)
	}
	return a, nil
}

// cutLocal splits s behind its local part and unquotes that; rest is empty or
// starts with "@".
func cutLocal(s string) (local, rest string, err error) {
	if s[0] != '"' {
		i := strings.LastIndexByte(s, '@')
		if i < 0 {
			i = len(s)
		}
		local, rest = s[:i], s[i:]
		return local, rest, checkDotString(local)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) {
				return "", "", errors.New("the quoted local part ends in a backslash")
			}
			b.WriteByte(s[i])
		case '"':
			if i+1 < len(s) && s[i+1] != '@' {
				return "", "", errors.New("the quoted local part is followed by something else than @")
			}
			if b.Len() == 0 {
				return "", "", errors.New("the local part is empty")
			}
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("the quoted local part has no closing quote")
}

func checkDotString(local string) error {
	if local == "" {
		return errors.New("the local part is empty")
	}
	if !isDotString(local) {
		return errors.New("the local part has a character that needs quotes, or a dot in the wrong place")
	}
	return nil
}

func isDotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAtext(atom[i]) {
				return false
			}
		}
	}
	return true
}

// isAtext is atext of RFC 5322 3.2.3 with the UTF-8 of RFC 6531 3.3.
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= utf8.RuneSelf:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func checkDomain(d string) error {
	if d == "" {
		return errors.New("the domain is empty")
	}
	if len(d) > maxDomain {
		return fmt.Errorf("the domain is longer than %d octets", maxDomain)
	}
	if d[0] == '[' {
		return checkLiteral(d)
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("the domain has an empty label or one over 63 octets")
		}
		for i := range len(label) {
			if c := label[i]; !isLetterDigit(c) && c != '-' && c != '_' && c < utf8.RuneSelf {
				return fmt.Errorf("the domain contains %q", c)
			}
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("a label of the domain begins or ends with a hyphen")
		}
	}
	return nil
}

// checkLiteral tells an address in brackets (RFC 5321 4.1.3); of the tags there is
// IPv6 only.
func checkLiteral(d string) error {
	inner, ok := strings.CutSuffix(d[1:], "]")
	const tag = "IPv6:"
	v6 := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if v6 {
		inner = inner[len(tag):]
	}
	a, err := netip.ParseAddr(inner)
	if !ok || err != nil || a.Is6() != v6 || a.Zone() != "" {
		return errors.New("the address literal is malformed")
	}
	return nil
}

func isLetterDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// String is the address as it stands in a command or a header, quoted where
// RFC 5321 4.1.2 wants it; the null reverse-path is the empty string.
func (a Address) String() string {
	local := a.Local
	if local != "" && !isDotString(local) {
		local = quote(local)
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// IsNull tells whether a is the null reverse-path.
func (a Address) IsNull() bool { return a == Address{} }

// ASCII tells whether a can be sent without SMTPUTF8 (RFC 6531).
func (a Address) ASCII() bool {
	return isASCII(a.Local) && isASCII(a.Domain)
}

// ToASCII gives a with its domain as A-labels (RFC 5891). It fails where the
// local part is not ASCII: only SMTPUTF8 carries that.
func (a Address) ToASCII() (Address, error) {
	if !isASCII(a.Local) {
		return a, errors.New("the local part is not ASCII")
	}
	if isASCII(a.Domain) {
		return a, nil
	}
	d, err := idna.Lookup.ToASCII(a.Domain)
	if err != nil {
		return a, fmt.Errorf("the domain cannot be written in ASCII: %w", err)
	}
	return Address{Local: a.Local, Domain: d}, nil
}

// Key is the form in which two spellings of one mailbox are equal: lower case,
// the domain as A-labels. Local parts are compared without case, as every mail
// system that companies run does, although RFC 5321 2.4 leaves it to the host.
func (a Address) Key() string {
	if a.IsNull() {
		return ""
	}
	return strings.ToLower(a.Local) + "@" + DomainKey(a.Domain)
}

// DomainKey is d in lower case, as A-labels where it can be.
func DomainKey(d string) string {
	d = strings.TrimSuffix(d, ".")
	if !isASCII(d) {
		if a, err := idna.Lookup.ToASCII(d); err == nil {
			d = a
		}
	}
	return strings.ToLower(d)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// MarshalText writes the address as String does.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(b []byte) error {
	v, err := ParseAddress(string(b))
	if err != nil && !errors.Is(err, ErrNoDomain) {
		return err
	}
	*a = v
	return nil
}
