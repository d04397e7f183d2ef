package message

import (
	"io"
	"mime"
	"slices"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// fileNames gives the names that a client may save a part under, and its
// disposition. A name that cannot be read for certain is refused: the client may
// read it, and go by its extension.
func fileNames(h *Header, params map[string]string) (names []string, disposition string, err error) {
	disposition, dparams, err := mediaType(h.Get("Content-Disposition"))
	if err != nil || !clearParameters(h.Get("Content-Disposition"), dparams) {
		return nil, "", unclear("Content-Disposition")
	}
	for _, n := range []string{dparams["filename"], params["name"]} {
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
	s = strings.TrimSpace(s)
	return s, !strings.ContainsAny(s, "/\\\x00\r\n")
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
		if _, ok := params[base]; !ok {
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
