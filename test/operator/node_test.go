package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// node plays Kubernetes' controllers and a kubelet for one namespace, and the
// relays in its Pods. It implements controllers.Instances.
type node struct {
	t      testing.TB
	client client.Client
	ns     string
	dir    string // of the configurations that instances read

	mu        sync.Mutex
	instances map[string]*instance // by name
	pending   bool                 // LoadBalancers get no address
	unbound   map[string]bool      // claims that are not bound
}

// instance is how one stands, and what the test says of it. Its fields are
// changed in node.set.
type instance struct {
	notReady bool // its Pod does not become ready
	stays    bool // its Pod does not end
	stale    bool // it takes up no configuration
	silent   string
	deaf     bool // it does not confirm that it drains
	failed   string

	problems    []string
	openRelay   []string // listeners that it found open
	connections int
	queue       status.QueueReport
	copiers     []status.CopierReport
	lastError   string // of all its upstreams, which are down then
	check       status.Check
	keys        []status.DKIMKey

	runs  *plan.Plan // what it took up last
	drain bool
	pod   types.UID // that took it up
	asked int
	block chan struct{} // it answers when that is closed
	waits int           // who waits for that
}

// addresses of Pods, over all namespaces.
var addresses atomic.Uint32

func newNode(t *testing.T, s *apiserver.Server, ns string) *node {
	t.Helper()
	n := &node{t: t, client: s.Client, ns: ns, dir: t.TempDir(), instances: map[string]*instance{}, unbound: map[string]bool{}}
	api, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	look := make(chan struct{}, 1)
	n.wake(look)
	watch := informers.NewSharedInformerFactoryWithOptions(api, 0, informers.WithNamespace(ns))
	for _, i := range []cache.SharedIndexInformer{
		watch.Apps().V1().Deployments().Informer(), watch.Core().V1().Pods().Informer(),
		watch.Core().V1().PersistentVolumeClaims().Informer(), watch.Core().V1().Services().Informer(),
	} {
		_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { n.wake(look) }, UpdateFunc: func(_, _ any) { n.wake(look) }, DeleteFunc: func(any) { n.wake(look) },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // its Pods outlive the operator
	watch.Start(ctx.Done())
	done := make(chan struct{})
	wakers.Store(n, look)
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-look:
			}
			if err := n.kubelet(ctx); err != nil && ctx.Err() == nil {
				n.later(ctx, look) // a conflict, or the API server is not there: look again
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		watch.Shutdown()
		<-done
		wakers.Delete(n)
	})
	return n
}

// wakers wake a node when a test changes what it is to do.
var wakers sync.Map

// later wakes the node in a moment, so that it is no storm while nothing answers.
func (n *node) later(ctx context.Context, look chan struct{}) {
	select {
	case <-time.After(20 * time.Millisecond):
		n.wake(look)
	case <-ctx.Done():
	}
}

func (n *node) wake(look chan struct{}) {
	select {
	case look <- struct{}{}:
	default:
	}
}

// set changes how an instance stands.
func (n *node) set(name string, change func(*instance)) {
	n.mu.Lock()
	change(n.instance(name))
	n.mu.Unlock()
	n.again()
}

// change changes the node itself.
func (n *node) change(change func()) {
	n.mu.Lock()
	change()
	n.mu.Unlock()
	n.again()
}

func (n *node) again() {
	if look, ok := wakers.Load(n); ok {
		n.wake(look.(chan struct{}))
	}
}

// instance gives that of a name; n.mu is held.
func (n *node) instance(name string) *instance {
	if n.instances[name] == nil {
		n.instances[name] = &instance{}
	}
	return n.instances[name]
}

// asked gives how often each instance was asked.
func (n *node) asked() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]int{}
	for name, i := range n.instances {
		out[name] = i.asked
	}
	return out
}

// notWaitedFor names an instance that nobody waits for.
func (n *node) notWaitedFor(names []string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		if n.instance(name).waits == 0 {
			return "nobody waits for " + name
		}
	}
	return ""
}

// notAskedSince names an instance that was asked before, and was not again.
func (n *node) notAskedSince(before map[string]int) string {
	now := n.asked()
	for name, count := range before {
		if count > 0 && now[name] == count && n.deployed(name) {
			return fmt.Sprintf("%s was asked %d times", name, now[name])
		}
	}
	return ""
}

func (n *node) deployed(name string) bool {
	return n.client.Get(n.t.Context(), types.NamespacedName{Namespace: n.ns, Name: name}, &appsv1.Deployment{}) == nil
}

// podOf gives the Pod of an instance.
func (n *node) podOf(name string) *corev1.Pod {
	var pods corev1.PodList
	if err := n.client.List(n.t.Context(), &pods, client.InNamespace(n.ns), client.MatchingLabels{render.LabelInstance: name}); err != nil || len(pods.Items) == 0 {
		return nil
	}
	return &pods.Items[0]
}

// Report says what the relay in the Pod at an address would.
func (n *node) Report(ctx context.Context, key types.NamespacedName, ip string) (*status.Report, error) {
	var pods corev1.PodList
	if err := n.client.List(ctx, &pods, client.InNamespace(n.ns)); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.PodIP == ip })
	if at < 0 {
		return nil, errors.New("its admin port cannot be reached: no route to host")
	}
	pod := &pods.Items[at]
	var config corev1.ConfigMap
	if err := n.client.Get(ctx, types.NamespacedName{Namespace: n.ns, Name: render.ConfigMapName(key.Name)}, &config); err != nil {
		return nil, err
	}
	n.mu.Lock()
	i := n.instance(pod.Labels[render.LabelInstance])
	i.asked++
	block := i.block
	i.waits++
	n.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i.waits--
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if i.silent != "" {
		return nil, errors.New(i.silent)
	}
	if err := n.takeUp(i, pod, key, &config); err != nil {
		n.t.Errorf("%s: the relay cannot run what its ConfigMap holds: %v\n%s", pod.Name, err, config.Data[render.ManifestsKey])
		return nil, err
	}
	missing, err := n.missingSecrets(ctx, i.runs, pod)
	if err != nil {
		return nil, err
	}
	return i.report(missing), nil
}

// takeUp has an instance read its ConfigMap, unless the test keeps it from that.
// A new Pod always does.
func (n *node) takeUp(i *instance, pod *corev1.Pod, key types.NamespacedName, config *corev1.ConfigMap) error {
	if i.stale && i.pod == pod.UID {
		return nil
	}
	file := filepath.Join(n.dir, string(pod.UID), render.ManifestsKey)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(config.Data[render.ManifestsKey]), 0o600); err != nil {
		return err
	}
	c, err := relay.LoadConfiguration(filepath.Dir(file), key.String())
	if err != nil {
		return err
	}
	i.runs, i.pod = c.Plans[0], pod.UID
	i.drain = !i.deaf && slices.Contains(draining(config), pod.Labels[render.LabelInstance])
	return nil
}

// missingSecrets are those of a plan that are not mounted, or not there.
func (n *node) missingSecrets(ctx context.Context, p *plan.Plan, pod *corev1.Pod) (out []string, err error) {
	for _, name := range p.SecretRefs {
		mounted := slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == name })
		err := n.client.Get(ctx, types.NamespacedName{Namespace: n.ns, Name: name}, &corev1.Secret{})
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if !mounted || err != nil {
			out = append(out, name)
		}
	}
	return out, nil
}

func (i *instance) report(missing []string) *status.Report {
	out := &status.Report{
		PlanHash: i.runs.Hash, Ready: !i.notReady, Drained: i.drain, Connections: i.connections,
		Problems: i.problems, MissingSecrets: missing, OpenRelay: i.openRelay, Queue: i.queue, Copiers: slices.Clone(i.copiers),
	}
	for _, l := range i.runs.Listeners {
		out.Listeners = append(out.Listeners, status.ListenerReport{Name: l.Name, Open: true})
	}
	for name := range i.runs.Upstreams {
		out.Upstreams = append(out.Upstreams, status.UpstreamReport{Name: name, Down: i.lastError != "", LastError: i.lastError, Check: i.check, DKIM: i.keys})
	}
	slices.SortFunc(out.Upstreams, func(a, b status.UpstreamReport) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// runs is the plan that an instance took up last.
func (n *node) runs(name string) plan.Plan {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.instance(name).runs
}

// intake of what an instance runs.
func (n *node) intake(name string) plan.Intake {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.instance(name).runs.Intake
}

// draining are the instances that a ConfigMap tells to drain.
func draining(config *corev1.ConfigMap) []string {
	var a access.Instances
	if err := unmarshal(config.Data[access.InstancesFile], &a); err != nil {
		return []string{err.Error()}
	}
	return a.Draining
}
