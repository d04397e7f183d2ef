// Package install installs the chart with Helm on a real API server, and runs
// the operator as the Deployment of the chart says, with the rights of its
// ServiceAccount and no others: that they are enough, and that they end where they
// should.
package install

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/cli"
	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

// asOperator in the environment makes this program the operator itself.
const asOperator = "PRINTER_RELAY_TEST_RUNS_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	apiserver.Main(m)
}

// The names that an installation has.
const (
	release = "printer-relay"
	name    = "printer-relay-operator"
)

// installation is the chart in a namespace of its own.
type installation struct {
	t         *testing.T
	s         *apiserver.Server
	namespace string
	admin     string // kubeconfig
	metrics   string // address, once the operator runs
}

// helm runs Helm as the administrator.
func (i *installation) helm(args ...string) string {
	i.t.Helper()
	home := i.t.TempDir()
	vars := []string{"KUBECONFIG=" + i.admin, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home}
	args = append(vars, append([]string{env.Tool(i.t, "deploy", "helm"), "--namespace", i.namespace}, args...)...)
	return env.MustRun(i.t, "", "env", args...)
}

// install gives the chart as it is installed. The CRDs are there already, and
// become the release's.
func install(t *testing.T, s *apiserver.Server, values ...string) *installation {
	t.Helper()
	i := &installation{t: t, s: s, namespace: s.Namespace(t), admin: apiserver.Kubeconfig(t, s.Config)}
	args := []string{"install", release, env.Root(t) + "/charts/printer-relay", "--take-ownership"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	i.helm(args...)
	return i
}

func (i *installation) get(obj client.Object, namespace, name string) error {
	i.t.Helper()
	return i.s.Client.Get(apiserver.Context(i.t), client.ObjectKey{Namespace: namespace, Name: name}, obj)
}

// run starts the operator with the arguments and the account of the Deployment;
// only its addresses are this machine's.
func (i *installation) run() *env.Process {
	i.t.Helper()
	d := &appsv1.Deployment{}
	if err := i.get(d, i.namespace, name); err != nil {
		i.t.Fatal(err)
	}
	account := d.Spec.Template.Spec.ServiceAccountName
	i.t.Setenv("KUBECONFIG", apiserver.Kubeconfig(i.t, i.s.ServiceAccount(i.t, i.namespace, account)))
	i.t.Setenv(asOperator, "1")
	for range 5 { // a port may have been taken meanwhile
		i.metrics = env.Loopback(env.FreePort(i.t))
		replace := strings.NewReplacer("$(POD_NAMESPACE)", i.namespace, "$(POD_SERVICE_ACCOUNT)", account,
			"--metrics=:8080", "--metrics="+i.metrics, "--probes=:8081", "--probes=", "--check-dns=true", "--check-dns=false")
		var args []string
		for _, a := range d.Spec.Template.Spec.Containers[0].Args {
			args = append(args, replace.Replace(a))
		}
		p := env.Start(i.t, i.t.TempDir(), os.Args[0], args...)
		env.Eventually(i.t, "the operator listens, or ends", p.Output, func() bool { return env.Listening(i.metrics) || !p.Running() })
		if p.Running() {
			return p
		}
		i.t.Logf("the operator ended, and is tried again:\n%s", p.Tail(2000))
	}
	i.t.Fatal("the operator does not start")
	return nil
}

// samples applies config/samples to a namespace.
func (i *installation) samples(namespace string) {
	i.t.Helper()
	if _, stderr, ok := i.s.Kubectl(i.t, i.admin, "--namespace", namespace, "apply", "-k", env.Root(i.t)+"/config/samples"); !ok {
		i.t.Fatal(stderr)
	}
}

// office is the sample's PrinterRelay as it stands.
func (i *installation) office(namespace string) (*v1alpha1.PrinterRelay, error) {
	r := &v1alpha1.PrinterRelay{}
	return r, i.get(r, namespace, "office")
}

// becomesRelay waits until all objects of the sample's relay are there, and its status.
func (i *installation) becomesRelay(p *env.Process, namespace string) {
	i.t.Helper()
	objects := map[string]client.Object{
		"office": &corev1.Service{}, "office-relay": &corev1.ConfigMap{}, "office-0": &appsv1.Deployment{},
		"office-0 ": &corev1.PersistentVolumeClaim{}, "office-queue": &corev1.ServiceAccount{}, "office-relay ": &networkingv1.NetworkPolicy{},
	}
	missing := ""
	env.Eventually(i.t, "the sample in "+namespace+" becomes a relay", func() string { return missing + "\n" + p.Tail(4000) }, func() bool {
		for n, obj := range objects {
			if err := i.get(obj, namespace, strings.TrimSpace(n)); err != nil {
				missing = err.Error()
				return false
			}
		}
		r, err := i.office(namespace)
		missing = fmt.Sprint(err, "conditions ", r.Status.Conditions)
		return err == nil && meta.IsStatusConditionTrue(r.Status.Conditions, "Accepted")
	})
}

// grows gives the sample's relay a second instance, and with it a PodDisruptionBudget.
func (i *installation) grows(p *env.Process, namespace string) {
	i.t.Helper()
	if _, stderr, ok := i.s.Kubectl(i.t, i.admin, "--namespace", namespace, "patch", "printerrelay", "office", "--type", "merge", "--patch", `{"spec":{"replicas":2}}`); !ok {
		i.t.Fatal(stderr)
	}
	env.Eventually(i.t, "a second instance has a PodDisruptionBudget", p.Output, func() bool {
		return i.get(&policyv1.PodDisruptionBudget{}, namespace, "office-relay") == nil
	})
}

// deleted waits until the sample's relay, which keeps its volume, is gone.
func (i *installation) deleted(p *env.Process, namespace string) {
	i.t.Helper()
	r, err := i.office(namespace)
	if err != nil {
		i.t.Fatal(err)
	}
	if len(r.Finalizers) == 0 {
		i.t.Error("the operator did not write its finalizer")
	}
	if err := i.s.Client.Delete(apiserver.Context(i.t), r); err != nil {
		i.t.Fatal(err)
	}
	env.Eventually(i.t, "the deleted PrinterRelay goes", p.Output, func() bool {
		_, err := i.office(namespace)
		return apierrors.IsNotFound(err)
	})
}

// scrape gives the status code of a request for the metrics.
func (i *installation) scrape(token string) int {
	i.t.Helper()
	req, err := http.NewRequestWithContext(apiserver.Context(i.t), http.MethodGet, "https://"+i.metrics+"/metrics", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // made at its start
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// noSecrets asks the API server, as the operator, by kubectl.
func (i *installation) noSecrets(namespaces ...string) {
	i.t.Helper()
	own := apiserver.Kubeconfig(i.t, i.s.ServiceAccount(i.t, i.namespace, name))
	for _, scope := range append(namespaces, "") {
		where := []string{"--namespace", scope}
		if scope == "" {
			where = []string{"--all-namespaces"}
		}
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "*"} {
			if stdout, _, ok := i.s.Kubectl(i.t, own, append([]string{"auth", "can-i", verb, "secrets"}, where...)...); ok || strings.TrimSpace(stdout) != "no" {
				i.t.Errorf("the operator may %s Secrets (%q): %s", verb, where, stdout)
			}
		}
	}
	if _, _, ok := i.s.Kubectl(i.t, own, "auth", "can-i", "create", "leases", "--namespace", i.namespace); !ok {
		i.t.Error("the operator may not write its lease: its rights were not looked at")
	}
}

// uninstall ends the installation. What people made stays.
func (i *installation) uninstall(p *env.Process, stays string) {
	i.t.Helper()
	p.Stop()
	if strings.Contains(p.Output(), "orbidden") {
		i.t.Errorf("the operator lacked a right:\n%s", p.Output())
	}
	before, err := i.office(stays)
	if err != nil {
		i.t.Fatal(err)
	}
	i.helm("uninstall", release)
	if after, err := i.office(stays); err != nil || after.UID != before.UID || after.DeletionTimestamp != nil {
		i.t.Errorf("uninstalled, the PrinterRelay is %v, %v", after.ObjectMeta, err)
	}
	if err := i.get(&appsv1.Deployment{}, i.namespace, name); !apierrors.IsNotFound(err) {
		i.t.Errorf("uninstalled, the operator is there: %v", err)
	}
}

func TestOperatorOfTheCluster(t *testing.T) {
	s := apiserver.Start(t)
	i := install(t, s)
	north, south := s.Namespace(t), s.Namespace(t)
	p := i.run()
	i.samples(north)
	i.samples(south)
	i.becomesRelay(p, north)
	i.becomesRelay(p, south)
	if err := i.get(&coordinationv1.Lease{}, i.namespace, name); err != nil {
		t.Error(err)
	}

	// Metrics are for whom the API server says.
	stranger := s.ServiceAccount(t, i.namespace, "stranger")
	if a, b := i.scrape(""), i.scrape(stranger.BearerToken); a != http.StatusUnauthorized || b != http.StatusForbidden {
		t.Errorf("metrics without a token: %d, with one that may not: %d", a, b)
	}
	if err := s.Client.Create(apiserver.Context(t), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: i.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name + "-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: i.namespace, Name: "prometheus"}},
	}); err != nil {
		t.Fatal(err)
	}
	prometheus, code := s.ServiceAccount(t, i.namespace, "prometheus"), 0
	env.Eventually(t, "the metrics are read by who may", func() string { return fmt.Sprint(code) }, func() bool {
		code = i.scrape(prometheus.BearerToken)
		return code == http.StatusOK
	})

	i.noSecrets(north, i.namespace)
	i.grows(p, north)
	i.deleted(p, north)
	i.uninstall(p, south)
}

func TestOperatorOfOneNamespace(t *testing.T) {
	s := apiserver.Start(t)
	ours, theirs := s.Namespace(t), s.Namespace(t)
	i := install(t, s, "watchNamespaces={"+ours+"}", "metrics.authentication=None", "rbac.aggregate=false")
	bound := &rbacv1.ClusterRoleBindingList{}
	if err := s.Client.List(apiserver.Context(t), bound); err != nil {
		t.Fatal(err)
	}
	for _, b := range bound.Items {
		if slices.ContainsFunc(b.Subjects, func(x rbacv1.Subject) bool { return x.Namespace == i.namespace && x.Name == name }) {
			t.Errorf("the operator has rights everywhere by ClusterRoleBinding %s", b.Name)
		}
	}
	p := i.run()
	i.samples(theirs)
	i.samples(ours)
	i.becomesRelay(p, ours)
	if r, err := i.office(theirs); err != nil || len(r.Status.Conditions) > 0 || len(r.Finalizers) > 0 {
		t.Errorf("a PrinterRelay in a namespace that is not served: %v, %v", r, err)
	}
	if code := i.scrape(""); code != http.StatusOK {
		t.Errorf("metrics without authentication: %d", code)
	}
	i.noSecrets(ours, theirs, i.namespace)
	i.grows(p, ours)
	i.deleted(p, ours)
	i.uninstall(p, theirs)
}
