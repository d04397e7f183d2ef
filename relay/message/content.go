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
	inner   bool // the header that is read is of a message within
	barren  bool // a multipart is open that had no part yet
	levels  []level
	message int // of levels, those that the innermost message is in

	state int
	line1 []byte // the current line, as far as a boundary or a header needs it
	cut   bool   // the current line is longer
	long  longLine
	head  []byte // the header of the part that begins
	leaf  leaf
}

// level is a multipart that is open.
type level struct {
	alternative bool
	parts       int // that began
	message     int // levels around the message that it is in
}

const (
	inPreamble = iota // before the first part of a multipart, or behind its last
	inHeader          // of a part
	inLeaf
)

func newScanner(allowed []string) *scanner {
	s := &scanner{}
	for _, t := range allowed {
		s.allowed = append(s.allowed, generic(t))
	}
	return s
}

// begin looks at the header of the message.
func (s *scanner) begin(h *Header) error {
	for _, f := range h.Fields {
		if strings.Contains(f.Name, "=?") { // which some decode
			return reply.ContentUnclear("the name of a field")
		}
		for l := range bytes.Lines(f.Raw) {
			switch {
			case len(bytes.TrimSpace(l)) == 0: // for some programs the header ends there
				return reply.ContentUnclear("empty line in the header")
			case len(l) > maxLine && bytes.Contains(bytes.ToLower(l), []byte("content-")): // where it may be cut
				return reply.ContentUnclear("a long line in the header")
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
	if err == nil && declared == "" && h.Has("Content-Type") { // a text for some
		err = unclear("Content-Type")
	}
	if err != nil {
		return reply.ContentUnclear(err.Error())
	}
	switch declared {
	case "message/partial", "message/external-body":
		return reply.AttachmentRefused(declared)
	case "multipart/digest": // its parts are messages where they do not say what they are
		return reply.ContentUnclear(declared)
	}
	names, disposition, err := s.namesOf(h, params)
	switch {
	case err != nil:
		return reply.ContentUnclear(err.Error())
	case strings.HasPrefix(declared, "multipart/"):
		return s.openMultipart(declared, params["boundary"], encoding, names)
	case declared == "message/rfc822" || declared == "message/global":
		return s.openMessage(encoding, names)
	}
	return s.openLeaf(declared, params["charset"], encoding, names, disposition)
}

// namesOf gives all names that a client may save a part under.
func (s *scanner) namesOf(h *Header, params map[string]string) (names []string, disposition string, err error) {
	names, disposition, err = fileNames(h, params)
	if err != nil {
		return nil, "", err
	}
	others, err := otherNames(h)
	if err != nil {
		return nil, "", err
	}
	for _, n := range names {
		if extension(n) != extension(names[0]) {
			return nil, "", unclear("two file names")
		}
	}
	names = append(names, others...)
	if !allOf(names, clearName) {
		return nil, "", unclear("file name")
	}
	return names, disposition, nil
}

func allOf(list []string, is func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !is(s) })
}

func (s *scanner) openMultipart(declared, boundary, encoding string, names []string) error {
	if len(names) > 0 { // some save it as it stands
		return reply.AttachmentRefused(names[0])
	}
	if err := s.nesting.push(boundary, encoding); err != nil {
		return reply.ContentUnclear(err.Error())
	}
	s.levels = append(s.levels, level{alternative: declared == "multipart/alternative", message: s.message})
	s.state, s.barren = inPreamble, true
	return nil
}

func (s *scanner) openMessage(encoding string, names []string) error {
	switch {
	case !unencoded(encoding):
		return reply.ContentUnclear("encoded message")
	case len(s.nesting.open) >= maxDepth:
		return reply.ContentUnclear("nested too deeply")
	}
	for _, n := range names {
		if extension(n) != "eml" {
			return reply.AttachmentRefused(n)
		}
	}
	s.message = len(s.levels)
	s.state, s.head, s.inner = inHeader, s.head[:0], true
	return nil
}

// body tells whether a page here is what a client shows as the message: the first
// part, or one of several to choose from. Others become files that a browser opens.
func (s *scanner) body() bool {
	return !slices.ContainsFunc(s.levels[s.message:], func(l level) bool { return l.parts > 1 && !l.alternative })
}

// line takes a piece of a line of the body.
func (s *scanner) line(p []byte, last bool) error {
	if err := s.longPiece(p, last); err != nil {
		return err
	}
	room := max(maxPartHeader-len(s.line1), 0)
	s.cut = s.cut || len(p) > room
	s.line1 = append(s.line1, p[:min(len(p), room)]...)
	if s.state == inLeaf {
		if err := s.piece(p, last); err != nil {
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
		return hides(line)
	case inHeader:
		return s.header(line)
	case inLeaf:
		return s.content(line)
	}
	return nil
}

func (s *scanner) boundary(i int, closing bool) error {
	if err := s.closeLeaf(); err != nil {
		return err
	}
	switch {
	case i < len(s.nesting.open)-1: // some read on in the inner one
		return reply.ContentUnclear("a multipart that does not end")
	case s.barren && closing: // some guess at another boundary then
		return reply.ContentUnclear("a multipart without parts")
	}
	s.barren = false
	s.nesting.at(i, closing)
	s.message = s.levels[i].message
	if closing {
		s.levels, s.state = s.levels[:i], inPreamble
		return nil
	}
	s.levels[i].parts++
	s.state, s.head, s.inner = inHeader, s.head[:0], false
	return nil
}

func (s *scanner) header(line []byte) error {
	if len(line) > 0 {
		switch {
		case len(s.head)+len(line)+2 > maxPartHeader:
			return reply.ContentUnclear("part header too large")
		case len(line) > maxLine: // where it may be cut
			return reply.ContentUnclear("a long line in a part header")
		}
		name, field := fieldName(line)
		if field && strings.Contains(name, "=?") { // which some decode
			return reply.ContentUnclear("part header")
		}
		fold := (line[0] == ' ' || line[0] == '\t') && len(s.head) > 0 && len(bytes.TrimSpace(line)) > 0
		if !field && !fold { // for some programs the header ends there
			return reply.ContentUnclear("part header")
		}
		s.head = append(append(s.head, line...), '\r', '\n')
		return nil
	}
	switch {
	case s.inner && len(s.head) == 0: // some take what follows for the header
		return reply.ContentUnclear("a message without a header")
	case !s.inner && bytes.Count(s.head, []byte(`"`))%2 == 1: // some read on to the next quote
		return reply.ContentUnclear("a quote in a part header")
	}
	h := ParseHeader(s.head)
	s.head, s.inner = s.head[:0], false
	return s.open(h)
}

func (s *scanner) closeLeaf() error {
	if s.state == inHeader {
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
