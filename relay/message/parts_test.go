package message

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// parts gives the parts of a message in one line each, and what ended it.
func parts(r io.Reader) (string, error) {
	p, err := NewParts(r)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		part, err := p.Next()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%d %s", part.Number, part.Type)
		for _, w := range part.Within {
			fmt.Fprintf(&b, " <%s", w.Subtype)
		}
		for _, s := range []string{part.Charset, part.Encoding, part.Name, part.Disposition, part.ContentID} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
		fmt.Fprintf(&b, " %q\n", content)
	}
}

func TestParts(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=b\n\n"
	for name, c := range map[string]struct{ in, want string }{
		"a text":            {"Subject: x\n\nhello\n.\n\n", "1 text/plain \"hello\\r\\n.\\r\\n\\r\\n\"\n"},
		"no body":           {"Subject: x\n", "1 text/plain \"\"\n"},
		"an empty body":     {"Subject: x\n\n", "1 text/plain \"\"\n"},
		"one attachment":    {"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: BASE64\n\nQQ==\n", "1 application/pdf base64 a.pdf \"QQ==\\r\\n\"\n"},
		"two parts":         {mixed + "before\n--b\n\none\n--b\nContent-Type: image/png\nContent-ID: <x@y>\nContent-Disposition: inline; filename=\"=?utf-8?q?=C3=BC.png?=\"\n\ntwo\n\n--b--\nbehind\n", "2 text/plain <mixed \"one\"\n3 image/png <mixed ü.png inline x@y \"two\\r\\n\"\n"},
		"an empty part":     {mixed + "--b\n\n--b\n\n\n--b--\n", "2 text/plain <mixed \"\"\n3 text/plain <mixed \"\"\n"},
		"padded delimiters": {mixed + "--b \t\n\none\n--b-- \n", "2 text/plain <mixed \"one\"\n"},
		"no end of line":    {mixed + "--b\n\none\n--b--", "2 text/plain <mixed \"one\"\n"},
		"nested": {
			mixed + "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--c\nContent-Type: text/html; charset=UTF-8\n\n<p>\n--c--\n\n--b\nContent-Type: message/rfc822\n\nSubject: y\n\n--c\n--z\n--b--\n",
			"",
		}, // a closed boundary again
		"a message": {mixed + "--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=z\n\n--z\n\nx\n--z--\n--b--\n", "2 message/rfc822 <mixed \"Content-Type: multipart/mixed; boundary=z\\r\\n\\r\\n--z\\r\\n\\r\\nx\\r\\n--z--\"\n"},
		"nested twice": {
			mixed + "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--c\nContent-Type: text/html; charset=UTF-8\n\n<p>\n--c--\n\n--b\n\ntwo\n--b--\n",
			"3 text/plain <mixed <alternative \"one\"\n4 text/html <mixed <alternative utf-8 \"<p>\"\n5 text/plain <mixed \"two\"\n",
		},
		"a long line":         {"\n" + strings.Repeat("x", 100_000) + "\n", "1 text/plain \"" + strings.Repeat("x", 100_000) + "\\r\\n\"\n"},
		"a long field":        {"X-A: " + strings.Repeat("x", 100_000) + "\n\ny\n", "1 text/plain \"y\\r\\n\"\n"},
		"no closing boundary": {mixed + "--b\n\none\n", ""},
		"no boundary at all":  {mixed + "one\n", ""},
		"no parts":            {mixed + "--b--\n", ""},
		"inner not closed":    {mixed + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b--\n", ""},
		"almost a boundary":   {mixed + "--b\n\none\n--bc\n--b--\n", ""},
		"a long boundary":     {mixed + "--b\n\none\n--b" + strings.Repeat(" ", 100_000) + "\n--b--\n", ""},
		"no boundary named":   {"Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n", ""},
		"an encoded multi":    {"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\none\n--b--\n", ""},
		"an encoded message":  {mixed + "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n--b--\n", ""},
		"an odd encoding":     {"Content-Transfer-Encoding: x-uuencode\n\none\n", ""},
		"an odd type":         {"Content-Type: text\n\none\n", ""},
		"two types":           {"Content-Type: text/plain\nContent-Type: text/html\n\none\n", ""},
		"an odd part header":  {mixed + "--b\none\n\ntwo\n--b--\n", ""},
		"a header's end":      {mixed + "--b\nX: y\n", ""},
		"a digest":            {"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\none\n--b--\n", ""},
		"too many parts":      {mixed + strings.Repeat("--b\n\none\n", 101) + "--b--\n", ""},
		"a huge header":       {"X: " + strings.Repeat("x", 300_000) + "\n\none\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.ReplaceAll(c.in, "\n", "\r\n")
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(in), "in pieces": iotest.HalfReader(strings.NewReader(in))} {
				got, err := parts(r)
				var uncarried *UncarriedError
				if c.want == "" {
					if !errors.As(err, &uncarried) {
						t.Errorf("%s: %v, got %.300s", how, err, got)
					}
					continue
				}
				if err != nil || got != c.want {
					t.Errorf("%s: %v\ngot  %.300s\nwant %.300s", how, err, got, c.want)
				}
			}
		})
	}
}

// A part that is not read is passed over, and judged all the same.
func TestPartsPassedOver(t *testing.T) {
	in := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--\r\n"
	p, err := NewParts(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"o", "t"} {
		if _, err := p.Next(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if n, err := p.Read(b); n != 1 || err != nil || string(b) != want {
			t.Errorf("%q %v, want %q", b[:n], err, want)
		}
	}
	if _, err := p.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end", err)
	}
	if _, err := p.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end again", err)
	}
}

// An error of the source is given as it is, wherever it comes.
func TestPartsOfABrokenSource(t *testing.T) {
	in := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: y\r\n\r\none\r\ntwo\r\n--b--\r\nend\r\n"
	spoilt := errors.New("checksum differs")
	for n := range len(in) + 1 {
		_, err := parts(io.MultiReader(strings.NewReader(in[:n]), iotest.ErrReader(spoilt)))
		if !errors.Is(err, spoilt) {
			t.Errorf("after %d octets: %v", n, err)
		}
	}
}
