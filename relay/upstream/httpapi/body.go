package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// progress is how far a request has gone.
type progress struct {
	host   string      // that it goes to
	read   atomic.Bool // the last octet of its body was read, or it has none
	sent   atomic.Bool // ... and the connection has taken it
	failed atomic.Pointer[error]
	bodies sync.WaitGroup // those that net/http has open
}

func (p *progress) fail(err error) error {
	p.failed.CompareAndSwap(nil, &err)
	return err
}

// source is why the body could not be read.
func (p *progress) source() error {
	if e := p.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// put gives a request its body, again for each time that net/http sends it.
func (p *progress) put(req *http.Request, content func() (io.ReadCloser, error)) error {
	if content == nil {
		p.read.Store(true)
		return nil
	}
	length := req.ContentLength
	req.GetBody = func() (io.ReadCloser, error) {
		r, err := content()
		if err != nil {
			return nil, p.fail(err)
		}
		p.read.Store(false)
		p.bodies.Add(1)
		return &body{src: r, to: p, left: length}, nil
	}
	var err error
	req.Body, err = req.GetBody()
	return err
}

// body reads a request's content for net/http. The last octets of it are given
// only when the source has said that it ends there: a source that knows at its
// end only that something is wrong (a checksum) must not leave the server with the
// whole.
type body struct {
	src    io.ReadCloser
	to     *progress
	left   int64 // negative: not known
	ended  error
	closed atomic.Bool
	once   sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	if b.ended == nil && b.closed.Load() {
		b.ended = errClosed // who gave the source may have taken it back
	}
	if b.ended != nil {
		return 0, b.ended
	}
	n, err := b.src.Read(p)
	if b.left >= 0 {
		if b.left -= int64(n); b.left == 0 && err == nil {
			err = b.end()
		}
		switch {
		case b.left < 0:
			err = errors.New("it is longer than it was said to be")
		case b.left > 0 && errors.Is(err, io.EOF):
			err = fmt.Errorf("%d octets are missing at its end: %w", b.left, io.ErrUnexpectedEOF)
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		b.to.read.Store(true)
	case b.closed.Load(): // net/http has given up already, for another reason
		n = 0
	default:
		n, err = 0, b.to.fail(err)
	}
	b.ended = err
	return n, err
}

var errClosed = errors.New("the request has ended")

// end looks whether the source ends where its length says.
func (b *body) end() error {
	var more [1]byte
	for range 100 {
		if n, err := b.src.Read(more[:]); err != nil || n > 0 {
			b.left -= int64(n)
			return err
		}
	}
	return io.ErrNoProgress
}

// Close may come more than once, and while a Read is under way.
func (b *body) Close() error {
	b.closed.Store(true)
	var err error
	b.once.Do(func() {
		err = b.src.Close()
		b.to.bodies.Done()
	})
	return err
}
