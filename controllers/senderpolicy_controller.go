package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// policies reconciles SenderPolicies: their status, by what the relays that
// name them saw.
type policies struct {
	client    client.Client
	sightings *sightings
	written   written

	figuresEvery time.Duration
}

// Reconcile writes the status of one SenderPolicy, if it says anything new.
func (r *policies) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &v1alpha1.SenderPolicy{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		if apierrors.IsNotFound(err) {
			r.written.forget("SenderPolicy", req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.written.recall(o)
	relays, err := relaysThatName(ctx, r.client, indexPolicies, o.Namespace, o.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := time.Now()
	in := status.Policy{Object: o, Now: now}
	if len(relays) == 0 {
		in.Diagnostics = status.CheckPolicy(o)
	}
	for i := range relays {
		s, ok := r.sightings.get(client.ObjectKeyFromObject(&relays[i]))
		if !ok || s.policies[o.Name] != o.Generation {
			return ctrl.Result{}, nil // that relay is looked at just now, and tells
		}
		in.UsedBy = append(in.UsedBy, relays[i].Name)
		in.Diagnostics = append(in.Diagnostics, s.diagnostics...)
	}
	next := status.OfPolicy(in)
	wait := r.figuresEvery - now.Sub(status.LastWrite(o, fieldManager))
	if !status.Changed(o.Status, next, wait <= 0) {
		return ctrl.Result{RequeueAfter: later(o.Status, next, wait)}, nil
	}
	c := status.ForPolicy(o, next)
	if err := r.client.Status().Apply(ctx, c, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return ctrl.Result{}, statusError("SenderPolicy "+o.Namespace+"/"+o.Name, err)
	}
	r.written.keep(o, c.ResourceVersion, next)
	return ctrl.Result{}, nil
}

// later is when a status is to be written that differs by its figures only; 0
// if it does not differ.
func later[S status.Statuses](old, next S, wait time.Duration) time.Duration {
	if equality.Semantic.DeepEqual(old, next) {
		return 0
	}
	return wait
}
