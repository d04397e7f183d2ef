//go:build bench

package benchoperator

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/test/env"
)

// Where config/ puts the operator.
const (
	operatorNamespace = "printer-relay-system"
	operatorAccount   = "printer-relay-operator"
)

// grant gives the operator's ServiceAccount what config/rbac/role.yaml says.
func (b *bench) grant() {
	text, err := os.ReadFile(filepath.Join(env.Root(b), "config/rbac/role.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	b.server.ServiceAccount(b, operatorNamespace, operatorAccount) // makes the namespace
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operatorNamespace, Name: operatorAccount}}
	for _, doc := range strings.Split(string(text), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			b.Fatal(err)
		}
		about := metav1.ObjectMeta{Namespace: u.GetNamespace(), Name: u.GetName()}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: u.GetKind(), Name: u.GetName()}
		var binding client.Object = &rbacv1.ClusterRoleBinding{ObjectMeta: about, RoleRef: ref, Subjects: subjects}
		if u.GetNamespace() != "" {
			binding = &rbacv1.RoleBinding{ObjectMeta: about, RoleRef: ref, Subjects: subjects}
		}
		for _, o := range []client.Object{u, binding} {
			if err := b.server.Client.Create(b.Context(), o); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// kinds of a relay's objects.
var kinds = []schema.GroupVersionKind{
	corev1.SchemeGroupVersion.WithKind("ServiceAccount"), corev1.SchemeGroupVersion.WithKind("ConfigMap"),
	corev1.SchemeGroupVersion.WithKind("Service"), corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
	appsv1.SchemeGroupVersion.WithKind("Deployment"), networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"),
	policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
}

// expected are the names of all objects of all relays: "site-0/Service/copiers-1".
func (f *fleet) expected() map[string]bool {
	out := map[string]bool{}
	for _, o := range f.relays {
		add := func(kind, name string) { out[o.namespace+"/"+kind+"/"+name] = true }
		add("ServiceAccount", o.name+"-relay")
		add("ServiceAccount", o.name+"-queue")
		add("ConfigMap", o.name+"-relay")
		add("NetworkPolicy", o.name+"-relay")
		add("Service", o.name)
		n := f.names[o].replicas
		if n > 1 {
			add("PodDisruptionBudget", o.name+"-relay")
		}
		for i := range n {
			add("Deployment", render.InstanceName(o.name, i))
			add("PersistentVolumeClaim", render.InstanceName(o.name, i))
		}
	}
	return out
}

func (f *fleet) total() int { return len(f.expected()) }

// counts all objects of the kinds, whosever they are. A page of one says how many
// more there are.
func (b *bench) counts() int {
	sum := 0
	for _, kind := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		if err := b.server.Client.List(b.Context(), list, client.Limit(1)); err != nil {
			b.Fatal(err)
		}
		sum += len(list.Items)
		if list.RemainingItemCount != nil {
			sum += int(*list.RemainingItemCount)
		}
	}
	return sum
}

// missing tells how many objects and statuses are missing; empty if none are.
func (b *bench) missing(before int) string {
	if is, want := b.counts()-before, b.fleet.total(); is < want {
		return fmt.Sprintf("%d objects of %d", is, want)
	}
	list := &v1alpha1.PrinterRelayList{}
	if err := b.server.Client.List(b.Context(), list); err != nil {
		b.Fatal(err)
	}
	n := 0
	for i := range list.Items {
		r := &list.Items[i]
		c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionAccepted)
		if r.Status.ObservedGeneration == r.Generation && c != nil && c.Status == metav1.ConditionTrue && len(r.Status.Instances) == b.fleet.names[object{"PrinterRelay", r.Namespace, r.Name}].replicas {
			n++
		}
	}
	if n < len(b.fleet.relays) {
		return fmt.Sprintf("%d statuses of %d", n, len(b.fleet.relays))
	}
	return ""
}

// exact compares names: those that are wanted are there, and no other of ours.
func (b *bench) exact() {
	want, is := b.fleet.expected(), map[string]bool{}
	for _, kind := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		if err := b.server.Client.List(b.Context(), list, client.MatchingLabels{render.LabelManagedBy: render.ProgramName}); err != nil {
			b.Fatal(err)
		}
		for i := range list.Items {
			is[list.Items[i].Namespace+"/"+kind.Kind+"/"+list.Items[i].Name] = true
		}
	}
	if !maps.Equal(want, is) {
		surplus := func(a, b map[string]bool) (out []string) {
			for name := range a {
				if !b[name] {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out
		}
		b.Errorf("missing: %q\nsurplus: %q", surplus(want, is), surplus(is, want))
	}
}
