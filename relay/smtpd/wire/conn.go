// Package wire stands between a client's socket and go-smtp: it bounds and
// repairs what a client may do to the SMTP library, and what the library may do
// to a client. It owns TLS, the framing of DATA, and every deadline.
//
// go-smtp reads a Conn, which gives it one command line at a time. It may
// import relay/reply, relay/plan and the standard library.
package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
)

const (
	commandBuffer = 2 << 10  // longest command line; RFC 5321 4.5.3.1.4 wants 512 and more for extensions
	authBuffer    = 12 << 10 // longest line of an AUTH exchange (RFC 4954 4)
	dataBuffer    = 64 << 10
	writeTimeout  = 3 * time.Minute
	handshakeTime = 30 * time.Second
	maxFailures   = 20 // replies 4yz and 5yz of one connection
)

// Settings are what a listener wants of one connection.
type Settings struct {
	TLS          *tls.Config // nil: no TLS
	Implicit     bool        // TLS from the first octet
	HideStartTLS bool
	Lenient      bool   // commands are repaired
	Domain       string // completes addresses without a domain
	LineEndings  string // Normalize | Reject | BareLF: LF.LF ends a message in a session of bare LF only
	Idle         time.Duration
	Capabilities func(*Conn) []string // lines of the EHLO reply behind the first
}

// Conn is one client's connection as go-smtp sees it.
type Conn struct {
	ID       string // of the session, for the log
	Addr     netip.AddrPort
	Settings Settings

	sock net.Conn // the socket, or TLS over it
	tls  *tls.ConnectionState
	l    *Listener
	slot *slot

	buf  []byte // what was read and not yet used: buf[r:w]
	r, w int
	line []byte // the rest of a command line that go-smtp has not taken yet

	mu       sync.Mutex // guards out and closed: Close comes from other goroutines
	out      []byte
	closed   bool
	detached bool // STARTTLS: the socket goes on in another Conn

	verb     string // of the last command handed on
	inAuth   bool
	inTx     atomic.Bool // a transaction is open: a shutdown waits for it
	swallow  bool        // the greeting is not for the client: it had one before STARTTLS
	data     dataState
	body     *Body
	failures int
	extended bool // greeted with EHLO
	session  any
	bareLF   bool // so far each line ended in bare LF
	commands int
	err      error
}

type dataState uint8

const (
	noData   dataState = iota
	dataOpen           // 354 is out; the message comes
	dataRead           // its end was seen; go-smtp has to see one too
)

func newConn(l *Listener, s *slot, sock net.Conn, addr netip.AddrPort) *Conn {
	return &Conn{ID: newID(), Addr: addr, sock: sock, l: l, slot: s, buf: make([]byte, commandBuffer), bareLF: true}
}

// TLS gives the state of TLS, nil in clear text.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Read gives go-smtp at most one command line. It implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.line) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if c.data != noData {
			return c.endOfData(p)
		}
		line, err := c.command()
		if err != nil {
			c.err = err
			return 0, err
		}
		c.line = line
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}

// endOfData lets go-smtp's own DATA reader see an end, once the message is
// read: the session has taken the message by Body.
func (c *Conn) endOfData(p []byte) (int, error) {
	if c.data == dataOpen { // the session did not want all of it
		if _, err := io.Copy(io.Discard, c.Body()); err != nil {
			c.err = err
			return 0, err
		}
	}
	c.data = noData
	return copy(p, ".\r\n"), nil
}

// command reads lines until one is for go-smtp. The replies that wait go out
// before it blocks.
func (c *Conn) command() ([]byte, error) {
	for {
		raw, err := c.readLine()
		if errors.Is(err, errLongLine) {
			c.reply(reply.LineTooLong())
			continue
		}
		if err != nil {
			return nil, err
		}
		if c.inAuth {
			return append(padBase64(raw), '\r', '\n'), nil
		}
		line := Trim(raw)
		if c.Settings.Lenient {
			line = Repair(line, c.Settings.Domain)
		}
		c.verb = verb(line)
		switch {
		case c.verb == "STARTTLS" && c.tls == nil && c.Settings.TLS != nil && !c.Settings.HideStartTLS:
			return nil, c.startTLS()
		case c.verb == "BDAT": // go-smtp loses step on malformed ones: what follows must not be read as commands
			c.reply(reply.NotImplemented())
			c.flush() //nolint:errcheck // the connection ends
			return nil, io.EOF
		case hasControl(line):
			c.reply(reply.Syntax("Control characters are not allowed"))
			continue
		}
		return append(line, '\r', '\n'), nil
	}
}

var errLongLine = errors.New("command line too long")

// readLine gives the next line without its end. The time limit is for the
// whole line. A line that is too long is dropped up to its end.
func (c *Conn) readLine() ([]byte, error) {
	limit := commandBuffer
	if c.inAuth || bytes.HasPrefix(bytes.ToUpper(c.buf[c.r:min(c.w, c.r+5)]), []byte("AUTH ")) {
		limit = authBuffer
	}
	deadline := time.Now().Add(c.Settings.Idle)
	long := false
	for {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+i]
			c.r += i + 1
			if long || len(line) > limit {
				return nil, errLongLine
			}
			c.commands++
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
				c.bareLF = false
			}
			return bytes.Clone(line), nil
		}
		if c.w-c.r >= limit {
			if limit == commandBuffer && bytes.EqualFold(c.buf[c.r:c.r+5], []byte("AUTH ")) {
				limit = authBuffer
				continue
			}
			long = true
			c.r, c.w = 0, 0
		}
		if err := c.fill(deadline, min(limit, authBuffer)); err != nil {
			return nil, err
		}
	}
}

// fill reads more from the socket; size is what the buffer must be able to hold.
func (c *Conn) fill(deadline time.Time, size int) error {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.w -= c.r
		c.r = 0
	}
	if c.w == len(c.buf) {
		if len(c.buf) >= size+1 {
			return errLongLine
		}
		c.buf = append(c.buf, make([]byte, size+1-len(c.buf))...)
	}
	if err := c.flush(); err != nil {
		return err
	}
	for {
		if c.l.draining() && !c.inTx.Load() {
			return c.goodbye(reply.ShuttingDown())
		}
		c.sock.SetReadDeadline(deadline) //nolint:errcheck // a closed socket says so when it is read
		if c.l.draining() && !c.inTx.Load() {
			continue // the drain came before the deadline was set and its wake-up was lost
		}
		n, err := c.sock.Read(c.buf[c.w:])
		c.w += n
		if n > 0 {
			return nil
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			if time.Now().Before(deadline) {
				continue // woken by the drain
			}
			return c.goodbye(reply.IdleTimeout())
		}
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
}

// goodbye says r and ends the connection: go-smtp sees the end of its input.
func (c *Conn) goodbye(r *reply.Reply) error {
	c.reply(r)
	c.flush() //nolint:errcheck // the connection ends
	return io.EOF
}

// Write takes replies from go-smtp; they go out together when it reads next.
// It implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.take(p)
	if len(c.out) > 32<<10 {
		return len(p), c.flushLocked()
	}
	return len(p), nil
}

// take looks at one line of a reply, which go-smtp writes one at a time, and
// keeps what is for the client. It wants mu held.
func (c *Conn) take(p []byte) {
	if len(p) < 4 {
		c.out = append(c.out, p...)
		return
	}
	code, last := string(p[:3]), p[3] != '-'
	if c.verb == "EHLO" && code == "250" {
		if last {
			c.extended = true
			c.ehlo()
			c.inTx.Store(false)
		}
		return
	}
	if c.swallow {
		c.swallow = !last
		return
	}
	c.out = append(c.out, p...)
	if !last {
		return
	}
	c.inAuth = code == "334"
	switch code[0] {
	case '2':
		switch c.verb {
		case "MAIL":
			c.inTx.Store(true)
		case "DATA", "RSET", "HELO":
			c.inTx.Store(false)
		}
	case '3':
		if code == "354" {
			c.data = dataOpen
		}
	case '4', '5':
		if c.verb == "DATA" {
			c.inTx.Store(false)
		}
		if c.failures++; c.failures >= maxFailures && c.err == nil {
			c.out = append(c.out, (reply.TooManyErrors().String() + "\r\n")...)
			c.err = io.EOF
		}
	}
}

// ehlo writes the reply to EHLO: what this listener can do, not what the
// library can.
func (c *Conn) ehlo() {
	lines := append([]string{c.l.Hostname}, c.Settings.Capabilities(c)...)
	if c.tls == nil && c.Settings.TLS != nil && !c.Settings.HideStartTLS {
		lines = append(lines, "STARTTLS")
	}
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		c.out = append(c.out, ("250" + sep + l + "\r\n")...)
	}
}

func (c *Conn) reply(r *reply.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.verb
	c.verb = ""
	c.take([]byte(r.String() + "\r\n"))
	c.verb = v
}

func (c *Conn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

func (c *Conn) flushLocked() error {
	if len(c.out) == 0 {
		return nil
	}
	if c.closed {
		return net.ErrClosed
	}
	c.sock.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // a closed socket says so when it is written
	_, err := c.sock.Write(c.out)
	c.out = c.out[:0]
	return err
}

// startTLS turns the connection to TLS and gives it to go-smtp as a new one,
// which has forgotten all that was said in clear (RFC 3207 4.2). What a client
// pipelined behind the command is dropped (CVE-2011-0411).
func (c *Conn) startTLS() error {
	c.r, c.w = 0, 0
	c.mu.Lock()
	c.out = append(c.out, "220 2.0.0 Ready to start TLS\r\n"...)
	err := c.flushLocked()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	sock, state, err := c.l.handshake(c.sock, c.Settings.TLS)
	if err != nil {
		return err // closes: never goes on in clear (RFC 3207 4.1)
	}
	next := newConn(c.l, c.slot, sock, c.Addr)
	next.ID, next.Settings, next.tls, next.swallow = c.ID, c.Settings, state, true
	c.mu.Lock()
	c.detached = true
	c.mu.Unlock()
	c.l.replace(c, next)
	return io.EOF
}

// Close sends what waits and closes the socket. It implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if !c.detached {
		c.flushLocked() //nolint:errcheck // the client may be gone
	}
	c.closed = true
	if c.detached {
		return nil
	}
	c.l.remove(c)
	return c.sock.Close()
}

// Abort closes the socket at once: after an error in a message nothing that
// follows may be read as commands.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	if !c.closed {
		c.closed = true
		c.l.remove(c)
		c.sock.Close() //nolint:errcheck // nothing is left to say
	}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.sock.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.Addr) }

// The deadlines are wire's own: it knows what is being waited for.

// SetDeadline implements net.Conn and does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// verb is the command of a line in upper case.
func verb(line []byte) string {
	if i := bytes.IndexAny(line, " \t:"); i >= 0 {
		line = line[:i]
	}
	if len(line) > 8 {
		return ""
	}
	return strings.ToUpper(string(line))
}

// Hangup ends the connection behind the reply that comes next.
func (c *Conn) Hangup() {
	if c.err == nil {
		c.err = io.EOF
	}
}

// Extended tells whether the client said EHLO.
func (c *Conn) Extended() bool { return c.extended }

// Attach keeps the session that go-smtp made for this connection, for
// Settings.Capabilities.
func (c *Conn) Attach(session any) { c.session = session }

// Session gives what Attach took.
func (c *Conn) Session() any { return c.session }
