package operator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

const image = "registry.example/printer-relay:1"

// rig is one namespace with a node and, after run, an operator.
type rig struct {
	*testing.T
	server *apiserver.Server
	client client.Client // the administrator's
	ns     string
	home   string // the operator's own namespace
	node   *node
	log    *buffer
	writes *apiserver.Writes // of the newest operator
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	return newRigAlone(t)
}

// newRigAlone is for tests that change the cluster for all: they come before the
// parallel ones.
func newRigAlone(t *testing.T) *rig {
	t.Helper()
	s := apiserver.Start(t)
	r := &rig{T: t, server: s, client: s.Client, ns: s.Namespace(t), log: &buffer{}}
	r.home = r.ns
	r.node = newNode(t, s, r.ns)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the operator's log:\n%s", r.log)
		}
	})
	return r
}

// buffer is a log. It may be written to when its test is over.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// operator is one that runs.
type operator struct {
	writes *apiserver.Writes
	gets   atomic.Int64 // of single objects
	stop   func()       // waits until it has ended
}

// run starts an operator with the rights of Roles in the rig's namespace.
func (r *rig) run(change ...func(*controllers.Options)) *operator {
	r.Helper()
	return r.runAs(r.namespaced(), append([]func(*controllers.Options){func(o *controllers.Options) { o.WatchNamespaces = []string{r.ns} }}, change...)...)
}

// runAs starts an operator. It ends with the test, if not before, and leaves no
// goroutine.
func (r *rig) runAs(cfg *rest.Config, change ...func(*controllers.Options)) *operator {
	r.Helper()
	o := controllers.Options{
		Image: image, Namespace: r.home, ServiceAccount: account, Instances: r.node,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	op := &operator{}
	o.API, op.writes = apiserver.Counted(cfg)
	o.API.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &op.gets} })
	r.writes = op.writes
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	label := fmt.Sprintf("%s/%p", r.Name(), op)
	go pprof.Do(ctx, pprof.Labels("operator", label), func(ctx context.Context) { done <- controllers.Run(ctx, o) })
	op.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.Errorf("the operator: %v", err)
			}
		case <-time.After(env.Wait):
			r.Error("the operator does not end")
			return
		}
		r.eventually("no goroutine is left of the operator", func() string { return goroutines(label) })
	})
	r.Cleanup(op.stop)
	return op
}

// counter counts what is asked for besides watches.
type counter struct {
	next http.RoundTripper
	n    *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && r.URL.Query().Get("watch") == "" && strings.HasPrefix(r.URL.Path, "/api") {
		c.n.Add(1)
	}
	return c.next.RoundTrip(r)
}

// goroutines lists those with a label, but for connections that are kept open
// for the next request.
func goroutines(label string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	var out []string
	for _, g := range strings.Split(b.String(), "\n\n") {
		if strings.Contains(g, fmt.Sprintf("%q:%q", "operator", label)) && !strings.Contains(g, "net/http") && !strings.Contains(g, "golang.org/x/net/http2") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

// eventually waits until wrong gives nothing, and fails the test with what it
// gave last.
func (r *rig) eventually(what string, wrong func() string) {
	r.Helper()
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		said := wrong()
		if said == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.Fatalf("not so after %s: %s\n%s", patience, what, said)
		}
	}
}

// patience bounds every wait.
const patience = env.Wait

func (r *rig) ctx() context.Context { return r.Context() }

func (r *rig) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: r.ns, Name: name}
}

// kubectl applies YAML as a person would, in the rig's namespace.
func (r *rig) kubectl(text string) {
	r.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			r.Fatalf("%v\n%s", err, doc)
		}
		if u.GetNamespace() == "" {
			u.SetNamespace(r.ns)
		}
		if err := r.client.Apply(r.ctx(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
			r.Fatalf("%v\n%s", err, doc)
		}
	}
}

// get reads an object; nil if it is not there.
func get[T any, P interface {
	*T
	client.Object
}](r *rig, name string) P {
	r.Helper()
	o := P(new(T))
	err := r.client.Get(r.ctx(), r.key(name), o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		r.Fatal(err)
	}
	return o
}

// must reads an object that has to be there.
func must[T any, P interface {
	*T
	client.Object
}](r *rig, name string) P {
	r.Helper()
	o := get[T, P](r, name)
	if o == nil {
		r.Fatalf("%T %q is not there", o, name)
	}
	return o
}

// edit changes an object as a person would.
func edit[T any, P interface {
	*T
	client.Object
}](r *rig, name string, change func(P)) P {
	r.Helper()
	for {
		o := must[T, P](r, name)
		change(o)
		err := r.client.Update(r.ctx(), o, client.FieldOwner("kubectl-edit"))
		if err == nil {
			return o
		}
		if !apierrors.IsConflict(err) {
			r.Fatal(err)
		}
	}
}

func (r *rig) delete(o client.Object) {
	r.Helper()
	if err := r.client.Delete(r.ctx(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
}

func (r *rig) relay(name string) *v1alpha1.PrinterRelay {
	r.Helper()
	return must[v1alpha1.PrinterRelay](r, name)
}

// condition waits for a condition of a relay by a description such as
// "Ready=False/ReferenceNotFound", of the newest generation, with all words in
// its message.
func (r *rig) condition(relay, want string, words ...string) {
	r.Helper()
	r.conditionOf("PrinterRelay "+relay, want, func() (metav1.Object, []metav1.Condition) {
		o := r.relay(relay)
		return o, o.Status.Conditions
	}, words...)
}

func (r *rig) conditionOf(object, want string, read func() (metav1.Object, []metav1.Condition), words ...string) {
	r.Helper()
	r.eventually(object+": "+want, func() string {
		o, conditions := read()
		return conditionDiffers(o, conditions, want, words)
	})
}

func conditionDiffers(o metav1.Object, conditions []metav1.Condition, want string, words []string) string {
	kind, rest, _ := strings.Cut(want, "=")
	status, reason, _ := strings.Cut(rest, "/")
	c := meta.FindStatusCondition(conditions, kind)
	if status == "absent" {
		if c == nil && len(conditions) > 0 && conditions[0].ObservedGeneration == o.GetGeneration() {
			return ""
		}
		return describe(o, conditions)
	}
	if c == nil || string(c.Status) != status || reason != "" && c.Reason != reason || c.ObservedGeneration != o.GetGeneration() {
		return describe(o, conditions)
	}
	for _, w := range words {
		if !strings.Contains(c.Message, w) {
			return fmt.Sprintf("no %q in: %s", w, c.Message)
		}
	}
	return ""
}

func describe(o metav1.Object, conditions []metav1.Condition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d\n", o.GetGeneration())
	for _, c := range conditions {
		fmt.Fprintf(&b, "%d %s=%s/%s: %s\n", c.ObservedGeneration, c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// upstream and policy read for conditionOf.
func (r *rig) upstream(name string) func() (metav1.Object, []metav1.Condition) {
	return func() (metav1.Object, []metav1.Condition) {
		o := must[v1alpha1.MailUpstream](r, name)
		return o, o.Status.Conditions
	}
}

// ready waits until a relay is Ready at its newest generation.
func (r *rig) ready(relay string) {
	r.Helper()
	r.condition(relay, "Ready=True")
}

// nudge has the operator look at relays, all that there are, and waits until it has
// asked all instances again.
func (r *rig) nudge(relays ...string) {
	r.Helper()
	before := r.node.asked()
	for _, relay := range relays {
		r.annotate(relay, "example.com/nudge", fmt.Sprint(time.Now().UnixNano()))
	}
	r.eventually("the instances are asked again", func() string {
		return r.node.notAskedSince(before)
	})
}

// annotate sets an annotation as a person does; an empty value removes it.
func (r *rig) annotate(relay, name, value string) {
	r.Helper()
	o := &v1alpha1.PrinterRelay{}
	o.Namespace, o.Name = r.ns, relay
	v := fmt.Sprintf("%q", value)
	if value == "" {
		v = "null"
	}
	patch := fmt.Sprintf(`{"metadata": {"annotations": {%q: %s}}}`, name, v)
	if err := r.client.Patch(r.ctx(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		r.Fatal(err)
	}
}

// events of the namespace about one object: "Normal Ready: ...".
func (r *rig) events(about string) (out []string) {
	r.Helper()
	var list eventsv1.EventList
	if err := r.client.List(r.ctx(), &list, client.InNamespace(r.ns)); err != nil {
		r.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Name != about {
			continue
		}
		n := 1
		if e.Series != nil {
			n = int(e.Series.Count)
		}
		for range n {
			out = append(out, e.Type+" "+e.Reason+": "+e.Note)
		}
	}
	return out
}

// happened waits for an event, and gives how many there are whose text begins
// with it.
func (r *rig) happened(about, prefix string, words ...string) {
	r.Helper()
	r.eventually("event "+prefix, func() string {
		all := r.events(about)
		for _, e := range all {
			if strings.HasPrefix(e, prefix) && containsAll(e, words) {
				return ""
			}
		}
		return strings.Join(all, "\n")
	})
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// rests waits until the operator writes nothing, and fails the test if it then does.
func (r *rig) rests(op *operator, look func()) {
	r.Helper()
	r.settles(op, look)
	r.quiet(op, func() { look(); look() })
}

// settles waits until a look writes nothing. What a look writes comes after it has asked
// the instances: it is over when the next one asks. After a crash this is all that can be
// wanted: an event that could not be sent is tried again ten seconds later.
func (r *rig) settles(op *operator, look func()) {
	r.Helper()
	r.eventually("the operator comes to rest", func() string {
		op.writes.Reset()
		look()
		look()
		return op.writes.String()
	})
}

// quiet fails the test if the operator writes anything while fn runs.
func (r *rig) quiet(op *operator, fn func()) {
	r.Helper()
	op.writes.Reset()
	fn()
	if n := op.writes.Total(); n > 0 {
		r.Errorf("%d writes at rest:\n%s", n, op.writes)
	}
}
