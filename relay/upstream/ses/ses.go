// Package ses hands messages to Amazon SES by its API v2: SendEmail with raw
// content, whose body is signed and streamed from the spool in two passes.
//
// It may import relay/upstream, upstream/httpapi, relay/plan, secrets, envelope,
// reply and the AWS SDK.
package ses

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Config is what New takes.
type Config struct {
	Name     string       // of the upstream, for the log
	Log      *slog.Logger // nil: none
	SES      plan.SES
	Domain   string // the sender domain, whose identity Check looks at; empty: none
	Private  bool   // private and loopback addresses may be connected to
	MaxIdle  int    // connections kept for the next message
	Secrets  func() secrets.Source
	RootCAs  *x509.CertPool   // nil: the system's
	Timeouts httpapi.Timeouts // zero: httpapi.DefaultTimeouts
}

// What SES takes of one message.
const (
	// maxSize is "40 MB after base64". MB are binary: the older API, whose limit is
	// 10 MB, says "more than 10485760 bytes long". The encoding that it means is that of
	// the attachments: the same limit holds for SMTP, which has no other.
	maxSize = 40 << 20
	maxLine = 998 // without CRLF (RFC 5321 4.5.3.1.6)
	maxRcpt = 50
)

// Transport is one SES upstream.
type Transport struct {
	c           Config
	http        *httpapi.Client
	api         *sesv2.Client
	credentials *credentials
	account     account
	took        atomic.Int64 // when SES accepted a message last; Unix nanoseconds
}

// New makes a transport and connects to nothing.
func New(c Config) (*Transport, error) {
	endpoint := c.SES.Endpoint
	if endpoint == "" {
		e, err := sesv2.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sesv2.EndpointParameters{Region: &c.SES.Region})
		if err != nil {
			return nil, fmt.Errorf("ses.region %q: %w", c.SES.Region, err)
		}
		endpoint = e.URI.String()
	}
	h, err := httpapi.New(httpapi.Config{Endpoint: endpoint, Private: c.Private, RootCAs: c.RootCAs, MaxIdle: c.MaxIdle, Timeouts: c.Timeouts})
	if err != nil {
		return nil, fmt.Errorf("ses.%w", err)
	}
	t := &Transport{c: c, http: h, credentials: newCredentials(c)}
	t.api = sesv2.New(sesv2.Options{
		Region: c.SES.Region, BaseEndpoint: &endpoint,
		Retryer: aws.NopRetryer{}, // the queue tries again; what may have been taken must not go twice
	})
	return t, nil
}

// Capabilities implements upstream.Transport. SES has no SMTPUTF8.
func (t *Transport) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{MaxSize: maxSize, PerSecond: t.account.perSecond()}
}

// Close implements upstream.Transport.
func (t *Transport) Close() error { return t.http.Close() }

// Deliver implements upstream.Transport: one call for each 50 recipients.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	if o := t.fit(m); o != nil {
		return upstream.All(len(m.Recipients), t.from(*o))
	}
	d := &attempt{t: t, m: m, out: make([]upstream.Outcome, len(m.Recipients)), to: make([]string, len(m.Recipients))}
	var todo []int
	for i, a := range m.Recipients {
		s, err := carried(a)
		if err != nil {
			d.out[i] = t.from(cannot(553, "5.1.3", "%s: %v", a, err))
			continue
		}
		d.to[i] = s
		todo = append(todo, i)
	}
	if len(todo) == 0 {
		return d.out
	}
	cred, err := t.credentials.retrieve(ctx)
	if err != nil {
		d.set(todo, t.from(t.credentials.missing(ctx, err)))
		return d.out
	}
	d.cred = cred
	t.account.refresh(ctx, t, cred)
	d.batches(ctx, todo)
	return d.out
}

// from says who an outcome is from.
func (t *Transport) from(o upstream.Outcome) upstream.Outcome {
	o.Remote = cmp.Or(o.Remote, t.http.Host())
	return o
}

// attempt is one Deliver.
type attempt struct {
	t    *Transport
	m    *upstream.Message
	cred aws.Credentials
	to   []string // the recipients as SES takes them
	out  []upstream.Outcome
}

func (d *attempt) set(which []int, o upstream.Outcome) {
	for _, i := range which {
		d.out[i] = o
	}
}

// batches sends to todo. What the service or the message as such is refused for
// holds for the batches to come, of which nothing has been sent.
func (d *attempt) batches(ctx context.Context, todo []int) {
	for len(todo) > 0 {
		batch := todo[:min(maxRcpt, len(todo))]
		todo = todo[len(batch):]
		o := d.batch(ctx, batch)
		if o.Kind == upstream.Accepted || o.Scope == upstream.ScopeRecipient {
			continue
		}
		if o.Kind == upstream.Unknown {
			o.Kind = upstream.Deferred
		}
		d.set(todo, o)
		return
	}
}

// batch sends to at most 50. SES takes a call for all of its recipients or for
// none; those that it names when it refuses are taken out, and the others tried
// again. It gives the outcome of those that no refusal named.
func (d *attempt) batch(ctx context.Context, batch []int) upstream.Outcome {
	for range 8 { // SES names as many as its words have room for
		o, blamed := d.call(ctx, batch)
		var named, rest []int
		for _, i := range batch {
			if blamed.names(d.to[i]) {
				named = append(named, i)
			} else {
				rest = append(rest, i)
			}
		}
		if len(named) == 0 {
			d.set(batch, o)
			return o
		}
		d.set(named, blamed.outcome)
		if len(rest) == 0 {
			return upstream.Outcome{Scope: upstream.ScopeRecipient}
		}
		batch = rest
	}
	o := d.t.from(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "SES refuses one recipient after the other; those that it has not named wait"})
	d.set(batch, o)
	return upstream.Outcome{Scope: upstream.ScopeRecipient}
}

// blame is a refusal of some recipients.
type blame struct {
	addresses []string
	outcome   upstream.Outcome // of these
}

func (b *blame) names(address string) bool {
	return b != nil && slices.ContainsFunc(b.addresses, func(s string) bool { return strings.EqualFold(s, address) })
}
