// Package delivery makes one attempt: it opens a spool entry, puts the
// upstream's identity and signature on the message, hands it to the upstream's
// transport and gives back what became of each recipient.
//
// It may import relay/queue (its Attempt), preflight (its Target), spool, message,
// dkim, secrets, oauth, plan, upstream and the transports.
package delivery

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/graph"
	"github.com/printerrelay/printer-relay/relay/upstream/maildir"
	"github.com/printerrelay/printer-relay/relay/upstream/mailgun"
	"github.com/printerrelay/printer-relay/relay/upstream/mx"
	"github.com/printerrelay/printer-relay/relay/upstream/postmark"
	"github.com/printerrelay/printer-relay/relay/upstream/sendgrid"
	"github.com/printerrelay/printer-relay/relay/upstream/ses"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// Config is what New takes; all fields but Saw and TLSResult are required.
type Config struct {
	State   string // folder that relative Maildir paths are below
	Spool   *spool.Spool
	Secrets func() secrets.Source
	Log     *slog.Logger
	// Saw hears what came of each attempt that reached a transport.
	Saw func(upstream string, outs []upstream.Outcome)
	// TLSResult hears how TLS began with the servers of an upstream of type MX, by
	// policy and result type of RFC 8460, or success.
	TLSResult func(upstream, policy, result string)
	// Timeouts of sessions with upstreams of type SMTP and MX; zero: smtp.DefaultTimeouts.
	Timeouts smtp.Timeouts
}

// Delivery implements queue.Deliverer for the upstreams of one plan.
type Delivery struct {
	Config
	mu        sync.RWMutex
	plan      *plan.Plan
	upstreams map[string]*route
}

// route is one upstream with its transport.
type route struct {
	plan      *plan.Upstream
	transport upstream.Transport
	keys      *keyring
}

// New makes a Delivery without upstreams; Update gives it some.
func New(c Config) *Delivery { return &Delivery{Config: c, upstreams: map[string]*route{}} }

// Update uses the upstreams of p from now on. Transports whose settings are the
// same stay, with their connections; the others finish what they have.
func (d *Delivery) Update(p *plan.Plan) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := map[string]*route{}
	var made []upstream.Transport
	for name, u := range p.Upstreams {
		keys := &keyring{last: secrets.Last{Upstream: name, Log: d.Log}}
		if have := d.upstreams[name]; have != nil {
			keys = have.keys
			if sameWay(have.plan, u) {
				next[name] = &route{u, have.transport, keys}
				continue
			}
		}
		t, err := d.transport(p, u)
		if err != nil {
			for _, t := range made {
				t.Close() //nolint:errcheck // it was never used
			}
			return fmt.Errorf("MailUpstream %s/%s: %w", p.Namespace, name, err)
		}
		made = append(made, t)
		next[name] = &route{u, t, keys}
	}
	for name, have := range d.upstreams {
		if n := next[name]; n == nil || n.transport != have.transport {
			have.transport.Close() //nolint:errcheck // drops idle connections
		}
	}
	d.plan, d.upstreams = p, next
	return nil
}

// sameWay tells whether two plans of an upstream can share a transport: what
// differs is only what delivery and the queue do themselves.
func sameWay(a, b *plan.Upstream) bool { return reflect.DeepEqual(stripped(a), stripped(b)) }

// stripped is an upstream without what delivery and the queue do themselves. Some
// transports want to know the sender domain.
func stripped(u *plan.Upstream) plan.Upstream {
	way := *u
	way.Header, way.Reserved, way.DKIM, way.DNS, way.PerMinute, way.MessageSize, way.Sharers, way.Suspend = nil, nil, nil, nil, 0, 0, 0, false
	if way.Sender = nil; u.SES != nil || u.SendGrid != nil || u.Postmark != nil {
		way.Sender = &plan.Sender{Domain: senderDomain(u)}
	}
	return way
}

// senderDomain is the domain that an upstream's mail leaves from; empty: it has
// none of its own.
func senderDomain(u *plan.Upstream) string {
	if u.Sender == nil {
		return ""
	}
	return u.Sender.Domain
}

func (d *Delivery) transport(p *plan.Plan, u *plan.Upstream) (upstream.Transport, error) {
	switch {
	case u.SMTP != nil:
		return d.smtp(u)
	case u.MX != nil:
		c := mx.Config{Name: u.Name, MX: *u.MX, Private: u.Private, Connections: u.Connections, State: d.State, Log: d.Log, Timeouts: d.Timeouts}
		if d.TLSResult != nil {
			c.Result = func(policy, result string) { d.TLSResult(u.Name, policy, result) }
		}
		return mx.New(c)
	case u.SendGrid != nil:
		return sendgrid.New(d.translated(u, u.SendGrid.Endpoint, u.SendGrid.Secret))
	case u.Mailgun != nil:
		return mailgun.New(mailgun.Config{Mailgun: *u.Mailgun, Secrets: d.Secrets, Private: u.Private, MaxIdle: u.Connections})
	case u.Postmark != nil:
		return postmark.New(d.translated(u, u.Postmark.Endpoint, u.Postmark.Secret), u.Postmark.Stream)
	case u.SES != nil:
		return ses.New(ses.Config{Name: u.Name, Log: d.Log, SES: *u.SES, Domain: senderDomain(u), Private: u.Private, MaxIdle: u.Connections, Secrets: d.Secrets})
	case u.Graph != nil:
		tokens, err := d.tokens(u, &u.Graph.OAuth)
		if err != nil {
			return nil, err
		}
		return graph.New(graph.Config{Graph: *u.Graph, Private: u.Private, MaxIdle: u.Connections, Tokens: tokens, Log: d.Log})
	case u.Maildir != nil:
		dir := u.Maildir.Path
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(d.State, dir)
		}
		return maildir.New(dir, p.Hostname)
	}
	return nil, fmt.Errorf("type %s is not supported in this build", u.Type)
}

func (d *Delivery) translated(u *plan.Upstream, endpoint, secret string) translated.Config {
	return translated.Config{Endpoint: endpoint, Secret: secret, Secrets: d.Secrets, Private: u.Private, MaxIdle: u.Connections, Domain: senderDomain(u)}
}

// smtp makes the transport to a smarthost, with a source of tokens where it logs in
// by OAuth.
func (d *Delivery) smtp(u *plan.Upstream) (upstream.Transport, error) {
	c := smtp.Config{Name: u.Name, SMTP: *u.SMTP, Private: u.Private, MaxIdle: u.Connections, Secrets: d.Secrets, Log: d.Log, Timeouts: d.Timeouts}
	if a := u.SMTP.Auth; a != nil && a.OAuth != nil {
		tokens, err := d.tokens(u, a.OAuth)
		if err != nil {
			return nil, err
		}
		c.Tokens = tokens
	}
	return smtp.New(c), nil
}

func (d *Delivery) tokens(u *plan.Upstream, o *plan.OAuth) (*oauth.Source, error) {
	return oauth.New(oauth.Config{Name: u.Name, OAuth: *o, Private: u.Private, Secrets: d.Secrets, Log: d.Log})
}

// Close drops all idle connections.
func (d *Delivery) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.upstreams {
		r.transport.Close() //nolint:errcheck // drops idle connections
	}
}

func (d *Delivery) route(name string) *route {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.upstreams[name]
}

// bounceFrom is who notifications are from.
func (d *Delivery) bounceFrom() envelope.Address {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.plan == nil {
		return envelope.Address{}
	}
	return d.plan.Delivery.Bounce.From
}

// Capabilities tells what an upstream is known to carry: what its limits say,
// or what it told itself where that is less.
func (d *Delivery) Capabilities(name string) upstream.Capabilities {
	r := d.route(name)
	if r == nil {
		return upstream.Capabilities{}
	}
	c := r.transport.Capabilities()
	if m := r.plan.MessageSize; m > 0 && (c.MaxSize == 0 || m < c.MaxSize) {
		c.MaxSize = m
	}
	return c
}

// CarriesUTF8 tells whether every upstream is known to carry SMTPUTF8.
func (d *Delivery) CarriesUTF8() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, r := range d.upstreams {
		if !r.transport.Capabilities().UTF8 {
			return false
		}
	}
	return len(d.upstreams) > 0
}

// Deliver implements queue.Deliverer.
func (d *Delivery) Deliver(ctx context.Context, a queue.Attempt) []upstream.Outcome {
	r := d.route(a.Upstream)
	if r == nil {
		return upstream.All(len(a.Recipients), upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "the upstream is not in the configuration"})
	}
	m, err := d.prepare(ctx, r, a, asItIs)
	if err != nil {
		return upstream.All(len(a.Recipients), d.unprepared(ctx, a, err))
	}
	out := d.encoded(ctx, r, a, r.transport.Deliver(ctx, m))
	if d.Saw != nil {
		d.Saw(a.Upstream, out)
	}
	for _, o := range out {
		if errors.Is(o.Cause, spool.ErrCorrupt) {
			return upstream.All(len(a.Recipients), d.unreadable(a, o.Cause))
		}
	}
	return out
}

// unprepared is the outcome for a message of which no attempt was made.
func (d *Delivery) unprepared(ctx context.Context, a queue.Attempt, err error) upstream.Outcome {
	var key *keyError
	switch {
	case errors.As(err, &key):
		// It waits, or goes by another upstream; it never leaves unsigned.
		return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: err.Error(), Cause: err}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "stopped while it was under way", Cause: err}
	}
	return d.unreadable(a, err)
}

// unreadable is the outcome for a message that the spool does not give back.
// Nothing of it was sent; what is corrupt will not get better.
func (d *Delivery) unreadable(a queue.Attempt, err error) upstream.Outcome {
	d.Log.Error("stored message cannot be read", "id", a.Message.ID, "cause", err)
	if errors.Is(err, errNeverFits) || errors.Is(err, errNoIdentity) {
		return upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: 550, Enhanced: "5.7.1", Text: err.Error(), Cause: err}
	}
	// The queue holds a message whose cause is ErrCorrupt, for a person to look at.
	return upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "the stored message cannot be read", Cause: err, RetryIn: time.Minute}
}

var errNeverFits = errors.New("a sender (MAIL FROM, From or Sender) is not in the upstream's domain, and sender.rewrite is Never")

// errNoIdentity is where a sender that the rule does not allow would leave as it is.
var errNoIdentity = errors.New("its rule wants the sender rewritten (senders.otherwise: Rewrite), and the upstream has no sender.domain to rewrite to")

// prepare makes the message as it leaves: the spool's own where nothing has to
// be rewritten or signed, else a new header before the same body.
func (d *Delivery) prepare(ctx context.Context, r *route, a queue.Attempt, f form) (*upstream.Message, error) {
	q := a.Message
	m := &upstream.Message{
		ID: q.ID, Sender: q.Sender, Recipients: a.Recipients, Size: q.Size, EightBit: q.EightBit, UTF8: q.UTF8, MaxLine: q.MaxLine,
		Open: func() (io.ReadCloser, error) { return d.Spool.Body(q.ID) },
	}
	ours := q.DSNOf != "" // the relay's own leaves as it is
	if ours && m.Sender.IsNull() && r.plan.SMTP != nil && r.plan.Type != "SMTP" {
		m.Sender = d.bounceFrom() // a provider wants to know who sends, by SMTP too
	}
	if !ours && r.plan.Sender == nil && q.ForceIdentity {
		return nil, errNoIdentity
	}
	rewrite := !ours && r.plan.Sender != nil
	if !rewrite && r.plan.DKIM == nil && len(r.plan.Header)+len(r.plan.Reserved) == 0 && f == asItIs {
		return m, nil
	}
	signer, err := d.signer(r)
	if err != nil {
		return nil, err
	}
	old, err := d.header(q)
	if err != nil {
		return nil, err
	}
	h := message.ParseHeader(old)
	if rewrite {
		id := identity(r.plan.Sender, q)
		if !id.Fits(h, q.Sender) {
			return nil, errNeverFits
		}
		m.Sender = id.Rewrite(h, q.Sender)
	}
	removeReserved(h, r.plan.Reserved)
	body, err := d.body(q, h, f)
	if err != nil {
		return nil, err
	}
	var head []byte
	for _, f := range r.plan.Header { // the upstream's word counts, not the device's
		h.Remove(f.Name)
		head = append(head, f.Name+": "+f.Value+"\r\n"...)
	}
	if signer != nil {
		signature, err := d.sign(ctx, signer, body, h)
		if err != nil {
			return nil, err
		}
		head = append(head, signature...)
	}
	head = append(h.Append(head), '\r', '\n')
	m.Size += int64(len(head)) - q.HeaderSize
	if f == encoded {
		if err := measure(ctx, m, head, body); err != nil {
			return nil, err
		}
	}
	m.UTF8 = m.UTF8 && !ascii(head, m)
	m.Open = func() (io.ReadCloser, error) { return body(head) }
	return m, nil
}

// removeReserved drops the fields by which a device would give a provider orders.
func removeReserved(h *message.Header, names []string) {
	h.Fields = slices.DeleteFunc(h.Fields, func(f message.Field) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return f.Is(name) || strings.HasSuffix(name, "-") && len(f.Name) > len(name) && strings.EqualFold(f.Name[:len(name)], name)
		})
	})
}

// ascii tells whether the rewrite left nothing that needs SMTPUTF8.
func ascii(head []byte, m *upstream.Message) bool {
	for _, c := range head {
		if c >= 0x80 {
			return false
		}
	}
	for _, a := range append([]envelope.Address{m.Sender}, m.Recipients...) {
		if !a.ASCII() {
			return false
		}
	}
	return true
}

// identity joins the upstream's sender with what the rule says.
func identity(s *plan.Sender, q *queue.Message) message.Identity {
	id := message.Identity{
		Domain: s.Domain, LocalPart: cmp.Or(q.Identity.LocalPart, s.LocalPart), DisplayName: cmp.Or(q.Identity.DisplayName, s.DisplayName),
		Device: device(&q.Client), ReplyTo: s.ReplyTo && q.ReplyToAllowed,
		Always: s.Rewrite == "Always" || q.ForceIdentity || q.Identity.LocalPart != "" || q.Identity.DisplayName != "", Never: s.Rewrite == "Never" && !q.ForceIdentity,
	}
	if id.Never {
		id.Always = false
	}
	return id
}

// device is what a recipient may be told of who sent a message: its login or its
// name, and its address where that is no secret.
func device(c *queue.Client) string {
	helo, address := c.HELO, c.Addr.String()
	if c.Redacted {
		address = "a device"
		if envelope.IsAddress(helo) {
			helo = ""
		}
	}
	return cmp.Or(c.User, helo, address)
}

// header reads the stored header without the empty line. Its size is bounded
// at intake.
func (d *Delivery) header(q *queue.Message) ([]byte, error) {
	r, err := d.Spool.Body(q.ID)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read-only
	b := make([]byte, q.HeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b, []byte("\r\n")), nil
}

// open gives the new header and the stored body. The stored header is read
// too: the checksum is over all of it.
func (d *Delivery) open(q *queue.Message, head []byte) (io.ReadCloser, error) {
	r, err := d.Spool.Body(q.ID)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, q.HeaderSize); err != nil {
		r.Close() //nolint:errcheck // read-only
		return nil, err
	}
	return before(head, r, r), nil
}

// before puts head before a body; c is closed with it.
func before(head []byte, body io.Reader, c io.Closer) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), body), c}
}
