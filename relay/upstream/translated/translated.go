// Package translated is what the upstreams have in common whose API takes no
// MIME: a message is read, translated and sent to some of its recipients at a
// time, and what the API answers is put to each of them.
//
// It may import relay/upstream, upstream/httpapi, relay/envelope,
// relay/message/translate, relay/reply and relay/secrets.
package translated

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Config is what an upstream's New takes. Endpoint, Secret and Secrets are
// required.
type Config struct {
	Endpoint string // URL without a path
	Secret   string // with the key apiKey
	Secrets  func() secrets.Source
	Private  bool   // private and loopback addresses may be connected to
	MaxIdle  int    // connections kept for the next message
	Domain   string // of the upstream's sender, in ASCII; empty: it has none
	RootCAs  *x509.CertPool
	Timeouts httpapi.Timeouts
}

// Service is one API.
type Service struct {
	Rules    *translate.Rules
	Instead  string // what to do about a message that it cannot carry
	Path     string // that messages are posted to
	Batch    int    // recipients of one request
	Hidden   int    // ... where the header names none of them, so that none may see another
	Header   func(key string) http.Header
	Document func(m *translate.Message, to Recipients) *translate.Document
	// Result puts an answer to the recipients of the request.
	Result func(r *httpapi.Response, to Recipients) Result
	Check  func(ctx context.Context, t *Transport) upstream.Health
}

// Recipients are those of one request: of the envelope, and as the message shows
// them.
type Recipients struct {
	Envelope    []envelope.Address
	To, Cc, Bcc []translate.Mailbox
}

// Key gives the Address.Key of the recipient whose address a service writes so;
// empty: it is none of them.
func (r Recipients) Key(address string) string {
	for _, a := range r.Envelope {
		if plain, err := translate.Plain(a); err == nil && strings.EqualFold(plain, address) {
			return a.Key()
		}
	}
	return ""
}

// Result is what became of the recipients of one request.
type Result struct {
	All  upstream.Outcome            // of those that are not in Some
	Some map[string]upstream.Outcome // by Address.Key
	// Again says that those in Some have kept it from the others, to whom All does
	// not apply: the request is made again without them. Where Some names nobody,
	// halves are tried, until the one that it was is alone.
	Again bool
	// Sender says that All is about the message's From.
	Sender bool
}

// Transport implements upstream.Transport and upstream.Checker.
type Transport struct {
	c      Config
	s      *Service
	client *httpapi.Client
	last   secrets.Last // of the API key
}

// New makes a transport; the error says what is wrong with the endpoint.
func New(c Config, s *Service) (*Transport, error) {
	client, err := httpapi.New(httpapi.Config{
		Endpoint: c.Endpoint, Private: c.Private, RootCAs: c.RootCAs, MaxIdle: c.MaxIdle, Timeouts: c.Timeouts,
	})
	if err != nil {
		return nil, err
	}
	return &Transport{c: c, s: s, client: client}, nil
}

// Capabilities tells that addresses have to be ASCII. What a message is as a
// request is known when it is there.
func (t *Transport) Capabilities() upstream.Capabilities { return upstream.Capabilities{} }

// Close implements upstream.Transport.
func (t *Transport) Close() error { return t.client.Close() }

// Check implements upstream.Checker.
func (t *Transport) Check(ctx context.Context) upstream.Health { return t.s.Check(ctx, t) }

// Get asks the API; a Health is there where it did not answer with success.
func (t *Transport) Get(ctx context.Context, path string) (*httpapi.Response, *upstream.Health) {
	key, err := t.key()
	if err != nil {
		return nil, &upstream.Health{Credentials: upstream.Bad, Text: err.Error()}
	}
	r, err := t.client.Do(ctx, &httpapi.Request{Method: http.MethodGet, Path: path, Header: t.s.Header(key)})
	if err != nil {
		return nil, &upstream.Health{Reachable: upstream.Bad, Text: err.Error()}
	}
	r.Body = []byte(httpapi.Scrub(string(r.Body), "", key)) // it goes into a status
	return r, nil
}

// key is read at each attempt, so that a new one is used at once.
func (t *Transport) key() (string, error) { return t.last.APIKey(t.c.Secrets(), t.c.Secret, "apiKey") }

// attempt is one call of Deliver.
type attempt struct {
	*Transport
	key  string
	m    *translate.Message
	done map[string]upstream.Outcome // by Address.Key
	stop *upstream.Outcome           // the upstream's own trouble: nothing more is tried
}

// Deliver implements upstream.Transport.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	a := &attempt{Transport: t, done: map[string]upstream.Outcome{}}
	var err error
	if a.key, err = t.key(); err != nil {
		return upstream.All(len(m.Recipients), upstream.Outcome{
			Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: t.client.Host(), Text: err.Error(), Cause: err,
		})
	}
	if a.m, err = translate.Read(ctx, m.Open, t.s.Rules); err != nil {
		return upstream.All(len(m.Recipients), t.unread(ctx, err))
	}
	var pending []envelope.Address
	seen := make(map[string]bool, len(m.Recipients))
	for _, r := range m.Recipients {
		if _, err := translate.Plain(r); err != nil {
			a.done[r.Key()] = t.failed(err)
			continue
		}
		if k := r.Key(); !seen[k] {
			seen[k], pending = true, append(pending, r)
		}
	}
	for len(pending) > 0 {
		n := min(len(pending), t.s.Batch)
		a.batch(ctx, pending[:n])
		pending = pending[n:]
	}
	out := make([]upstream.Outcome, len(m.Recipients))
	for i, r := range m.Recipients {
		out[i] = a.done[r.Key()]
	}
	return out
}

// unread is the outcome of a message that was not translated.
func (t *Transport) unread(ctx context.Context, err error) upstream.Outcome {
	var u *translate.UncarriedError
	switch {
	case errors.As(err, &u):
		return t.failed(err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: t.client.Host(), Text: "stopped while it was under way", Cause: err}
	}
	return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Remote: t.client.Host(), Text: "the stored message cannot be read", Cause: err}
}

// failed is the outcome of what this API cannot carry, and another upstream may
// (RFC 3463 X.6.3, or X.3.4).
func (t *Transport) failed(err error) upstream.Outcome {
	o := upstream.Outcome{
		Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 554, Enhanced: "5.6.3", Remote: t.client.Host(),
		Text: reply.Line(fmt.Sprintf("%s's API cannot carry %s: %s", t.s.Rules.Service, err, t.s.Instead), 512),
	}
	if u := (*translate.UncarriedError)(nil); errors.As(err, &u) && u.TooLarge {
		o.Code, o.Enhanced = 552, "5.3.4"
	}
	return o
}

// batch sends to recipients that fit into one request.
func (a *attempt) batch(ctx context.Context, to []envelope.Address) {
	for len(to) > 0 {
		if a.stop != nil {
			a.set(to, *a.stop)
			return
		}
		now := Recipients{Envelope: to}
		var err error
		if now.To, now.Cc, now.Bcc, err = a.m.Recipients(to); err != nil {
			a.set(to, a.failed(err))
			return
		}
		var later []envelope.Address
		if n := a.s.Hidden; len(now.To)+len(now.Cc) == 0 && len(now.Bcc) > n {
			now.Envelope, later = to[:n], to[n:]
			now.Bcc = now.Bcc[:n]
		}
		again, unnamed := a.request(ctx, now)
		if unnamed {
			half := len(now.Envelope) / 2
			a.batch(ctx, now.Envelope[:half])
			a.batch(ctx, now.Envelope[half:])
		}
		to = append(again, later...)
	}
}

func (a *attempt) set(to []envelope.Address, o upstream.Outcome) {
	for _, r := range to {
		a.done[r.Key()] = o
	}
}

// request makes one request and gives back those to whom it has to be made again;
// unnamed: some of all to whom it went have kept it from the others, and nobody
// says which.
func (a *attempt) request(ctx context.Context, to Recipients) (again []envelope.Address, unnamed bool) {
	doc := a.s.Document(a.m, to)
	if err := doc.TooLarge(); err != nil {
		a.set(to.Envelope, a.failed(err))
		return nil, false
	}
	header := a.s.Header(a.key)
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json")
	r, err := a.client.Do(ctx, &httpapi.Request{Path: a.s.Path, Header: header, Body: doc.Open, Length: doc.Length()})
	if err != nil {
		return a.answered(to.Envelope, Result{All: httpapi.Lost(err)})
	}
	res := a.s.Result(r, to)
	res.All = a.clean(res.All)
	if res.Sender && !a.ours() {
		res.All.Kind, res.All.Scope = upstream.Deferred, upstream.ScopeMessage
	}
	for key, o := range res.Some {
		res.Some[key] = a.clean(o)
	}
	return a.answered(to.Envelope, res)
}

// clean keeps what a service says to a line, and the key out of it.
func (a *attempt) clean(o upstream.Outcome) upstream.Outcome {
	o.Text = reply.Line(httpapi.Scrub(o.Text, "", a.key), 512)
	o.RemoteID = reply.Line(httpapi.Scrub(o.RemoteID, "", a.key), 128)
	return o
}

// ours tells whether the message leaves from the upstream's own domain. Otherwise
// its From is the device's own: the service may take the next one's, so a device
// with a wrong one must not stop the others.
func (a *attempt) ours() bool {
	_, domain, _ := strings.Cut(a.m.From.Address, "@")
	return strings.EqualFold(domain, a.c.Domain)
}

func (a *attempt) answered(to []envelope.Address, res Result) (again []envelope.Address, unnamed bool) {
	for _, r := range to {
		o, some := res.Some[r.Key()]
		switch {
		case some:
			a.done[r.Key()] = o
		case res.Again:
			again = append(again, r)
		default:
			a.done[r.Key()] = res.All
		}
	}
	if len(again) == len(to) { // nobody is named
		if len(to) > 1 {
			return nil, true
		}
		a.set(to, res.All)
		again = nil
	}
	if o := res.All; !res.Again && o.Kind != upstream.Accepted && o.Scope == upstream.ScopeUpstream {
		if o.Kind == upstream.Unknown { // of that request alone
			o.Kind, o.Text = upstream.Deferred, "not tried: "+o.Text
		}
		a.stop = &o
	}
	return again, false
}
