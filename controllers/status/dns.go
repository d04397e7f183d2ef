package status

import (
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// DKIMKey is the public record of a key that an instance signs with.
type DKIMKey struct{ Name, Value string }

// DNS is what was found of an upstream's sender domain.
type DNS struct {
	Domain  string // of the sender
	Records []DNSRecord
	Pending bool   // DNS has not been asked yet
	Off     bool   // DNS is not to be asked
	Why     string // why there are no records
	NotSent bool   // nothing leaves there, so that none is needed
}

// DNSRecord is one record, with what to do about it.
type DNSRecord struct {
	v1alpha1.DNSRecordStatus
	Why string
}

// Bounds of a status.
const (
	maxDNS      = 64
	maxDNSName  = 253
	maxDNSValue = 2048
)

// dns sets the condition and gives the records of the status. What was not
// looked at stays as it is, as long as the spec does.
func (in *Upstream) dns(c *conditions) []v1alpha1.DNSRecordStatus {
	if in.DNS == nil || in.DNS.Pending && c.keep(v1alpha1.ConditionDNSReady) {
		return in.Object.Status.DNS
	}
	c.set(v1alpha1.ConditionDNSReady, in.DNS.ready())
	var out []v1alpha1.DNSRecordStatus
	for _, r := range in.DNS.Records[:min(len(in.DNS.Records), maxDNS)] {
		s := r.DNSRecordStatus
		s.Name, s.Expected, s.Observed = cut(s.Name, maxDNSName), cut(s.Expected, maxDNSValue), cut(s.Observed, maxDNSValue)
		out = append(out, s)
	}
	return out
}

// ready is DNSReady: it is no part of Ready, since mail leaves all the same; what
// becomes of it at the receiver is another matter.
func (d *DNS) ready() verdict {
	switch {
	case d.NotSent:
		return yes(v1alpha1.ReasonNotNeeded, d.Why)
	case d.Why != "":
		return unknown(v1alpha1.ReasonUnknown, d.Why)
	case d.Off:
		return unknown(v1alpha1.ReasonNotChecked, "the operator does not ask DNS (--check-dns=false): status.dns has the records to publish")
	case d.Pending:
		return unknown(v1alpha1.ReasonPending, "DNS is being asked")
	}
	var wrong, open []string
	reason := v1alpha1.ReasonRecordMissing
	for _, r := range d.Records {
		switch r.State {
		case "Missing", "Different":
			if len(wrong) == 0 && r.State == "Different" {
				reason = v1alpha1.ReasonRecordDifferent
			}
			wrong = append(wrong, r.publish())
		case "Unknown":
			open = append(open, fmt.Sprintf("%s %s: %s", r.Type, r.Name, r.Why))
		}
	}
	switch {
	case len(wrong) > 0:
		return no(reason, firstAndMore(wrong, "the others are in status.dns"))
	case len(open) > 0:
		return unknown(v1alpha1.ReasonUnknown, firstAndMore(open, "the others are in status.dns"))
	}
	return yes(v1alpha1.ReasonPublished, fmt.Sprintf("%s of %s %s published", count(len(d.Records), "record", "records"), d.Domain, map[bool]string{true: "is", false: "are"}[len(d.Records) == 1]))
}

// publish says what to do, with the record to paste.
func (r *DNSRecord) publish() string {
	var b strings.Builder
	switch {
	case r.Expected == "" || r.Expected == r.Observed:
		fmt.Fprintf(&b, "%s %s: %s", r.Type, r.Name, r.Why)
		return b.String()
	case r.State == "Missing":
		fmt.Fprintf(&b, "publish %s %s: %s", r.Type, r.Name, r.Expected)
	default:
		fmt.Fprintf(&b, "%s %s has to be: %s", r.Type, r.Name, r.Expected)
	}
	if r.Why != "" {
		fmt.Fprintf(&b, " (%s)", r.Why)
	}
	return b.String()
}

// firstAndMore says the first of several, which may be long, and that there are
// more.
func firstAndMore(all []string, where string) string {
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s; and %d more: %s", all[0], len(all)-1, where)
}
