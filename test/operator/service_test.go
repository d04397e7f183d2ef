package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// TestServices: the API server takes every Service that a spec can ask for, and
// every change from one to another.
func TestServices(t *testing.T) {
	specs := []string{
		"{type: LoadBalancer}",
		"{type: LoadBalancer, externalTrafficPolicy: Cluster, annotations: {example.com/a: b}}",
		"{type: LoadBalancer, loadBalancerSourceRanges: [10.20.3.7/16, 192.0.2.0/24], ipFamilyPolicy: PreferDualStack}",
		"{type: NodePort, sessionAffinity: None}",
		"{type: ClusterIP, annotations: {example.com/c: d}}",
		"{type: ClusterIP, sessionAffinity: None, ipFamilyPolicy: SingleStack}",
	}
	r := newRig(t)
	op := r.run()
	r.copiersReady("service: " + specs[0])
	ip := must[corev1.Service](r, "copiers").Spec.ClusterIP
	for from := range specs {
		for to := from + 1; to < len(specs); to++ {
			for _, next := range []int{to, from} {
				r.kubectl(copiers("service: " + specs[next]))
				r.ready("copiers")
				r.isService(specs[next])
			}
		}
		if from+1 < len(specs) {
			r.kubectl(copiers("service: " + specs[from+1]))
			r.ready("copiers")
		}
	}
	if now := must[corev1.Service](r, "copiers").Spec.ClusterIP; now != ip {
		t.Errorf("clusterIP %s, before %s", now, ip)
	}
	r.rests(op, func() { r.nudge("copiers") })
}

// isService compares the Service with what was asked for.
func (r *rig) isService(want string) {
	r.Helper()
	s := must[corev1.Service](r, "copiers")
	affinity := corev1.ServiceAffinityClientIP
	if strings.Contains(want, "sessionAffinity: None") {
		affinity = corev1.ServiceAffinityNone
	}
	policy := corev1.ServiceExternalTrafficPolicyLocal
	switch {
	case strings.Contains(want, "Policy: Cluster"):
		policy = corev1.ServiceExternalTrafficPolicyCluster
	case strings.Contains(want, "type: ClusterIP"):
		policy = ""
	}
	if !strings.Contains(want, "type: "+string(s.Spec.Type)) || s.Spec.SessionAffinity != affinity || s.Spec.ExternalTrafficPolicy != policy ||
		strings.Contains(want, "Ranges") != (len(s.Spec.LoadBalancerSourceRanges) == 2) ||
		strings.Contains(want, "example.com/a") != (s.Annotations["example.com/a"] == "b") || strings.Contains(want, "example.com/c") != (s.Annotations["example.com/c"] == "d") {
		r.Errorf("%s is %+v %v", want, s.Spec, s.Annotations)
	}
}

// TestLoadBalancerClass cannot be changed of a Service: the relay says so, and
// goes on when the Service is deleted.
func TestLoadBalancerClass(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("service: {loadBalancerClass: example.com/a}")
	r.kubectl(copiers("service: {loadBalancerClass: example.com/b}"))
	r.condition("copiers", "Ready=False/ApplyFailed", `Service "copiers"`, "spec.loadBalancerClass")
	r.condition("copiers", "Stalled=True")
	r.delete(must[corev1.Service](r, "copiers"))
	r.ready("copiers")
	if c := must[corev1.Service](r, "copiers").Spec.LoadBalancerClass; *c != "example.com/b" {
		t.Errorf("class %s", *c)
	}
}

// TestOrder: lists that the API server keeps by name follow the spec's order, or
// at least come to rest.
func TestOrder(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.copiersReady()
	ports := [][]int{{25, 465, 587}, {587, 25}, {465, 587, 25, 2525}, {2525, 26, 465}}
	for _, order := range ports {
		var listeners, tolerations []string
		for _, p := range order {
			listeners = append(listeners, fmt.Sprintf("{name: p%d, port: %d, tls: {mode: StartTLS, certificateRefs: [{name: tls-%d}]}}", p, p, p))
			tolerations = append(tolerations, fmt.Sprintf("{key: k%d, operator: Exists}", p))
			r.kubectl(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: tls-%d}}", p))
		}
		r.kubectl(strings.Replace(copiers("pod: {tolerations: ["+strings.Join(tolerations, ", ")+"], labels: {l: a}, annotations: {a: b}, nodeSelector: {n: a}, resources: {limits: {memory: 1024Mi, cpu: 1000m}}}"),
			"[{name: scans, port: 25, tls: {mode: None}}]", "["+strings.Join(listeners, ", ")+"]", 1))
		r.ready("copiers")
		r.rests(op, func() { r.nudge("copiers") })
		var got []int
		for _, p := range must[corev1.Service](r, "copiers").Spec.Ports {
			got = append(got, int(p.Port))
		}
		slices.Sort(got)
		slices.Sort(order)
		if !slices.Equal(got, order) {
			t.Errorf("ports %v, want %v", got, order)
		}
	}
}

// TestEphemeral: a change of the spool's type is a change of the Pods.
func TestEphemeral(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady()
	r.kubectl(copiers("acknowledge: Relayed", "spool: {type: Ephemeral}"))
	r.ready("copiers")
	r.condition("copiers", "Durable=False/Ephemeral")
	if v := must[appsv1.Deployment](r, "copiers-0").Spec.Template.Spec.Volumes[0]; v.EmptyDir == nil || v.PersistentVolumeClaim != nil {
		t.Errorf("volume %+v", v)
	}
	must[corev1.PersistentVolumeClaim](r, "copiers-0") // what was on it is kept
	r.kubectl(copiers("spool: {persistentVolume: {size: 1Gi}}"))
	r.condition("copiers", "Ready=False/ApplyFailed", `PersistentVolumeClaim "copiers-0"`)
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Spool.PersistentVolume = nil })
	r.ready("copiers")
}

// TestPending: an address or a volume that the cluster has still to give is
// named, and waited for.
func TestPending(t *testing.T) {
	r := newRig(t)
	r.node.change(func() { r.node.pending, r.node.unbound["copiers-0"] = true, true })
	r.run()
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
	r.condition("copiers", "Ready=False/AddressPending", `Service "copiers"`, "spec.service.type: NodePort")
	r.condition("copiers", "Durable=Unknown/VolumePending", `"copiers-0"`)
	r.condition("copiers", "Stalled=absent")
	r.node.change(func() { r.node.pending, r.node.unbound["copiers-0"] = false, false })
	r.ready("copiers")
	r.condition("copiers", "Durable=True")
}
