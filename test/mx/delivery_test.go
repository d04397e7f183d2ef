package mx

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/mx"
	"github.com/printerrelay/printer-relay/test/postfix"
)

const (
	verified      = true
	opportunistic = false
)

// out is a transport under test with the results that it counted.
type out struct {
	*mx.Transport
	mu      sync.Mutex
	results []string
}

func (o *out) counted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.results)
}

// open makes a transport as a relay does.
func open(t *testing.T, security bool, state string, hosts ...string) *out {
	t.Helper()
	o := &out{}
	tr, err := mx.New(mx.Config{
		Name: "direct", MX: plan.MX{Verified: security, Hosts: hosts, HeloName: "relay.example"}, Connections: 4, State: state,
		Result: func(policy, result string) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.results = append(o.results, policy+" "+result)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Transport = tr
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// send offers a scan and gives an outcome for each recipient: "Accepted", or
// kind, scope and enhanced code.
func (o *out) send(t *testing.T, to ...string) ([]string, []upstream.Outcome) {
	t.Helper()
	const text = "From: <mfp@copier.example>\r\nSubject: scan\r\n\r\nhello\r\n"
	m := &upstream.Message{ID: "Q1", Sender: envelope.Address{Local: "mfp", Domain: "copier.example"}, Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
	for _, s := range to {
		a, err := envelope.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Recipients = append(m.Recipients, a)
	}
	outcomes := o.Deliver(t.Context(), m)
	var brief []string
	for _, o := range outcomes {
		s := o.Kind.String()
		if o.Kind != upstream.Accepted {
			s = fmt.Sprintf("%s/%s %s", o.Kind, o.Scope, o.Enhanced)
		}
		brief = append(brief, s)
	}
	return brief, outcomes
}

func TestDirectDelivery(t *testing.T) {
	w := newWorld(t)
	t.Run("Domains", func(t *testing.T) { domains(t, w) })
	t.Run("Independent", func(t *testing.T) { independent(t, w) })
	t.Run("NamedHosts", func(t *testing.T) { namedHosts(t, w) })
	t.Run("Policies", func(t *testing.T) { policies(t, w) })
	t.Run("PolicyKept", func(t *testing.T) { policyKept(t, w) })
	t.Run("PolicyChanges", func(t *testing.T) { policyChanges(t, w) })
	t.Run("Resolver", func(t *testing.T) { resolvers(t) })
	t.Run("Relay", func(t *testing.T) { throughARelay(t, w) })
	t.Run("NoWayOut", func(t *testing.T) { noWayOut(t) })
	t.Run("NoResolver", func(t *testing.T) { noResolver(t, w) })
}

// Each domain shows one thing. at is the server that has the mail afterwards; nil:
// none has.
func domains(t *testing.T, w *world) {
	const held = "Deferred/Recipient 4.7.5"
	for _, c := range []struct {
		to       string
		security bool
		want     string
		at       *postfix.Server
		counted  string // the last result
	}{
		// DANE.
		{"it@ee.signed.test", verified, "Accepted", w.stranger, "tlsa success"},
		{"it@ee512.signed.test", verified, "Accepted", w.stranger, "tlsa success"}, // the stronger digest counts alone
		{"it@full.signed.test", verified, "Accepted", w.stranger, "tlsa success"},
		{"it@ta.signed.test", verified, "Accepted", w.stranger, "tlsa success"},
		{"it@taname.signed.test", verified, held, nil, "tlsa certificate-host-mismatch"},
		{"it@wrong.signed.test", verified, held, nil, "tlsa validation-failure"}, // its authority would do without DANE
		{"it2@wrong.signed.test", opportunistic, held, nil, "tlsa validation-failure"},
		{"it@second.signed.test", verified, "Accepted", w.stranger, "tlsa success"},
		{"it@unusable.signed.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@unclear.signed.test", opportunistic, held, nil, "no-policy-found starttls-not-supported"}, // RFC 7672 2.2: TLS all the same
		{"it@bogus.signed.test", verified, held, nil, "tlsa dnssec-invalid"},
		{"it2@bogus.signed.test", opportunistic, held, nil, "tlsa dnssec-invalid"},
		{"it@bogus.test", verified, "Deferred/Recipient 4.4.3", nil, ""},
		{"it@alias.signed.test", verified, held, nil, "tlsa validation-failure"}, // the records at the alias's end count
		{"it@insecure.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},

		// WebPKI on the MX's name.
		{"it@webpki.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@alias.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@untrusted.plain.test", verified, held, nil, "no-policy-found certificate-not-trusted"},
		{"it2@untrusted.plain.test", opportunistic, "Accepted", w.stranger, "no-policy-found certificate-not-trusted"},
		{"it@stripped.plain.test", verified, held, nil, "no-policy-found starttls-not-supported"},
		{"it2@stripped.plain.test", opportunistic, "Accepted", w.clear, "no-policy-found starttls-not-supported"},

		// Where mail goes.
		{"it@order.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@six.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@fallback.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@bücher.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@[" + trustedMX + "]", verified, "Accepted", nil, "no-policy-found success"},
		{"it@before.plain.test", verified, "Accepted", w.trusted, "no-policy-found success"},
		{"it@null.plain.test", verified, "Failed/Recipient 5.1.10", nil, ""},
		{"it@nothere.plain.test", verified, "Failed/Recipient 5.1.2", nil, ""},
		{"it@nowhere.plain.test", verified, "Failed/Recipient 5.4.4", nil, ""},
		{"it@lost.plain.test", verified, "Failed/Recipient 5.4.4", nil, ""},
		{"it@loop.plain.test", verified, "Failed/Recipient 5.4.6", nil, ""},
		{"it@selfname.plain.test", verified, "Failed/Recipient 5.4.6", nil, ""},
		{"it@dead.plain.test", verified, "Deferred/Recipient 4.4.1", nil, ""},
		{"it@inside.plain.test", verified, "Deferred/Recipient 4.4.4", nil, ""},
		{"it2@inside.plain.test", opportunistic, "Deferred/Recipient 4.4.4", nil, ""},
	} {
		t.Run(c.to, func(t *testing.T) {
			o := open(t, c.security, t.TempDir())
			got, outcomes := o.send(t, c.to)
			if got[0] != c.want {
				t.Errorf("%s (%s), want %s", got[0], outcomes[0].Text, c.want)
			}
			counted := append([]string{""}, o.counted()...)
			if last := counted[len(counted)-1]; last != c.counted {
				t.Errorf("counted %q, want %q", last, c.counted)
			}
			to := strings.Replace(c.to, "bücher", "xn--bcher-kva", 1)
			if c.at != nil && got[0] == "Accepted" {
				c.at.MailFor(t, to)
			}
			if n := w.mails(t, to); c.at == nil && n != 0 {
				t.Errorf("%d mails arrived", n)
			}
		})
	}
}

// What one domain's servers do is no matter of another's recipients.
func independent(t *testing.T, w *world) {
	o := open(t, verified, t.TempDir())
	to := []string{
		"a@ee.signed.test", "a@dead.plain.test", "a@webpki.plain.test", "a@null.plain.test", "a@wrong.signed.test", "a@bogus.test", "b@webpki.plain.test",
		"a@silent", // its name server never answers
	}
	got, _ := o.send(t, to...)
	want := []string{
		"Accepted", "Deferred/Recipient 4.4.1", "Accepted", "Failed/Recipient 5.1.10", "Deferred/Recipient 4.7.5", "Deferred/Recipient 4.4.3", "Accepted",
		"Deferred/Recipient 4.4.3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, a := range []string{"a@webpki.plain.test", "b@webpki.plain.test"} {
		w.trusted.MailFor(t, a)
	}
	if h := o.Check(t.Context()); h.Reachable != upstream.Good {
		t.Errorf("health %+v", h)
	}
}

// Named hosts are met as an MX of that name would be, and what is wrong with them
// is the upstream's trouble.
func namedHosts(t *testing.T, w *world) {
	for i, c := range []struct {
		hosts  []string
		want   string
		at     *postfix.Server
		health upstream.Verdict
	}{
		{[]string{"mx-dead.plain.test", "mx-trusted.plain.test"}, "Accepted", w.trusted, upstream.Good},
		{[]string{"mx-private.signed.test"}, "Accepted", w.stranger, upstream.Good}, // DANE
		{[]string{"mx-wrong.signed.test"}, "Deferred/Upstream 4.7.5", nil, upstream.Bad},
		{[]string{"mx-wrong.signed.test", "mx-trusted.plain.test"}, "Accepted", w.trusted, upstream.Good},
		{[]string{"mx-clear.plain.test"}, "Deferred/Upstream 4.7.5", nil, upstream.Bad},
		{[]string{"mx-dead.plain.test"}, "Deferred/Upstream 4.4.1", nil, upstream.Bad},
		{[]string{"nothere.plain.test"}, "Deferred/Upstream", nil, upstream.Bad},
	} {
		o := open(t, verified, t.TempDir(), c.hosts...)
		to := []string{fmt.Sprintf("a%d@anything.example", i), fmt.Sprintf("b%d@elsewhere.example", i)}
		got, outcomes := o.send(t, to...)
		if strings.TrimSpace(got[0]) != c.want || strings.TrimSpace(got[1]) != c.want {
			t.Errorf("%v: %q (%s), want %s", c.hosts, got, outcomes[0].Text, c.want)
		}
		for _, a := range to {
			if c.at != nil && got[0] == "Accepted" {
				c.at.MailFor(t, a)
			} else if n := w.mails(t, a); n != 0 {
				t.Errorf("%v: %d mails arrived", c.hosts, n)
			}
		}
		if h := o.Check(t.Context()); h.Reachable != c.health || h.Text == "" {
			t.Errorf("%v: health %+v", c.hosts, h)
		}
	}
}

// Where nobody can be reached, it is not the domains' fault.
func noWayOut(t *testing.T) {
	o := open(t, verified, t.TempDir())
	if h := o.Check(t.Context()); h.Reachable != upstream.Untold {
		t.Errorf("health before anything was tried: %+v", h)
	}
	for i, want := range []string{"Deferred/Recipient 4.4.1", "Deferred/Recipient 4.4.1", "Deferred/Recipient 4.4.1", "Deferred/Upstream 4.4.1"} {
		domain := []string{"dead", "dead", "dead2", "dead3"}[i]
		if got, outcomes := o.send(t, "x@"+domain+".plain.test"); got[0] != want {
			t.Errorf("%s: %s (%s), want %s", domain, got[0], outcomes[0].Text, want)
		}
	}
	if h := o.Check(t.Context()); h.Reachable != upstream.Bad {
		t.Errorf("health: %+v", h)
	}
	if got, _ := o.send(t, "back@webpki.plain.test"); got[0] != "Accepted" {
		t.Errorf("%s", got[0])
	}
	if got, _ := o.send(t, "x@dead.plain.test"); got[0] != "Deferred/Recipient 4.4.1" {
		t.Errorf("after one that could be reached: %s", got[0])
	}
}

// Without a resolver nothing is known of any domain.
func noResolver(t *testing.T, w *world) {
	w.unbound.Stop()
	o := open(t, verified, t.TempDir())
	if got, outcomes := o.send(t, "x@webpki.plain.test"); got[0] != "Deferred/Upstream 4.4.3" {
		t.Errorf("%s (%s)", got[0], outcomes[0].Text)
	}
	if h := o.Check(t.Context()); h.Reachable != upstream.Bad {
		t.Errorf("health: %+v", h)
	}
	w.resolver(t)
	if got, outcomes := o.send(t, "again@webpki.plain.test"); got[0] != "Accepted" {
		t.Errorf("%s (%s)", got[0], outcomes[0].Text)
	}
}
