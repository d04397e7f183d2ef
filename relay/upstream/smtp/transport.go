// Package smtp hands messages to a smarthost by SMTP (RFC 5321). The client is
// our own: go-smtp's cannot pipeline (RFC 2920), has no time limit while it
// sends a message, and declares every message 8BITMIME. Beyond go-smtp it has
// reuse of connections, one outcome per recipient, and a verdict of Unknown.
//
// It may import relay/upstream, upstream/egress, relay/envelope, relay/plan, relay/secrets,
// relay/reply and relay/message.
package smtp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Timeouts are the client's time limits of RFC 5321 4.5.3.2.
type Timeouts struct {
	Connect  time.Duration // of all addresses of the host together
	Greeting time.Duration
	Command  time.Duration // EHLO, TLS, AUTH, MAIL, RCPT, RSET
	DataInit time.Duration
	Block    time.Duration // one write of the message
	DataEnd  time.Duration
}

// DefaultTimeouts are those that RFC 5321 4.5.3.2 asks for.
var DefaultTimeouts = Timeouts{
	Connect: time.Minute, Greeting: 5 * time.Minute, Command: 5 * time.Minute,
	DataInit: 2 * time.Minute, Block: 3 * time.Minute, DataEnd: 10 * time.Minute,
}

// Defaults of what Config leaves at zero.
const (
	defaultIdleTime = 20 * time.Second // below the time after which servers close
	defaultMaxIdle  = 20
	defaultPerConn  = 200
)

// Config is what New takes. What is zero takes its default; Secrets is needed
// where SMTP names a Secret.
type Config struct {
	Name     string // of the MailUpstream, for the log
	SMTP     plan.SMTP
	Private  bool // private and loopback addresses may be connected to
	Secrets  func() secrets.Source
	Timeouts Timeouts
	Log      *slog.Logger

	MaxIdle     int           // connections kept for the next message
	IdleTime    time.Duration // how long one is kept
	MaxMessages int           // messages of one connection

	// Dial takes the place of the network in tests; addresses are then not
	// judged.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *Config) setDefaults() {
	if c.Timeouts == (Timeouts{}) {
		c.Timeouts = DefaultTimeouts
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = defaultMaxIdle
	}
	if c.IdleTime == 0 {
		c.IdleTime = defaultIdleTime
	}
	if c.MaxMessages == 0 {
		c.MaxMessages = defaultPerConn
	}
	if c.Secrets == nil {
		c.Secrets = func() secrets.Source { return secrets.Map{} }
	}
}

// Transport implements upstream.Transport.
type Transport struct {
	c    Config
	size atomic.Int64 // SIZE that the server told last; 0: no limit is known
	utf8 atomic.Bool  // SMTPUTF8

	mu     sync.Mutex
	idle   []*session
	closed bool
	ending sync.WaitGroup // idle sessions, each with a timer that may be at work
}

// New makes a transport. It connects when there is something to deliver.
func New(c Config) *Transport {
	c.setDefaults()
	return &Transport{c: c}
}

// Capabilities gives what the server told in its last EHLO reply.
func (t *Transport) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{MaxSize: t.size.Load(), UTF8: t.utf8.Load()}
}

// Deliver implements upstream.Transport. A connection that an earlier message
// used may have been closed by the server since: then a new one is tried before
// anything counts as failed.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	if s := t.take(); s != nil {
		out, stale := s.deliver(ctx, m)
		t.give(s)
		if !stale {
			return out
		}
	}
	s, err := t.connect(ctx)
	if err != nil {
		return upstream.All(len(m.Recipients), t.failed(err))
	}
	out, _ := s.deliver(ctx, m)
	t.give(s)
	return out
}

// failed is the outcome where no session came about: the upstream's own fault
// or the way to it, never the message's.
func (t *Transport) failed(err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: err.Error(), Remote: t.c.SMTP.Host, Cause: err}
	var re *replyError
	if errors.As(err, &re) {
		o.Code, o.Enhanced, o.Text = re.Code, re.Enhanced, fmt.Sprintf("%s: %s", re.step, re.Text)
	}
	return o
}
