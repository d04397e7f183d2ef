package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"mime"
	"mime/quotedprintable"
	"net/http" //nolint:depguard // for DetectContentType, which is pure
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/htmlindex"

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
	allowed    []string
	boundaries []string // of the multiparts that are open, outermost first
	closed     []string // of those that have ended
	parts      int
	barren     bool // a multipart is open that had no part yet

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
	for _, n := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"} {
		all := h.All(n)
		if len(all) > 1 {
			return reply.ContentUnclear(n + " is there twice")
		}
		// A space before the colon (RFC 5322 4.5) is no field for some.
		if len(all) == 1 && all[0].Raw[len(n)] != ':' || !clearValue(h.Get(n)) {
			return reply.ContentUnclear(n)
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
	odd := func(r rune) bool { return r < ' ' || r > '~' || r == '"' }
	if boundary == "" || len(boundary) > maxBoundary || strings.TrimSpace(boundary) != boundary || strings.ContainsFunc(boundary, odd) {
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
	s.state, s.barren = inPreamble, true
	return nil
}

func (s *scanner) openLeaf(h *Header, declared string, params map[string]string, encoding string) error {
	names, disposition, err := fileNames(h, params)
	if err != nil {
		return err
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

// almost tells a line that begins as a boundary does and is none that is open:
// RFC 2046 5.1.2 has some programs compare the beginning only, and some read on
// behind the last one.
func (s *scanner) almost(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	return ok && (slices.ContainsFunc(s.boundaries, func(b string) bool { return bytes.HasPrefix(rest, []byte(b)) }) ||
		slices.ContainsFunc(s.closed, func(b string) bool { return bytes.HasPrefix(rest, []byte(b)) }))
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
	if s.barren && (closing || i < len(s.boundaries)-1) { // some guess at another boundary then
		return reply.ContentUnclear("a multipart without parts")
	}
	s.barren = false
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

const space = "\x00\t\n\f\r " // ISO 32000-1 7.2.2

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
	// PDF readers take what stands before it for space; browsers may not.
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimLeft(b, space), []byte("\xef\xbb\xbf")), space), []byte("%PDF-")) {
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
	v, charsets, ok := extended(stripComments(v))
	if !ok {
		return "", nil, errUnclear
	}
	t, params, err := mime.ParseMediaType(v)
	if err != nil {
		return "", nil, err
	}
	for base, name := range charsets {
		e, err := htmlindex.Get(name)
		if err != nil || strings.HasPrefix(strings.ToLower(name), "utf-16") { // in which pieces are no text
			return "", nil, errUnclear
		}
		if params[base], err = e.NewDecoder().String(params[base]); err != nil {
			return "", nil, errUnclear
		}
	}
	return t, params, nil
}

var errUnclear = errors.New("parameters that programs read differently")

// extended looks through the parameters in the forms of RFC 2231. Go drops what
// it cannot read, other programs do not: ok is false where a piece is missing or
// out of order, or no percent encoding. Go knows two charsets: for others v is
// given back as UTF-8, with the charsets to decode by name of the parameter.
func extended(v string) (_ string, charsets map[string]string, ok bool) {
	segments := splitParameters(v)
	next := map[string]int{}
	for i, s := range segments[1:] {
		name, value, _ := strings.Cut(s, "=")
		base, section, starred := strings.Cut(strings.ToLower(strings.TrimSpace(name)), "*")
		if !starred {
			continue
		}
		section, encoded := strings.CutSuffix(section, "*")
		if section != "" && section != strconv.Itoa(next[base]) {
			return "", nil, false
		}
		next[base]++
		if !encoded && section != "" {
			continue
		}
		for _, escape := range strings.Split(value, "%")[1:] {
			if len(escape) < 2 || hexDigit(escape[0]) < 0 || hexDigit(escape[1]) < 0 {
				return "", nil, false
			}
		}
		if next[base] > 1 {
			continue
		}
		charset, text, found := strings.Cut(value, "'")
		trimmed := strings.Trim(charset, " \t\"")
		switch {
		case !found || strings.Count(text, "'") == 0:
			return "", nil, false
		case !strings.EqualFold(trimmed, "utf-8") && !strings.EqualFold(trimmed, "us-ascii"):
			if charsets == nil {
				charsets = map[string]string{}
			}
			charsets[base] = trimmed
			segments[i+1] = name + "=" + strings.Replace(charset, trimmed, "utf-8", 1) + "'" + text
		}
	}
	return strings.Join(segments, ";"), charsets, true
}

// splitParameters splits at the semicolons outside of quotes.
func splitParameters(v string) (segments []string) {
	begin := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			n := quotedEnd(v[i:])
			if n < 0 {
				return append(segments, v[begin:])
			}
			i += n - 1
		case ';':
			segments = append(segments, v[begin:i])
			begin = i + 1
		}
	}
	return append(segments, v[begin:])
}

// clearValue tells whether programs that know the comments and quoted pairs of
// RFC 5322 read the same in a Content- field as those that do not, and whether
// it has a bearable number of parameters.
func clearValue(v string) bool {
	names := parameterNames(v)
	if strings.Contains(v, `\`) || len(names) > maxParameters {
		return false
	}
	named := slices.ContainsFunc(names, func(n string) bool {
		base, _, _ := strings.Cut(n, "*")
		return base == "boundary" || base == "name" || base == "filename"
	})
	parameters := false
	for i := 0; i < len(v); {
		n := 1
		switch v[i] {
		case ';':
			parameters = true
		case '"':
			n = quotedEnd(v[i:])
		case '(':
			n = commentEnd(v[i:])
			if n > 0 && strings.ContainsAny(v[i:i+n], `;="`) || parameters && named {
				return false
			}
		}
		if n < 0 {
			return false
		}
		i += n
	}
	return true
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
