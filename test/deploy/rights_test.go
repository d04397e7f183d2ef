package deploy

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/relay/cli"
)

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// all is what everything gives; reading the CRDs of each case takes its time.
var all map[string][]object

// everything is all that is rendered in all cases. Tests do not change it.
func everything(t *testing.T) map[string][]object {
	t.Helper()
	if all != nil {
		return all
	}
	out := map[string][]object{}
	for _, dir := range cases(t, "config", 3) {
		out[dir] = built(t, dir)
	}
	for _, dir := range cases(t, "chart", 8) {
		out[dir] = templated(t, filepath.Join(dir, "values.yaml"))
	}
	all = out
	return out
}

// Every object has only the fields of its type, of the right types. The
// Prometheus Operator's kinds are not known here; the golden files hold those.
func TestObjectsAreOfTheirTypes(t *testing.T) {
	for dir, objects := range everything(t) {
		for _, o := range objects {
			switch o.kind() {
			case "ClusterRole":
				typed[rbacv1.ClusterRole](t, o)
			case "ClusterRoleBinding":
				typed[rbacv1.ClusterRoleBinding](t, o)
			case "CustomResourceDefinition":
				typed[apiextensionsv1.CustomResourceDefinition](t, o)
			case "Deployment":
				typed[appsv1.Deployment](t, o)
			case "Namespace":
				typed[corev1.Namespace](t, o)
			case "NetworkPolicy":
				typed[networkingv1.NetworkPolicy](t, o)
			case "PodDisruptionBudget":
				typed[policyv1.PodDisruptionBudget](t, o)
			case "Role":
				typed[rbacv1.Role](t, o)
			case "RoleBinding":
				typed[rbacv1.RoleBinding](t, o)
			case "Service":
				typed[corev1.Service](t, o)
			case "ServiceAccount":
				typed[corev1.ServiceAccount](t, o)
			case "PodMonitor", "PrometheusRule", "ServiceMonitor":
			default:
				t.Errorf("%s: %s is not looked at", dir, o.key())
			}
		}
	}
}

func TestPodsMeetPodSecurityRestricted(t *testing.T) {
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for dir, objects := range everything(t) {
		deployments := ofKind(objects, "Deployment")
		if len(deployments) != 1 {
			t.Errorf("%s: %q", dir, keys(deployments))
		}
		for _, o := range deployments {
			d := typed[appsv1.Deployment](t, o)
			if r := policy.AggregateCheckResults(checks.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec)); !r.Allowed {
				t.Errorf("%s: %s", dir, r.ForbiddenDetail())
			}
			if c := d.Spec.Template.Spec.Containers[0].SecurityContext; c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem {
				t.Errorf("%s: the root can be written to", dir)
			}
			// The checks do look.
			d.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities = nil
			if policy.AggregateCheckResults(checks.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec)).Allowed {
				t.Error("a container that keeps its capabilities was allowed")
			}
		}
	}
	labels := one(t, built(t, "testdata/config/default"), "Namespace", namespace).at("metadata", "labels")
	if labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("namespace %s enforces %v", namespace, labels)
	}
}

// No Service of a PrinterRelay finds the operator, whatever that is called: its
// name label is not that of the relays' Pods.
func TestOperatorIsNoRelay(t *testing.T) {
	for dir, objects := range everything(t) {
		d := typed[appsv1.Deployment](t, ofKind(objects, "Deployment")[0])
		if got := d.Spec.Template.Labels["app.kubernetes.io/name"]; got != name {
			t.Errorf("%s: app.kubernetes.io/name is %q", dir, got)
		}
		for k, v := range d.Spec.Selector.MatchLabels {
			if d.Spec.Template.Labels[k] != v {
				t.Errorf("%s: the selector wants %s=%s", dir, k, v)
			}
		}
	}
}

// rules of all roles among objects.
func rules(t *testing.T, objects []object) []rbacv1.PolicyRule {
	t.Helper()
	var out []rbacv1.PolicyRule
	for _, o := range ofKind(objects, "Role", "ClusterRole") {
		out = append(out, typed[rbacv1.ClusterRole](t, o).Rules...)
	}
	return out
}

// The roles are those that controllers/rbac.go asks for.
func TestRolesAreGenerated(t *testing.T) {
	dir := t.TempDir()
	must(t, controllerGen, "rbac:roleName="+name, "paths="+root+"/controllers", "output:rbac:dir="+dir)
	if read(t, filepath.Join(dir, "role.yaml")) != read(t, root+"/config/rbac/role.yaml") {
		t.Error("config/rbac/role.yaml is not what controllers/rbac.go says: run `make generate`, and commit what changes")
	}
}

// Nobody gets at a Secret by us, and nothing is given wholesale.
func TestNothingAboutSecrets(t *testing.T) {
	for dir, objects := range everything(t) {
		for _, r := range rules(t, objects) {
			for _, s := range slices.Concat(r.APIGroups, r.Resources, r.Verbs, r.NonResourceURLs) {
				if strings.Contains(s, "*") || strings.HasPrefix(s, "secrets") || s == "escalate" || s == "bind" || s == "impersonate" {
					t.Errorf("%s: a role has %q: %v", dir, s, r)
				}
			}
			if slices.Contains(r.Resources, "serviceaccounts/token") && len(r.ResourceNames) != 1 {
				t.Errorf("%s: tokens of any ServiceAccount: %v", dir, r)
			}
		}
	}
}

// With a list of namespaces the operator has no right anywhere else. What is
// left outside of namespaces can be switched off, and is then not there.
func TestScope(t *testing.T) {
	outside := func(dir string) []string {
		var out []string
		for _, o := range templated(t, filepath.Join("testdata/chart", dir, "values.yaml")) {
			if o.kind() != "CustomResourceDefinition" && o.at("metadata").text("namespace") == "" {
				out = append(out, o.kind()+" "+o.name())
			}
		}
		return out
	}
	for dir, want := range map[string][]string{
		"namespaced": {
			"ClusterRole printer-relay-edit", "ClusterRole " + name + "-metrics-reader", "ClusterRole printer-relay-view",
			"ClusterRoleBinding " + name + "-metrics-auth",
		},
		"least":          nil,
		"others-account": nil,
	} {
		got := outside(dir)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: outside of namespaces there are %q, want %q", dir, got, want)
		}
	}
	least := templated(t, "testdata/chart/least/values.yaml")
	whole := typed[rbacv1.ClusterRole](t, one(t, templated(t, ""), "ClusterRole", name)).Rules
	for _, ns := range []string{"north", "south"} {
		found := false
		for _, o := range ofKind(least, "Role") {
			if o.at("metadata").text("namespace") == ns {
				found = marshal(t, typed[rbacv1.Role](t, o).Rules) == marshal(t, whole)
			}
		}
		if !found {
			t.Errorf("namespace %s has no Role with the rules of the ClusterRole", ns)
		}
	}
}

var (
	rowOfFlags = regexp.MustCompile("(?m)^\\| `--[^|]*")
	flagOfRow  = regexp.MustCompile("`(--[a-z-]+)")
)

// What the Deployment passes is what docs/operator.md says the command takes, and
// the command takes it.
func TestFlagsAreThoseOfTheContract(t *testing.T) {
	_, contract, _ := strings.Cut(read(t, root+"/docs/operator.md"), "\n## The command\n")
	contract, _, _ = strings.Cut(contract, "\n## ")
	flags := map[string]bool{}
	for _, row := range rowOfFlags.FindAllString(contract, -1) {
		for _, f := range flagOfRow.FindAllStringSubmatch(row, -1) {
			flags[f[1]] = true
		}
	}
	if len(flags) < 12 {
		t.Fatalf("flags in docs/operator.md: %v", flags)
	}
	passed := map[string]bool{}
	for dir, objects := range everything(t) {
		args := typed[appsv1.Deployment](t, ofKind(objects, "Deployment")[0]).Spec.Template.Spec.Containers[0].Args
		if args[0] != "operator" {
			t.Errorf("%s: the command is %q", dir, args)
		}
		var help, problems bytes.Buffer
		if code := cli.Main(append(slices.Clone(args), "--help"), &help, &problems); code != 0 || !strings.Contains(help.String(), "--leader-elect") {
			t.Errorf("%s: %q exits %d: %s%s", dir, args, code, &problems, &help)
		}
		for _, a := range args[1:] {
			flag, _, ok := strings.Cut(a, "=")
			if !ok || !flags[flag] {
				t.Errorf("%s: %q is no flag of docs/operator.md", dir, a)
			}
			passed[flag] = true
		}
		image := typed[appsv1.Deployment](t, ofKind(objects, "Deployment")[0]).Spec.Template.Spec.Containers[0].Image
		if !strings.HasSuffix(dir, "everything") && args[1] != "--image="+image {
			t.Errorf("%s: the operator is %s, the relays %s", dir, image, args[1])
		}
	}
	const byHand = "--pprof" // no installation opens that port
	for f := range flags {
		if passed[f] == (f == byHand) {
			t.Errorf("%s is set: %t", f, passed[f])
		}
	}
}
