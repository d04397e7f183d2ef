package message

import "encoding/base64"

// textDecoder looks for attachments that a text carries in itself. It sees the
// lines of the part as they stand and decodes them, a bounded piece at a time.
type textDecoder struct {
	encoding string
	current  []byte // the decoded line so far; only its beginning matters
	group    []byte // base64: what does not make a group of four yet
	escape   []byte // quoted-printable: an = and what follows it
}

// maxTextLine is what of a line is kept: more than the first line of an
// attachment has.
const maxTextLine = 256

// line takes a piece of a line and tells whether an attachment begins there.
func (d *textDecoder) line(p []byte, last bool) bool {
	found := false
	switch d.encoding {
	case "base64":
		for _, c := range p {
			if c == ' ' || c == '\t' || c == '=' {
				continue
			}
			if d.group = append(d.group, c); len(d.group) == 4 {
				found = d.groupDone() || found
			}
		}
		return found
	case "quoted-printable":
		for _, c := range p {
			found = d.quoted(c) || found
		}
		if last && len(d.escape) > 0 { // a soft line end
			d.escape = d.escape[:0]
			return found || uuencoded(d.current)
		}
	default:
		for _, c := range p[:min(len(p), maxTextLine)] {
			d.put(c)
		}
	}
	return last && d.end() || found
}

func (d *textDecoder) groupDone() (found bool) {
	var out [3]byte
	n, _ := base64.StdEncoding.Decode(out[:], d.group) //nolint:errcheck // what cannot be decoded is shown by nobody
	d.group = d.group[:0]
	for _, c := range out[:n] {
		found = d.put(c) || found
	}
	return found || uuencoded(d.current)
}

// quoted takes one octet of quoted-printable (RFC 2045 6.7).
func (d *textDecoder) quoted(c byte) (found bool) {
	switch {
	case len(d.escape) == 0 && c == '=':
		d.escape = append(d.escape, c)
	case len(d.escape) == 0:
		return d.put(c)
	case len(d.escape) == 1:
		d.escape = append(d.escape, c)
	default:
		hi, lo := hexDigit(d.escape[1]), hexDigit(c)
		d.escape = d.escape[:0]
		if hi >= 0 && lo >= 0 {
			return d.put(byte(hi<<4 | lo)) //nolint:gosec // two digits of four bits
		}
	}
	return false
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
func (d *textDecoder) put(c byte) (found bool) {
	switch {
	case c == '\n' || c == '\r': // a bare CR is a line end for some
		return d.end()
	case len(d.current) < maxTextLine:
		d.current = append(d.current, c)
	}
	return false
}

// end ends a line.
func (d *textDecoder) end() bool {
	found := uuencoded(d.current)
	d.current = d.current[:0]
	return found
}
