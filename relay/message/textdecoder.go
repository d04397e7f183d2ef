package message

import "encoding/base64"

// textDecoder looks for attachments that a text carries in itself. It sees the
// lines of the part as they stand and decodes them, a bounded piece at a time.
type textDecoder struct {
	encoding string
	current  []byte // the decoded line so far; only its beginning matters
	group    []byte // base64: what does not make a group of four yet
	escape   []byte // quoted-printable: an = and what follows it
	shifting bool   // in an escape sequence of ISO 2022
	found    error  // what is refused
}

// maxTextLine is what of a line is kept: more than the first line of an
// attachment has.
const maxTextLine = 256

// line takes a piece of a line; it is an error where an attachment begins there.
func (d *textDecoder) line(p []byte, last bool) error {
	switch d.encoding {
	case "base64":
		for _, c := range p {
			if c == ' ' || c == '\t' || c == '=' {
				continue
			}
			if d.group = append(d.group, c); len(d.group) == 4 {
				d.groupDone()
			}
		}
		return d.found
	case "quoted-printable":
		for _, c := range p {
			d.quoted(c)
		}
		if last && len(d.escape) > 0 { // a soft line end
			d.escape = d.escape[:0]
			d.look()
			return d.found
		}
	default:
		for _, c := range p[:min(len(p), maxTextLine)] {
			d.put(c)
		}
	}
	if last {
		d.end()
	}
	return d.found
}

func (d *textDecoder) groupDone() {
	var out [3]byte
	n, _ := base64.StdEncoding.Decode(out[:], d.group) //nolint:errcheck // what cannot be decoded is shown by nobody
	d.group = d.group[:0]
	for _, c := range out[:n] {
		d.put(c)
	}
	d.look()
}

// quoted takes one octet of quoted-printable (RFC 2045 6.7).
func (d *textDecoder) quoted(c byte) {
	switch {
	case len(d.escape) == 0 && c == '=':
		d.escape = append(d.escape, c)
	case len(d.escape) == 0:
		d.put(c)
	case len(d.escape) == 1:
		d.escape = append(d.escape, c)
	default:
		hi, lo := hexDigit(d.escape[1]), hexDigit(c)
		d.escape = d.escape[:0]
		if hi >= 0 && lo >= 0 {
			d.put(byte(hi<<4 | lo)) //nolint:gosec // two digits of four bits
		}
	}
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// put takes one decoded octet.
func (d *textDecoder) put(c byte) {
	switch {
	case c == '\n' || c == '\r': // a bare CR is a line end for some
		d.end()
	case c == 0x1b, d.shifting: // nobody sees them
		d.shifting = c == 0x1b || c >= ' ' && c <= '/' // up to another octet
	case len(d.current) < maxTextLine:
		d.current = append(d.current, c)
	}
}

// look looks at the line so far.
func (d *textDecoder) look() {
	if len(d.current) < maxTextLine && d.found == nil {
		d.found = hides(d.current)
	}
}

// end ends a line.
func (d *textDecoder) end() {
	if d.found == nil {
		d.found = hides(d.current)
	}
	d.current, d.shifting = d.current[:0], false
}
