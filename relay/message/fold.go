package message

import "bytes"

const (
	longestLine = 998 // octets of a line without CRLF (RFC 5322 2.1.1)
	foldAt      = 76  // where a line that is folded ends, if it can
)

// fold folds a field that has a line nobody need carry, such as a hundred recipients
// in one To:, at its white space (RFC 5322 2.2.3); an address field behind its commas
// too. A line without either stays.
func fold(f Field) (Field, bool) {
	if !tooLong(f.Raw) {
		return f, false
	}
	lists := isAddressField(f)
	var out []byte
	for i, line := range bytes.SplitAfter(f.Raw, crlf) {
		begin := 0
		if i == 0 {
			begin = bytes.IndexByte(line, ':') + 1
		}
		if len(bytes.TrimSuffix(line, crlf)) <= longestLine {
			out = append(out, line...)
			continue
		}
		out = foldLine(out, line, begin, lists)
	}
	folded := Field{Name: f.Name, Raw: out}
	return folded, !bytes.Equal(out, f.Raw)
}

func tooLong(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if len(bytes.TrimRight(line, "\r\n")) > longestLine {
			return true
		}
	}
	return false
}

// foldLine appends a line, with its CRLF, in pieces. The first can end behind
// the first word of the value, which begins at from, so that no piece is white space
// only.
func foldLine(out, line []byte, from int, lists bool) []byte {
	start, last := 0, -1 // of the piece; the last place to end it
	comma := false       // that place is behind a comma: the white space is ours
	quoted, escaped, word := false, false, false
	end := len(bytes.TrimRight(line, " \t\r\n")) // no fold before white space at the end
	for i := from; i < end; i++ {
		c := line[i]
		space := c == ' ' || c == '\t'
		behind := lists && !quoted && i > from && line[i-1] == ',' && !space
		if word && (space && line[i-1] != ' ' && line[i-1] != '\t' || behind) {
			if i-start > foldAt && last > start {
				out = piece(out, line[start:last], comma)
				start = last
			}
			last, comma = i, behind
		}
		word = word || !space
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
	}
	if end-start > foldAt && last > start {
		out = piece(out, line[start:last], comma)
		start = last
	}
	return append(out, line[start:]...)
}

// piece ends a piece of a line; what follows begins with white space.
func piece(out, p []byte, ours bool) []byte {
	out = append(append(out, p...), crlf...)
	if ours {
		out = append(out, ' ')
	}
	return out
}
