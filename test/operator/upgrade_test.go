package operator

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// TestUpgrade: objects as an older version applied them, with fields that are no
// longer rendered and without some that are, become what is rendered.
func TestUpgrade(t *testing.T) {
	r := newRig(t)
	first := r.run()
	r.copiersReady("replicas: 2")
	r.rests(first, func() { r.nudge("copiers") })
	first.stop()
	before := r.owned()
	r.older()
	op := r.run()
	r.eventually("all is as it was", func() string {
		now := r.owned()
		for name, was := range before {
			if now[name] != was {
				return name + "\n" + now[name] + "\n" + was
			}
		}
		return ""
	})
	r.ready("copiers")
	r.rests(op, func() { r.nudge("copiers") })
}

// older applies changed objects as the operator's field manager.
func (r *rig) older() {
	r.Helper()
	d := extract(r, "copiers-1", appsac.ExtractDeployment)
	d.Spec.WithMinReadySeconds(7)
	d.Spec.RevisionHistoryLimit = nil
	d.Spec.Template.Spec.Containers[0].WithEnv(coreac.EnvVar().WithName("OLD").WithValue("1"))
	d.Spec.Template.Spec.Containers[0].LivenessProbe = nil
	d.WithAnnotations(map[string]string{"printerrelay.dev/old": "1"})
	s := extract(r, "copiers", coreac.ExtractService)
	s.Spec.WithPublishNotReadyAddresses(true).WithPorts(coreac.ServicePort().WithName("old").WithPort(9999))
	s.Spec.SessionAffinity = nil
	s.WithLabels(map[string]string{"printerrelay.dev/old": "1"})
	c := extract(r, "copiers-relay", coreac.ExtractConfigMap)
	c.WithData(map[string]string{"old.json": "{}"})
	delete(c.Data, access.File)
	n := extract(r, "copiers-relay", networkingac.ExtractNetworkPolicy)
	n.Spec.WithPolicyTypes(networkingv1.PolicyTypeEgress)
	b := extract(r, "copiers-relay", policyac.ExtractPodDisruptionBudget)
	b.Spec.UnhealthyPodEvictionPolicy = nil
	v := extract(r, "copiers-0", coreac.ExtractPersistentVolumeClaim)
	v.WithAnnotations(map[string]string{"printerrelay.dev/old": "1"})
	for _, o := range []runtime.ApplyConfiguration{d, s, c, n, b, v} {
		if err := r.client.Apply(r.ctx(), o, client.FieldOwner(render.ProgramName), client.ForceOwnership); err != nil {
			r.Fatal(err)
		}
	}
}

// extract reads what the operator owns of an object.
func extract[T any, P interface {
	*T
	client.Object
}, C any](r *rig, name string, fn func(P, string) (*C, error)) *C {
	r.Helper()
	out, err := fn(must[T, P](r, name), render.ProgramName)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// owned is what the operator owns of each object, as text, with what the API
// server has of it: a field that is no longer rendered is to be gone.
func (r *rig) owned() map[string]string {
	r.Helper()
	d, s, c := must[appsv1.Deployment](r, "copiers-1"), must[corev1.Service](r, "copiers"), must[corev1.ConfigMap](r, "copiers-relay")
	n, b := must[networkingv1.NetworkPolicy](r, "copiers-relay"), must[policyv1.PodDisruptionBudget](r, "copiers-relay")
	v := must[corev1.PersistentVolumeClaim](r, "copiers-0")
	out := map[string]string{}
	for name, o := range map[string]struct {
		meta metav1.Object
		body any
	}{"Deployment": {d, d.Spec}, "Service": {s, s.Spec}, "ConfigMap": {c, c.Data}, "NetworkPolicy": {n, n.Spec}, "PodDisruptionBudget": {b, b.Spec}, "PersistentVolumeClaim": {v, v.Spec}} {
		out[name] = text(map[string]any{"labels": o.meta.GetLabels(), "annotations": len(o.meta.GetAnnotations()), "body": o.body})
	}
	return out
}
