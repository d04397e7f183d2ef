package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	ac "github.com/printerrelay/printer-relay/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
)

// finalizer keeps the relay until its queue is drained or kept as declared. It
// tells whether there is still a relay to look at.
func (p *pass) finalizer(ctx context.Context) (bool, error) {
	has := slices.Contains(p.relay.Finalizers, v1alpha1.Finalizer)
	switch {
	case p.relay.DeletionTimestamp == nil && !has:
		return true, p.setFinalizer(ctx, true)
	case p.relay.DeletionTimestamp != nil && !has:
		p.forget(p.key())
		return false, nil
	}
	return true, nil
}

// setFinalizer adds or removes ours. The UID keeps it from making a relay that
// is gone anew: that is a conflict.
func (p *pass) setFinalizer(ctx context.Context, want bool) error {
	c := ac.PrinterRelay(p.relay.Name, p.relay.Namespace).WithUID(p.relay.UID)
	if want {
		c.WithFinalizers(v1alpha1.Finalizer)
	}
	err := p.client.Apply(ctx, c, client.FieldOwner(fieldManager), client.ForceOwnership)
	if !want && apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// retire ends the instances that go, each when nothing is left that would be
// lost with it. Of one whose volume goes too, the claim is deleted first: it
// stays until the Pod has ended, and whatever happens in between, the Deployment
// that is there says that this is not done yet.
func (p *pass) retire(ctx context.Context) {
	for _, n := range p.draining {
		d, volume := p.there.deployments[n], p.there.volumes[n]
		if d.DeletionTimestamp != nil || !p.spent(n) {
			continue
		}
		if volume != nil && volume.DeletionTimestamp == nil && !p.keeps() {
			if !p.ok(p.delete(ctx, "PersistentVolumeClaim", volume)) {
				continue
			}
		}
		if !p.ok(p.delete(ctx, "Deployment", d)) {
			continue
		}
		if p.relay.DeletionTimestamp != nil && !p.terminating {
			gone, err := p.namespaceGoes(ctx)
			p.terminating = err == nil && gone
		}
		if p.terminating {
			continue // it takes no event, and farewell says what goes with it
		}
		kept := "its volume is kept"
		if !p.keeps() {
			kept = "nothing of it is kept"
		}
		if p.abandons() && p.left(n) != nothing {
			p.event(corev1.EventTypeWarning, "QueueAbandoned", actionRetire, "instance %q was ended with %s by the annotation %s; %s", d.Name, p.left(n), v1alpha1.AnnotationAbandonQueue, kept)
			continue
		}
		p.event(corev1.EventTypeNormal, "InstanceRetired", actionRetire, "instance %q was ended; %s", d.Name, kept)
	}
}

// spent tells whether an instance that drains may end: it says that it drains,
// no session is open that could still bring mail in, and what its volume does not
// keep is delivered.
func (p *pass) spent(n int) bool {
	volume, report := p.there.volumes[n], p.there.reports[n]
	switch {
	case p.abandons():
		return true
	case p.relay.DeletionTimestamp != nil && p.keeps():
		return true // its queue is kept as declared
	case volume != nil && volume.DeletionTimestamp != nil:
		return true // it was spent when the claim was deleted
	case volume != nil && volume.Status.Phase == corev1.ClaimPending:
		return true // it never ran
	case report == nil || !report.Drained || report.Connections > 0:
		return false
	case p.keeps() || p.relay.Spec.Spool.Type == v1alpha1.SpoolEphemeral:
		return report.Queue.Waiting == 0
	}
	return report.Queue.Empty()
}

// nothing is left in a queue.
const nothing = "nothing"

// left says what an instance had in its queue when it was last known.
func (p *pass) left(n int) string {
	if r := p.there.reports[n]; r != nil {
		return counts(r.Queue.Waiting, r.Queue.Held, r.Queue.Failed)
	}
	name := render.InstanceName(p.relay.Name, n)
	for _, i := range p.relay.Status.Instances {
		if i.Name == name && i.Queue != nil {
			return counts(int(i.Queue.Messages), int(i.Queue.Held), int(i.Queue.Failed))
		}
	}
	return "an unknown number of messages"
}

// release lets a relay that is being deleted go, when its instances are ended.
// In a namespace that goes too, nothing can be kept: what was in the queue is
// said, and nobody waits.
func (p *pass) release(ctx context.Context) (bool, error) {
	if p.relay.DeletionTimestamp == nil {
		return false, nil
	}
	left := slices.ContainsFunc(p.there.numbers(), func(n int) bool {
		return p.there.deployments[n].DeletionTimestamp == nil && !p.spent(n)
	})
	if left {
		gone, err := p.namespaceGoes(ctx)
		if err != nil || !gone {
			return false, err
		}
		for _, n := range p.there.numbers() {
			p.farewell(fmt.Sprintf("namespace %q is being deleted: instance %q goes with %s", p.relay.Namespace, p.there.deployments[n].Name, p.left(n)))
		}
	}
	if len(p.failures) > 0 && p.retry != nil {
		return false, nil //nolint:nilerr // an instance could not be ended: Reconcile returns why, and it is tried again
	}
	if err := p.setFinalizer(ctx, false); err != nil {
		return false, err
	}
	p.forget(p.key())
	return true, nil
}

// farewell tells of mail that goes with its namespace. That takes no event any
// more: it is the operator's own namespace that has it.
func (p *pass) farewell(text string) {
	p.log.Warn(text, "relay", p.key())
	p.events.Eventf(p.self, p.relay, corev1.EventTypeWarning, "QueueAbandoned", actionRetire, "%s", text)
}

func (p *pass) namespaceGoes(ctx context.Context) (bool, error) {
	var ns corev1.Namespace
	if err := p.live.Get(ctx, types.NamespacedName{Name: p.relay.Namespace}, &ns); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return ns.DeletionTimestamp != nil, nil
}
