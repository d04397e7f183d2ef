package ses

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
)

// payload is the JSON of a SendEmail request around a message that is not held:
// each Open reads it anew.
type payload struct {
	before, after []byte // the message's base64 stands between them
	message       func() (io.ReadCloser, error)
}

// Open gives the JSON.
func (p *payload) Open() (io.ReadCloser, error) {
	r, err := p.message()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(p.before), &encoder{src: r}, bytes.NewReader(p.after)), r}, nil
}

// sum reads all of it: its SHA-256 in hexadecimal, as a signature has it, and its
// length.
func (p *payload) sum(ctx context.Context) (string, int64, error) {
	r, err := p.Open()
	if err != nil {
		return "", 0, err
	}
	defer r.Close() //nolint:errcheck // read-only
	h := sha256.New()
	b := make([]byte, 32<<10)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return "", 0, err
		}
		k, err := r.Read(b)
		h.Write(b[:k])
		n += int64(k)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), n, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
}

// encoder reads the base64 of src, without line ends.
type encoder struct {
	src  io.Reader
	in   [24 << 10]byte // a multiple of 3
	out  [32 << 10]byte
	left []byte // of out, not read yet
	err  error  // of src
}

func (e *encoder) Read(p []byte) (int, error) {
	for len(e.left) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		n, err := io.ReadFull(e.src, e.in[:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		if e.err = err; err != nil && !errors.Is(err, io.EOF) {
			return 0, err // what came before it is not a whole message
		}
		base64.StdEncoding.Encode(e.out[:], e.in[:n])
		e.left = e.out[:base64.StdEncoding.EncodedLen(n)]
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}
