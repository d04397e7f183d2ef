package message

import "github.com/printerrelay/printer-relay/relay/envelope"

// Recipients are an envelope's, as a header may show them.
type Recipients struct {
	To, Cc []Mailbox
	Bcc    []envelope.Address // those that the header does not name
}

// Pending reduces the recipients that h names to those of an envelope: for a
// service that takes them from the header, so that nobody receives whom the
// envelope does not have. Each of the envelope is in one of the three lists, once;
// its own spelling of the address counts. Fields that cannot be read for certain,
// Resent- fields and groups name nobody.
func (h *Header) Pending(pending []envelope.Address) Recipients {
	var out Recipients
	left := make(map[string]envelope.Address, len(pending))
	for _, a := range pending {
		if _, twice := left[a.Key()]; !twice {
			left[a.Key()] = a
		}
	}
	take := func(name string) (named []Mailbox) {
		for _, f := range h.All(name) {
			boxes, err := Mailboxes(f.Value())
			if err != nil {
				continue
			}
			for _, m := range boxes {
				a, ok := left[m.Address.Key()]
				if !ok {
					continue
				}
				delete(left, a.Key())
				named = append(named, Mailbox{Name: m.Name, Address: a})
			}
		}
		return named
	}
	out.To = take("To")
	out.Cc = take("Cc")
	for _, a := range pending {
		if _, ok := left[a.Key()]; ok {
			delete(left, a.Key())
			out.Bcc = append(out.Bcc, a)
		}
	}
	return out
}

// Display is the mailbox's name as a person reads it: quotes taken off, encoded
// words decoded; empty: it has none.
func (m Mailbox) Display() string { return decodeName(m.Name) }
