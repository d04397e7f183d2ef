package controllers

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// dnsOf answers TXT questions, and counts them.
type dnsOf struct {
	mu     sync.Mutex
	txt    map[string]string
	silent bool
	asked  int
}

func (d *dnsOf) set(silent bool, txt map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent, d.txt = silent, txt
}

func (d *dnsOf) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.asked
	d.asked = 0
	return n
}

// LookupTXT implements senderdns.Resolver.
func (d *dnsOf) LookupTXT(_ context.Context, name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if v := d.txt[name]; v != "" && !d.silent {
		return []string{v}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: !d.silent}
}

// LookupMX implements senderdns.Resolver.
func (d *dnsOf) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	return []*net.MX{{Host: "mx." + name}}, nil
}

// LookupCNAME implements senderdns.Resolver.
func (d *dnsOf) LookupCNAME(_ context.Context, name string) (string, error) { return name, nil }

// LookupNetIP implements senderdns.Resolver.
func (d *dnsOf) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }

var (
	someUpstream = types.NamespacedName{Namespace: "mail", Name: "out"}
	allRight     = map[string]string{"a.example.": "v=spf1 ip4:192.0.2.1 -all", "_dmarc.a.example.": "v=DMARC1; p=reject"}
)

func someNeeds(domain string) senderdns.Needs {
	return senderdns.Of(&plan.Upstream{
		Type: "MX", MX: &plan.MX{}, Sender: &plan.Sender{Domain: domain}, DNS: &plan.DNS{Egress: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
	}, nil)
}

// inBubble runs domains in a bubble of time, and counts their news.
func inBubble(t *testing.T, fn func(d *domains, dns *dnsOf, news func() int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dns := &dnsOf{}
		d := newDomains(dns, 0, slog.New(slog.DiscardHandler))
		var mu sync.Mutex
		told := 0
		d.news = func(u types.NamespacedName) {
			mu.Lock()
			defer mu.Unlock()
			if u == someUpstream {
				told++
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		first := d.look(someUpstream, someNeeds("a.example")) // before it runs: it is asked when it does
		if !first.Pending || len(first.Records) != 3 || first.Records[0].State != "Unknown" || first.Records[0].Expected != "v=spf1 ip4:192.0.2.1 ~all" {
			t.Errorf("%+v", first)
		}
		go func() { done <- d.Start(ctx) }()
		synctest.Wait()
		fn(d, dns, func() int {
			mu.Lock()
			defer mu.Unlock()
			n := told
			told = 0
			return n
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// elapse lets time go by, and all that is due then happen.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// states of the records, as they are known.
func states(d *domains, needs senderdns.Needs) (out []string) {
	for _, r := range d.look(someUpstream, needs).Records {
		out = append(out, r.State)
	}
	return out
}

func TestDomainsAreAskedAboutInTime(t *testing.T) {
	inBubble(t, func(d *domains, dns *dnsOf, news func() int) {
		is := func(when string, wantNews int, want ...string) {
			t.Helper()
			if n := news(); n != wantNews {
				t.Errorf("%s: %d news", when, n)
			}
			if got := states(d, someNeeds("a.example")); !slices.Equal(got, want) {
				t.Errorf("%s: %q", when, got)
			}
		}
		// asked waits until DNS is, which has to be between two times from now.
		asked := func(from, to time.Duration) {
			t.Helper()
			for began := time.Now(); dns.count() == 0; elapse(time.Second) {
				if time.Since(began) > to {
					t.Fatalf("DNS is not asked within %s", to)
				}
				from -= time.Second
			}
			if from > time.Second {
				t.Errorf("DNS is asked %s too early", from)
			}
		}
		soon := func() { t.Helper(); asked(10*time.Minute, 12*time.Minute+time.Second) }
		asked(0, 0)
		is("at once", 1, "Missing", "OK", "Missing")
		soon()
		is("again, and nothing is new", 0, "Missing", "OK", "Missing")
		dns.set(false, allRight)
		soon()
		is("they are published", 1, "OK", "OK", "OK")
		asked(time.Hour, 72*time.Minute+time.Second)
		is("what is right is asked for seldom", 0, "OK", "OK", "OK")

		// Failures are passed over, three times.
		dns.set(true, nil)
		asked(time.Hour, 72*time.Minute+time.Second)
		is("it fails", 0, "OK", "OK", "OK")
		for range 2 {
			soon()
			is("it fails again", 0, "OK", "OK", "OK")
		}
		soon()
		is("it fails for long", 1, "Unknown", "OK", "Unknown")
		dns.set(false, allRight)
		soon()
		is("it is back", 1, "OK", "OK", "OK")
	})
}

// Other needs are asked for at once, and the former no more; what is gone is
// forgotten.
func TestDomainsFollowTheSpec(t *testing.T) {
	inBubble(t, func(d *domains, dns *dnsOf, news func() int) {
		elapse(5 * time.Minute)
		dns.count()
		news()
		if look := d.look(someUpstream, someNeeds("b.example")); !look.Pending || look.Domain != "b.example" {
			t.Errorf("%+v", look)
		}
		synctest.Wait()
		if n, m := dns.count(), news(); n == 0 || m != 1 {
			t.Errorf("%d questions, %d news", n, m)
		}
		if look := d.look(someUpstream, someNeeds("b.example")); look.Pending || look.Records[0].Name != "b.example" {
			t.Errorf("%+v", look)
		}
		elapse(9 * time.Minute) // the former needs would have been asked for by now
		if n := dns.count(); n > 0 {
			t.Errorf("%d questions before their time", n)
		}
		elapse(3*time.Minute + time.Second)
		if dns.count() == 0 {
			t.Error("the new needs are not asked for again")
		}
		d.forget(someUpstream)
		elapse(24 * time.Hour)
		if n := dns.count(); n > 0 {
			t.Errorf("%d questions about what is gone", n)
		}
	})
}

// The keys are those that the relays tell of this upstream, one of each name, or
// those of the status.
func TestNeedsOf(t *testing.T) {
	u := &v1alpha1.MailUpstream{ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "out"}, Spec: v1alpha1.MailUpstreamSpec{
		Type: v1alpha1.UpstreamSMTP, SMTP: &v1alpha1.SMTPUpstream{Host: "mail.provider.example"}, Sender: &v1alpha1.UpstreamSender{Domain: "a.example"},
		DKIM: &v1alpha1.DKIM{Selector: "S1", SecretRef: v1alpha1.LocalReference{Name: "dkim"}},
	}}
	keys := func(reports ...status.UpstreamReport) string {
		var out []string
		for _, r := range needsOf(u, reports).Records {
			if r.Purpose == senderdns.DKIM {
				out = append(out, r.Name+"="+r.Value)
			}
		}
		return strings.Join(out, " ")
	}
	report := func(upstream string, pairs ...string) status.UpstreamReport {
		r := status.UpstreamReport{Name: upstream}
		for i := 0; i < len(pairs); i += 2 {
			r.DKIM = append(r.DKIM, status.DKIMKey{Name: pairs[i], Value: pairs[i+1]})
		}
		return r
	}
	const rsa, ed25519 = "s1._domainkey.a.example", "s1-ed25519._domainkey.a.example"
	for _, tc := range []struct {
		reports []status.UpstreamReport
		want    string
	}{
		{nil, rsa + "="},
		{[]status.UpstreamReport{report("other", rsa, "p=X")}, rsa + "="},
		{[]status.UpstreamReport{report("out", "www.a.example", "p=X", rsa+".evil.example", "p=X")}, rsa + "="},
		{[]status.UpstreamReport{report("out", rsa, "p=B", ed25519, "p=C"), report("out", rsa, "p=A", ed25519, "p=C")}, ed25519 + "=p=C " + rsa + "=p=A"},
	} {
		if got := keys(tc.reports...); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.reports, got, tc.want)
		}
	}
	u.Status.DNS = []v1alpha1.DNSRecordStatus{{Name: "a.example", Type: "TXT", Expected: "v=spf1 -all"}, {Name: rsa, Type: "TXT", Expected: "p=D"}, {Name: ed25519, Type: "TXT", State: "Unknown"}}
	if got := keys(); got != rsa+"=p=D" {
		t.Errorf("of the status: %s", got)
	}
	if got := keys(report("out", rsa, "p=E")); got != rsa+"=p=E" {
		t.Errorf("a new one: %s", got)
	}
}
