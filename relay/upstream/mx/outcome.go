package mx

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
)

const (
	maxTold = 3   // servers that an outcome tells of
	maxText = 512 // octets
)

// ofDomain is what a domain's own server said, as it is of the recipients there
// and not of the upstream: a server that fails, or will not have us, stops no
// other domain's mail. Where it refused us for good, another upstream may be let
// in; without one the message fails, as there is nobody to correct it.
func ofDomain(ctx context.Context, o upstream.Outcome) upstream.Outcome {
	if o.Kind == upstream.Accepted || o.Scope != upstream.ScopeUpstream || errors.Is(ctx.Err(), context.Canceled) {
		return o // what the relay's end cut short is as if it had not been tried
	}
	o.Scope = upstream.ScopeRecipient
	if o.Kind == upstream.Failed {
		o.Scope = upstream.ScopeMessage
	}
	return o
}

// failed is the outcome where no server could be offered the message.
func (t *Transport) failed(ctx context.Context, d *destination, failures []error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Remote: cmp.Or(d.domain, t.c.Name), Cause: errors.Join(failures...)}
	if d.named {
		o.Scope = upstream.ScopeUpstream
	}
	if ctx.Err() != nil || len(failures) == 0 {
		o.Text, o.Cause = "stopped while it was under way", ctx.Err()
		if errors.Is(ctx.Err(), context.Canceled) {
			o.Scope = upstream.ScopeUpstream
		}
		return o
	}
	last := failures[len(failures)-1]
	var he *hostError
	if errors.As(last, &he) {
		o.Remote = he.host
	}
	o.Text = told(failures)
	if r := final(failures); r != nil && !d.named {
		o.Kind, o.Code, o.Enhanced = upstream.Failed, r.code, r.enhanced
		o.Text = cmp.Or(r.text, o.Text)
		return o
	}
	t.classify(ctx, d, failures, &o)
	return o
}

// final gives what makes a domain one that mail cannot go to at all; nil: it may
// be otherwise later.
func final(failures []error) *refusal {
	loop := false
	for _, err := range failures {
		var r *refusal
		switch {
		case errors.As(err, &r):
			return r
		case errors.Is(err, errLoop):
			loop = true
		case !errors.Is(err, errNoAddress):
			return nil
		}
	}
	if loop {
		return &refusal{554, "5.4.6", ""}
	}
	return &refusal{550, "5.4.4", ""}
}

// classify says what kind of trouble the last failure is, and whether it is the
// domain's or our own.
func (t *Transport) classify(ctx context.Context, d *destination, failures []error, o *upstream.Outcome) {
	last := failures[len(failures)-1]
	var lookup *resolver.Error
	var dial *dialError
	var bad *egress.AddressError
	var tlse *tlsError
	var hs *smtp.HandshakeError
	r, _, refused := smtp.Refusal(last)
	switch {
	case refused:
		o.Code, o.Enhanced = r.Code, r.Enhanced
	case errors.As(last, &hs), errors.As(last, &tlse), errors.Is(last, smtp.ErrNoSTARTTLS):
		o.Enhanced = "4.7.5"
	case errors.As(last, &lookup):
		o.Enhanced = "4.4.3"
		if lookup.Silent {
			if err := t.c.Resolver.Alive(ctx); err != nil {
				o.Scope = upstream.ScopeUpstream
				o.Text += ": see that the resolvers of /etc/resolv.conf can be reached"
			}
		}
	case errors.As(last, &bad):
		o.Enhanced = "4.4.4"
	case errors.As(last, &dial):
		o.Enhanced = "4.4.1"
		if dial.local {
			o.Scope = upstream.ScopeUpstream
		} else if allDial(failures) && t.reach.missed(d.domain) {
			o.Scope = upstream.ScopeUpstream
			o.Text += blocked
		}
	}
	o.Text = reply.Line(o.Text, maxText)
}

const blocked = " (no domain's server can be connected to: see that the network lets this relay out to port 25)"

func allDial(failures []error) bool {
	return !slices.ContainsFunc(failures, func(err error) bool {
		var dial *dialError
		return !errors.As(err, &dial)
	})
}

// told joins what the servers failed by.
func told(failures []error) string {
	var texts []string
	for _, err := range failures {
		if s := words(err); !slices.Contains(texts, s) && len(texts) < maxTold {
			texts = append(texts, s)
		}
	}
	return reply.Line(strings.Join(texts, "; "), maxText)
}

// words are an error as a person reads it; the client's own speak of settings
// that this type does not have.
func words(err error) string {
	var he *hostError
	var hs *smtp.HandshakeError
	var unknown x509.UnknownAuthorityError
	host := ""
	if errors.As(err, &he) {
		host, err = he.host+": ", he.err
	}
	if r, step, ok := smtp.Refusal(err); ok {
		return fmt.Sprintf("%s%s: %s", host, step, r.Text)
	}
	switch {
	case errors.As(err, &hs) && errors.As(hs.Err, &unknown):
		return host + "TLS: its certificate is from an authority that is not trusted, and nothing goes to a server that may be another"
	case errors.As(err, &hs):
		return host + "TLS: " + hs.Err.Error()
	case errors.Is(err, smtp.ErrNoSTARTTLS):
		return host + "it does not offer STARTTLS, and nothing is sent in clear: something in between may remove it"
	}
	return host + err.Error()
}

// checkTime bounds Check.
const checkTime = time.Minute

// Check implements upstream.Checker. Of named hosts it says whether one can be
// met; without them, what is known of the resolver and of the way out, since
// there is nobody to ask.
func (t *Transport) Check(ctx context.Context) upstream.Health {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if len(t.c.MX.Hosts) > 0 {
		return t.checkHosts(ctx)
	}
	if err := t.c.Resolver.Alive(ctx); err != nil {
		return upstream.Health{Reachable: upstream.Bad, Text: reply.Line(err.Error()+": see that the resolvers of /etc/resolv.conf can be reached", maxText)}
	}
	switch ever, dead := t.reach.state(); {
	case dead:
		return upstream.Health{Reachable: upstream.Bad, Text: strings.Trim(blocked, " ()")}
	case ever:
		return upstream.Health{Reachable: upstream.Good, Text: "mail servers of recipients have been reached"}
	}
	return upstream.Health{Text: "the resolver answers; whether the network lets this relay out to port 25 shows with the first message"}
}

func (t *Transport) checkHosts(ctx context.Context) upstream.Health {
	var failures []error
	s := t.servers(ctx, &destination{named: true})
	for {
		target, err := s.next(ctx)
		if target == nil && err == nil {
			return upstream.Health{Reachable: upstream.Bad, Text: told(failures)}
		}
		if err == nil {
			if err = t.client.Probe(ctx, target); err == nil {
				return upstream.Health{Reachable: upstream.Good, Text: target.Host + " answers, with the TLS that it needs"}
			}
			err = &hostError{target.Host, err}
		}
		failures = append(failures, err)
	}
}
