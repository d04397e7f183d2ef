package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A message may take as long as it comes at this rate on average, once the
// grace is over: a slow scanner lives, a trickle does not.
const (
	minimumRate = 1 << 10 // octets a second
	rateGrace   = time.Minute
	readTimeout = 3 * time.Minute // RFC 5321 4.5.3.2.5
)

var dataBuffers = sync.Pool{New: func() any { b := make([]byte, dataBuffer); return &b }}

// Body reads the octets of one message, without dot-stuffing, up to the end of
// data (RFC 5321 4.5.2, 4.1.1.4): CRLF.CRLF and nothing else, or LF.LF for a
// device that ended every line of its session so. Line ends are as they came.
type Body struct {
	c      *Conn
	buf    *[]byte
	small  []byte // the connection's own buffer, while buf is in its place
	begin  bool   // at the beginning of a line
	prev   byte   // the octet before buf[r]
	start  time.Time
	came   int64
	bareLF bool
	err    error
}

// Body gives the message that follows the 354. Each call gives the same.
func (c *Conn) Body() io.Reader {
	if c.body != nil {
		return c.body
	}
	b := &Body{c: c, begin: true, start: time.Now(), bareLF: c.Settings.LineEndings == "BareLF" && c.bareLF, small: c.buf}
	b.buf = dataBuffers.Get().(*[]byte)
	n := copy(*b.buf, c.buf[c.r:c.w])
	c.buf, c.r, c.w = *b.buf, 0, n
	c.body = b
	return b
}

// finish gives the large buffer back; what follows the message goes to the
// small one.
func (b *Body) finish(err error) error {
	c := b.c
	b.err = err
	rest := c.buf[c.r:c.w]
	if len(rest) > len(b.small) {
		b.small = make([]byte, len(rest))
	}
	n := copy(b.small, rest)
	c.buf, c.r, c.w = b.small, 0, n
	dataBuffers.Put(b.buf)
	b.buf = nil
	c.body = nil
	if errors.Is(err, io.EOF) {
		c.data = dataRead
	} else {
		c.err = err
	}
	return err
}

// Read implements io.Reader. Any error but io.EOF means that the client is
// gone or too slow: the connection must be closed.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	c := b.c
	for {
		n, end := b.next(p, c.buf[c.r:c.w])
		if end {
			return n, b.finish(io.EOF)
		}
		if n > 0 {
			return n, nil
		}
		if err := b.fill(); err != nil {
			return 0, b.finish(err)
		}
	}
}

// next moves octets of d to p as far as they can be judged.
func (b *Body) next(p, d []byte) (n int, end bool) {
	used := 0
	defer func() { b.c.r += used }()
	for used < len(d) && n < len(p) {
		if b.begin && d[used] == '.' {
			rest := d[used+1:]
			switch {
			case bytes.HasPrefix(rest, []byte("\r\n")):
				used += 3
				return n, true
			case b.bareLF && len(rest) > 0 && rest[0] == '\n':
				used += 2
				return n, true
			case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
				return n, false // the next octets decide
			}
			used++ // a dot that the client added, or one that only looks like the end
			b.begin, b.prev = false, '.'
			continue
		}
		piece := d[used:min(len(d), used+len(p)-n)]
		if i := bytes.IndexByte(piece, '\n'); i >= 0 {
			piece = piece[:i+1]
			before := b.prev
			if i > 0 {
				before = piece[i-1]
			}
			b.begin = before == '\r' || b.bareLF
		} else {
			b.begin = false
		}
		n += copy(p[n:], piece)
		used += len(piece)
		b.prev = piece[len(piece)-1]
	}
	return n, false
}

func (b *Body) fill() error {
	c := b.c
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.w -= c.r
		c.r = 0
	}
	if err := c.flush(); err != nil {
		return err
	}
	now := time.Now()
	if took := now.Sub(b.start); took > rateGrace && float64(b.came) < minimumRate*(took-rateGrace).Seconds() {
		return fmt.Errorf("the message comes too slowly: %d octets in %s", b.came, took.Round(time.Second))
	}
	deadline := now.Add(min(readTimeout, c.Settings.Idle))
	for {
		c.sock.SetReadDeadline(deadline) //nolint:errcheck // a closed socket says so when it is read
		n, err := c.sock.Read(c.buf[c.w:])
		c.w += n
		b.came += int64(n)
		if n > 0 {
			return nil
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() && time.Now().Before(deadline) {
			continue // woken by a drain: the message may still come in
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
}
