package status

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Upstream is what was seen of one MailUpstream.
type Upstream struct {
	Object         *v1alpha1.MailUpstream // with its status as it is
	Now            time.Time
	UsedBy         []string         // names of the PrinterRelays that name it
	Diagnostics    plan.Diagnostics // of CheckUpstream, or of those relays; others' findings are left out
	MissingSecrets []string         // names, as the relays' instances report them
	Reports        []UpstreamReport // one of each instance that answered; others' are left out
	DNS            *DNS             // nil: nothing is known of it
}

// OfUpstream gives the status of a MailUpstream.
func OfUpstream(in Upstream) v1alpha1.MailUpstreamStatus {
	c := conditions{old: in.Object.Status.Conditions, generation: in.Object.Generation, now: in.Now}
	accepted := acceptedObject("MailUpstream "+in.Object.Namespace+"/"+in.Object.Name, in.Diagnostics)
	refs := in.resolvedRefs()
	ready := in.ready(accepted, refs)
	c.set(v1alpha1.ConditionReady, ready)
	c.set(v1alpha1.ConditionAccepted, accepted)
	c.set(v1alpha1.ConditionResolvedRefs, refs)
	c.set(v1alpha1.ConditionCredentialsValid, in.credentialsValid(refs))
	dns := in.dns(&c)
	if accepted.status == metav1.ConditionFalse {
		c.set(v1alpha1.ConditionStalled, yes(accepted.reason, accepted.message))
	}
	return v1alpha1.MailUpstreamStatus{
		ObservedGeneration: in.Object.Generation,
		Conditions:         c.out,
		DNS:                dns,
		Quota:              in.quota(),
		UsedBy:             usedBy(in.UsedBy),
	}
}

func (in *Upstream) resolvedRefs() verdict {
	var absent []string
	secrets := SecretsOfUpstream(in.Object)
	for _, r := range secrets {
		if slices.Contains(in.MissingSecrets, r.Name) {
			absent = append(absent, r.notFound())
		}
	}
	switch {
	case len(absent) > 0:
		return no(v1alpha1.ReasonSecretNotFound, firstOf(absent))
	case len(secrets) > 0 && len(in.reports()) == 0:
		return unknown(v1alpha1.ReasonPending, "the Secrets are seen by the relays that use it, and none has told yet")
	}
	return yes(v1alpha1.ReasonResolved, "every object that the spec names is there")
}

// reports are those about this upstream.
func (in *Upstream) reports() []UpstreamReport {
	return slices.DeleteFunc(slices.Clone(in.Reports), func(r UpstreamReport) bool { return r.Name != in.Object.Name })
}

func (in *Upstream) ready(accepted, refs verdict) verdict {
	reports := in.reports()
	var down []UpstreamReport
	for _, r := range reports {
		if r.Down {
			down = append(down, r)
		}
	}
	switch {
	case accepted.status != metav1.ConditionTrue:
		return accepted
	case refs.status == metav1.ConditionFalse:
		return refs
	case in.Object.Spec.Suspend:
		return no(v1alpha1.ReasonSuspended, "spec.suspend is true: mail for it stays in the queue")
	case in.any(refused):
		return no(v1alpha1.ReasonRejected, in.saying(credentialRefused, refused))
	case len(down) > 0:
		return no(v1alpha1.ReasonUnreachable, fmt.Sprintf("%d of %s cannot hand mail over, which waits: %s", len(down), count(len(reports), "instance", "instances"), withRemedy(down[0].LastError, down[0].Remedy)))
	case in.any(unreached):
		return no(v1alpha1.ReasonUnreachable, in.saying(notReached, unreached))
	case len(in.UsedBy) == 0:
		return yes(v1alpha1.ReasonReady, "the spec is accepted; no PrinterRelay names it")
	case len(reports) == 0:
		return unknown(v1alpha1.ReasonPending, "no instance of the relays that use it has told yet")
	}
	return yes(v1alpha1.ReasonReady, "mail is handed over"+in.warnings())
}

// acceptedObject is the verdict on one object by the findings about it.
func acceptedObject(object string, found plan.Diagnostics) verdict {
	var faults, warnings []string
	for _, d := range found {
		text := d.Field + ": " + d.Message
		switch {
		case d.Object != object || slices.Contains(faults, text) || slices.Contains(warnings, text):
		case d.Severity == plan.Error:
			faults = append(faults, text)
		default:
			warnings = append(warnings, text)
		}
	}
	switch {
	case len(faults) > 0:
		return no(v1alpha1.ReasonInvalid, firstOf(faults))
	case len(warnings) > 0:
		return yes(v1alpha1.ReasonAccepted, "the spec is accepted; warning: "+firstOf(warnings))
	}
	return yes(v1alpha1.ReasonAccepted, "the spec is accepted")
}

// usedBy lists relays by name, as many as the status holds.
func usedBy(relays []string) []v1alpha1.UsedBy {
	relays = slices.Compact(slices.Sorted(slices.Values(relays)))
	var out []v1alpha1.UsedBy
	for _, name := range relays[:min(len(relays), maxUsedBy)] {
		out = append(out, v1alpha1.UsedBy{Kind: "PrinterRelay", Name: name})
	}
	return out
}

const maxUsedBy = 100
