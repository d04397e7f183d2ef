package controllers

import (
	"context"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/apply"
	"github.com/printerrelay/printer-relay/controllers/instances"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// setup wires the reconcilers to the manager: what makes each look again.
type setup struct {
	Options
	mgr    ctrl.Manager
	around *surroundings
	nodes  *nodes
	tokens *instances.ServiceAccountTokens
}

// changed lets a reconciler look again when the object's spec or annotations
// change: not when its status does.
var changed = builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))

func (s *setup) reconcilers(ctx context.Context) error {
	if err := index(ctx, s.mgr.GetFieldIndexer()); err != nil {
		return err
	}
	seen := &sightings{}
	var toRelays, toUpstreams, toPolicies nudges
	c := s.mgr.GetClient()
	r := &relays{
		client: c, live: s.mgr.GetAPIReader(), settings: s.around.settings, instances: s.Instances,
		apply:     &apply.Applier{Client: c, Live: s.mgr.GetAPIReader(), Manager: fieldManager},
		forgotten: s.tokens.Forget, events: s.mgr.GetEventRecorder(fieldManager), clusterDomain: s.ClusterDomain, figuresEvery: s.FiguresEvery,
		self: &corev1.ObjectReference{APIVersion: "v1", Kind: "ServiceAccount", Namespace: s.Namespace, Name: s.ServiceAccount}, log: s.Log,
		sightings: seen, nodes: s.nodes, work: make(places, concurrency),
		news: func(_ context.Context, relay *v1alpha1.PrinterRelay) {
			toUpstreams.add(relay.Namespace, named(relay, "MailUpstream"))
			toPolicies.add(relay.Namespace, named(relay, "SenderPolicy"))
		},
	}
	built, err := s.relays(r, &toRelays)
	if err != nil {
		return err
	}
	certificates := &certificates{mgr: s.mgr, controller: built}
	s.around.changed = func(ctx context.Context) { s.everything(ctx, &toRelays, certificates) }
	s.nodes.changed = func(ctx context.Context, before, now clusterView) { s.nodesChanged(ctx, &toRelays, before, now) }
	if err := certificates.watch(s.around.settings().CertManager); err != nil {
		return err
	}
	d := newDomains(s.Resolver, s.DNSEvery, s.Log)
	d.news = func(u types.NamespacedName) { toUpstreams.add(u.Namespace, []string{u.Name}) }
	if err := s.mgr.Add(d); err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(s.mgr).For(&v1alpha1.MailUpstream{}, changed).
		Watches(&v1alpha1.PrinterRelay{}, ofReferred("MailUpstream"), changed).
		WatchesRawSource(toUpstreams.source()).WithOptions(backsOff()).
		Complete(&upstreams{client: c, sightings: seen, domains: d, events: r.events, figuresEvery: s.FiguresEvery})
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(s.mgr).For(&v1alpha1.SenderPolicy{}, changed).
		Watches(&v1alpha1.PrinterRelay{}, ofReferred("SenderPolicy"), changed).
		WatchesRawSource(toPolicies.source()).WithOptions(backsOff()).
		Complete(&policies{client: c, sightings: seen, figuresEvery: s.FiguresEvery})
}

func (s *setup) relays(r *relays, nudged *nudges) (controller.Controller, error) {
	many := backsOff()
	many.MaxConcurrentReconciles = looksAtOnce
	return ctrl.NewControllerManagedBy(s.mgr).For(&v1alpha1.PrinterRelay{}, changed).
		Owns(&appsv1.Deployment{}).Owns(&corev1.Service{}).Owns(&corev1.ConfigMap{}).Owns(&corev1.ServiceAccount{}).
		Owns(&networkingv1.NetworkPolicy{}).Owns(&policyv1.PodDisruptionBudget{}).
		Watches(&corev1.PersistentVolumeClaim{}, ofLabelled()).
		Watches(&corev1.Pod{}, ofLabelled(), builder.WithPredicates(podChanged)).
		Watches(&v1alpha1.MailUpstream{}, ofReferrers(r.client, indexUpstreams), changed).
		Watches(&v1alpha1.PrinterRelay{}, ofSharers(r.client), builder.WithPredicates(sharesChanged)).
		Watches(&v1alpha1.SenderPolicy{}, ofReferrers(r.client, indexPolicies), changed).
		WatchesRawSource(nudged.source()).WithOptions(many).
		Build(r)
}

// backsOff has what failed tried again soon, then seldom: at least every 30 seconds,
// since nothing tells when an API server, a webhook or a right is back. Unless said
// otherwise, controller-runtime would come to wait for a quarter of an hour.
func backsOff() controller.Options {
	return controller.Options{RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, latest)}
}

// firstRetry is how long after a failure the next try is; the time doubles with each.
const firstRetry = 5 * time.Millisecond

// podChanged passes the changes after which an instance can be asked, or must
// be asked anew.
var podChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
		return old.Status.PodIP != now.Status.PodIP || running(old) != running(now) || podIsReady(old) != podIsReady(now) ||
			(old.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil)
	},
}

func podIsReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// everything lets all relays be looked at again.
func (s *setup) everything(ctx context.Context, to *nudges, c *certificates) {
	if err := c.watch(s.around.settings().CertManager); err != nil {
		s.Log.Error("Certificates cannot be watched: a change of one is not repaired", "cause", err)
	}
	var list v1alpha1.PrinterRelayList
	if err := s.mgr.GetClient().List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		s.Log.Error("the PrinterRelays cannot be listed", "cause", err)
		return
	}
	for i := range list.Items {
		to.add(list.Items[i].Namespace, []string{list.Items[i].Name})
	}
}

// nodesChanged lets the relays be looked at again for which it makes a difference:
// mostly none, since rules name the copiers' networks.
func (s *setup) nodesChanged(ctx context.Context, to *nudges, before, now clusterView) {
	c := s.mgr.GetClient()
	var list v1alpha1.PrinterRelayList
	if err := c.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		s.Log.Error("the PrinterRelays cannot be listed", "cause", err)
		return
	}
	for i := range list.Items {
		r := &list.Items[i]
		policies := map[string]*v1alpha1.SenderPolicy{}
		for _, name := range named(r, "SenderPolicy") {
			p := &v1alpha1.SenderPolicy{}
			if err := c.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, p); err == nil {
				policies[name] = p
			}
		}
		text := func(v clusterView) string {
			return plan.WithHidden(r, plan.HiddenClients{Networks: v.networks}, policies).Annotations[v1alpha1.AnnotationHiddenClients]
		}
		if before.nodes != now.nodes || text(before) != text(now) {
			to.add(r.Namespace, []string{r.Name})
		}
	}
}

// nudges let a reconciler look again at objects for a reason that no watch
// tells of. What is added before its controller runs is not needed: it looks at
// everything when it starts.
type nudges struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func (n *nudges) source() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.queue = q
		return nil
	})
}

func (n *nudges) add(namespace string, names []string) {
	n.mu.Lock()
	q := n.queue
	n.mu.Unlock()
	if q == nil {
		return
	}
	for _, name := range names {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
}

// certificates are watched from when cert-manager is there.
type certificates struct {
	mgr        ctrl.Manager
	controller controller.Controller

	mu      sync.Mutex
	watched bool
}

func (c *certificates) watch(there bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !there || c.watched {
		return nil
	}
	kind := &unstructured.Unstructured{}
	kind.SetGroupVersionKind(certificateKind)
	owner := handler.TypedEnqueueRequestForOwner[*unstructured.Unstructured](c.mgr.GetScheme(), c.mgr.GetRESTMapper(), &v1alpha1.PrinterRelay{}, handler.OnlyControllerOwner())
	if err := c.controller.Watch(source.Kind(c.mgr.GetCache(), kind, owner)); err != nil {
		return err
	}
	c.watched = true
	return nil
}
