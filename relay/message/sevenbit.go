package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
)

// base64Line is what a line of Base64 has (RFC 2045 6.8).
const base64Line = 76

// SevenBit is a message whose parts are put into quoted-printable or Base64 where
// they stand unencoded, for who takes no 8-bit text or no long lines (RFC 6152 3, RFC
// 2045 6). Decoded it is what it was. What cannot be had that way, since programs read
// it differently or it is signed, is an *UncarriedError.
type SevenBit struct {
	declared, boundary, encoding string
}

// NewSevenBit looks at the header of a message and changes it to what that of the
// encoded message has to be.
func NewSevenBit(h *Header) (*SevenBit, error) {
	s := &SevenBit{}
	if err := s.read(h); err != nil {
		return nil, err
	}
	if to := s.target(); to != s.encoding {
		h.Set("Content-Transfer-Encoding", to)
		if !h.Has("MIME-Version") {
			h.Set("MIME-Version", "1.0")
		}
	}
	return s, nil
}

// read takes what the header of a message, or of a part, says of its content.
func (s *SevenBit) read(h *Header) error {
	declared, params, encoding, err := contentOf(h)
	if err != nil {
		return uncertain(err.Error())
	}
	s.declared, s.boundary, s.encoding = declared, params["boundary"], encoding
	switch {
	case declared == "multipart/signed" || declared == "multipart/encrypted" || strings.HasPrefix(declared, "application/pkcs7") || strings.HasPrefix(declared, "application/x-pkcs7"):
		return &UncarriedError{What: "a signed or encrypted message, which would not be that any more"}
	case declared == "multipart/digest": // its parts are messages where they do not say what they are
		return &UncarriedError{What: declared}
	case s.composite() && !unencoded(encoding):
		return uncertain("encoded " + declared)
	}
	return nil
}

// composite tells the types that hold parts, and may not be encoded as a whole.
func (s *SevenBit) composite() bool {
	return strings.HasPrefix(s.declared, "multipart/") || strings.HasPrefix(s.declared, "message/")
}

// target is the encoding that the content gets.
func (s *SevenBit) target() string {
	switch {
	case !unencoded(s.encoding):
		return s.encoding
	case s.composite() && s.encoding == "":
		return ""
	case s.composite():
		return "7bit" // what is inside is, behind this
	case s.declared == "" || strings.HasPrefix(s.declared, "text/"):
		return "quoted-printable"
	}
	return "base64"
}

// Encode gives the encoded body of a message whose body r gives. It holds a line of
// it at most. An error of r is the reader's.
func (s *SevenBit) Encode(r io.Reader) io.Reader {
	e := &encoder{src: bufio.NewReaderSize(r, chunk), begins: true}
	e.err = e.content(s)
	return e
}

// encoder is the reader that Encode gives.
type encoder struct {
	src     *bufio.Reader
	out     bytes.Buffer
	err     error
	nesting nesting
	parts   int

	part   io.WriteCloser // takes the content of the open leaf; nil: it goes as it is
	filled bool           // part has taken something
	base64 bool           // it is Base64 already: long lines are wrapped
	leaf   bool           // else between the parts of a multipart
	head   bool           // in the header of a part
	header []byte
	begins bool // the next octets begin a line
	eol    bool // a line end is due: a boundary's, or the content's
	column int  // of the line that goes out as it is
}

// Read implements io.Reader.
func (e *encoder) Read(p []byte) (int, error) {
	for e.out.Len() == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.err = e.next()
	}
	return e.out.Read(p)
}

// next takes a line, or as much as the buffer has of it.
func (e *encoder) next() error {
	line, err := e.src.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) == 0 {
		return e.end()
	}
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
		return err
	}
	begins, whole := e.begins, err == nil
	e.begins = whole
	if n := len(line); errors.Is(err, bufio.ErrBufferFull) && line[n-1] == '\r' { // half of a line end, it may be
		line = line[:n-1]
		if err := e.src.UnreadByte(); err != nil {
			return err
		}
	}
	text := line
	if whole {
		text = bytes.TrimSuffix(bytes.TrimSuffix(line, lf), []byte("\r"))
	}
	if e.head {
		return e.headerLine(text, whole)
	}
	if begins {
		i, closing, ok := e.nesting.delimiter(text)
		switch {
		case ok && whole:
			return e.boundary(i, closing, text)
		case ok, e.nesting.almost(text):
			return &UncarriedError{What: "a line that some take for a boundary"}
		}
	}
	return e.line(text, whole)
}

// end is the end of the message.
func (e *encoder) end() error {
	if e.head || len(e.nesting.open) > 0 {
		return &UncarriedError{What: "a multipart that does not end"}
	}
	encoded := e.part != nil && e.filled
	if encoded && e.eol { // the last line end is the content's
		e.part.Write(crlf) //nolint:errcheck // to memory
		e.eol = false
	}
	e.close()
	if e.eol || encoded && !bytes.HasSuffix(e.out.Bytes(), crlf) {
		e.out.Write(crlf)
	}
	e.eol = false
	return io.EOF
}

// line takes a piece of a line of a part, or of what is between parts.
func (e *encoder) line(p []byte, whole bool) error {
	if e.part != nil {
		if e.eol {
			e.part.Write(crlf) //nolint:errcheck // to memory
		}
		e.part.Write(p) //nolint:errcheck // to memory
		e.eol, e.filled = whole, true
		return nil
	}
	if e.eol {
		e.out.Write(crlf)
		e.column = 0
	}
	e.eol = whole
	for len(p) > 0 {
		n := len(p)
		if e.leaf && e.base64 && (e.column > 0 || len(p) > longestLine) { // a line that is too long goes on in others
			if n = min(n, base64Line-e.column%base64Line); e.column > 0 && e.column%base64Line == 0 {
				e.out.Write(crlf)
			}
		}
		piece := p[:n]
		if !e.leaf {
			piece = bytes.Map(func(r rune) rune { // RFC 2046 5.1.1: nobody reads it
				if r > '~' {
					return '?'
				}
				return r
			}, piece)
		} else if !isASCII(piece) {
			return &UncarriedError{What: "8-bit text in a part whose encoding has none"}
		}
		e.out.Write(piece)
		e.column += n
		p = p[n:]
	}
	if whole {
		e.column = 0
	} else if e.column > longestLine && !e.base64 {
		return &UncarriedError{What: "a line that is too long in a part whose encoding has none"}
	}
	return nil
}

// boundary takes the delimiter of the multipart i.
func (e *encoder) boundary(i int, closing bool, line []byte) error {
	if i < len(e.nesting.open)-1 {
		return &UncarriedError{What: "a multipart that does not end"}
	}
	e.close()
	if e.eol {
		e.out.Write(crlf)
	}
	e.out.Write(line)
	e.eol, e.leaf, e.base64, e.column = true, false, false, 0
	e.nesting.at(i, closing)
	if !closing {
		e.head, e.header = true, e.header[:0]
	}
	return nil
}

// close ends the open leaf.
func (e *encoder) close() {
	if e.part != nil {
		e.part.Close() //nolint:errcheck // to memory
		e.part = nil
	}
}

// headerLine takes a line of the header of a part.
func (e *encoder) headerLine(p []byte, whole bool) error {
	if len(e.header)+len(p)+len(crlf) > maxPartHeader {
		return &UncarriedError{What: "a header that is too large"}
	}
	begin := len(e.header) == 0 || bytes.HasSuffix(e.header, crlf)
	if begin && whole && len(p) == 0 {
		return e.opened()
	}
	if begin && !headerLine(p, len(e.header) > 0) {
		return uncertain("part header")
	}
	e.header = append(e.header, p...)
	if whole {
		e.header = append(e.header, crlf...)
	}
	return nil
}

// opened begins a part behind its header, which goes out as the encoding wants it.
func (e *encoder) opened() error {
	e.head = false
	h := ParseHeader(slices.Clone(e.header))
	var s SevenBit
	if err := s.read(h); err != nil {
		return err
	}
	if to := s.target(); to != s.encoding {
		h.Set("Content-Transfer-Encoding", to)
	}
	for i, f := range h.Fields {
		if !isASCII(f.Raw) { // a file name, mostly
			h.Fields[i] = encodeField(f)
		}
		if folded, ok := fold(h.Fields[i]); ok {
			h.Fields[i] = folded
		}
	}
	if e.eol {
		e.out.Write(crlf)
	}
	e.out.Write(h.Append(nil))
	e.out.Write(crlf)
	e.eol = false
	return e.content(&s)
}

// content begins the content of the message or of a part.
func (e *encoder) content(s *SevenBit) error {
	if e.parts++; e.parts > maxParts {
		return uncertain("too many parts")
	}
	e.column = 0
	switch {
	case strings.HasPrefix(s.declared, "multipart/"):
		if err := e.nesting.push(s.boundary, s.encoding); err != nil {
			return uncertain(err.Error())
		}
		e.leaf = false
		return nil
	case s.declared == "message/rfc822", s.declared == "message/global": // its header comes
		e.head, e.header = true, e.header[:0]
		return nil
	}
	e.leaf, e.base64, e.filled = true, s.target() == "base64", false
	switch {
	case s.composite(), !unencoded(s.encoding):
	case s.target() == "base64":
		e.part = base64Writer(&e.out)
	default:
		e.part = quotedprintable.NewWriter(&e.out)
	}
	return nil
}

// base64Writer writes lines of Base64, without a line end behind the last.
func base64Writer(w io.Writer) io.WriteCloser {
	return base64.NewEncoder(base64.StdEncoding, &lineWrapper{w: w})
}

type lineWrapper struct {
	w      io.Writer
	column int
}

func (l *lineWrapper) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if l.column == base64Line {
			l.w.Write(crlf) //nolint:errcheck // to memory
			l.column = 0
		}
		n := min(len(p), base64Line-l.column)
		l.w.Write(p[:n]) //nolint:errcheck // to memory
		l.column += n
		p = p[n:]
	}
	return all, nil
}

// Measure reads an encoded message to its end, and tells how long it is and its
// longest line. Octets over 127 are an *UncarriedError.
func Measure(r io.Reader) (size int64, longest int, err error) {
	b := bufio.NewReaderSize(r, chunk)
	for column := 0; ; {
		p, err := b.ReadSlice('\n')
		size += int64(len(p))
		if !isASCII(p) {
			return size, longest, &UncarriedError{What: "8-bit text that cannot be encoded"}
		}
		column += len(p)
		switch {
		case err == nil:
			longest, column = max(longest, column-len(crlf)), 0
		case errors.Is(err, io.EOF):
			return size, max(longest, column), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return size, longest, fmt.Errorf("reading the message: %w", err)
		}
	}
}
