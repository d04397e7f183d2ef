package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/reply"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func options() IntakeOptions {
	return IntakeOptions{Hostname: "relay.test", ID: "ID1", Sender: envelope.Address{Local: "mfp", Domain: "copier.test"}, Now: noon}
}

func take(t *testing.T, in string, o IntakeOptions) (string, Facts, error) {
	t.Helper()
	var out bytes.Buffer
	f, err := Intake(&out, strings.NewReader(in), o)
	if err == nil && f.Size != int64(out.Len()) {
		t.Errorf("Facts.Size %d, wrote %d", f.Size, out.Len())
	}
	return out.String(), f, err
}

const head = "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n"

func TestIntakeRepairs(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"clean":                     {head + "\r\nbody\r\n", head + "\r\nbody\r\n"},
		"no line end at the end":    {head + "\r\nbody", head + "\r\nbody\r\n"},
		"no body":                   {head, head + "\r\n"},
		"bare LF":                   {strings.ReplaceAll(head, "\r", "") + "\none\ntwo\n", head + "\r\none\r\ntwo\r\n"},
		"bare CR":                   {head + "\r\none\rtwo\r\n", head + "\r\none two\r\n"},
		"CR CR LF":                  {head + "\r\none\r\r\ntwo\r\n", head + "\r\none \r\ntwo\r\n"},
		"CR at the very end":        {head + "\r\none\r", head + "\r\none \r\n"},
		"NUL":                       {head + "\r\no\x00ne\r\n", head + "\r\none\r\n"},
		"LF.LF stays content":       {head + "\r\na\n.\nb\r\n", head + "\r\na\r\n.\r\nb\r\n"},
		"CR.CR stays content":       {head + "\r\na\r.\rb\r\n", head + "\r\na . b\r\n"},
		"header without empty line": {head + "just text\r\n", head + "\r\njust text\r\n"},
		"empty lines first":         {"\r\n\r\n" + head + "\r\nbody\r\n", head + "\r\nbody\r\n"},
		"mailbox separator":         {"From a@b Mon\r\n" + head + "\r\nbody\r\n", head + "\r\nbody\r\n"},
		"folded Bcc goes":           {"Bcc: x@y,\r\n z@y\r\n" + head + "\r\nbody\r\n", head + "\r\nbody\r\n"},
		"Return-Path goes":          {"Return-Path: <x@y>\r\n" + head + "\r\nbody\r\n", head + "\r\nbody\r\n"},
		"all fields missing":        {"\r\nbody\r\n", "From: <mfp@copier.test>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <ID1@relay.test>\r\n\r\nbody\r\n"},
		"MIME-Version missing":      {head + "Content-Type: text/plain\r\n\r\nbody\r\n", head + "Content-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\nbody\r\n"},
		"address as its own name":   {"From: a@b.example <a@b.example>\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\nb\r\n", "From: \"a@b.example\" <a@b.example>\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\nb\r\n"},
		"8-bit subject":             {head + "Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nb\r\n", head + "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nb\r\n"},
		"Latin-1 subject":           {head + "Subject: Gr\xfc\xdfe\r\n\r\nb\r\n", head + "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nb\r\n"},
		"8-bit display name":        {"From: J\xf6rg <a@b.example>\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\nb\r\n", "From: =?utf-8?b?SsO2cmc=?= <a@b.example>\r\nDate: x\r\nMessage-ID: <1@b.example>\r\n\r\nb\r\n"},
		"8-bit file name":           {head + "Content-Type: application/pdf; name=\"B\xfcro.pdf\"\r\nMIME-Version: 1.0\r\n\r\nb\r\n", head + "Content-Type: application/pdf; name=\"=?utf-8?b?QsO8cm8ucGRm?=\"\r\nMIME-Version: 1.0\r\n\r\nb\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := take(t, tc.in, options())
			if err != nil || got != tc.want {
				t.Errorf("%v\n got %q\nwant %q", err, got, tc.want)
			}
			var slow bytes.Buffer
			if _, err := Intake(&slow, iotest.OneByteReader(strings.NewReader(tc.in)), options()); err != nil || slow.String() != got {
				t.Errorf("octet by octet it is another message: %v\n%q", err, slow.String())
			}
		})
	}
}

func TestIntakeRefuses(t *testing.T) {
	big := options()
	big.MaxSize = 200
	strict := options()
	strict.Reject = true
	for name, tc := range map[string]struct {
		in   string
		o    IntakeOptions
		want string
	}{
		"too large":         {head + "\r\n" + strings.Repeat("x", 200), big, "552 5.3.4"},
		"exactly as large":  {head + "\r\n" + strings.Repeat("x", 200-len(head)-4) + "\r\n", big, ""},
		"endless header":    {"X: " + strings.Repeat("x", maxHeader), options(), "552 5.3.4"},
		"bare LF, strict":   {head + "\r\na\nb\r\n", strict, "550 5.6.0"},
		"bare CR, strict":   {head + "\r\na\rb\r\n", strict, "550 5.6.0"},
		"too many hops":     {strings.Repeat("Received: from x\r\n", maxHops) + head + "\r\nb", options(), "554 5.4.6"},
		"was here before":   {strings.Repeat("Received: from x\r\n\tby relay.test (Printer Relay) with SMTP id 1; x\r\n", 3) + head + "\r\nb", options(), "554 5.4.6"},
		"not too many hops": {strings.Repeat("Received: from x\r\n", maxHops-1) + head + "\r\nb", options(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.NewReader(tc.in)
			_, err := Intake(io.Discard, src, tc.o)
			got := ""
			var r *reply.Reply
			if errors.As(err, &r) {
				got = r.String()
			} else if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if src.Len() != 0 {
				t.Errorf("%d octets were left unread: the session is out of step", src.Len())
			}
		})
	}
}

func TestIntakeTellsWhichSideFailed(t *testing.T) {
	boom := errors.New("boom")
	var s *SourceError
	if _, err := Intake(io.Discard, io.MultiReader(strings.NewReader(head), iotest.ErrReader(boom)), options()); !errors.As(err, &s) || !errors.Is(err, boom) {
		t.Errorf("source: %v", err)
	}
	if _, err := Intake(failingWriter{boom}, strings.NewReader(head+"\r\nb"), options()); errors.As(err, &s) || !errors.Is(err, boom) {
		t.Errorf("destination: %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestFacts(t *testing.T) {
	_, f, err := take(t, head+"\r\n"+strings.Repeat("x", 2000)+"\r\n\xfc\r\n", options())
	if err != nil || !f.EightBit || f.UTF8 || f.MaxLine != 2000 || f.HeaderSize != int64(len(head)+2) || f.MessageID != "<1@b.example>" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, f, _ := take(t, head+"Subject: \xc3\xbc\r\n\r\nplain\r\n", options()); f.EightBit || f.UTF8 { //nolint:errcheck // the facts say
		t.Errorf("%+v", f)
	}
}

func TestMailboxes(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.example":                             "a@b.example",
		"<a@b.example>":                           "a@b.example",
		"Scan <a@b.example>, c@d.example":         "a@b.example c@d.example",
		`"Doe, John" <a@b.example>`:               "a@b.example",
		"(x@y.example) a@b.example":               "a@b.example",
		"a@b.example (comment (nested))":          "a@b.example",
		"=?utf-8?q?a=40b.example?= <c@d.example>": "c@d.example",
		`"a@b.example" <"md"@corp.example>`:       "md@corp.example",
		"a@b.example <a@b.example>":               "a@b.example",
		"a@b.example, , c@d.example":              "a@b.example c@d.example",
	} {
		boxes, err := Mailboxes(in)
		var got []string
		for _, m := range boxes {
			got = append(got, m.Address.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"<a@b.example> <c@d.example>", "<a@b.example> c@d.example", "a@b.example <c@d", `"open <a@b.example>`, "(open a@b.example", "a b@c.example", "a@b.example c@d.example", "<@x.example:a@b.example>", "a@b.example>",
		"undisclosed-recipients:;", "staff: a@b.example;", "ceo@corp.example:;", "ceo@corp.example:;, <a@b.example>", `"Director ceo@corp.example":;`,
		strings.Repeat("a@b.example, ", 200),
	} {
		if boxes, err := Mailboxes(in); err == nil {
			t.Errorf("%q passed as %+v", in, boxes)
		}
	}
}

func TestIdentity(t *testing.T) {
	md := envelope.Address{Local: "md", Domain: "corp.example"}
	inside := envelope.Address{Local: "mfp", Domain: "Out.example"}
	id := Identity{Domain: "out.example", LocalPart: "scans", DisplayName: "{original} via {device}", Device: "mfp-3", ReplyTo: true}
	always, never := id, id
	always.Always, never.Never = true, true
	for name, tc := range map[string]struct {
		id           Identity
		header       string
		sender       envelope.Address
		from         string
		want, wantNo []string
	}{
		"outside":            {id, "From: Jörg <md@corp.example>\r\nSender: x@y.example\r\n", md, "scans@out.example", []string{"<scans@out.example>", "Reply-To: =?utf-8?b?SsO2cmc=?= <md@corp.example>"}, []string{"Sender:"}},
		"outside, no name":   {id, "From: md@corp.example\r\n", md, "scans@out.example", []string{`From: "md@corp.example via mfp-3" <scans@out.example>`, "Reply-To: "}, nil},
		"folded and encoded": {id, "From: =?utf-8?q?J=C3=B6rg?=\r\n <md@corp.example>\r\n", md, "scans@out.example", []string{"From: =?utf-8?b?SsO2cmcgdmlhIG1mcC0z?= <scans@out.example>"}, []string{"From: =?utf-8?q?J=C3=B6rg?=\r\n"}},
		"inside stays":       {id, "From: mfp@out.example\r\nDKIM-Signature: x\r\n", inside, "mfp@Out.example", []string{"From: mfp@out.example", "DKIM-Signature"}, []string{"Reply-To"}},
		"inside but header":  {id, "From: md@corp.example\r\nDKIM-Signature: x\r\n", inside, "scans@out.example", []string{"<scans@out.example>"}, []string{"DKIM-Signature"}},
		"always":             {always, "From: mfp@out.example\r\n", inside, "scans@out.example", []string{"<scans@out.example>"}, []string{"Reply-To"}},
		"never":              {never, "From: md@corp.example\r\n", md, "md@corp.example", []string{"From: md@corp.example"}, []string{"scans"}},
		"null sender":        {id, "From: md@corp.example\r\n", envelope.Address{}, "", []string{"<scans@out.example>"}, nil},
		"two From fields":    {id, "From: md@corp.example\r\nFrom: x@corp.example\r\n", md, "scans@out.example", nil, []string{"x@corp.example"}},
		"has a Reply-To":     {id, "From: md@corp.example\r\nReply-To: it@corp.example\r\n", md, "scans@out.example", []string{"Reply-To: it@corp.example"}, []string{"Reply-To: <md"}},
		"unreadable From":    {id, "From: <a@b> <c@d>\r\n", md, "scans@out.example", []string{"<scans@out.example>"}, []string{"<c@d>"}},
		"name cannot inject": {id, "From: \"a\\\"b\" <md@corp.example>\r\n", md, "scans@out.example", []string{`"a\"b via mfp-3"`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := ParseHeader([]byte(tc.header))
			from := tc.id.Rewrite(h, tc.sender)
			got := string(h.Append(nil))
			if from.String() != tc.from {
				t.Errorf("MAIL FROM %s, want %s", from, tc.from)
			}
			for _, w := range tc.want {
				if !strings.Contains(got, w) {
					t.Errorf("lacks %q:\n%s", w, got)
				}
			}
			for _, w := range tc.wantNo {
				if strings.Contains(got, w) {
					t.Errorf("has %q:\n%s", w, got)
				}
			}
		})
	}
}

func mimePart(fields, body string) string { return "--b\r\n" + fields + "\r\n\r\n" + body + "\r\n" }

func TestAttachments(t *testing.T) {
	const (
		pdf  = "JVBERi0xLjQKJcOkw7zDtsOf"
		exe  = "TVqQAAMAAAAEAAAA//8AALgA"
		text = "Content-Type: text/plain"
	)
	multi := func(parts ...string) string {
		return head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" + strings.Join(parts, "") + "--b--\r\n"
	}
	b64 := "\r\nContent-Transfer-Encoding: base64"
	for name, tc := range map[string]struct {
		message string
		ok      bool
	}{
		"text alone":                     {head + "\r\nhello\r\n", true},
		"pdf":                            {multi(mimePart(text, "hi"), mimePart("Content-Type: application/pdf; name=scan.pdf"+b64, pdf)), true},
		"pdf as octet-stream":            {multi(mimePart("Content-Type: application/octet-stream; name=scan.pdf"+b64, pdf)), true},
		"wrong case":                     {multi(mimePart("CONTENT-TYPE: Application/PDF; NAME=\"SCAN.PDF\""+b64, pdf)), true},
		"name by RFC 2231":               {multi(mimePart("Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*0=sc; filename*1=an.pdf"+b64, pdf)), true},
		"name by RFC 2047":               {multi(mimePart("Content-Type: application/pdf; name=\"=?utf-8?q?sc=C3=A4n=2Epdf?=\""+b64, pdf)), true},
		"whole message is the pdf":       {head + "MIME-Version: 1.0\r\nContent-Type: application/pdf; name=a.pdf" + b64 + "\r\n\r\n" + pdf + "\r\n", true},
		"exe":                            {multi(mimePart("Content-Type: application/x-msdownload; name=a.exe"+b64, exe)), false},
		"exe by another type":            {multi(mimePart("Content-Type: application/pdf; name=a.pdf"+b64, exe)), false},
		"exe by another name":            {multi(mimePart("Content-Type: application/pdf; name=a.exe"+b64, pdf)), false},
		"exe by RFC 2231 name":           {multi(mimePart("Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''a%2Eexe"+b64, pdf)), false},
		"two names":                      {multi(mimePart("Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.exe"+b64, pdf)), false},
		"html attachment":                {multi(mimePart("Content-Type: text/html; name=a.html", "<html>")), false},
		"text with an exe inside":        {multi(mimePart("Content-Type: text/plain; name=a.exe"+b64, exe)), false},
		"uuencode in the text":           {head + "\r\nbegin 644 a.exe\r\nM...\r\nend\r\n", false},
		"partial":                        {head + "Content-Type: message/partial; id=a; number=1; total=2\r\n\r\nx\r\n", false},
		"external body":                  {head + "Content-Type: message/external-body; access-type=URL\r\n\r\nx\r\n", false},
		"nested multipart":               {multi("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/pdf; name=a.exe" + b64 + "\r\n\r\n" + exe + "\r\n--c--\r\n"), false},
		"inside a forwarded message":     {multi("--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: application/x-msdownload; name=a.exe" + b64 + "\r\n\r\n" + exe + "\r\n"), false},
		"Content-Type twice":             {multi(mimePart("Content-Type: application/pdf\r\nContent-Type: application/x-msdownload; name=a.exe"+b64, pdf)), false},
		"unknown encoding":               {multi(mimePart("Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: x-uuencode", pdf)), false},
		"multipart without a boundary":   {head + "Content-Type: multipart/mixed\r\n\r\nx\r\n", false},
		"type with a comment":            {multi(mimePart("Content-Type: application/pdf (a.exe); name=scan.pdf"+b64, pdf)), true},
		"octet-stream without a name":    {multi(mimePart("Content-Type: application/octet-stream"+b64, "AAECAwQF")), false},
		"nested too deeply":              {deep(maxDepth + 1), false},
		"quoted-printable pdf":           {multi(mimePart("Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: quoted-printable", "=25PDF-1.4")), true},
		"boundary of an outer multipart": {multi("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"+text+"\r\n\r\nhi\r\n", mimePart("Content-Type: application/x-msdownload; name=a.exe"+b64, exe)), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.Attachments = []string{"application/pdf"}
			_, _, err := take(t, tc.message, o)
			if (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
			var slow bytes.Buffer
			if _, err := Intake(&slow, iotest.OneByteReader(strings.NewReader(tc.message)), o); (err == nil) != tc.ok {
				t.Errorf("octet by octet: %v", err)
			}
		})
	}
}

func deep(n int) string {
	var b strings.Builder
	b.WriteString(head + "Content-Type: multipart/mixed; boundary=b0\r\n\r\n")
	for i := range n {
		c := string(rune('0' + i))
		b.WriteString("--b" + c + "\r\nContent-Type: multipart/mixed; boundary=b" + string(rune('1'+i)) + "\r\n\r\n")
	}
	return b.String()
}

func FuzzIntake(f *testing.F) {
	f.Add([]byte(head + "\r\nbody\r\n.\n.\r"))
	f.Add([]byte("From: \xff <a@b>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, types := range [][]string{nil, {"application/pdf"}} {
			o := options()
			o.Attachments = types
			var out bytes.Buffer
			if _, err := Intake(&out, bytes.NewReader(in), o); err != nil {
				continue
			}
			got := out.String()
			if strings.Contains(got, "\x00") || strings.ContainsAny(strings.ReplaceAll(got, "\r\n", ""), "\r\n") || !strings.HasSuffix(got, "\r\n") {
				t.Fatalf("not normalised: %q", got)
			}
			var again bytes.Buffer
			if _, err := Intake(&again, strings.NewReader(got), o); err != nil || again.String() != got {
				t.Fatalf("a second intake changes it (%v):\n%q\n%q", err, got, again.String())
			}
		}
	})
}

func FuzzMailboxes(f *testing.F) {
	f.Add(`"a" <b@c>, d@e (f)`)
	f.Fuzz(func(t *testing.T, s string) {
		boxes, err := Mailboxes(s)
		for _, m := range boxes {
			if err == nil && (m.Address.IsNull() || strings.ContainsAny(m.Address.String(), "\r\n")) {
				t.Fatalf("%q: %+v", s, m)
			}
		}
	})
}

func BenchmarkIntake(b *testing.B) {
	for name, size := range map[string]int{"4kB": 4 << 10, "10MB": 10 << 20} {
		msg := []byte(head + "\r\n" + strings.Repeat(strings.Repeat("A", 76)+"\r\n", size/78))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Intake(io.Discard, bytes.NewReader(msg), options()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
