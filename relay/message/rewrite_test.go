package message

import (
	"bytes"
	"net/mail"
	"runtime"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// FuzzParseHeader: a header is given back octet for octet, and what Remove and
// Set leave alone stays as it was.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("From: a@b\r\nSubject: =?utf-8?q?x?=\r\n =?utf-8?q?y?=\r\nX : old\r\n"))
	f.Add([]byte("no field\r\n folded\r\nA:\r\n\tb\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h := ParseHeader(bytes.Clone(in))
		out := h.Append(nil)
		if !bytes.HasSuffix(in, out) { // lines before the first field are dropped
			t.Fatalf("%q became %q", in, out)
		}
		again := ParseHeader(bytes.Clone(out))
		if len(again.Fields) != len(h.Fields) || !bytes.Equal(again.Append(nil), out) {
			t.Fatalf("parsed again, %q has %d fields, not %d", out, len(again.Fields), len(h.Fields))
		}
		others := func(h *Header) (s string) {
			for _, f := range h.Fields {
				if !f.Is("From") {
					s += string(f.Raw)
				}
			}
			return s
		}
		before := others(h)
		h.Set("From", "x@y.example")
		if others(h) != before || len(h.All("From")) != 1 || h.Get("From") != "x@y.example" {
			t.Fatalf("Set changed more than From: %q", h.Append(nil))
		}
		h.Remove("from")
		if others(h) != before || h.Has("From") {
			t.Fatalf("Remove changed more than From: %q", h.Append(nil))
		}
	})
}

// FuzzRewrite: whatever the header says, behind a rewrite all its senders are
// the upstream's, a second rewrite changes nothing, and it is ASCII without
// line breaks that nobody meant.
func FuzzRewrite(f *testing.F) {
	f.Add("From: \"The Boss\" <boss@corp.example>\r\nSender: x@y.example\r\n", "mfp@copier.example", "{original} via {device}")
	f.Add("From: =?utf-8?b?SsO8cmdlbg==?=\r\n <j@corp.example>, b@c.example\r\nResent-From: z@z.example\r\n", "", "")
	f.Add("From: staff: a@b.example, c@d.example;\r\n", "a@upstream.example", "{device}")
	f.Fuzz(func(t *testing.T, header, sender, display string) {
		from, err := envelope.ParseAddress(sender)
		if err != nil || strings.ContainsAny(display, "\r\n") {
			return
		}
		d := Identity{Domain: "upstream.example", LocalPart: "scans", DisplayName: display, Device: "mfp-1", ReplyTo: true}
		h := ParseHeader([]byte(header))
		to := d.Rewrite(h, from)
		if !to.IsNull() && !d.inside(to) {
			t.Fatalf("envelope sender %s", to)
		}
		senders, err := h.Senders()
		if err != nil {
			t.Fatalf("the header cannot be read any more: %v: %q", err, h.Append(nil))
		}
		for _, a := range senders {
			if !d.inside(a) {
				t.Fatalf("%s stayed: %q", a, h.Append(nil))
			}
		}
		for _, name := range []string{"From", "Reply-To"} {
			if header != "" && strings.Contains(strings.ToLower(header), "reply-to") {
				continue // the message's own
			}
			for _, f := range h.All(name) {
				if from.IsNull() || !bytes.HasSuffix(f.Raw, []byte("\r\n")) {
					continue
				}
				for _, line := range strings.Split(strings.TrimSuffix(string(f.Raw), "\r\n"), "\r\n")[1:] {
					if line == "" || line[0] != ' ' && line[0] != '\t' {
						t.Fatalf("%s breaks out of its field: %q", name, f.Raw)
					}
				}
			}
		}
		once := string(h.Append(nil))
		if d.Rewrite(h, to); string(h.Append(nil)) != once {
			t.Fatalf("a second rewrite changes %q to %q", once, h.Append(nil))
		}
	})
}

func TestNeverRewritesNothing(t *testing.T) {
	const header = "From: unreadable <<>\r\nSender: x@y.example\r\n"
	h := ParseHeader([]byte(header))
	from := envelope.Address{Local: "mfp", Domain: "copier.example"}
	if got := (Identity{Domain: "upstream.example", LocalPart: "scans", Never: true}).Rewrite(h, from); got != from || string(h.Append(nil)) != header {
		t.Errorf("sender %s, header %q", got, h.Append(nil))
	}
}

// A name cannot pass for an address, however it is written.
func TestANameIsNoAddress(t *testing.T) {
	for _, name := range []string{
		`"Jürgen <boss@corp.example>," <md@corp.example>`,
		`=?utf-8?q?J=C3=BCrgen_=3Cboss=40corp.example=3E=2C?= <md@corp.example>`,
		`"Boss <boss@corp.example>," <md@corp.example>`,
	} {
		h := ParseHeader([]byte("From: " + name + "\r\n"))
		d := Identity{Domain: "upstream.example", LocalPart: "scans", DisplayName: "{original} via mfp"}
		d.Rewrite(h, envelope.Address{Local: "md", Domain: "corp.example"})
		from, err := mail.ParseAddressList(h.Get("From"))
		if err != nil || len(from) != 1 || from[0].Address != "scans@upstream.example" {
			t.Errorf("%s: %q is read as %v, %v", name, h.Get("From"), from, err)
		}
	}
}

// What stands in From without being a mailbox is shown by some mail clients.
func TestSendersThatCannotBeRead(t *testing.T) {
	for _, header := range []string{"From: ,\r\n", "From: (ceo@corp.example)\r\n", "From: ceo@corp.example:;\r\n", "From: a@b.example\r\nSender: ()\r\n"} {
		h := ParseHeader([]byte(header))
		if got, err := h.Senders(); err == nil {
			t.Errorf("%q: senders %v", header, got)
		}
		never := Identity{Domain: "b.example", Never: true}
		if never.Fits(h, envelope.Address{Local: "a", Domain: "b.example"}) {
			t.Errorf("%q leaves under an identity that never rewrites", header)
		}
	}
	outside := ParseHeader([]byte("From: The CEO <ceo@corp.example>\r\n"))
	if (Identity{Domain: "b.example", Never: true}).Fits(outside, envelope.Address{Local: "a", Domain: "b.example"}) {
		t.Error("a From outside the domain leaves under an identity that never rewrites")
	}
}

func TestAnEmptyFromIsReplaced(t *testing.T) {
	got, _, err := take(t, "From:  \r\nSubject: x\r\n\r\nb\r\n", options())
	if err != nil || strings.Count(got, "From:") != 1 || !strings.Contains(got, "From: <") {
		t.Errorf("%v: %q", err, got)
	}
}

// A header costs no more memory than a small multiple of its bound, whatever it
// is made of (CWE-770).
func TestHeadersAreBounded(t *testing.T) {
	for name, header := range map[string]string{
		"commas":                 "From: " + strings.Repeat(",", maxHeader) + "\r\n",
		"commas within a field":  "From: " + strings.Repeat(",", maxSender-100) + "\r\n",
		"fields":                 strings.Repeat("a:\r\n", maxHeader/4),
		"From fields":            strings.Repeat("From:a@b.example\r\n", maxFields+1),
		"words to encode":        "To: " + strings.Repeat("\xe9 ", maxHeader/3) + "\r\n",
		"words to encode (From)": "From: " + strings.Repeat("\xe9 ", maxSender/3) + " <a@b.example>\r\n",
		"folds":                  "X: x\r\n" + strings.Repeat(" \r\n", maxHeader/4),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := take(t, header+"\r\nb\r\n", options())
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 64*maxHeader {
				t.Errorf("%d octets were allocated for a header of %d (%v)", used, len(header), err)
			}
		})
	}
}
