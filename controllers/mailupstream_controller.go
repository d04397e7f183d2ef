package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("status of MailUpstream %s/%s: %w", u.Namespace, u.Name, err))
	}
	r.written.keep(u, c.ResourceVersion, next)
	return ctrl.Result{}, nil
}
