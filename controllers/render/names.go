package render

import (
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Labels and annotations of the objects.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelRelay     = "app.kubernetes.io/instance"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelInstance  = "printerrelay.dev/instance"

	ProgramName = "printer-relay" // the value of LabelName and LabelManagedBy
)

// Ports of a relay's Pod besides its listeners. Those bind PortOffset above the
// port that copiers connect to: the process is not root.
const (
	PortOffset = 10000
	AdminPort  = 8080 // metrics, state, queue control; TLS
	ProbesPort = 8081
)

// ConfigMapName is the name of a relay's ConfigMap.
func ConfigMapName(relay string) string { return relay + "-relay" }

// NetworkPolicyName is the name of a relay's NetworkPolicy.
func NetworkPolicyName(relay string) string { return relay + "-relay" }

// PodDisruptionBudgetName is the name of a relay's PodDisruptionBudget.
func PodDisruptionBudgetName(relay string) string { return relay + "-relay" }

// ServiceAccountName is the name of the ServiceAccount of a relay's Pods,
// unless spec.pod names another.
func ServiceAccountName(relay string) string { return relay + "-relay" }

// QueueServiceAccountName is the name of the ServiceAccount whose tokens open
// state and queue control.
func QueueServiceAccountName(relay string) string { return relay + "-queue" }

// CertificateName is the name of a listener's Certificate and of its Secret.
func CertificateName(relay, listener string) string { return plan.IssuedCertificate(relay, listener) }

// Selector are the labels by which all objects of a relay are found, and no
// other's.
func Selector(relay string) map[string]string {
	return map[string]string{LabelName: ProgramName, LabelRelay: relay}
}

// labels of an object; instance is empty for what belongs to none.
func labels(relay, instance string) map[string]string {
	out := Selector(relay)
	out[LabelManagedBy] = ProgramName
	if instance != "" {
		out[LabelInstance] = instance
	}
	return out
}

// owner makes the relay the controller of an object, so that the object goes
// with it.
func owner(r *v1alpha1.PrinterRelay) *metaac.OwnerReferenceApplyConfiguration {
	return metaac.OwnerReference().
		WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("PrinterRelay").
		WithName(r.Name).WithUID(r.UID).
		WithController(true).WithBlockOwnerDeletion(true)
}
