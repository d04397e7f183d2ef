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
// grace is over, and up to the cap: a slow scanner lives, a trickle does not.
const (
	minimumRate = 1 << 10 // octets a second
	rateGrace   = time.Minute
	messageTime = 2 * time.Hour
	readTimeout = 3 * time.Minute // RFC 5321 4.5.3.2.5
	dataBuffer  = 32 << 10
)

var dataBuffers = sync.Pool{New: func() any { b := make([]byte, dataBuffer); return &b }}

// Body reads the octets of one message, without dot-stuffing, up to the end of
// data (RFC 5321 4.5.2, 4.1.1.4): CRLF.CRLF and nothing else, or LF.LF for a
// device that ended every line of its session so. Line ends are as they came.
type Body struct {
	c      *Conn
	buf    *[]byte
	small  []byte  // the connection's own buffer, while buf is in its place
	prev   [2]byte // the two octets before buf[r]; CRLF at the beginning
	start  time.Time
	came   int64
	size   int64 // octets that were read
	bareLF bool
	err    error
}

// Body gives the message that follows the 354, nil where there is none. Each
// call gives the same, until its end was read.
func (c *Conn) Body() *Body {
	if c.body != nil || c.data != dataOpen {
		return c.body
	}
	b := &Body{c: c, prev: [2]byte{'\r', '\n'}, start: time.Now(), bareLF: c.Settings.LineEndings == lineBareLF && c.bareLF, small: c.buf}
	if b.bareLF {
		b.prev[0] = 0
	}
	b.buf = dataBuffers.Get().(*[]byte)
	c.w = copy(*b.buf, c.buf[c.r:c.w])
	c.r = 0
	c.buf = *b.buf
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
	c.w = copy(b.small, rest)
	c.r = 0
	c.buf = b.small
	dataBuffers.Put(b.buf)
	b.buf = nil
	if errors.Is(err, io.EOF) {
		c.data, c.body = dataRead, nil
		c.whole(b.size)
		return err
	}
	c.broken(b.size, err)
	if c.err == nil {
		c.err = err // nothing behind a broken message may be read as commands
	}
	return err
}

// Read implements io.Reader. Any error but io.EOF means that the client is
// gone or too slow; the connection is over.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	c := b.c
	for {
		n, used, end := b.next(p, c.buf[c.r:c.w])
		c.r += used
		b.size += int64(n)
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

// next moves octets of d to p as far as they can be judged. Only a dot behind
// a line end matters, so it looks for dots: a scan has hardly any.
func (b *Body) next(p, d []byte) (n, used int, end bool) {
	for used < len(d) && n < len(p) {
		piece := d[used:min(len(d), used+len(p)-n)]
		i := bytes.IndexByte(piece, '.')
		if i < 0 {
			i = len(piece)
		}
		if i > 0 {
			n += copy(p[n:], piece[:i])
			b.prev[0] = b.prev[1]
			if i > 1 {
				b.prev[0] = piece[i-2]
			}
			b.prev[1] = piece[i-1]
			used += i
			continue
		}
		crlf, lf := b.prev == [2]byte{'\r', '\n'}, b.bareLF && b.prev[0] != '\r' && b.prev[1] == '\n'
		if !crlf && !lf {
			p[n] = '.'
			n++
			used++
			b.prev = [2]byte{b.prev[1], '.'}
			continue
		}
		rest := d[used+1:]
		switch {
		case lf && len(rest) > 0 && rest[0] == '\n':
			return n, used + 2, true
		case crlf && len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return n, used + 3, true
		case len(rest) == 0, crlf && len(rest) == 1 && rest[0] == '\r':
			return n, used, false // the next octets decide
		}
		used++ // a dot that the client added (RFC 5321 4.5.2); what follows stays as it is
		b.prev = [2]byte{0, '.'}
	}
	return n, used, false
}

// fill reads more of the message.
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
	if err := tooSlow(now.Sub(b.start), b.came); err != nil {
		return err
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
		if errors.As(err, &ne) && ne.Timeout() {
			if time.Now().Before(deadline) {
				continue // woken by a drain: the message may still come in
			}
			return b.timedOut(err)
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
}

// tooSlow bounds how long a message may take.
func tooSlow(took time.Duration, came int64) error {
	if took > messageTime || took > rateGrace && float64(came) < minimumRate*(took-rateGrace).Seconds() {
		return fmt.Errorf("the message comes too slowly: %d octets in %s", came, took.Round(time.Second))
	}
	return nil
}

// timedOut says what an administrator can do about a device that waits for an
// answer to a message which, by its line ends, did not end.
func (b *Body) timedOut(err error) error {
	if b.c.bareLF && !b.bareLF {
		return fmt.Errorf("the message did not end: %w; the device ends its lines in bare LF: give it a clientOverride with compatibility.lineEndings BareLF", err)
	}
	return fmt.Errorf("the message did not end: %w", err)
}
