package status

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Policy is what was seen of one SenderPolicy.
type Policy struct {
	Object      *v1alpha1.SenderPolicy // with its status as it is
	Now         time.Time
	UsedBy      []string         // names of the PrinterRelays that name it
	Diagnostics plan.Diagnostics // of CheckPolicy, or of those relays; others' findings are left out
}

// OfPolicy gives the status of a SenderPolicy.
func OfPolicy(in Policy) v1alpha1.SenderPolicyStatus {
	c := conditions{old: in.Object.Status.Conditions, generation: in.Object.Generation, now: in.Now}
	accepted := acceptedObject("SenderPolicy "+in.Object.Namespace+"/"+in.Object.Name, in.Diagnostics)
	ready := accepted
	if accepted.status == metav1.ConditionTrue {
		ready = yes(v1alpha1.ReasonReady, in.works())
	}
	c.set(v1alpha1.ConditionReady, ready)
	c.set(v1alpha1.ConditionAccepted, accepted)
	if accepted.status == metav1.ConditionFalse {
		c.set(v1alpha1.ConditionStalled, yes(accepted.reason, accepted.message))
	}
	return v1alpha1.SenderPolicyStatus{ObservedGeneration: in.Object.Generation, Conditions: c.out, UsedBy: usedBy(in.UsedBy)}
}

func (in *Policy) works() string {
	switch {
	case in.Object.Spec.Enforcement == v1alpha1.EnforcementDryRun:
		return "spec.enforcement: DryRun: it decides nothing, and reports what it would have decided"
	case len(in.UsedBy) == 0:
		return "the spec is accepted; no PrinterRelay names it"
	}
	return "it decides for the relays that name it"
}

// CheckUpstream compiles a MailUpstream that no relay names yet, and gives the
// findings about it.
func CheckUpstream(u *v1alpha1.MailUpstream) plan.Diagnostics {
	r := probe(u.Namespace)
	r.Spec.UpstreamRef.Name = u.Name
	_, found := plan.Compile(plan.Input{Relay: r, Upstreams: map[string]*v1alpha1.MailUpstream{u.Name: u}})
	return about("MailUpstream "+u.Namespace+"/"+u.Name, found)
}

// CheckPolicy compiles a SenderPolicy that no relay names yet, and gives the
// findings about it.
func CheckPolicy(p *v1alpha1.SenderPolicy) plan.Diagnostics {
	r := probe(p.Namespace)
	r.Spec.SenderPolicyRefs = []v1alpha1.LocalReference{{Name: p.Name}}
	_, found := plan.Compile(plan.Input{Relay: r, Policies: map[string]*v1alpha1.SenderPolicy{p.Name: p}})
	return about("SenderPolicy "+p.Namespace+"/"+p.Name, found)
}

// probe is a relay that stands for any other.
func probe(namespace string) *v1alpha1.PrinterRelay {
	return &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "any"}, Spec: v1alpha1.PrinterRelaySpec{Hostname: "relay.example"}}
}

func about(object string, found plan.Diagnostics) plan.Diagnostics {
	var out plan.Diagnostics
	for _, d := range found {
		if d.Object == object {
			out = append(out, d)
		}
	}
	return out
}
