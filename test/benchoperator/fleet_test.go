//go:build bench

package benchoperator

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// object is one of the fleet.
type object struct{ kind, namespace, name string }

// fleet is what companies of several hundred copiers have: in each namespace a
// policy that all its relays name, and policies and upstreams that some share.
type fleet struct {
	relays, upstreams, policies []object
	names                       map[object]relay
}

// relay is what a PrinterRelay names.
type relay struct {
	replicas         int
	upstream, policy string
}

// house is the policy of a namespace that all its relays name.
const house = "house"

func newFleet(relays, upstreams, policies, namespaces int) fleet {
	f := fleet{names: map[object]relay{}}
	ns := func(i int) string { return fmt.Sprintf("site-%d", i%namespaces) }
	for i := range upstreams {
		f.upstreams = append(f.upstreams, object{"MailUpstream", ns(i), fmt.Sprintf("smarthost-%d", i/namespaces)})
	}
	for i := range policies {
		name := house
		if i >= namespaces {
			name = fmt.Sprintf("floor-%d", i/namespaces)
		}
		f.policies = append(f.policies, object{"SenderPolicy", ns(i), name})
	}
	for i := range relays {
		n := i / namespaces // within its namespace
		o := object{"PrinterRelay", ns(i), fmt.Sprintf("copiers-%d", n)}
		r := relay{replicas: 1, upstream: fmt.Sprintf("smarthost-%d", n%(upstreams/namespaces)), policy: house}
		if floors := policies/namespaces - 1; floors > 0 {
			r.policy = fmt.Sprintf("floor-%d", 1+n%floors)
		}
		if n%4 == 0 {
			r.replicas = 2
		}
		f.relays = append(f.relays, o)
		f.names[o] = r
	}
	return f
}

// few and many are policies by how many relays name them.
func (f *fleet) few() object  { return object{"SenderPolicy", "site-0", "floor-1"} }
func (f *fleet) many() object { return object{"SenderPolicy", "site-0", house} }

// users are the relays that name a policy.
func (f *fleet) users(policy object) (out []string) {
	for _, o := range f.relays {
		if o.namespace == policy.namespace && (policy.name == house || f.names[o].policy == policy.name) {
			out = append(out, o.name)
		}
	}
	return out
}

// namespaces makes them.
func (f *fleet) namespaces(b *bench) {
	for _, o := range f.policies {
		if o.name == house {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.namespace}}
			if err := b.server.Client.Create(b.Context(), ns); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// create makes all objects: what is named first, as it is in an ordered file.
func (f *fleet) create(b *bench) {
	for _, set := range [][]object{f.policies, f.upstreams, f.relays} {
		each(b.T, set, func(ctx context.Context, o object) error {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(f.text(o)), &u.Object); err != nil {
				return err
			}
			return b.server.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"))
		})
	}
}

func (f *fleet) all() []object {
	return append(append(append([]object{}, f.policies...), f.upstreams...), f.relays...)
}

// annotate gives every object an annotation that means nothing.
func (f *fleet) annotate(b *bench) {
	patch := fmt.Sprintf(`{"metadata": {"annotations": {"example.com/nudge": "%d"}}}`, time.Now().UnixNano())
	each(b.T, f.all(), func(ctx context.Context, o object) error {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.kind))
		u.SetNamespace(o.namespace)
		u.SetName(o.name)
		return b.server.Client.Patch(ctx, u, client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

// each calls fn of every object, of some at once.
func each(t *testing.T, all []object, fn func(context.Context, object) error) {
	t.Helper()
	todo := make(chan object)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for o := range todo {
				if err := fn(t.Context(), o); err != nil {
					t.Errorf("%v: %v", o, err)
				}
			}
		})
	}
	for _, o := range all {
		todo <- o
	}
	close(todo)
	wg.Wait()
}

func (f *fleet) text(o object) string {
	meta := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s}\n", v1alpha1.GroupVersion, o.kind, o.name, o.namespace)
	switch o.kind {
	case "MailUpstream":
		return meta + upstreamSpec
	case "SenderPolicy":
		return meta + policySpec(firstMaximum)
	}
	r := f.names[o]
	refs := fmt.Sprintf("[{name: %s}, {name: %s}]", r.policy, house)
	if r.policy == house {
		refs = fmt.Sprintf("[{name: %s}]", house)
	}
	return meta + fmt.Sprintf(relaySpec, r.replicas, r.upstream, refs)
}

const upstreamSpec = `
spec:
  type: SMTP
  smtp:
    host: smtp.example.com
    port: 587
    tls: {mode: StartTLS}
    authentication: {secretRef: {name: smarthost-login}}
  sender: {domain: copier.example.com, localPart: scans, displayName: "{original} via {device}"}
  limits: {connections: 10, messagesPerMinute: 600}
`

const relaySpec = `
spec:
  replicas: %d
  hostname: relay.example.com
  upstreamRef: {name: %s}
  senderPolicyRefs: %s
  listeners:
  - name: scans
    port: 25
    tls: {mode: StartTLS, profile: Legacy}
    authentication: {mode: Optional, secretRef: {name: copier-logins}}
    clientOverrides: [{name: old-hp, clientNetworks: [10.20.3.7/32], hideStartTLS: true}]
  - name: submission
    port: 587
    tls: {mode: StartTLS, certificateRefs: [{name: relay-tls}]}
    authentication: {mode: Required, secretRef: {name: copier-logins}}
  delivery:
    bounce: {to: Postmaster, postmaster: it@example.com}
  spool:
    type: PersistentVolume
    persistentVolume: {size: 5Gi, reclaimPolicy: Retain}
  service: {type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerSourceRanges: [10.0.0.0/8]}
  pod:
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
    nodeSelector: {kubernetes.io/os: linux}
`

// firstMaximum is before all edits.
const firstMaximum = 20

// policySpec has six rules, each with the given maximum of recipients.
func policySpec(maximum int) string {
	var s strings.Builder
	s.WriteString("\nspec:\n  rules:\n")
	for n := range 6 {
		fmt.Fprintf(&s, `  - name: floor-%d
    match: {clientNetworks: [10.%d.0.0/16]}
    senders: {allowed: ["*@copier.example.com"]}
    recipients: {allowed: ["*@example.com", "*@example.org"], maximum: %d}
    content: {attachmentTypes: [application/pdf, image/tiff, image/jpeg]}
    rateLimit: {messagesPerMinute: 30, per: Client, exceeded: Pace}
`, n, n, maximum)
	}
	return s.String()
}

// editOnce gives a policy another maximum, and measures until that is in the
// ConfigMap of each relay that names it.
func (b *bench) editOnce(policy object, maximum int) time.Duration {
	c, err := client.NewWithWatch(b.server.Config, client.Options{Scheme: apiserver.Scheme})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	w, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(policy.namespace), client.MatchingLabels{render.LabelManagedBy: render.ProgramName})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	waiting := map[string]bool{}
	for _, name := range b.fleet.users(policy) {
		waiting[render.ConfigMapName(name)] = true
	}
	u := &unstructured.Unstructured{}
	text := fmt.Sprintf("apiVersion: %s\nkind: SenderPolicy\nmetadata: {name: %s, namespace: %s}\n", v1alpha1.GroupVersion, policy.name, policy.namespace) + policySpec(maximum)
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	if err := b.server.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl")); err != nil {
		b.Fatal(err)
	}
	mark := fmt.Sprintf("maximum: %d\n", maximum)
	for e := range w.ResultChan() {
		m, ok := e.Object.(*corev1.ConfigMap)
		if ok && strings.Contains(m.Data[render.ManifestsKey], mark) {
			delete(waiting, m.Name)
		}
		if len(waiting) == 0 {
			return time.Since(begun)
		}
	}
	b.Fatalf("%d ConfigMaps without the new policy", len(waiting))
	return 0
}
