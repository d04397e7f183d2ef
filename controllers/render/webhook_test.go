package render

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// A webhook's Secrets are mounted, its address is in the manifests that the Pod reads,
// and no NetworkPolicy of ours keeps the Pod from any port: those that we make bound who
// comes in.
func TestWebhooks(t *testing.T) {
	in := minimal(t)
	in.Relay.Spec.Webhooks = []v1alpha1.Webhook{{
		Name: "tickets", URL: "https://hooks.example:8443/x", Events: []v1alpha1.WebhookEvent{v1alpha1.WebhookMessageFailed},
		SecretRef: v1alpha1.LocalReference{Name: "hook"}, CASecretRef: &v1alpha1.LocalReference{Name: "hook-ca"},
	}}
	compile(t, &in)
	set := objects(t, in)
	var mounted []string
	for _, v := range deployments(t, set)[0].Spec.Template.Spec.Volumes {
		if v.Secret != nil {
			mounted = append(mounted, v.Secret.SecretName)
		}
	}
	for _, name := range []string{"hook", "hook-ca"} {
		if !slices.Contains(mounted, name) {
			t.Errorf("Secret %s is not mounted: %q", name, mounted)
		}
	}
	if len(set.Plan.Webhooks) != 1 || set.Plan.Webhooks[0].URL != "https://hooks.example:8443/x" {
		t.Errorf("%+v", set.Plan.Webhooks)
	}
	if p := set.NetworkPolicy.Spec; !slices.Equal(p.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) || len(p.Egress) != 0 {
		t.Errorf("the NetworkPolicy is of %v, with %d rules for what goes out", p.PolicyTypes, len(p.Egress))
	}
}
