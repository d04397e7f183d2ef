// Package render makes the Kubernetes objects of one PrinterRelay, as apply
// configurations: what it does not set, it does not own. It is pure: the same
// Input gives the same objects, in the same order, octet by octet.
//
// It may import api/v1alpha1, relay/plan, relay/envelope, relay/admin/access,
// k8s.io/api, apimachinery and client-go's apply configurations; no client and
// no I/O.
package render

import (
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Settings are what all relays of an operator have in common.
type Settings struct {
	Image           string // of the relay's container
	ImagePullPolicy string // empty: the cluster's default

	OperatorNamespace      string
	OperatorServiceAccount string   // its tokens open the admin ports
	MetricsNamespaces      []string // whose Pods may read metrics, besides the operator's own

	Issuer string          // of the cluster's ServiceAccount tokens
	Keys   json.RawMessage // the JSON Web Key Set of /openid/v1/jwks

	CertManager bool // the kind Certificate of cert-manager is installed
}

// Input is one PrinterRelay with all that its objects are made of. Relay,
// Upstreams and Policies are as the API server gives them, defaults set.
type Input struct {
	Settings  Settings
	Relay     *v1alpha1.PrinterRelay
	Plan      *plan.Plan                        // compiled from the same objects without an error; else nil
	Upstreams map[string]*v1alpha1.MailUpstream // by name; at least those that Plan names
	Policies  map[string]*v1alpha1.SenderPolicy // by name; at least those that Relay names

	// Hidden are the clients that the cluster hides; Plan is compiled with them
	// (plan.WithHidden).
	Hidden plan.HiddenClients

	// Last is relay.yaml of the ConfigMap as it is, or empty. Without a Plan the
	// relay goes on by it, but for what Relay and Upstreams stop since; with Refuse,
	// which is for missing references, it takes no new mail while it does.
	Last   string
	Refuse bool

	// Draining are the numbers of the instances that drain: those above
	// spec.replicas that are still there, or all of a relay that is being deleted.
	Draining []int

	// Instances are the numbers of the instances to render; nil: 0 to
	// spec.replicas-1, and those that drain.
	Instances []int
}

// Set is the objects of one PrinterRelay. Without a Plan all else is nil, and
// nothing of what is there is to be changed or pruned.
type Set struct {
	// Plan is what the instances are to run: of Input's objects, or of Last.
	// Each reports its Hash when it does.
	Plan *plan.Plan

	ServiceAccounts     []*coreac.ServiceAccountApplyConfiguration
	ConfigMap           *coreac.ConfigMapApplyConfiguration
	Certificates        []*unstructured.Unstructured // of cert-manager
	NetworkPolicy       *networkingac.NetworkPolicyApplyConfiguration
	PodDisruptionBudget *policyac.PodDisruptionBudgetApplyConfiguration // nil with one instance
	Service             *coreac.ServiceApplyConfiguration
	Instances           []Instance // by number
}

// Instance is one instance: one Pod with a volume of its own.
type Instance struct {
	Number     int
	Name       string
	Draining   bool
	Volume     *coreac.PersistentVolumeClaimApplyConfiguration // nil with an Ephemeral spool
	Deployment *appsac.DeploymentApplyConfiguration
}

// Common gives the objects that belong to no instance, in the order to apply
// them: before the instances, and without the Certificates.
func (s *Set) Common() []runtime.ApplyConfiguration {
	var out []runtime.ApplyConfiguration
	for _, sa := range s.ServiceAccounts {
		out = append(out, sa)
	}
	if s.ConfigMap != nil {
		out = append(out, s.ConfigMap)
	}
	if s.NetworkPolicy != nil {
		out = append(out, s.NetworkPolicy)
	}
	if s.PodDisruptionBudget != nil {
		out = append(out, s.PodDisruptionBudget)
	}
	if s.Service != nil {
		out = append(out, s.Service)
	}
	return out
}

// Objects renders a PrinterRelay. The error is a *TooLargeError if the
// ConfigMap cannot hold the manifests; any other is a fault in Input.
func Objects(in Input) (*Set, error) {
	src, err := source(in)
	if err != nil {
		return nil, err
	}
	if src.plan == nil {
		return &Set{}, nil
	}
	r := renderer{Input: in, plan: src.plan, spool: &src.relay.Spec.Spool, listeners: src.relay.Spec.Listeners}
	set := &Set{Plan: src.plan}
	if set.ConfigMap, err = r.configMap(src); err != nil {
		return nil, err
	}
	set.ServiceAccounts = r.serviceAccounts()
	if set.Certificates, err = r.certificates(); err != nil {
		return nil, err
	}
	set.NetworkPolicy = r.networkPolicy()
	set.PodDisruptionBudget = r.podDisruptionBudget()
	set.Service = r.service()
	for _, n := range r.numbers() {
		i := Instance{Number: n, Name: InstanceName(in.Relay.Name, n), Draining: slices.Contains(in.Draining, n)}
		i.Volume = r.volume(i.Name)
		if i.Deployment, err = r.deployment(i.Name); err != nil {
			return nil, err
		}
		set.Instances = append(set.Instances, i)
	}
	return set, nil
}

// renderer makes the objects of one relay.
type renderer struct {
	Input
	plan      *plan.Plan // what the instances run
	spool     *v1alpha1.Spool
	listeners []v1alpha1.Listener
}

// numbers are those of the instances to render, sorted.
func (r *renderer) numbers() []int {
	out := slices.Clone(r.Instances)
	if r.Instances == nil {
		for n := range Replicas(r.Relay) {
			out = append(out, n)
		}
		out = append(out, r.Draining...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Replicas is the number of instances that a PrinterRelay asks for.
func Replicas(r *v1alpha1.PrinterRelay) int {
	if r.Spec.Replicas == nil {
		return 1
	}
	return int(*r.Spec.Replicas)
}

// InstanceName is the name of instance n of a relay, and of its objects.
func InstanceName(relay string, n int) string { return fmt.Sprintf("%s-%d", relay, n) }
