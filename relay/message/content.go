package message

import (
	"bytes"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Bounds of what is looked into. More is refused: nobody can say what is in it.
const (
	maxDepth      = 8
	maxParts      = 100
	maxPartHeader = 16 << 10
	maxBoundary   = 70        // RFC 2046 5.1.1
	maxParameters = 100       // of one field
	peek          = 4 << 10   // octets of an attachment, as encoded, that are kept for their magic
	maxMagic      = 1<<10 + 5 // of them decoded: PDF readers look for %PDF- in the first kilobyte
)

// scanner sees the parts of a message as a mail client would and refuses what
// is not of a type that may pass, or what nobody can decide.
type scanner struct {
	allowed []string
	nesting nesting
	parts   int
	barren  bool // a multipart is open that had no part yet

	state int
	line1 []byte // the current line, as far as a boundary or a header needs it
	cut   bool   // the current line is longer
	head  []byte // the header of the part that begins
	leaf  leaf
}

const (
	inPreamble = iota // before the first part of a multipart, or behind its last
	inHeader          // of a part
	inLeaf
)

// leaf is one part that holds no parts.
type leaf struct {
	attachment bool
	declared   string // media type, lower case
	name       string
	encoding   string
	first      []byte // its encoded beginning
	done       bool
	shown      bool        // as text, in which clients look for attachments
	padded     bool        // base64 of a text has ended
	text       textDecoder // of a part that is shown
}

func newScanner(allowed []string) *scanner { return &scanner{allowed: allowed} }

// begin looks at the header of the message.
func (s *scanner) begin(h *Header) error {
	for _, f := range h.Fields {
		for l := range bytes.Lines(f.Raw) { // for some programs the header ends there
			if len(bytes.TrimSpace(l)) == 0 {
				return reply.ContentUnclear("empty line in the header")
			}
		}
	}
	return s.open(h)
}

// open looks at the header of the message or of a part.
func (s *scanner) open(h *Header) error {
	if s.parts++; s.parts > maxParts {
		return reply.ContentUnclear("too many parts")
	}
	declared, params, encoding, err := contentOf(h)
	if err != nil {
		return reply.ContentUnclear(err.Error())
	}
	switch {
	case declared == "message/partial" || declared == "message/external-body":
		return reply.AttachmentRefused(declared)
	case declared == "multipart/digest": // its parts are messages where they do not say what they are
		return reply.ContentUnclear(declared)
	case strings.HasPrefix(declared, "multipart/"):
		return s.openMultipart(params["boundary"], encoding)
	case declared == "message/rfc822" || declared == "message/global":
		if !unencoded(encoding) {
			return reply.ContentUnclear("encoded message")
		}
		if len(s.nesting.open) >= maxDepth {
			return reply.ContentUnclear("nested too deeply")
		}
		names, _, err := fileNames(h, params)
		if err != nil {
			return reply.ContentUnclear(err.Error())
		}
		for _, n := range names {
			if extension(n) != "eml" {
				return reply.AttachmentRefused(n)
			}
		}
		s.state, s.head = inHeader, s.head[:0]
		return nil
	}
	return s.openLeaf(h, declared, params, encoding)
}

func (s *scanner) openMultipart(boundary, encoding string) error {
	if err := s.nesting.push(boundary, encoding); err != nil {
		return reply.ContentUnclear(err.Error())
	}
	s.state, s.barren = inPreamble, true
	return nil
}

func (s *scanner) openLeaf(h *Header, declared string, params map[string]string, encoding string) error {
	names, disposition, err := fileNames(h, params)
	if err != nil {
		return reply.ContentUnclear(err.Error())
	}
	for _, n := range names {
		lost := extension(n) == "" && strings.Contains(n, "\ufffd") // its octets may have held one
		if lost || strings.ContainsFunc(n, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return reply.ContentUnclear("file name")
		}
	}
	if len(names) == 2 && extension(names[0]) != extension(names[1]) {
		return reply.ContentUnclear("two file names")
	}
	s.leaf = leaf{declared: declared, encoding: encoding}
	if len(names) > 0 {
		s.leaf.name = names[0]
	}
	text := declared == "" || declared == "text/plain" || declared == "text/html"
	s.leaf.attachment = !text || len(names) > 0 || disposition != "" && disposition != "inline" // RFC 2183 2.8
	s.leaf.shown = text || strings.HasPrefix(declared, "text/")
	s.leaf.text.encoding = encoding
	if c := strings.ToLower(params["charset"]); s.leaf.shown && (strings.Contains(c, "utf-16") || strings.Contains(c, "utf-32") || strings.Contains(c, "utf-7")) {
		return reply.ContentUnclear("charset " + c) // in which ASCII is not its own octets
	}
	switch encoding {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
	default:
		return reply.ContentUnclear("encoding " + encoding)
	}
	s.state = inLeaf
	return nil
}

// line takes a piece of a line of the body.
func (s *scanner) line(p []byte, last bool) error {
	room := max(maxPartHeader-len(s.line1), 0)
	s.cut = s.cut || len(p) > room
	s.line1 = append(s.line1, p[:min(len(p), room)]...)
	if s.state == inLeaf && s.leaf.shown {
		if err := s.text(p, last); err != nil {
			return err
		}
	}
	if !last {
		return nil
	}
	line, cut := s.line1, s.cut
	s.line1, s.cut = s.line1[:0], false
	i, closing, ok := s.nesting.delimiter(line)
	switch {
	case ok && !cut:
		return s.boundary(i, closing)
	case ok || s.nesting.almost(line):
		return reply.ContentUnclear("a line that some take for a boundary")
	}
	switch s.state {
	case inPreamble:
		if uuencoded(line) {
			return reply.AttachmentRefused("uuencode")
		}
	case inHeader:
		return s.header(line)
	case inLeaf:
		return s.content(line, cut)
	}
	return nil
}

// text looks for what clients unpack from a text, and refuses base64 that
// programs read differently (RFC 2045 6.8: some skip, some stop).
func (s *scanner) text(p []byte, last bool) error {
	l := &s.leaf
	if l.encoding == "base64" && !bytes.HasPrefix(s.line1, []byte("-")) { // that may be a boundary yet
		for _, c := range p {
			switch {
			case c == ' ' || c == '\t':
			case c == '=':
				l.padded = true
			case l.padded || !isBase64(c):
				return reply.ContentUnclear("base64 of a text")
			}
		}
	}
	if l.text.line(p, last) {
		return reply.AttachmentRefused("uuencode")
	}
	return nil
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// content takes a line of a leaf that is no boundary.
func (s *scanner) content(line []byte, cut bool) error {
	l := &s.leaf
	if l.shown {
		end := bytes.TrimRight(line, " \t")
		soft := len(end) < len(line) && bytes.HasSuffix(end, []byte("=")) // RFC 2045 6.7 (3)
		switch {
		case uuencoded(line): // as it stands: not every client decodes first
			return reply.AttachmentRefused("uuencode")
		case l.encoding == "quoted-printable" && (soft || cut), l.encoding == "base64" && bytes.HasPrefix(line, []byte("-")):
			return reply.ContentUnclear("encoding of a text")
		}
	}
	if l.done {
		return nil
	}
	if l.attachment {
		l.first = append(append(l.first, line[:min(len(line), peek)]...), '\r', '\n')
	}
	if len(l.first) >= peek {
		return s.judge()
	}
	return nil
}

func (s *scanner) boundary(i int, closing bool) error {
	if err := s.closeLeaf(); err != nil {
		return err
	}
	if s.barren && (closing || i < len(s.nesting.open)-1) { // some guess at another boundary then
		return reply.ContentUnclear("a multipart without parts")
	}
	s.barren = false
	s.nesting.at(i, closing)
	if closing {
		s.state = inPreamble
		return nil
	}
	s.state, s.head = inHeader, s.head[:0]
	return nil
}

func (s *scanner) header(line []byte) error {
	if len(line) > 0 {
		if len(s.head)+len(line)+2 > maxPartHeader {
			return reply.ContentUnclear("part header too large")
		}
		_, field := fieldName(line)
		fold := (line[0] == ' ' || line[0] == '\t') && len(s.head) > 0 && len(bytes.TrimSpace(line)) > 0
		if !field && !fold { // for some programs the header ends there
			return reply.ContentUnclear("part header")
		}
		s.head = append(append(s.head, line...), '\r', '\n')
		return nil
	}
	h := ParseHeader(s.head)
	s.head = s.head[:0]
	return s.open(h)
}

func (s *scanner) closeLeaf() error {
	if s.state == inHeader && len(s.head) > 0 {
		return reply.ContentUnclear("part without a body")
	}
	if s.state == inLeaf && !s.leaf.done {
		return s.judge()
	}
	return nil
}

// end looks at what the end of the message leaves open.
func (s *scanner) end() error {
	if s.barren {
		return reply.ContentUnclear("a multipart without parts")
	}
	return s.closeLeaf()
}

// uuencoded tells the first line of an attachment that clients unpack from a
// text: uuencode, yEnc, BinHex.
func uuencoded(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	switch {
	case bytes.HasPrefix(line, []byte("=ybegin ")), bytes.HasPrefix(line, []byte("(This file must be converted with BinHex")):
		return true
	case !bytes.HasPrefix(line, []byte("begin")):
		return false
	}
	f := bytes.Fields(line)
	return len(f) >= 3 && (string(f[0]) == "begin" || string(f[0]) == "begin-base64") &&
		len(f[1]) >= 3 && len(f[1]) <= 7 && len(bytes.Trim(f[1], "01234567")) == 0
}

// judge decides on an attachment by all that a client goes by: the declared
// type, the name, and the first octets. None may speak for a type that is not
// allowed, and one of them must speak for a type that is.
func (s *scanner) judge() error {
	l := &s.leaf
	l.done = true
	if !l.attachment {
		return nil
	}
	shown := l.declared
	if l.name != "" {
		shown = l.name
	}
	first, ok := decodeFirst(l.first, l.encoding)
	if !ok {
		return reply.ContentUnclear("encoding of " + shown)
	}
	declared, named, content := generic(l.declared), typeOfName(l.name), typeOfContent(first[:min(len(first), maxMagic)])
	if declared == "application/zip" && packaged(named) {
		declared = ""
	}
	if content == "application/zip" && (packaged(named) || packaged(declared)) {
		content = "" // they are archives
	}
	spoke := false
	for _, t := range []string{declared, named, content} {
		if t == "" {
			continue
		}
		if !slices.Contains(s.allowed, t) {
			return reply.AttachmentRefused(shown)
		}
		spoke = true
	}
	if !spoke || !consistent(declared, content) || !consistent(named, content) {
		return reply.AttachmentRefused(shown)
	}
	return nil
}

// packaged tells the types whose files are archives.
func packaged(t string) bool {
	return strings.HasPrefix(t, "application/vnd.") || t == "application/oxps"
}
