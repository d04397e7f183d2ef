package apply

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kind is what is wanted of one object, and how to read it as it is.
type kind struct {
	want      any
	name      string // "Service"
	gvk       schema.GroupVersionKind
	key       types.NamespacedName
	labels    map[string]string
	ownerName string // of the controller that is wanted
	version   string // of an object that the API server answered; else empty
	object    func() client.Object
	extract   func(client.Object, string) (any, error) // what a field manager owns
}

// kindOf reads an apply configuration of one of the kinds that a relay has.
func kindOf(want runtime.ApplyConfiguration) (kind, error) {
	switch w := want.(type) {
	case *coreac.ServiceAccountApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, corev1.SchemeGroupVersion.WithKind("ServiceAccount"), coreac.ExtractServiceAccount), nil
	case *coreac.ConfigMapApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, corev1.SchemeGroupVersion.WithKind("ConfigMap"), coreac.ExtractConfigMap), nil
	case *coreac.ServiceApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, corev1.SchemeGroupVersion.WithKind("Service"), coreac.ExtractService), nil
	case *coreac.PersistentVolumeClaimApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), coreac.ExtractPersistentVolumeClaim), nil
	case *appsac.DeploymentApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, appsv1.SchemeGroupVersion.WithKind("Deployment"), appsac.ExtractDeployment), nil
	case *networkingac.NetworkPolicyApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"), networkingac.ExtractNetworkPolicy), nil
	case *policyac.PodDisruptionBudgetApplyConfiguration:
		return typed(w, w.ObjectMetaApplyConfiguration, policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), policyac.ExtractPodDisruptionBudget), nil
	}
	u, err := asUnstructured(want)
	if err != nil {
		return kind{}, err
	}
	return untyped(u), nil
}

// typed is a kind of client-go's, with its Extract function.
func typed[T any, P interface {
	*T
	client.Object
}, C any](want *C, meta *metaac.ObjectMetaApplyConfiguration, gvk schema.GroupVersionKind, extract func(P, string) (*C, error),
) kind {
	k := kind{
		want: want, name: gvk.Kind, gvk: gvk,
		key:    types.NamespacedName{Namespace: *meta.Namespace, Name: *meta.Name},
		labels: meta.Labels,
		object: func() client.Object { return P(new(T)) },
		extract: func(is client.Object, manager string) (any, error) {
			return extract(is.(P), manager)
		},
	}
	for _, ref := range meta.OwnerReferences {
		k.ownerName = *ref.Name
	}
	if meta.ResourceVersion != nil {
		k.version = *meta.ResourceVersion
	}
	return k
}

// asUnstructured reads a configuration of a kind that client-go does not know.
func asUnstructured(want runtime.ApplyConfiguration) (*unstructured.Unstructured, error) {
	b, err := json.Marshal(want)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		return nil, fmt.Errorf("%T is no object to apply: %w", want, err)
	}
	return u, nil
}

// untyped is a kind without a schema here: of an object, what is wanted of it is
// compared, whoever owns it.
func untyped(want *unstructured.Unstructured) kind {
	gvk := want.GroupVersionKind()
	k := kind{
		want: want.Object, name: gvk.Kind, gvk: gvk,
		key:    client.ObjectKeyFromObject(want),
		labels: want.GetLabels(), version: want.GetResourceVersion(),
		object: func() client.Object {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			return u
		},
		extract: func(is client.Object, _ string) (any, error) {
			return common(is.(*unstructured.Unstructured).Object, want.Object), nil
		},
	}
	for _, ref := range want.GetOwnerReferences() {
		k.ownerName = ref.Name
	}
	return k
}

// common is of is what want names.
func common(is, want any) any {
	w, ok := want.(map[string]any)
	if !ok {
		return is
	}
	i, ok := is.(map[string]any)
	if !ok {
		return is
	}
	out := map[string]any{}
	for name, v := range w {
		if have, ok := i[name]; ok {
			out[name] = common(have, v)
		}
	}
	return out
}

// Key names what is wanted within its namespace: "Service/office".
func (a *Applier) Key(want runtime.ApplyConfiguration) string {
	k, err := kindOf(want)
	if err != nil {
		return ""
	}
	return k.name + "/" + k.key.Name
}
