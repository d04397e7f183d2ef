package controllers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/controllers/apply"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// one applies an object of the relay, and tells whether it is as it should be.
func (p *pass) one(ctx context.Context, want runtime.ApplyConfiguration, owner types.UID) bool {
	wrote, err := p.apply.Ensure(ctx, want, owner)
	if _, config := want.(*coreac.ConfigMapApplyConfiguration); config && wrote {
		p.configWritten = true
	}
	return p.ok(err)
}

// ok keeps an error as a failure of the relay.
func (p *pass) ok(err error) bool {
	if err == nil {
		return true
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		// It goes with its namespace in a moment: that is no fault to shout of.
		p.terminating = true
		p.failures = append(p.failures, status.Failure{
			Message: fmt.Sprintf("%s: namespace %q is being deleted: nothing is made in it any more", p.name(), p.relay.Namespace), Temporary: true,
		})
		return false
	}
	f := status.Failure{Message: status.Refused(p.name() + ": " + err.Error()), Temporary: apply.Temporary(err)}
	p.failures = append(p.failures, f)
	if f.Temporary && p.retry == nil {
		p.retry = err
	}
	return false
}

// ensure brings what belongs to no instance to what is rendered, and the
// volumes. If what an instance stands on cannot be had, the instances stay as
// they are.
func (p *pass) ensure(ctx context.Context) {
	if p.relay.DeletionTimestamp != nil {
		p.leave(ctx)
		return
	}
	stands := true
	for _, want := range p.set.Common() {
		ok := p.one(ctx, want, p.relay.UID)
		switch want.(type) {
		case *coreac.ServiceApplyConfiguration, *policyac.PodDisruptionBudgetApplyConfiguration:
			continue // who runs already is not kept from a new image by them
		}
		stands = stands && ok
	}
	for _, c := range p.set.Certificates {
		p.one(ctx, client.ApplyConfigurationFromUnstructured(c), p.relay.UID)
	}
	if !stands {
		p.set.Instances = nil
		return
	}
	for i := range p.set.Instances {
		in := &p.set.Instances[i]
		old := p.there.volumes[in.Number]
		if in.Volume == nil || in.Draining || old != nil && old.DeletionTimestamp != nil {
			continue // it goes; or has gone since it was seen, and must not be made again
		}
		if !p.one(ctx, in.Volume, "") {
			in.Deployment = nil
		}
	}
}

// leave is ensure for a relay that is being deleted: its ConfigMap says who
// drains. Nothing is made again: the garbage collector may have been there since.
func (p *pass) leave(ctx context.Context) {
	want, is := p.set.ConfigMap, p.there.configMap
	if want == nil || is == nil {
		return
	}
	if differs, err := p.apply.Differs(ctx, want); p.ok(err) && differs {
		p.one(ctx, want.WithUID(is.UID), p.relay.UID)
	}
}

// roll brings the Deployments to what is rendered, so that mail is taken all
// the time: one that is not there, or whose instance does not serve, at once; of
// the others the lowest that differs, when all that were changed before it are
// well again.
func (p *pass) roll(ctx context.Context) {
	busy := false
	var turns []*render.Instance // that serve, and differ
	for i := range p.set.Instances {
		in := &p.set.Instances[i]
		if in.Deployment == nil {
			continue
		}
		differs, err := p.apply.Differs(ctx, in.Deployment)
		if !p.ok(err) {
			continue
		}
		serves := !in.Draining && serving(p.there.deployments[in.Number])
		switch {
		case differs && serves:
			turns = append(turns, in)
		case differs:
			p.deploy(ctx, in)
			busy = busy || !in.Draining
		default:
			busy = busy || !in.Draining && !p.well(in.Number)
		}
	}
	for _, in := range turns {
		if busy {
			p.outdated[in.Number] = true
			continue
		}
		p.deploy(ctx, in)
		busy = true
	}
}

// deploy applies a Deployment. Of an instance that goes it makes none: its own
// may be gone since it was seen.
func (p *pass) deploy(ctx context.Context, in *render.Instance) {
	seen := p.there.deployments[in.Number]
	if in.Draining {
		in.Deployment.WithUID(seen.UID)
	}
	if !p.one(ctx, in.Deployment, p.relay.UID) {
		p.outdated[in.Number] = true
		return
	}
	if seen != nil && in.Deployment.Generation != nil {
		// What was seen of it is about the template before.
		p.there.deployments[in.Number] = seen.DeepCopy()
		p.there.deployments[in.Number].Generation = *in.Deployment.Generation
	}
}

// well tells whether an instance takes mail by the plan.
func (p *pass) well(n int) bool {
	report := p.there.reports[n]
	return serving(p.there.deployments[n]) && report != nil && report.PlanHash == p.set.Plan.Hash
}

// serving tells whether the Pod of a Deployment's newest template takes mail.
func serving(d *appsv1.Deployment) bool {
	return d != nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas > 0 && d.Status.ReadyReplicas > 0
}

// prune deletes what the relay owns and no longer has. Deployments and volumes
// are retired instead.
func (p *pass) prune(ctx context.Context) {
	if p.set.Plan == nil || p.relay.DeletionTimestamp != nil {
		return
	}
	keep := map[string]bool{}
	for _, want := range p.set.Common() {
		keep[p.apply.Key(want)] = true
	}
	for _, c := range p.set.Certificates {
		keep[c.GetKind()+"/"+c.GetName()] = true
	}
	for _, list := range []client.ObjectList{
		&corev1.ServiceAccountList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{},
		&networkingv1.NetworkPolicyList{}, &policyv1.PodDisruptionBudgetList{},
	} {
		p.ok(p.pruneKind(ctx, list, keep, ofRelay(p.relay)...))
	}
	if p.settings().CertManager { // which may come at any time: there is no index
		certificates := &unstructured.UnstructuredList{}
		certificates.SetGroupVersionKind(certificateKind)
		p.ok(p.pruneKind(ctx, certificates, keep, client.InNamespace(p.relay.Namespace), client.MatchingLabels(render.Selector(p.relay.Name))))
	}
}

func (p *pass) pruneKind(ctx context.Context, list client.ObjectList, keep map[string]bool, of ...client.ListOption) error {
	if err := p.client.List(ctx, list, of...); err != nil {
		return err
	}
	return meta.EachListItem(list, func(o runtime.Object) error {
		is := o.(client.Object)
		gvk, err := p.client.GroupVersionKindFor(o)
		if err != nil {
			return err
		}
		if keep[gvk.Kind+"/"+is.GetName()] || !metav1.IsControlledBy(is, p.relay) || is.GetDeletionTimestamp() != nil {
			return nil
		}
		return p.delete(ctx, gvk.Kind, is)
	})
}

// delete deletes the very object that was seen, and not one of the same name.
func (p *pass) delete(ctx context.Context, kind string, o client.Object) error {
	uid := o.GetUID()
	err := p.client.Delete(ctx, o, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("%s %q: %w", kind, o.GetName(), err)
	}
	return nil
}
