// Package mailgun hands messages to Mailgun by its API, which takes the message
// as it is: POST /v3/DOMAIN/messages.mime, multipart/form-data (RFC 7578) with a
// field "to" for each recipient and the message as a file. Mailgun sends to those in
// "to" and to nobody that the message's own header names.
//
// It may import relay/upstream, upstream/httpapi, relay/envelope, relay/plan,
// relay/reply and relay/secrets.
package mailgun

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Config is what New takes. Mailgun and Secrets are required.
type Config struct {
	Mailgun  plan.Mailgun
	Secrets  func() secrets.Source
	Private  bool // private and loopback addresses may be connected to
	MaxIdle  int  // connections kept for the next message
	RootCAs  *x509.CertPool
	Timeouts httpapi.Timeouts
}

// batch is how many recipients Mailgun takes in one request.
const batch = 1000

// Transport implements upstream.Transport and upstream.Checker.
type Transport struct {
	c      Config
	client *httpapi.Client
	last   secrets.Last // of the API key
}

// New makes a transport; the error says what is wrong with the endpoint.
func New(c Config) (*Transport, error) {
	client, err := httpapi.New(httpapi.Config{
		Endpoint: c.Mailgun.Endpoint, Private: c.Private, RootCAs: c.RootCAs, MaxIdle: c.MaxIdle, Timeouts: c.Timeouts,
	})
	if err != nil {
		return nil, err
	}
	return &Transport{c: c, client: client}, nil
}

// Capabilities tells that addresses and header have to be ASCII; the size is the
// plan's, as Mailgun documents it.
func (t *Transport) Capabilities() upstream.Capabilities { return upstream.Capabilities{} }

// Close implements upstream.Transport.
func (t *Transport) Close() error { return t.client.Close() }

// key is read at each attempt, so that a new one is used at once.
func (t *Transport) key() (string, error) {
	return t.last.APIKey(t.c.Secrets(), t.c.Mailgun.Secret, "apiKey")
}

// login is the header of a request: Basic authentication as "api" (RFC 7617).
func login(key string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+key))}}
}

const user = "api"

func (t *Transport) path() string {
	return "/v3/" + t.c.Mailgun.Domain + "/messages.mime"
}

// Deliver implements upstream.Transport.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	out := make([]upstream.Outcome, len(m.Recipients))
	if m.UTF8 {
		return upstream.All(len(out), t.failed(upstream.ScopeMessage, 553, "5.6.7", "an address or a header needs SMTPUTF8, which Mailgun's API does not take"))
	}
	key, err := t.key()
	if err != nil {
		return upstream.All(len(out), upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: t.client.Host(), Text: err.Error(), Cause: err})
	}
	a := &attempt{t, m, key, out, nil}
	var pending []recipient
	for i, r := range m.Recipients {
		if p, err := r.Plain(); err != nil {
			out[i] = t.failed(upstream.ScopeRecipient, 553, "5.1.3", fmt.Sprintf("Mailgun's API cannot carry the address %s: %v", r, err))
		} else {
			pending = append(pending, recipient{i, p})
		}
	}
	for some := range slices.Chunk(pending, batch) {
		a.send(ctx, some)
	}
	return out
}

func (t *Transport) failed(scope upstream.Scope, code int, enhanced, text string) upstream.Outcome {
	return upstream.Outcome{Kind: upstream.Failed, Scope: scope, Code: code, Enhanced: enhanced, Remote: t.client.Host(), Text: text}
}

// recipient is one in the form that the API takes, with its place in the envelope.
type recipient struct {
	i       int
	address envelope.Address
}

// attempt is one call of Deliver.
type attempt struct {
	*Transport
	m    *upstream.Message
	key  string
	out  []upstream.Outcome
	stop *upstream.Outcome // the upstream's own trouble: nothing more is tried
}

// send makes one request for some recipients. One address that Mailgun does not
// take has it refuse the whole request, and it does not say which: then halves go
// on their own, until that one is alone.
func (a *attempt) send(ctx context.Context, to []recipient) {
	if a.stop != nil {
		a.set(to, *a.stop)
		return
	}
	o, some := a.request(ctx, to)
	if some && len(to) > 1 {
		a.send(ctx, to[:len(to)/2])
		a.send(ctx, to[len(to)/2:])
		return
	}
	if some && o.Kind == upstream.Failed { // the address is invalid
		o.Scope = upstream.ScopeRecipient
	}
	a.set(to, o)
	if o.Kind != upstream.Accepted && o.Scope == upstream.ScopeUpstream {
		if o.Kind == upstream.Unknown { // of that request; of the next it is known
			o.Kind, o.Text = upstream.Deferred, "not tried, since the request before it broke off: "+o.Text
		}
		a.stop = &o
	}
}

func (a *attempt) set(to []recipient, o upstream.Outcome) {
	for _, r := range to {
		a.out[r.i] = o
	}
}

func (a *attempt) request(ctx context.Context, to []recipient) (o upstream.Outcome, some bool) {
	f, err := newForm(a.m, to, a.c.Mailgun.RequireTLS)
	if err != nil {
		return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: a.client.Host(), Text: err.Error(), Cause: err}, false
	}
	header := login(a.key)
	header.Set("Content-Type", f.contentType)
	r, err := a.client.Do(ctx, &httpapi.Request{Path: a.path(), Header: header, Body: f.open, Length: f.length()})
	if err != nil {
		return httpapi.Lost(err), false
	}
	return result(r, a.key)
}
