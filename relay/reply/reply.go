// Package reply holds SMTP replies (RFC 5321 4.2, RFC 3463) and the catalogue
// of refusals that this relay gives: one named constructor for each, so that a
// code, its text and its documentation have one home.
//
// It is pure and imports the standard library only.
package reply

import (
	"fmt"
	"strings"
	"unicode"
)

// Reply is one reply of an SMTP server. Text is one line, safe to show to a
// client: it never carries an internal cause.
type Reply struct {
	Code     int    // RFC 5321 4.2.1
	Enhanced [3]int // RFC 3463; zero: none
	Text     string
}

// Error makes a Reply an error, so that a rule can return it.
func (r *Reply) Error() string { return r.String() }

// String is the reply as one line without CRLF.
func (r Reply) String() string {
	if r.Enhanced == [3]int{} {
		return fmt.Sprintf("%d %s", r.Code, r.Text)
	}
	return fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
}

// Temporary tells whether the client may try again (4yz).
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent tells whether the client must not try again (5yz).
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// Printable makes s safe for one line of a terminal: what moves the cursor, turns the
// direction of the text or is not seen becomes a question mark.
func Printable(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Line makes s safe for one line of a reply, a log or a terminal: control characters,
// and what ends lines or turns them around, become spaces, and it is cut to n octets,
// at a character's border.
func Line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && steers(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	for len(s) > n {
		s = s[:n]
		s = strings.ToValidUTF8(s, "")
	}
	return strings.TrimSpace(s)
}

// steers tells whether a terminal takes a character for more than a letter: C0 and C1
// controls (U+009B begins an escape sequence), Unicode's line ends, and what sets the
// direction of the letters that follow.
func steers(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
