package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// ready is whether the relay does what its spec says, by the first thing that
// keeps it from that. While instances change one after the other, and another
// takes mail, nobody can say that it does not work: that is Unknown.
func (s *relay) ready(accepted, refs verdict) verdict {
	switch {
	case s.Object.DeletionTimestamp != nil:
		return no(v1alpha1.ReasonDeleting, s.deleting())
	case accepted.status == "False":
		return accepted
	case refs.status == "False":
		return refs
	}
	for _, f := range s.Failures {
		return no(f.reason(), f.Message)
	}
	if v, wrong := s.instancesReady(); wrong {
		return v
	}
	if s.awaitsAddress() {
		return no(v1alpha1.ReasonAddressPending, fmt.Sprintf("Service %q has no address yet: a load balancer of the cluster must give it one; without one, set spec.service.type: NodePort", s.Object.Name))
	}
	if accepted.status != "True" || refs.status != "True" {
		return unknown(v1alpha1.ReasonPending, refs.message)
	}
	return yes(v1alpha1.ReasonReady, s.works())
}

func (f Failure) reason() string {
	if f.Reason != "" {
		return f.Reason
	}
	return v1alpha1.ReasonApplyFailed
}

// deleting says what keeps the relay.
func (s *relay) deleting() string {
	var left []string
	for _, i := range s.states {
		left = append(left, i.message)
	}
	if len(left) == 0 {
		return "the relay is being deleted"
	}
	return "the relay is being deleted: " + firstOf(left)
}

// instancesReady gives the verdict on the instances, if it is not that all
// that are wanted take mail by the plan, and no other is left.
func (s *relay) instancesReady() (verdict, bool) {
	var serving, wanted int
	worst := -1 // of states
	for i, st := range s.states {
		if !st.Draining {
			wanted++
		}
		if st.serves {
			serving++
		}
		if st.phase != steady && (worst < 0 || st.phase > s.states[worst].phase) {
			worst = i
		}
	}
	switch {
	case wanted == 0:
		return no(v1alpha1.ReasonPending, "no instance is there yet"), true
	case worst < 0:
		return verdict{}, false
	}
	w := s.states[worst]
	message := fmt.Sprintf("%d of %s take mail: %s", serving, count(wanted, "instance", "instances"), w.message)
	switch {
	case w.phase > draining || serving == 0:
		return no(w.reason(), message), true
	default:
		return unknown(w.reason(), message), true
	}
}

// awaitsAddress tells whether copiers have no address to connect to yet.
func (s *relay) awaitsAddress() bool {
	return s.Service == nil || (s.Service.Spec.Type == corev1.ServiceTypeLoadBalancer && len(s.Service.Status.LoadBalancer.Ingress) == 0)
}

// works says how the relay works: where copiers connect, and what a person
// should know though it is as the spec says.
func (s *relay) works() string {
	parts := []string{count(len(s.states), "instance takes mail", "instances take mail")}
	switch s.Object.Spec.Intake {
	case v1alpha1.IntakeHold:
		parts[0] += ", and spec.intake: Hold keeps it until it is released"
	case v1alpha1.IntakeRefuse:
		parts[0] = "spec.intake: Refuse: no new mail is taken" + suspendedFor(s.Object)
	case v1alpha1.IntakeAccept:
	}
	if s.Service.Spec.Type == corev1.ServiceTypeNodePort {
		parts = append(parts, "copiers connect to a node's address: "+s.nodePorts())
	}
	if s.Plan != nil && s.Plan.HiddenClients.All && s.Plan.NamesNetworks() {
		parts = append(parts, "clients' addresses are hidden, so that rules on networks let nobody in: see condition "+v1alpha1.ConditionClientAddressesKnown)
	}
	if down := s.down(); len(down) > 0 {
		parts = append(parts, fmt.Sprintf("mail for MailUpstream %s waits: see its status", strings.Join(down, ", ")))
	}
	return strings.Join(parts, "; ")
}

// nodePorts lists the ports by the listeners' names.
func (s *relay) nodePorts() string {
	var out []string
	for _, p := range s.Service.Spec.Ports {
		out = append(out, fmt.Sprintf("port %d is listener %q", p.NodePort, p.Name))
	}
	return strings.Join(out, ", ")
}

// down are the upstreams that an instance cannot hand mail to, sorted.
func (s *relay) down() []string {
	var out []string
	for _, i := range s.states {
		if i.Report == nil {
			continue
		}
		for _, u := range i.Report.Upstreams {
			if u.unwell() {
				out = append(out, fmt.Sprintf("%q", u.Name))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// stalled tells whether nothing goes on without a person. A missing reference
// is not that: it may be on its way.
func (s *relay) stalled(accepted verdict) bool {
	if s.Object.DeletionTimestamp != nil {
		return false
	}
	if accepted.status == "False" || slices.ContainsFunc(s.Failures, func(f Failure) bool { return !f.Temporary }) {
		return true
	}
	return slices.ContainsFunc(s.states, func(i state) bool { return i.phase == stuck })
}

// moving tells whether something goes on by itself.
func (s *relay) moving() bool {
	if s.Object.DeletionTimestamp != nil || len(s.states) == 0 || len(s.Failures) > 0 || s.awaitsAddress() {
		return true
	}
	return slices.ContainsFunc(s.states, func(i state) bool { return i.phase == rolling || i.phase == draining })
}

// durable: what was acknowledged outlives the Pod.
func (s *relay) durable() verdict {
	if s.Object.Spec.Spool.Type == v1alpha1.SpoolEphemeral {
		return no(v1alpha1.ReasonEphemeral, "spec.spool.type: Ephemeral: nothing outlives the Pod, so a scan is acknowledged only when the upstream has taken it")
	}
	if len(s.states) == 0 {
		return unknown(v1alpha1.ReasonVolumePending, "no volume is there yet")
	}
	for _, i := range s.states {
		switch {
		case i.Volume == nil:
			return unknown(v1alpha1.ReasonVolumePending, fmt.Sprintf("PersistentVolumeClaim %q is not there yet", i.Name))
		case i.Volume.Status.Phase == corev1.ClaimLost:
			return no(v1alpha1.ReasonVolumeLost, fmt.Sprintf("the volume of PersistentVolumeClaim %q is gone, and what was on it: bring it back, or delete the claim to begin anew", i.Name))
		case i.Volume.DeletionTimestamp != nil && !i.Draining:
			return no(v1alpha1.ReasonVolumeLost, fmt.Sprintf("PersistentVolumeClaim %q is being deleted, and goes with what is queued on it when its Pod ends: scale the relay down past the instance first, so that it delivers what it has", i.Name))
		case i.Volume.Status.Phase != corev1.ClaimBound:
			return unknown(v1alpha1.ReasonVolumePending, fmt.Sprintf("PersistentVolumeClaim %q is not bound yet", i.Name))
		}
	}
	return yes(v1alpha1.ReasonPersistent, "every instance has a volume of its own")
}

// addresses that copiers connect to. Those of nodes are not listed.
func (s *relay) addresses() []v1alpha1.RelayAddress {
	if s.Service == nil {
		return nil
	}
	var out []v1alpha1.RelayAddress
	switch s.Service.Spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		for _, i := range s.Service.Status.LoadBalancer.Ingress {
			if i.IP != "" {
				out = append(out, v1alpha1.RelayAddress{Type: "IPAddress", Value: i.IP})
			}
			if i.Hostname != "" {
				out = append(out, v1alpha1.RelayAddress{Type: "Hostname", Value: i.Hostname})
			}
		}
	case corev1.ServiceTypeClusterIP:
		domain := s.ClusterDomain
		if domain == "" {
			domain = "cluster.local"
		}
		out = append(out, v1alpha1.RelayAddress{Type: "Hostname", Value: s.Service.Name + "." + s.Service.Namespace + ".svc." + domain})
		for _, ip := range s.Service.Spec.ClusterIPs {
			out = append(out, v1alpha1.RelayAddress{Type: "IPAddress", Value: ip})
		}
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeExternalName:
	}
	return out[:min(len(out), maxAddresses)]
}

const maxAddresses = 16
