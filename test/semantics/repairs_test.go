package semantics

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

func TestRepairs(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	const head = "From: mfp@copier.test\r\nSubject: s\r\n\r\n"
	for _, tc := range []struct {
		name, message string
		want, not     []string
	}{
		{name: "bare LF becomes CRLF", message: head + "one\ntwo", want: []string{"one\r\ntwo\r\n"}},
		{name: "bare CR becomes a space", message: head + "one\rtwo", want: []string{"one two\r\n"}},
		{name: "NUL is removed", message: head + "o\x00ne", want: []string{"one\r\n"}, not: []string{"\x00"}},
		{name: "missing header fields are added", message: "Subject: s\r\n\r\nbody", want: []string{"\r\nFrom: ", "mfp@copier.test", "\r\nDate: ", "\r\nMessage-ID: <"}},
		{name: "raw 8-bit header is encoded", message: "From: mfp@copier.test\r\nSubject: Pr\xc3\xbcfung\r\n\r\nbody", want: []string{"\r\nSubject: =?"}, not: []string{"\xc3\xbc"}},
		{name: "raw Latin-1 header is encoded", message: "From: mfp@copier.test\r\nSubject: Pr\xfcfung\r\n\r\nbody", want: []string{"\r\nSubject: =?"}, not: []string{"\xfc"}},
		{name: "look-alikes of the end of data stay in", message: head + "a\n.\nMAIL FROM:<x@y>\r\n.\nb\n.\r\nc\r.\rd", want: []string{"\r\n.\r\nMAIL FROM:<x@y>\r\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(u.Messages())
			rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, tc.message))
			got := arrived(r, u, before+1)[before].Data
			for _, w := range tc.want {
				if !strings.Contains(got, w) {
					t.Errorf("lacks %q: %q", w, got)
				}
			}
			for _, n := range tc.not {
				if strings.Contains(got, n) {
					t.Errorf("has %q: %q", n, got)
				}
			}
		})
	}
	idle(r)
	if got := len(u.Messages()); got != 7 {
		t.Errorf("%d messages out of 7", got)
	}
}

func TestMessagePartialIsRefusedWhereTypesAreNamed(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp+"\n    content: {attachmentTypes: [application/pdf]}", u.YAML("out", "")))
	const partial = "From: mfp@copier.test\r\nMIME-Version: 1.0\r\nContent-Type: message/partial; id=\"a@b\"; number=1; total=2\r\n\r\nSubject: x\r\n\r\nbody"
	if got := r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, partial); !strings.HasPrefix(got, "550 5.7.1 ") && !strings.HasPrefix(got, "554 5.6.") {
		t.Errorf("got %q", got)
	}
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
}

func TestSMTPUTF8OnlyIfEveryReachableUpstreamCanCarryIt(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{}) // does not offer it
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	c := r.Dial()
	if got := c.Want("250", "EHLO copier.test"); strings.Contains(got, "SMTPUTF8") {
		t.Errorf("offered: %q", got)
	}
}
