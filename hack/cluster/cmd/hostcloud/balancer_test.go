package main

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name string, kind corev1.ServiceType, class *string, addresses ...string) corev1.Service {
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: kind, LoadBalancerClass: class},
	}
	for _, a := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

func deleting(s corev1.Service) corev1.Service {
	s.DeletionTimestamp = &metav1.Time{}
	return s
}

func TestAssign(t *testing.T) {
	class := "another.example/class"
	balancer, cluster := corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeClusterIP
	for _, test := range []struct {
		name     string
		services []corev1.Service
		want     map[string]string // what changes; "" takes the address
	}{
		{"the first free ones", []corev1.Service{service("a", balancer, nil), service("b", balancer, nil)}, map[string]string{"a": "192.0.2.1", "b": "192.0.2.2"}},
		{"what has one keeps it", []corev1.Service{service("a", balancer, nil), service("b", balancer, nil, "192.0.2.1")}, map[string]string{"a": "192.0.2.2"}},
		{"a class is another's", []corev1.Service{service("a", balancer, &class)}, nil},
		{"other types", []corev1.Service{service("a", cluster, nil)}, nil},
		{"being deleted", []corev1.Service{deleting(service("a", balancer, nil))}, nil},
		{"no longer a load balancer", []corev1.Service{service("a", cluster, nil, "192.0.2.1")}, map[string]string{"a": ""}},
		{"another's address", []corev1.Service{service("a", balancer, &class, "198.51.100.1")}, nil},
	} {
		changed, err := assign(test.services, netip.MustParsePrefix("192.0.2.0/29"))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		got := map[string]string{}
		for _, s := range changed {
			got[s.Name] = ""
			for _, ingress := range s.Status.LoadBalancer.Ingress {
				got[s.Name] += ingress.IP
			}
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		for name, want := range test.want {
			if address, ok := got[name]; !ok || address != want {
				t.Errorf("%s: %s: %q (changed %v), want %q", test.name, name, address, ok, want)
			}
		}
	}
}

func TestAssignWithoutFreeAddress(t *testing.T) {
	balancer := corev1.ServiceTypeLoadBalancer
	changed, err := assign([]corev1.Service{service("a", balancer, nil), service("b", balancer, nil), service("c", balancer, nil)}, netip.MustParsePrefix("192.0.2.0/30"))
	if len(changed) != 2 || err == nil {
		t.Errorf("%d changed, error %v: the first two should have got one, the third an error", len(changed), err)
	}
}
