package status

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

func dnsRecord(kind, name, expected, observed, state, why string) DNSRecord {
	return DNSRecord{Why: why, DNSRecordStatus: v1alpha1.DNSRecordStatus{Type: kind, Name: name, Expected: expected, Observed: observed, State: state}}
}

func TestDNSReady(t *testing.T) {
	missing := dnsRecord("TXT", "a.example", "v=spf1 -all", "", "Missing", "")
	different := dnsRecord("CNAME", "b.a.example", "x.example", "y.example", "Different", "it points elsewhere")
	open := dnsRecord("TXT", "s._domainkey.a.example", "", "", "Unknown", "fill in spec.dns.vendorRecords")
	right := dnsRecord("TXT", "_dmarc.a.example", "v=DMARC1; p=none", "v=DMARC1; p=none", "OK", "")
	odd := dnsRecord("TXT", "a.example", "v=spf1 a -all", "v=spf1 a -all", "Different", "needs 11 DNS lookups")
	for name, tc := range map[string]struct {
		dns  DNS
		want string
	}{
		"all there":         {DNS{Domain: "a.example", Records: []DNSRecord{right, right}}, "True/Published: 2 records of a.example are published"},
		"one is there":      {DNS{Domain: "a.example", Records: []DNSRecord{right}}, "True/Published: 1 record of a.example is published"},
		"missing":           {DNS{Records: []DNSRecord{right, missing}}, "False/RecordMissing: publish TXT a.example: v=spf1 -all"},
		"different":         {DNS{Records: []DNSRecord{open, different, missing}}, "False/RecordDifferent: CNAME b.a.example has to be: x.example (it points elsewhere); and 1 more: the others are in status.dns"},
		"nothing to paste":  {DNS{Records: []DNSRecord{odd}}, "False/RecordDifferent: TXT a.example: needs 11 DNS lookups"},
		"not known":         {DNS{Records: []DNSRecord{right, open, open}}, "Unknown/Unknown: TXT s._domainkey.a.example: fill in spec.dns.vendorRecords; and 1 more: the others are in status.dns"},
		"no domain":         {DNS{Why: "spec.sender.domain is not set"}, "Unknown/Unknown: spec.sender.domain is not set"},
		"nothing leaves":    {DNS{NotSent: true, Why: "it needs no record"}, "True/NotNeeded: it needs no record"},
		"off":               {DNS{Off: true, Records: []DNSRecord{missing}}, "Unknown/NotChecked: the operator does not ask DNS (--check-dns=false): status.dns has the records to publish"},
		"not asked yet":     {DNS{Pending: true, Records: []DNSRecord{open}}, "Unknown/Pending: DNS is being asked"},
		"off, and no mail":  {DNS{Off: true, NotSent: true, Why: "it needs no record"}, "True/NotNeeded: it needs no record"},
		"off, and no names": {DNS{Off: true, Why: "spec.sender.domain is not set"}, "Unknown/Unknown: spec.sender.domain is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			in := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: []UpstreamReport{{Name: "ses"}}, DNS: &tc.dns}
			st := OfUpstream(in)
			check(t, st.Conditions, 1, want{"DNSReady": tc.want, "Ready": "True/Ready"})
			if len(st.DNS) != len(tc.dns.Records) {
				t.Errorf("status.dns: %+v", st.DNS)
			}
		})
	}
}

// What an operator that starts does not know yet stays as it was, unless the spec
// has changed.
func TestDNSStaysUntilItIsAsked(t *testing.T) {
	in := Upstream{Object: healthy().Upstreams["ses"], Now: now}
	in.DNS = &DNS{Domain: "a.example", Records: []DNSRecord{dnsRecord("TXT", "a.example", "x", "x", "OK", "")}}
	in.Object.Status = OfUpstream(in)
	in.DNS = &DNS{Pending: true, Domain: "a.example", Records: []DNSRecord{dnsRecord("TXT", "a.example", "x", "", "Unknown", "")}}
	if again := OfUpstream(in); Changed(in.Object.Status, again, true) {
		t.Errorf("nothing was seen to change:\n%s\n%s", mustJSON(t, in.Object.Status), mustJSON(t, again))
	}
	in.Object.Generation++
	st := OfUpstream(in)
	check(t, st.Conditions, in.Object.Generation, want{"DNSReady": "Unknown/Pending"})
	if st.DNS[0].State != "Unknown" {
		t.Errorf("%+v", st.DNS)
	}
}

// What others publish fits into a status.
func TestDNSIsBounded(t *testing.T) {
	d := &DNS{}
	for i := range 100 {
		d.Records = append(d.Records, dnsRecord("TXT", fmt.Sprintf("%d.%s", i, strings.Repeat("a", 300)), strings.Repeat("ü", 3000), strings.Repeat("ü", 3000), "Different", "x"))
	}
	st := OfUpstream(Upstream{Object: healthy().Upstreams["ses"], Now: now, DNS: d})
	if len(st.DNS) != 64 || len(st.DNS[0].Name) > 253 || len(st.DNS[0].Expected) > 2048 || len(st.DNS[0].Observed) > 2048 {
		t.Errorf("%d records, %d %d %d octets", len(st.DNS), len(st.DNS[0].Name), len(st.DNS[0].Expected), len(st.DNS[0].Observed))
	}
}
