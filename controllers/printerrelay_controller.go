package controllers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/apply"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// fieldManager is the operator's, of objects and of statuses.
const fieldManager = render.ProgramName

// Instances tells how the Pod of an instance stands, by its address.
type Instances interface {
	Report(ctx context.Context, relay types.NamespacedName, podIP string) (*status.Report, error)
}

// relays reconciles PrinterRelays.
type relays struct {
	client        client.Client
	live          client.Reader // not cached
	apply         *apply.Applier
	settings      func() render.Settings
	instances     Instances
	forgotten     func(types.NamespacedName) // a relay is gone
	events        events.EventRecorder
	self          *corev1.ObjectReference // the operator's ServiceAccount
	clusterDomain string
	figuresEvery  time.Duration
	log           *slog.Logger

	written   written // statuses
	sightings *sightings
	nodes     *nodes
	work      places
	news      func(ctx context.Context, relay *v1alpha1.PrinterRelay) // its sighting is new
}

// pass is one look at one relay.
type pass struct {
	*relays
	relay *v1alpha1.PrinterRelay

	cluster     clusterView
	hidden      plan.HiddenClients // by the cluster
	upstreams   map[string]*v1alpha1.MailUpstream
	policies    map[string]*v1alpha1.SenderPolicy
	plan        *plan.Plan // nil: the spec does not compile
	diagnostics plan.Diagnostics

	there         there // what is in the cluster
	draining      []int // the numbers of the instances that go
	set           *render.Set
	outdated      map[int]bool // instances whose Deployment is not as rendered
	configWritten bool         // the ConfigMap that was seen is not the newest
	failures      []status.Failure
	working       bool  // it has one of the places
	retry         error // a failure that may go away by itself
	terminating   bool  // the namespace takes nothing new, nor events
}

// Reconcile brings the objects of one PrinterRelay to what its spec says, and
// its status to what is so.
func (r *relays) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	relay := &v1alpha1.PrinterRelay{}
	p := &pass{relays: r, relay: relay, outdated: map[int]bool{}}
	if err := p.enterWork(ctx); err != nil {
		return ctrl.Result{}, err
	}
	defer p.leaveWork()
	if err := r.client.Get(ctx, req.NamespacedName, relay); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.written.recall(relay)
	if kept, err := p.finalizer(ctx); !kept || err != nil {
		return ctrl.Result{}, err
	}
	for _, step := range []func(context.Context) error{p.resolve, p.look, p.hide, p.compile, p.render} {
		if err := step(ctx); err != nil {
			return ctrl.Result{}, err
		}
	}
	p.ensure(ctx)
	p.roll(ctx)
	p.hasten(ctx)
	p.prune(ctx)
	p.retire(ctx)
	if done, err := p.release(ctx); done || err != nil {
		return ctrl.Result{}, err
	}
	s, err := p.report(ctx)
	if err = errors.Join(err, p.retry); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: p.again(s)}, nil
}

func (r *relays) forget(relay types.NamespacedName) {
	r.sightings.forget(relay)
	r.written.forget("PrinterRelay", relay)
	r.forgotten(relay)
}

// resolve finds what the relay names.
func (p *pass) resolve(ctx context.Context) error {
	p.upstreams, p.policies = map[string]*v1alpha1.MailUpstream{}, map[string]*v1alpha1.SenderPolicy{}
	for _, name := range named(p.relay, "MailUpstream") {
		u := &v1alpha1.MailUpstream{}
		if there, err := p.refer(ctx, name, u); err != nil {
			return err
		} else if there {
			n, err := sharers(ctx, p.client, u)
			if err != nil {
				return err
			}
			p.upstreams[name] = plan.Shared(u, n)
		}
	}
	for _, name := range named(p.relay, "SenderPolicy") {
		s := &v1alpha1.SenderPolicy{}
		if there, err := p.refer(ctx, name, s); err != nil {
			return err
		} else if there {
			p.policies[name] = s
		}
	}
	return nil
}

// refer finds an object that the relay names. What is not in the cache may have
// been made together with the relay's own change, which came first: the API server
// is asked before mail is refused for it.
func (p *pass) refer(ctx context.Context, name string, o client.Object) (bool, error) {
	if there, err := p.find(ctx, name, o); there || err != nil {
		return there, err
	}
	err := p.live.Get(ctx, types.NamespacedName{Namespace: p.relay.Namespace, Name: name}, o)
	return err == nil, client.IgnoreNotFound(err)
}

func (p *pass) find(ctx context.Context, name string, o client.Object) (bool, error) {
	err := p.client.Get(ctx, types.NamespacedName{Namespace: p.relay.Namespace, Name: name}, o)
	return err == nil, client.IgnoreNotFound(err)
}

// hide finds out whose addresses the cluster hides. A Service that still hides them
// counts until it is changed: the relay's configuration may be there first.
func (p *pass) hide(ctx context.Context) (err error) {
	if p.cluster, err = p.nodes.view(ctx); err != nil {
		return err
	}
	is := p.there.service
	p.hidden = plan.HiddenClients{
		All:      render.HidesClients(&p.relay.Spec.Service) || is != nil && is.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyCluster,
		Networks: p.cluster.networks,
	}
	return nil
}

func (p *pass) compile(context.Context) error {
	relay := plan.WithHidden(p.relay, p.hidden, p.policies)
	compiled, found := plan.Compile(plan.Input{Relay: relay, Upstreams: p.upstreams, Policies: p.policies})
	p.diagnostics = found
	if !found.Failed() {
		p.plan = compiled
	}
	return nil
}

// render decides what is to be there. What cannot be rendered is a failure of
// the spec, and leaves all as it is.
func (p *pass) render(ctx context.Context) error {
	last, err := p.last(ctx)
	if err != nil {
		return err
	}
	in := render.Input{
		Settings: p.settings(), Relay: p.relay, Plan: p.plan, Upstreams: p.upstreams, Policies: p.policies,
		Hidden: p.hidden, Last: last, Refuse: len(status.Missing(p.relay, p.upstreams, p.policies)) > 0,
	}
	switch {
	case p.relay.DeletionTimestamp != nil: // nothing new is made for a relay that goes
		// Not nil, which would stand for all that the spec wants: when the last is gone, a
		// relay that is still in the cache must not get any again.
		in.Instances = append([]int{}, p.there.numbers()...)
		p.draining = in.Instances
	default:
		p.draining = slices.DeleteFunc(p.there.numbers(), func(n int) bool { return n < render.Replicas(p.relay) })
	}
	in.Draining = p.draining
	set, err := render.Objects(in)
	if err != nil {
		failure := status.Failure{Reason: v1alpha1.ReasonInvalid, Message: p.name() + ": " + err.Error()}
		if large := (*render.TooLargeError)(nil); errors.As(err, &large) {
			failure.Reason = v1alpha1.ReasonTooLarge
		}
		p.failures = append(p.failures, failure)
		set = &render.Set{}
	}
	p.set = set
	return nil
}

// name of the relay, as findings write it.
func (p *pass) name() string { return "PrinterRelay " + p.relay.Namespace + "/" + p.relay.Name }

func (p *pass) key() types.NamespacedName { return client.ObjectKeyFromObject(p.relay) }

// keeps tells whether the volumes outlive their instances.
func (p *pass) keeps() bool {
	s := &p.relay.Spec.Spool
	return s.Type != v1alpha1.SpoolEphemeral && (s.PersistentVolume == nil || s.PersistentVolume.ReclaimPolicy != v1alpha1.ReclaimDelete)
}

// abandons tells whether a person gave up what instances that go still have.
func (p *pass) abandons() bool {
	return p.relay.Annotations[v1alpha1.AnnotationAbandonQueue] == "true"
}

// Bounds of the time until a relay is looked at again though nothing was seen
// to change: its instances tell nothing by themselves.
const (
	soonest = time.Second
	latest  = 30 * time.Second
	// unwellAgain is for a relay with an upstream that takes no mail: somebody may be
	// mending it, and waits for the status to say so.
	unwellAgain = 15 * time.Second
)

// again is how long to wait: what changed just now is looked at soon, what has
// stood for long, seldom. Without a Pod to ask, the watches tell of everything
// but what stands in the way: others' objects are not watched.
func (p *pass) again(s v1alpha1.PrinterRelayStatus) time.Duration {
	if len(p.there.pods) == 0 && len(p.failures) == 0 {
		return 0
	}
	for _, c := range s.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status == "True" {
			continue
		}
		if c.Type == v1alpha1.ConditionReady || c.Type == v1alpha1.ConditionProgrammed && c.Status != "True" {
			return min(max(time.Since(c.LastTransitionTime.Time)/4, soonest), latest)
		}
	}
	if s, _ := p.sightings.get(p.key()); len(s.unwell) > 0 {
		return unwellAgain
	}
	return latest
}

// event tells people of something that happened once.
func (p *pass) event(kind, reason, action, format string, a ...any) {
	p.events.Eventf(p.relay, nil, kind, reason, action, format, a...)
}

// Actions of events.
const (
	actionReconcile = "Reconcile"
	actionRetire    = "Retire"
)

// eventType of a verdict: a Warning asks for a person.
func eventType(bad bool) string {
	if bad {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
