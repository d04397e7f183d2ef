package message

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// FuzzLines: whatever octets come, in whatever pieces, what goes out is what the
// plain rule says: CRLF and LF end a line, another CR is a space, NUL is nothing.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\rd\x00e\r\r\nf"), uint8(3))
	f.Add([]byte("\r\x00\n.\r\n"), uint8(1))
	f.Add([]byte("ab\rcd\r"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		want := strings.ReplaceAll(string(in), "\r\n", "\n")
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		want = strings.NewReplacer("\r", " ", "\x00", "", "\n", "\r\n").Replace(want)
		var got []byte
		l := lines{out: func(p []byte, last bool) error {
			if got = append(got, p...); last {
				got = append(got, '\r', '\n')
			}
			return nil
		}}
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			if err := l.write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Fatalf("%q in pieces of %d: %q, want %q", in, int(size)+1, got, want)
		}
		if high := !isASCII(in); l.high != high {
			t.Fatalf("%q: 8-bit %v, want %v", in, l.high, high)
		}
		if clean := string(got) == string(in); (l.repairs == 0) != clean {
			t.Fatalf("%q: %d repairs, unchanged %v", in, l.repairs, clean)
		}
	})
}

// FuzzLinesReject: a listener that rejects takes nothing but CRLF.
func FuzzLinesReject(f *testing.F) {
	f.Add([]byte("a\r\nb\n"), uint8(3))
	f.Add([]byte("a\r"), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		l := lines{reject: true, out: func([]byte, bool) error { return nil }}
		var err error
		for rest := in; len(rest) > 0 && err == nil; {
			n := min(len(rest), int(size)+1)
			err = l.write(rest[:n])
			rest = rest[n:]
		}
		if err == nil {
			err = l.close()
		}
		if bare := strings.ContainsAny(strings.ReplaceAll(string(in), "\r\n", ""), "\r\n"); bare != (err != nil) {
			t.Fatalf("%q: %v", in, err)
		}
	})
}

// FuzzEncodeField: a raw 8-bit field becomes one of ASCII that stays within its
// field and says the same; addresses stay what they were.
func FuzzEncodeField(f *testing.F) {
	f.Add("Subject", "Gr\xfc\xdfe =?utf-8?q?x?=")
	f.Add("Subject", strings.Repeat("ä", 300))
	f.Add("To", "J\xc3\xb6rg \"M\xc3\xbcller, H\" <a@b.example>, c@d.example (\xc3\xbc)")
	f.Add("Content-Disposition", "attachment; filename=\"B\xc3\xbcro \\\" x.pdf\"")
	f.Fuzz(func(t *testing.T, name, value string) {
		if n, ok := fieldName([]byte(name + ":")); !ok || n != name || strings.ContainsAny(value, "\r\n\x00") || isASCII([]byte(value)) {
			return
		}
		in := NewField(name, value)
		out := encodeField(in)
		if !strings.EqualFold(out.Name, in.Name) || !bytes.HasSuffix(out.Raw, []byte("\r\n")) {
			t.Fatalf("%q became %q", in.Raw, out.Raw)
		}
		if !isAddressField(in) && !isASCII(out.Raw) {
			t.Fatalf("%q is not ASCII: %q", in.Raw, out.Raw)
		}
		// An encoded word is at most 75 octets for one or more characters.
		if len(out.Raw) > len(in.Raw)*len("\r\n =?utf-8?b?w7w=?=")+100 {
			t.Fatalf("%d octets became %d", len(in.Raw), len(out.Raw))
		}
		lines := strings.Split(strings.TrimSuffix(string(out.Raw), "\r\n"), "\r\n")
		for _, line := range lines[1:] {
			if line == "" || line[0] != ' ' && line[0] != '\t' {
				t.Fatalf("%q breaks out of its field: %q", in.Raw, out.Raw)
			}
		}
		switch {
		case isAddressField(in):
			sameAddresses(t, in, out)
		case !strings.HasPrefix(strings.ToLower(name), "content-"):
			got, err := new(mime.WordDecoder).DecodeHeader(out.Value())
			if want := toUTF8(in.Value()); err != nil || got != want {
				t.Fatalf("%q is read as %q, %v; want %q", out.Raw, got, err, want)
			}
		}
	})
}

func sameAddresses(t *testing.T, in, out Field) {
	t.Helper()
	want, err := Mailboxes(toUTF8(in.Value()))
	if err != nil || slices.ContainsFunc(want, func(m Mailbox) bool { return m.Address.Domain == "" }) {
		return // a word without a domain is a name
	}
	got, err := Mailboxes(out.Value())
	if err != nil || len(got) != len(want) {
		t.Fatalf("%q -> %q: %v, %v; want %v", in.Raw, out.Raw, got, err, want)
	}
	for i := range got {
		if got[i].Address != want[i].Address {
			t.Fatalf("%q -> %q: %s, want %s", in.Raw, out.Raw, got[i].Address, want[i].Address)
		}
	}
}

// FuzzMailboxesAgree: what is checked is what others read. Where Go's parser
// takes a list that ours takes too, both see the same addresses.
func FuzzMailboxesAgree(f *testing.F) {
	for _, s := range []string{`"a, b" <c@d.example>, e@f.example`, `a@b.example (c <d@e.example>)`, `=?utf-8?q?=3Ca=40b=3E?= <c@d.example>`, `"x@y"@z.example`, `a@[192.0.2.1]`, `"\"" <a@b.example>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // a value is unfolded
		}
		ours, err := Mailboxes(s)
		if err != nil {
			return
		}
		theirs, err := mail.ParseAddressList(s)
		if err != nil {
			return
		}
		if len(ours) != len(theirs) {
			t.Fatalf("%q: %v, and Go reads %v", s, ours, theirs)
		}
		for i, m := range ours {
			a := m.Address
			if a.Local+"@"+a.Domain != theirs[i].Address {
				t.Fatalf("%q: %s, and Go reads %s", s, a, theirs[i].Address)
			}
		}
	})
}

// FuzzFormatMailbox: any name and address are read back as they are.
func FuzzFormatMailbox(f *testing.F) {
	f.Add("Jürgen \"the boss\" <x@y>, via mfp-3", "scans")
	f.Add("=?utf-8?q?x?=", "a b")
	f.Add("Doe, boss", "scans")
	f.Add(strings.Repeat("ü,", 100), "a\"b")
	f.Fuzz(func(t *testing.T, name, local string) {
		a, err := envelope.ParseAddress(envelope.Address{Local: local, Domain: "b.example"}.String())
		if err != nil || !a.ASCII() {
			return
		}
		name = decodeName(name) // as the relay's names come: without control characters
		s := FormatMailbox(name, a.String())
		if !isASCII([]byte(s)) {
			t.Fatalf("%q is not ASCII", s)
		}
		unfolded := NewField("From", s).Value()
		boxes, err := Mailboxes(unfolded)
		if err != nil || len(boxes) != 1 || boxes[0].Address != a {
			t.Fatalf("%q <%s> is written %q and read %v, %v", name, a, s, boxes, err)
		}
		if list, err := mail.ParseAddressList(unfolded); err == nil && (len(list) != 1 || list[0].Address != a.Local+"@"+a.Domain) {
			t.Fatalf("%q <%s> is written %q; Go reads %v", name, a, s, list)
		}
	})
}

// FuzzRewriteLeavesTheRest: but for the fields that the design names, a rewrite
// gives the header back octet for octet, in order.
func FuzzRewriteLeavesTheRest(f *testing.F) {
	f.Add([]byte("Received: x\r\n\ty\r\nFrom: md@corp.example\r\nSubject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\nX : old\r\nDKIM-Signature: z\r\nTo: a@b\r\n"), true)
	f.Add([]byte("subject: x\r\nFROM: a@upstream.example\r\nsender: b@c.example\r\n"), false)
	f.Fuzz(func(t *testing.T, in []byte, replyTo bool) {
		rest := func(h *Header) (s string) {
			for _, f := range h.Fields {
				switch strings.ToLower(f.Name) {
				case "from", "sender", "reply-to", "resent-from", "resent-sender", "dkim-signature", "return-path", "disposition-notification-to":
				default:
					s += string(f.Raw)
				}
			}
			return s
		}
		h := ParseHeader(bytes.Clone(in))
		before, replies := rest(h), len(h.All("Reply-To"))
		d := Identity{Domain: "upstream.example", LocalPart: "scans", DisplayName: "{original}", ReplyTo: replyTo}
		d.Rewrite(h, envelope.Address{Local: "md", Domain: "corp.example"})
		if got := rest(h); got != before {
			t.Fatalf("%q became %q", before, got)
		}
		if n := len(h.All("Reply-To")); len(h.All("From")) != 1 || n < replies || n > max(1, replies) {
			t.Fatalf("%q became %q", in, h.Append(nil))
		}
	})
}

// FuzzPending: whatever a header says of recipients, each of the envelope is in one
// list, once, and nobody else is in any.
func FuzzPending(f *testing.F) {
	f.Add("To: a@x.test, b@x.test\r\nCc: \"A\" <A@X.TEST>\r\n", "a@x.test c@x.test")
	f.Add("To: g: a@x.test;\r\nCc: (a@x.test) b@x.test,,\r\n", "a@x.test a@x.test b@x.test")
	f.Fuzz(func(t *testing.T, header, list string) {
		left := map[string]bool{}
		var pending []envelope.Address
		for s := range strings.FieldsSeq(list) {
			if a, err := envelope.ParseAddress(s); err == nil {
				pending, left[a.Key()] = append(pending, a), true
			}
		}
		r := ParseHeader([]byte(header)).Pending(pending)
		all := slices.Clone(r.Bcc)
		for _, m := range slices.Concat(r.To, r.Cc) {
			all = append(all, m.Address)
		}
		for _, a := range all {
			if !left[a.Key()] {
				t.Fatalf("%s is not pending, or there twice: %+v", a, r)
			}
			delete(left, a.Key())
		}
		if len(left) > 0 {
			t.Fatalf("%v are lost: %+v", left, r)
		}
	})
}
