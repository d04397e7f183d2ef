// Package graph delivers to Exchange Online by Microsoft Graph: sendMail with the
// message as it is, and a draft with upload sessions for what is larger.
//
// Graph knows no envelope. The header that goes out names the attempt's recipients
// and nobody else; what the message itself said of recipients beside them is gone.
//
// It may import relay/upstream, upstream/httpapi, relay/envelope, message,
// message/translate, oauth (what a token says), plan and reply.
package graph

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Tokens gives access tokens for the plan's scope: an *oauth.Source does.
type Tokens interface {
	// Token gives one that is valid for a while yet.
	Token(ctx context.Context) (string, error)
	// Reject says that the API did not take a token: the next is a new one.
	Reject(token string)
	Close() error
}

// Config is what New takes. RootCAs and Timeouts may be left out.
type Config struct {
	Graph    plan.Graph
	Private  bool // private and loopback addresses may be connected to
	MaxIdle  int
	Tokens   Tokens         // Close closes them too
	RootCAs  *x509.CertPool // nil: the system's
	Timeouts httpapi.Timeouts
	Log      *slog.Logger
}

// maxAtOnce requests of one application are allowed for one mailbox (Microsoft
// Graph throttling limits, Outlook service).
const maxAtOnce = 4

// Transport implements upstream.Transport for one mailbox.
type Transport struct {
	c     Config
	api   *httpapi.Client
	slots chan struct{}
	known knowledge

	limits limits
}

// New makes a transport; it connects when there is something to send. The error is
// about the endpoint.
func New(c Config) (*Transport, error) {
	api, err := httpapi.New(httpapi.Config{Endpoint: c.Graph.Endpoint, Private: c.Private, RootCAs: c.RootCAs, MaxIdle: c.MaxIdle, Timeouts: c.Timeouts})
	if err != nil {
		return nil, err
	}
	return &Transport{c: c, api: api, slots: make(chan struct{}, maxAtOnce), limits: limits{maxSendMail, minSession, span}}, nil
}

// Close implements upstream.Transport.
func (t *Transport) Close() error { return errors.Join(t.api.Close(), t.c.Tokens.Close()) }

// Capabilities implements upstream.Transport. There is a limit only where Graph
// has said that it lets us make no drafts: larger mail is then for another upstream.
func (t *Transport) Capabilities() upstream.Capabilities {
	if t.known.noDrafts(now()) {
		return upstream.Capabilities{MaxSize: t.limits.sendMail}
	}
	return upstream.Capabilities{}
}

// Deliver implements upstream.Transport.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	out := make([]upstream.Outcome, len(m.Recipients))
	var to []recipient
	for i, r := range m.Recipients {
		a, err := r.Plain()
		if err != nil {
			out[i] = upstream.Outcome{
				Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 553, Enhanced: "5.6.7", Remote: t.api.Host(),
				Text: "Graph takes recipients from the header, which cannot carry this one: " + err.Error(), Cause: err,
			}
			continue
		}
		to = append(to, recipient{i, a})
	}
	if len(to) == 0 {
		return out
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		set(out, to, upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: t.api.Host(), Text: "stopped before it began", Cause: ctx.Err()})
		return out
	}
	s, o := t.open(m)
	if o != nil {
		set(out, to, *o)
		return out
	}
	s.offer(ctx, to, out)
	return out
}

// recipient is one of an attempt that a header can carry.
type recipient struct {
	at      int // in the attempt's list
	address envelope.Address
}

func set(out []upstream.Outcome, to []recipient, o upstream.Outcome) {
	for _, r := range to {
		out[r.at] = o
	}
}

// offer sends to all of to. Graph takes all or none: where it does not like one of
// them and does not say which, halves are offered until that one is alone.
func (s *scan) offer(ctx context.Context, to []recipient, out []upstream.Outcome) {
	a := s.send(ctx, to)
	if a.code != "ErrorInvalidRecipients" || len(to) == 1 || a.Kind != upstream.Failed {
		set(out, to, a.Outcome)
		return
	}
	s.offer(ctx, to[:len(to)/2], out)
	s.offer(ctx, to[len(to)/2:], out)
}
