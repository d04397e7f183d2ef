package message

import (
	"errors"
	"mime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

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
			if strings.Contains(value, "%") { // which some decode all the same
				return "", nil, false
			}
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
		switch c := v[i]; {
		case c < ' ' && c != '\t', c >= 0x7f: // a space for some, or a line end
			return false
		case c == ';':
			parameters = true
		case c == '"':
			n = quotedEnd(v[i:])
			if n > 0 && strings.ContainsFunc(v[i:i+n], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return false
			}
		case c == '(':
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
