package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Of gives the status of a PrinterRelay.
func Of(in Relay) v1alpha1.PrinterRelayStatus {
	s := &relay{Relay: in, missing: Missing(in.Object, in.Upstreams, in.Policies)}
	for _, i := range in.Instances {
		s.states = append(s.states, s.judge(i))
	}
	c := conditions{old: in.Object.Status.Conditions, generation: in.Object.Generation, now: in.Now}
	accepted, refs, programmed := s.accepted(), s.resolvedRefs(), s.programmed()
	ready := s.ready(accepted, refs)
	c.set(v1alpha1.ConditionReady, ready)
	c.set(v1alpha1.ConditionAccepted, accepted)
	c.set(v1alpha1.ConditionResolvedRefs, refs)
	c.set(v1alpha1.ConditionProgrammed, programmed)
	c.set(v1alpha1.ConditionDurable, s.durable())
	c.set(v1alpha1.ConditionClientAddressesKnown, s.clientAddressesKnown())
	switch {
	case ready.status == "True":
	case s.stalled(accepted):
		c.set(v1alpha1.ConditionStalled, yes(ready.reason, ready.message))
	case s.moving():
		c.set(v1alpha1.ConditionReconciling, yes(ready.reason, ready.message))
	}
	return v1alpha1.PrinterRelayStatus{
		ObservedGeneration: in.Object.Generation,
		Conditions:         c.out,
		Addresses:          s.addresses(),
		Listeners:          s.listeners(),
		Replicas:           s.replicas(),
		Instances:          s.instances(),
		Queue:              s.queue(),
		Copiers:            s.copiers(),
	}
}

// relay is what was seen, judged.
type relay struct {
	Relay
	missing []Reference
	states  []state // of Instances
}

// accepted: the spec compiles, with all that it names. What is missing is
// ResolvedRefs' to say.
func (s *relay) accepted() verdict {
	var faults, warnings []string
	for _, d := range s.Diagnostics {
		if d.Missing != "" {
			continue
		}
		if d.Severity != plan.Error {
			warnings = append(warnings, d.Error())
			continue
		}
		faults = append(faults, d.Error())
	}
	for _, f := range s.Failures {
		if f.Reason == v1alpha1.ReasonTooLarge || f.Reason == v1alpha1.ReasonInvalid {
			return no(f.Reason, f.Message)
		}
	}
	switch {
	case len(faults) > 0:
		return no(v1alpha1.ReasonInvalid, firstOf(faults)+s.meanwhile())
	case len(s.missing) > 0:
		return unknown(v1alpha1.ReasonPending, "waits for what it names: see "+v1alpha1.ConditionResolvedRefs)
	case len(warnings) > 0:
		return yes(v1alpha1.ReasonAccepted, "the spec is accepted; warning: "+firstOf(warnings))
	}
	return yes(v1alpha1.ReasonAccepted, "the spec is accepted")
}

// meanwhile says what the instances do while there is no plan of the spec.
func (s *relay) meanwhile() string {
	switch {
	case len(s.Instances) == 0:
		return "; no instance runs until then"
	case s.Plan != nil && s.Plan.Intake == plan.IntakeRefuse:
		return "; until then no new mail is taken, and what is queued is delivered"
	}
	return "; until then the instances go on with the configuration before"
}

// resolvedRefs: every object and Secret that is named is there. Secrets are the
// instances' to see: the operator has no right to.
func (s *relay) resolvedRefs() verdict {
	var absent []string
	for _, r := range s.missing {
		absent = append(absent, r.notFound())
	}
	if len(absent) > 0 {
		return no(v1alpha1.ReasonReferenceNotFound, firstOf(absent)+s.meanwhile())
	}
	if f := s.withoutCertManager(); f != "" {
		return no(v1alpha1.ReasonCertManagerNotFound, f)
	}
	if absent = s.missingSecrets(); len(absent) > 0 {
		return no(v1alpha1.ReasonSecretNotFound, firstOf(absent))
	}
	if s.Plan != nil && len(s.Plan.SecretRefs) > 0 && !slices.ContainsFunc(s.states, func(i state) bool { return i.Report != nil }) {
		return unknown(v1alpha1.ReasonPending, "the Secrets are seen by the instances, and none has answered yet")
	}
	return yes(v1alpha1.ReasonResolved, "every object that the spec names is there")
}

// withoutCertManager names the first listener that wants a certificate that
// nobody will make.
func (s *relay) withoutCertManager() string {
	if s.CertManager {
		return ""
	}
	for i := range s.Object.Spec.Listeners {
		if s.Object.Spec.Listeners[i].TLS.IssuerRef != nil {
			return fmt.Sprintf("%s: spec.listeners[%d].tls.issuerRef: cert-manager is not installed in the cluster: install it, or name a Secret in certificateRefs", s.name(), i)
		}
	}
	return ""
}

// missingSecrets names those that an instance does not find, by the fields
// that name them.
func (s *relay) missingSecrets() []string {
	missing := map[string]bool{}
	for _, i := range s.states {
		for _, name := range i.SecretsMissing() {
			missing[name] = true
		}
	}
	refs := SecretsOfRelay(s.Object)
	seen := map[string]bool{}
	for _, r := range References(s.Object) {
		if u := s.Upstreams[r.Name]; r.Kind == "MailUpstream" && u != nil && !seen[r.Name] {
			seen[r.Name] = true
			refs = append(refs, SecretsOfUpstream(u)...)
		}
	}
	var out []string
	for _, r := range refs {
		if !missing[r.Name] {
			continue
		}
		if strings.HasSuffix(r.Field, ".issuerRef") {
			out = append(out, fmt.Sprintf("%s: %s: cert-manager has not made Secret %q yet: see Certificate %q", r.Object, r.Field, r.Name, r.Name))
			continue
		}
		out = append(out, r.notFound())
	}
	return out
}

// name of the object, as findings write it.
func (s *relay) name() string { return "PrinterRelay " + s.Object.Namespace + "/" + s.Object.Name }

// programmed: every instance runs the plan.
func (s *relay) programmed() verdict {
	switch {
	case s.Plan == nil:
		return no(v1alpha1.ReasonPending, "there is no configuration to run yet")
	case s.Diagnostics.Failed() || len(s.missing) > 0:
		return no(v1alpha1.ReasonPending, "the spec is not what runs"+s.meanwhile())
	}
	for _, i := range s.states {
		if i.phase != steady && i.phase != draining {
			return no(i.reason(), i.message)
		}
		if i.phase == draining && (i.Report == nil || i.Report.PlanHash != s.Plan.Hash) {
			return no(v1alpha1.ReasonRollingOut, fmt.Sprintf("instance %q has not taken up the configuration yet", i.Name))
		}
	}
	if len(s.states) == 0 {
		return no(v1alpha1.ReasonPending, "no instance is there yet")
	}
	return yes(v1alpha1.ReasonProgrammed, "every instance runs the configuration")
}
