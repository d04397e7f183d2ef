package message

import (
	"slices"
	"strings"
)

// maxName is how long a display name may be that SetRecipients writes, in octets
// as it stands in the header. With its address it fits a line (RFC 5322 2.1.1).
const maxName = 600

// SetRecipients makes r all that h says of recipients, blind copies among them:
// for a service that takes them from the header and drops Bcc itself. To, Cc and
// Bcc are written anew, whatever stood there, so that nothing is left that another
// program could read as one more recipient; Resent- fields go. The addresses must
// be such as Plain takes.
func (h *Header) SetRecipients(r Recipients) {
	at := slices.IndexFunc(h.Fields, isRecipientField)
	if at < 0 {
		at = len(h.Fields)
	}
	blind := make([]Mailbox, len(r.Bcc))
	for i, a := range r.Bcc {
		blind[i] = Mailbox{Address: a}
	}
	out := slices.Clone(h.Fields[:at])
	for _, f := range []struct {
		name  string
		boxes []Mailbox
	}{{"To", r.To}, {"Cc", r.Cc}, {"Bcc", blind}} {
		if len(f.boxes) > 0 {
			out = append(out, NewField(f.name, joinMailboxes(f.boxes)))
		}
	}
	for _, f := range h.Fields[at:] {
		if !isRecipientField(f) {
			out = append(out, f)
		}
	}
	h.Fields = out
}

// isRecipientField tells a field that names recipients to some program, or that
// speaks of an earlier sending.
func isRecipientField(f Field) bool {
	return f.Is("To") || f.Is("Cc") || f.Is("Bcc") || len(f.Name) > 7 && strings.EqualFold(f.Name[:7], "Resent-")
}

// joinMailboxes writes a list, one mailbox on a line.
func joinMailboxes(boxes []Mailbox) string {
	lines := make([]string, len(boxes))
	for i, m := range boxes {
		name := m.Display()
		if len(encodeName(name)) > maxName {
			name = ""
		}
		lines[i] = FormatMailbox(name, m.Address.String())
	}
	return strings.Join(lines, ",\r\n ")
}
