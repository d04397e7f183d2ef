package controllers

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// Indexes of the PrinterRelays in the cache, by what they name.
const (
	indexUpstreams = "spec.upstreamRefs"
	indexPolicies  = "spec.senderPolicyRefs"
)

// indexRelay finds the objects of a relay, by its name in their labels: with thousands
// of relays in a namespace a selector of labels would look at all of theirs.
const indexRelay = "relay"

// indexed are the kinds that it is made for.
func indexed() []client.Object {
	return []client.Object{
		&appsv1.Deployment{}, &corev1.PersistentVolumeClaim{}, &corev1.Pod{}, &corev1.ServiceAccount{}, &corev1.ConfigMap{}, &corev1.Service{},
		&networkingv1.NetworkPolicy{}, &policyv1.PodDisruptionBudget{},
	}
}

// index makes the indexes.
func index(ctx context.Context, x client.FieldIndexer) error {
	for _, o := range indexed() {
		if err := x.IndexField(ctx, o, indexRelay, relayOf); err != nil {
			return fmt.Errorf("index of %T by the relay: %w", o, err)
		}
	}
	for field, kind := range map[string]string{indexUpstreams: "MailUpstream", indexPolicies: "SenderPolicy"} {
		err := x.IndexField(ctx, &v1alpha1.PrinterRelay{}, field, func(o client.Object) []string { return named(o.(*v1alpha1.PrinterRelay), kind) })
		if err != nil {
			return fmt.Errorf("index of PrinterRelays by %s: %w", kind, err)
		}
	}
	return nil
}

// relayOf is the relay that an object's labels name, none if it is not ours.
func relayOf(o client.Object) []string {
	if l := o.GetLabels(); l[render.LabelName] == render.ProgramName && l[render.LabelRelay] != "" {
		return []string{l[render.LabelRelay]}
	}
	return nil
}

// ofRelay has a list of an indexed kind hold the objects of one relay.
func ofRelay(r *v1alpha1.PrinterRelay) []client.ListOption {
	return []client.ListOption{client.InNamespace(r.Namespace), client.MatchingFields{indexRelay: r.Name}}
}

// named are the objects of a kind that a relay names, each once, sorted.
func named(r *v1alpha1.PrinterRelay, kind string) []string {
	var out []string
	for _, ref := range status.References(r) {
		if ref.Kind == kind {
			out = append(out, ref.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// relaysThatName are the PrinterRelays of a namespace that name an object, by
// one of the indexes.
func relaysThatName(ctx context.Context, c client.Reader, field, namespace, name string) ([]v1alpha1.PrinterRelay, error) {
	var list v1alpha1.PrinterRelayList
	err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{field: name}, client.UnsafeDisableDeepCopy)
	return list.Items, err
}

// sharers counts the instances of all relays that send by an upstream: they
// share its limits.
func sharers(ctx context.Context, c client.Reader, u *v1alpha1.MailUpstream) (int, error) {
	relays, err := relaysThatName(ctx, c, indexUpstreams, u.Namespace, u.Name)
	n := 0
	for i := range relays {
		n += render.Replicas(&relays[i])
	}
	return n, err
}

// ofSharers maps a PrinterRelay to all that send by the same upstreams: with its
// instances their shares of the limits change.
func ofSharers(c client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var out []reconcile.Request
		for _, name := range named(o.(*v1alpha1.PrinterRelay), "MailUpstream") {
			relays, err := relaysThatName(ctx, c, indexUpstreams, o.GetNamespace(), name)
			if err != nil {
				return nil // the cache has stopped: so has everything
			}
			for i := range relays {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&relays[i])})
			}
		}
		return out
	})
}

// sharesChanged passes what changes the shares of others.
var sharesChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.PrinterRelay), e.ObjectNew.(*v1alpha1.PrinterRelay)
		return render.Replicas(old) != render.Replicas(now) || !slices.Equal(named(old, "MailUpstream"), named(now, "MailUpstream"))
	},
}

// ofReferrers maps an object to the PrinterRelays that name it.
func ofReferrers(c client.Reader, field string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		relays, err := relaysThatName(ctx, c, field, o.GetNamespace(), o.GetName())
		if err != nil {
			return nil // the cache has stopped: so has everything
		}
		out := make([]reconcile.Request, len(relays))
		for i := range relays {
			out[i].NamespacedName = client.ObjectKeyFromObject(&relays[i])
		}
		return out
	})
}

// ofReferred maps a PrinterRelay to the objects of a kind that it names, so
// that they show who uses them.
func ofReferred(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		var out []reconcile.Request
		for _, name := range named(o.(*v1alpha1.PrinterRelay), kind) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}})
		}
		return out
	})
}

// ofLabelled maps an object that no relay owns, a volume or a Pod, to the relay
// that its labels name.
func ofLabelled() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.GetLabels()[render.LabelRelay]
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
	})
}
