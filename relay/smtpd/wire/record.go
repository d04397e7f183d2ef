package wire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// optional are commands that no device needs to send mail: a refusal of them is
// no failure.
var optional = map[string]bool{"VRFY": true, "EXPN": true, "HELP": true, "TURN": true, "SEND": true, "SOML": true, "SAML": true, "NOOP": true, "RSET": true, "QUIT": true}

// Optional tells whether no device needs a command to send mail.
func Optional(verb string) bool { return optional[verb] }

// recorder is that of the session; nil where nobody wants transcripts. It wants
// mu held. It begins with the first thing that is worth it: who connects and
// says nothing costs nothing.
func (c *Conn) recorder() *transcript.Recorder {
	if c.rec == nil && c.l.hooks.Ended != nil && !c.closed {
		c.rec = transcript.New(c.began)
		if c.greeted {
			c.rec.Greeting(c.greeting())
		}
	}
	return c.rec
}

// Record gives f the recorder of the session, which may be nil, for what only a
// session knows.
func (c *Conn) Record(f func(*transcript.Recorder)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.recorder())
}

// Heard tells whether the client sent something to log in.
func (c *Conn) Heard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.Heard()
}

// Because says why the refusal that comes next is given; what is said first
// counts.
func (c *Conn) Because(cause string) {
	c.Record(func(r *transcript.Recorder) { r.Because(cause, true) })
}

// Agreed is what a handshake came to.
func Agreed(t *tls.ConnectionState) string {
	return tls.VersionName(t.Version) + ", " + CipherName(t.CipherSuite)
}

// cipherNames are those of crypto/tls, which makes its whole list anew whenever it
// is asked for a name.
var cipherNames = func() map[uint16]string {
	out := map[uint16]string{}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		out[s.ID] = s.Name
	}
	return out
}()

// CipherName is the name of a cipher suite.
func CipherName(id uint16) string {
	if name, ok := cipherNames[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

func (c *Conn) greeting() string { return "220 " + c.Settings.Hostname + " ESMTP Printer Relay" }

// heard records a command line.
func (c *Conn) heard(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.recorder()
	if clientHello(line) {
		r.Told("[a TLS ClientHello]")
		r.Because(tlsTooEarly, false)
		return
	}
	r.Command(line)
}

const tlsTooEarly = "the device begins with TLS, and this listener with clear text: set it to STARTTLS, or to a port whose listener has tls.mode Implicit"

// clientHello tells how a record of a TLS handshake begins.
func clientHello(b []byte) bool { return len(b) > 1 && b[0] == 0x16 && b[1] == 3 }

// said records a reply. It wants mu held.
func (c *Conn) said(line string) {
	failure := line[0] >= '4' && !optional[c.verb] && !strings.HasSuffix(line, shuttingDown) && !strings.HasSuffix(line, idleTimeout)
	c.recorder().Reply(line, failure)
}

// These are no failures by themselves; silence says so in Conn.silent.
var shuttingDown, idleTimeout = reply.ShuttingDown().Text, reply.IdleTimeout().Text

// silent records that the client let the time pass. One that has sent its mail
// may.
func (c *Conn) silent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.recorder(); r.Accepted() == 0 || c.inTx.Load() || c.inAuth {
		why := "the device sent nothing for " + c.Settings.Idle.String()
		if clientHello(c.buf[c.r:c.w]) {
			r.Told("[a TLS ClientHello]")
			why = tlsTooEarly
		}
		r.Fail(transcript.TimedOut, why)
	}
}

// gone records that the connection ended where a command was due. A client that
// said nothing yet is not worth a recording, nor one that only looked.
func (c *Conn) gone(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hello := clientHello(c.buf[c.r:c.w])
	switch {
	case errors.Is(err, net.ErrClosed): // by us
	case hello:
		c.recorder().Told("[a TLS ClientHello]")
		c.recorder().Fail(transcript.NotUnderstood, tlsTooEarly)
	case c.inAuth:
		c.recorder().Fail(transcript.LoginLeft, "the device hung up in the middle of the login: some do where a challenge or the mechanism is not to their liking (clientOverride with mechanisms)")
	case c.rec != nil && errors.Is(err, io.EOF):
		c.rec.Remark("the device hung up")
	case c.rec != nil:
		c.rec.Remark("the connection was lost")
	}
}

// whole records that a message came.
func (c *Conn) whole(octets int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recorder().Message(octets)
}

// broken records that a message did not come to its end.
func (c *Conn) broken(octets int64, err error) {
	why := reply.Line(err.Error(), 300)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		why = "the device hung up"
	case errors.Is(err, net.ErrClosed):
		why = "the relay ended the connection"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recorder().Fail(transcript.BrokenOff, fmt.Sprintf("the message broke off after %d octets: %s", octets, why))
}

// noHandshake records why TLS did not come about. asked tells that the client
// said STARTTLS: else one that sends nothing only looked.
func (c *Conn) noHandshake(o *transcript.Offer, err error, asked bool) {
	if errors.Is(err, net.ErrClosed) || !asked && o.Probe(err) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.recorder()
	for _, line := range o.Lines() {
		r.Told("[" + line + "]")
	}
	r.Fail(transcript.TLSFailed, o.Why(err, c.Settings.TLS.MinVersion))
}

// ended hands the recording of a session in which something was said to whoever
// wants to know.
func (c *Conn) ended(r *transcript.Recorder) {
	if r != nil {
		c.l.hooks.Ended(c, r)
	}
}

// handOver takes the recording away from a connection that ends, or goes on as
// another. It wants mu held.
func (c *Conn) handOver() *transcript.Recorder {
	r := c.rec
	c.rec = nil
	return r
}
