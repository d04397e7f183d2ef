package translate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

var rules = Rules{Service: "Example", Fields: []Rule{{"X-Order", Refused, "an order"}}}

// opens gives a message with CRLF line ends as often as it is asked for.
func opens(message string) func() (io.ReadCloser, error) {
	message = strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n")
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(message)), nil }
}

// document puts all that there is into a document, attachments first so that the
// texts are behind them in it and before them in the message.
func document(m *Message) *Document {
	d := m.Document()
	d.Put(`{"attachments":[`)
	for i, p := range m.Attachments {
		if i > 0 {
			d.Put(",")
		}
		d.Part(p)
	}
	d.Put(`],"html":`)
	if m.HTML == nil {
		d.Value(nil)
	} else {
		d.Part(m.HTML)
	}
	d.Put(`,"text":`)
	if m.Text == nil {
		d.Value(nil)
	} else {
		d.Part(m.Text)
	}
	d.Put("}")
	return d
}

// translated is all of a message in lines.
func translated(t *testing.T, m *Message) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "from %s <%s>\n", m.From.Name, m.From.Address)
	for _, r := range m.ReplyTo {
		fmt.Fprintf(&b, "reply to %s <%s>\n", r.Name, r.Address)
	}
	if m.Subject != "" {
		fmt.Fprintf(&b, "subject %s\n", m.Subject)
	}
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "field %s: %s\n", f.Name, f.Value)
	}
	d := document(m)
	for range 2 { // it can be read again
		r, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(iotest.OneByteReader(r))
		if err != nil {
			t.Fatal(err)
		}
		if r.Close(); int64(len(raw)) != d.Length() {
			t.Fatalf("%d octets, %d were said: %q", len(raw), d.Length(), raw)
		}
		var said struct {
			Attachments []string
			Text, HTML  *string
		}
		if err := json.Unmarshal(raw, &said); err != nil {
			t.Fatalf("%v: %q", err, raw)
		}
		if b.Len() > 0 && strings.Contains(b.String(), "\ntext ") {
			continue
		}
		if said.Text != nil {
			fmt.Fprintf(&b, "text %q\n", *said.Text)
		}
		if said.HTML != nil {
			fmt.Fprintf(&b, "html %q\n", *said.HTML)
		}
		for i, a := range said.Attachments {
			content, err := base64.StdEncoding.Strict().DecodeString(a)
			if err != nil {
				t.Fatal(err)
			}
			p := m.Attachments[i]
			if p.Size != int64(len(content)) {
				t.Errorf("%s: %d octets, %d were said", p.Name, len(content), p.Size)
			}
			fmt.Fprintf(&b, "attachment %s %s", p.Type, p.Name)
			if p.ContentID != "" {
				fmt.Fprintf(&b, " %s", p.ContentID)
			}
			if p.Inline {
				b.WriteString(" inline")
			}
			fmt.Fprintf(&b, " %q\n", content)
		}
		break
	}
	return b.String()
}

const (
	from  = "From: <a@b.test>\n"
	mixed = from + "Content-Type: multipart/mixed; boundary=b\n\n"
	pdf   = "--b\nContent-Type: application/pdf; name=scan.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0x\nLjc=\n"
	end   = "--b--\n"
)

func TestTranslate(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"a text":              {from + "Subject: =?iso-8859-1?q?Gr=FC=DFe?=\n\nhello \"you\" \\ \x01\n", "from  <a@b.test>\nsubject Grüße\ntext \"hello \\\"you\\\" \\\\ \\x01\\r\\n\"\n"},
		"no text":             {from, "from  <a@b.test>\ntext \"\"\n"},
		"names":               {"From: \"Copier, 3rd\" <A@B.test>\nReply-To: =?utf-8?q?J=C3=B6rg?= <j@b.test>, k@b.test\n\nx\n", "from Copier, 3rd <A@B.test>\nreply to Jörg <j@b.test>\nreply to  <k@b.test>\ntext \"x\\r\\n\"\n"},
		"a domain in Unicode": {"From: <a@büro.test>\n\nx\n", "from  <a@xn--bro-hoa.test>\ntext \"x\\r\\n\"\n"},
		"an unknown word":     {from + "Subject: =?klingon?q?x?= y\n\nx\n", "from  <a@b.test>\nsubject =?klingon?q?x?= y\ntext \"x\\r\\n\"\n"},
		"a word with a line":  {from + "Subject: =?utf-8?q?x=0D=0ABcc:_v?=\n\nx\n", "from  <a@b.test>\nsubject =?utf-8?q?x=0D=0ABcc:_v?=\ntext \"x\\r\\n\"\n"},
		"fields": {
			from + "Received: x\nDate: y\nX-A: 1\nx-a: 1\nImportance: high\nReferences: <a@b>\n <c@d>\nX-Empty:\nMessage-ID: <m@b>\nDKIM-Signature: z\nARC-Seal: s\nContent-Language: de\nSender: <s@b.test>\n\nx\n",
			"from  <a@b.test>\nfield X-A: 1\nfield Importance: high\nfield References: <a@b> <c@d>\nfield Message-ID: <m@b>\nfield Sender: <s@b.test>\ntext \"x\\r\\n\"\n",
		},
		"8-bit field": {from + "X-A: gr\xc3\xbcn\n\nx\n", "from  <a@b.test>\nfield X-A: =?utf-8?q?gr=C3=BCn?=\ntext \"x\\r\\n\"\n"},
		"a scan":      {mixed + "--b\nContent-Type: text/plain\n\nsee scan\n" + pdf + end, "from  <a@b.test>\ntext \"see scan\"\nattachment application/pdf scan.pdf \"%PDF-1.7\"\n"},
		"the scan only": {
			from + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf\nContent-Transfer-Encoding: base64\n\nQUI=\n",
			"from  <a@b.test>\nattachment application/pdf über.pdf \"AB\"\n",
		},
		"a scan first": {mixed + pdf + "--b\n\nsee scan\n" + end, "from  <a@b.test>\ntext \"see scan\"\nattachment application/pdf scan.pdf \"%PDF-1.7\"\n"},
		"blank texts between": {
			mixed + "--b\n\nsee\n" + pdf + "--b\n\n\n \n--b\nContent-Type: image/png; name=\"=?utf-8?b?w7wucG5n?=\"\n\nPNG\n" + end,
			"from  <a@b.test>\ntext \"see\"\nattachment application/pdf scan.pdf \"%PDF-1.7\"\nattachment image/png ü.png \"PNG\"\n",
		},
		"a second text":  {mixed + "--b\n\none\n" + pdf + "--b\n\ntwo\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment application/pdf scan.pdf \"%PDF-1.7\"\nattachment text/plain part-4.txt \"two\"\n"},
		"without a name": {mixed + "--b\n\none\n--b\nContent-Type: image/tiff\n\nII\n--b\nContent-Type: application/x-odd\n\no\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment image/tiff part-3.tif \"II\"\nattachment application/x-odd part-4 \"o\"\n"},
		"alternatives": {
			from + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html; charset=iso-8859-15\nContent-Transfer-Encoding: quoted-printable\n\n<p>=A4=\n</p>\n" + end,
			"from  <a@b.test>\ntext \"one\"\nhtml \"<p>€</p>\"\n",
		},
		"html alone":       {from + "Content-Type: text/html\n\n<p>\n", "from  <a@b.test>\nhtml \"<p>\\r\\n\"\n"},
		"html beside text": {mixed + "--b\n\none\n--b\nContent-Type: text/html\n\n<p>\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment text/html part-3.html \"<p>\"\n"},
		"related": {
			from + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n<img src=cid:i@b>\n" +
				"--c\nContent-Type: image/png\nContent-ID: <i@b>\nContent-Transfer-Encoding: base64\n\nQQ==\n--c--\n" + end,
			"from  <a@b.test>\ntext \"one\"\nhtml \"<img src=cid:i@b>\"\nattachment image/png part-5.png i@b inline \"A\"\n",
		},
		"base64 text":       {from + "Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nZ3LD\n vG4=\n", "from  <a@b.test>\ntext \"grün\"\n"},
		"shift_jis":         {from + "Content-Type: text/plain; charset=shift_jis\n\n\x83X\x83L\x83\x83\x83\x93\n", "from  <a@b.test>\ntext \"スキャン\\r\\n\"\n"},
		"UTF-8 as ASCII":    {from + "Content-Type: text/plain; charset=us-ascii\n\ngr\xc3\xbcn\n", "from  <a@b.test>\ntext \"grün\\r\\n\"\n"},
		"a mail in a mail":  {mixed + "--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment message/rfc822 part-3.eml \"Subject: in\\r\\n\\r\\nx\"\n"},
		"a report":          {from + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/delivery-status\n\nX: y\n--b\nContent-Type: text/rfc822-headers\n\nSubject: z\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment message/delivery-status part-3.txt \"X: y\"\nattachment text/rfc822-headers part-4.txt \"Subject: z\"\n"},
		"an attached text":  {mixed + "--b\n\none\n--b\nContent-Type: text/plain; charset=latin1\nContent-Disposition: attachment\n\n\xfc\n" + end, "from  <a@b.test>\ntext \"one\"\nattachment text/plain part-3.txt \"\\xfc\"\n"},
		"long":              {from + "\n" + strings.Repeat("ä\"", 50_000) + "\n", "from  <a@b.test>\ntext \"" + strings.Repeat("ä\\\"", 50_000) + "\\r\\n\"\n"},
		"no escape":         {from + "Content-Transfer-Encoding: quoted-printable\n\nx=ZZ=3D\n", "from  <a@b.test>\ntext \"x=ZZ=\\r\\n\"\n"}, // RFC 2045 6.7
		"unknown and ASCII": {from + "Content-Type: text/plain; charset=unknown-8bit\n\nx\n", "from  <a@b.test>\ntext \"x\\r\\n\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Read(t.Context(), opens(c.in), &rules)
			if err != nil {
				t.Fatal(err)
			}
			if got := translated(t, m); got != c.want {
				t.Errorf("got  %.400s\nwant %.400s", got, c.want)
			}
		})
	}
}

// What cannot be carried is refused, and why is said.
func TestRefused(t *testing.T) {
	part := func(header, body string) string {
		return mixed + "--b\n\none\n--b\n" + header + "\n\n" + body + "\n" + end
	}
	for name, c := range map[string]struct{ in, want string }{
		"no From":               {"Subject: x\n\nx\n", "a From of 0 mailboxes"},
		"two From":              {from + from + "\nx\n", "From, which is there 2 times"},
		"two in From":           {"From: a@b.test, c@d.test\n\nx\n", "a From of 2 mailboxes"},
		"unreadable From":       {"From: <a@b.test\n\nx\n", "From: the addresses cannot be read for certain"},
		"quoted From":           {"From: <\"a b\"@b.test>\n\nx\n", `the address "a b"@b.test: the local part needs quotes`},
		"Reply-To":              {from + "Reply-To: <ü@b.test>\n\nx\n", "the address ü@b.test: the local part is not ASCII"},
		"two subjects":          {from + "Subject: a\nSubject: b\n\nx\n", "Subject, which is there 2 times"},
		"a subject in octets":   {from + "Subject: \xfc\n\nx\n", "Subject: control characters or octets that are no UTF-8"},
		"a field in octets":     {from + "X-A: \x01\n\nx\n", "X-A: control characters or octets that are no UTF-8"},
		"an order":              {from + "x-order: now\n\nx\n", "x-order: an order"},
		"resent":                {from + "Resent-To: a@b.test\n\nx\n", "Resent-To: several fields that belong together, in an order that no service keeps"},
		"a field twice":         {from + "X-A: 1\nX-a: 2\n\nx\n", "X-a, which is there twice"},
		"signed":                {from + "Content-Type: multipart/signed; boundary=b; micalg=sha-256\n\n--b\n\none\n--b\nContent-Type: application/pkcs7-signature\n\nx\n" + end, "multipart/signed: a signature or encryption is over the message as it is"},
		"encrypted":             {from + "Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/octet-stream\n\nx\n" + end, "multipart/encrypted: a signature or encryption is over the message as it is"},
		"S/MIME":                {from + "Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nQQ==\n", "application/pkcs7-mime: a signature or encryption is over the message as it is"},
		"partial":               {from + "Content-Type: message/partial; number=1; id=x\n\nx\n", "message/partial, which is not the whole of a message"},
		"external":              {part("Content-Type: message/external-body; access-type=x", "Content-Type: a/b\n"), "message/external-body, which is not the whole of a message"},
		"octets in a text":      {from + "\ngr\xfcn\n", "a text with octets over 127 that are no UTF-8, and no charset"},
		"octets in UTF-8":       {from + "Content-Type: text/plain; charset=utf-8\n\ngr\xfcn\n", `a text in the charset "utf-8": octets that are not of its charset`},
		"a cut character":       {from + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\ngsM=\n", `a text in the charset "utf-8": octets that are not of its charset`},
		"an unknown charset":    {from + "Content-Type: text/plain; charset=klingon\n\nx\n", `a text in the charset "klingon": octets that are not of its charset`},
		"UTF-7":                 {from + "Content-Type: text/plain; charset=utf-7\n\n+AOQ-\n", `a text in the charset "utf-7": octets that are not of its charset`},
		"UTF-16":                {from + "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\nAHg=\n", `a text in the charset "utf-16": octets that are not of its charset`},
		"a Korean one":          {from + "Content-Type: text/plain; charset=iso-2022-kr\n\nx\n", `a text in the charset "iso-2022-kr": octets that are not of its charset`},
		"bad shift_jis":         {from + "Content-Type: text/plain; charset=shift_jis\n\n\x83\n", `a text in the charset "shift_jis": octets that are not of its charset`},
		"base64 cut short":      {part("Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64", "QUI"), "a.png, whose base64 cannot be decoded"},
		"base64 and more":       {part("Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64", "QQ==\nQQ=="), "a.png, whose base64 cannot be decoded"},
		"no base64":             {part("Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64", "Q*Q="), "a.png, whose base64 cannot be decoded"},
		"an empty file":         {part("Content-Type: image/png; name=a.png", ""), "the attachment a.png, which is empty"},
		"two names":             {part("Content-Type: image/png; name=\"=?klingon?q?x?=\"", "x"), "a message that is unclear: file name"},
		"an odd Content-ID":     {part("Content-Type: image/png\nContent-ID: <a b>", "x"), "a Content-ID that is no msg-id"},
		"no end":                {mixed + "--b\n\none\n", "a multipart that does not end"},
		"an encoding of no RFC": {part("Content-Transfer-Encoding: x-gzip64", "x"), "the encoding x-gzip64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(t.Context(), opens(c.in), &rules)
			var u *UncarriedError
			if !errors.As(err, &u) || u.What != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	in := from + "\n" + strings.Repeat("x", 100) + "\n"
	if _, err := Read(t.Context(), opens(in), &Rules{Service: "Example", Body: 102}); err != nil {
		t.Error(err)
	}
	_, err := Read(t.Context(), opens(in), &Rules{Service: "Example", Body: 101})
	if err == nil || err.Error() != "a text of 102 octets, of which Example takes 101" {
		t.Error(err)
	}
	for limit, want := range map[int64]string{0: "", 144: "", 143: "a request of 144 octets, of which Example takes 143"} {
		m, err := Read(t.Context(), opens(in), &Rules{Service: "Example", Request: limit})
		if err != nil {
			t.Fatal(err)
		}
		if err := document(m).TooLarge(); (err != nil) != (want != "") || err != nil && err.Error() != want {
			t.Errorf("%d: %v", limit, err)
		}
	}
}

// Repeated fields go where a service can carry them.
func TestRepeats(t *testing.T) {
	m, err := Read(t.Context(), opens(from+"X-A: 1\nX-A: 2\nX-A: 2\n\nx\n"), &Rules{Repeats: true})
	if err != nil || fmt.Sprint(m.Fields) != "[{X-A 1} {X-A 2} {X-A 2}]" {
		t.Errorf("%v %v", m, err)
	}
}

func TestRecipients(t *testing.T) {
	m, err := Read(t.Context(), opens(from+"To: A <a@x.test>, z@x.test\nCc: =?utf-8?q?=C3=9C?= <b@x.test>\n\nx\n"), &rules)
	if err != nil {
		t.Fatal(err)
	}
	to, cc, bcc, err := m.Recipients([]envelope.Address{{Local: "c", Domain: "x.test"}, {Local: "b", Domain: "x.test"}, {Local: "a", Domain: "x.test"}})
	if got := fmt.Sprint(to, cc, bcc, err); got != "[{A a@x.test}] [{Ü b@x.test}] [{ c@x.test}] <nil>" {
		t.Error(got)
	}
	if _, _, _, err := m.Recipients([]envelope.Address{{Local: "a b", Domain: "x.test"}}); err == nil {
		t.Error("quoted, and taken")
	}
}

// A message that cannot be read to its end is never a whole document, and never
// refused for what it seems to hold.
func TestBrokenSource(t *testing.T) {
	whole := strings.ReplaceAll(mixed+"--b\n\none\n"+pdf+end+"behind\n", "\n", "\r\n")
	bad := strings.Replace(whole, "Ljc=", "L*c=", 1)
	spoilt := errors.New("checksum differs")
	breaks := func(in string, n int) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(in[:n]), iotest.ErrReader(spoilt))), nil
		}
	}
	for _, in := range []string{whole, bad} {
		for n := range len(in) + 1 {
			if _, err := Read(t.Context(), breaks(in, n), &rules); !errors.Is(err, spoilt) {
				t.Errorf("after %d octets: %v", n, err)
			}
		}
	}
	m, err := Read(t.Context(), opens(whole), &rules)
	if err != nil {
		t.Fatal(err)
	}
	d := document(m)
	for n := range len(whole) + 1 {
		m.open = breaks(whole, n)
		r, err := d.Open()
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if !errors.Is(err, spoilt) || int64(len(got)) >= d.Length() {
			t.Errorf("after %d octets: %d of %d, %v", n, len(got), d.Length(), err)
		}
	}
}
