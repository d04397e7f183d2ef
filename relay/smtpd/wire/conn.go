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
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// Conn is one client's connection as go-smtp sees it. All but what is said to
// be guarded belongs to the goroutine that go-smtp runs for it.
type Conn struct {
	ID       string // of the session, for the log
	Addr     netip.AddrPort
	Hidden   bool // Addr is not the client's own: a load balancer's that did not tell it, or a node's
	Settings Settings

	l     *Listener
	slot  *slot
	sock  net.Conn // the socket, or TLS over it
	began time.Time
	tls   *tls.ConnectionState

	buf  []byte // what was read and not yet used: buf[r:w]
	r, w int
	line []byte // the rest of a command line that go-smtp has not taken yet
	cmd  []byte // the last command, as go-smtp has it
	err  error  // the connection is over; go-smtp sees the end of its input

	mu       sync.Mutex // guards what follows: Close may come from another goroutine
	out      []byte
	closed   bool
	detached bool                 // STARTTLS: the socket goes on in another Conn
	rec      *transcript.Recorder // nil: nothing was said yet

	inTx atomic.Bool // a transaction is open: a shutdown waits for it

	verb     string // of the command that is being answered
	inAuth   bool   // 334 went out: the next line is no command
	answer   *reply.Reply
	swallow  bool // the greeting is not for the client: it had one before STARTTLS
	greeted  bool
	extended bool // greeted with EHLO
	data     dataState
	opened   bool // 354 is out, and the message not answered yet
	body     *Body
	failures int
	commands int  // since the last accepted message
	bareLF   bool // so far each line ended in bare LF
	linger   bool // the client may still be sending: its last reply must not be lost
	session  any
}

type dataState uint8

const (
	noData   dataState = iota
	dataOpen           // 354 is out; the message comes
	dataRead           // its end was seen; go-smtp has to see one too
)

func newConn(l *Listener, s *slot, sock net.Conn, addr netip.AddrPort) *Conn {
	return &Conn{ID: NewID(), Addr: addr, sock: sock, began: time.Now(), l: l, slot: s, buf: make([]byte, firstBuffer), bareLF: true}
}

// Placed tells whether it came by Listener.Take, and so not from the client that it
// stands for.
func (c *Conn) Placed() bool { return c.slot.placed }

// TLS gives the state of TLS, nil in clear text.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// OffersTLS tells whether STARTTLS is offered to the client now.
func (c *Conn) OffersTLS() bool { return c.tls == nil && c.Settings.offersTLS() }

// Command gives the line of the command that is being answered, as go-smtp has it;
// it is for the session's goroutine.
func (c *Conn) Command() []byte { return c.cmd }

// Extended tells whether the client said EHLO.
func (c *Conn) Extended() bool { return c.extended }

// Attach keeps the session that go-smtp made for this connection, for
// Settings.Capabilities.
func (c *Conn) Attach(session any) { c.session = session }

// Session gives what Attach took.
func (c *Conn) Session() any { return c.session }

// Answer is what the client gets in place of go-smtp's next reply: what a
// session refuses goes out word for word, and nothing else is taken for it.
func (c *Conn) Answer(r *reply.Reply) { c.answer = r }

// Hangup ends the connection behind the reply that comes next.
func (c *Conn) Hangup() {
	c.linger = true
	if c.err == nil {
		c.err = io.EOF
	}
}

// Read gives go-smtp at most one command line, or the end of a message that
// Body has read. Every error is io.EOF for it: it would answer any other, and
// wire has said what there was to say. It implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.line) == 0 {
		if c.err != nil || c.Over() { // behind QUIT go-smtp has no session for what came along
			return 0, io.EOF
		}
		var err error
		if c.data != noData {
			c.line, err = c.endOfData()
		} else {
			c.line, err = c.next()
		}
		if err != nil {
			c.err = err
			return 0, io.EOF
		}
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}

// Over tells whether the connection was closed: what is answered now nobody hears.
func (c *Conn) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// endOfData lets go-smtp's own DATA reader see an end: the session has taken
// the message by Body, or did not want all of it.
func (c *Conn) endOfData() ([]byte, error) {
	if c.data == dataOpen {
		if _, err := io.Copy(io.Discard, c.Body()); err != nil {
			return nil, err
		}
	}
	c.data = noData
	return []byte(".\r\n"), nil
}

// fill reads more of a command from the socket; limit is the longest line that
// the buffer shall hold. The replies that wait go out before it blocks.
func (c *Conn) fill(deadline time.Time, limit int) error {
	c.room(limit)
	if err := c.flush(); err != nil {
		return err
	}
	for {
		c.sock.SetReadDeadline(deadline) //nolint:errcheck // a closed socket says so when it is read
		// Behind the deadline: a drain that came before would have lost its wake-up.
		if c.l.draining() && !c.inTx.Load() {
			return c.goodbye(reply.ShuttingDown())
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
			c.silent()
			return c.goodbye(reply.IdleTimeout())
		}
		if err == nil {
			err = io.ErrNoProgress
		}
		c.gone(err)
		return err
	}
}

// room makes some for a read.
func (c *Conn) room(limit int) {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.w -= c.r
		c.r = 0
	}
	if c.w == 0 && c.body == nil && len(c.buf) > firstBuffer {
		c.buf = make([]byte, firstBuffer) // who has nothing to say holds no more than at the start
	}
	if c.w == len(c.buf) {
		grown := make([]byte, min(2*len(c.buf), limit+2))
		copy(grown, c.buf)
		c.buf = grown
	}
}

// goesOn tells whether another line of base64 is there, or comes soon.
func (c *Conn) goesOn() bool {
	deadline := time.Now().Add(wrapTime)
	for bytes.IndexByte(c.buf[c.r:c.w], '\n') < 0 {
		if c.w-c.r > authLine {
			return false // too long: the reader says so
		}
		c.room(authLine)
		c.sock.SetReadDeadline(deadline) //nolint:errcheck // a closed socket says so when it is read
		n, _ := c.sock.Read(c.buf[c.w:]) //nolint:errcheck // an error shows again at the next read
		if c.w += n; n == 0 {
			return false
		}
	}
	line, _, _ := bytes.Cut(c.buf[c.r:c.w], []byte{'\n'})
	line = bytes.TrimSpace(line)
	_, command := known[strings.ToUpper(string(line))]
	return !command && len(line) > 0 && len(bytes.Trim(line, base64Alphabet)) == 0
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

// goodbye says r and ends the connection.
func (c *Conn) goodbye(r *reply.Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(r.String())
	c.flushLocked() //nolint:errcheck // the connection ends
	return io.EOF
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
	c.out = nil // a connection is idle most of the time, and there may be thousands
	return err
}

// startTLS turns the connection to TLS and gives it to go-smtp as a new one,
// which has forgotten all that was said in clear (RFC 3207 4.2). What a client
// pipelined behind the command is dropped (CVE-2011-0411).
func (c *Conn) startTLS() error {
	c.r, c.w = 0, 0
	c.mu.Lock()
	c.append("220 2.0.0 Ready to start TLS")
	err := c.flushLocked()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	var offer transcript.Offer
	sock, state, err := c.l.handshake(c.sock, c.Settings.TLS, c.Addr.Addr(), &offer)
	if err != nil {
		c.noHandshake(&offer, err, true)
		return err // closes: never goes on in clear (RFC 3207 4.1)
	}
	next := newConn(c.l, c.slot, sock, c.Addr)
	next.ID, next.Hidden, next.Settings, next.tls = c.ID, c.Hidden, c.Settings, state
	next.failures, next.commands, next.bareLF, next.swallow = c.failures, c.commands, c.bareLF, true
	c.mu.Lock()
	c.detached = true
	next.began, next.rec = c.began, c.handOver()
	c.mu.Unlock()
	next.rec.Remark(Agreed(state) + "; the device begins anew")
	c.l.replace(c, next)
	return io.EOF
}

// Close sends what waits and closes the socket. It implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	err := c.closeLocked()
	r := c.handOver()
	c.mu.Unlock()
	c.ended(r)
	return err
}

func (c *Conn) closeLocked() error {
	if c.closed {
		return nil
	}
	if c.detached {
		c.closed = true
		return nil
	}
	err := c.flushLocked()
	c.closed = true
	if c.linger && err == nil {
		c.lingerLocked()
	}
	c.l.remove(c)
	return c.sock.Close()
}

// lingerLocked lets a client that is still sending read its last reply: to
// close a socket with unread octets makes TCP drop what was sent on it.
func (c *Conn) lingerLocked() {
	half, ok := c.sock.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.sock.SetReadDeadline(time.Now().Add(lingerTime)) //nolint:errcheck // the read says so
	for n := 0; n < endlessLine; {
		k, err := c.sock.Read(c.buf)
		if err != nil {
			return
		}
		n += k
	}
}

// Abort closes the socket at once: after an error in a message nothing that
// follows may be read as commands.
func (c *Conn) Abort() {
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.l.remove(c)
		c.sock.Close() //nolint:errcheck // nothing is left to say
	}
	r := c.handOver()
	c.mu.Unlock()
	c.ended(r)
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
