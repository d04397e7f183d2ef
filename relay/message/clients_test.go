package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/disguise"
)

// FuzzWhatAClientSaves: what passes where only PDF may, another MIME reader (Go's)
// saves as PDF too: no file of another type or name, none that is no PDF.
func FuzzWhatAClientSaves(f *testing.F) {
	f.Add("multipart/mixed; boundary=b", "--b\n\nhello\n--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n"+disguise.PDF+"\n--b--\n")
	f.Add("multipart/mixed; boundary=b", "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n"+disguise.Exe+"--c--\n--b--\n")
	f.Add("multipart/mixed; boundary=\"b\"", "--b\nContent-Type: message/rfc822\n\nSubject: x\n"+disguise.Exe+"--b--\n")
	f.Add("application/octet-stream; name*0=a; name*1=.pdf", "%PDF-1.4\n")
	f.Add("text/plain", "x\n")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		in := disguise.From + "Content-Type: " + contentType + "\n\n" + body
		o := options()
		o.Attachments = []string{"application/pdf"}
		var out bytes.Buffer
		if _, err := Intake(&out, strings.NewReader(in), o); err != nil {
			return
		}
		m, err := mail.ReadMessage(&out)
		if err != nil {
			return // Go shows nothing of it
		}
		saves(t, in, textproto.MIMEHeader(m.Header), m.Body, 0)
	})
}

// saves looks at a message or a part as a client that saves what is attached.
func saves(t *testing.T, in string, h textproto.MIMEHeader, body io.Reader, depth int) {
	t.Helper()
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		media = "text/plain"
	}
	if depth > 20 {
		t.Fatalf("nested too deeply: %q", in)
	}
	switch {
	case strings.HasPrefix(media, "multipart/"):
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err != nil {
				return
			}
			saves(t, in, p.Header, p, depth+1)
		}
	case media == "message/rfc822":
		if m, err := mail.ReadMessage(body); err == nil {
			saves(t, in, textproto.MIMEHeader(m.Header), m.Body, depth+1)
		}
		return
	}
	disposition, dparams, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		dparams = nil
	}
	names := []string{dparams["filename"], params["name"]}
	for _, n := range names {
		if d, err := new(mime.WordDecoder).DecodeHeader(n); err == nil {
			n = d
		}
		n = strings.TrimRight(n, " .") // as Windows does
		if i := strings.LastIndexByte(n, '.'); i >= 0 && !strings.EqualFold(n[i:], ".pdf") {
			t.Fatalf("a client saves %q: %q", n, in)
		}
	}
	if names[0]+names[1] == "" && disposition != "attachment" && (media == "text/plain" || media == "text/html") {
		return
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		b, _ := io.ReadAll(io.LimitReader(body, 8<<10))                                            //nolint:errcheck // from memory
		body = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(bytes.Map(func(r rune) rune { // clients skip them, Go does not
			if r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, b)))
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	b, _ := io.ReadAll(io.LimitReader(body, 2<<10)) //nolint:errcheck // what can be decoded is what it saves
	if !bytes.Contains(b, []byte("%PDF-")) {
		t.Fatalf("a client saves %q of %s: %q", b, media, in)
	}
}
