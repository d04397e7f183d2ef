package mx

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone answers lookups by what a test puts in; the real thing is in test/mx.
type zone struct {
	mu      sync.Mutex
	answers map[string]resolver.Answer
	fails   map[string]error
	asked   []string
	dead    error
}

func zoneKey(name string, kind dnsmessage.Type) string { return kind.String() + " " + name }

func (z *zone) set(name string, kind dnsmessage.Type, a resolver.Answer) {
	if z.answers == nil {
		z.answers = map[string]resolver.Answer{}
	}
	if a.Name == "" {
		a.Name = name
	}
	z.answers[zoneKey(name, kind)] = a
}

func (z *zone) fail(name string, kind dnsmessage.Type, err error) {
	if z.fails == nil {
		z.fails = map[string]error{}
	}
	z.fails[zoneKey(name, kind)] = err
}

// host gives a name addresses.
func (z *zone) host(name string, addrs ...string) {
	var six, four resolver.Answer
	for _, s := range addrs {
		a := netip.MustParseAddr(s)
		if a.Is4() {
			four.Records = append(four.Records, &dnsmessage.AResource{A: a.As4()})
		} else {
			six.Records = append(six.Records, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	z.set(name, dnsmessage.TypeA, four)
	z.set(name, dnsmessage.TypeAAAA, six)
}

// mx gives a domain servers, each of less preference than the one before.
func (z *zone) mx(domain string, hosts ...string) {
	a := resolver.Answer{}
	for i, h := range hosts {
		a.Records = append(a.Records, &dnsmessage.MXResource{Pref: uint16(i), MX: dnsmessage.MustNewName(h + ".")})
	}
	z.set(domain, dnsmessage.TypeMX, a)
}

// Lookup implements Lookuper: what was not put in is not there.
func (z *zone) Lookup(_ context.Context, name string, kind dnsmessage.Type) (resolver.Answer, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, zoneKey(name, kind))
	if err := z.fails[zoneKey(name, kind)]; err != nil {
		return resolver.Answer{}, err
	}
	a, ok := z.answers[zoneKey(name, kind)]
	if !ok {
		a = resolver.Answer{Name: name}
	}
	return a, nil
}

// Alive implements Lookuper.
func (z *zone) Alive(context.Context) error { return z.dead }

// start makes a transport that ends with the test.
func start(t testing.TB, c Config) *Transport {
	t.Helper()
	c.Name, c.State = "out", t.TempDir()
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// message is one for the recipients.
func message(t testing.TB, to ...string) *upstream.Message {
	t.Helper()
	return conformance.Mail(t, "From: <mfp@copier.test>\r\nSubject: scan\r\n\r\nhello\r\n", to...)
}

// brief is an outcome as tests compare it.
func brief(o upstream.Outcome) string {
	s := o.Kind.String()
	if o.Kind != upstream.Accepted {
		s += "/" + o.Scope.String() + " " + o.Enhanced
	}
	return strings.TrimSpace(s)
}
