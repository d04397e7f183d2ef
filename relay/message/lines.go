package message

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var errBareEnding = errors.New("bare CR or LF")

// lines turns octets as a device sends them into lines that end in CRLF: a
// bare LF ends a line, a bare CR becomes a space, NUL is dropped (RFC 5321
// 2.3.8, RFC 5322 4.1). It hands on pieces of lines: a line of any length
// passes without being held.
type lines struct {
	reject bool // bare CR or LF is an error
	// out takes a piece of a line without its end; last says that the line ends
	// behind it. The piece is only good during the call.
	out func(piece []byte, last bool) error

	cr      bool // a CR at the end of the octets before these
	open    bool // a piece of the line is out already
	repairs int
	high    bool // an octet over 127 was seen
	clean   []byte
}

func (l *lines) write(b []byte) error {
	for len(b) > 0 {
		if l.cr {
			l.cr = false
			if b[0] != '\n' {
				if err := l.bareCR(); err != nil {
					return err
				}
			} else {
				if err := l.emit(nil, true); err != nil {
					return err
				}
				b = b[1:]
				continue
			}
		}
		i := bytes.IndexByte(b, '\n')
		piece, last := b, i >= 0
		if last {
			piece, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if n := len(piece); n > 0 && piece[n-1] == '\r' {
			piece = piece[:n-1]
			l.cr = !last
		} else if last {
			if l.repairs++; l.reject {
				return errBareEnding
			}
		}
		if err := l.piece(piece, last); err != nil {
			return err
		}
	}
	return nil
}

// piece hands on octets between line ends, of which only a bare CR or a NUL
// needs a repair.
func (l *lines) piece(p []byte, last bool) error {
	high, dirty := scan(p)
	l.high = l.high || high
	if !dirty {
		if len(p) == 0 && !last {
			return nil
		}
		return l.emit(p, last)
	}
	l.clean = l.clean[:0]
	for _, c := range p {
		switch c {
		case 0:
		case '\r':
			if l.reject {
				return errBareEnding
			}
			l.clean = append(l.clean, ' ')
		default:
			l.clean = append(l.clean, c)
		}
	}
	l.repairs++
	return l.emit(l.clean, last)
}

func (l *lines) bareCR() error {
	if l.repairs++; l.reject {
		return errBareEnding
	}
	return l.emit([]byte{' '}, false)
}

func (l *lines) emit(p []byte, last bool) error {
	l.open = !last
	return l.out(p, last)
}

// close ends a line that the device left open.
func (l *lines) close() error {
	if l.cr {
		l.cr = false
		if err := l.bareCR(); err != nil {
			return err
		}
	}
	if l.open {
		l.repairs++
		return l.emit(nil, true)
	}
	return nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	crs   = 0x0d0d0d0d0d0d0d0d
)

// scan tells whether p holds octets over 127, and whether it holds CR or NUL,
// eight at a time: it looks at every octet of every scan.
func scan(p []byte) (high, dirty bool) {
	var or, hit uint64
	for len(p) >= 8 {
		w := binary.LittleEndian.Uint64(p)
		x := w ^ crs
		or |= w
		hit |= (w-ones) & ^w | (x-ones) & ^x
		p = p[8:]
	}
	dirty = hit&highs != 0
	for _, c := range p {
		or |= uint64(c)
		dirty = dirty || c == 0 || c == '\r'
	}
	return or&highs != 0, dirty
}
