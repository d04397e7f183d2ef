package plan_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// cert-manager puts the certificate into a Secret that the plan knows by name,
// so that it is mounted and reloads like any other.
func TestIssuedCertificateIsASecret(t *testing.T) {
	r := &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "office"}}
	r.Spec.Listeners = []v1alpha1.Listener{{Name: "scans", Port: 25, TLS: v1alpha1.ListenerTLS{IssuerRef: &v1alpha1.IssuerReference{Name: "ca"}}}}
	p, found := plan.Compile(plan.Input{Relay: r})
	for _, d := range found {
		if d.Field == "spec.listeners[0].tls.issuerRef" {
			t.Error(d)
		}
	}
	if got := p.Listeners[0].TLS.Certificates; !slices.Equal(got, []string{"office-scans"}) {
		t.Errorf("certificates %q", got)
	}
	if !slices.Contains(p.SecretRefs, "office-scans") {
		t.Errorf("the plan names the Secrets %q", p.SecretRefs)
	}
}
