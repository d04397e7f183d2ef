package wire

import (
	"bytes"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// accepted is what this relay says where go-smtp is content: short, without
// what the client said.
var accepted = map[string]string{
	"MAIL": "250 2.1.0 Sender OK",
	"RCPT": "250 2.1.5 Recipient OK",
	"DATA": "", // the session's own
	"RSET": "250 2.0.0 OK",
	"NOOP": "250 2.0.0 OK",
	"QUIT": "221 2.0.0 Bye",
	"AUTH": "235 2.7.0 Authentication succeeded",
	"VRFY": "252 2.1.5 Send to it and see",
}

const goAhead = "354 End data with <CR><LF>.<CR><LF>"

// Decline takes the 354 back, as long as Body was not called: it has not gone out.
// What the session answers then is the reply to DATA, and no message follows. A client
// that did not wait for the 354 is cut off.
func (c *Conn) Decline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, ok := bytes.CutSuffix(c.out, []byte(goAhead+"\r\n"))
	if !ok || c.data != dataOpen || c.body != nil {
		return
	}
	c.out = before
	c.data, c.opened = dataRead, false // go-smtp reads an end all the same
	c.inTx.Store(false)
}

// Write takes replies from go-smtp, one line at a time; they go out together
// when it reads next. It implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	line := bytes.TrimRight(p, "\r\n")
	if len(line) < 3 || len(line) > 3 && line[3] == '-' {
		return len(p), nil // the last line of a reply decides; the others are go-smtp's EHLO
	}
	c.take(string(line[:3]), string(line))
	if len(c.out) > outBuffer {
		return len(p), c.flushLocked()
	}
	return len(p), nil
}

// append adds a reply of one line to what goes out next. It wants mu held.
func (c *Conn) append(line string) {
	c.put(line)
	c.said(line)
}

// put adds one line of a reply. It wants mu held.
//
// What is beyond ASCII goes out as question marks: a panel cannot show it, and
// only a client that used SMTPUTF8 may be sent it (RFC 6531 3.7.4.2).
func (c *Conn) put(line string) {
	for _, r := range line {
		if r >= utf8.RuneSelf {
			r = '?'
		}
		c.out = append(c.out, byte(r))
	}
	c.out = append(c.out, '\r', '\n')
}

// take keeps one reply for the client, in the relay's words. It wants mu held.
func (c *Conn) take(code, line string) {
	c.inAuth = code == "334"
	switch code[0] {
	case '2':
		c.takeAccepted(code, line)
	case '3':
		if code == "354" {
			c.data, c.opened = dataOpen, true
			line = goAhead
		}
		c.append(line)
	default:
		c.takeRefused(code, line)
	}
}

func (c *Conn) takeAccepted(code, line string) {
	switch {
	case c.verb == "" && code == "220":
		if !c.swallow {
			c.put(c.greeting())
		}
		c.swallow, c.greeted = false, true
		return
	case c.verb == "EHLO":
		c.extended = true
		c.inTx.Store(false)
		c.ehlo()
		return
	case c.verb == "HELO":
		c.inTx.Store(false)
		c.append("250 " + c.Settings.Hostname)
		return
	case c.verb == "MAIL":
		c.inTx.Store(true)
	case c.verb == "RSET":
		c.inTx.Store(false)
	case c.verb == "DATA":
		c.inTx.Store(false)
		c.failures, c.commands, c.opened = 0, 0, false
	}
	if text := accepted[c.verb]; text != "" {
		line = text
	}
	c.append(line)
	if c.verb == "DATA" {
		c.rec.MailAccepted()
	}
}

// takeRefused passes on a refusal: the session's own, or go-smtp's in our
// words.
func (c *Conn) takeRefused(code, line string) {
	r := c.answer
	c.answer = nil
	if r == nil {
		r = translate(c.verb, code)
		c.report(r, "go-smtp: "+reply.Line(line, 200))
	}
	c.append(r.String())
	if c.verb == "DATA" {
		if !c.opened && c.r < c.w {
			c.Hangup() // what waits behind a refused DATA is a message, not commands
		}
		if c.opened { // the transaction is over (RFC 5321 4.1.1.4)
			c.inTx.Store(false)
			c.opened = false
		}
	}
	if c.failures++; c.failures >= maxFailures && c.err == nil {
		c.report(reply.TooManyErrors(), "too many refusals on one connection")
		c.append(reply.TooManyErrors().String())
		c.Hangup()
	}
}

// translate puts a refusal of go-smtp's own into the catalogue's words: it
// gives codes that RFC 5321 does not have in that place.
func translate(verb, code string) *reply.Reply {
	switch {
	case code == "421":
		return reply.Internal()
	case verb == "MAIL" && code == "502", verb == "AUTH" && code == "502":
		return reply.BadSequence("Say EHLO first")
	case verb == "RCPT" && code == "502":
		return reply.BadSequence("Sender first (MAIL)")
	case verb == "DATA" && code == "502":
		return reply.NoRecipients()
	case verb == "MAIL", verb == "RCPT":
		return reply.Parameter()
	case verb == "AUTH" && code == "503":
		return reply.BadSequence("Already authenticated")
	case verb == "AUTH" && code == "501":
		return reply.AuthCancelled()
	case verb == "AUTH":
		return reply.AuthEncoding()
	}
	return reply.Unknown()
}

// ehlo writes the reply to EHLO: what this listener can do, not what the
// library can.
func (c *Conn) ehlo() {
	lines := []string{c.Settings.Hostname}
	if c.Settings.Capabilities != nil {
		lines = append(lines, c.Settings.Capabilities(c)...)
	}
	if c.OffersTLS() {
		lines = append(lines, "STARTTLS")
	}
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		c.put("250" + sep + l)
	}
	c.said("250 " + strings.Join(lines, ", "))
}
