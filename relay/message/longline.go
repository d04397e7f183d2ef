package message

import (
	"bytes"
	"slices"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// maxLine is the octets that a line may have on its way (RFC 5321 4.5.3.1.6).
// Longer ones are carried, but a server behind us may cut them, anywhere: what
// stands in such a line may come to stand at the beginning of one.
const maxLine = 998

// longLine is what is known of a line that may be too long.
type longLine struct {
	size int
	tail []byte // of what came, as much as a mark may be cut by the pieces
}

// mark is more than the octets of a boundary or of the beginning of uuencode.
const mark = 128

// longPiece looks in a piece of a line that is too long for what would be a
// boundary, or an attachment within a text, at the beginning of one.
func (s *scanner) longPiece(p []byte, last bool) error {
	l := &s.long
	was := l.size
	l.size += len(p)
	if l.size > maxLine {
		if was <= maxLine { // it gets too long here
			l.tail = append(l.tail[:0], s.line1...)
		}
		l.tail = append(l.tail, p...)
		if err := s.marks(l.tail); err != nil {
			return err
		}
		l.tail = append(l.tail[:0], l.tail[max(len(l.tail)-mark, 0):]...)
	}
	if last {
		l.size = 0
	}
	return nil
}

func (s *scanner) marks(b []byte) error {
	for _, boundary := range slices.Concat(s.nesting.open, s.nesting.closed) {
		if bytes.Contains(b, []byte("--"+boundary)) {
			return reply.ContentUnclear("a boundary in a long line")
		}
	}
	lower := b
	if bytes.IndexByte(b, ':') >= 0 { // which no base64 has
		lower = bytes.ToLower(b)
	}
	for _, word := range []string{"begin", "=ybegin ", "=ypart ", "(this file must be converted", "content-"} {
		for at := 0; ; at += len(word) {
			i := bytes.Index(lower[at:], []byte(word))
			if i < 0 {
				break
			}
			at += i
			if err := hides(b[at:]); err != nil {
				return err
			}
		}
	}
	return nil
}
