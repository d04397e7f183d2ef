package apiserver

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/test/env"
)

// holdVariable makes this test binary start a server, say so and wait.
const holdVariable = "PRINTER_RELAY_TEST_HOLD_APISERVER"

func hold() {
	bin, crds, _ := strings.Cut(os.Getenv(holdVariable), ":")
	if _, err := start(bin, crds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("up")           //nolint:forbidigo // its parent reads it
	_, _ = io.ReadAll(os.Stdin) //nolint:errcheck // until the parent ends
	os.Exit(1)
}

func TestMain(m *testing.M) {
	if os.Getenv(holdVariable) != "" {
		hold()
	}
	Main(m)
}

// TestServer: a server of the version that is pinned, with our kinds, and each
// test has a namespace of its own.
func TestServer(t *testing.T) {
	s := Start(t)
	d, err := discovery.NewDiscoveryClientForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := d.ServerVersion(); err != nil || v.Major != "1" || v.Minor != "37" {
		t.Errorf("version %v, %v", v, err)
	}
	kinds, err := d.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range kinds.APIResources {
		names = append(names, r.Name)
	}
	for _, want := range []string{"printerrelays", "printerrelays/status", "mailupstreams", "mailupstreams/status", "senderpolicies", "senderpolicies/status"} {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
			t.Errorf("no %s among %v", want, names)
		}
	}
	if a, b := s.Namespace(t), s.Namespace(t); a == b || !strings.HasPrefix(a, "t-testserver-") {
		t.Errorf("namespaces %q, %q", a, b)
	}
	if again := Start(t); again != s {
		t.Error("a second server")
	}
}

// TestCertManager: the kind is there while the test runs that asks for it.
func TestCertManager(t *testing.T) {
	s := Start(t)
	certificate := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
		"metadata": map[string]any{"name": "a", "namespace": s.Namespace(t)},
		"spec":     map[string]any{"dnsNames": []any{"a.example"}},
	}}
	t.Run("with it", func(t *testing.T) {
		s.CertManager(t)
		if err := s.Client.Create(Context(t), certificate); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(s.Config, client.Options{Scheme: Scheme}) // the old one remembers the kind
	if err != nil {
		t.Fatal(err)
	}
	certificate.SetResourceVersion("")
	env.Eventually(t, "the kind is gone", func() string { return "" }, func() bool {
		err := c.Create(Context(t), certificate.DeepCopy())
		return meta.IsNoMatchError(err) || apierrors.IsNotFound(err)
	})
}

// TestUsers: a user and a ServiceAccount may do nothing until something is bound
// to them; the server knows them by name.
func TestUsers(t *testing.T) {
	s := Start(t)
	ns := s.Namespace(t)
	admin := Kubeconfig(t, s.Config)
	for name, kubeconfig := range map[string]string{
		"jane":                                Kubeconfig(t, s.User(t, "jane", "printers")),
		"system:serviceaccount:" + ns + ":sa": Kubeconfig(t, s.ServiceAccount(t, ns, "sa")),
	} {
		if out, errs, ok := s.Kubectl(t, kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"); !ok || out != name {
			t.Errorf("%s is %q %s", name, out, errs)
		}
		if out, _, ok := s.Kubectl(t, kubeconfig, "auth", "can-i", "list", "configmaps", "-n", ns); ok || strings.TrimSpace(out) != "no" {
			t.Errorf("%s may list ConfigMaps: %q", name, out)
		}
	}
	if out, _, ok := s.Kubectl(t, admin, "auth", "can-i", "list", "configmaps", "-n", ns); !ok || strings.TrimSpace(out) != "yes" {
		t.Errorf("the administrator may not list ConfigMaps: %q", out)
	}
	if _, errs, ok := s.Kubectl(t, admin, "get", "configmap", "none", "-n", ns); ok || !strings.Contains(errs, "not found") {
		t.Errorf("%t, %q", ok, errs)
	}
}

// TestWrites counts the requests of a client.
func TestWrites(t *testing.T) {
	s := Start(t)
	cfg, w := Counted(s.Config)
	c, err := client.New(cfg, client.Options{Scheme: Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns, ctx := s.Namespace(t), Context(t)
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
	if err := c.Create(ctx, m); err != nil {
		t.Fatal(err)
	}
	m.Data = map[string]string{"a": "b"}
	for range 2 { // the second changes nothing, and is a request all the same
		if err := c.Update(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(ctx, m, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if err := c.List(ctx, &corev1.ConfigMapList{}); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteAllOf(ctx, m, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
	if got, want := w.String(), "1 create configmaps\n1 deletecollection configmaps\n2 update configmaps\n"; got != want || w.Total() != 4 {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if w.Reset(); w.Total() != 0 {
		t.Errorf("after Reset: %v", w)
	}
}

func TestWriteKeys(t *testing.T) {
	for request, want := range map[string]string{
		"PATCH /apis/printerrelay.dev/v1alpha1/namespaces/a/printerrelays/b/status":     "patch printerrelays.printerrelay.dev/status",
		"PATCH /apis/apps/v1/namespaces/a/deployments/b?fieldManager=x&force=true":      "patch deployments.apps",
		"POST /api/v1/namespaces/a/configmaps":                                          "create configmaps",
		"PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/b":                        "update leases.coordination.k8s.io",
		"DELETE /api/v1/namespaces/a/services/b":                                        "delete services",
		"DELETE /api/v1/namespaces/a/services":                                          "deletecollection services",
		"POST /api/v1/namespaces":                                                       "create namespaces",
		"POST /api/v1/namespaces/a/pods/b/eviction":                                     "create pods/eviction",
		"GET /api/v1/namespaces/a/configmaps?watch=true":                                "",
		"PATCH /api/v1/namespaces/a/configmaps/b?dryRun=All":                            "",
		"POST /api/v1/namespaces/a/serviceaccounts/b/token":                             "",
		"POST /apis/authentication.k8s.io/v1/tokenreviews":                              "",
		"POST /apis/authorization.k8s.io/v1/subjectaccessreviews":                       "",
		"GET /openid/v1/jwks":                                                           "",
		"POST /apis/authorization.k8s.io/v1/namespaces/a/localsubjectaccessreviews?x=y": "",
	} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, "https://127.0.0.1"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := write(r); got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

func TestAssets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	if got, err := binaries(t); got != dir || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := wrapper(dir, filepath.Join(dir, "etcd")); err == nil || !strings.Contains(err.Error(), "make control-plane") {
		t.Errorf("a program that is missing: %v", err)
	}
}

// TestKill: what was stored is there after a crash, and after a second of all, and
// who was known still is.
func TestKill(t *testing.T) {
	s := Start(t)
	ns, ctx := s.Namespace(t), Context(t)
	account := s.ServiceAccount(t, ns, "sa")
	for _, names := range [][]string{{"kube-apiserver"}, {"etcd", "kube-apiserver"}} {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: "a-"}}
		if err := s.Client.Create(ctx, m); err != nil {
			t.Fatal(err)
		}
		restart := s.Kill(t, names...)
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(m), m); err == nil {
			t.Errorf("%v: it answers", names)
		}
		restart()
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			t.Errorf("%v: %v", names, err)
		}
	}
	if out, errs, ok := s.Kubectl(t, Kubeconfig(t, account), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"); !ok || out != "system:serviceaccount:"+ns+":sa" {
		t.Errorf("%q %s", out, errs)
	}
}
