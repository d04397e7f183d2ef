package message

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// leaf is one part that holds no parts.
type leaf struct {
	attachment bool
	declared   string // media type, lower case
	names      []string
	encoding   string
	first      []byte // its encoded beginning
	done       bool
	shown      bool        // as text, in which clients look for attachments
	padded     bool        // base64 of a text has ended
	text       textDecoder // of a part that is shown
}

func (s *scanner) openLeaf(declared, charset, encoding string, names []string, disposition string) error {
	s.leaf = leaf{declared: declared, encoding: encoding, names: names, first: s.leaf.first[:0]}
	text := declared == "" || declared == "text/plain" || declared == "text/html" && s.body()
	s.leaf.attachment = !text || len(names) > 0 || disposition != "" && disposition != "inline" // RFC 2183 2.8
	s.leaf.shown = text || strings.HasPrefix(declared, "text/")
	s.leaf.text.encoding = encoding
	if s.leaf.shown && wide(charset) {
		return reply.ContentUnclear("charset " + charset)
	}
	switch encoding {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
	default:
		return reply.ContentUnclear("encoding " + encoding)
	}
	s.state = inLeaf
	return nil
}

// wide tells the charsets in which ASCII is not its own octets.
func wide(charset string) bool {
	if charset == "" {
		return false
	}
	c := strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(charset))
	return slices.ContainsFunc([]string{"utf16", "utf32", "utf7", "ucs2", "ucs4", "unicode", "10646", "cp1200", "cp1201"}, func(w string) bool {
		return strings.Contains(c, w)
	})
}

// piece takes a piece of a line. It refuses base64 that programs read differently
// (RFC 2045 6.8: some skip, some stop, some give it as it stands), and looks in a
// text for what clients unpack.
func (s *scanner) piece(p []byte, last bool) error {
	l := &s.leaf
	if l.encoding == "base64" && !bytes.HasPrefix(s.line1, []byte("-")) { // that may be a boundary yet
		if !l.base64(p) {
			return reply.ContentUnclear("base64")
		}
	}
	if l.shown {
		return l.text.line(p, last)
	}
	return nil
}

// base64 tells whether octets go on as base64 does: nothing but white space is in
// between, or behind the padding.
func (l *leaf) base64(p []byte) bool {
	i := 0
	for !l.padded && i < len(p) && isBase64[p[i]] { // most octets of most scans
		i++
	}
	for _, c := range p[i:] {
		switch {
		case c == ' ' || c == '\t' || isBase64[c] && !l.padded:
		case c == '=':
			l.padded = true
		default:
			return false
		}
	}
	return true
}

var isBase64 = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = true
	}
	return t
}()

// content takes a line of a leaf that is no boundary.
func (s *scanner) content(line []byte) error {
	l := &s.leaf
	if err := hides(line); err != nil { // as it stands: not every client decodes first, or goes by the type
		return err
	}
	if l.declared == "" && saysContent(line) { // some take a text of no type for another header
		return reply.ContentUnclear("a header in a text")
	}
	end := bytes.TrimRight(line, " \t")
	soft := len(end) < len(line) && bytes.HasSuffix(end, []byte("=")) // RFC 2045 6.7 (3)
	if l.encoding == "base64" && bytes.HasPrefix(line, []byte("-")) || l.encoding == "quoted-printable" && l.shown && soft {
		return reply.ContentUnclear("encoding of a text")
	}
	if l.done {
		return nil
	}
	if l.attachment {
		if l.first == nil {
			l.first = make([]byte, 0, peek+maxLine)
		}
		l.first = append(append(l.first, line[:min(len(line), peek)]...), '\r', '\n')
	}
	if len(l.first) >= peek {
		return s.judge()
	}
	return nil
}

// hides refuses a line by which clients find an attachment where MIME has none.
func hides(line []byte) error {
	line = bytes.TrimLeftFunc(line, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) // as some do
	switch {
	case uuencoded(line):
		return reply.AttachmentRefused("uuencode")
	case contentField(line):
		return reply.ContentUnclear("a header within a part")
	}
	return nil
}

// contentField tells a line that looks like a field of a part's header, to those
// who take what comes near too.
func contentField(line []byte) bool {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimSpace(rest)
	if named(rest) && contains(word, "content-") || bytes.Contains(word, []byte(":")) && namesContent(word) {
		return true
	}
	if bytes.IndexByte(word, '-') < 0 || !saysContent(word) {
		return false
	}
	letters := func(r rune) bool { return r == '-' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	return len(bytes.TrimFunc(word, letters)) > 0 || len(rest) == 0 || rest[0] == ':'
}

// saysContent finds the name of a field that says what the content is.
func saysContent(b []byte) bool {
	b = bytes.ToLower(b)
	return slices.ContainsFunc(saying, func(name []byte) bool { return bytes.Contains(b, name) })
}

var saying = [][]byte{[]byte("content-type"), []byte("content-disposition"), []byte("content-transfer-encoding"), []byte("content-location")}

// named tells octets that hold name= or filename=, spaces in between or not.
func named(b []byte) bool { return bytes.IndexByte(b, '=') >= 0 && contains(b, "name") }

// namesContent tells whether what stands before the colon is the name of a field
// that says what the content is, or an encoded word, which some decode.
func namesContent(b []byte) bool {
	name, _, _ := bytes.Cut(b, []byte(":"))
	return contains(name, "content-") || contains(name, "=?")
}

// contains looks for a word of lower-case letters, whatever its case.
func contains(b []byte, word string) bool { return bytes.Contains(bytes.ToLower(b), []byte(word)) }

// uuencoded tells the first line of an attachment that clients unpack from a
// text: uuencode, yEnc, BinHex. What stands behind "begin" is loosely read.
func uuencoded(line []byte) bool {
	for _, begin := range []string{"=ybegin ", "=ypart ", "(This file must be converted"} {
		if bytes.HasPrefix(line, []byte(begin)) {
			return true
		}
	}
	rest, ok := bytes.CutPrefix(line, []byte("begin"))
	if !ok {
		return false
	}
	for _, how := range []string{"-base64", "-encoded"} {
		rest = bytes.TrimPrefix(rest, []byte(how))
	}
	rest = bytes.TrimLeftFunc(rest, func(r rune) bool { return r <= ' ' })
	return len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'
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
	if len(l.names) > 0 {
		shown = l.names[0]
	}
	first, ok := decodeFirst(l.first, l.encoding)
	if !ok {
		return reply.ContentUnclear("encoding of " + shown)
	}
	declared, content := generic(l.declared), contentOfOctets(first[:min(len(first), maxMagic)])
	named, ok := s.typesOfNames()
	if !ok {
		return reply.AttachmentRefused(shown)
	}
	if declared == "application/zip" && packaged(named) {
		declared = ""
	}
	if declared != "" && !slices.Contains(s.allowed, declared) || declared == "" && named == "" && content.media == "" {
		return reply.AttachmentRefused(shown)
	}
	if m := content.media; m != "" && !slices.Contains(s.allowed, m) && !(m == "application/zip" && (packaged(named) || packaged(declared))) {
		return reply.AttachmentRefused(shown)
	}
	if !content.goesWith(declared) || !content.goesWith(named) {
		return reply.AttachmentRefused(shown)
	}
	return nil
}

// typesOfNames gives the type of the names of the leaf; false where a client may
// save it as one that is not allowed, or as a message, which nobody looked into.
func (s *scanner) typesOfNames() (named string, ok bool) {
	for _, n := range s.leaf.names {
		for _, v := range variants(n) {
			t := typeOfName(v)
			if t == "message/rfc822" || t != "" && !slices.Contains(s.allowed, t) {
				return "", false
			}
			named = cmp.Or(named, t)
		}
	}
	return named, true
}
