package operator

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/controllers/render"
)

// TestOtherWriters: kubectl scale, an autoscaler and a GitOps controller that
// applies with force write the same objects, all at once. The operator writes
// no more often than they do, its own fields are as they should be in the end, and
// theirs stay.
func TestOtherWriters(t *testing.T) {
	r := newRig(t)
	op, _ := r.runFaulty()
	r.copiersReady("replicas: 2")
	r.rests(op, func() { r.nudge("copiers") })
	op.writes.Reset()
	const rounds = 15
	writers := []func(int) error{
		func(n int) error { // kubectl scale
			patch := fmt.Sprintf(`{"spec": {"replicas": %d}}`, 2+n%2)
			d := &appsv1.Deployment{}
			d.Namespace, d.Name = r.ns, "copiers-0"
			return r.client.SubResource("scale").Patch(r.ctx(), d, client.RawPatch(types.MergePatchType, []byte(patch)))
		},
		func(n int) error { // a GitOps controller that has our Service, and its own labels and port
			s := coreac.Service("copiers", r.ns).WithLabels(map[string]string{"example.com/app": "gitops"}).
				WithAnnotations(map[string]string{"example.com/round": fmt.Sprint(n)}).
				WithSpec(coreac.ServiceSpec().WithSelector(map[string]string{"app": fmt.Sprint("other-", n)}))
			return r.client.Apply(r.ctx(), s, client.FieldOwner("gitops"), client.ForceOwnership)
		},
		func(n int) error { // one that has our template, with the same image, and resources of its own
			c := coreac.Container().WithName(render.ContainerName).WithImage(image).
				WithResources(coreac.ResourceRequirements().WithLimits(corev1.ResourceList{"example.com/x": resource.MustParse(fmt.Sprint(n + 1))}))
			d := appsac.Deployment("copiers-1", r.ns).WithSpec(appsac.DeploymentSpec().WithTemplate(coreac.PodTemplateSpec().WithSpec(coreac.PodSpec().WithContainers(c))))
			return r.client.Apply(r.ctx(), d, client.FieldOwner("gitops"), client.ForceOwnership)
		},
		func(n int) error { // a hand in the ConfigMap
			c := coreac.ConfigMap("copiers-relay", r.ns).WithData(map[string]string{render.ManifestsKey: fmt.Sprint("round ", n), "theirs": fmt.Sprint(n)})
			return r.client.Apply(r.ctx(), c, client.FieldOwner("kubectl"), client.ForceOwnership)
		},
	}
	r.node.set("copiers-0", func(i *instance) { i.stale = true }) // they do not take up what is no configuration
	r.node.set("copiers-1", func(i *instance) { i.stale, i.stays = true, true })
	var wg sync.WaitGroup
	for _, write := range writers {
		wg.Go(func() {
			for n := range rounds {
				if err := write(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.eventually("the operator's fields are as they should be", func() string {
		s, c, d := must[corev1.Service](r, "copiers"), must[corev1.ConfigMap](r, "copiers-relay"), must[appsv1.Deployment](r, "copiers-0")
		if !maps.Equal(s.Spec.Selector, render.Selector("copiers")) || !strings.Contains(c.Data[render.ManifestsKey], "floor-3") || *d.Spec.Replicas != 1 {
			return fmt.Sprint(s.Spec.Selector, c.Data[render.ManifestsKey], *d.Spec.Replicas)
		}
		return ""
	})
	for key, n := range op.writes.Count() {
		most := 2*rounds + 5
		if strings.Contains(key, "/status") || strings.Contains(key, "events") { // they tell of each write to any of the four, and of its repair
			most = 2*len(writers)*rounds + 5
		}
		if !strings.Contains(key, "pods") && n > most {
			t.Errorf("%d times %s, where each object was written %d times by others", n, key, rounds)
		}
	}
	s, c, d := must[corev1.Service](r, "copiers"), must[corev1.ConfigMap](r, "copiers-relay"), must[appsv1.Deployment](r, "copiers-1")
	limit := d.Spec.Template.Spec.Containers[0].Resources.Limits["example.com/x"]
	if last := fmt.Sprint(rounds - 1); s.Labels["example.com/app"] != "gitops" || s.Annotations["example.com/round"] != last || c.Data["theirs"] != last || limit.Value() != rounds {
		t.Errorf("others' fields do not stay: %v %v %v %s", s.Labels, s.Annotations, c.Data["theirs"], limit.String())
	}
	for _, name := range []string{"copiers-0", "copiers-1"} {
		r.node.set(name, func(i *instance) { i.stale, i.stays = false, false })
	}
	r.ready("copiers")
	r.rests(op, func() { r.nudge("copiers") })
}

// TestMutated: an admission policy, or a webhook, that writes other values over the
// operator's, as one does that has all images come from a mirror: it has its way. The
// operator does not fight it, rolls all instances, and rests.
func TestMutated(t *testing.T) {
	r := newRig(t)
	r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example/" + object.spec.template.spec.containers[0].image.replace("registry.example/", "").replace("mirror.example/", "")}]'
`, r.ns))
	r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s}
`, r.ns))
	r.eventually("the policy is in force", func() string {
		var d appsv1.Deployment
		if err := yamlInto(theirs["Deployment"], &d); err != nil {
			t.Fatal(err)
		}
		d.Namespace, d.Name = r.ns, "probe"
		if err := r.client.Create(r.ctx(), &d, client.DryRunAll); err != nil {
			return err.Error()
		}
		if got := d.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(got, "mirror.example/") {
			return got
		}
		return ""
	})
	op, f := r.runFaulty()
	r.copiersReady("replicas: 2")
	r.rests(op, func() { r.nudge("copiers") })
	for _, a := range []string{"b", "c"} {
		r.kubectl(copiers("replicas: 2", "pod: {annotations: {a: "+a+"}}"))
		r.ready("copiers")
		for _, name := range []string{"copiers-0", "copiers-1"} {
			d := must[appsv1.Deployment](r, name)
			if got := d.Spec.Template.Spec.Containers[0].Image; got != "mirror.example/printer-relay:1" || d.Spec.Template.Annotations["a"] != a {
				t.Errorf("%s has image %s and annotations %v", name, got, d.Spec.Template.Annotations)
			}
		}
	}
	r.rests(op, func() { r.nudge("copiers") })
	if s := f.storm(); s != "" {
		t.Errorf("a storm: %s", s)
	}
	edit(r, "copiers-1", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(3)) })
	r.eventually("what others change is repaired still", func() string {
		if n := *must[appsv1.Deployment](r, "copiers-1").Spec.Replicas; n != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	r.ready("copiers")
	r.rests(op, func() { r.nudge("copiers") })
}
