package render

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Fields that a type of Service does not know are left out: the API server
// refuses some, and drops others, which would be written again for ever.
func TestServiceFieldsByType(t *testing.T) {
	class := "example.com/x"
	full := v1alpha1.Service{
		LoadBalancerClass: &class, LoadBalancerSourceRanges: []v1alpha1.CIDR{"10.20.0.7/16"},
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, SessionAffinity: corev1.ServiceAffinityClientIP,
	}
	tests := []struct {
		kind                      corev1.ServiceType
		class, ranges, extTraffic bool
	}{
		{"", true, true, true},
		{corev1.ServiceTypeLoadBalancer, true, true, true},
		{corev1.ServiceTypeNodePort, false, false, true},
		{corev1.ServiceTypeClusterIP, false, false, false},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			in := minimal(t)
			in.Relay.Spec.Service = full
			in.Relay.Spec.Service.Type = tt.kind
			s := objects(t, in).Service.Spec
			if (s.LoadBalancerClass != nil) != tt.class || (s.LoadBalancerSourceRanges != nil) != tt.ranges || (s.ExternalTrafficPolicy != nil) != tt.extTraffic {
				t.Errorf("got %s", mustJSON(t, s))
			}
			if s.SessionAffinity == nil || *s.SessionAffinity != corev1.ServiceAffinityClientIP {
				t.Errorf("session affinity %v", s.SessionAffinity)
			}
			if tt.ranges && !slices.Equal(s.LoadBalancerSourceRanges, []string{"10.20.0.0/16"}) {
				t.Errorf("source ranges %q", s.LoadBalancerSourceRanges)
			}
		})
	}
}

func TestServicePortsAreTheListeners(t *testing.T) {
	in := load(t, "testdata/loadbalancer")
	got := map[string][2]int32{}
	for _, p := range objects(t, in).Service.Spec.Ports {
		got[*p.Name] = [2]int32{*p.Port, p.TargetPort.IntVal}
		if *p.Protocol != corev1.ProtocolTCP {
			t.Errorf("%s: %s", *p.Name, *p.Protocol)
		}
	}
	want := map[string][2]int32{"legacy": {25, 10025}, "submission": {587, 10587}, "tls": {465, 10465}}
	if len(got) != len(want) {
		t.Errorf("ports %v, want %v", got, want)
	}
	for name, p := range want {
		if got[name] != p {
			t.Errorf("%s: %v, want %v", name, got[name], p)
		}
	}
}

func TestWhoReachesAListener(t *testing.T) {
	const local, cluster = corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster
	ranges := []v1alpha1.CIDR{"10.20.0.7/16", "fd00:20::1/64"}
	tests := map[string]struct {
		service v1alpha1.Service
		proxies []v1alpha1.CIDR
		want    []string // nil: everybody
	}{
		"everybody":                           {v1alpha1.Service{ExternalTrafficPolicy: local}, nil, nil},
		"everybody, by a proxy":               {v1alpha1.Service{ExternalTrafficPolicy: local}, []v1alpha1.CIDR{"10.0.0.1/32"}, nil},
		"source ranges":                       {v1alpha1.Service{LoadBalancerSourceRanges: ranges, ExternalTrafficPolicy: local}, nil, []string{"10.20.0.0/16", "fd00:20::/64"}},
		"source ranges, and a proxy":          {v1alpha1.Service{LoadBalancerSourceRanges: ranges, ExternalTrafficPolicy: local}, []v1alpha1.CIDR{"10.0.0.1/32"}, []string{"10.20.0.0/16", "fd00:20::/64", "10.0.0.1/32"}},
		"source ranges that nobody sees here": {v1alpha1.Service{LoadBalancerSourceRanges: ranges, ExternalTrafficPolicy: cluster}, nil, nil},
		"source ranges of another type":       {v1alpha1.Service{Type: corev1.ServiceTypeNodePort, LoadBalancerSourceRanges: ranges}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := minimal(t)
			in.Relay.Spec.Service = tt.service
			in.Relay.Spec.Listeners[0].ProxyProtocol.TrustedNetworks = tt.proxies
			rule := ruleFor(t, objects(t, in).NetworkPolicy, 10025)
			var got []string
			for _, p := range rule.From {
				got = append(got, *p.IPBlock.CIDR)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("from %q, want %q", got, tt.want)
			}
		})
	}
}

// The admin port holds addresses: it is not open to the copiers' network.
func TestWhoReachesTheAdminPort(t *testing.T) {
	in := minimal(t)
	in.Settings.MetricsNamespaces = []string{"monitoring", in.Settings.OperatorNamespace}
	policy := objects(t, in).NetworkPolicy
	for _, port := range []int32{AdminPort, ProbesPort} {
		var got []string
		for _, p := range ruleFor(t, policy, port).From {
			if p.IPBlock != nil || p.PodSelector != nil {
				t.Errorf("port %d: %s", port, mustJSON(t, p))
				continue
			}
			got = append(got, p.NamespaceSelector.MatchLabels[corev1.LabelMetadataName])
		}
		if want := []string{"monitoring", "printer-relay-system"}; !slices.Equal(got, want) {
			t.Errorf("port %d from namespaces %q, want %q", port, got, want)
		}
	}
}

// ruleFor is the one rule that opens a port.
func ruleFor(t *testing.T, p *networkingac.NetworkPolicyApplyConfiguration, port int32) *networkingac.NetworkPolicyIngressRuleApplyConfiguration {
	t.Helper()
	var found []*networkingac.NetworkPolicyIngressRuleApplyConfiguration
	for i := range p.Spec.Ingress {
		for _, q := range p.Spec.Ingress[i].Ports {
			if q.Port.IntVal == port {
				found = append(found, &p.Spec.Ingress[i])
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d rules for port %d", len(found), port)
	}
	return found[0]
}

func TestDisruptionBudgetNeedsTwoInstances(t *testing.T) {
	for replicas, want := range map[int32]bool{1: false, 2: true, 16: true} {
		in := minimal(t)
		in.Relay.Spec.Replicas = &replicas
		if got := objects(t, in).PodDisruptionBudget != nil; got != want {
			t.Errorf("%d replicas: a PodDisruptionBudget: %v", replicas, got)
		}
	}
}

// Certificates are asked for only where there is somebody to make them.
func TestCertificatesNeedCertManager(t *testing.T) {
	in := load(t, "testdata/cert-manager")
	if n := len(objects(t, in).Certificates); n != 2 {
		t.Errorf("%d Certificates, want one for each of 2 listeners with an issuerRef", n)
	}
	in.Settings.CertManager = false
	if n := len(objects(t, in).Certificates); n != 0 {
		t.Errorf("%d Certificates without cert-manager", n)
	}
}

// With Retain the volume outlives the relay, and with Delete the operator says
// when it goes: in no case does Kubernetes' garbage collection.
func TestOnlyVolumesHaveNoOwner(t *testing.T) {
	for _, dir := range cases(t) {
		set := objects(t, load(t, dir))
		for _, o := range all(set) {
			m := struct {
				Kind     string
				Metadata struct {
					Name            string
					OwnerReferences []struct {
						Controller bool
						UID        string
					}
				}
			}{}
			decode(t, o, &m)
			owned := len(m.Metadata.OwnerReferences) == 1 && m.Metadata.OwnerReferences[0].Controller && m.Metadata.OwnerReferences[0].UID != ""
			if want := m.Kind != "PersistentVolumeClaim"; owned != want {
				t.Errorf("%s: %s %s: owned by the relay: %v, want %v", dir, m.Kind, m.Metadata.Name, owned, want)
			}
		}
	}
}

func TestInstances(t *testing.T) {
	two := int32(2)
	tests := map[string]struct {
		draining, instances []int
		want, drains        []string
	}{
		"replicas":           {nil, nil, []string{"office-0", "office-1"}, nil},
		"scaled down":        {[]int{3, 2}, nil, []string{"office-0", "office-1", "office-2", "office-3"}, []string{"office-2", "office-3"}},
		"one drains, stays":  {[]int{1}, nil, []string{"office-0", "office-1"}, []string{"office-1"}},
		"being deleted":      {[]int{0, 1}, []int{1}, []string{"office-1"}, []string{"office-1"}},
		"deleted, none left": {[]int{0, 1}, []int{}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := minimal(t)
			in.Relay.Spec.Replicas, in.Draining, in.Instances = &two, tt.draining, tt.instances
			var got, drains []string
			for _, i := range objects(t, in).Instances {
				got = append(got, i.Name)
				if i.Draining {
					drains = append(drains, i.Name)
				}
				if *i.Volume.Name != i.Name || *i.Deployment.Name != i.Name || InstanceName("office", i.Number) != i.Name {
					t.Errorf("instance %q has volume %q and Deployment %q", i.Name, *i.Volume.Name, *i.Deployment.Name)
				}
			}
			if !slices.Equal(got, tt.want) || !slices.Equal(drains, tt.drains) {
				t.Errorf("instances %q, draining %q; want %q, %q", got, drains, tt.want, tt.drains)
			}
		})
	}
}

// An Ephemeral spool has a bound of its own: a node's disk is not the relay's.
func TestEphemeralSpool(t *testing.T) {
	set := objects(t, load(t, "testdata/ephemeral"))
	for _, i := range set.Instances {
		if i.Volume != nil {
			t.Errorf("%s has a volume", i.Name)
		}
	}
	for _, d := range deployments(t, set) {
		v := d.Spec.Template.Spec.Volumes[0]
		if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.IsZero() || v.PersistentVolumeClaim != nil {
			t.Errorf("%s: %s", d.Name, mustJSON(t, v))
		}
	}
}

// Local alone keeps a client's address, and a Service inside the cluster changes none.
func TestHidesClients(t *testing.T) {
	for _, tc := range []struct {
		kind   corev1.ServiceType
		policy corev1.ServiceExternalTrafficPolicy
		want   bool
	}{
		{corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal, false},
		{corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyCluster, true},
		{corev1.ServiceTypeLoadBalancer, "", true}, // the API server's default is Cluster
		{"", corev1.ServiceExternalTrafficPolicyCluster, true},
		{corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyLocal, false},
		{corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyCluster, true},
		{corev1.ServiceTypeClusterIP, corev1.ServiceExternalTrafficPolicyCluster, false},
	} {
		if got := HidesClients(&v1alpha1.Service{Type: tc.kind, ExternalTrafficPolicy: tc.policy}); got != tc.want {
			t.Errorf("%s %s: %v", tc.kind, tc.policy, got)
		}
	}
}
