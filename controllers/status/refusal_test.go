package status

import (
	"strings"
	"testing"
)

// TestRefused: the words of the API server stay, and what to do is never cut off by
// them. That these are its words is held by test/operator.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ words, remedy string }{
		{`deployments.apps "a" is forbidden: exceeded quota: q, requested: pods=1`, "raise the ResourceQuota"},
		{`pods "a" is forbidden: failed quota: q: must specify limits.cpu`, "set spec.pod.resources"},
		{`pods "a" is forbidden: maximum cpu usage per Container is 1, but limit is 2`, "LimitRange"},
		{`pods "a" is forbidden: cpu max limit to request ratio per Pod is 1, but provided ratio is 2`, "LimitRange"},
		{`admission webhook "w" denied the request: no`, "exempt"},
		{`ValidatingAdmissionPolicy 'p' with binding 'b' denied request: minimum two replicas`, "exempt"},
		{`a is forbidden: User "x" cannot patch resource "services"`, "rights back"},
		{`failed to create typed patch object: .status.copiers: field not declared in schema`, "config/crd"},
		{`Service "a" is invalid: spec.ports: minimum 1`, ""},
		{"connection refused", ""},
	} {
		got := Refused(c.words)
		if !strings.HasPrefix(got, c.words) || !strings.Contains(got, c.remedy) || c.remedy == "" && got != c.words {
			t.Errorf("%s: %s", c.words, got)
		}
	}
	long := Refused("PrinterRelay " + strings.Repeat("n", 63) + ": admission webhook denied the request: " + strings.Repeat("ä", 2000))
	if len(long) > maxMessage || !strings.HasSuffix(long, remedyPolicy) {
		t.Errorf("%d octets: %s", len(long), long)
	}
	for _, r := range refusals {
		if len(r.remedy) > maxRemedy-len("; ")-len(" ...") {
			t.Errorf("%d octets of remedy: %s", len(r.remedy), r.remedy)
		}
	}
}
