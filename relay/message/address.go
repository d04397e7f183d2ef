package message

import (
	"errors"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

var errAddress = errors.New("the addresses cannot be read for certain")

// Mailbox is one mailbox of an address field (RFC 5322 3.4).
type Mailbox struct {
	Name    string // the display name as it stands, with quotes and encoded words
	Address envelope.Address
}

// maxMailboxes of one field: a device sends one.
const maxMailboxes = 100

// Mailboxes reads the value of an address field: comments, quoted strings, and
// what copiers write in their place (an address as its own display name without
// quotes). It fails where two programs could read the value differently, so that
// what is checked is what a mail client shows. Groups (RFC 5322 3.4) fail for that
// reason: what stands before the colon is a name for one program and an address
// for another, and no device sends them.
func Mailboxes(value string) ([]Mailbox, error) {
	var out []Mailbox
	parts, err := splitMailboxes(value)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		addr, name := p.text, ""
		if p.hasAngle {
			addr, name = p.angle, p.text
		}
		a, err := envelope.ParseAddress(strings.TrimSpace(addr))
		if err != nil && !errors.Is(err, envelope.ErrNoDomain) || a.IsNull() {
			return nil, errAddress
		}
		out = append(out, Mailbox{Name: strings.TrimSpace(name), Address: a})
	}
	return out, nil
}

// part is the text of one mailbox, comments removed, and what stands in its
// angle brackets.
type part struct {
	text     string
	angle    string
	hasAngle bool
}

func splitMailboxes(s string) ([]part, error) {
	var out []part
	var text, angle strings.Builder
	inAngle, hasAngle := false, false
	flush := func() {
		if t := strings.TrimSpace(text.String()); t != "" || hasAngle {
			out = append(out, part{t, angle.String(), hasAngle})
		}
		text.Reset()
		angle.Reset()
		hasAngle = false
	}
	for i := 0; i < len(s); {
		into := &text
		if inAngle {
			into = &angle
		}
		switch c := s[i]; {
		case c == '"':
			n := quotedEnd(s[i:])
			if n < 0 {
				return nil, errAddress
			}
			if hasAngle && !inAngle {
				return nil, errAddress
			}
			into.WriteString(s[i : i+n])
			i += n
			continue
		case c == '(':
			n := commentEnd(s[i:])
			if n < 0 {
				return nil, errAddress
			}
			into.WriteByte(' ')
			i += n
			continue
		case c == '<':
			if inAngle || hasAngle {
				return nil, errAddress
			}
			inAngle, hasAngle = true, true
		case c == '>':
			if !inAngle {
				return nil, errAddress
			}
			inAngle = false
		case inAngle:
			angle.WriteByte(c)
		case c == ',':
			if flush(); len(out) > maxMailboxes {
				return nil, errAddress
			}
		case c == ':' || c == ';':
			return nil, errAddress
		case hasAngle && c != ' ' && c != '\t':
			return nil, errAddress // text behind the address
		default:
			text.WriteByte(c)
		}
		i++
	}
	if inAngle {
		return nil, errAddress
	}
	flush()
	return out, nil
}

// quotedEnd is the length of the quoted string that s begins with, or -1.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// commentEnd is the length of the comment that s begins with, or -1.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// isSenderField tells a field that names a sender to whoever reads the message.
func isSenderField(f Field) bool {
	return f.Is("From") || f.Is("Sender") || f.Is("Resent-From") || f.Is("Resent-Sender")
}

// Senders gives the address of every From: and Sender: mailbox of h, and of
// their Resent- forms. A field without a mailbox fails: a mail client may show
// what stands there all the same.
func (h *Header) Senders() ([]envelope.Address, error) {
	var out []envelope.Address
	for _, f := range h.Fields {
		if !isSenderField(f) {
			continue
		}
		boxes, err := Mailboxes(f.Value())
		if err != nil {
			return nil, err
		}
		if len(boxes) == 0 {
			return nil, errAddress
		}
		for _, m := range boxes {
			out = append(out, m.Address)
		}
	}
	return out, nil
}
