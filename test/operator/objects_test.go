package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// What most tests begin with.
const (
	smarthost = `
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: smarthost}
spec:
  type: SMTP
  smtp: {host: smtp.provider.example, port: 587}
  sender: {domain: copier.corp.example}
`
	office = `
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - {name: floor-3, match: {clientNetworks: [10.20.3.0/24]}, recipients: {allowed: ["*@corp.example"]}}
`
)

// copiers is a PrinterRelay with further fields of its spec, in lines.
func copiers(more ...string) string {
	return `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: copiers}
spec:
  hostname: relay.corp.example
  upstreamRef: {name: smarthost}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: scans, port: 25, tls: {mode: None}}]
  ` + strings.Join(more, "\n  ")
}

// copiersReady makes it, with all that it names, and waits until it is Ready.
func (r *rig) copiersReady(more ...string) {
	r.Helper()
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers(more...))
	r.ready("copiers")
}

// objects of the namespace that carry our label: "Service/copiers".
func (r *rig) objects() (out []string) {
	r.Helper()
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &corev1.ConfigMapList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ServiceAccountList{},
		&corev1.ServiceList{}, &networkingv1.NetworkPolicyList{}, &policyv1.PodDisruptionBudgetList{},
	} {
		if err := r.client.List(r.ctx(), list, client.InNamespace(r.ns), client.MatchingLabels{"app.kubernetes.io/managed-by": "printer-relay"}); err != nil {
			r.Fatal(err)
		}
		kind := strings.TrimSuffix(fmt.Sprintf("%T", list)[strings.LastIndex(fmt.Sprintf("%T", list), ".")+1:], "List")
		objects, err := meta.ExtractList(list)
		if err != nil {
			r.Fatal(err)
		}
		for _, o := range objects {
			out = append(out, kind+"/"+o.(metav1.Object).GetName())
		}
	}
	slices.Sort(out)
	return out
}

// TestReady: everything is applied, and the status says what there is.
func TestReady(t *testing.T) {
	r := newRig(t)
	r.run()
	r.node.set("copiers-1", func(i *instance) { i.queue.Waiting, i.queue.Held, i.queue.Failed = 3, 2, 1 })
	r.copiersReady("replicas: 2")
	want := []string{
		"ConfigMap/copiers-relay", "Deployment/copiers-0", "Deployment/copiers-1", "NetworkPolicy/copiers-relay",
		"PersistentVolumeClaim/copiers-0", "PersistentVolumeClaim/copiers-1", "PodDisruptionBudget/copiers-relay",
		"Service/copiers", "ServiceAccount/copiers-queue", "ServiceAccount/copiers-relay",
	}
	if got := r.objects(); !slices.Equal(got, want) {
		t.Errorf("objects\n%q, want\n%q", got, want)
	}
	for _, c := range []string{"Ready=True/Ready", "Accepted=True", "ResolvedRefs=True", "Programmed=True", "Durable=True", "Stalled=absent", "Reconciling=absent"} {
		r.condition("copiers", c)
	}
	o := r.relay("copiers")
	s := o.Status
	if s.ObservedGeneration != o.Generation || len(s.Addresses) != 1 || s.Addresses[0].Value != "192.0.2.25" ||
		len(s.Listeners) != 1 || s.Listeners[0].Ready != 2 || len(s.Instances) != 2 || !s.Instances[1].Ready || s.Instances[0].PlanHash == "" ||
		s.Queue == nil || s.Queue.Messages != 3 || s.Queue.Held != 2 || s.Queue.Failed != 1 || s.Queue.Oldest == nil {
		t.Errorf("status %+v", s)
	}
	usedBy := []v1alpha1.UsedBy{{Kind: "PrinterRelay", Name: "copiers"}}
	r.eventually("MailUpstream and SenderPolicy show who uses them", func() string {
		u, p := must[v1alpha1.MailUpstream](r, "smarthost"), must[v1alpha1.SenderPolicy](r, "office")
		if !slices.Equal(u.Status.UsedBy, usedBy) || !slices.Equal(p.Status.UsedBy, usedBy) ||
			conditionDiffers(u, u.Status.Conditions, "Ready=True", []string{"handed over"}) != "" || conditionDiffers(p, p.Status.Conditions, "Ready=True", nil) != "" {
			return describe(u, u.Status.Conditions) + describe(p, p.Status.Conditions) + fmt.Sprint(u.Status.UsedBy, p.Status.UsedBy)
		}
		return ""
	})
	r.columns("printerrelays", "NAME ADDRESS UPSTREAM QUEUE READY REASON AGE", "copiers 192.0.2.25 smarthost 3 True Ready")
	r.columns("mailupstreams", "NAME TYPE DOMAIN READY REASON AGE", "smarthost SMTP copier.corp.example True Ready")
	r.columns("senderpolicies", "NAME ENFORCEMENT READY AGE", "office Enforce True")
}

// columns compares what kubectl get prints, but for the age.
func (r *rig) columns(kind, header, row string) {
	r.Helper()
	out, errs, ok := r.server.Kubectl(r, apiserver.Kubeconfig(r, r.server.Config), "get", kind, "-n", r.ns)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if !ok || len(lines) != 2 || strings.Join(strings.Fields(lines[0]), " ") != header || !strings.HasPrefix(strings.Join(strings.Fields(lines[1]), " "), row+" ") {
		r.Errorf("kubectl get %s:\n%s%s\nwant\n%s\n%s", kind, out, errs, header, row)
	}
}
