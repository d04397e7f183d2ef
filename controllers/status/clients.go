package status

import (
	"fmt"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Clients is whether addresses tell who a client is.
type Clients struct {
	Hidden bool // the Service hides all of them
	Nodes  bool // the addresses of Nodes are known, or the command line names the cluster's networks
	Pods   bool // so are those of Pods
}

// clientAddressesKnown: rules on networks see the client itself.
func (s *relay) clientAddressesKnown() verdict {
	const remedy = "name the networks of nodes and Pods with the operator's --cluster-networks (clusterNetworks of the chart)"
	switch {
	case s.Clients.Hidden:
		return no(v1alpha1.ReasonAddressesHidden, fmt.Sprintf("Service %q has externalTrafficPolicy: Cluster, which puts a node's address in place of each client's: %s; set spec.service.externalTrafficPolicy: Local, or let devices log in and name them in match.users", s.Object.Name, s.withoutAddresses()))
	case s.Plan != nil && s.Plan.HiddenClients.All:
		return no(v1alpha1.ReasonAddressesHidden, fmt.Sprintf("the annotation %s says that no address is a client's own: %s", v1alpha1.AnnotationHiddenClients, s.withoutAddresses()))
	case !s.Clients.Nodes:
		return unknown(v1alpha1.ReasonClusterNetworksUnknown, "the operator may not list Nodes, so that clients with a node's or a Pod's address are taken for what rules on networks say: bind the ClusterRole printer-relay-operator-nodes to it, or "+remedy)
	case !s.Clients.Pods:
		return unknown(v1alpha1.ReasonClusterNetworksUnknown, "an instance's Pod has an address that is in no podCIDR of the Nodes, so that clients with a Pod's address are taken for what rules on networks say: "+remedy)
	}
	return yes(v1alpha1.ReasonKnown, "rules on networks see the client's own address; who comes from a node or Pod is in no network")
}

// withoutAddresses says what comes of it.
func (s *relay) withoutAddresses() string {
	if s.Plan == nil || !s.Plan.NamesNetworks() {
		return "no rule or route names networks, so nothing depends on it"
	}
	return "rules on networks let nobody in, those that reject networks reject everybody, and routes and overrides by networks do not count"
}

// openRelay names the listeners of an instance that would relay for anybody; empty:
// there is none.
func openRelay(r *Report) string {
	if r == nil || len(r.OpenRelay) == 0 {
		return ""
	}
	return fmt.Sprintf("would relay for anybody, as it found by trying (listener %s): set spec.intake: Refuse, and report it (SECURITY.md)", firstOf(r.OpenRelay))
}
