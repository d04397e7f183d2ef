package controllers

import (
	"context"
	"slices"

	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// hasten has the kubelets bring the relay's configuration to its Pods now. By
// itself a kubelet looks at a ConfigMap that is mounted about once a minute, which
// is long for a policy that takes somebody's rights away; it looks at once when
// the Pod changes. Each version of the ConfigMap is said once to each Pod that does
// not run it: what comes of it is seen in its report.
func (p *pass) hasten(ctx context.Context) {
	if p.set.Plan == nil || p.there.configMap == nil || p.configWritten {
		return // the pass that the new version causes does it
	}
	version := p.there.configMap.ResourceVersion
	for n, pod := range p.there.pods {
		report := p.there.reports[n]
		behind := report != nil && (report.PlanHash != p.set.Plan.Hash || report.Drained != slices.Contains(p.draining, n))
		if !behind || pod.Annotations[v1alpha1.AnnotationConfigVersion] == version {
			continue
		}
		// The UID keeps it from making a Pod of that name.
		c := coreac.Pod(pod.Name, pod.Namespace).WithUID(pod.UID).
			WithAnnotations(map[string]string{v1alpha1.AnnotationConfigVersion: version})
		if err := p.client.Apply(ctx, c, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			p.log.Debug("a Pod could not be told of its new configuration; its kubelet finds it within a minute", "relay", p.key(), "cause", err)
		}
	}
}
