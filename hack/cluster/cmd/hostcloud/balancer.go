package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

type balancer struct {
	client kubernetes.Interface
	prefix netip.Prefix
}

// sync gives addresses to Services that wait for one, and takes them from those
// that no longer are load balancers.
func (b *balancer) sync(ctx context.Context) error {
	list, err := b.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	changed, problem := assign(list.Items, b.prefix)
	errs := []error{problem}
	for i := range changed {
		s := &changed[i]
		if _, err := b.client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{}); err != nil {
			errs = append(errs, err)
			continue
		}
		log.Printf("Service %s/%s: %v", s.Namespace, s.Name, s.Status.LoadBalancer.Ingress)
	}
	return errors.Join(errs...)
}

// assign returns the Services whose status has to change, changed. A Service
// keeps the address it has; one with a class is another controller's.
func assign(services []corev1.Service, prefix netip.Prefix) ([]corev1.Service, error) {
	used := map[netip.Addr]bool{}
	for i := range services {
		for _, a := range ours(&services[i], prefix) {
			used[a] = true
		}
	}
	var changed []corev1.Service
	for i := range services {
		s := services[i].DeepCopy()
		wanted := s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil
		switch have := len(s.Status.LoadBalancer.Ingress) > 0; {
		case wanted && !have && s.DeletionTimestamp == nil:
			address, ok := free(prefix, used)
			if !ok {
				return changed, fmt.Errorf("no address is free in %s for Service %s/%s: delete a LoadBalancer Service", prefix, s.Namespace, s.Name)
			}
			used[address] = true
			mode := corev1.LoadBalancerIPModeVIP
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String(), IPMode: &mode}}
			changed = append(changed, *s)
		case !wanted && len(ours(s, prefix)) > 0:
			s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
			changed = append(changed, *s)
		}
	}
	return changed, nil
}

// ours returns the addresses in a Service's status that come from prefix.
func ours(s *corev1.Service, prefix netip.Prefix) []netip.Addr {
	var found []netip.Addr
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(ingress.IP); err == nil && prefix.Contains(a) {
			found = append(found, a)
		}
	}
	return found
}

// free returns the first address that is not used, neither the first nor the
// last of prefix.
func free(prefix netip.Prefix, used map[netip.Addr]bool) (netip.Addr, bool) {
	for a := prefix.Masked().Addr().Next(); prefix.Contains(a.Next()); a = a.Next() {
		if !used[a] {
			return a, true
		}
	}
	return netip.Addr{}, false
}
