package message

import (
	"mime"
	"strings"
	"unicode/utf8"
)

// decodeName gives a display name as a person reads it: quotes taken off,
// encoded words decoded (RFC 2047).
func decodeName(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && quotedEnd(s) == len(s) {
		s = unquote(s)
	}
	dec := mime.WordDecoder{CharsetReader: charset}
	if d, err := dec.DecodeHeader(s); err == nil {
		s = d
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

// DecodeText decodes the encoded words of a value (RFC 2047); false where they
// are in a charset that nobody knows, or hide control characters.
func DecodeText(value string) (string, bool) {
	dec := mime.WordDecoder{CharsetReader: charset}
	s, err := dec.DecodeHeader(value)
	hidden := func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }
	return s, err == nil && !strings.ContainsFunc(s, hidden)
}

func unquote(s string) string {
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// FormatMailbox writes a mailbox with a display name for a header.
func FormatMailbox(name, address string) string {
	if name == "" {
		return "<" + address + ">"
	}
	return encodeName(name) + " <" + address + ">"
}

// encodeName writes a display name as an atom, a quoted string or encoded words.
func encodeName(s string) string {
	if !isASCII([]byte(s)) {
		return foldWords(phrase(s))
	}
	if strings.IndexFunc(s, func(r rune) bool { return strings.ContainsRune("()<>[]:;@\\,.\"=", r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// phrase writes words of a display name, or of a quoted string, that are not
// ASCII. In base64: Q would leave brackets, commas and quotes as they are, which
// an encoded word may not hold there (RFC 2047 5) and which would let a name
// pass for an address.
func phrase(s string) string { return mime.BEncoding.Encode("utf-8", s) }

// foldWords puts each encoded word on a line of its own (RFC 2047 2).
func foldWords(s string) string { return strings.ReplaceAll(s, "?= =?", "?=\r\n =?") }

// toUTF8 reads octets that claim no charset: UTF-8 where they are, else Latin-1,
// which old copiers send.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// encodeField makes a field with raw 8-bit octets one with encoded words
// (RFC 2047). In address fields only display names are touched.
func encodeField(f Field) Field {
	v := toUTF8(f.Value())
	switch {
	case isAddressField(f):
		v = encodeTokens(v)
	case strings.HasPrefix(strings.ToLower(f.Name), "content-"):
		v = encodeQuoted(v)
	default:
		v = foldWords(mime.QEncoding.Encode("utf-8", v))
	}
	return NewField(f.Name, v)
}

func isAddressField(f Field) bool {
	for _, n := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"} {
		if f.Is(n) {
			return true
		}
	}
	return false
}

// encodeTokens encodes the words of display names that are not ASCII; what
// stands in angle brackets stays.
func encodeTokens(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); {
		n := 1
		switch c := v[i]; {
		case c == '"':
			if n = quotedEnd(v[i:]); n < 0 {
				n = len(v) - i
			}
			if q := v[i : i+n]; !isASCII([]byte(q)) && !strings.HasPrefix(v[i+n:], "@") {
				b.WriteString(phrase(unquote(q)))
				i += n
				continue
			}
		case c == '<':
			if n = strings.IndexByte(v[i:], '>') + 1; n == 0 {
				n = len(v) - i
			}
		case strings.IndexByte(" \t,;:()", c) < 0:
			for i+n < len(v) && strings.IndexByte(" \t,;:()<\"", v[i+n]) < 0 {
				n++
			}
			if w := v[i : i+n]; !isASCII([]byte(w)) && !strings.Contains(w, "@") {
				b.WriteString(phrase(w))
				i += n
				continue
			}
		}
		b.WriteString(v[i : i+n])
		i += n
	}
	return b.String()
}

// encodeQuoted encodes quoted parameter values that are not ASCII, the way
// that mail clients read although RFC 2047 5 does not foresee it.
func encodeQuoted(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); {
		if v[i] == '"' {
			n := quotedEnd(v[i:])
			if n < 0 {
				n = len(v) - i
			}
			q := v[i : i+n]
			if !isASCII([]byte(q)) {
				b.WriteString(`"` + phrase(strings.Trim(q, `"`)) + `"`)
			} else {
				b.WriteString(q)
			}
			i += n
			continue
		}
		if v[i] < utf8.RuneSelf {
			b.WriteByte(v[i])
			i++
			continue
		}
		n := 0
		for i+n < len(v) && v[i+n] >= utf8.RuneSelf {
			n++
		}
		b.WriteString(phrase(v[i : i+n]))
		i += n
	}
	return b.String()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
