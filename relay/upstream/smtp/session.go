package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// session is one connection to the server, used by one delivery at a time.
type session struct {
	t      *Transport
	conn   net.Conn
	r      *bufio.Reader
	remote string
	tls    bool
	ext    map[string]string // EHLO keywords
	size   int64

	messages int
	broken   bool
	timer    *time.Timer
	once     sync.Once
}

// command sends one line and reads the reply.
func (s *session) command(limit time.Duration, format string, a ...any) (Reply, error) {
	if err := s.write(limit, []byte(fmt.Sprintf(format, a...)+"\r\n")); err != nil {
		return Reply{}, err
	}
	return s.read(limit)
}

func (s *session) write(limit time.Duration, b []byte) error {
	s.conn.SetWriteDeadline(time.Now().Add(limit)) //nolint:errcheck // a closed socket says so when it is written
	_, err := s.conn.Write(b)
	return err
}

func (s *session) read(limit time.Duration) (Reply, error) {
	s.conn.SetReadDeadline(time.Now().Add(limit)) //nolint:errcheck // a closed socket says so when it is read
	return readReply(s.r)
}

func (s *session) abort() { s.once.Do(func() { s.conn.Close() }) } //nolint:errcheck // nothing is left to say

// quit says goodbye without waiting for long.
func (s *session) quit() {
	if s.write(time.Second, []byte("QUIT\r\n")) == nil {
		s.read(time.Second) //nolint:errcheck // politeness
	}
	s.abort()
}

func (s *session) end() {
	if s.broken {
		s.abort()
		return
	}
	s.quit()
}

func (s *session) startIdle(expire func()) { s.timer = time.AfterFunc(idleTime, expire) }

// stopIdle tells whether the connection is still to be had.
func (s *session) stopIdle() bool { return s.timer.Stop() }

// deliver offers one message. stale says that the connection was dead before
// the server can have seen any of it.
func (s *session) deliver(ctx context.Context, m *upstream.Message) (out []upstream.Outcome, stale bool) {
	stop := context.AfterFunc(ctx, s.abort)
	defer func() {
		if !stop() {
			s.broken = true
		}
	}()
	if o, ok := s.carries(m); !ok {
		return upstream.All(len(m.Recipients), s.from(o)), false
	}
	s.messages++
	out = make([]upstream.Outcome, len(m.Recipients))
	pending := make([]int, len(m.Recipients))
	for i := range pending {
		pending[i] = i
	}
	for len(pending) > 0 && !s.broken {
		var again []int
		again, stale = s.transaction(ctx, m, pending, out)
		if stale && s.messages == 1 {
			stale = false
		}
		if stale || len(again) == len(pending) {
			break
		}
		pending = again // 452 4.5.3: the rest goes in a transaction of its own (RFC 5321 4.5.3.1.10)
	}
	for i := range out {
		if out[i].Kind == 0 {
			out[i] = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "the connection ended before this recipient's turn"}
		}
		out[i] = s.from(out[i])
	}
	return out, stale
}

func (s *session) from(o upstream.Outcome) upstream.Outcome {
	o.Remote = s.remote
	return o
}

// carries tells whether the server can take the message at all, before
// anything is sent.
func (s *session) carries(m *upstream.Message) (upstream.Outcome, bool) {
	refuse := func(code int, enhanced, format string, a ...any) (upstream.Outcome, bool) {
		return upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, a...)}, false
	}
	if s.size > 0 && m.Size > s.size {
		return refuse(552, "5.3.4", "the message has %d octets, the server takes %d", m.Size, s.size)
	}
	if _, ok := s.ext["8BITMIME"]; m.EightBit && !ok {
		return refuse(554, "5.6.3", "the message holds 8-bit text, which the server does not take (no 8BITMIME)")
	}
	if _, ok := s.ext["SMTPUTF8"]; m.UTF8 && !ok {
		return refuse(553, "5.6.7", "an address or a header needs SMTPUTF8, which the server does not offer")
	}
	return upstream.Outcome{}, true
}

// transaction is one MAIL for the recipients with the indices pending. It sets
// their outcomes, and gives those that the server wants in another one.
func (s *session) transaction(ctx context.Context, m *upstream.Message, pending []int, out []upstream.Outcome) (again []int, stale bool) {
	lost := func(what string, err error) ([]int, bool) {
		s.broken = true
		for _, i := range pending {
			if out[i].Kind == 0 {
				out[i] = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: what + ": " + plain(ctx, err), Cause: err}
			}
		}
		return nil, false
	}
	commands := s.commands(m, pending)
	_, pipelining := s.ext["PIPELINING"]
	if pipelining {
		if err := s.write(s.t.Timeouts.Command, []byte(strings.Join(commands, ""))); err != nil {
			lost("sending the envelope", err)
			return nil, true
		}
	}
	ask := func(i int, limit time.Duration) (Reply, error) {
		if !pipelining {
			if err := s.write(limit, []byte(commands[i])); err != nil {
				return Reply{}, err
			}
		}
		return s.read(limit)
	}
	mail, err := ask(0, s.t.Timeouts.Command)
	if err != nil {
		lost("MAIL", err)
		return nil, true
	}
	if mail.Code != 250 && !pipelining {
		return s.mailRefused(mail, pending, out), false
	}
	var accepted []int
	for k, i := range pending {
		r, err := ask(1+k, s.t.Timeouts.Command)
		if err != nil {
			return lost("RCPT", err)
		}
		switch {
		case r.Code/100 == 2:
			accepted = append(accepted, i)
		case r.Code == 452 && k > 0 && len(accepted) > 0:
			again = append(again, i)
			out[i] = classify(stepRcpt, r)
		default:
			out[i] = classify(stepRcpt, r)
		}
	}
	if mail.Code != 250 {
		accepted = nil
	}
	if len(accepted) == 0 && !pipelining {
		s.reset()
		return nil, false
	}
	data, err := ask(len(commands)-1, s.t.Timeouts.DataInit)
	if err != nil {
		return lost("DATA", err)
	}
	switch {
	case data.Code == 354 && len(accepted) == 0: // it wants a message for nobody (RFC 2920 3.1)
		if _, err := s.command(s.t.Timeouts.DataEnd, "."); err != nil {
			s.broken = true
		}
	case data.Code == 354:
		s.message(ctx, m, accepted, out)
	default:
		for _, i := range accepted {
			out[i] = classify(stepData, data)
		}
	}
	if mail.Code != 250 {
		return s.mailRefused(mail, pending, out), false
	}
	for _, i := range again {
		out[i] = upstream.Outcome{}
	}
	if s.broken {
		return nil, false
	}
	if len(accepted) == 0 || data.Code != 354 {
		s.reset()
	}
	return again, false
}

func (s *session) mailRefused(r Reply, pending []int, out []upstream.Outcome) []int {
	for _, i := range pending {
		out[i] = classify(stepMail, r)
	}
	if r.Code == 421 {
		s.broken = true
	} else {
		s.reset()
	}
	return nil
}

// reset makes the session ready for another transaction.
func (s *session) reset() bool {
	r, err := s.command(s.t.Timeouts.Command, "RSET")
	if err != nil || r.Code != 250 {
		s.broken = true
	}
	return !s.broken
}

// commands are MAIL, RCPT for each pending recipient, and DATA.
func (s *session) commands(m *upstream.Message, pending []int) []string {
	mail := "MAIL FROM:<" + s.spell(m.Sender, m.UTF8) + ">"
	if _, ok := s.ext["SIZE"]; ok {
		mail += fmt.Sprintf(" SIZE=%d", m.Size)
	}
	if m.EightBit {
		mail += " BODY=8BITMIME"
	}
	if m.UTF8 {
		mail += " SMTPUTF8"
	}
	out := []string{mail + "\r\n"}
	for _, i := range pending {
		out = append(out, "RCPT TO:<"+s.spell(m.Recipients[i], m.UTF8)+">\r\n")
	}
	return append(out, "DATA\r\n")
}

// spell writes an address; without SMTPUTF8 its domain as A-labels.
func (s *session) spell(a envelope.Address, utf8 bool) string {
	if !utf8 {
		if b, err := a.ToASCII(); err == nil {
			a = b
		}
	}
	return a.String()
}

// message sends the content and reads the verdict. Once the final dot is out,
// silence means Unknown.
func (s *session) message(ctx context.Context, m *upstream.Message, accepted []int, out []upstream.Outcome) {
	set := func(o upstream.Outcome) {
		for _, i := range accepted {
			out[i] = o
		}
	}
	content, err := m.Open()
	if err != nil {
		s.broken = true
		set(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "the stored message cannot be read", Cause: err})
		return
	}
	defer content.Close() //nolint:errcheck // read to its end, or given up
	w := &dotWriter{write: func(b []byte) error { return s.write(s.t.Timeouts.Block, b) }}
	if err := w.copy(content); err != nil {
		s.broken = true // without the final dot the server drops what it has
		var src *sourceError
		if errors.As(err, &src) {
			set(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "the stored message cannot be read", Cause: src.err})
			return
		}
		set(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "sending the message: " + plain(ctx, err), Cause: err})
		return
	}
	r, err := s.read(s.t.Timeouts.DataEnd)
	switch {
	case err != nil:
		s.broken = true
		set(upstream.Outcome{Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Text: "no reply to the final dot: " + plain(ctx, err), Cause: err})
	case r.Code/100 == 2:
		set(upstream.Outcome{Kind: upstream.Accepted, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, RemoteID: remoteID(r.Text)})
	default:
		s.broken = r.Code == 421
		set(classify(stepEnd, r))
	}
}

// remoteID finds the name that common servers give a message in their 250.
func remoteID(text string) string {
	f := strings.Fields(text)
	for i, w := range f {
		if (strings.EqualFold(w, "as") || strings.HasPrefix(strings.ToLower(w), "id=")) && len(w) > 3 {
			return w[3:]
		}
		if strings.EqualFold(w, "as") && i+1 < len(f) {
			return strings.Trim(f[i+1], "<>.")
		}
	}
	return ""
}

// plain is an error of the connection in words that hold no address of ours.
func plain(ctx context.Context, err error) string {
	var ne net.Error
	switch {
	case ctx.Err() != nil:
		return "stopped while it was under way"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	case errors.As(err, &ne) && ne.Timeout():
		return "the server did not answer in time"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
