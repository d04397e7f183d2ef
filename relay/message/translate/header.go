package translate

import (
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/message"
)

// Fate is what becomes of a header field.
type Fate uint8

// The fates of a header field.
const (
	Carried Fate = iota // as a header field of the same name
	Own                 // in a field of the service's own
	Dropped             // the service makes it, or it speaks of what is no more
	Refused             // the message does not go this way
)

// String is the fate in the words of docs/upstreams/translation.md.
func (f Fate) String() string { return [...]string{"carried", "its own", "not carried", "refused"}[f] }

// Rule is the fate of the header fields of a name, or with a * at its end of the
// names that begin so.
type Rule struct {
	Name string
	Fate Fate
	Why  string
}

// Common are the rules for all services. What no rule names is carried.
var Common = []Rule{
	{"From", Own, "one mailbox; more are refused"},
	{"To", Own, "reduced to the envelope's pending recipients"},
	{"Cc", Own, "reduced to the envelope's pending recipients"},
	{"Bcc", Dropped, "from the envelope: who is in neither To nor Cc"},
	{"Reply-To", Own, ""},
	{"Subject", Own, "decoded"},
	{"Sender", Carried, ""},
	{"Date", Dropped, "made anew: the time of sending"},
	{"MIME-Version", Dropped, "made anew"},
	{"Content-*", Dropped, "a part has its type, name, disposition and ID; description, language and location are lost"},
	{"Received", Dropped, "the way until here"},
	{"X-Received", Dropped, "the way until here"},
	{"Delivered-To", Dropped, "the way until here"},
	{"Return-Path", Dropped, "the service's own: it takes the bounces"},
	{"Authentication-Results", Dropped, "the way until here"},
	{"Received-SPF", Dropped, "the way until here"},
	{"ARC-*", Dropped, "a signature over what is no more"},
	{"DKIM-Signature", Dropped, "a signature over what is no more; the service signs"},
	{"DomainKey-Signature", Dropped, "a signature over what is no more"},
	{"Resent-*", Refused, "several fields that belong together, in an order that no service keeps"},
}

// Fate gives what becomes of a header field, and why.
func (r *Rules) Fate(name string) (Fate, string) {
	for _, rules := range [][]Rule{r.Fields, Common} {
		for _, rule := range rules {
			prefix, star := strings.CutSuffix(rule.Name, "*")
			if strings.EqualFold(name, rule.Name) || star && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
				return rule.Fate, rule.Why
			}
		}
	}
	return Carried, ""
}

// readHeader takes out of the header what is carried.
func (m *Message) readHeader(h *message.Header) error {
	from, err := mailboxes(h, "From")
	if err != nil {
		return err
	}
	if len(from) != 1 {
		return uncarried("a From of %d mailboxes", len(from))
	}
	m.From = from[0]
	if m.ReplyTo, err = mailboxes(h, "Reply-To"); err != nil {
		return err
	}
	if n := len(h.All("Subject")); n > 1 {
		return uncarried("Subject, which is there %d times", n)
	}
	if m.Subject, err = text(h.Get("Subject")); err != nil {
		return uncarried("Subject: %w", err)
	}
	seen := map[string]string{}
	for _, f := range h.Fields {
		fate, why := m.rules.Fate(f.Name)
		if fate == Refused {
			return uncarried("%s: %s", f.Name, why)
		}
		if fate != Carried {
			continue
		}
		value, err := raw(f.Value())
		if err != nil {
			return uncarried("%s: %w", f.Name, err)
		}
		was, twice := seen[strings.ToLower(f.Name)]
		switch {
		case value == "" || twice && was == value && !m.rules.Repeats:
			continue
		case twice && !m.rules.Repeats:
			return uncarried("%s, which is there twice", f.Name)
		}
		seen[strings.ToLower(f.Name)] = value
		m.Fields = append(m.Fields, Field{f.Name, value})
	}
	return nil
}

// mailboxes reads an address field.
func mailboxes(h *message.Header, name string) (out []Mailbox, err error) {
	all := h.All(name)
	if len(all) > 1 {
		return nil, uncarried("%s, which is there %d times", name, len(all))
	}
	for _, f := range all {
		boxes, err := message.Mailboxes(f.Value())
		if err != nil {
			return nil, uncarried("%s: %w", name, err)
		}
		for _, b := range boxes {
			a, err := Plain(b.Address)
			if err != nil {
				return nil, err
			}
			out = append(out, Mailbox{b.Display(), a})
		}
	}
	return out, nil
}

// text is the value of a field as a person reads it. Where it cannot be decoded
// for certain it stays as it is: who receives it decodes it, or does not, as with
// the original.
func text(value string) (string, error) {
	value, err := printable(value)
	if err != nil || !strings.Contains(value, "=?") {
		return value, err
	}
	if d, ok := message.DecodeText(value); ok {
		return d, nil
	}
	return value, nil
}

// raw is the value of a field as it may stand in a header.
func raw(value string) (string, error) {
	value, err := printable(value)
	if err != nil {
		return "", err
	}
	for i := range len(value) {
		if value[i] >= utf8.RuneSelf {
			return mime.QEncoding.Encode("utf-8", value), nil
		}
	}
	return value, nil
}

// errOctets says what a value must not hold.
type errOctets struct{}

func (errOctets) Error() string { return "control characters or octets that are no UTF-8" }

// printable refuses what would break out of a field, or be read differently.
func printable(value string) (string, error) {
	value = strings.ReplaceAll(value, "\t", " ")
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errOctets{}
	}
	return value, nil
}
