package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/conditions"
)

// listPatience bounds a scrape that comes before the cache is filled.
const listPatience = 5 * time.Second

// expose has the conditions of all objects among the metrics until the function
// that it returns is called. The registry is controller-runtime's, of which a
// process has one: with several operators, in tests, the first is shown.
func expose(ctx context.Context, c client.Reader) (end func(), err error) {
	collector := conditions.New(func() ([]conditions.Object, error) {
		ctx, cancel := context.WithTimeout(ctx, listPatience)
		defer cancel()
		return withConditions(ctx, c)
	})
	var twice prometheus.AlreadyRegisteredError
	switch err := ctrlmetrics.Registry.Register(collector); {
	case errors.As(err, &twice):
		return func() {}, nil
	case err != nil:
		return nil, err
	}
	return func() { ctrlmetrics.Registry.Unregister(collector) }, nil
}

// withConditions lists what the statuses of the three kinds say.
func withConditions(ctx context.Context, c client.Reader) (out []conditions.Object, err error) {
	var relays v1alpha1.PrinterRelayList
	var upstreams v1alpha1.MailUpstreamList
	var policies v1alpha1.SenderPolicyList
	for _, list := range []client.ObjectList{&relays, &upstreams, &policies} {
		if err := c.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
	}
	add := func(kind string, o client.Object, c []metav1.Condition) {
		out = append(out, conditions.Object{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Conditions: c})
	}
	for i := range relays.Items {
		add("PrinterRelay", &relays.Items[i], relays.Items[i].Status.Conditions)
	}
	for i := range upstreams.Items {
		add("MailUpstream", &upstreams.Items[i], upstreams.Items[i].Status.Conditions)
	}
	for i := range policies.Items {
		add("SenderPolicy", &policies.Items[i], policies.Items[i].Status.Conditions)
	}
	return out, nil
}
