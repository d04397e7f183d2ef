package operator

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/test/env"
)

// bind grants rules in all of the cluster to an account of the rig, for as long
// as the test.
func (r *rig) bind(name, account string, rules []rbacv1.PolicyRule) {
	r.Helper()
	role := &rbacv1.ClusterRole{Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: r.home + "-" + name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: r.home, Name: account}},
	}
	role.Name, binding.Name = r.home+"-"+name, r.home+"-"+name
	for _, o := range []client.Object{role, binding} {
		if err := r.client.Create(r.ctx(), o); err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() {
			if err := r.client.Delete(context.WithoutCancel(r.Context()), o); err != nil {
				r.Error(err)
			}
		})
	}
}

// TestClusterWide: with the ClusterRole of config/rbac it serves all namespaces.
func TestClusterWide(t *testing.T) {
	r := newRigAlone(t)
	r.home = r.server.Namespace(t)
	watched, own := rights(t)
	r.role(r.home, "own", own)
	cfg := r.server.ServiceAccount(t, r.home, account)
	r.bind("operator", account, watched)
	r.effective(cfg, r.ns, watched)
	r.runAs(cfg)
	r.copiersReady("spool: {persistentVolume: {reclaimPolicy: Delete}}")
	r.happened("copiers", "Normal Ready")
	r.deleteRelay()
	r.gone()
}

const certificateCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {kind: Certificate, listKind: CertificateList, plural: certificates, singular: certificate}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}
`

// TestCertManager: without cert-manager a listener that wants it says so; when it
// is installed its Certificate is made, kept as it should be, and removed.
func TestCertManager(t *testing.T) {
	r := newRigAlone(t)
	op := r.run(func(o *controllers.Options) { o.LookEvery = 100 * time.Millisecond })
	with := strings.Replace(copiers(), "tls: {mode: None}", "tls: {mode: StartTLS, issuerRef: {name: corp, kind: ClusterIssuer, group: cert-manager.io}}", 1)
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + with)
	r.condition("copiers", "Ready=False/CertManagerNotFound", "spec.listeners[0].tls.issuerRef", "install it, or name a Secret in certificateRefs")
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(certificateCRD), crd); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Create(r.ctx(), crd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		op.stop()
		if err := r.client.Delete(context.WithoutCancel(t.Context()), crd); err != nil {
			t.Error(err)
		}
		// The operators of the tests that come ask whether there is cert-manager.
		r.server.Forgets(t, schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"})
	})
	name := render.CertificateName("copiers", "scans")
	r.condition("copiers", "Ready=False/SecretNotFound", fmt.Sprintf("cert-manager has not made Secret %q yet: see Certificate %q", name, name))
	r.kubectl("{apiVersion: v1, kind: Secret, metadata: {name: " + name + "}}")
	r.ready("copiers")
	c := r.certificate(name)
	if spec := text(c.Object["spec"]); !strings.Contains(spec, "relay.corp.example") || !strings.Contains(spec, "ClusterIssuer") || !strings.Contains(spec, name) {
		t.Errorf("spec %s", spec)
	}
	before := text(c.Object["spec"])
	if err := unstructured.SetNestedStringSlice(c.Object, []string{"other.example"}, "spec", "dnsNames"); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(c.Object, "2160h", "spec", "duration"); err != nil { // not ours
		t.Fatal(err)
	}
	if err := r.client.Update(r.ctx(), c); err != nil {
		t.Fatal(err)
	}
	r.eventually("the Certificate is repaired", func() string {
		if now := text(r.certificate(name).Object["spec"]); strings.Replace(now, `"duration":"2160h",`, "", 1) != before || !strings.Contains(now, "2160h") {
			return now
		}
		return ""
	})
	r.rests(op, func() { r.nudge("copiers") })
	r.kubectl(strings.Replace(copiers(), "mode: None", "mode: StartTLS", 1))
	r.eventually("the Certificate is gone", func() string {
		if r.certificate(name) != nil {
			return "not yet"
		}
		return ""
	})
	r.ready("copiers")
}

func (r *rig) certificate(name string) *unstructured.Unstructured {
	r.Helper()
	c := &unstructured.Unstructured{}
	c.SetGroupVersionKind(schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"})
	err := r.client.Get(r.ctx(), r.key(name), c)
	if client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return c
}

// TestLeader: of two operators one acts; when it ends, the other does.
func TestLeader(t *testing.T) {
	r := newRig(t)
	elect := func(o *controllers.Options) { o.LeaderElect = true }
	first := r.run(elect)
	r.copiersReady()
	second := r.run(elect)
	r.eventually("events", func() string { return missing(r.events("copiers"), "Normal Ready") })
	events := r.events("copiers")
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "floor-4" })
	r.eventually("the first has applied it", func() string { return r.rule("floor-4") })
	r.ready("copiers")
	if n := second.writes.Total(); n > 0 {
		t.Errorf("the second wrote:\n%s", second.writes)
	}
	first.stop()
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "floor-5" })
	r.eventually("the second has applied it", func() string { return r.rule("floor-5") })
	r.condition("copiers", "Programmed=True")
	r.ready("copiers")
	for _, e := range r.events("copiers") {
		if n := count(r.events("copiers"), e); n > count(events, e) && !strings.Contains(e, "RollingOut") && !strings.HasPrefix(e, "Normal Ready") &&
			!strings.HasPrefix(e, "Normal AddressPending") { // which may have been on its way: events are sent beside all else, in any order
			t.Errorf("%d times: %s", n, e)
		}
	}
}

func missing(all []string, prefix string) string {
	if count(all, prefix) > 0 {
		return ""
	}
	return strings.Join(all, "\n") + " holds no " + prefix
}

func (r *rig) rule(name string) string {
	r.Helper()
	if s := r.manifests("copiers"); !strings.Contains(s, name) {
		return s
	}
	return ""
}

// manifests are what the ConfigMap of a relay has its instances run.
func (r *rig) manifests(relay string) string {
	r.Helper()
	return must[corev1.ConfigMap](r, render.ConfigMapName(relay)).Data[render.ManifestsKey]
}

// TestMetricsAndProbes: metrics are for whom the API server names, probes for
// everybody; ready is who has read what is in the cluster.
func TestMetricsAndProbes(t *testing.T) {
	for _, auth := range []string{controllers.MetricsTokenReview, controllers.MetricsNone} {
		t.Run(auth, func(t *testing.T) {
			r := newRig(t)
			metrics, probes := fmt.Sprintf("127.0.0.1:%d", env.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", env.FreePort(t))
			cfg := r.server.ServiceAccount(t, r.home, account) // without any rights yet
			if auth == controllers.MetricsTokenReview {
				r.bind("delegator", account, []rbacv1.PolicyRule{
					{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
					{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}},
				})
			}
			r.runAs(cfg, func(o *controllers.Options) {
				o.WatchNamespaces, o.Metrics, o.MetricsAuth, o.Probes = []string{r.ns}, metrics, auth, probes
			})
			r.answers("http://"+probes+"/healthz", "", http.StatusOK)
			r.answers("http://"+probes+"/readyz", "", http.StatusInternalServerError)
			r.namespaced()
			r.answers("http://"+probes+"/readyz", "", http.StatusOK)
			url := "https://" + metrics + "/metrics"
			if auth == controllers.MetricsNone {
				r.answers(url, "", http.StatusOK)
				return
			}
			reader, other := r.server.ServiceAccount(t, r.ns, "prometheus"), r.server.ServiceAccount(t, r.ns, "other")
			r.bind("reader", "prometheus", []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}})
			r.answers(url, reader.BearerToken, http.StatusOK)
			r.answers(url, other.BearerToken, http.StatusForbidden)
			r.answers(url, "", http.StatusUnauthorized)
			r.answers(url, "nonsense", http.StatusInternalServerError) // controller-runtime's word for it
		})
	}
}

// answers waits until a URL answers with a status.
func (r *rig) answers(url, token string, want int) {
	r.Helper()
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its certificate is made at each start
		DialContext:       (&net.Dialer{}).DialContext,
	}}
	r.eventually(fmt.Sprintf("%s answers %d", url, want), func() string {
		req, err := http.NewRequestWithContext(r.ctx(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return err.Error()
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := c.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			return fmt.Sprint(resp.StatusCode, err, string(body[:min(len(body), 200)]))
		}
		return ""
	})
}
