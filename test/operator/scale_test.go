package operator

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

const deletes = "spool: {persistentVolume: {reclaimPolicy: Delete}}"

func (r *rig) scale(n int32) {
	r.Helper()
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Replicas = &n })
}

// has waits until an object is there, or is not.
func (r *rig) has(want bool, object string) {
	r.Helper()
	r.eventually(object, func() string {
		if o := r.objects(); slices.Contains(o, object) != want {
			return strings.Join(o, "\n")
		}
		return ""
	})
}

// stays fails the test if an instance goes when its relay is looked at.
func (r *rig) stays(instance, why string) {
	r.Helper()
	r.nudge("copiers")
	r.nudge("copiers")
	if d := get[appsv1.Deployment](r, instance); d == nil || d.DeletionTimestamp != nil {
		r.Fatalf("%s is gone: %s", instance, why)
	}
	if c := must[corev1.PersistentVolumeClaim](r, instance); c.DeletionTimestamp != nil {
		r.Fatalf("the volume of %s goes: %s", instance, why)
	}
}

// TestScale: instances that go drain first; their volumes are kept, and used
// again.
func TestScale(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 3")
	volume := must[corev1.PersistentVolumeClaim](r, "copiers-1").UID
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting, i.queue.Held = 2, 1 })
	r.node.set("copiers-2", func(i *instance) { i.deaf = true })
	r.scale(1)
	r.eventually("both are told to drain", func() string {
		c := must[corev1.ConfigMap](r, "copiers-relay")
		if got := draining(c); !slices.Equal(got, []string{"copiers-1", "copiers-2"}) {
			return strings.Join(got, ", ")
		}
		return ""
	})
	r.condition("copiers", "Ready=Unknown/Draining", "1 of 1 instance", "2 messages to deliver")
	r.stays("copiers-1", "it has something to deliver")
	r.stays("copiers-2", "it did not confirm that it drains")
	r.node.set("copiers-2", func(i *instance) { i.deaf, i.connections = false, 1 })
	r.stays("copiers-2", "a session may bring mail in")
	r.node.set("copiers-2", func(i *instance) { i.connections, i.silent = 0, "no route to host" })
	r.stays("copiers-2", "nobody knows what it has")
	r.node.set("copiers-2", func(i *instance) { i.silent = "" })
	r.has(false, "Deployment/copiers-2")
	r.stays("copiers-1", "it has something to deliver")
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting = 0 }) // what is held stays on the volume
	r.has(false, "Deployment/copiers-1")
	r.ready("copiers")
	r.happened("copiers", "Normal InstanceRetired", "copiers-1", "its volume is kept")
	if got := r.relay("copiers").Status.Instances; len(got) != 1 {
		t.Errorf("instances %+v", got)
	}
	r.scale(3)
	r.ready("copiers")
	if now := must[corev1.PersistentVolumeClaim](r, "copiers-1").UID; now != volume {
		t.Error("the instance has a new volume")
	}
	r.eventually("two instances were retired", func() string {
		if all := r.events("copiers"); count(all, "Normal InstanceRetired") != 2 {
			return strings.Join(all, "\n")
		}
		return ""
	})
}

func count(all []string, prefix string) (n int) {
	for _, e := range all {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

// TestScaleDelete: a volume that goes with its instance keeps it while anything
// is left, until a person gives it up.
func TestScaleDelete(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 3", deletes)
	for _, name := range three[1:] {
		r.node.set(name, func(i *instance) { i.queue.Held, i.queue.Failed, i.stays = 2, 1, true })
	}
	r.scale(1)
	r.condition("copiers", "Ready=Unknown/Draining", "0 messages to deliver, 2 held, 1 failed", v1alpha1.AnnotationAbandonQueue)
	r.stays("copiers-1", "it holds mail")
	r.node.set("copiers-1", func(i *instance) { i.queue.Held = 0 })
	r.stays("copiers-1", "it has failed mail")
	r.node.set("copiers-1", func(i *instance) { i.queue.Failed = 0 })
	r.has(false, "Deployment/copiers-1")
	// The claim was deleted before it, and stays while the Pod does.
	if c := must[corev1.PersistentVolumeClaim](r, "copiers-1"); c.DeletionTimestamp == nil {
		t.Error("the Deployment went before its claim")
	}
	r.stays("copiers-2", "it holds mail")
	r.annotate("copiers", v1alpha1.AnnotationAbandonQueue, "true")
	r.has(false, "Deployment/copiers-2")
	r.happened("copiers", "Warning QueueAbandoned", "copiers-2", "2 held, 1 failed", "nothing of it is kept")
	for _, name := range three[1:] {
		r.node.set(name, func(i *instance) { i.stays = false })
		r.has(false, "PersistentVolumeClaim/"+name)
	}
	r.ready("copiers")
	r.nudge("copiers")
	if got := r.objects(); slices.Contains(got, "PersistentVolumeClaim/copiers-1") || slices.Contains(got, "Deployment/copiers-1") {
		t.Errorf("what was retired is back: %q", got)
	}
	r.scale(2)
	r.ready("copiers")
}

// TestScaleUpAgain: an instance that was to go stays when it is wanted again.
func TestScaleUpAgain(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2", deletes)
	uid := must[appsv1.Deployment](r, "copiers-1").UID
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting = 1 })
	r.scale(1)
	r.condition("copiers", "Ready=Unknown/Draining")
	r.scale(2)
	r.ready("copiers")
	if d := must[appsv1.Deployment](r, "copiers-1"); d.UID != uid {
		t.Error("it was replaced")
	}
	if got := draining(must[corev1.ConfigMap](r, "copiers-relay")); len(got) > 0 {
		t.Errorf("still told to drain: %q", got)
	}
}

// TestGoneMeanwhile: an instance that went while it was looked at is not made
// again, nor its claim.
func TestGoneMeanwhile(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2", deletes)
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting = 1 })
	r.scale(1)
	r.condition("copiers", "Ready=Unknown/Draining")
	block := make(chan struct{})
	r.node.set("copiers-1", func(i *instance) { i.block = block })
	r.nudge("copiers") // the look is on its way
	r.delete(must[appsv1.Deployment](r, "copiers-1"))
	r.delete(must[corev1.PersistentVolumeClaim](r, "copiers-1"))
	r.has(false, "Deployment/copiers-1")
	r.has(false, "PersistentVolumeClaim/copiers-1")
	close(block)
	r.ready("copiers")
	if got := r.objects(); slices.Contains(got, "Deployment/copiers-1") || slices.Contains(got, "PersistentVolumeClaim/copiers-1") {
		t.Errorf("it is there again: %q", got)
	}
	if n := count(r.events("copiers"), "Normal InstanceRetired"); n > 0 {
		t.Errorf("it was made and retired again:\n%s", strings.Join(r.events("copiers"), "\n"))
	}
}

// TestDeletedMeanwhile: of a relay that is being deleted nothing is made again that
// is gone already, by whoever.
func TestDeletedMeanwhile(t *testing.T) {
	for name, spec := range map[string]string{"Retain": "replicas: 2", "Delete": deletes} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			op := r.run()
			r.copiersReady(spec)
			op.stop()
			r.deleteRelay()
			r.collect()
			before := r.objects()
			r.run()
			r.left()
			if after := r.objects(); !slices.Equal(before, after) {
				t.Errorf("there was %q, and is %q", before, after)
			}
		})
	}
}

func (r *rig) deleteRelay() {
	r.Helper()
	r.delete(&v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: r.ns, Name: "copiers"}})
}

// gone waits until the relay is, and plays the garbage collector.
func (r *rig) gone() {
	r.Helper()
	r.left()
	r.collect()
}

// left waits until the relay is no longer there.
func (r *rig) left() {
	r.Helper()
	r.eventually("the relay is gone", func() string {
		o := get[v1alpha1.PrinterRelay](r, "copiers")
		if o == nil {
			return ""
		}
		return describe(o, o.Status.Conditions)
	})
}

// collect deletes what the relay owns, or owned.
func (r *rig) collect() {
	r.Helper()
	for _, o := range []client.Object{
		&appsv1.Deployment{}, &corev1.ConfigMap{}, &corev1.ServiceAccount{}, &corev1.Service{},
		&networkingv1.NetworkPolicy{}, &policyv1.PodDisruptionBudget{},
	} {
		if err := r.client.DeleteAllOf(r.ctx(), o, client.InNamespace(r.ns), client.MatchingLabels{"app.kubernetes.io/instance": "copiers"}); err != nil {
			r.Fatal(err)
		}
	}
}

// TestDeleteKeeps: with Retain a relay goes at once; its volumes stay, and a new
// relay of its name finds them.
func TestDeleteKeeps(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2")
	volume := must[corev1.PersistentVolumeClaim](r, "copiers-1").UID
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting = 7 })
	r.deleteRelay()
	r.gone()
	if c := must[corev1.PersistentVolumeClaim](r, "copiers-1"); c.DeletionTimestamp != nil || len(c.OwnerReferences) > 0 {
		t.Errorf("the volume goes: %+v", c.ObjectMeta)
	}
	r.kubectl(copiers("replicas: 2"))
	r.ready("copiers")
	if c := must[corev1.PersistentVolumeClaim](r, "copiers-1"); c.UID != volume {
		t.Error("a new volume")
	}
}

// TestDeleteDrains: with Delete all is delivered first, and what is left is said.
func TestDeleteDrains(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2", deletes)
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting, i.queue.Failed = 3, 1 })
	r.deleteRelay()
	r.condition("copiers", "Ready=False/Deleting", `instance "copiers-0" goes with its volume when nothing is left: 3 messages to deliver, 0 held, 1 failed`, v1alpha1.AnnotationAbandonQueue)
	r.condition("copiers", "Reconciling=True")
	r.has(false, "Deployment/copiers-1")
	r.has(false, "PersistentVolumeClaim/copiers-1")
	r.stays("copiers-0", "it has mail to deliver")
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting = 0 })
	r.stays("copiers-0", "it has failed mail")
	r.annotate("copiers", v1alpha1.AnnotationAbandonQueue, "true")
	r.happened("copiers", "Warning QueueAbandoned", "copiers-0", "1 failed")
	r.gone()
	r.has(false, "PersistentVolumeClaim/copiers-0")
}

// TestDeleteWithoutPlan: a relay that never ran goes at once.
func TestDeleteWithoutPlan(t *testing.T) {
	r := newRig(t)
	r.run()
	r.kubectl(copiers(deletes))
	r.condition("copiers", "Ready=False/ReferenceNotFound")
	r.deleteRelay()
	r.gone()
}

// TestDeleteWithoutReferences: a relay drains though its policy went first, as
// when both are deleted by one command.
func TestDeleteWithoutReferences(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady(deletes)
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting = 1 })
	r.delete(must[v1alpha1.SenderPolicy](r, "office"))
	r.delete(must[v1alpha1.MailUpstream](r, "smarthost"))
	r.deleteRelay()
	r.condition("copiers", "Ready=False/Deleting", "1 message to deliver")
	r.stays("copiers-0", "it has mail to deliver")
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting = 0 })
	r.gone()
	r.has(false, "PersistentVolumeClaim/copiers-0")
}

// TestNamespaceGoes: in a namespace that is being deleted nobody waits, and what
// is lost is said.
func TestNamespaceGoes(t *testing.T) {
	r := newRig(t)
	r.home = r.server.Namespace(t)
	r.run()
	r.copiersReady(deletes)
	r.node.set("copiers-0", func(i *instance) { i.queue.Waiting = 4 })
	r.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.ns}})
	// The namespace controller deletes what is in it.
	r.deleteRelay()
	r.eventually("the relay is gone", func() string {
		o := &v1alpha1.PrinterRelay{}
		if err := r.client.Get(r.ctx(), r.key("copiers"), o); apierrors.IsNotFound(err) {
			return ""
		}
		return describe(o, o.Status.Conditions)
	})
	r.eventually("the event says what is lost", func() string {
		var list eventsv1.EventList
		if err := r.client.List(r.ctx(), &list, client.InNamespace(r.home)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == "QueueAbandoned" && strings.Contains(e.Note, r.ns) && strings.Contains(e.Note, "4 to deliver") {
				return ""
			}
		}
		return r.log.String()
	})
}
