package message

import (
	"io"
	"mime"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// fileNames gives the names that a client may save a part under, and its
// disposition. A name that cannot be read for certain is refused: the client may
// read it, and go by its extension.
func fileNames(h *Header, params map[string]string) (names []string, disposition string, err error) {
	disposition, dparams, err := mediaType(h.Get("Content-Disposition"))
	if err != nil || !clearParameters(h.Get("Content-Disposition"), dparams) || dparams["boundary"] != "" {
		return nil, "", unclear("Content-Disposition")
	}
	// By RFC 2183 and 2045 the first and the second; some take the others too.
	for _, n := range []string{dparams["filename"], params["name"], dparams["name"], params["filename"]} {
		n, ok := fileName(n)
		if !ok {
			return nil, "", unclear("file name")
		}
		if n != "" {
			names = append(names, n)
		}
	}
	return names, disposition, nil
}

// otherNames are what some clients take for a file's name where none is given:
// where the part comes from (RFC 2557), and how it is described.
func otherNames(h *Header) (names []string, err error) {
	for _, f := range h.Fields {
		if !strings.Contains(strings.ToLower(f.Name), "content-location") { // anywhere, for some
			continue
		}
		v := f.Value()
		from := []string{v}
		for i, r := range v {
			if r == '?' || r == '#' {
				from = append(from, v[:i])
			}
		}
		for _, v := range from {
			n, ok := fileName(path.Base(v))
			if !ok {
				return nil, unclear("Content-Location")
			}
			names = append(names, n)
		}
	}
	for _, f := range h.All("Content-Description") {
		if n, ok := fileName(f.Value()); ok && likeAnExtension(extension(n)) {
			names = append(names, n)
		}
	}
	return names, nil
}

// likeAnExtension tells an extension from the end of a sentence or a number.
func likeAnExtension(ext string) bool {
	letters := func(r rune) bool { return r >= 'a' && r <= 'z' }
	alien := func(r rune) bool { return !letters(r) && (r < '0' || r > '9') }
	return len(ext) >= 2 && len(ext) <= 10 && strings.ContainsFunc(ext, letters) && !strings.ContainsFunc(ext, alien)
}

// variants are what a name becomes where programs end it at a character that
// file systems or header fields do not take, or write it in plain letters.
func variants(name string) []string {
	out := []string{name}
	for i, r := range name {
		if strings.ContainsRune(`;:<>|?*`, r) {
			out = append(out, name[:i])
		}
	}
	for _, n := range out {
		if plain := norm.NFKC.String(n); plain != n {
			out = append(out, plain)
		}
	}
	return out
}

// fileName decodes a name that is written in encoded words, as most programs do
// against RFC 2047 5; false where a program could read another name.
func fileName(s string) (string, bool) {
	if strings.Contains(s, "=?") {
		dec := mime.WordDecoder{CharsetReader: charset}
		d, err := dec.DecodeHeader(s)
		if err != nil || strings.Contains(d, "=?") {
			return "", false
		}
		s = d
	}
	s = strings.Trim(s, " \t")                                       // what else looks like a space is part of the name
	escaped := strings.Contains(s, "''") && strings.Contains(s, "%") // RFC 2231 for who overlooks that no star says so
	return s, !escaped && !strings.ContainsAny(s, "/\\\x00\r\n")
}

// clearName tells whether every program goes by the same extension of a name that
// was read.
func clearName(n string) bool {
	lost := extension(n) == "" && strings.Contains(n, "\ufffd") // its octets may have held one
	return !lost && !strings.ContainsFunc(norm.NFKC.String(n), misleading)
}

// misleading tells the characters that a name can be cut at, or that show another
// one than it is.
func misleading(r rune) bool {
	switch {
	case strings.ContainsRune("/\\\"\u2028\u2029", r), r < ' ' && r != '\t', r >= 0x7f && r < 0xa0:
		return true
	}
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // overrides of direction
}

// charset reads the charsets that the web knows.
func charset(name string, in io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, err
	}
	return transform.NewReader(in, e.NewDecoder()), nil
}

// clearParameters tells whether every program reads the same parameters of a
// Content- field: none is given in two forms (RFC 2231), none that was given is
// missing from params, as Go drops those of charsets that it does not know.
// Those named in plain must not be in a form of RFC 2231 at all.
func clearParameters(value string, params map[string]string, plain ...string) bool {
	forms := map[string]string{} // by base name: "=", "*=" or "*0="
	for _, name := range parameterNames(value) {
		base, section, starred := strings.Cut(name, "*")
		form := "="
		switch {
		case starred && slices.Contains(plain, base):
			return false
		case starred && section == "":
			form = "*="
		case starred:
			form = "*0="
		}
		if was, seen := forms[base]; seen && (was != form || form != "*0=") {
			return false
		}
		forms[base] = form
	}
	for base := range forms {
		value, ok := params[base]
		near := base != "name" && base != "filename" && strings.Contains(base, "name")            // some look at the beginning only
		if !ok || near || base != "name" && base != "filename" && strings.Contains(value, "=?") { // some decode the whole field
			return false
		}
	}
	return true
}

// parameterNames gives the names of the parameters of a value, lower case, in
// order.
func parameterNames(value string) (names []string) {
	value = stripComments(value)
	begin := -1
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			n := quotedEnd(value[i:])
			if n < 0 {
				return names
			}
			i += n - 1
		case ';':
			begin = i + 1
		case '=':
			if begin >= 0 {
				names = append(names, strings.ToLower(strings.TrimSpace(value[begin:i])))
				begin = -1
			}
		}
	}
	return names
}
