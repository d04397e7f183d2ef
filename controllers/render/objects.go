package render

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// serviceAccounts are the Pods' own, unless spec.pod names another, and the one
// that nobody runs as, whose tokens open state and queue control.
func (r *renderer) serviceAccounts() []*coreac.ServiceAccountApplyConfiguration {
	names := []string{QueueServiceAccountName(r.Relay.Name)}
	if r.Relay.Spec.Pod.ServiceAccountName == "" {
		names = append(names, ServiceAccountName(r.Relay.Name))
	}
	var out []*coreac.ServiceAccountApplyConfiguration
	for _, name := range names {
		out = append(out, coreac.ServiceAccount(name, r.Relay.Namespace).
			WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)).
			WithAutomountServiceAccountToken(false))
	}
	return out
}

// podDisruptionBudget keeps all instances but one while nodes are drained. Pods
// that are not ready may always go: they serve nobody.
func (r *renderer) podDisruptionBudget() *policyac.PodDisruptionBudgetApplyConfiguration {
	if len(r.numbers()) < 2 {
		return nil
	}
	return policyac.PodDisruptionBudget(PodDisruptionBudgetName(r.Relay.Name), r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)).
		WithSpec(policyac.PodDisruptionBudgetSpec().
			WithMaxUnavailable(intstr.FromInt32(1)).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metaac.LabelSelector().WithMatchLabels(Selector(r.Relay.Name))))
}

// defaultVolumeSize is spec.spool.persistentVolume.size where it is not given,
// and the bound of an Ephemeral spool.
var defaultVolumeSize = resource.MustParse("5Gi")

// volume of an instance. It has no owner: with reclaimPolicy Retain it outlives
// the relay, with Delete the operator deletes it when its queue is empty.
func (r *renderer) volume(instance string) *coreac.PersistentVolumeClaimApplyConfiguration {
	if r.spool.Type == v1alpha1.SpoolEphemeral {
		return nil
	}
	size := defaultVolumeSize
	spec := coreac.PersistentVolumeClaimSpec().WithAccessModes(corev1.ReadWriteOnce)
	if v := r.spool.PersistentVolume; v != nil {
		if v.Size != nil {
			size = *v.Size
		}
		if v.StorageClassName != nil {
			spec.WithStorageClassName(*v.StorageClassName)
		}
	}
	return coreac.PersistentVolumeClaim(instance, r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, instance)).
		WithSpec(spec.WithResources(coreac.VolumeResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceStorage: size})))
}

// Certificate is the kind of cert-manager that Certificates are.
const (
	CertificateAPIVersion = "cert-manager.io/v1"
	CertificateKind       = "Certificate"
)

// certificates asks cert-manager for those of the listeners with an issuerRef.
// The key is RSA: old copiers know nothing else.
func (r *renderer) certificates() ([]*unstructured.Unstructured, error) {
	if !r.Settings.CertManager {
		return nil, nil
	}
	var out []*unstructured.Unstructured
	for i := range r.listeners {
		l := &r.listeners[i]
		if l.TLS.IssuerRef == nil {
			continue
		}
		name := CertificateName(r.Relay.Name, l.Name)
		c, err := convert[map[string]any](map[string]any{
			"apiVersion": CertificateAPIVersion,
			"kind":       CertificateKind,
			"metadata": metaac.ObjectMeta().WithName(name).WithNamespace(r.Relay.Namespace).
				WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)),
			"spec": r.certificateSpec(name, l.TLS.IssuerRef),
		})
		if err != nil {
			return nil, fmt.Errorf("certificate %q: %w", name, err)
		}
		out = append(out, &unstructured.Unstructured{Object: *c})
	}
	return out, nil
}

func (r *renderer) certificateSpec(secret string, issuer *v1alpha1.IssuerReference) map[string]any {
	host := envelope.DomainKey(r.plan.Hostname)
	spec := map[string]any{
		"secretName": secret,
		"dnsNames":   []string{host},
		"issuerRef":  issuer,
		"privateKey": map[string]any{"algorithm": "RSA", "size": 2048, "rotationPolicy": "Always"},
		"usages":     []string{"digital signature", "key encipherment", "server auth"},
	}
	if len(host) <= 64 { // RFC 5280, ub-common-name; old copiers look nowhere else
		spec["commonName"] = host
	}
	return spec
}
