package plan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// DNS is what no program can find out about the records of the sender domain.
// It carries no mail.
type DNS struct {
	Egress     []netip.Prefix `json:"egress,omitempty"`     // addresses that mail leaves from
	Records    []DNSRecord    `json:"records,omitempty"`    // that the provider's console asks for
	ReturnPath string         `json:"returnPath,omitempty"` // domain that the provider puts into the envelope; empty: see the type
}

// DNSRecord is one record to publish.
type DNSRecord struct {
	Name  string `json:"name"` // as it was written
	Type  string `json:"type"` // TXT, CNAME, MX, A or AAAA
	Value string `json:"value"`
}

// One compiles a MailUpstream by itself, for what is about no relay. Its limits
// are whole. It is nil only where u is.
func One(u *v1alpha1.MailUpstream) (*Upstream, Diagnostics) {
	if u == nil {
		return nil, nil
	}
	probe := &v1alpha1.PrinterRelay{}
	probe.Namespace, probe.Name = u.Namespace, "any"
	c := &compiler{in: Input{Relay: probe, Upstreams: map[string]*v1alpha1.MailUpstream{u.Name: u}}, out: &Plan{Upstreams: map[string]*Upstream{}}, secrets: map[string]bool{}}
	c.upstream(at{c, "MailUpstream " + u.Namespace + "/" + u.Name}, "metadata.name", u.Name)
	return c.out.Upstreams[u.Name], c.found
}

// dns compiles what the manifest says about records. What is wrong there is a
// warning: no mail waits for it.
func (c *compiler) dns(a at, u *v1alpha1.MailUpstream) *DNS {
	out := &DNS{}
	for i, s := range u.Spec.DNS.EgressAddresses {
		p, err := netip.ParsePrefix(string(s))
		if err != nil { // the kind's own rules say so first
			a.warnf(fmt.Sprintf("spec.dns.egressAddresses[%d]", i), "%q is not a network: write it as 192.0.2.25/32", s)
			continue
		}
		out.Egress = append(out.Egress, p.Masked())
	}
	for i, r := range u.Spec.DNS.VendorRecords {
		out.Records = append(out.Records, DNSRecord{Name: r.Name, Type: r.Type, Value: r.Value})
		if want := wrongValue(r); want != "" {
			a.warnf(fmt.Sprintf("spec.dns.vendorRecords[%d].value", i), "%q is no value of type %s: write %s", r.Value, r.Type, want)
		}
	}
	if m := u.Spec.Mailgun; m != nil {
		out.ReturnPath = envelope.DomainKey(string(m.Domain))
	}
	if len(out.Egress)+len(out.Records) == 0 && out.ReturnPath == "" {
		return nil
	}
	return out
}

// wrongValue says how a value of the record's type is written, if it is not.
func wrongValue(r v1alpha1.DNSRecord) string {
	words := strings.Fields(r.Value)
	switch r.Type {
	case "A", "AAAA":
		if ip, err := netip.ParseAddr(strings.TrimSpace(r.Value)); err != nil || ip.Is4() != (r.Type == "A") {
			return map[string]string{"A": "an IPv4 address, such as 192.0.2.25", "AAAA": "an IPv6 address, such as 2001:db8::25"}[r.Type]
		}
	case "MX":
		host := len(words) == 1
		if len(words) == 2 {
			_, err := strconv.ParseUint(words[0], 10, 16)
			host = err == nil
		}
		if !host {
			return "preference and host, such as 10 mx.provider.example"
		}
	case "CNAME":
		if len(words) != 1 {
			return "one name, such as u123.wl.provider.example"
		}
	}
	return ""
}
