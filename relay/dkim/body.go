package dkim

import (
	"bufio"
	"bytes"
	"hash"
	"io"
	"sync"
)

// relaxed writes a body to a hash in its relaxed form (RFC 6376 3.4.4): white
// space at the end of lines goes, other runs of it become one space, and so do
// empty lines at the end of the body. Of a run of empty lines it keeps only how
// many they are.
type relaxed struct {
	w     *bufio.Writer
	any   bool // something was written
	lines int  // line ends that are due before the next octet
	space bool // white space is, behind those
	cr    bool // a CR came, perhaps of a line end
}

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4<<10) }}

func newRelaxed(h hash.Hash) *relaxed {
	w := writers.Get().(*bufio.Writer)
	w.Reset(h)
	return &relaxed{w: w}
}

// Write implements io.Writer; a hash takes everything.
func (r *relaxed) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		c := b[0]
		if r.cr {
			if r.cr = false; c == '\n' {
				r.lines++
				r.space = false
				b = b[1:]
				continue
			}
			r.out([]byte{'\r'})
		}
		switch c {
		case '\r':
			r.cr = true
			b = b[1:]
		case ' ', '\t':
			r.space = true
			b = b[1:]
		default:
			i := verbatim(b)
			r.out(b[:i])
			b = b[i:]
		}
	}
	return n, nil
}

// verbatim is how many of the octets of b, which does not begin with white space
// or CR, stay as they are: those before the first white space, less the line ends
// before that. So base64 is not looked at line by line.
func verbatim(b []byte) int {
	for _, c := range []byte{' ', '\t'} {
		if i := bytes.IndexByte(b, c); i >= 0 {
			b = b[:i]
		}
	}
	return max(len(bytes.TrimRight(b, "\r\n")), 1)
}

// out writes octets that begin and end with neither white space nor a line end,
// behind those that are due.
func (r *relaxed) out(b []byte) {
	for ; r.lines > 0; r.lines-- {
		io.WriteString(r.w, "\r\n") //nolint:errcheck // a hash takes everything
	}
	if r.space {
		r.w.WriteByte(' ') //nolint:errcheck // likewise
		r.space = false
	}
	r.w.Write(b) //nolint:errcheck // likewise
	r.any = true
}

// close ends the last line: a body that is not empty ends with one CRLF. Nothing
// may be written behind it.
func (r *relaxed) close() {
	if r.cr {
		r.out([]byte{'\r'})
	}
	if r.any {
		io.WriteString(r.w, "\r\n") //nolint:errcheck // a hash takes everything
	}
	r.w.Flush() //nolint:errcheck // likewise
	r.w.Reset(nil)
	writers.Put(r.w)
}
