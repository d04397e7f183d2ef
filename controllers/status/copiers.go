package status

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// maxCopiers of a status.
const maxCopiers = 50

// copiers of the status: those that connected last to any instance, each as the
// instance that it came to last has it, by address. While an instance does not
// answer, what it told before stays.
func (s *relay) copiers() []v1alpha1.CopierStatus {
	of := map[string]CopierReport{}
	silent := len(s.states) == 0
	for _, i := range s.states {
		if i.Report == nil {
			silent = true
			continue
		}
		for _, c := range i.Report.Copiers {
			of[c.Address] = newer(of[c.Address], c)
		}
	}
	if silent {
		for _, c := range s.Object.Status.Copiers {
			if _, ok := of[c.Address]; !ok {
				of[c.Address] = before(&c)
			}
		}
	}
	all := make([]CopierReport, 0, len(of))
	for _, c := range of {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b CopierReport) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Address, b.Address))
	})
	all = all[:min(len(all), maxCopiers)]
	slices.SortFunc(all, func(a, b CopierReport) int {
		return cmp.Or(addressOf(a.Address).Compare(addressOf(b.Address)), strings.Compare(a.Address, b.Address))
	})
	var out []v1alpha1.CopierStatus
	for _, c := range all {
		st := v1alpha1.CopierStatus{Address: c.Address, Name: c.Name, User: c.User, TLSVersion: c.TLSVersion, LastRefusal: c.LastRefusal}
		if !c.LastScan.IsZero() {
			st.LastScan = &metav1.Time{Time: c.LastScan.UTC().Truncate(1e9)}
		}
		out = append(out, st)
	}
	return out
}

// newer puts together what two instances say of one device.
func newer(a, b CopierReport) CopierReport {
	if a.Last.After(b.Last) {
		a, b = b, a
	}
	if b.LastScan.Before(a.LastScan) {
		b.LastScan = a.LastScan
	}
	return b
}

// before is a device as the status has it. When it connected last is not in there;
// its last scan is as good.
func before(c *v1alpha1.CopierStatus) CopierReport {
	out := CopierReport{Address: c.Address, Name: c.Name, User: c.User, TLSVersion: c.TLSVersion, LastRefusal: c.LastRefusal}
	if c.LastScan != nil {
		out.LastScan, out.Last = c.LastScan.Time, c.LastScan.Time
	}
	return out
}

func addressOf(s string) netip.Addr {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr()
	}
	a, _ := netip.ParseAddr(s) //nolint:errcheck // those that can be read come first
	return a
}

var refusalCode = regexp.MustCompile(`PR-\d{3}`)

// CopierNews tells whether the copiers of a status are worth a write: one is new,
// while the list has room, or one behaves otherwise than before (its TLS, its login,
// why it is refused). That one scanned again is not.
func CopierNews(old, now []v1alpha1.CopierStatus) bool {
	of := map[string]*v1alpha1.CopierStatus{}
	for i := range old {
		of[old[i].Address] = &old[i]
	}
	for i := range now {
		c := &now[i]
		was := of[c.Address]
		switch {
		case was == nil && len(old) < maxCopiers:
			return true
		case was == nil: // more than there is room for: who is newest changes with each scan
		case was.TLSVersion != c.TLSVersion, was.User != c.User, kindOf(was.LastRefusal) != kindOf(c.LastRefusal), (was.LastScan == nil) != (c.LastScan == nil):
			return true
		}
	}
	return false
}

// kindOf is a refusal without what is of one message.
func kindOf(refusal string) string {
	if code := refusalCode.FindString(refusal); code != "" {
		return code
	}
	kind, _, _ := strings.Cut(refusal, ":")
	return kind
}
