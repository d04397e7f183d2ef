package message

import (
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Identity is as whom one upstream sends one message: the upstream's sender
// with what the rule says in its place.
type Identity struct {
	Domain      string // the upstream's; a sender inside it may stay
	LocalPart   string
	DisplayName string // template: text, {original}, {device}
	Device      string // what {device} stands for
	ReplyTo     bool   // the original may become Reply-To
	Always      bool   // rewrite senders inside the domain too
	Never       bool   // rewrite nothing
}

// address is the address that replaces a sender.
func (d Identity) address() envelope.Address {
	return envelope.Address{Local: d.LocalPart, Domain: d.Domain}
}

// inside tells whether a may leave as it is.
func (d Identity) inside(a envelope.Address) bool {
	return envelope.DomainKey(a.Domain) == envelope.DomainKey(d.Domain)
}

// Fits tells whether a message can leave under an identity that never
// rewrites: its envelope sender and every sender of its header are inside the
// domain, for certain.
func (d Identity) Fits(h *Header, sender envelope.Address) bool {
	if !d.Never {
		return true
	}
	header, err := h.Senders()
	return err == nil && (sender.IsNull() || d.inside(sender)) && !slices.ContainsFunc(header, func(a envelope.Address) bool { return !d.inside(a) })
}

// Rewrites tells whether the envelope sender or one of the header's senders
// has to be replaced.
func (d Identity) Rewrites(sender envelope.Address, header []envelope.Address) bool {
	if d.Never {
		return false
	}
	return d.Always || !sender.IsNull() && !d.inside(sender) || slices.ContainsFunc(header, func(a envelope.Address) bool { return !d.inside(a) })
}

// Rewrite changes h to the identity and gives the envelope sender to use. The
// null sender stays null. From becomes one mailbox; Sender goes; signatures
// and requests that speak of the original go too.
func (d Identity) Rewrite(h *Header, sender envelope.Address) envelope.Address {
	header, err := h.Senders()
	if d.Never || err == nil && !d.Rewrites(sender, header) {
		return sender
	}
	name, original := original(h, sender)
	h.Set("From", FormatMailbox(d.display(name, original), d.address().String()))
	h.Remove("Sender", "Resent-From", "Resent-Sender", "DKIM-Signature", "Return-Path", "Disposition-Notification-To")
	if d.ReplyTo && !h.Has("Reply-To") && !original.IsNull() && !d.inside(original) {
		h.Set("Reply-To", FormatMailbox(name, original.String()))
	}
	if sender.IsNull() {
		return sender
	}
	return d.address()
}

// original is the first From mailbox: its name as a person reads it, and its
// address; the envelope sender where the header has none.
func original(h *Header, sender envelope.Address) (string, envelope.Address) {
	for _, f := range h.All("From") {
		if boxes, err := Mailboxes(f.Value()); err == nil && len(boxes) > 0 {
			return decodeName(boxes[0].Name), boxes[0].Address
		}
	}
	return "", sender
}

// display fills in the template. {original} without a name is the address.
func (d Identity) display(name string, original envelope.Address) string {
	if name == "" {
		name = original.String()
	}
	s := strings.NewReplacer("{original}", name, "{device}", d.Device).Replace(d.DisplayName)
	return strings.TrimSpace(s)
}
