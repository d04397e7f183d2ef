// Package smtp hands messages to a smarthost by SMTP (RFC 5321). The client is
// our own: go-smtp's cannot pipeline, has no time limit while it sends a
// message, and declares every message 8BITMIME.
//
// It may import relay/upstream, relay/envelope, relay/plan, relay/secrets,
// relay/reply and relay/message.
package smtp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Timeouts are the client's time limits of RFC 5321 4.5.3.2.
type Timeouts struct {
	Connect  time.Duration
	Greeting time.Duration
	Command  time.Duration // EHLO, MAIL, RCPT, AUTH
	DataInit time.Duration
	Block    time.Duration // one write of the message
	DataEnd  time.Duration
}

// DefaultTimeouts are those that RFC 5321 4.5.3.2 asks for.
var DefaultTimeouts = Timeouts{
	Connect: time.Minute, Greeting: 5 * time.Minute, Command: 5 * time.Minute,
	DataInit: 2 * time.Minute, Block: 3 * time.Minute, DataEnd: 10 * time.Minute,
}

// Config is what New takes. Timeouts and Log may be zero.
type Config struct {
	Name     string // of the MailUpstream, for the log
	SMTP     plan.SMTP
	Private  bool // private and loopback addresses may be connected to
	MaxIdle  int  // connections kept for the next message
	Secrets  func() secrets.Source
	Timeouts Timeouts
	Log      *slog.Logger
}

const (
	idleTime   = 20 * time.Second // how long a connection waits for the next message
	maxPerConn = 200              // messages of one connection
	idleMax    = 20
)

// Transport implements upstream.Transport.
type Transport struct {
	Config
	size atomic.Int64 // SIZE that the server told; 0: none
	utf8 atomic.Bool

	mu     sync.Mutex
	idle   []*session
	closed bool
}

// New makes a transport. It connects when there is something to deliver.
func New(c Config) *Transport {
	if c.Timeouts == (Timeouts{}) {
		c.Timeouts = DefaultTimeouts
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = idleMax
	}
	return &Transport{Config: c}
}

// Capabilities gives what the server told in its last EHLO reply.
func (t *Transport) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{MaxSize: t.size.Load(), UTF8: t.utf8.Load()}
}

// Close drops idle connections and keeps none from now on.
func (t *Transport) Close() error {
	t.mu.Lock()
	idle := t.idle
	t.idle, t.closed = nil, true
	t.mu.Unlock()
	for _, s := range idle {
		if s.stopIdle() { // else it is being dropped already
			s.quit()
		}
	}
	return nil
}

// Deliver implements upstream.Transport. A connection that an earlier message
// used may have been closed by the server since: then a new one is tried before
// anything counts as failed.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	s, reused := t.take(), true
	for {
		if s == nil {
			var err error
			if s, err = t.connect(ctx); err != nil {
				return upstream.All(len(m.Recipients), t.failed(err))
			}
			reused = false
		}
		out, stale := s.deliver(ctx, m)
		if stale && reused {
			s.abort()
			s = nil
			continue
		}
		t.give(s)
		return out
	}
}

// take gives an idle connection that is still fresh.
func (t *Transport) take() *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := len(t.idle); n > 0; n = len(t.idle) {
		s := t.idle[n-1]
		t.idle = t.idle[:n-1]
		if s.stopIdle() {
			return s
		}
	}
	return nil
}

// give keeps a connection for the next message, for a while.
func (t *Transport) give(s *session) {
	if s.broken || s.messages >= maxPerConn {
		s.end()
		return
	}
	t.mu.Lock()
	keep := !t.closed && len(t.idle) < t.MaxIdle
	if keep {
		s.startIdle(func() { t.drop(s) })
		t.idle = append(t.idle, s)
	}
	t.mu.Unlock()
	if !keep {
		s.quit()
	}
}

func (t *Transport) drop(s *session) {
	t.mu.Lock()
	for i, o := range t.idle {
		if o == s {
			t.idle = append(t.idle[:i], t.idle[i+1:]...)
			break
		}
	}
	t.mu.Unlock()
	s.quit()
}

// failed is the outcome where no session came about: the upstream's own fault
// or the way to it, never the message's.
func (t *Transport) failed(err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: err.Error(), Remote: t.SMTP.Host, Cause: err}
	var re *replyError
	if errors.As(err, &re) {
		o.Code, o.Enhanced, o.Text = re.Code, re.Enhanced, fmt.Sprintf("%s: %s", re.step, re.Text)
	}
	return o
}
