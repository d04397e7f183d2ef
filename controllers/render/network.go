package render

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// service stands in front of all instances. Fields that its type does not know
// are left out: the API server refuses some of them.
func (r *renderer) service() *coreac.ServiceApplyConfiguration {
	s := &r.Relay.Spec.Service
	spec := coreac.ServiceSpec().
		WithType(serviceType(s)).
		WithSelector(Selector(r.Relay.Name))
	if s.SessionAffinity != "" {
		spec.WithSessionAffinity(s.SessionAffinity)
	}
	if s.IPFamilyPolicy != nil {
		spec.WithIPFamilyPolicy(*s.IPFamilyPolicy)
	}
	if external(s) && s.ExternalTrafficPolicy != "" {
		spec.WithExternalTrafficPolicy(s.ExternalTrafficPolicy)
	}
	if serviceType(s) == corev1.ServiceTypeLoadBalancer {
		if s.LoadBalancerClass != nil {
			spec.WithLoadBalancerClass(*s.LoadBalancerClass)
		}
		for _, c := range s.LoadBalancerSourceRanges {
			spec.WithLoadBalancerSourceRanges(network(c))
		}
	}
	for i := range r.listeners {
		l := &r.listeners[i]
		spec.WithPorts(coreac.ServicePort().
			WithName(l.Name).WithProtocol(corev1.ProtocolTCP).
			WithPort(l.Port).WithTargetPort(intstr.FromInt32(l.Port + PortOffset)))
	}
	out := coreac.Service(r.Relay.Name, r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)).
		WithSpec(spec)
	if len(s.Annotations) > 0 {
		out.WithAnnotations(s.Annotations)
	}
	return out
}

func serviceType(s *v1alpha1.Service) corev1.ServiceType {
	if s.Type == "" {
		return corev1.ServiceTypeLoadBalancer
	}
	return s.Type
}

// external tells whether the Service is reached from outside the cluster.
func external(s *v1alpha1.Service) bool { return serviceType(s) != corev1.ServiceTypeClusterIP }

// HidesClients tells whether connections through the Service come from a node's
// address in place of the client's.
func HidesClients(s *v1alpha1.Service) bool {
	return external(s) && s.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal
}

// networkPolicy lets copiers in to the listeners, and the operator and metrics
// to the admin and probes ports. The kubelet's probes come from the node, which no
// NetworkPolicy keeps out.
func (r *renderer) networkPolicy() *networkingac.NetworkPolicyApplyConfiguration {
	spec := networkingac.NetworkPolicySpec().
		WithPodSelector(metaac.LabelSelector().WithMatchLabels(Selector(r.Relay.Name))).
		WithPolicyTypes(networkingv1.PolicyTypeIngress)
	for i := range r.listeners {
		l := &r.listeners[i]
		spec.WithIngress(networkingac.NetworkPolicyIngressRule().
			WithPorts(tcp(l.Port + PortOffset)).
			WithFrom(r.clients(l)...))
	}
	spec.WithIngress(networkingac.NetworkPolicyIngressRule().
		WithPorts(tcp(AdminPort), tcp(ProbesPort)).
		WithFrom(r.observers()...))
	return networkingac.NetworkPolicy(NetworkPolicyName(r.Relay.Name), r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)).
		WithSpec(spec)
}

// clients are who may connect to a listener; none given means everybody. Source
// ranges hold here too, where the Pod sees the copier's own address: not with
// externalTrafficPolicy Cluster. A load balancer that speaks PROXY protocol comes
// from its own address, and looks at the ranges itself.
func (r *renderer) clients(l *v1alpha1.Listener) []*networkingac.NetworkPolicyPeerApplyConfiguration {
	s := &r.Relay.Spec.Service
	if serviceType(s) != corev1.ServiceTypeLoadBalancer || s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyCluster {
		return nil
	}
	if len(s.LoadBalancerSourceRanges) == 0 {
		return nil
	}
	var out []*networkingac.NetworkPolicyPeerApplyConfiguration
	for _, c := range slices.Concat(s.LoadBalancerSourceRanges, l.ProxyProtocol.TrustedNetworks) {
		out = append(out, networkingac.NetworkPolicyPeer().WithIPBlock(networkingac.IPBlock().WithCIDR(network(c))))
	}
	return out
}

// network is a CIDR without bits behind its mask, about which the API server
// would warn at every write.
func network(c v1alpha1.CIDR) string {
	p, err := netip.ParsePrefix(string(c))
	if err != nil {
		return string(c) // the API server refuses it, and says so
	}
	return p.Masked().String()
}

// observers are the namespaces that may reach the admin and probes ports.
func (r *renderer) observers() []*networkingac.NetworkPolicyPeerApplyConfiguration {
	namespaces := append([]string{r.Settings.OperatorNamespace}, r.Settings.MetricsNamespaces...)
	slices.Sort(namespaces)
	var out []*networkingac.NetworkPolicyPeerApplyConfiguration
	for _, ns := range slices.Compact(namespaces) {
		out = append(out, networkingac.NetworkPolicyPeer().WithNamespaceSelector(
			metaac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: ns})))
	}
	return out
}

func tcp(port int32) *networkingac.NetworkPolicyPortApplyConfiguration {
	return networkingac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(port))
}
