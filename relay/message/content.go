package message

import (
	"bytes"
	"encoding/base64"
	"mime"
	"mime/quotedprintable"
	"net/http" //nolint:depguard // for DetectContentType, which is pure
	"path"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Bounds of what is looked into. More is refused: nobody can say what is in it.
const (
	maxDepth      = 8
	maxParts      = 100
	maxPartHeader = 16 << 10
	maxBoundary   = 70  // RFC 2046 5.1.1
	peek          = 512 // octets of an attachment that are decoded for their magic
)

// scanner sees the parts of a message as a mail client would and refuses what
// is not of a type that may pass, or what nobody can decide.
type scanner struct {
	allowed    []string
	boundaries []string // of the multiparts that are open, outermost first
	closed     []string // of those that have ended
	parts      int

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
	text       textDecoder // of a part that is shown as text
}

func newScanner(allowed []string) *scanner { return &scanner{allowed: allowed} }

// begin looks at the header of the message.
func (s *scanner) begin(h *Header) error { return s.open(h) }

// open looks at the header of the message or of a part.
func (s *scanner) open(h *Header) error {
	if s.parts++; s.parts > maxParts {
		return reply.ContentUnclear("too many parts")
	}
	for _, n := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"} {
		if len(h.All(n)) > 1 {
			return reply.ContentUnclear(n + " is there twice")
		}
	}
	declared, params, err := mediaType(h.Get("Content-Type"))
	if err != nil || !clearParameters(h.Get("Content-Type"), params, "boundary") {
		return reply.ContentUnclear("Content-Type")
	}
	encoding := strings.ToLower(strings.TrimSpace(stripComments(h.Get("Content-Transfer-Encoding"))))
	switch {
	case declared == "message/partial" || declared == "message/external-body":
		return reply.AttachmentRefused(declared)
	case declared == "multipart/digest": // its parts are messages where they do not say what they are
		return reply.ContentUnclear(declared)
	case strings.HasPrefix(declared, "multipart/"):
		return s.openMultipart(params["boundary"], encoding)
	case declared == "message/rfc822" || declared == "message/global":
		if encoding != "" && encoding != "7bit" && encoding != "8bit" && encoding != "binary" {
			return reply.ContentUnclear("encoded message")
		}
		if len(s.boundaries) >= maxDepth {
			return reply.ContentUnclear("nested too deeply")
		}
		names, _, err := fileNames(h, params)
		if err != nil {
			return err
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
	if boundary == "" || len(boundary) > maxBoundary || strings.HasSuffix(boundary, " ") {
		return reply.ContentUnclear("boundary")
	}
	if encoding != "" && encoding != "7bit" && encoding != "8bit" && encoding != "binary" {
		return reply.ContentUnclear("encoded multipart")
	}
	if len(s.boundaries) >= maxDepth {
		return reply.ContentUnclear("nested too deeply")
	}
	for _, other := range append(slices.Clone(s.boundaries), s.closed...) { // programs differ in what ends which
		if strings.HasPrefix(other, boundary) || strings.HasPrefix(boundary, other) {
			return reply.ContentUnclear("boundaries that look alike")
		}
	}
	s.boundaries = append(s.boundaries, boundary)
	s.state = inPreamble
	return nil
}

func (s *scanner) openLeaf(h *Header, declared string, params map[string]string, encoding string) error {
	names, disposition, err := fileNames(h, params)
	if err != nil {
		return err
	}
	if len(names) == 2 && extension(names[0]) != extension(names[1]) {
		return reply.ContentUnclear("two file names")
	}
	s.leaf = leaf{declared: declared, encoding: encoding}
	if len(names) > 0 {
		s.leaf.name = names[0]
	}
	text := declared == "" || declared == "text/plain" || declared == "text/html"
	s.leaf.attachment = !text || len(names) > 0 || disposition == "attachment"
	s.leaf.text.encoding = encoding
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
	if s.state == inLeaf && !s.leaf.attachment && s.leaf.text.line(p, last) {
		return reply.AttachmentRefused("uuencode")
	}
	if s.state == inLeaf && !s.leaf.done && !bytes.HasPrefix(s.line1, []byte("--")) {
		s.keep(p, last)
	}
	if !last {
		return nil
	}
	line, cut := s.line1, s.cut
	s.line1, s.cut = s.line1[:0], false
	i, closing, ok := s.delimiter(line)
	switch {
	case ok && !cut:
		return s.boundary(i, closing)
	case ok || s.almost(line):
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
		if !s.leaf.done && len(s.leaf.first) >= 2*peek {
			return s.judge()
		}
	}
	return nil
}

// almost tells a line that begins as a boundary does and is none that is open:
// RFC 2046 5.1.2 has some programs compare the beginning only, and some read on
// behind the last one.
func (s *scanner) almost(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	return ok && (slices.ContainsFunc(s.boundaries, func(b string) bool { return bytes.HasPrefix(rest, []byte(b)) }) ||
		slices.ContainsFunc(s.closed, func(b string) bool { return bytes.HasPrefix(rest, []byte(b)) }))
}

// keep holds the beginning of an attachment for judge.
func (s *scanner) keep(p []byte, last bool) {
	if !s.leaf.attachment {
		return
	}
	if room := 2*peek - len(s.leaf.first); room > 0 {
		s.leaf.first = append(s.leaf.first, p[:min(len(p), room)]...)
		if last && s.leaf.encoding != "base64" {
			s.leaf.first = append(s.leaf.first, '\r', '\n')
		}
	}
}

// delimiter tells whether a line is one of the open boundaries (RFC 2046 5.1.1).
// A client may take any of them, so the outer ones count too.
func (s *scanner) delimiter(line []byte) (index int, closing, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return 0, false, false
	}
	for i := len(s.boundaries) - 1; i >= 0; i-- {
		tail, ok := bytes.CutPrefix(rest, []byte(s.boundaries[i]))
		if !ok {
			continue
		}
		tail, closing = bytes.CutPrefix(tail, []byte("--"))
		if len(bytes.TrimRight(tail, " \t")) == 0 {
			return i, closing, true
		}
	}
	return 0, false, false
}

func (s *scanner) boundary(i int, closing bool) error {
	if err := s.closeLeaf(); err != nil {
		return err
	}
	s.closed = append(s.closed, s.boundaries[i+1:]...)
	s.boundaries = s.boundaries[:i+1]
	if closing {
		s.closed = append(s.closed, s.boundaries[i])
		s.boundaries = s.boundaries[:i]
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
func (s *scanner) end() error { return s.closeLeaf() }

// uuencoded tells the first line of an attachment that clients unpack from a
// text: uuencode, or yEnc.
func uuencoded(line []byte) bool {
	if bytes.HasPrefix(line, []byte("=ybegin ")) {
		return true
	}
	f := bytes.Fields(line)
	return len(f) >= 3 && string(f[0]) == "begin" && len(f[1]) >= 3 && len(f[1]) <= 4 && len(bytes.Trim(f[1], "01234567")) == 0
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
	spoke := false
	first, ok := decodeFirst(l.first, l.encoding)
	if !ok {
		return reply.ContentUnclear("encoding of " + shown)
	}
	for _, t := range []string{generic(l.declared), typeOfName(l.name), typeOfContent(first)} {
		if t == "" {
			continue
		}
		if !s.allows(t) {
			return reply.AttachmentRefused(shown)
		}
		spoke = true
	}
	if !spoke || !consistent(generic(l.declared), typeOfContent(first)) || !consistent(typeOfName(l.name), typeOfContent(first)) {
		return reply.AttachmentRefused(shown)
	}
	return nil
}

func (s *scanner) allows(t string) bool {
	if slices.Contains(s.allowed, t) {
		return true
	}
	return t == "application/zip" && slices.ContainsFunc(s.allowed, func(a string) bool {
		return strings.HasPrefix(a, "application/vnd.") // Office documents are archives
	})
}

// generic is "" for the types that say nothing of the content.
func generic(t string) string {
	switch t {
	case "application/octet-stream", "application/x-octet-stream", "binary/octet-stream", "application/download", "application/x-download":
		return ""
	case "image/jpg", "image/pjpeg":
		return "image/jpeg"
	case "image/tif", "image/x-tiff":
		return "image/tiff"
	case "application/x-pdf":
		return "application/pdf"
	}
	return t
}

var extensions = map[string]string{
	"pdf": "application/pdf", "tif": "image/tiff", "tiff": "image/tiff", "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg",
	"png": "image/png", "gif": "image/gif", "bmp": "image/bmp", "webp": "image/webp", "txt": "text/plain", "csv": "text/csv", "htm": "text/html", "html": "text/html", "xml": "text/xml",
	"zip": "application/zip", "xps": "application/oxps", "oxps": "application/oxps", "rtf": "application/rtf",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"eml":  "message/rfc822",
}

func extension(name string) string {
	return strings.TrimPrefix(strings.ToLower(path.Ext(strings.TrimRight(name, " ."))), ".")
}

// typeOfName is the type that a client starts a file of this name with; a name
// that nobody knows is a type that is never allowed.
func typeOfName(name string) string {
	if name == "" {
		return ""
	}
	ext := extension(name)
	if ext == "" {
		return ""
	}
	if t, ok := extensions[ext]; ok {
		return t
	}
	return "x-unknown/" + ext
}

// typeOfContent is the type that the first octets show; "" if they show none.
func typeOfContent(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")), bytes.HasPrefix(b, []byte("MM\x00*")):
		return "image/tiff"
	case bytes.HasPrefix(b, []byte("MZ")), bytes.HasPrefix(b, []byte("\x7fELF")):
		return "application/x-executable"
	case bytes.HasPrefix(b, []byte("\xd0\xcf\x11\xe0")):
		return "application/x-ole-storage"
	case bytes.HasPrefix(b, []byte("7z\xbc\xaf")):
		return "application/x-7z-compressed"
	}
	// Readers look for it in the first kilobyte; browsers look for markup before.
	if i := bytes.Index(b, []byte("%PDF-")); i >= 0 && i < 1024 && bytes.IndexByte(b[:i], '<') < 0 {
		return "application/pdf"
	}
	t, _, _ := strings.Cut(http.DetectContentType(b), ";")
	switch t {
	case "application/octet-stream", "text/plain":
		return ""
	}
	return t
}

// consistent tells whether a claim goes with the content: types with a magic
// of their own must show it.
func consistent(claim, content string) bool {
	switch claim {
	case "application/pdf", "image/tiff", "image/jpeg", "image/png", "image/gif", "application/zip":
		return content == claim
	}
	return true
}

// decodeFirst decodes the beginning of a part; ok is false where its octets
// are not of the encoding.
func decodeFirst(b []byte, encoding string) ([]byte, bool) {
	switch encoding {
	case "base64":
		b = bytes.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\r\n", r) {
				return -1
			}
			return r
		}, b)
		whole := len(b) / 4 * 4
		out := make([]byte, base64.StdEncoding.DecodedLen(whole))
		n, err := base64.StdEncoding.Decode(out, b[:whole])
		return out[:n], err == nil || n > 0 && bytes.IndexByte(b[:whole], '=') >= 0
	case "quoted-printable":
		out := make([]byte, len(b))
		r := quotedprintable.NewReader(bytes.NewReader(b))
		n := 0
		for n < len(out) {
			k, err := r.Read(out[n:])
			n += k
			if err != nil {
				break // cut in the middle; what was decoded is enough
			}
		}
		return out[:n], true
	}
	return b, true
}

// mediaType reads a Content-Type or Content-Disposition with RFC 2231
// parameters. Names are lower case. What is empty is "".
func mediaType(v string) (string, map[string]string, error) {
	v = strings.TrimSpace(v)
	if v == "" {
		return "", nil, nil
	}
	t, params, err := mime.ParseMediaType(stripComments(v))
	if err != nil {
		return "", nil, err
	}
	return t, params, nil
}

// stripComments drops RFC 5322 comments outside of quoted strings.
func stripComments(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); {
		n := 1
		switch v[i] {
		case '"':
			if n = quotedEnd(v[i:]); n < 0 {
				n = len(v) - i
			}
		case '(':
			if n = commentEnd(v[i:]); n < 0 {
				n = len(v) - i
			}
			i += n
			continue
		}
		b.WriteString(v[i : i+n])
		i += n
	}
	return strings.TrimRight(strings.TrimSpace(b.String()), ";")
}
