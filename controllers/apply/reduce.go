package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ownedKey is the annotation, in the cache only, that holds the digest of what
// the manager owns of an object. The space keeps it from being one of the API
// server's: nobody can set it.
const ownedKey = "owned fields"

// Reduce makes an object as small as the cache needs it: what is compared with
// what is wanted becomes a digest, once for each version instead of once for each
// look, and what nobody reads is dropped. It leaves objects of other kinds alone,
// and one that it has seen before.
func Reduce(o any, manager string) {
	switch o := o.(type) {
	case *corev1.ServiceAccount:
		reduce(o, manager, coreac.ExtractServiceAccount, func() { o.Secrets, o.ImagePullSecrets = nil, nil })
	case *corev1.ConfigMap:
		reduce(o, manager, coreac.ExtractConfigMap, func() { o.Data, o.BinaryData = nil, nil })
	case *corev1.Service: // its addresses are read
		reduce(o, manager, coreac.ExtractService, func() {})
	case *corev1.PersistentVolumeClaim:
		reduce(o, manager, coreac.ExtractPersistentVolumeClaim, func() { o.Spec = corev1.PersistentVolumeClaimSpec{} })
	case *appsv1.Deployment:
		reduce(o, manager, appsac.ExtractDeployment, func() { o.Spec = appsv1.DeploymentSpec{} })
	case *networkingv1.NetworkPolicy:
		reduce(o, manager, networkingac.ExtractNetworkPolicy, func() { o.Spec = networkingv1.NetworkPolicySpec{} })
	case *policyv1.PodDisruptionBudget:
		reduce(o, manager, policyac.ExtractPodDisruptionBudget, func() {
			o.Spec, o.Status = policyv1.PodDisruptionBudgetSpec{}, policyv1.PodDisruptionBudgetStatus{}
		})
	}
}

// reduce keeps an object whole whose fields cannot be told: who compares it finds
// out why.
func reduce[P client.Object, C any](o P, manager string, extract func(P, string) (C, error), drop func()) {
	annotations := o.GetAnnotations()
	if _, seen := annotations[ownedKey]; seen {
		return
	}
	owned, err := extract(o, manager)
	if err != nil {
		return
	}
	sum, err := digest(owned)
	if err != nil {
		return
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[ownedKey] = sum
	o.SetAnnotations(annotations)
	o.SetManagedFields(nil)
	drop()
}

// digest of an apply configuration, or of what a manager owns.
func digest(v any) (string, error) {
	b, err := json.Marshal(v)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}
