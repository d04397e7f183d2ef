package mx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/smtpfake"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/test/env"
)

// greeter is a server at an address of loopback, at the port of another, that
// says one thing and hangs up.
func greeter(t *testing.T, address string, port int, words string) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, words) //nolint:errcheck // the client may be gone
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// direct is a transport to the zone's domains, whose good server is s.
func direct(t *testing.T, s *smtpfake.Server, z *zone, change ...func(*Config)) *Transport {
	t.Helper()
	c := Config{MX: plan.MX{Verified: true, HeloName: "relay.test"}, Private: true, Connections: 4, Port: s.Port, Roots: s.Authority.Pool(), Resolver: z}
	for _, do := range change {
		do(&c)
	}
	return start(t, c)
}

// What a server does before it hears of the message sends the message to the
// next one; a 5xx greeting too, since it speaks of the server.
func TestTheNextServer(t *testing.T) {
	s := startServer(t, conformance.None)
	greeter(t, "127.0.0.2", s.Port, "421 4.3.2 busy\r\n")
	greeter(t, "127.0.0.3", s.Port, "554 5.7.1 not you\r\n")
	greeter(t, "127.0.0.4", s.Port, "")
	greeter(t, "127.0.0.5", s.Port, "220 hello\r\n221 bye\r\n")
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	for i, name := range []string{"busy.test", "closed.test", "mute.test", "odd.test"} {
		z.host(name, fmt.Sprintf("127.0.0.%d", i+2))
		z.mx(name, name, "mx.test")
		z.mx("only."+name, name)
	}
	z.host("refused.test", "127.0.0.9")
	z.mx("refused.test", "refused.test", "mx.test")
	z.host("other.test", "127.0.0.1") // another name than its certificate has
	z.mx("other.test", "other.test", "mx.test")
	z.fail("bogus.test", dnsmessage.TypeA, &resolver.Error{Name: "bogus.test"})
	z.fail("bogus.test", dnsmessage.TypeAAAA, &resolver.Error{Name: "bogus.test"})
	z.mx("bogus.test", "bogus.test", "gone.test", "mx.test")
	z.host("both.test", "127.0.0.9", "127.0.0.1") // the second address answers
	z.mx("all.test", "busy.test", "closed.test", "mute.test", "odd.test", "refused.test", "mx.test")
	z.mx("many.test", "busy.test", "busy.test", "busy.test", "busy.test", "busy.test", "busy.test", "busy.test", "busy.test", "mx.test") // beyond the bound
	tr := direct(t, s, z)
	for domain, want := range map[string]string{
		"busy.test": "Accepted", "closed.test": "Accepted", "mute.test": "Accepted", "odd.test": "Accepted", "refused.test": "Accepted",
		"other.test": "Accepted", "bogus.test": "Accepted", "all.test": "Accepted",
		"only.busy.test": "Deferred/Recipient 4.3.2", "only.closed.test": "Deferred/Recipient 5.7.1", "only.mute.test": "Deferred/Recipient",
		"both.test": "Deferred/Recipient 4.7.5", "many.test": "Deferred/Recipient 4.3.2",
	} {
		if o := tr.Deliver(t.Context(), message(t, "a@"+domain))[0]; brief(o) != want {
			t.Errorf("%s: %s (%s), want %s", domain, brief(o), o.Text, want)
		}
	}
}

// A server with trouble of its own is not the last that is asked.
func TestTroubleOfAServer(t *testing.T) {
	busy := startServer(t, conformance.Throttles)
	good := smtpfake.Start(t, conformance.None, smtpfake.Options{Address: fmt.Sprintf("127.0.0.2:%d", busy.Port), Authority: busy.Authority})
	z := &zone{}
	z.host("busy.test", "127.0.0.1")
	z.host("good.test", "127.0.0.2")
	z.mx("corp.test", "busy.test", "good.test")
	z.mx("alone.test", "busy.test")
	tr := direct(t, busy, z, func(c *Config) { c.MX.Verified = false })
	for domain, want := range map[string]string{"corp.test": "Accepted", "alone.test": "Deferred/Recipient 4.3.2"} {
		if o := tr.Deliver(t.Context(), message(t, "a@"+domain))[0]; brief(o) != want {
			t.Errorf("%s: %s (%s), want %s", domain, brief(o), o.Text, want)
		}
	}
	if n := len(good.Received(t)); n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
}

// One connection serves the next message to the same server, and no other server.
func TestConnectionsAreUsedAgain(t *testing.T) {
	s := startServer(t, conformance.None)
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	z.mx("one.test", "mx.test")
	z.mx("two.test", "mx.test")
	tr := direct(t, s, z)
	for _, to := range []string{"a@one.test", "b@one.test", "c@two.test"} {
		if o := tr.Deliver(t.Context(), message(t, to))[0]; brief(o) != "Accepted" {
			t.Fatalf("%s: %s", to, o)
		}
	}
	if s.Sessions() != 2 { // go-smtp makes another after STARTTLS
		t.Errorf("%d sessions, want 2", s.Sessions())
	}
}

// Servers of one preference are tried in any order, others in theirs.
func TestPreference(t *testing.T) {
	z := &zone{}
	a := resolver.Answer{}
	for i := range 6 {
		a.Records = append(a.Records, &dnsmessage.MXResource{Pref: uint16(30 - i/2*10), MX: dnsmessage.MustNewName(fmt.Sprintf("MX%d.test.", i))})
	}
	a.Records = append(a.Records, &dnsmessage.MXResource{Pref: 0, MX: dnsmessage.MustNewName(".")}) // beside others it says nothing
	z.set("corp.test", dnsmessage.TypeMX, a)
	tr := start(t, Config{MX: plan.MX{HeloName: "relay.test"}, Resolver: z})
	seen := map[string]bool{}
	for range 200 {
		var order []string
		for _, c := range tr.servers(t.Context(), &destination{domain: "corp.test"}).list {
			order = append(order, c.name)
		}
		for i, pair := range [][]string{{"mx4.test", "mx5.test"}, {"mx2.test", "mx3.test"}, {"mx0.test", "mx1.test"}} {
			if got := slices.Sorted(slices.Values(order[2*i : 2*i+2])); !slices.Equal(got, pair) {
				t.Fatalf("%v", order)
			}
		}
		seen[strings.Join(order, " ")] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d orders, want 8", len(seen))
	}
}

// From the first server that is this relay on, mail would come back.
func TestLoop(t *testing.T) {
	s := startServer(t, conformance.None)
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	z.mx("behind.test", "relay.test", "mx.test")
	z.mx("before.test", "mx.test", "Relay.Test")
	tr := direct(t, s, z)
	for domain, want := range map[string]string{"behind.test": "Failed/Recipient 5.4.6", "before.test": "Accepted"} {
		if o := tr.Deliver(t.Context(), message(t, "a@"+domain))[0]; brief(o) != want {
			t.Errorf("%s: %s (%s), want %s", domain, brief(o), o.Text, want)
		}
	}
	if slices.Contains(own(), netip.MustParseAddr("127.0.0.1")) {
		t.Error("loopback counts as an address of this machine")
	}
}

func TestLiteral(t *testing.T) {
	s := startServer(t, conformance.None)
	tr := direct(t, s, &zone{}, func(c *Config) { c.MX.Verified = false })
	for to, want := range map[string]string{
		"[127.0.0.1]": "Accepted", "[IPv6:::ffff:127.0.0.1]": "Accepted",
		"[x]": "Failed/Recipient 5.1.2", "[IPv6:fe80::1%eth0]": "Failed/Recipient 5.1.2", "[169.254.169.254]": "Deferred/Recipient 4.4.4",
	} {
		m := message(t, "a@corp.test")
		m.Recipients[0].Domain = to // some are no addresses by now, and may be in an older spool
		if o := tr.Deliver(t.Context(), m)[0]; brief(o) != want {
			t.Errorf("%s: %s (%s), want %s", to, brief(o), o.Text, want)
		}
	}
}

// Private and loopback addresses are no mail servers of the world, whatever DNS
// says (CWE-918).
func TestPrivateAddresses(t *testing.T) {
	s := startServer(t, conformance.None)
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	z.mx("corp.test", "mx.test")
	tr := direct(t, s, z, func(c *Config) { c.Private = false })
	if o := tr.Deliver(t.Context(), message(t, "a@corp.test"))[0]; brief(o) != "Deferred/Recipient 4.4.4" || !strings.Contains(o.Text, "allowPrivateHosts") {
		t.Errorf("%s (%s)", brief(o), o.Text)
	}
	if s.Sessions() != 0 {
		t.Error("it was connected to")
	}
}

// A lookup that fails is the domain's trouble; a resolver that is dead is ours.
func TestLookupFails(t *testing.T) {
	s := startServer(t, conformance.None)
	z := &zone{}
	z.fail("failing.test", dnsmessage.TypeMX, &resolver.Error{Name: "failing.test"})
	z.fail("silent.test", dnsmessage.TypeMX, &resolver.Error{Name: "silent.test", Silent: true})
	tr := direct(t, s, z)
	check := func(domain, want string) {
		t.Helper()
		if o := tr.Deliver(t.Context(), message(t, "a@"+domain))[0]; brief(o) != want {
			t.Errorf("%s: %s (%s), want %s", domain, brief(o), o.Text, want)
		}
	}
	check("failing.test", "Deferred/Recipient 4.4.3")
	check("silent.test", "Deferred/Recipient 4.4.3")
	z.dead = errors.New("nobody there")
	check("silent.test", "Deferred/Upstream 4.4.3")
	check("failing.test", "Deferred/Recipient 4.4.3")
	if h := tr.Check(t.Context()); h.Reachable != upstream.Bad || !strings.Contains(h.Text, "nobody there") {
		t.Errorf("%+v", h)
	}
}

// No more connections are open at once than the upstream allows, however many
// domains a message has.
func TestConnectionsAtOnce(t *testing.T) {
	const limit, domains = 2, 12
	var mu sync.Mutex
	now, most := 0, 0
	s := startServer(t, conformance.None)
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	var to []string
	for i := range domains {
		z.mx(fmt.Sprintf("d%d.test", i), "mx.test")
		to = append(to, fmt.Sprintf("a@d%d.test", i))
	}
	tr := direct(t, s, z, func(c *Config) { c.Connections = limit })
	open := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		now += n
		most = max(most, now)
	}
	release := make(chan struct{})
	m := message(t, to...)
	inner := m.Open
	m.Open = func() (io.ReadCloser, error) {
		open(1)
		<-release
		r, err := inner()
		return &counted{r, func() { open(-1) }}, err
	}
	out := make(chan []upstream.Outcome)
	go func() { out <- tr.Deliver(t.Context(), m) }()
	env.Eventually(t, "two are at it, and two wait", func() string { return "" }, func() bool {
		mu.Lock()
		defer mu.Unlock()
		z.mu.Lock()
		defer z.mu.Unlock()
		n := 0
		for _, q := range z.asked {
			if q == zoneKey("mx.test", dnsmessage.TypeA) {
				n++
			}
		}
		return now >= limit && n == maxDomains
	})
	clock := direct(t, s, z) // time enough for those that should wait to do something else
	for i := range 20 {
		clock.Deliver(t.Context(), message(t, fmt.Sprintf("tick%d@d0.test", i)))
	}
	close(release)
	for _, o := range <-out {
		if brief(o) != "Accepted" {
			t.Errorf("%s", o)
		}
	}
	if most > limit {
		t.Errorf("%d at once, want at most %d", most, limit)
	}
	if got := len(s.Received(t)); got != domains+20 {
		t.Errorf("%d messages, want one for each of %d domains", got-20, domains)
	}
}

type counted struct {
	io.ReadCloser
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.ReadCloser.Close()
}

// What the relay's end cuts short is as if it had not been tried; what a domain
// drags on beyond the attempt's time is the domain's trouble.
func TestEndOfTheContext(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel2 := context.WithTimeout(t.Context(), 0)
	defer cancel2()
	z := &zone{}
	z.host("mx.test", "127.0.0.1")
	z.mx("corp.test", "mx.test")
	tr := direct(t, startServer(t, conformance.None), z)
	if o := tr.Deliver(canceled, message(t, "a@corp.test"))[0]; brief(o) != "Deferred/Upstream" {
		t.Errorf("canceled: %s", brief(o))
	}
	if o := tr.Deliver(late, message(t, "a@corp.test"))[0]; brief(o) != "Deferred/Recipient" {
		t.Errorf("late: %s", brief(o))
	}
}

// A stranger's server that refuses us for good is no trouble of the upstream.
func TestOfDomain(t *testing.T) {
	for _, c := range []struct {
		kind  upstream.Kind
		scope upstream.Scope
		want  string
	}{
		{upstream.Accepted, 0, "Accepted"},
		{upstream.Failed, upstream.ScopeRecipient, "Failed/Recipient"},
		{upstream.Failed, upstream.ScopeMessage, "Failed/Message"},
		{upstream.Failed, upstream.ScopeUpstream, "Failed/Message"},
		{upstream.Deferred, upstream.ScopeUpstream, "Deferred/Recipient"},
		{upstream.Deferred, upstream.ScopeMessage, "Deferred/Message"},
		{upstream.Unknown, upstream.ScopeUpstream, "Unknown/Recipient"},
	} {
		if got := brief(ofDomain(t.Context(), upstream.Outcome{Kind: c.kind, Scope: c.scope})); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.kind, c.scope, got, c.want)
		}
	}
}

// Domains that mail cannot go to at all say so at once.
func TestNoServers(t *testing.T) {
	z := &zone{}
	null := &dnsmessage.MXResource{MX: dnsmessage.MustNewName(".")}
	z.set("null.test", dnsmessage.TypeMX, resolver.Answer{Records: []dnsmessage.ResourceBody{null}})
	z.set("nulls.test", dnsmessage.TypeMX, resolver.Answer{Records: []dnsmessage.ResourceBody{null, null}})
	z.set("gone.test", dnsmessage.TypeMX, resolver.Answer{NXDomain: true})
	z.mx("lost.test", "mx.lost.test")
	tr := start(t, Config{MX: plan.MX{HeloName: "relay.test"}, Resolver: z})
	for domain, want := range map[string]string{
		"null.test": "556 5.1.10", "nulls.test": "556 5.1.10", "gone.test": "550 5.1.2", "lost.test": "550 5.4.4", "bare.test": "550 5.4.4",
	} {
		o := tr.Deliver(t.Context(), message(t, "a@"+domain))[0]
		if got := fmt.Sprint(o.Code, " ", o.Enhanced); got != want || o.Kind != upstream.Failed || o.Scope != upstream.ScopeRecipient || o.Text == "" {
			t.Errorf("%s: %s (%s), want %s", domain, o, o.Scope, want)
		}
	}
}
