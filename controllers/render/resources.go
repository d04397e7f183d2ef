package render

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
)

// The relay's resources where spec.pod.resources does not name them. Memory
// does not grow with the size of a scan, so that it can be limited; CPU is not: a
// copier would wait.
var (
	defaultRequests = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("50m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	defaultLimits = corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("256Mi"),
	}
)

// resources are the user's. Of a resource that they name, request and limit
// alike are theirs: a default limit might be below their request.
func (r *renderer) resources() (*coreac.ResourceRequirementsApplyConfiguration, error) {
	theirs := &r.Relay.Spec.Pod.Resources
	merged := theirs.DeepCopy()
	merged.Requests = withDefaults(defaultRequests, theirs.Requests, theirs)
	merged.Limits = withDefaults(defaultLimits, theirs.Limits, theirs)
	out, err := convert[coreac.ResourceRequirementsApplyConfiguration](merged)
	if err != nil {
		return nil, fmt.Errorf("spec.pod.resources: %w", err)
	}
	return out, nil
}

// withDefaults adds to list the entries of ours that theirs does not name at all.
func withDefaults(ours, list corev1.ResourceList, theirs *corev1.ResourceRequirements) corev1.ResourceList {
	out := maps.Clone(list)
	for name, q := range ours {
		_, requested := theirs.Requests[name]
		_, limited := theirs.Limits[name]
		if requested || limited {
			continue
		}
		if out == nil {
			out = corev1.ResourceList{}
		}
		out[name] = q
	}
	return out
}

// memoryLimit in octets; 0: none.
func memoryLimit(r *coreac.ResourceRequirementsApplyConfiguration) int64 {
	if r.Limits == nil {
		return 0
	}
	q, ok := (*r.Limits)[corev1.ResourceMemory]
	if !ok {
		return 0
	}
	return q.Value()
}
