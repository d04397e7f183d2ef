// Package mx delivers to the recipients' own mail servers (RFC 5321 5.1), or to
// named hosts in their place, and sees to it that each is the right one: by
// DANE (RFC 7672), else MTA-STS (RFC 8461), else by its certificate's name.
//
// It may import relay/upstream, upstream/smtp (its client), upstream/egress, the
// packages below it (resolver, dane, mtasts), relay/envelope and relay/plan.
package mx

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/mtasts"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
)

// Lookuper is what asks DNS: a resolver.Resolver.
type Lookuper interface {
	Lookup(ctx context.Context, name string, kind dnsmessage.Type) (resolver.Answer, error)
	Alive(ctx context.Context) error
}

// Config is what New takes.
type Config struct {
	Name        string // of the MailUpstream
	MX          plan.MX
	Private     bool   // private and loopback addresses may be connected to
	Connections int    // at most at once
	State       string // folder of the relay; policies are kept below it
	Log         *slog.Logger
	// Result hears how TLS began with each server, and which policies could not be
	// had: a policy type and a result type of RFC 8460, or "success". It may be nil.
	Result func(policy, result string)

	// What tests put in the place of port 25, the system's resolvers and the
	// system's authorities.
	Port     int
	Resolver Lookuper
	Roots    *x509.CertPool
	Timeouts smtp.Timeouts
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Result == nil {
		c.Result = func(string, string) {}
	}
	if c.Port == 0 {
		c.Port = 25
	}
	if c.Resolver == nil {
		c.Resolver = resolver.Default()
	}
	if c.Timeouts == (smtp.Timeouts{}) {
		c.Timeouts = smtp.DefaultTimeouts
	}
	c.Connections = max(1, c.Connections)
}

var _ upstream.Checker = (*Transport)(nil)

// Transport implements upstream.Transport and upstream.Checker.
type Transport struct {
	c        Config
	client   *smtp.Transport
	policies *mtasts.Cache // nil with named hosts: what a domain publishes is not about them
	slots    chan struct{} // one for each connection that may be open at once
	reach    reach
	closing  sync.Once
}

// New makes a transport. It connects when there is something to deliver.
func New(c Config) (*Transport, error) {
	c.setDefaults()
	t := &Transport{c: c, slots: make(chan struct{}, c.Connections)}
	t.client = smtp.New(smtp.Config{
		Name: c.Name, SMTP: plan.SMTP{HeloName: c.MX.HeloName}, MaxIdle: c.Connections, Timeouts: c.Timeouts, Log: c.Log,
	})
	if len(c.MX.Hosts) > 0 {
		return t, nil
	}
	var err error
	t.policies, err = mtasts.New(mtasts.Config{
		Dir: filepath.Join(c.State, "mta-sts", c.Name), TXT: t.txt, Dial: t.dialName, Roots: c.Roots, Log: c.Log.With("upstream", c.Name),
		Failed: func(result string) { c.Result(policySTS, result) },
	})
	return t, err
}

// Capabilities implements upstream.Transport: each domain has its own, so
// nothing is known.
func (t *Transport) Capabilities() upstream.Capabilities { return upstream.Capabilities{} }

// Close implements upstream.Transport.
func (t *Transport) Close() error {
	t.closing.Do(func() {
		if t.policies != nil {
			t.policies.Close()
		}
	})
	return t.client.Close()
}

// maxDomains is how many domains of one message are served at once, so that one
// whose servers drag on leaves the others three of four turns; searchTime bounds
// how long it does. Other messages do not wait for it at all.
const (
	maxDomains = 4
	searchTime = 10 * time.Minute // after which no other server of a domain is tried
)

// Deliver implements upstream.Transport. Each domain is a world of its own: what
// is wrong with one says nothing of the others.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	out := make([]upstream.Outcome, len(m.Recipients))
	var g errgroup.Group
	g.SetLimit(maxDomains)
	for _, d := range t.group(m.Recipients) {
		g.Go(func() error {
			t.deliver(ctx, d, m, out)
			return nil
		})
	}
	g.Wait() //nolint:errcheck // there is none
	return out
}

// group sorts the recipients, by index, by where they go: by domain, or all to
// the named hosts.
func (t *Transport) group(to []envelope.Address) []*destination {
	if len(t.c.MX.Hosts) > 0 {
		d := &destination{named: true, to: make([]int, len(to))}
		for i := range to {
			d.to[i] = i
		}
		return []*destination{d}
	}
	var all []*destination
	by := map[string]*destination{}
	for i, a := range to {
		key := envelope.DomainKey(a.Domain)
		d := by[key]
		if d == nil {
			d = &destination{domain: key}
			by[key] = d
			all = append(all, d)
		}
		d.to = append(d.to, i)
	}
	return all
}

// destination is where some recipients of a message go.
type destination struct {
	domain string // A-labels, lower case; or an address literal with brackets
	named  bool   // to the hosts of the upstream instead
	to     []int  // indices of the recipients
}

// maxSessions is how many servers of a domain hear of a message in one attempt.
const maxSessions = 3

// deliver offers m to the servers of d in their order, until one has taken
// responsibility for saying yes or no to each recipient.
func (t *Transport) deliver(ctx context.Context, d *destination, m *upstream.Message, out []upstream.Outcome) {
	pending := d.to
	var failures []error
	servers := t.servers(ctx, d)
	last := time.Now().Add(searchTime)
	for sessions := 0; len(pending) > 0 && sessions < maxSessions && ctx.Err() == nil && time.Now().Before(last); {
		target, err := servers.next(ctx)
		if target == nil && err == nil {
			break // there are no more
		}
		var got []upstream.Outcome
		if err == nil {
			got, err = t.offer(ctx, target, m, pending)
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		sessions++
		failures = nil
		t.reach.reached()
		var again []int
		for n, i := range pending {
			out[i] = got[n]
			if got[n].Kind == upstream.Deferred && got[n].Scope == upstream.ScopeUpstream {
				again = append(again, i) // the server's own trouble: another may have none
			}
		}
		pending = again
	}
	var none *upstream.Outcome // for those that no server has heard of
	for _, i := range d.to {
		switch {
		case out[i].Kind != 0 && !d.named:
			out[i] = ofDomain(ctx, out[i])
		case out[i].Kind == 0:
			if none == nil {
				none = new(t.failed(ctx, d, failures))
			}
			out[i] = *none
		}
	}
}

// offer gives the pending recipients to one server.
func (t *Transport) offer(ctx context.Context, target *smtp.Target, m *upstream.Message, pending []int) ([]upstream.Outcome, error) {
	part := *m
	part.Recipients = make([]envelope.Address, len(pending))
	for n, i := range pending {
		part.Recipients[n] = m.Recipients[i]
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	got, err := t.client.Offer(ctx, target, &part)
	if err != nil {
		return nil, &hostError{target.Host, err}
	}
	return got, nil
}

// reach knows whether anything can be connected to at all. Many networks let
// nobody out to port 25, and then each domain looks dead.
type reach struct {
	mu   sync.Mutex
	ever time.Time           // something answered last
	dead map[string]struct{} // domains that did not since
}

// blockedAfter is how many domains in a row cannot be connected to until that is
// no longer taken for their fault.
const blockedAfter = 3

func (r *reach) reached() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ever, r.dead = time.Now(), nil
}

// missed notes a domain none of whose servers can be connected to, and tells
// whether that is so of all.
func (r *reach) missed(domain string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead == nil {
		r.dead = map[string]struct{}{}
	}
	if len(r.dead) < blockedAfter {
		r.dead[domain] = struct{}{}
	}
	return len(r.dead) >= blockedAfter
}

func (r *reach) state() (ever, blocked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.ever.IsZero(), len(r.dead) >= blockedAfter
}

// txt gives the TXT records of a name, each joined (RFC 7208 3.3).
func (t *Transport) txt(ctx context.Context, name string) ([]string, error) {
	a, err := t.c.Resolver.Lookup(ctx, name, dnsmessage.TypeTXT)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range a.Records {
		if r, ok := b.(*dnsmessage.TXTResource); ok {
			text := ""
			for _, s := range r.TXT {
				text += s
			}
			out = append(out, text)
		}
	}
	return out, nil
}

// dialName connects to a host by name, as the upstream's rules allow.
func (t *Transport) dialName(ctx context.Context, _, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	h, err := t.addresses(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(h.addrs) == 0 {
		return nil, errors.New(name + " has no address")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	return t.dial(ctx, h.addrs, int(n))
}

// own are the addresses of this machine but for loopback, where only what
// allowPrivateHosts is meant for can be.
func own() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.IsLoopback() {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}
