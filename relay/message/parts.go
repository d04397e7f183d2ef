package message

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"
)

// maxStored bounds the header of a stored message: Intake's own bound, and what
// the relay puts on top.
const maxStored = 2 * maxHeader

// UncarriedError is a message that cannot be carried in another form without a
// loss, or that programs read differently.
type UncarriedError struct {
	What     string // in one line
	TooLarge bool   // it is for its size alone
}

func (e *UncarriedError) Error() string { return e.What }

// uncertain is the error of what content rules refuse as unclear.
func uncertain(what string) error {
	return &UncarriedError{What: "a message that is unclear: " + what}
}

// Part is a part of a message that holds no parts of its own; a message within
// a message is one.
type Part struct {
	Number      int    // from 1, in the order of the message
	Type        string // media type, lower case; what does not say is text/plain
	Charset     string // of a text, lower case; empty: none is given
	Encoding    string // base64, quoted-printable, or empty: none
	Name        string // file name, decoded; empty: none
	Disposition string // inline, attachment, another; empty: none
	ContentID   string // without angle brackets
	Within      []Multipart
}

// Multipart is one that a part is in.
type Multipart struct {
	Number  int    // from 1, in the order of the message
	Subtype string // mixed, alternative, related, ...
}

// In tells whether the part is in a multipart of a subtype, at any depth, and in
// which, the innermost first.
func (p *Part) In(subtype string) (numbers []int) {
	for i := len(p.Within) - 1; i >= 0; i-- {
		if p.Within[i].Subtype == subtype {
			numbers = append(numbers, p.Within[i].Number)
		}
	}
	return numbers
}

// Parts reads the parts of a stored message one after the other and holds none.
// What a person reads outside of the parts (RFC 2046 5.1.1) is passed over. It is
// strict: where two programs could see other parts it gives an *UncarriedError.
type Parts struct {
	Header *Header // of the message

	r       *bufio.Reader
	nesting nesting
	within  []Multipart // of the boundaries that are open
	barren  bool        // a multipart is open that had no part yet
	parts   int
	multi   int

	begun     bool       // the message's own header was looked at
	leaf      bool       // a part is open
	err       error      // that ended it: io.EOF at its end
	pieces    [][]byte   // content that was read and not given yet
	eol       []byte     // behind the line that was read last; nil: it goes on, or the message ends there
	delimiter *delimiter // that was read last, and not acted on yet
	first     bool       // no line of the part was read yet
	last      bool       // the message has ended
	store     [2][]byte  // of pieces
}

type delimiter struct {
	multipart int // index in nesting.open
	closing   bool
}

// NewParts reads the header of a message. Errors that are no *UncarriedError, of
// this and of all methods, are those of r.
func NewParts(r io.Reader) (*Parts, error) {
	p := &Parts{r: bufio.NewReaderSize(r, chunk)}
	head, err := p.header(maxStored, true)
	if err != nil {
		return nil, err
	}
	p.Header = ParseHeader(head)
	for _, f := range p.Header.Fields {
		for l := range bytes.Lines(f.Raw) {
			if len(bytes.TrimSpace(l)) == 0 { // for some programs the header ends there
				return nil, uncertain("empty line in the header")
			}
		}
	}
	return p, nil
}

// header reads the lines up to an empty one. A part's is judged line by line.
func (p *Parts) header(limit int, message bool) ([]byte, error) {
	var head []byte
	for start := 0; ; start = len(head) {
		for p.eol = nil; p.eol == nil && !p.last; {
			piece, err := p.line()
			if err != nil {
				return nil, err
			}
			if head = append(head, piece...); len(head) > limit {
				return nil, &UncarriedError{What: "a header that is too large"}
			}
		}
		switch line := head[start:]; {
		case p.last && !message:
			return nil, &UncarriedError{What: "a part that ends in its header"}
		case len(line) == 0:
			return head, nil
		case !message && !headerLine(line, start > 0):
			return nil, uncertain("part header")
		}
		head = append(head, crlf...)
	}
}

// headerLine tells a line that begins a field or goes on with one; for some
// programs the header of a part ends at any other.
func headerLine(line []byte, begun bool) bool {
	_, field := fieldName(line)
	return field || (line[0] == ' ' || line[0] == '\t') && begun && len(bytes.TrimSpace(line)) > 0
}

// Next goes on to the next part; what is left of the one before is passed over.
// At the end of the message, and not before, it is io.EOF.
func (p *Parts) Next() (*Part, error) {
	for p.leaf && p.err == nil {
		p.fill()
	}
	if p.leaf && !errors.Is(p.err, io.EOF) {
		return nil, p.err
	}
	p.leaf, p.pieces = false, nil
	h := p.Header
	if p.begun {
		var err error
		if h, err = p.advance(); err != nil {
			return nil, err
		}
	}
	p.begun = true
	for {
		part, err := p.open(h)
		if err != nil || part != nil {
			return part, err
		}
		if h, err = p.advance(); err != nil {
			return nil, err
		}
	}
}

// advance passes over what is between parts and reads the next header.
func (p *Parts) advance() (*Header, error) {
	for {
		if d := p.delimiter; d != nil {
			p.delimiter = nil
			if err := p.boundary(d.multipart, d.closing); err != nil {
				return nil, err
			}
			if !d.closing {
				head, err := p.header(maxPartHeader, false)
				return ParseHeader(head), err
			}
		}
		if p.last {
			return nil, p.ended()
		}
		whole := p.eol != nil
		line, err := p.line()
		if err == nil && whole {
			err = p.judge(line)
		}
		if err != nil {
			return nil, err
		}
	}
}

// ended is the error at the end of the message.
func (p *Parts) ended() error {
	if len(p.nesting.open) > 0 {
		return &UncarriedError{What: "a multipart that does not end"}
	}
	return io.EOF
}

// line reads a line, or as much of it as the buffer has, and notes its end. It is
// good until the next call.
func (p *Parts) line() ([]byte, error) {
	line, err := p.r.ReadSlice('\n')
	p.eol = nil
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return line, nil
	case errors.Is(err, io.EOF):
		p.last = true
		return line, nil
	case err != nil:
		return nil, err
	}
	p.eol, line = lf, line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		p.eol, line = crlf, line[:n-1]
	}
	return line, nil
}

// judge looks at the beginning of a line for a boundary.
func (p *Parts) judge(line []byte) error {
	i, closing, ok := p.nesting.delimiter(line)
	switch {
	case ok && (p.eol != nil || p.last):
		p.delimiter = &delimiter{i, closing}
	case ok, p.nesting.almost(line):
		return &UncarriedError{What: "a line that some take for a boundary"}
	}
	return nil
}

// boundary notes a delimiter of the multipart i.
func (p *Parts) boundary(i int, closing bool) error {
	switch {
	case i < len(p.nesting.open)-1:
		return &UncarriedError{What: "a multipart that does not end"}
	case p.barren && closing:
		return &UncarriedError{What: "a multipart without parts"}
	}
	p.barren = false
	p.nesting.at(i, closing)
	p.within = p.within[:len(p.nesting.open)]
	return nil
}

// open looks at the header of the message or of a part; nil: it is a multipart.
func (p *Parts) open(h *Header) (*Part, error) {
	if p.parts++; p.parts > maxParts {
		return nil, uncertain("too many parts")
	}
	declared, params, encoding, err := contentOf(h)
	if err != nil {
		return nil, uncertain(err.Error())
	}
	kind, subtype, ok := strings.Cut(declared, "/")
	switch {
	case declared == "":
		declared, kind = "text/plain", "text"
	case !ok || kind == "" || subtype == "":
		return nil, &UncarriedError{What: "the type " + declared}
	case declared == "multipart/digest": // its parts are messages where they do not say what they are
		return nil, &UncarriedError{What: declared}
	case kind == "multipart":
		if err := p.nesting.push(params["boundary"], encoding); err != nil {
			return nil, uncertain(err.Error())
		}
		p.multi++
		p.within = append(p.within[:len(p.within):len(p.within)], Multipart{p.multi, subtype})
		p.barren = true
		return nil, nil
	case (declared == "message/rfc822" || declared == "message/global") && !unencoded(encoding):
		return nil, uncertain("encoded message")
	}
	part := &Part{Number: p.parts, Type: declared, Within: p.within, ContentID: strings.Trim(h.Get("Content-ID"), "<> \t")}
	if kind == "text" {
		part.Charset = strings.ToLower(params["charset"])
	}
	if part.Encoding = encoding; unencoded(encoding) {
		part.Encoding = ""
	} else if encoding != "base64" && encoding != "quoted-printable" {
		return nil, &UncarriedError{What: "the encoding " + encoding}
	}
	names, disposition, err := fileNames(h, params)
	if err != nil {
		return nil, uncertain(err.Error())
	}
	part.Disposition = disposition
	if len(names) > 0 {
		part.Name = names[0]
	}
	p.leaf, p.err, p.eol = true, nil, nil
	p.first = true
	return part, nil
}

var (
	crlf = []byte("\r\n")
	lf   = []byte("\n")
)

// Read reads the content of the part as it is encoded.
func (p *Parts) Read(b []byte) (int, error) {
	for len(p.pieces) == 0 {
		if p.err != nil || !p.leaf {
			return 0, cmp.Or(p.err, io.EOF)
		}
		p.fill()
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

// fill reads the next piece of the part. The line end before a boundary is the
// boundary's (RFC 2046 5.1.1), so each is given before the line behind it.
func (p *Parts) fill() {
	before, begins := p.eol, p.eol != nil || p.first
	p.first = false
	if p.last {
		p.err = p.ended()
		return
	}
	line, err := p.line()
	if err == nil && begins {
		err = p.judge(line)
	}
	if err == nil && p.delimiter != nil {
		err = io.EOF
	}
	if err != nil {
		p.err = err
		return
	}
	p.pieces = p.store[:0]
	for _, piece := range [][]byte{before, line} {
		if len(piece) > 0 {
			p.pieces = append(p.pieces, piece)
		}
	}
}
