package translate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/message"
)

// leaf is a part as the standard library sees it.
type leaf struct {
	kind, charset, name string
	content             []byte
}

// leaves reads the parts of a message by the standard library.
func leaves(h textproto.MIMEHeader, body io.Reader) ([]leaf, error) {
	value := h.Get("Content-Type")
	if value == "" {
		value = "text/plain"
	}
	kind, params, err := mime.ParseMediaType(value)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(kind, "multipart/") {
		var all []leaf
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			in, err := leaves(p.Header, p)
			if err != nil {
				return nil, err
			}
			all = append(all, in...)
		}
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, &blanks{body})
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	_, dparams, derr := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := params["name"]
	if derr == nil && dparams["filename"] != "" {
		name = dparams["filename"]
	}
	return []leaf{{kind, strings.ToLower(params["charset"]), name, content}}, err
}

// blanks leaves out what is no octet of base64.
type blanks struct{ r io.Reader }

func (s *blanks) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	kept := bytes.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, b[:n])
	return copy(b, kept), err
}

// FuzzTranslate: whatever a device sends, translating ends without a panic; what
// is taken makes a JSON document of the length that was said, and its texts and
// attachments are those that the standard library finds in the message.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{
		from + "\nhello\n",
		mixed + "--b\n\none\n" + pdf + "--b\nContent-Type: image/png; name=\"=?utf-8?q?=C3=BC?=\"\nContent-Disposition: attachment; filename*0=a; filename*1=b.png\n\nx\n" + end,
		from + "Content-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\nx=3D=\ny\n--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPHA+\n--b--\n",
		mixed + "--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n<p>\n--c\nContent-Type: image/gif\nContent-ID: <x@y>\n\nGIF\n--c--\n--b\nContent-Type: message/rfc822\n\nSubject: y\n\nz\n--b--\n",
		mixed + "pre\n--b\n\n\n--b\n\n \n--b \nContent-Type: text/csv; charset=latin1\n\n\xfc\n--b--\nbehind",
		from + "Content-Type: text/plain; charset=shift_jis\n\n\x83X\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var stored bytes.Buffer
		if _, err := message.Intake(&stored, bytes.NewReader(in), message.IntakeOptions{Hostname: "relay.test", ID: "F", Now: time.Unix(0, 0).UTC()}); err != nil {
			return
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stored.Bytes())), nil }
		m, err := Read(t.Context(), open, &Rules{Service: "Example"})
		if err != nil {
			var u *UncarriedError
			if !errors.As(err, &u) || u.What == "" || strings.ContainsAny(u.What, "\r\n") {
				t.Fatalf("%v (%T)", err, err)
			}
			return
		}
		d := document(m)
		r, err := d.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil || int64(len(raw)) != d.Length() {
			t.Fatalf("%d octets, %d were said; %v", len(raw), d.Length(), err)
		}
		var said struct {
			Attachments [][]byte
			Text, HTML  *string
		}
		if err := json.Unmarshal(raw, &said); err != nil {
			t.Fatalf("%v: %q", err, raw)
		}
		whole, err := mail.ReadMessage(bytes.NewReader(stored.Bytes()))
		if err != nil {
			return // a header that the library is stricter with
		}
		want, err := leaves(textproto.MIMEHeader(whole.Header), whole.Body)
		if err != nil && strings.Contains(err.Error(), "malformed MIME header") {
			return // the same, of a part
		}
		if err != nil {
			t.Fatalf("taken, but %v\n%q", err, stored.Bytes())
		}
		compare(t, m, want, said.Text, said.HTML, said.Attachments)
	})
}

// compare finds each part of the message in what is said, and nothing else there.
func compare(t *testing.T, m *Message, want []leaf, text, html *string, attachments [][]byte) {
	t.Helper()
	utf8 := func(l leaf) bool { return l.charset == "" || l.charset == "utf-8" || l.charset == "us-ascii" }
	for _, l := range want {
		switch {
		case m.Text != nil && text != nil && l.kind == "text/plain" && l.name == "" && (!utf8(l) || *text == string(l.content)):
			text = nil
		case m.HTML != nil && html != nil && l.kind == "text/html" && l.name == "" && (!utf8(l) || *html == string(l.content)):
			html = nil
		case len(attachments) > 0 && bytes.Equal(attachments[0], l.content):
			p := m.Attachments[len(m.Attachments)-len(attachments)]
			if p.Type != l.kind {
				t.Errorf("type %q, want %q", p.Type, l.kind)
			}
			if plain := strings.TrimSpace(l.name); plain != "" && !strings.Contains(plain, "=?") && p.Name != plain {
				t.Errorf("name %q, want %q", p.Name, l.name)
			}
			attachments = attachments[1:]
		case len(bytes.TrimSpace(l.content)) == 0 && (l.kind == "text/plain" || l.kind == "text/html"):
		default:
			t.Errorf("lost: %+v", l)
		}
	}
	if text != nil && *text != "" || html != nil && *html != "" || len(attachments) > 0 {
		t.Errorf("not in the message: %v %v %q", text, html, attachments)
	}
}
