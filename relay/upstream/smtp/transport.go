// Package smtp hands messages to a smarthost by SMTP (RFC 5321). The client is
// our own: go-smtp's cannot pipeline (RFC 2920), has no time limit while it
// sends a message, and declares every message 8BITMIME. Beyond go-smtp it has
// reuse of connections, one outcome per recipient, and a verdict of Unknown.
//
// It may import relay/upstream, upstream/egress, relay/envelope, relay/plan, relay/secrets,
// relay/reply, relay/message and relay/oauth (what a token says).
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

// Tokens gives OAuth access tokens: an *oauth.Source does.
type Tokens interface {
	Token(ctx context.Context) (string, error)
	// Reject tells that the server refused a token.
	Reject(token string)
	Close() error
}

// Config is what New takes. What is zero takes its default; Secrets is needed
// where SMTP names a Secret.
type Config struct {
	Name     string // of the MailUpstream, for the log
	SMTP     plan.SMTP
	Private  bool // private and loopback addresses may be connected to
	Secrets  func() secrets.Source
	Tokens   Tokens // where SMTP logs in by OAuth; Close closes them too
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
	own  *Target      // of Config
	size atomic.Int64 // SIZE that the server told last; 0: no limit is known
	utf8 atomic.Bool  // SMTPUTF8
	took atomic.Bool  // the server accepted a token of ours before

	login, ca, cert secrets.Last // what the Secrets held

	mu     sync.Mutex
	idle   []*session
	closed bool
	ending sync.WaitGroup // idle sessions, each with a timer that may be at work
}

// New makes a transport. It connects when there is something to deliver.
func New(c Config) *Transport {
	c.setDefaults()
	t := &Transport{c: c}
	for _, l := range []*secrets.Last{&t.login, &t.ca, &t.cert} {
		l.Upstream, l.Log = c.Name, c.Log
	}
	t.own = t.target()
	return t
}

// Capabilities gives what the server told in its last EHLO reply.
func (t *Transport) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{MaxSize: t.size.Load(), UTF8: t.utf8.Load()}
}

// Deliver implements upstream.Transport.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	out, err := t.Offer(ctx, t.own, m)
	if err != nil {
		return upstream.All(len(m.Recipients), t.failed(err))
	}
	return out
}

// failed is the outcome where no session came about: the upstream's own fault
// or the way to it, never the message's.
func (t *Transport) failed(err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: err.Error(), Remote: t.c.SMTP.Host, Cause: err}
	if r, step, ok := Refusal(err); ok {
		o.Code, o.Enhanced, o.Text = r.Code, r.Enhanced, fmt.Sprintf("%s: %s", step, r.Text)
	}
	var token interface{ Wait() time.Duration } // who gives tokens may ask to
	if errors.As(err, &token) {
		o.RetryIn = token.Wait()
	}
	return o
}

// Refusal gives the reply that ended a session before it had begun, and the step
// that it came at, where that is what err is.
func Refusal(err error) (r Reply, step string, ok bool) {
	var re *replyError
	if !errors.As(err, &re) {
		return Reply{}, "", false
	}
	return re.Reply, re.step, true
}
