package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// healthy is a relay of two instances as it should be: it uses the upstream
// ses, the policy office and three Secrets.
func healthy() Relay {
	two := int32(2)
	r := &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "office", Generation: 3}}
	r.Spec.Replicas, r.Spec.Hostname = &two, "relay.corp.example"
	r.Spec.UpstreamRef.Name = "ses"
	r.Spec.SenderPolicyRefs = []v1alpha1.LocalReference{{Name: "office"}}
	r.Spec.Listeners = []v1alpha1.Listener{{Name: "scans", Port: 25}}
	r.Spec.Listeners[0].TLS.CertificateRefs = []v1alpha1.LocalReference{{Name: "relay-tls"}}
	r.Spec.Listeners[0].Authentication = v1alpha1.ListenerAuthentication{Mode: "Optional", Mechanisms: []v1alpha1.Mechanism{"Plain"}, SecretRef: &v1alpha1.LocalReference{Name: "logins"}}
	mail := v1alpha1.MailAddress("it@corp.example")
	r.Spec.Delivery.Bounce.Postmaster = &mail
	r.Spec.Spool.Type = v1alpha1.SpoolPersistentVolume
	u := &v1alpha1.MailUpstream{ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "ses", Generation: 1}}
	u.Spec = v1alpha1.MailUpstreamSpec{Type: "SMTP", SMTP: &v1alpha1.SMTPUpstream{Host: "smtp.example", Authentication: &v1alpha1.SMTPUpstreamAuthentication{SecretRef: v1alpha1.LocalReference{Name: "provider"}}}}
	p := &v1alpha1.SenderPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "office", Generation: 1}}
	p.Spec.Rules = []v1alpha1.Rule{{Name: "floor-3", Action: "Allow", Match: v1alpha1.RuleMatch{ClientNetworks: []v1alpha1.CIDR{"10.20.3.0/24"}}, Recipients: v1alpha1.RuleRecipients{Allowed: []v1alpha1.AddressPattern{"*@corp.example"}}}}
	in := Relay{
		Object: r, Now: now, CertManager: true, Clients: Clients{Nodes: true, Pods: true},
		Upstreams: map[string]*v1alpha1.MailUpstream{"ses": u},
		Policies:  map[string]*v1alpha1.SenderPolicy{"office": p},
		Service: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "office"},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.7", "fd00::7"}},
			Status:     corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.25"}, {Hostname: "lb.example"}}}},
		},
	}
	in.recompile()
	in.Instances = []Instance{in.instance("office-0"), in.instance("office-1")}
	return in
}

// recompile sets what Compile says of the input.
func (in *Relay) recompile() {
	p, found := plan.Compile(plan.Input{Relay: plan.WithHidden(in.Object, plan.HiddenClients{All: in.Clients.Hidden}, in.Policies), Upstreams: in.Upstreams, Policies: in.Policies})
	in.Diagnostics = found
	if !found.Failed() {
		in.Plan = p
	}
}

// hide is what externalTrafficPolicy: Cluster does.
func (in *Relay) hide() {
	in.Clients.Hidden = true
	in.recompile()
	in.Instances = []Instance{in.instance("office-0"), in.instance("office-1")}
}

// instance that is ready and runs the plan.
func (in *Relay) instance(name string) Instance {
	return Instance{
		Name: name,
		Deployment: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 2},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
			}},
		},
		Volume: &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
		Report: &Report{PlanHash: in.Plan.Hash, Ready: true, Listeners: []ListenerReport{{Name: "scans", Open: true}}, Upstreams: []UpstreamReport{{Name: "ses"}}},
	}
}

// down makes an instance one whose Pod is not ready, and does not answer.
func down(i *Instance) {
	i.Deployment.Status.ReadyReplicas, i.Report, i.ReportErr = 0, nil, "connection refused"
}

func progressing(i *Instance, status corev1.ConditionStatus, reason string) {
	i.Deployment.Status.Conditions[0].Status, i.Deployment.Status.Conditions[0].Reason = status, reason
}

// want is what a condition should be: "True/Reason: words of the message".
type want map[string]string

func check(t *testing.T, got []metav1.Condition, generation int64, want want) {
	t.Helper()
	for kind, text := range want {
		c := apimeta.FindStatusCondition(got, kind)
		if text == "" {
			if c != nil {
				t.Errorf("%s is there: %s/%s: %s", kind, c.Status, c.Reason, c.Message)
			}
			continue
		}
		head, words, _ := strings.Cut(text, ": ")
		if c == nil {
			t.Errorf("%s is not there, want %s", kind, text)
			continue
		}
		if got := string(c.Status) + "/" + c.Reason; got != head || !strings.Contains(c.Message, words) {
			t.Errorf("%s: got %s: %q, want %s", kind, got, c.Message, text)
		}
	}
	for _, c := range got {
		if c.ObservedGeneration != generation {
			t.Errorf("%s: observedGeneration %d, want %d", c.Type, c.ObservedGeneration, generation)
		}
		if c.Message == "" || c.Reason == "" || c.LastTransitionTime.IsZero() {
			t.Errorf("%s lacks something: %+v", c.Type, c)
		}
		if (c.Type == "Reconciling" || c.Type == "Stalled") && c.Status != metav1.ConditionTrue {
			t.Errorf("%s is %s: it is to be there only while True", c.Type, c.Status)
		}
	}
	if apimeta.FindStatusCondition(got, "Reconciling") != nil && apimeta.FindStatusCondition(got, "Stalled") != nil {
		t.Error("Reconciling and Stalled at once")
	}
}

func TestHoldsAreCounted(t *testing.T) {
	in := healthy()
	in.Plan.Holds = []plan.Hold{{Name: "stolen"}, {Name: "quiet"}}
	in.Instances[0].Report.Queue.HeldBy = map[string]int{"stolen": 2, "gone": 1, "empty": 0, "No Name": 5}
	in.Instances[1].Report.Queue.HeldBy = map[string]int{"stolen": 3}
	if got, want := fmt.Sprint(Of(in).Holds), "[{gone 1} {quiet 0} {stolen 5}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRelayConditions(t *testing.T) {
	const steady = "" // neither Reconciling nor Stalled
	tests := map[string]struct {
		change func(in *Relay)
		want   want
	}{
		"all well": {func(*Relay) {}, want{
			"Ready": "True/Ready: 2 instances take mail", "Accepted": "True/Accepted", "ResolvedRefs": "True/Resolved", "Programmed": "True/Programmed: every instance",
			"Durable": "True/Persistent", "ClientAddressesKnown": "True/Known: rules on networks see the client's own address", "Holding": "False/NotHeld", "Reconciling": steady, "Stalled": steady,
		}},
		"a warning": {func(in *Relay) { in.Object.Spec.Delivery.Bounce.Postmaster = nil; in.recompile() }, want{
			"Accepted": "True/Accepted: warning: PrinterRelay mail/office: spec.delivery.bounce.postmaster: is not set",
		}},

		// Accepted
		"invalid": {func(in *Relay) {
			in.Object.Spec.Listeners = append(in.Object.Spec.Listeners, v1alpha1.Listener{Name: "other", Port: 25})
			in.recompile()
		}, want{
			"Ready": "False/Invalid: spec.listeners[1].port", "Accepted": "False/Invalid: spec.listeners[1].port: 25 is the port of listener \"scans\" too", "ResolvedRefs": "True/Resolved",
			"Programmed": "False/Pending: go on with the configuration before", "Stalled": "True/Invalid: spec.listeners[1].port", "Reconciling": steady,
		}},
		"too large": {func(in *Relay) {
			in.Failures = []Failure{{Reason: v1alpha1.ReasonTooLarge, Message: "SenderPolicy mail/office is large"}}
		}, want{"Ready": "False/TooLarge: SenderPolicy mail/office", "Accepted": "False/TooLarge: SenderPolicy mail/office", "Stalled": "True/TooLarge"}},
		"refused by the API server": {func(in *Relay) {
			in.Failures = []Failure{{Message: "PersistentVolumeClaim office-0: spec is immutable"}}
		}, want{
			"Ready": "False/ApplyFailed: PersistentVolumeClaim office-0", "Accepted": "True/Accepted", "Stalled": "True/ApplyFailed", "Reconciling": steady,
		}},
		"refused for now": {func(in *Relay) { in.Failures = []Failure{{Message: "conflict", Temporary: true}} }, want{
			"Ready": "False/ApplyFailed: conflict", "Stalled": steady, "Reconciling": "True/ApplyFailed",
		}},

		// ResolvedRefs
		"upstream missing": {func(in *Relay) { delete(in.Upstreams, "ses"); in.recompile() }, want{
			"Ready":    "False/ReferenceNotFound: PrinterRelay mail/office: spec.upstreamRef: MailUpstream \"ses\" is not in namespace \"mail\": create it",
			"Accepted": "Unknown/Pending", "ResolvedRefs": "False/ReferenceNotFound: spec.upstreamRef", "Programmed": "False/Pending", "Stalled": steady, "Reconciling": steady,
		}},
		"policy missing, running": {func(in *Relay) {
			delete(in.Policies, "office")
			in.recompile()
			in.Plan.Intake = plan.IntakeRefuse
		}, want{
			"Ready":        "False/ReferenceNotFound: spec.senderPolicyRefs[0]: SenderPolicy \"office\"",
			"ResolvedRefs": "False/ReferenceNotFound: no new mail is taken, and what is queued is delivered",
		}},
		"policy missing, never ran": {func(in *Relay) {
			delete(in.Policies, "office")
			in.Plan, in.Instances, in.Service = nil, nil, nil
			in.recompile()
		}, want{
			"Ready": "False/ReferenceNotFound: no instance runs until then", "Programmed": "False/Pending: no configuration", "Durable": "Unknown/VolumePending",
		}},
		"missing and invalid": {func(in *Relay) {
			delete(in.Policies, "office")
			in.Object.Spec.Acknowledge, in.Object.Spec.Spool.Type = "Queued", "Ephemeral"
			in.recompile()
		}, want{"Ready": "False/Invalid: spec.acknowledge", "Accepted": "False/Invalid: spec.acknowledge", "ResolvedRefs": "False/ReferenceNotFound", "Stalled": "True/Invalid"}},
		"Secret of a listener missing": {func(in *Relay) { in.Instances[1].Report.MissingSecrets = []string{"logins"} }, want{
			"Ready":        "False/SecretNotFound: PrinterRelay mail/office: spec.listeners[0].authentication.secretRef: Secret \"logins\" is not in namespace \"mail\"",
			"ResolvedRefs": "False/SecretNotFound: spec.listeners[0].authentication.secretRef", "Programmed": "True/Programmed", "Stalled": steady, "Reconciling": steady,
		}},
		"Secret of an upstream missing": {func(in *Relay) { in.Instances[0].Report.MissingSecrets = []string{"provider"} }, want{
			"ResolvedRefs": "False/SecretNotFound: MailUpstream mail/ses: spec.smtp.authentication.secretRef: Secret \"provider\"",
		}},
		"Secrets not seen yet": {func(in *Relay) { in.Instances[0].Report, in.Instances[1].Report = nil, nil }, want{
			"ResolvedRefs": "Unknown/Pending", "Ready": "Unknown/RollingOut", "Reconciling": "True/RollingOut",
		}},
		"no cert-manager": {func(in *Relay) {
			in.Object.Spec.Listeners[0].TLS = v1alpha1.ListenerTLS{IssuerRef: &v1alpha1.IssuerReference{Name: "ca"}}
			in.CertManager = false
		}, want{"ResolvedRefs": "False/CertManagerNotFound: spec.listeners[0].tls.issuerRef: cert-manager is not installed", "Ready": "False/CertManagerNotFound"}},
		"certificate not issued": {func(in *Relay) {
			in.Object.Spec.Listeners[0].TLS = v1alpha1.ListenerTLS{IssuerRef: &v1alpha1.IssuerReference{Name: "ca"}}
			in.Instances[0].Report.MissingSecrets = []string{"office-scans"}
		}, want{"ResolvedRefs": "False/SecretNotFound: cert-manager has not made Secret \"office-scans\" yet: see Certificate \"office-scans\""}},

		// Instances
		"new": {func(in *Relay) {
			in.Instances = []Instance{{Name: "office-0"}, {Name: "office-1"}}
		}, want{
			"Ready": "False/RollingOut: 0 of 2 instances take mail: instance \"office-0\" is not there yet", "Programmed": "False/RollingOut", "Durable": "Unknown/VolumePending", "Reconciling": "True/RollingOut",
		}},
		"no instance at all": {func(in *Relay) { in.Instances = nil }, want{"Ready": "False/Pending: no instance", "Programmed": "False/Pending: no instance", "Reconciling": "True/Pending"}},
		"one is to be replaced": {func(in *Relay) { in.Instances[1].Outdated = true }, want{
			"Ready": "Unknown/RollingOut: 2 of 2 instances take mail: instance \"office-1\" waits for its turn", "Programmed": "False/RollingOut: office-1", "Reconciling": "True/RollingOut", "Stalled": steady,
		}},
		"one is being replaced": {func(in *Relay) {
			down(&in.Instances[0])
			in.Instances[0].Deployment.Generation = 3
		}, want{"Ready": "Unknown/RollingOut: 1 of 2 instances take mail: instance \"office-0\" is being started", "Reconciling": "True/RollingOut"}},
		"the only one is being replaced": {func(in *Relay) {
			in.Instances = in.Instances[:1]
			down(&in.Instances[0])
			progressing(&in.Instances[0], corev1.ConditionTrue, "ReplicaSetUpdated")
		}, want{"Ready": "False/RollingOut: 0 of 1 instance take mail", "Reconciling": "True/RollingOut"}},
		"behind": {func(in *Relay) { in.Instances[1].Report.PlanHash = "old" }, want{
			"Ready": "Unknown/RollingOut: instance \"office-1\" has not taken up the configuration yet", "Programmed": "False/RollingOut", "Reconciling": "True/RollingOut",
		}},
		"behind, with a reason": {func(in *Relay) {
			in.Instances[1].Report.PlanHash, in.Instances[1].Report.Problems = "old", []string{"reload: bad certificate"}
		}, want{"Programmed": "False/RollingOut: it says: reload: bad certificate"}},
		"a Pod is not ready": {func(in *Relay) { down(&in.Instances[1]) }, want{
			"Ready": "False/InstanceNotReady: 1 of 2 instances take mail: instance \"office-1\" is not ready: see the events and the log of its Pod", "Programmed": "False/InstanceNotReady", "Stalled": steady, "Reconciling": steady,
		}},
		"a Pod never becomes ready": {func(in *Relay) {
			down(&in.Instances[1])
			progressing(&in.Instances[1], corev1.ConditionFalse, "ProgressDeadlineExceeded")
		}, want{"Ready": "False/InstanceNotReady: does not become ready", "Stalled": "True/InstanceNotReady", "Reconciling": steady}},
		"a Pod is not admitted": {func(in *Relay) {
			down(&in.Instances[1])
			in.Instances[1].Deployment.Status.Conditions = append(in.Instances[1].Deployment.Status.Conditions, appsv1.DeploymentCondition{
				Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "office-1-6d4cf56db6-x7k2p" is forbidden: exceeded quota: pods=10`,
			})
		}, want{"Ready": "False/InstanceNotReady: instance \"office-1\" cannot be started: pods \"office-1\" is forbidden: exceeded quota", "Stalled": "True/InstanceNotReady"}},
		"a volume is not bound": {func(in *Relay) {
			down(&in.Instances[1])
			in.Instances[1].Volume.Status.Phase = corev1.ClaimPending
		}, want{"Ready": "Unknown/RollingOut: waits for its volume, PersistentVolumeClaim \"office-1\"", "Durable": "Unknown/VolumePending: \"office-1\"", "Reconciling": "True/RollingOut"}},
		"an instance is silent": {func(in *Relay) { in.Instances[1].Report, in.Instances[1].ReportErr = nil, "timeout" }, want{
			"Ready": "False/Unreachable: instance \"office-1\" does not tell its state: timeout", "Programmed": "False/Unreachable", "Stalled": steady, "Reconciling": steady,
		}},
		"the worst is told": {func(in *Relay) {
			in.Instances[0].Outdated = true
			down(&in.Instances[1])
		}, want{"Ready": "False/InstanceNotReady: office-1", "Reconciling": "True/InstanceNotReady"}},

		// Draining
		"scaled down, Retain": {func(in *Relay) {
			in.Instances[1].Draining, in.Instances[1].Report.Queue = true, QueueReport{Waiting: 3}
		}, want{
			"Ready": "Unknown/Draining: 1 of 1 instance take mail: instance \"office-1\" goes when it has delivered what it has: 3 messages to deliver", "Programmed": "True/Programmed", "Reconciling": "True/Draining",
		}},
		"scaled down, Delete": {func(in *Relay) {
			in.Object.Spec.Spool.PersistentVolume = &v1alpha1.SpoolVolume{ReclaimPolicy: v1alpha1.ReclaimDelete}
			in.Instances[1].Draining, in.Instances[1].Report.Queue = true, QueueReport{Waiting: 1, Held: 2, Failed: 4}
		}, want{"Ready": "Unknown/Draining: 1 message to deliver, 2 held, 4 failed; deliver, release or remove them (printer-relay queue), or give them up by the annotation printerrelay.dev/abandon-queue: \"true\""}},
		"draining, behind": {func(in *Relay) {
			in.Instances[1].Draining, in.Instances[1].Report.PlanHash = true, "old"
		}, want{"Programmed": "False/RollingOut: office-1"}},
		"draining, silent": {func(in *Relay) {
			in.Instances[1].Draining, in.Instances[1].Report, in.Instances[1].ReportErr = true, nil, "timeout"
		}, want{"Ready": "Unknown/Draining: does not tell what it has: timeout"}},
		"being deleted": {func(in *Relay) {
			in.Object.DeletionTimestamp = &metav1.Time{Time: now}
			in.Object.Spec.Spool.PersistentVolume = &v1alpha1.SpoolVolume{ReclaimPolicy: v1alpha1.ReclaimDelete}
			for i := range in.Instances {
				in.Instances[i].Draining, in.Instances[i].Report.Queue = true, QueueReport{Held: 1}
			}
		}, want{"Ready": "False/Deleting: the relay is being deleted: instance \"office-0\" goes with its volume when nothing is left: 0 messages to deliver, 1 held", "Reconciling": "True/Deleting", "Stalled": steady}},

		// Address
		"no address": {func(in *Relay) { in.Service.Status = corev1.ServiceStatus{} }, want{
			"Ready": "False/AddressPending: Service \"office\" has no address yet", "Programmed": "True/Programmed", "Reconciling": "True/AddressPending",
		}},
		"node ports": {func(in *Relay) {
			in.Service.Status, in.Service.Spec.Type = corev1.ServiceStatus{}, corev1.ServiceTypeNodePort
			in.Service.Spec.Ports = []corev1.ServicePort{{Name: "scans", NodePort: 30025}}
		}, want{"Ready": "True/Ready: copiers connect to a node's address: port 30025 is listener \"scans\""}},
		"inside the cluster": {func(in *Relay) {
			in.Service.Status, in.Service.Spec.Type = corev1.ServiceStatus{}, corev1.ServiceTypeClusterIP
		}, want{"Ready": "True/Ready"}},

		// What a person should know though all is as the spec says.
		"intake Hold":   {func(in *Relay) { in.Object.Spec.Intake = v1alpha1.IntakeHold }, want{"Ready": "True/Ready: spec.intake: Hold keeps it until it is released"}},
		"intake Refuse": {func(in *Relay) { in.Object.Spec.Intake = v1alpha1.IntakeRefuse }, want{"Ready": "True/Ready: spec.intake: Refuse: no new mail is taken"}},
		"upstream down": {func(in *Relay) { in.Instances[0].Report.Upstreams[0].Down = true }, want{"Ready": "True/Ready: mail for MailUpstream \"ses\" waits: see its status"}},

		// Who clients are
		"the Service hides clients": {func(in *Relay) { in.hide() }, want{
			"Ready":                "True/Ready: clients' addresses are hidden, so that rules on networks let nobody in: see condition ClientAddressesKnown",
			"Accepted":             "True/Accepted: warning: SenderPolicy mail/office: spec.rules[0].match.clientNetworks: match nobody",
			"ClientAddressesKnown": `False/AddressesHidden: Service "office" has externalTrafficPolicy: Cluster, which puts a node's address in place of each client's: rules on networks let nobody in, those that reject networks reject everybody, and routes and overrides by networks do not count; set spec.service.externalTrafficPolicy: Local, or let devices log in and name them in match.users`,
		}},
		"it hides clients that log in": {func(in *Relay) {
			in.Policies["office"].Spec.Rules[0].Match = v1alpha1.RuleMatch{Users: []string{"mfp"}}
			in.hide()
		}, want{"Ready": "True/Ready: 2 instances take mail", "Accepted": "True/Accepted: the spec is accepted", "ClientAddressesKnown": "False/AddressesHidden: no rule or route names networks, so nothing depends on it"}},
		"a person says that they are hidden": {func(in *Relay) {
			in.Object.Annotations = map[string]string{v1alpha1.AnnotationHiddenClients: "all"}
			in.recompile()
			in.Instances = []Instance{in.instance("office-0"), in.instance("office-1")}
		}, want{"ClientAddressesKnown": "False/AddressesHidden: the annotation printerrelay.dev/hidden-clients says that"}},
		"Nodes are not known": {func(in *Relay) { in.Clients = Clients{} }, want{
			"Ready":                "True/Ready",
			"ClientAddressesKnown": "Unknown/ClusterNetworksUnknown: the operator may not list Nodes, so that clients with a node's or a Pod's address are taken for what rules on networks say: bind the ClusterRole printer-relay-operator-nodes to it, or name the networks of nodes and Pods with the operator's --cluster-networks (clusterNetworks of the chart)",
		}},
		"Pods' networks are not known": {func(in *Relay) { in.Clients.Pods = false }, want{
			"Ready": "True/Ready", "ClientAddressesKnown": "Unknown/ClusterNetworksUnknown: an instance's Pod has an address that is in no podCIDR of the Nodes",
		}},

		// It found itself open.
		"an open relay": {func(in *Relay) {
			down(&in.Instances[1])
			in.Instances[1].Report = &Report{PlanHash: in.Plan.Hash, OpenRelay: []string{"scans"}, Problems: []string{"listener scans is an open relay"}}
		}, want{
			"Ready":      `False/OpenRelay: 1 of 2 instances take mail: instance "office-1" would relay for anybody, as it found by trying (listener scans): set spec.intake: Refuse, and report it (SECURITY.md)`,
			"Programmed": "False/OpenRelay", "Stalled": steady, "Reconciling": steady,
		}},
		"an open relay is the worst": {func(in *Relay) {
			in.Instances[0].Report.OpenRelay = []string{"scans"}
			down(&in.Instances[1])
			progressing(&in.Instances[1], corev1.ConditionFalse, "ProgressDeadlineExceeded")
		}, want{"Ready": `False/OpenRelay: instance "office-0" would relay`, "Stalled": "True/OpenRelay"}},

		// Holding
		"a device is held": {func(in *Relay) {
			in.Object.Spec.Holds = []v1alpha1.Hold{{Name: "stolen", ClientNetworks: []v1alpha1.CIDR{"10.20.3.7/32"}, Senders: []v1alpha1.AddressPattern{"*@corp.example"}, Reason: "ticket 4711"}}
			in.recompile()
			in.Plan, _ = plan.Compile(plan.Input{Relay: in.Object, Upstreams: in.Upstreams, Policies: in.Policies})
		}, want{"Holding": `True/Held: hold "stolen" keeps the mail of 10.20.3.7; sender *@corp.example (ticket 4711); what is held stays until`}},
		"all is held": {func(in *Relay) { in.Plan.Intake = plan.IntakeHold }, want{"Holding": "True/Held: intake is Hold: all new mail is kept; what is held"}},
		"all is held, and why": {func(in *Relay) {
			in.Plan.Intake = plan.IntakeHold
			in.Object.Annotations = map[string]string{v1alpha1.AnnotationSuspended: "ticket 4711\n(kim)"}
		}, want{"Holding": "True/Held: intake is Hold: all new mail is kept (ticket 4711 (kim)); what is held"}},
		"an upstream is suspended": {func(in *Relay) {
			for _, u := range in.Plan.Upstreams {
				u.Suspend = true
			}
			in.Upstreams["ses"].Annotations = map[string]string{v1alpha1.AnnotationSuspended: "ticket 4711"}
		}, want{"Holding": `True/Held: MailUpstream "ses" is suspended (ticket 4711); what waits for it goes by itself`}},
		"no plan, no hold": {func(in *Relay) { in.Plan = nil }, want{"Holding": "Unknown/Pending"}},

		// Durable
		"ephemeral": {func(in *Relay) {
			in.Object.Spec.Spool.Type, in.Object.Spec.Acknowledge = v1alpha1.SpoolEphemeral, v1alpha1.AcknowledgeRelayed
			in.Instances[0].Volume, in.Instances[1].Volume = nil, nil
		}, want{"Durable": "False/Ephemeral: spec.spool.type", "Ready": "True/Ready"}},
		"volume is being deleted": {func(in *Relay) { in.Instances[0].Volume.DeletionTimestamp = &metav1.Time{} }, want{"Durable": "False/VolumeLost: PersistentVolumeClaim \"office-0\" is being deleted"}},
		"volume lost":             {func(in *Relay) { in.Instances[0].Volume.Status.Phase = corev1.ClaimLost }, want{"Durable": "False/VolumeLost: PersistentVolumeClaim \"office-0\""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			tt.change(&in)
			got := Of(in)
			check(t, got.Conditions, 3, tt.want)
			if got.ObservedGeneration != 3 {
				t.Errorf("observedGeneration %d", got.ObservedGeneration)
			}
			if strings.Contains(mustJSON(t, got), "6d4cf56db6") {
				t.Error("a generated name is in the status")
			}
		})
	}
}
