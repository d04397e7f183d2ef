package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/conditions"
)

// oneOfEach is a cluster with one object of each kind, none of which is ready.
type oneOfEach struct{ client.Reader }

func (oneOfEach) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	at := metav1.ObjectMeta{Namespace: "office", Name: "a"}
	not := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}}
	switch l := list.(type) {
	case *v1alpha1.PrinterRelayList:
		l.Items = []v1alpha1.PrinterRelay{{ObjectMeta: at, Status: v1alpha1.PrinterRelayStatus{Conditions: not}}}
	case *v1alpha1.MailUpstreamList:
		l.Items = []v1alpha1.MailUpstream{{ObjectMeta: at, Status: v1alpha1.MailUpstreamStatus{Conditions: not}}}
	case *v1alpha1.SenderPolicyList:
		l.Items = []v1alpha1.SenderPolicy{{ObjectMeta: at, Status: v1alpha1.SenderPolicyStatus{Conditions: not}}}
	default:
		return fmt.Errorf("%T", list)
	}
	return nil
}

// The conditions of all kinds are among the operator's metrics as long as it
// runs, and another operator of the process changes nothing about that.
func TestExpose(t *testing.T) {
	kinds := func() (out []string) {
		families, err := ctrlmetrics.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != conditions.Metric {
				continue
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "kind" {
						out = append(out, l.GetValue())
					}
				}
			}
		}
		return out
	}
	end, err := expose(t.Context(), oneOfEach{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := expose(t.Context(), oneOfEach{})
	if err != nil {
		t.Fatal(err)
	}
	other()
	if got, want := kinds(), []string{"MailUpstream", "PrinterRelay", "SenderPolicy"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	end()
	if got := kinds(); got != nil {
		t.Errorf("after the end: %q", got)
	}
}
