package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestChartLints(t *testing.T) {
	values, err := filepath.Glob("testdata/chart/*/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append([]string{""}, values...) {
		args := []string{"lint", "--strict", chart}
		if v != "" {
			args = append(args, "--values", v)
		}
		if out := must(t, helm, args...); strings.Contains(out, "[WARNING]") || strings.Contains(out, "[ERROR]") {
			t.Errorf("%s: %s", v, out)
		}
	}
}

// A value that means nothing is refused, and the message names it.
func TestValuesAreRefused(t *testing.T) {
	tests := map[string]struct{ values, says string }{
		"misspelt":                  {"replica: 3", "replica"},
		"misspelt below":            {"metrics: {serviceMonitor: {enable: true}}", "enable"},
		"not a number":              {`replicas: "two"`, "replicas"},
		"fewer than none":           {"replicas: -1", "replicas"},
		"digest without sha256":     {"image: {digest: 0123abc}", "digest"},
		"tag with a digest":         {`image: {tag: "v1@sha256:00"}`, "tag"},
		"no image":                  {`image: {repository: ""}`, "repository"},
		"pull policy":               {"image: {pullPolicy: Sometimes}", "pullPolicy"},
		"namespaces as text":        {"watchNamespaces: a,b", "watchNamespaces"},
		"a namespace twice":         {"watchNamespaces: [a, a]", "watchNamespaces"},
		"no namespace":              {"watchNamespaces: [Office]", "watchNamespaces"},
		"metrics namespace":         {`metrics: {namespaces: ["*"]}`, "metrics"},
		"authentication":            {"metrics: {authentication: Basic}", "authentication"},
		"log level":                 {"logLevel: loud", "logLevel"},
		"log format":                {"logFormat: xml", "logFormat"},
		"pull Secret as text":       {"imagePullSecrets: [registry]", "imagePullSecrets"},
		"label that is a number":    {"podLabels: {a: 1}", "podLabels"},
		"resource":                  {"resources: {limit: {memory: 1Gi}}", "limit"},
		"several without a leader":  {"leaderElection: {enabled: false}", "set replicas to 1"},
		"monitor without metrics":   {"metrics: {enabled: false, serviceMonitor: {enabled: true}}", "set metrics.enabled"},
		"account without a name":    {"serviceAccount: {create: false}", "serviceAccount.name"},
		"interval that is no time":  {"metrics: {podMonitor: {interval: often}}", "interval"},
		"a name too long":           {"fullnameOverride: " + strings.Repeat("a", 54), "fullnameOverride"},
		"CRDs that nobody removes?": {"crds: {keep: perhaps}", "keep"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(tt.values), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, err := run(t, helm, nil, "template", release, chart, "--namespace", namespace, "--values", file)
			if err == nil || !strings.Contains(stderr, tt.says) {
				t.Errorf("%s: %v, %s%.200s", tt.values, err, stderr, stdout)
			}
		})
	}
}

// The schema knows every value, and no other.
func TestEveryValueIsInTheSchema(t *testing.T) {
	var values, schema map[string]any
	unmarshal(t, read(t, chart+"/values.yaml"), &values)
	unmarshal(t, read(t, chart+"/values.schema.json"), &schema)
	var walk func(path string, value, schema map[string]any)
	walk = func(path string, value, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		if properties == nil {
			return // of the user's own making: labels, resources
		}
		if schema["additionalProperties"] != false {
			t.Errorf("values.schema.json: %s takes what is misspelt", path)
		}
		for k := range properties {
			if _, ok := value[k]; !ok && k != "global" && path != ".resources" {
				t.Errorf("values.yaml does not have %s.%s", path, k)
			}
		}
		for k, v := range value {
			p, ok := properties[k].(map[string]any)
			if !ok {
				t.Errorf("values.schema.json does not have %s.%s", path, k)
			}
			if below, ok := v.(map[string]any); ok {
				walk(path+"."+k, below, p)
			}
		}
	}
	walk("", values, schema)
}

// What the chart carries of config/ is a copy, and no more than that.
func TestChartHoldsWhatConfigHolds(t *testing.T) {
	copies := map[string]string{
		"files/rbac/role.yaml": "rbac/role.yaml", "files/rbac/aggregated.yaml": "rbac/aggregated.yaml",
		"files/alerts/rules.yaml": "prometheus/rules.yaml", "files/dashboards/printer-relay.json": "grafana/printer-relay.json",
	}
	crds, err := filepath.Glob(root + "/config/crd/bases/*.yaml")
	if err != nil || len(crds) != 3 {
		t.Fatalf("%q, %v", crds, err)
	}
	for _, c := range crds {
		copies["files/crds/"+filepath.Base(c)] = "crd/bases/" + filepath.Base(c)
	}
	for to, from := range copies {
		if read(t, filepath.Join(chart, to)) != read(t, filepath.Join(root, "config", from)) {
			t.Errorf("charts/printer-relay/%s is not config/%s: run `make generate`", to, from)
		}
	}
	files, err := filepath.Glob(chart + "/files/*/*")
	if err != nil || len(files) != len(copies) {
		t.Errorf("files of the chart: %q, want %d", files, len(copies))
	}
}

func TestChartReadmeIsGenerated(t *testing.T) {
	got := must(t, helmDocs, "--log-level", "warning", "--dry-run", "--chart-search-root", chart)
	if want := read(t, chart+"/README.md"); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("charts/printer-relay/README.md: %s: run `make generate`, and commit what changes", difference(got, want))
	}
	for _, row := range strings.Split(got, "\n") {
		if strings.HasPrefix(row, "| ") && strings.HasSuffix(row, "|  |") {
			t.Errorf("values.yaml does not say what this is: %s", row)
		}
	}
}

// helm uninstall leaves the CRDs, and with them every PrinterRelay and its
// queue; nothing else is left behind.
func TestUninstallKeepsTheKinds(t *testing.T) {
	const policy = "helm.sh/resource-policy"
	crds := 0
	for _, o := range templated(t, "") {
		kept := o.at("metadata", "annotations")[policy] == "keep"
		if crd := o.kind() == "CustomResourceDefinition"; kept != crd {
			t.Errorf("%s: kept %v", o.key(), kept)
		} else if crd {
			crds++
		}
	}
	if crds != 3 {
		t.Errorf("%d CustomResourceDefinitions", crds)
	}
	for _, o := range templated(t, "", "--set", "crds.keep=false") {
		if _, kept := o.at("metadata", "annotations")[policy]; kept {
			t.Errorf("crds.keep=false keeps %s", o.key())
		}
	}
}

// The schemas arrive as they are in config/crd: no number or text has changed
// on its way through a template.
func TestChartInstallsTheSameCRDs(t *testing.T) {
	want := ofKind(built(t, root+"/config/crd"), "CustomResourceDefinition")
	got := ofKind(templated(t, "", "--set", "crds.keep=false"), "CustomResourceDefinition")
	if len(want) != 3 || len(got) != 3 {
		t.Fatalf("%q, %q", keys(want), keys(got))
	}
	for i := range want {
		if a, b := marshal(t, want[i]), marshal(t, got[i]); a != b {
			t.Errorf("%s: %s", want[i].key(), difference(b, a))
		}
	}
	if len(ofKind(templated(t, "", "--set", "crds.install=false"), "CustomResourceDefinition")) != 0 {
		t.Error("crds.install=false installs them")
	}
}

// Installing tells the next command, which can be pasted.
func TestNotes(t *testing.T) {
	tests := map[string]struct {
		args []string
		says []string
		not  string
	}{
		"default": {nil, []string{
			"kubectl --namespace mail-system rollout status deployment/printer-relay-operator",
			"kubectl create namespace printers", "kubectl --namespace printers apply -f cluster/",
		}, "is false"},
		"namespaced": {
			[]string{"--set", "watchNamespaces={north,south}"},
			[]string{"in north, south", "kubectl --namespace north apply"},
			"create namespace",
		},
		"no roles": {[]string{"--set", "rbac.create=false"}, []string{"ServiceAccount printer-relay-operator"}, "crds.keep"},
		"no keep":  {[]string{"--set", "crds.keep=false"}, []string{"deletes every PrinterRelay"}, "rbac.create"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"install", release, chart, "--namespace", "mail-system", "--dry-run=client"}, tt.args...)
			_, notes, found := strings.Cut(must(t, helm, args...), "NOTES:\n")
			if !found {
				t.Fatal("no notes")
			}
			for _, s := range tt.says {
				if !strings.Contains(notes, s) {
					t.Errorf("the notes do not say %q:\n%s", s, notes)
				}
			}
			if strings.Contains(notes, tt.not) {
				t.Errorf("the notes say %q:\n%s", tt.not, notes)
			}
		})
	}
}

// Two releases in one cluster do not share names, but for what is asked for.
func TestNamesFollowTheRelease(t *testing.T) {
	for release, want := range map[string]string{
		"printer-relay":         name,
		"emea-printer-relay":    "emea-printer-relay-operator",
		"mail":                  "mail-printer-relay-operator",
		strings.Repeat("x", 53): strings.Repeat("x", 26) + "-printer-relay-operator",
	} {
		objects := parse(t, must(t, helm, "template", release, chart, "--namespace", namespace))
		for _, kind := range []string{"Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "PodDisruptionBudget", "NetworkPolicy"} {
			one(t, objects, kind, want)
		}
		one(t, objects, "Service", want+"-metrics")
	}
}

// A version is said once a tool: the chart's, and the tag of config/default.
func TestVersionsAgree(t *testing.T) {
	var c struct{ Version, AppVersion string }
	unmarshal(t, read(t, chart+"/Chart.yaml"), &c)
	tag := regexp.MustCompile(`newTag: (\S+)`).FindStringSubmatch(read(t, root+"/config/default/kustomization.yaml"))
	if tag == nil || c.AppVersion != "v"+c.Version || tag[1] != c.AppVersion {
		t.Errorf("Chart.yaml has version %s and appVersion %s, config/default %v", c.Version, c.AppVersion, tag)
	}
}
