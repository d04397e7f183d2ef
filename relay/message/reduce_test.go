package message

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

func parseAll(t *testing.T, list string) (out []envelope.Address) {
	t.Helper()
	for s := range strings.FieldsSeq(list) {
		a, err := envelope.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// A service that reads the header sends to the envelope's recipients and to
// nobody else, and shows those that were shown.
func TestSetRecipients(t *testing.T) {
	for name, c := range map[string]struct{ header, envelope, want string }{
		"all named":         {"From: x@y.test\r\nTo: A <a@x.test>\r\nCc: b@x.test\r\nSubject: s\r\n", "a@x.test b@x.test", "From: x@y.test\r\nTo: A <a@x.test>\r\nCc: <b@x.test>\r\nSubject: s\r\n"},
		"one is pending":    {"To: a@x.test, b@x.test\r\nCc: c@x.test\r\nSubject: s\r\n", "b@x.test", "To: <b@x.test>\r\nSubject: s\r\n"},
		"none is named":     {"To: z@x.test\r\nSubject: s\r\n", "a@x.test b@x.test", "Bcc: <a@x.test>,\r\n <b@x.test>\r\nSubject: s\r\n"},
		"no such field":     {"Subject: s\r\n", "a@x.test", "Subject: s\r\nBcc: <a@x.test>\r\n"},
		"blind ones":        {"Bcc: victim@x.test\r\nSubject: s\r\nbcc : other@x.test\r\n", "a@x.test", "Bcc: <a@x.test>\r\nSubject: s\r\n"},
		"resent":            {"Resent-To: victim@x.test\r\nresent-bcc: v@x.test\r\nResent-Date: x\r\nTo: a@x.test\r\n", "a@x.test", "To: <a@x.test>\r\n"},
		"a group":           {"To: Team: a@x.test, victim@x.test;\r\n", "a@x.test", "Bcc: <a@x.test>\r\n"},
		"folded":            {"To: \"A\r\n B\"\r\n <a@x.test>,\r\n\tvictim@x.test\r\n", "a@x.test", "To: A B <a@x.test>\r\n"},
		"encoded":           {"To: =?utf-8?q?J=C3=B6rg?= <a@x.test>\r\n", "a@x.test", "To: =?utf-8?b?SsO2cmc=?= <a@x.test>\r\n"},
		"encoded address":   {"To: =?utf-8?q?=3Cvictim=40x.test=3E=2C?= <a@x.test>\r\n", "a@x.test", "To: \"<victim@x.test>,\" <a@x.test>\r\n"},
		"quoted address":    {"To: \"victim@x.test, \\\" <v@x.test>\" <a@x.test>\r\n", "a@x.test", "To: \"victim@x.test, \\\" <v@x.test>\" <a@x.test>\r\n"},
		"name as address":   {"To: victim@x.test <a@x.test>\r\n", "a@x.test", "To: \"victim@x.test\" <a@x.test>\r\n"},
		"comment":           {"To: a@x.test (victim@x.test)\r\n", "a@x.test", "To: <a@x.test>\r\n"},
		"unreadable":        {"To: <a@x.test, <victim@x.test>\r\n", "a@x.test", "Bcc: <a@x.test>\r\n"},
		"semicolons":        {"To: a@x.test; victim@x.test\r\n", "a@x.test", "Bcc: <a@x.test>\r\n"},
		"a name too long":   {"To: " + strings.Repeat("n", 700) + " <a@x.test>\r\n", "a@x.test", "To: <a@x.test>\r\n"},
		"other fields stay": {"X-To: victim@x.test\r\nReply-To: r@x.test\r\nTo: a@x.test\r\nX:\r\n y\r\n", "a@x.test", "X-To: victim@x.test\r\nReply-To: r@x.test\r\nTo: <a@x.test>\r\nX:\r\n y\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := ParseHeader([]byte(c.header))
			h.SetRecipients(h.Pending(parseAll(t, c.envelope)))
			if got := string(h.Append(nil)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// FuzzSetRecipients: whatever stands in a header, who parses what comes of it
// finds the envelope's recipients and nobody else, and all other fields as they were.
func FuzzSetRecipients(f *testing.F) {
	f.Add("Team: a@x.test, victim@x.test;", "=?utf-8?q?=3Cv=40x.test=3E=2C?= <b@x.test>", "To", uint8(3))
	f.Add("\"\\\" <v@x.test>,\" <a@x.test>", "a@x.test (c) , c@x.test", "resent-to", uint8(7))
	f.Add("A\r\n B <a@x.test>\r\nBcc: v@x.test", "", "X", uint8(1))
	f.Fuzz(func(t *testing.T, to, cc, name string, some uint8) {
		all := parseAll(t, "a@x.test b@x.test c@x.test")
		var pending []envelope.Address
		for i, a := range all {
			if some&(1<<i) != 0 {
				pending = append(pending, a)
			}
		}
		rest := func(h *Header) (s string) {
			for _, f := range h.Fields {
				if n := strings.ToLower(f.Name); n != "to" && n != "cc" && n != "bcc" && !strings.HasPrefix(n, "resent-") {
					s += string(f.Raw)
				}
			}
			return s
		}
		h := ParseHeader([]byte("To: " + to + "\r\nCC: " + cc + "\r\n" + name + ": v@x.test\r\n"))
		before := rest(h)
		h.SetRecipients(h.Pending(pending))
		if got := rest(h); got != before {
			t.Fatalf("%q became %q", before, got)
		}
		var ours bytes.Buffer
		for _, f := range h.Fields {
			if isRecipientField(f) {
				ours.Write(f.Raw)
			}
		}
		for line := range strings.SplitSeq(ours.String(), "\r\n") {
			if len(line) > 998 || !isASCII([]byte(line)) {
				t.Fatalf("a line that no header holds: %q", line)
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(ours.String() + "\r\n"))
		if err != nil {
			t.Fatalf("%q: %v", ours.String(), err)
		}
		var got, want []string
		for key := range m.Header {
			list, err := m.Header.AddressList(key)
			if err != nil {
				t.Fatalf("%q: %v", ours.String(), err)
			}
			for _, a := range list {
				got = append(got, a.Address)
			}
		}
		for _, a := range pending {
			want = append(want, a.String())
		}
		slices.Sort(got)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q is read as %q, want %q", ours.String(), got, want)
		}
	})
}
