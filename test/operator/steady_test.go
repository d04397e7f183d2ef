package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// TestSteady: at rest nothing is written: not by the operator that made it all,
// not by one that starts anew, not for figures that change.
func TestSteady(t *testing.T) {
	r := newRig(t)
	seldom := func(o *controllers.Options) { o.FiguresEvery = time.Hour } // however slow the machine is
	first := r.run(seldom)
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting, i.queue.Oldest = 1, time.Minute })
	r.copiersReady("replicas: 2")
	r.rests(first, func() {
		for range 5 {
			r.nudge("copiers")
		}
	})
	first.stop()
	second := r.run(seldom)
	r.quiet(second, func() {
		for n := range 5 {
			r.node.set("copiers-0", func(i *instance) { i.queue.Waiting += n; i.queue.Held = n })
			r.nudge("copiers")
		}
	})
	if q := r.relay("copiers").Status.Queue; q.Messages != 1 {
		t.Errorf("queue %+v: written before its time", q)
	}
}

// TestCopiersInTheStatus: a device that is new stands in the status as soon as figures may; its scans
// are not worth a write of their own.
func TestCopiersInTheStatus(t *testing.T) {
	r := newRig(t)
	op := r.run(func(o *controllers.Options) { o.FiguresEvery = time.Millisecond })
	r.copiersReady()
	began := time.Now()
	seen := func(tls string, scans int) {
		r.node.set("copiers-0", func(i *instance) {
			at := began.Add(time.Duration(scans) * time.Second)
			i.copiers = []status.CopierReport{{Address: "10.20.3.17", Name: "MFP", TLSVersion: tls, Last: at, LastScan: at}}
		})
		r.nudge("copiers")
	}
	has := func(tls string) func() string {
		return func() string {
			c := r.relay("copiers").Status.Copiers
			if len(c) != 1 || c[0].Address != "10.20.3.17" || c[0].TLSVersion != tls {
				return fmt.Sprintf("%+v", c)
			}
			return ""
		}
	}
	seen("1.0", 0)
	r.eventually("a new device", has("1.0"))
	r.rests(op, func() {
		for n := range 5 {
			seen("1.0", n+1)
		}
	})
	seen("1.2", 6)
	r.eventually("another TLS", has("1.2"))
}

// TestDrift: what was changed or deleted comes back; what others added stays.
func TestDrift(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.copiersReady("replicas: 2", "service: {type: NodePort}")
	before := must[corev1.Service](r, "copiers")
	for _, c := range []struct {
		name   string
		change func()
		there  func() string
	}{
		{"an edited Service", func() {
			edit(r, "copiers", func(s *corev1.Service) {
				s.Spec.Selector = map[string]string{"app": "other"}
				s.Labels["example.com/team"] = "it"
				s.Annotations = map[string]string{"example.com/checked": "yes"}
			})
		}, func() string {
			s := must[corev1.Service](r, "copiers")
			switch {
			case !maps.Equal(s.Spec.Selector, render.Selector("copiers")):
				return fmt.Sprint(s.Spec.Selector)
			case s.Labels["example.com/team"] != "it" || s.Annotations["example.com/checked"] != "yes":
				t.Errorf("others' labels and annotations do not stay: %v %v", s.Labels, s.Annotations)
			case s.Spec.ClusterIP != before.Spec.ClusterIP || s.Spec.Ports[0].NodePort != before.Spec.Ports[0].NodePort:
				t.Errorf("clusterIP %s, nodePort %d, want %s, %d", s.Spec.ClusterIP, s.Spec.Ports[0].NodePort, before.Spec.ClusterIP, before.Spec.Ports[0].NodePort)
			}
			return ""
		}},
		{"a deleted Service", func() { r.delete(before) }, func() string {
			if s := get[corev1.Service](r, "copiers"); s == nil || s.UID == before.UID {
				return "not yet"
			}
			return ""
		}},
		{"an edited ConfigMap", func() {
			edit(r, "copiers-relay", func(c *corev1.ConfigMap) {
				c.Data[render.ManifestsKey] = strings.ReplaceAll(c.Data[render.ManifestsKey], "floor-3", "floor-4")
			})
		}, func() string {
			if c := must[corev1.ConfigMap](r, "copiers-relay"); !strings.Contains(c.Data[render.ManifestsKey], "floor-3") {
				return c.Data[render.ManifestsKey]
			}
			return ""
		}},
		{"a deleted ConfigMap", func() { r.delete(must[corev1.ConfigMap](r, "copiers-relay")) }, func() string {
			if c := get[corev1.ConfigMap](r, "copiers-relay"); c == nil || !strings.Contains(c.Data[render.ManifestsKey], "floor-3") {
				return "not yet"
			}
			return ""
		}},
		{"an edited image", func() {
			edit(r, "copiers-1", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "other" })
		}, func() string {
			if d := must[appsv1.Deployment](r, "copiers-1"); d.Spec.Template.Spec.Containers[0].Image != image {
				return d.Spec.Template.Spec.Containers[0].Image
			}
			return ""
		}},
		{"a removed label", func() {
			edit(r, "copiers-relay", func(n *networkingv1.NetworkPolicy) { delete(n.Labels, render.LabelManagedBy) })
		}, func() string {
			if n := must[networkingv1.NetworkPolicy](r, "copiers-relay"); n.Labels[render.LabelManagedBy] == "" {
				return fmt.Sprint(n.Labels)
			}
			return ""
		}},
		{"a removed owner", func() {
			edit(r, "copiers-relay", func(b *policyv1.PodDisruptionBudget) { b.OwnerReferences = nil })
		}, func() string {
			// Nobody's object is not taken: the person who made it so is told.
			o := r.relay("copiers")
			return conditionDiffers(o, o.Status.Conditions, "Ready=False/ApplyFailed", []string{"PodDisruptionBudget", "copiers-relay"})
		}},
		{"deleted by who removed the owner", func() { r.delete(must[policyv1.PodDisruptionBudget](r, "copiers-relay")) }, func() string {
			if get[policyv1.PodDisruptionBudget](r, "copiers-relay") == nil {
				return "not yet"
			}
			return ""
		}},
		{"a deleted Deployment", func() { r.delete(must[appsv1.Deployment](r, "copiers-0")) }, func() string {
			if get[appsv1.Deployment](r, "copiers-0") == nil {
				return "not yet"
			}
			return ""
		}},
		{"a deleted ServiceAccount", func() { r.delete(must[corev1.ServiceAccount](r, "copiers-queue")) }, func() string {
			if get[corev1.ServiceAccount](r, "copiers-queue") == nil {
				return "not yet"
			}
			return ""
		}},
	} {
		c.change()
		r.eventually(c.name+" is repaired", c.there)
		if !strings.Contains(c.name, "owner") {
			r.ready("copiers")
		}
	}
	r.ready("copiers")
	r.rests(op, func() { r.nudge("copiers") })
}

// TestForeign: an object that has our name and is somebody else's is never
// touched; the relay says which, and what to do, and goes on when it is gone.
func TestForeign(t *testing.T) {
	for _, foreign := range []client.Object{&corev1.ConfigMap{}, &corev1.Service{}, &corev1.ServiceAccount{}, &corev1.PersistentVolumeClaim{}, &appsv1.Deployment{}} {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", foreign), "*v1.")
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			name := map[string]string{"ConfigMap": "copiers-relay", "Service": "copiers", "ServiceAccount": "copiers-relay", "PersistentVolumeClaim": "copiers-0", "Deployment": "copiers-0"}[kind]
			r.kubectl(theirs[kind])
			version := r.version(foreign, name)
			op := r.run()
			r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
			r.condition("copiers", "Ready=False/ApplyFailed", kind, name, "delete it, or give the PrinterRelay another name")
			r.condition("copiers", "Stalled=True")
			r.condition("copiers", "Reconciling=absent")
			if kind != "Service" && kind != "Deployment" {
				if d := get[appsv1.Deployment](r, "copiers-0"); d != nil {
					t.Error("an instance runs without what it stands on")
				}
			}
			if kind == "Service" {
				r.condition("copiers", "Programmed=True")
			}
			r.eventually("the rest of it is there", func() string {
				if kind != "Service" && len(r.relay("copiers").Status.Addresses) == 0 {
					return "no address"
				}
				return ""
			})
			r.rests(op, func() { r.looked(op, "copiers") })
			if now := r.version(foreign, name); now != version {
				t.Errorf("%s %q was touched: %s, before %s", kind, name, now, version)
			}
			r.delete(foreign)
			r.ready("copiers")
		})
	}
}

// theirs are objects that have nothing to do with us.
var theirs = map[string]string{
	"ConfigMap":             "{apiVersion: v1, kind: ConfigMap, metadata: {name: copiers-relay}, data: {a: b}}",
	"Service":               "{apiVersion: v1, kind: Service, metadata: {name: copiers}, spec: {ports: [{port: 1}]}}",
	"ServiceAccount":        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: copiers-relay}}",
	"PersistentVolumeClaim": "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: copiers-0}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
	"Deployment":            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: copiers-0}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}",
}

// version of an object, its generation and managers, which a status does not
// change.
func (r *rig) version(o client.Object, name string) string {
	r.Helper()
	if err := r.client.Get(r.ctx(), r.key(name), o); err != nil {
		r.Fatal(err)
	}
	var managers []string
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" {
			managers = append(managers, f.Manager)
		}
	}
	return fmt.Sprint(o.GetUID(), o.GetGeneration(), o.GetLabels(), o.GetOwnerReferences(), managers)
}

// looked has the operator look twice at a relay that asks the API server for
// something that is not in the cache: when it asks again, the look before is over.
func (r *rig) looked(op *operator, relay string) {
	r.Helper()
	for n := range 2 {
		before := op.gets.Load()
		r.annotate(relay, "example.com/nudge", fmt.Sprint(n, time.Now().UnixNano()))
		r.eventually("the relay is looked at", func() string {
			if op.gets.Load() == before {
				return "not yet"
			}
			return ""
		})
	}
}

// TestFormer: what a relay of the same name left goes by itself, and is waited
// for.
func TestFormer(t *testing.T) {
	r := newRig(t)
	r.run()
	r.kubectl(`
apiVersion: v1
kind: ConfigMap
metadata:
  name: copiers-relay
  labels: {app.kubernetes.io/name: printer-relay, app.kubernetes.io/instance: copiers, app.kubernetes.io/managed-by: printer-relay}
  ownerReferences: [{apiVersion: printerrelay.dev/v1alpha1, kind: PrinterRelay, name: copiers, uid: 00000000-0000-0000-0000-000000000001, controller: true}]
`)
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
	r.condition("copiers", "Ready=False/ApplyFailed", "copiers-relay")
	r.condition("copiers", "Stalled=absent")
	r.condition("copiers", "Reconciling=True")
	if slices.Contains(r.objects(), "Deployment/copiers-0") {
		t.Error("an instance runs with the configuration of another relay")
	}
	r.delete(must[corev1.ConfigMap](r, "copiers-relay")) // the garbage collector
	r.ready("copiers")
}

// TestNamespaces: an operator of some namespaces leaves the others alone.
func TestNamespaces(t *testing.T) {
	r := newRig(t)
	r.run()
	other := r.server.Namespace(t)
	r.kubectl(strings.Replace(copiers(), "{name: copiers}", "{name: copiers, namespace: "+other+"}", 1))
	r.copiersReady()
	var o v1alpha1.PrinterRelay
	if err := r.client.Get(context.WithoutCancel(r.ctx()), client.ObjectKey{Namespace: other, Name: "copiers"}, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Finalizers) > 0 || len(o.Status.Conditions) > 0 || o.Generation != 1 {
		t.Errorf("finalizers %v, conditions %v", o.Finalizers, o.Status.Conditions)
	}
}
