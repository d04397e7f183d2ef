package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// upstreams reconciles MailUpstreams: their status, by what the relays that
// name them saw, and by what DNS says of their sender domains.
type upstreams struct {
	client    client.Client
	sightings *sightings
	domains   *domains
	written   written
	events    events.EventRecorder

	figuresEvery time.Duration
}

// Reconcile writes the status of one MailUpstream, if it says anything new.
func (r *upstreams) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	u := &v1alpha1.MailUpstream{}
	if err := r.client.Get(ctx, req.NamespacedName, u); err != nil {
		if apierrors.IsNotFound(err) {
			r.written.forget("MailUpstream", req.NamespacedName)
			r.domains.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.written.recall(u)
	relays, err := relaysThatName(ctx, r.client, indexUpstreams, u.Namespace, u.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := time.Now()
	in := status.Upstream{Object: u, Now: now}
	if len(relays) == 0 {
		in.Diagnostics = status.CheckUpstream(u)
	}
	for i := range relays {
		s, ok := r.sightings.get(client.ObjectKeyFromObject(&relays[i]))
		if !ok || s.upstreams[u.Name] != u.Generation {
			return ctrl.Result{}, nil // that relay is looked at just now, and tells
		}
		in.UsedBy = append(in.UsedBy, relays[i].Name)
		in.Diagnostics = append(in.Diagnostics, s.diagnostics...)
		in.MissingSecrets = append(in.MissingSecrets, s.missingSecrets...)
		in.Reports = append(in.Reports, s.reports...)
	}
	in.DNS = r.domains.look(req.NamespacedName, needsOf(u, in.Reports))
	next := status.OfUpstream(in)
	wait := r.figuresEvery - now.Sub(status.LastWrite(u, fieldManager))
	if !status.Changed(u.Status, next, wait <= 0) {
		return ctrl.Result{RequeueAfter: later(u.Status, next, wait)}, nil
	}
	c := status.ForUpstream(u, next)
	if err := r.client.Status().Apply(ctx, c, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return ctrl.Result{}, statusError("MailUpstream "+u.Namespace+"/"+u.Name, err)
	}
	r.written.keep(u, c.ResourceVersion, next)
	r.tell(u, next.Conditions)
	return ctrl.Result{}, nil
}

// tell makes an event of a change of Ready, which a circuit that opens or closes is
// too, and of CredentialsValid where Ready does not say it. u has the status before.
func (r *upstreams) tell(u *v1alpha1.MailUpstream, next []metav1.Condition) {
	ready, said := turned(u.Status.Conditions, next, v1alpha1.ConditionReady)
	if said {
		r.events.Eventf(u, nil, eventType(ready.Status == metav1.ConditionFalse && ready.Reason != v1alpha1.ReasonSuspended), ready.Reason, actionReconcile, "%s", ready.Message)
		return
	}
	if c, turned := turned(u.Status.Conditions, next, v1alpha1.ConditionCredentialsValid); turned {
		r.events.Eventf(u, nil, eventType(c.Status == metav1.ConditionFalse), "Credentials"+c.Reason, actionReconcile, "%s", c.Message)
	}
}

// turned gives a condition whose status or reason is another now, and known. Of an
// object that is new, only what is wrong counts.
func turned(old, next []metav1.Condition, kind string) (*metav1.Condition, bool) {
	was, is := meta.FindStatusCondition(old, kind), meta.FindStatusCondition(next, kind)
	switch {
	case is == nil || is.Status == metav1.ConditionUnknown:
		return nil, false
	case was == nil:
		return is, is.Status == metav1.ConditionFalse
	}
	return is, was.Status != is.Status || was.Reason != is.Reason
}
