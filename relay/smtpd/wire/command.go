package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

var (
	errLongLine = errors.New("the line is too long")
	errEndless  = errors.New("the line does not end")
)

// next gives the next line for go-smtp. What wire refuses it answers itself,
// and reads on.
func (c *Conn) next() ([]byte, error) {
	for {
		raw, bare, err := c.readLine()
		switch {
		case errors.Is(err, errLongLine):
			c.verb = ""
			c.Record(func(r *transcript.Recorder) { r.Told("[a line that is too long]") })
			if c.inAuth { // RFC 4954 4: the exchange is over; * ends it for go-smtp
				c.refused(reply.LineTooLong(), err.Error())
				c.answer = reply.LineTooLong()
				return []byte("*\r\n"), nil
			}
			if err := c.refuse(reply.LineTooLong(), err.Error()); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, errEndless):
			c.linger = true
			c.Record(func(r *transcript.Recorder) { r.Told("[a line that does not end]") })
			c.refused(reply.LineTooLong(), err.Error())
			return nil, c.goodbye(reply.LineTooLong())
		case err != nil:
			return nil, err
		}
		if c.inAuth {
			return c.authLine(raw), nil
		}
		line, err := c.command(raw, bare)
		if line != nil || err != nil {
			return line, err
		}
	}
}

// authLine is one response of an AUTH exchange, with the padding that copiers
// leave off.
func (c *Conn) authLine(raw []byte) []byte {
	line := bytes.Clone(bytes.TrimSpace(raw)) // of its own: what stands behind it in the buffer is the next line
	if c.Settings.Lenient {
		line = c.unwrap(line, 0)
	}
	c.Record(func(r *transcript.Recorder) { r.Response(string(line)) })
	if hasControl(line) {
		line = []byte("!") // not base64: go-smtp refuses it
	}
	return append(padBase64(line), '\r', '\n')
}

// unwrap joins base64 that a device has wrapped over lines, as in a message; it
// begins at start. A line of just that length may be all there is: then nothing
// more comes, for a while.
func (c *Conn) unwrap(line []byte, start int) []byte {
	const wrapped = 76 // RFC 2045 6.8
	for n := len(line) - start; n > 0 && n%wrapped == 0 && n < authLine && line[len(line)-1] != '=' && c.goesOn(); n = len(line) - start {
		more, _, err := c.readLine()
		if err != nil {
			break // it shows again at the next line
		}
		line = append(line, bytes.TrimSpace(more)...)
	}
	return line
}

// initial is where the initial response of an AUTH command begins; 0: there is none.
func initial(line []byte) int {
	f := bytes.Fields(line)
	if len(f) != 3 || !bytes.EqualFold(f[0], []byte("AUTH")) {
		return 0
	}
	return bytes.LastIndex(line, f[2])
}

// command judges one command line. It gives nil where it has answered itself.
func (c *Conn) command(raw []byte, bare bool) ([]byte, error) {
	lenient := c.Settings.Lenient
	if lenient && len(bytes.TrimSpace(raw)) == 0 {
		c.failures++ // an answer would put the client out of step; silence must not be free
		return nil, c.tooMany()
	}
	if isBDAT(raw) { // a chunk follows, which must not be read as commands
		c.heard(raw)
		c.verb, c.linger = "BDAT", true
		c.refused(reply.NotImplemented(), "BDAT was not offered")
		return nil, c.goodbye(reply.NotImplemented())
	}
	if bare && c.Settings.LineEndings == lineReject {
		c.heard(raw)
		c.verb = ""
		return nil, c.refuse(reply.BareLFCommand(), "bare LF behind a command")
	}
	if line := bytes.TrimSpace(raw); lenient && initial(line) > 0 {
		raw = c.unwrap(bytes.Clone(line), initial(line))
	}
	c.heard(raw)
	cmd, refusal := parse(raw, lenient, c.Settings.Domain)
	c.verb = cmd.verb
	switch {
	case refusal != nil && refusal.Code == 421:
		c.linger = true
		c.refused(refusal, "another protocol")
		return nil, c.goodbye(refusal)
	case refusal != nil:
		return nil, c.refuse(refusal, "malformed command")
	case cmd.verb == "STARTTLS" && c.tls == nil && c.Settings.offersTLS():
		if c.Settings.TLS == nil {
			return nil, c.refuse(reply.TLSUnavailable(), startTLSBroken)
		}
		return nil, c.startTLS()
	case cmd.verb == "STARTTLS":
		return nil, c.refuse(reply.NotImplemented(), "STARTTLS was not offered")
	case cmd.verb == "DATA" && c.r < c.w && !lenient: // RFC 2920 3.1: DATA is the last of a group
		c.linger = true
		r := reply.BadSequence("Wait for 354 before you send")
		c.refused(r, "octets behind DATA (RFC 2920)")
		return nil, c.goodbye(r)
	}
	if cmd.verb != "RCPT" && cmd.verb != "QUIT" { // RCPT has the listener's limit
		c.commands++
	}
	if c.commands > maxCommands {
		c.linger = true
		c.refused(reply.TooManyCommands(), "commands without a message")
		return nil, c.goodbye(reply.TooManyCommands())
	}
	c.cmd = append(cmd.line, '\r', '\n')
	return c.cmd, nil
}

// isBDAT tells a chunk (RFC 3030), however malformed.
func isBDAT(raw []byte) bool {
	const word = "BDAT"
	raw = bytes.TrimSpace(raw)
	return len(raw) >= len(word) && strings.EqualFold(string(raw[:len(word)]), word) && (len(raw) == len(word) || raw[len(word)] <= ' ')
}

// refuse answers a command itself.
func (c *Conn) refuse(r *reply.Reply, cause string) error {
	c.refused(r, cause)
	c.mu.Lock()
	c.append(r.String())
	c.mu.Unlock()
	c.failures++
	return c.tooMany()
}

// tooMany ends a connection that makes no sense.
func (c *Conn) tooMany() error {
	if c.failures < maxFailures {
		return nil
	}
	c.linger = true
	c.refused(reply.TooManyErrors(), "too many refusals on one connection")
	return c.goodbye(reply.TooManyErrors())
}

func (c *Conn) refused(r *reply.Reply, cause string) {
	c.Because(cause)
	c.report(r, cause)
}

func (c *Conn) report(r *reply.Reply, cause string) {
	if c.Settings.Refused != nil {
		c.Settings.Refused(c, c.verb, r, cause)
	}
}

// readLine gives the next line without its end; it is good until the next
// read. bare tells that it ended in LF alone. The time limit is for the whole
// line. A line that is too long is dropped up to its end.
func (c *Conn) readLine() (line []byte, bare bool, err error) {
	deadline := time.Now().Add(c.Settings.Idle)
	dropped, cr := 0, false // cr: what was dropped ends in CR
	for seen := 0; ; {
		if i := bytes.IndexByte(c.buf[c.r+seen:c.w], '\n'); i >= 0 {
			line = c.buf[c.r : c.r+seen+i]
			c.r += seen + i + 1
			n := len(line)
			crlf := n > 0 && line[n-1] == '\r' || n == 0 && cr
			c.bareLF = c.bareLF && !crlf
			switch {
			case dropped > 0 || n > c.limit(line):
				return nil, false, errLongLine
			case crlf:
				return line[:n-1], false, nil
			}
			return line, true, nil
		}
		seen = c.w - c.r
		limit := c.limit(c.buf[c.r:c.w])
		if seen > limit {
			if dropped += seen; dropped > endlessLine {
				return nil, false, errEndless
			}
			cr = c.buf[c.w-1] == '\r'
			c.r, c.w, seen = 0, 0, 0
		}
		if err := c.fill(deadline, limit); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, false, io.EOF
			}
			return nil, false, err
		}
	}
}

// limit is the longest that a line beginning so may be.
func (c *Conn) limit(begin []byte) int {
	if c.inAuth || len(begin) >= 5 && strings.EqualFold(string(begin[:5]), "AUTH ") {
		return authLine
	}
	return commandLine
}
