package operator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// refusals are why the API server does not take what the operator wants.
var refusals = []struct {
	name   string
	kind   string // of theirs that is refused; empty: inject has waited for it
	inject func(*rig) (heal func())
	ready  string   // the condition meanwhile; empty: Ready=False/ApplyFailed
	passes bool     // it may go away by itself
	words  []string // of its message: the object, the API server's reason, the remedy
	tried  string   // the object that is refused; empty: it is not the operator's
}{
	{
		name: "a policy denies Deployments", kind: "Deployment", inject: denies("apps", "deployments"),
		words: []string{`Deployment "copiers-0"`, "ValidatingAdmissionPolicy", "not in this namespace, says the platform team", "exempt"},
		tried: "deployments/copiers-0",
	},
	{
		name: "a policy denies Services", kind: "Service", inject: denies("", "services"),
		words: []string{`Service "copiers"`, "not in this namespace, says the platform team", "exempt"},
		tried: "services/copiers",
	},
	{
		name: "a policy denies ConfigMaps", kind: "ConfigMap", inject: denies("", "configmaps"),
		words: []string{`ConfigMap "copiers-relay"`, "not in this namespace, says the platform team", "exempt"},
		tried: "configmaps/copiers-relay",
	},
	{
		name: "a webhook denies Deployments", kind: "Deployment", inject: webhook(true),
		words: []string{`Deployment "copiers-0"`, `admission webhook "deny.example.com" denied the request`, "no tag, no image", "exempt"},
		tried: "deployments/copiers-0",
	},
	{
		name: "a webhook cannot be reached", kind: "Deployment", inject: webhook(false), passes: true,
		words: []string{`Deployment "copiers-0"`, "failed calling webhook", "deny.example.com", "see that it runs"},
		tried: "deployments/copiers-0",
	},
	{
		name: "a quota on Deployments", kind: "Deployment", inject: quota("count/deployments.apps"),
		words: []string{`Deployment "copiers-0"`, "exceeded quota: small", "limited: count/deployments.apps=0", "raise the ResourceQuota"},
		tried: "deployments/copiers-0",
	},
	{
		name: "a quota on volumes", kind: "PersistentVolumeClaim", inject: quota("persistentvolumeclaims"),
		words: []string{`PersistentVolumeClaim "copiers-0"`, "exceeded quota: small", "raise the ResourceQuota"},
		tried: "persistentvolumeclaims/copiers-0",
	},
	{
		name: "a quota on their size", kind: "PersistentVolumeClaim", inject: quota("requests.storage"),
		words: []string{`PersistentVolumeClaim "copiers-0"`, "exceeded quota: small", "requests.storage=", "raise the ResourceQuota"},
		tried: "persistentvolumeclaims/copiers-0",
	},
	{
		name: "a quota on load balancers", kind: "LoadBalancer", inject: quota("services.loadbalancers"),
		words: []string{`Service "copiers"`, "exceeded quota: small", "raise the ResourceQuota"},
		tried: "services/copiers",
	},
	{
		name: "a limit on volumes", kind: "PersistentVolumeClaim", inject: limits,
		words: []string{`PersistentVolumeClaim "copiers-0"`, "minimum storage usage per PersistentVolumeClaim is 1Ti", "LimitRange"},
		tried: "persistentvolumeclaims/copiers-0",
	},
	{
		name: "a quota on Pods", kind: "Pod", inject: quota("pods"), ready: "Ready=False/InstanceNotReady",
		words: []string{`instance "copiers-0" cannot be started`, "exceeded quota: small", "raise the ResourceQuota"},
	},
	{
		name: "the right to Deployments is taken away", inject: readsOnly("deployments"),
		words: []string{`Deployment "copiers-0"`, "cannot patch resource", "ClusterRole printer-relay-operator"},
		tried: "deployments/copiers-0",
	},
}

// TestRefusals: what the API server refuses is said in its own words, with what to
// do about it, by the condition and by an event. It is tried again, with time
// between, and when the reason is gone it works, without a restart.
func TestRefusals(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			op, f := r.runFaulty()
			heal := c.inject(r)
			if c.kind != "" {
				r.refused(c.kind, c.words[1])
			}
			r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
			ready := c.ready
			if ready == "" {
				ready = "Ready=False/ApplyFailed"
			}
			r.condition("copiers", ready, c.words...)
			reason := ready[strings.LastIndex(ready, "/")+1:]
			kind, other := "Warning", [2]string{"Stalled=True", "Reconciling=absent"}
			if c.passes {
				kind, other = "Normal", [2]string{"Stalled=absent", "Reconciling=True"}
			}
			r.condition("copiers", other[0])
			r.condition("copiers", other[1])
			r.happened("copiers", kind+" "+reason, c.words...)
			before := f.tries(c.tried)
			r.eventually("it is tried again", func() string {
				if n := f.tries(c.tried); c.tried != "" && n < before+2 {
					return fmt.Sprint(n)
				}
				return ""
			})
			if s := f.storm(); s != "" {
				t.Errorf("it is tried all the time: %s", s)
			}
			heal()
			r.node.again()
			r.ready("copiers")
			r.condition("copiers", "Stalled=absent")
			r.rests(op, func() { r.nudge("copiers") })
		})
	}
}

// TestRefusedChange: an instance that runs is left alone by a change that is
// refused.
func TestRefusedChange(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2")
	before := r.node.podOf("copiers-0").UID
	heal := denies("apps", "deployments")(r)
	r.refused("Deployment", "says the platform team")
	r.kubectl(copiers("replicas: 2", "pod: {annotations: {a: b}}"))
	r.condition("copiers", "Ready=False/ApplyFailed", `Deployment "copiers-0"`, "says the platform team")
	for _, i := range r.relay("copiers").Status.Instances {
		if !i.Ready {
			t.Errorf("instance %s takes no mail: %s", i.Name, i.Message)
		}
	}
	if now := r.node.podOf("copiers-0").UID; now != before {
		t.Error("its Pod was replaced")
	}
	heal()
	r.ready("copiers")
	if now := r.node.podOf("copiers-0").UID; now == before {
		t.Error("its Pod was not replaced")
	}
}

// refused waits until the API server refuses an object of a kind with a reason: what it
// decides by reaches it a moment later, and the operator may be done before.
func (r *rig) refused(kind, reason string) {
	r.Helper()
	text := map[string]string{
		"Pod":          "{apiVersion: v1, kind: Pod, metadata: {name: copiers-0}, spec: {containers: [{name: a, image: a}]}}",
		"LoadBalancer": "{apiVersion: v1, kind: Service, metadata: {name: copiers}, spec: {type: LoadBalancer, ports: [{port: 1}]}}",
	}[kind]
	if text == "" {
		text = theirs[kind]
	}
	r.eventually("a "+kind+" is refused: "+reason, func() string {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			r.Fatal(err)
		}
		u.SetNamespace(r.ns)
		u.SetName("probe")
		err := r.client.Create(r.ctx(), u, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), reason) {
			return fmt.Sprint("it says: ", err)
		}
		return ""
	})
}

// make makes an object of YAML, and gives what deletes it.
func (r *rig) make(text string) func() {
	r.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		r.Fatalf("%v\n%s", err, text)
	}
	if err := r.client.Create(r.ctx(), u); err != nil {
		r.Fatalf("%v\n%s", err, text)
	}
	remove := func() {
		if err := r.client.Delete(context.WithoutCancel(r.ctx()), u); err != nil && !apierrors.IsNotFound(err) {
			r.Error(err)
		}
	}
	r.Cleanup(remove)
	return remove
}

// denies has a policy deny to make or change objects of a resource in the rig's
// namespace.
func denies(group, resource string) func(*rig) func() {
	return func(r *rig) func() {
		r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: ["%[2]s"], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: [%[3]s]}]
  validations: [{expression: "false", message: "not in this namespace, says the platform team"}]
`, r.ns, group, resource))
		return r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`, r.ns))
	}
}

// webhook denies Deployments in the rig's namespace, or is not there.
func webhook(answers bool) func(*rig) func() {
	return func(r *rig) func() {
		url, bundle, end := r.reviews(func(context.Context) *admissionv1.AdmissionResponse {
			return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusForbidden, Message: "no tag, no image"}}
		})
		if !answers {
			end()
		}
		return r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: deny.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 5
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  rules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  clientConfig: {url: "%[2]s/deny", caBundle: %[3]s}
`, r.ns, url, bundle))
	}
}

// reviews serves a webhook: where, and with which authority as a webhook's configuration
// has it.
func (r *rig) reviews(judge func(context.Context) *admissionv1.AdmissionResponse) (url, bundle string, end func()) {
	r.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = judge(req.Context())
		review.Response.UID = review.Request.UID
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review) //nolint:errcheck // the API server says so
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	r.Cleanup(s.Close)
	b, err := json.Marshal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if err != nil {
		r.Fatal(err)
	}
	return s.URL, string(b), s.Close
}

// quota lets nothing of a resource be made. The controller that counts is played.
func quota(resource corev1.ResourceName) func(*rig) func() {
	return func(r *rig) func() {
		remove := r.make(fmt.Sprintf("{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: %s}, spec: {hard: {%s: '0'}}}", r.ns, resource))
		q := must[corev1.ResourceQuota](r, "small")
		q.Status.Hard = q.Spec.Hard
		q.Status.Used = q.Spec.Hard.DeepCopy()
		if err := r.client.Status().Update(r.ctx(), q); err != nil {
			r.Fatal(err)
		}
		return remove
	}
}

// limits lets no small volume be made.
func limits(r *rig) func() {
	return r.make("{apiVersion: v1, kind: LimitRange, metadata: {name: large, namespace: " + r.ns + "}, spec: {limits: [{type: PersistentVolumeClaim, min: {storage: 1Ti}}]}}")
}

// withdrawn waits until the API server knows that the operator has a right no more.
func (r *rig) withdrawn(verb, group, resource string) {
	r.Helper()
	c, err := client.New(r.server.ServiceAccount(r, r.home, account), client.Options{Scheme: r.client.Scheme()})
	if err != nil {
		r.Fatal(err)
	}
	r.eventually("the right is gone to "+verb+" "+resource, func() string {
		if may(r.ctx(), c, r.ns, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}) == "" {
			return "not yet"
		}
		return ""
	})
}

// readsOnly takes the right to change objects of a resource from the operator.
func readsOnly(resource string) func(*rig) func() {
	return func(r *rig) func() {
		role := must[rbacv1.Role](r, "watched")
		before := role.DeepCopy()
		var reduced []rbacv1.PolicyRule
		for _, rule := range role.Rules {
			if strings.Join(rule.Resources, " ") == resource {
				rule.Verbs = []string{"get", "list", "watch"}
			}
			reduced = append(reduced, rule)
		}
		set := func(rules []rbacv1.PolicyRule) {
			edit(r, "watched", func(o *rbacv1.Role) { o.Rules = rules })
		}
		set(reduced)
		r.withdrawn("patch", "apps", resource)
		return func() { set(before.Rules) }
	}
}
