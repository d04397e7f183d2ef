package status

import (
	"encoding/json"
	"fmt"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	ac "github.com/printerrelay/printer-relay/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// ForRelay is the apply configuration that sets a PrinterRelay's status. The
// operator owns all of it.
func ForRelay(o *v1alpha1.PrinterRelay, s v1alpha1.PrinterRelayStatus) *ac.PrinterRelayApplyConfiguration {
	return ac.PrinterRelay(o.Name, o.Namespace).WithStatus(into(s, ac.PrinterRelayStatus()))
}

// ForUpstream is the apply configuration that sets a MailUpstream's status.
func ForUpstream(o *v1alpha1.MailUpstream, s v1alpha1.MailUpstreamStatus) *ac.MailUpstreamApplyConfiguration {
	return ac.MailUpstream(o.Name, o.Namespace).WithStatus(into(s, ac.MailUpstreamStatus()))
}

// ForPolicy is the apply configuration that sets a SenderPolicy's status.
func ForPolicy(o *v1alpha1.SenderPolicy, s v1alpha1.SenderPolicyStatus) *ac.SenderPolicyApplyConfiguration {
	return ac.SenderPolicy(o.Name, o.Namespace).WithStatus(into(s, ac.SenderPolicyStatus()))
}

// into fills an apply configuration by the common JSON.
func into[T any](from any, to *T) *T {
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		panic(fmt.Sprintf("status: %v", err)) // plain data, generated from the same types
	}
	return to
}
