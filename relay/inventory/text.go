package inventory

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/transcript"
)

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

// named puts a name that a device gives before the others.
func (d *device) named(v *Visit) {
	if v.Name == "" || len(d.Names) > 0 && d.Names[0] == v.Name {
		return
	}
	name := v.Name
	i := slices.Index(d.Names, name)
	if i < 0 {
		name = v.text(name, maxName)
		i = slices.Index(d.Names, name)
	}
	switch {
	case i == 0 || name == "":
		return
	case i > 0:
		name = d.Names[i]
		d.Names = slices.Delete(d.Names, i, i+1)
	case len(d.Names) >= maxNames:
		d.Names = d.Names[:maxNames-1]
	}
	d.Names = slices.Insert(d.Names, 0, name)
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

func show(key netip.Prefix) string {
	if key.IsSingleIP() {
		return key.Addr().String()
	}
	return key.String()
}

func versionName(v uint16) string { return strings.TrimPrefix(tls.VersionName(v), "TLS ") }
