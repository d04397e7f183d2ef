package translate

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"

	"github.com/printerrelay/printer-relay/relay/message"
)

// block is what is held of a part at a time; a multiple of 3 for base64.
const block = 24 << 10

// decoded undoes the transfer encoding of a part.
func decoded(p *message.Part, content io.Reader) io.Reader {
	switch p.Encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &groups{r: content})
	case "quoted-printable":
		return quotedprintable.NewReader(content)
	}
	return content
}

// groups leaves out blanks and line ends, which base64 may hold (RFC 2045 6.8),
// and fails where more comes behind its end: some programs stop there, some go on.
type groups struct {
	r      io.Reader
	padded int
}

var errPadding = errors.New("base64 goes on behind its end")

func (g *groups) Read(b []byte) (int, error) {
	for {
		n, err := g.r.Read(b)
		kept := b[:0]
		for _, c := range b[:n] {
			switch {
			case c == ' ' || c == '\t' || c == '\r' || c == '\n':
				continue
			case c == '=' && g.padded < 2:
				g.padded++
			case g.padded > 0:
				return 0, errPadding
			}
			kept = append(kept, c)
		}
		if len(kept) > 0 || err != nil || n == 0 {
			return len(kept), err
		}
	}
}

// errNotText says that a text is not in its charset.
var errNotText = errors.New("octets that are not of its charset")

// utf8Text gives a text in UTF-8. What declares nothing, or ASCII, is UTF-8
// where it is valid. ASCII may be something else in a charset that nobody knows,
// and in UTF-16, of which there are two.
func utf8Text(charset string, content io.Reader) io.Reader {
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return &valid{r: content}
	case "unknown-8bit", "x-unknown": // RFC 1428 3
		return &valid{r: content, below: utf8.RuneSelf}
	}
	e, err := htmlindex.Get(charset)
	if err != nil || e == encoding.Replacement || strings.HasPrefix(charset, "utf-16") {
		return &valid{r: content, below: 1}
	}
	return &valid{r: transform.NewReader(content, e.NewDecoder()), decoded: true}
}

// valid fails where a text is not valid UTF-8, has characters that it must not
// have, or where a decoder found what it could not read.
type valid struct {
	r       io.Reader
	below   rune // characters have to be; 0: no matter
	decoded bool
	rest    [utf8.UTFMax]byte // of a character that is not whole
	n       int
}

func (v *valid) Read(b []byte) (int, error) {
	if len(b) < 2*utf8.UTFMax {
		return 0, io.ErrShortBuffer
	}
	n := copy(b, v.rest[:v.n])
	k, err := v.r.Read(b[n:])
	n, v.n = n+k, 0
	for i := 0; i < n; {
		r, size := utf8.DecodeRune(b[i:n])
		switch {
		case r == utf8.RuneError && size == 1 && !utf8.FullRune(b[i:n]) && err == nil:
			v.n = copy(v.rest[:], b[i:n])
			return i, nil
		case r == utf8.RuneError && (size == 1 || v.decoded), v.below > 0 && r >= v.below:
			return 0, errNotText
		}
		i += size
	}
	return n, err
}

// jsonText gives the inside of a JSON string (RFC 8259 7) of a text in UTF-8.
type jsonText struct {
	r    io.Reader
	in   []byte
	out  []byte
	left []byte // of out
	err  error
}

func (j *jsonText) Read(b []byte) (int, error) {
	for len(j.left) == 0 {
		if j.err != nil {
			return 0, j.err
		}
		if j.in == nil {
			j.in = make([]byte, block/3)
		}
		var n int
		n, j.err = j.r.Read(j.in)
		j.out = appendJSON(j.out[:0], j.in[:n])
		j.left = j.out
	}
	n := copy(b, j.left)
	j.left = j.left[n:]
	return n, nil
}

func appendJSON(out, text []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < ' ' || c == 0x7f:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return out
}

// base64Text gives octets as base64 in one line.
type base64Text struct {
	r    io.Reader
	in   []byte
	out  []byte
	left []byte
	err  error
}

func (e *base64Text) Read(b []byte) (int, error) {
	for len(e.left) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		if e.in == nil {
			e.in, e.out = make([]byte, block), make([]byte, base64.StdEncoding.EncodedLen(block))
		}
		n := 0
		for n < len(e.in) && e.err == nil {
			var k int
			k, e.err = e.r.Read(e.in[n:])
			n += k
		}
		if e.err != nil && !errors.Is(e.err, io.EOF) {
			return 0, e.err
		}
		base64.StdEncoding.Encode(e.out, e.in[:n])
		e.left = e.out[:base64.StdEncoding.EncodedLen(n)]
	}
	n := copy(b, e.left)
	e.left = e.left[n:]
	return n, nil
}

// inJSON gives the part as the inside of a JSON string.
func (p *Part) inJSON(content io.Reader) io.Reader {
	d := decoded(&p.source, content)
	if p.text {
		return &jsonText{r: utf8Text(p.source.Charset, d)}
	}
	return &base64Text{r: d}
}

// measure reads the part to its end and notes its sizes.
func (p *Part) measure(content io.Reader) error {
	r := decoded(&p.source, content)
	if p.text {
		r = utf8Text(p.source.Charset, r)
	}
	p.Blank = true
	buf := make([]byte, block)
	var escaped []byte
	for {
		n, err := r.Read(buf)
		p.Size += int64(n)
		p.Blank = p.Blank && len(bytes.TrimSpace(buf[:n])) == 0
		if p.text {
			escaped = appendJSON(escaped[:0], buf[:n])
			p.json += int64(len(escaped))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p.unreadable(err)
		}
	}
	if !p.text {
		p.json = int64(base64.StdEncoding.EncodedLen(int(p.Size)))
	}
	return nil
}

// unreadable is the error of a part that cannot be decoded; one of the message's
// source is found by who reads it.
func (p *Part) unreadable(err error) error {
	var u *UncarriedError
	switch {
	case errors.As(err, &u):
		return err
	case errors.Is(err, errNotText) && p.source.Charset == "":
		return uncarried("a text with octets over 127 that are no UTF-8, and no charset")
	case errors.Is(err, errNotText):
		return uncarried("a text in the charset %.40q: %w", p.source.Charset, err)
	}
	what := p.Name
	if p.text {
		what = "a text"
	}
	return uncarried("%s, whose %s cannot be decoded", what, p.source.Encoding)
}
