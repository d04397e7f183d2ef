package inventory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/transcript"
)

// Guard tells what must not be kept of what a device says. It is asked about texts
// that are new.
type Guard interface {
	Hides(text string) bool // a password is in it
}

// scrub takes out of what is kept of a device what Guard hides by now: a password may
// be said where it does not belong before it is sent to log in.
func (d *device) scrub(v *Visit) {
	hide := func(texts ...*string) {
		for _, t := range texts {
			if *t != "" && v.Guard.Hides(*t) {
				*t = transcript.NotShown
			}
		}
	}
	for i := range d.Names {
		hide(&d.Names[i])
	}
	for _, l := range [...][]Counted{d.Senders, d.Recipients} {
		for i := range l {
			hide(&l[i].Value)
		}
	}
	for i := range d.DryRun {
		d.DryRun[i].Reply = v.reply(d.DryRun[i].Reply)
	}
	if d.LastScan != nil {
		hide(&d.LastScan.Sender)
	}
	if r := d.LastRefusal; r != nil {
		if !r.ours {
			r.Reply = v.reply(r.Reply)
			hide(&r.Why)
		}
		hide(&r.RecipientDomain)
		if r.Sender != nil {
			hide(r.Sender)
		}
	}
}

// maxWords are names of listeners, policies and rules that are kept once; the
// manifests bound how many there are, but they change.
const maxWords = 4096

// word gives one copy of a word that repeats.
func (s *Store) word(w string) string {
	if k, ok := s.words[w]; ok {
		return k
	}
	if len(s.words) >= maxWords {
		s.words = nil
	}
	if s.words == nil {
		s.words = map[string]string{}
	}
	w = strings.Clone(w)
	s.words[w] = w
	return w
}

// text is what is kept of a text that the device may have chosen.
func (v *Visit) text(s string, n int) string {
	if s == "" {
		return ""
	}
	if v.Guard != nil && v.Guard.Hides(s) {
		return transcript.NotShown
	}
	return clean(s, n)
}

// reply is what is kept of a reply: its codes are the relay's.
func (v *Visit) reply(s string) string {
	if v.Guard != nil && s != "" && v.Guard.Hides(s) {
		return clean(transcript.CodesOnly(s), maxText)
	}
	return clean(s, maxText)
}

// clean makes a text printable and cuts it to n octets, in memory of its own.
func clean(s string, n int) string {
	plain := len(s) <= n
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return strings.Clone(s)
	}
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) { // no controls, nothing that turns the direction of a line
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > n {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
