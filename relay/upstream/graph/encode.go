package graph

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// encoder gives the base64 of src, which has to have a known number of octets. The
// last of them come only when src has ended well: a source that fails at its end
// (a checksum) never leaves the server with a whole message.
type encoder struct {
	src   io.Reader
	close io.Closer
	left  int64 // octets that src has to give yet
	raw   []byte
	kept  int // octets in raw that are not encoded yet
	out   []byte
	ready []byte // the part of out that is not read yet
	err   error
}

const encodeAtOnce = 12 << 10

func encoded(src io.Reader, c io.Closer, size int64) *encoder {
	return &encoder{src: src, close: c, left: size, raw: make([]byte, encodeAtOnce), out: make([]byte, base64.StdEncoding.EncodedLen(encodeAtOnce))}
}

// Read implements io.Reader.
func (e *encoder) Read(p []byte) (int, error) {
	for len(e.ready) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.fill()
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

// fill reads on and encodes what is certain not to be the end.
func (e *encoder) fill() {
	have := e.kept
	var err error
	for have < len(e.raw) && err == nil {
		var n int
		n, err = e.src.Read(e.raw[have:])
		have += n
		e.left -= int64(n)
	}
	whole := have
	switch {
	case e.left < 0:
		err = errors.New("the stored message is longer than it was said to be")
	case err == nil:
		whole = have - 3
	case errors.Is(err, io.EOF) && e.left > 0:
		err = fmt.Errorf("%d octets are missing at the end of the stored message: %w", e.left, io.ErrUnexpectedEOF)
	}
	if e.err = err; err != nil && !errors.Is(err, io.EOF) {
		return
	}
	base64.StdEncoding.Encode(e.out, e.raw[:whole])
	e.ready = e.out[:base64.StdEncoding.EncodedLen(whole)]
	e.kept = copy(e.raw, e.raw[whole:have])
}

// Close implements io.Closer.
func (e *encoder) Close() error { return e.close.Close() }
