package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const block = 64 << 10

// blocks holds buffers with room for a dot before every line of a small part.
var blocks = sync.Pool{New: func() any { b := make([]byte, 0, block); return &b }}

var reads = sync.Pool{New: func() any { b := make([]byte, block/2); return &b }}

// sourceError is an error of the message's own content.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// dotWriter sends a message with a dot before each line that begins with one,
// and the final dot behind it (RFC 5321 4.5.2).
type dotWriter struct {
	write func([]byte) error
	buf   []byte
	begin bool // at the beginning of a line
}

func (w *dotWriter) copy(src io.Reader) error {
	in, out := reads.Get().(*[]byte), blocks.Get().(*[]byte)
	defer func() { reads.Put(in); blocks.Put(out) }()
	w.buf, w.begin = (*out)[:0], true
	for {
		n, err := src.Read(*in)
		if werr := w.add((*in)[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &sourceError{err}
		}
	}
	end := ".\r\n"
	if !w.begin {
		end = "\r\n.\r\n"
	}
	if err := w.room(len(end)); err != nil {
		return err
	}
	w.buf = append(w.buf, end...)
	return w.flush()
}

func (w *dotWriter) add(b []byte) error {
	for len(b) > 0 {
		if w.begin && b[0] == '.' {
			if err := w.room(1); err != nil {
				return err
			}
			w.buf = append(w.buf, '.')
		}
		n := len(b)
		if i := bytes.Index(b, []byte("\n.")); i >= 0 {
			n = i + 1
		}
		if err := w.put(b[:n]); err != nil {
			return err
		}
		w.begin = b[n-1] == '\n'
		b = b[n:]
	}
	return nil
}

func (w *dotWriter) put(b []byte) error {
	for len(b) > 0 {
		if err := w.room(1); err != nil {
			return err
		}
		n := min(len(b), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, b[:n]...)
		b = b[n:]
	}
	return nil
}

func (w *dotWriter) room(n int) error {
	if len(w.buf)+n <= cap(w.buf) {
		return nil
	}
	return w.flush()
}

func (w *dotWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.write(w.buf)
	w.buf = w.buf[:0]
	return err
}
