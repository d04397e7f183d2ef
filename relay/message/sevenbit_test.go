package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

// encodeAll gives a message with its parts encoded.
func encodeAll(in string, slow bool) (string, error) {
	head, body, _ := strings.Cut(in, "\r\n\r\n")
	h := ParseHeader([]byte(head + "\r\n"))
	s, err := NewSevenBit(h)
	if err != nil {
		return "", err
	}
	var r io.Reader = strings.NewReader(body)
	if slow {
		r = iotest.HalfReader(r)
	}
	out, err := io.ReadAll(Render(h, s.Encode(r)))
	return string(out), err
}

// leaves gives the parts of a message as a mail client has them: type, name, and what
// is in them.
func leaves(in string) ([]string, error) {
	p, err := NewParts(strings.NewReader(in))
	if err != nil {
		return nil, err
	}
	var out []string
	for {
		part, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var r io.Reader = p
		switch part.Encoding {
		case "base64":
			r = base64.NewDecoder(base64.StdEncoding, p)
		case "quoted-printable":
			r = quotedprintable.NewReader(p)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("%s %q %q %v", part.Type, toUTF8(part.Name), b, part.Within))
	}
}

const twoParts = "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nfor \xfcs\r\n--b1\r\n" +
	"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe = a long line" + "LONG" + " \r\n.\r\nFrom me\r\n--b1\r\n" +
	"Content-Type: application/pdf; name=\"Pr\xc3\xbcfung.pdf\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%PDF \xff\r\n\r\n%%EOF\r\n--b1\r\n" +
	"Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\nBASE64\r\n--b1--\r\nbye \xfc\r\n"

func TestSevenBit(t *testing.T) {
	long := strings.NewReplacer("LONG", strings.Repeat("x", 100_000), "BASE64", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("scan"), 30_000)))
	short := strings.NewReplacer("LONG", "", "BASE64", "c2Nhbg==")
	nested := "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\n\xfc\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\xfc\r\n--i--\r\n\r\n--o\r\n" +
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: \xc3\xbc\r\nContent-Type: text/plain\r\n\r\n\xfc\r\n--o\r\n\r\n--o--\r\n"
	for name, in := range map[string]string{
		"two parts":    short.Replace(twoParts),
		"long lines":   long.Replace(twoParts),
		"no MIME":      "From: a@b\r\nSubject: s\r\n\r\nGr\xfc\xdfe\r\n\r\n.\r\n",
		"a PDF alone":  "Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n%PDF\xff\r\n",
		"nested":       nested,
		"encoded":      "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FC\r\n",
		"a CR to cut":  "Content-Type: text/plain\r\n\r\n" + strings.Repeat("x", chunk-1) + "\r\n\xfc\r\n",
		"nothing else": "Content-Type: text/plain\r\n\r\n\xfc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := encodeAll(in, false)
			if err != nil {
				t.Fatal(err)
			}
			if slowly, err := encodeAll(in, true); err != nil || slowly != got {
				t.Errorf("in other pieces it is another: %v", err)
			}
			size, longest, err := Measure(strings.NewReader(got))
			if err != nil || longest > longestLine || size != int64(len(got)) || !strings.HasSuffix(got, "\r\n") {
				t.Errorf("%v; %d of %d octets, lines of %d:\n%.2000q", err, size, len(got), longest, got)
			}
			before, err := leaves(in)
			if name == "nested" { // Parts does not look into messages
				if want := "Subject: =?utf-8?q?=C3=BC?=\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FC\r\n--o\r\n"; !strings.Contains(got, want) {
					t.Errorf("%q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			after, err := leaves(got)
			if err != nil {
				t.Fatalf("%v\n%.2000s", err, got)
			}
			if len(before) != len(after) {
				t.Fatalf("%d parts became %d", len(before), len(after))
			}
			for i := range before {
				if before[i] != after[i] {
					t.Errorf("part %d:\n%.300s\nbecame\n%.300s", i, before[i], after[i])
				}
			}
			if again, err := encodeAll(got, false); err != nil || again != got {
				t.Errorf("encoded twice it is another: %v", err)
			}
		})
	}
}

// What would break, or could be read as another message, is not touched.
func TestSevenBitRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"signed":                    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n",
		"a signed part":             "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\n\xfc\r\n--c--\r\n--b--\r\n",
		"a part of a message":       "Content-Type: message/partial; id=1; number=1; total=2\r\n\r\n\xfc\r\n",
		"an encoded multipart":      "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n",
		"an unknown encoding":       "Content-Type: text/plain\r\nContent-Transfer-Encoding: base-64\r\n\r\n\xfc\r\n",
		"8 bits in Base64":          "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\xfc\r\n",
		"no end":                    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xfc\r\n",
		"two types":                 "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n\xfc\r\n",
		"boundaries that are alike": "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xfc\r\n--bb\r\n--b--\r\n",
	} {
		var uncarried *UncarriedError
		if out, err := encodeAll(in, false); !errors.As(err, &uncarried) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// What a reader fails with is told as it is.
func TestSevenBitTellsTheSourcesError(t *testing.T) {
	s, err := NewSevenBit(ParseHeader([]byte("Subject: s\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("corrupt")
	if _, err := io.ReadAll(s.Encode(io.MultiReader(strings.NewReader("\xfc\r\n"), iotest.ErrReader(want)))); !errors.Is(err, want) {
		t.Errorf("%v", err)
	}
}

// FuzzSevenBit: whatever is encoded is 7-bit text, has the same parts with the same
// content for who reads strictly, and stays what it is when it is encoded again.
func FuzzSevenBit(f *testing.F) {
	f.Add(twoParts)
	f.Add("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n\xfc\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		var in bytes.Buffer
		if _, err := Intake(&in, strings.NewReader(raw), IntakeOptions{Hostname: "relay.test", ID: "1"}); err != nil {
			return
		}
		got, err := encodeAll(in.String(), len(raw)%2 == 0)
		if err != nil {
			var uncarried *UncarriedError
			if !errors.As(err, &uncarried) {
				t.Fatal(err)
			}
			return
		}
		if _, _, err := Measure(strings.NewReader(got)); err != nil && isASCII(in.Bytes()[:bytes.Index(in.Bytes(), []byte("\r\n\r\n"))]) {
			t.Fatalf("%v: %q", err, got)
		}
		before, err := leaves(in.String())
		if err != nil {
			return // no strict reader reads it
		}
		after, err := leaves(got)
		if err != nil {
			t.Fatalf("%v: %q became %q", err, in.String(), got)
		}
		if strings.Contains(strings.ToLower(in.String()), "message/") { // its parts are encoded inside
			return
		}
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Fatalf("%q became %q", before, after)
		}
	})
}
