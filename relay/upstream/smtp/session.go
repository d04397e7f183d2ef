package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// session is one connection to the server, used by one delivery at a time.
type session struct {
	t      *Transport
	to     *Target
	raw    net.Conn // the socket itself: closing it ends every wait
	conn   net.Conn // raw, or TLS on it
	r      *bufio.Reader
	remote string // host and address
	tls    bool
	ext    map[string]string // EHLO keywords and their parameters
	size   int64             // SIZE; 0: no limit

	messages int
	broken   bool // in no state to be used again
	timer    *time.Timer
}

// command sends one line and reads the reply.
func (s *session) command(limit time.Duration, line string) (Reply, error) {
	if err := s.write(limit, []byte(line+"\r\n")); err != nil {
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

// offers tells whether the server's EHLO reply had a keyword.
func (s *session) offers(keyword string) bool {
	_, ok := s.ext[keyword]
	return ok
}

// abort closes the socket, from any goroutine.
func (s *session) abort() { s.raw.Close() }

// quitTime is how long the goodbye may take to leave.
const quitTime = time.Second

// quit says goodbye and does not wait for the answer, as nothing depends on it.
func (s *session) quit() {
	if s.write(quitTime, []byte("QUIT\r\n")) == nil {
		s.conn.Close() // with TLS it says goodbye too
	}
	s.abort()
}

// reset makes the session ready for another transaction.
func (s *session) reset() {
	if s.broken {
		return
	}
	r, err := s.command(s.t.c.Timeouts.Command, "RSET")
	s.broken = err != nil || r.Code != 250
}

// loggedOut tells whether the server wants a login again, of a connection on which
// it had accepted one for an earlier message.
func (s *session) loggedOut(r Reply) bool {
	return s.t.c.SMTP.Auth != nil && s.messages > 1 && (r.Code == 530 || r.Code == 535)
}

// deliver offers one message. stale says that the connection was dead before
// the server can have seen any of it, and another may be tried.
func (s *session) deliver(ctx context.Context, m *upstream.Message) (out []upstream.Outcome, stale bool) {
	stop := context.AfterFunc(ctx, s.abort)
	defer func() {
		if !stop() || s.r.Buffered() > 0 { // what nobody asked for would be taken for the next reply
			s.broken = true
		}
		for i := range out {
			out[i].Remote = s.remote
		}
	}()
	m, refusal := s.fit(m)
	if refusal != nil {
		return upstream.All(len(m.Recipients), *refusal), false
	}
	s.messages++
	out = make([]upstream.Outcome, len(m.Recipients))
	to := make([]int, len(m.Recipients))
	for i := range to {
		to[i] = i
	}
	for first := true; len(to) > 0 && !s.broken; first = false {
		x := &transaction{s: s, m: m, to: to, out: out}
		gone := x.run(ctx)
		if gone && first && s.messages > 1 && ctx.Err() == nil {
			return nil, true
		}
		to = x.rest // 452 4.5.3: in a transaction of its own (RFC 5321 4.5.3.1.10)
	}
	for i := range out {
		if out[i].Kind == 0 {
			out[i] = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "the connection ended before this recipient's turn"}
		}
	}
	return out, false
}

// words are an error of the connection as a person reads it.
func words(ctx context.Context, err error) string {
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

func lostOutcome(ctx context.Context, kind upstream.Kind, at string, err error) upstream.Outcome {
	return upstream.Outcome{Kind: kind, Scope: upstream.ScopeUpstream, Text: fmt.Sprintf("%s: %s", at, words(ctx, err)), Cause: err}
}
