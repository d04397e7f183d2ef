package operator

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// publicDNS is DNS as a person changes it: TXT, MX and CNAME by "TYPE name".
type publicDNS struct {
	mu     sync.Mutex
	of     map[string][]string
	silent bool
	asked  atomic.Int64 // answers given
	now    atomic.Int64 // questions at once
	most   atomic.Int64
}

func (d *publicDNS) publish(kind, name string, values ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string][]string{}
	}
	d.of[kind+" "+name+"."] = values
}

func (d *publicDNS) hush(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = silent
}

func (d *publicDNS) get(kind, name string) ([]string, error) {
	n := d.now.Add(1)
	defer d.now.Add(-1)
	defer d.asked.Add(1)
	for m := d.most.Load(); n > m && !d.most.CompareAndSwap(m, n); m = d.most.Load() {
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silent {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	if v := d.of[kind+" "+name]; len(v) > 0 {
		return append([]string(nil), v...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// LookupTXT implements senderdns.Resolver.
func (d *publicDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	return d.get("TXT", name)
}

// LookupMX implements senderdns.Resolver.
func (d *publicDNS) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	hosts, err := d.get("MX", name)
	var out []*net.MX
	for _, h := range hosts {
		out = append(out, &net.MX{Pref: 10, Host: h})
	}
	return out, err
}

// LookupCNAME implements senderdns.Resolver.
func (d *publicDNS) LookupCNAME(_ context.Context, name string) (string, error) {
	to, err := d.get("CNAME", name)
	return strings.Join(to, ""), err
}

// LookupNetIP implements senderdns.Resolver.
func (d *publicDNS) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	_, err := d.get("IP", name)
	return nil, err
}

// looks waits until DNS has been asked about everything once more, and answered.
func (d *publicDNS) looks(r *rig) {
	r.Helper()
	before := d.asked.Load()
	r.eventually("DNS is asked again", func() string {
		if n := d.asked.Load() - before; n < 20 {
			return fmt.Sprint(n, " answers")
		}
		return ""
	})
}

func (d *publicDNS) options(o *controllers.Options) {
	o.Resolver, o.DNSEvery, o.FiguresEvery = d, 20*time.Millisecond, time.Hour
}

const dkimKey = "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0B"

// signed is the smarthost with what it needs DNS for.
var signed = strings.TrimRight(smarthost, "\n") + `
  dns: {egressAddresses: [192.0.2.25/32]}
  dkim: {selector: scans1, secretRef: {name: dkim}}
`

// TestDNSReady: the condition names the record to paste, turns True when all are
// published, and nothing is written while DNS says the same.
func TestDNSReady(t *testing.T) {
	r := newRig(t)
	d := &publicDNS{}
	op := r.run(d.options)
	r.node.set("copiers-0", func(i *instance) {
		i.keys = []status.DKIMKey{{Name: "scans1._domainkey.copier.corp.example", Value: dkimKey}, {Name: "of.somebody.else", Value: "v=DKIM1; p=X"}}
	})
	r.kubectl("{apiVersion: v1, kind: Secret, metadata: {name: dkim}, stringData: {rsa.pem: x}}")
	r.kubectl(signed + "\n---\n" + office + "\n---\n" + copiers())
	is := func(want string, words ...string) {
		r.Helper()
		r.conditionOf("smarthost", want, r.upstream("smarthost"), words...)
	}

	is("DNSReady=False/RecordMissing", "publish TXT copier.corp.example: v=spf1 ip4:192.0.2.25 ~all; and 2 more")
	is("Ready=True") // mail leaves all the same
	d.publish("TXT", "copier.corp.example", "v=spf1 include:_spf.corp.example -all")
	d.publish("TXT", "_spf.corp.example", "v=spf1 ip4:198.51.100.0/24 -all")
	is("DNSReady=False/RecordDifferent", "TXT copier.corp.example has to be: v=spf1 include:_spf.corp.example ip4:192.0.2.25 -all")
	d.publish("TXT", "copier.corp.example", "v=spf1 include:_spf.corp.example ip4:192.0.2.25 -all")
	is("DNSReady=False/RecordMissing", "publish TXT scans1._domainkey.copier.corp.example: "+dkimKey)
	d.publish("TXT", "scans1._domainkey.copier.corp.example", dkimKey)
	is("DNSReady=False/RecordMissing", "publish TXT _dmarc.copier.corp.example: v=DMARC1; p=none")
	d.publish("TXT", "_dmarc.copier.corp.example", "v=DMARC1; p=reject")
	is("DNSReady=Unknown/Unknown", "MX copier.corp.example", "spec.dns.vendorRecords")
	d.publish("MX", "copier.corp.example", "mx.corp.example.")
	is("DNSReady=True/Published", "4 records of copier.corp.example are published")
	if got := must[v1alpha1.MailUpstream](r, "smarthost").Status.DNS; len(got) != 4 || got[0].Observed != "v=spf1 include:_spf.corp.example ip4:192.0.2.25 -all" || got[0].State != "OK" {
		t.Errorf("status.dns: %+v", got)
	}

	r.rests(op, func() { d.looks(r) })

	// A name server that fails for a while changes nothing, nor does a new operator,
	// nor an instance that does not tell its keys.
	op.stop()
	r.node.set("copiers-0", func(i *instance) { i.keys = nil })
	second := r.run(d.options)
	r.quiet(second, func() {
		r.nudge("copiers")
		d.looks(r)
	})
	is("DNSReady=True/Published")

	// Another record, and it is seen.
	d.publish("TXT", "copier.corp.example", "v=spf1 -all", "v=spf1 mx -all")
	is("DNSReady=False/RecordDifferent", "there are 2 SPF records")
	edit(r, "smarthost", func(u *v1alpha1.MailUpstream) {
		u.Spec.Type, u.Spec.SMTP, u.Spec.Maildir, u.Spec.DKIM = "Maildir", nil, &v1alpha1.MaildirUpstream{Path: "mail"}, nil
	})
	is("DNSReady=True/NotNeeded", "it needs no record")
	if got := must[v1alpha1.MailUpstream](r, "smarthost").Status.DNS; len(got) != 0 {
		t.Errorf("status.dns: %+v", got)
	}
}

// TestDNSThatFails: a name server without answers leaves what was known, and for
// long makes it Unknown, with the records to publish.
func TestDNSThatFails(t *testing.T) {
	r := newRig(t)
	d := &publicDNS{}
	d.hush(true)
	r.run(d.options)
	r.kubectl(strings.TrimRight(smarthost, "\n") + "\n  dns: {egressAddresses: [192.0.2.25/32]}\n")
	r.conditionOf("smarthost", "DNSReady=Unknown/Unknown", r.upstream("smarthost"), "DNS does not answer")
	d.hush(false)
	r.conditionOf("smarthost", "DNSReady=False/RecordMissing", r.upstream("smarthost"), "v=spf1 ip4:192.0.2.25 ~all")
	d.hush(true)
	r.conditionOf("smarthost", "DNSReady=Unknown/Unknown", r.upstream("smarthost"), "DNS does not answer")
	if got := must[v1alpha1.MailUpstream](r, "smarthost").Status.DNS; len(got) == 0 || got[0].Expected != "v=spf1 ip4:192.0.2.25 ~all" || got[0].State != "Unknown" {
		t.Errorf("status.dns: %+v", got)
	}
}

// TestDNSIsNotChecked: without --check-dns the records to publish are there all
// the same.
func TestDNSIsNotChecked(t *testing.T) {
	r := newRig(t)
	r.run()
	r.kubectl(strings.TrimRight(smarthost, "\n") + "\n  dns: {egressAddresses: [192.0.2.25/32]}\n")
	r.conditionOf("smarthost", "DNSReady=Unknown/NotChecked", r.upstream("smarthost"), "--check-dns=false")
	if got := must[v1alpha1.MailUpstream](r, "smarthost").Status.DNS; len(got) == 0 || got[0].Expected != "v=spf1 ip4:192.0.2.25 ~all" {
		t.Errorf("status.dns: %+v", got)
	}
}

// TestDNSIsNoBurst: many upstreams are asked about one after the other.
func TestDNSIsNoBurst(t *testing.T) {
	r := newRig(t)
	d := &publicDNS{}
	const n = 60
	for i := range n {
		r.kubectl(strings.ReplaceAll(strings.ReplaceAll(smarthost, "name: smarthost", fmt.Sprintf("name: up-%d", i)), "copier.corp", fmt.Sprintf("copier-%d", i)))
	}
	r.run(d.options)
	for i := range n {
		r.conditionOf(fmt.Sprintf("up-%d", i), "DNSReady=False", r.upstream(fmt.Sprintf("up-%d", i)), fmt.Sprintf("_dmarc.copier-%d.example", i))
	}
	if most := d.most.Load(); most > 8 {
		t.Errorf("%d questions at once", most)
	}
}
