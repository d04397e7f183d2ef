package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/console"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// InstanceDocuments gives what asks the Pod of a relay for documents of its admin
// port. instances.Reader implements it.
type InstanceDocuments interface {
	Ask(relay types.NamespacedName, podIP string) admin.Ask
}

// consoleSource tells the console of the relays in the cluster.
type consoleSource struct {
	client    client.Reader // the cache
	nodes     *nodes
	documents InstanceDocuments
}

// Relays implements console.Source.
func (s *consoleSource) Relays(ctx context.Context) ([]console.Relay, error) {
	var list v1alpha1.PrinterRelayList
	var pods corev1.PodList
	if err := errors.Join(s.client.List(ctx, &list, client.UnsafeDisableDeepCopy), s.client.List(ctx, &pods, client.UnsafeDisableDeepCopy)); err != nil {
		return nil, fmt.Errorf("what is in the cluster cannot be read: %w", err)
	}
	byRelay := map[types.NamespacedName][]*corev1.Pod{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if name := pod.Labels[render.LabelRelay]; name != "" && pod.DeletionTimestamp == nil {
			k := types.NamespacedName{Namespace: pod.Namespace, Name: name}
			byRelay[k] = append(byRelay[k], pod)
		}
	}
	out := make([]console.Relay, 0, len(list.Items))
	for i := range list.Items {
		r := &list.Items[i]
		k := client.ObjectKeyFromObject(r)
		relay := console.Relay{Namespace: r.Namespace, Name: r.Name, Findings: findingsOf(r)}
		for _, a := range r.Status.Addresses {
			relay.Addresses = append(relay.Addresses, a.Value)
		}
		relay.Instances = s.instances(r, byRelay[k])
		out = append(out, relay)
	}
	slices.SortFunc(out, func(a, b console.Relay) int { return strings.Compare(a.Key(), b.Key()) })
	return out, nil
}

// instances are those that are to be, and those that drain.
func (s *consoleSource) instances(r *v1alpha1.PrinterRelay, pods []*corev1.Pod) (out []console.Instance) {
	newest := map[string]*corev1.Pod{}
	for n := range render.Replicas(r) {
		newest[render.InstanceName(r.Name, n)] = nil
	}
	for _, pod := range pods {
		name := pod.Labels[render.LabelInstance]
		if old := newest[name]; old == nil || old.CreationTimestamp.Before(&pod.CreationTimestamp) {
			newest[name] = pod
		}
	}
	for _, name := range slices.Sorted(maps.Keys(newest)) {
		in := console.Instance{Name: name}
		switch pod := newest[name]; {
		case pod == nil:
			in.Err = errors.New("it has no Pod")
		case pod.Status.PodIP == "" || !running(pod):
			in.Err = errors.New("its Pod does not run")
		default:
			in.Ask = s.documents.Ask(client.ObjectKeyFromObject(r), pod.Status.PodIP)
		}
		out = append(out, in)
	}
	return out
}

// Fill implements console.Source: it compiles the plan as the reconciler does.
func (s *consoleSource) Fill(ctx context.Context, out *console.Relay) error {
	r := &v1alpha1.PrinterRelay{}
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: out.Namespace, Name: out.Name}, r); err != nil {
		return fmt.Errorf("PrinterRelay %s: %w", out.Key(), err)
	}
	in := plan.Input{Relay: r, Upstreams: map[string]*v1alpha1.MailUpstream{}, Policies: map[string]*v1alpha1.SenderPolicy{}}
	out.DNS = map[string]console.Domain{}
	for _, name := range named(r, "MailUpstream") {
		u := &v1alpha1.MailUpstream{}
		if err := s.client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, u); err == nil {
			in.Upstreams[name] = u
			out.DNS[name] = domainOf(u)
		} else if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	for _, name := range named(r, "SenderPolicy") {
		p := &v1alpha1.SenderPolicy{}
		if err := s.client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, p); err == nil {
			in.Policies[name] = p
		} else if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	view, err := s.nodes.view(ctx)
	if err != nil {
		return err
	}
	service := &corev1.Service{}
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(r), service); client.IgnoreNotFound(err) != nil {
		return err
	}
	hidden := plan.HiddenClients{
		All:      render.HidesClients(&r.Spec.Service) || service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyCluster,
		Networks: view.networks,
	}
	in.Relay = plan.WithHidden(r, hidden, in.Policies)
	if p, found := plan.Compile(in); !found.Failed() {
		out.Plan = p
	}
	return nil
}

// findingsOf is what a relay's status says against it.
func findingsOf(r *v1alpha1.PrinterRelay) (out []console.Finding) {
	for _, c := range r.Status.Conditions {
		bad := metav1.ConditionFalse
		switch c.Type {
		case v1alpha1.ConditionReady, // says what the console asks itself
			v1alpha1.ConditionHolding,     // is as somebody wants it
			v1alpha1.ConditionReconciling: // passes
			continue
		case v1alpha1.ConditionStalled:
			bad = metav1.ConditionTrue
		}
		if c.Status == bad {
			out = append(out, console.Finding{What: c.Type, Text: c.Message})
		}
	}
	if ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady); len(out) == 0 && ready != nil && ready.Status == metav1.ConditionFalse {
		out = append(out, console.Finding{What: ready.Type, Text: ready.Message})
	}
	return out
}

// domainOf is what the status says of the records of an upstream.
func domainOf(u *v1alpha1.MailUpstream) console.Domain {
	d := console.Domain{Asked: true}
	if u.Spec.Sender != nil {
		d.Name = string(u.Spec.Sender.Domain)
	}
	for _, r := range u.Status.DNS {
		d.Records = append(d.Records, senderdns.Record{Purpose: purposeOf(&r), Name: r.Name, Type: r.Type, Expected: r.Expected, Observed: r.Observed, State: senderdns.State(r.State)})
	}
	if c := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionDNSReady); c != nil && c.Status != metav1.ConditionTrue {
		d.Notes = append(d.Notes, c.Message)
	}
	return d
}

// purposeOf tells what a record is for, which a status does not say.
func purposeOf(r *v1alpha1.DNSRecordStatus) string {
	switch {
	case strings.HasPrefix(r.Expected, "v=spf1"):
		return senderdns.SPF
	case strings.HasPrefix(r.Name, "_dmarc."):
		return senderdns.DMARC
	case strings.Contains(r.Name, "._domainkey."):
		return senderdns.DKIM
	}
	return senderdns.Provider
}

// readCAs reads certificates from a file.
func readCAs(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
