package deploy

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/controllers/conditions"
	"github.com/printerrelay/printer-relay/test/env"
)

const rulesFile = root + "/config/prometheus/rules.yaml"

// alertRules is what we read of a file of Prometheus's rules.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

// promtool is Prometheus's own, from Debian's package.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	program := filepath.Join(cache, "printer-relay", "debian", "prometheus", "usr", "bin", "promtool")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("promtool is not there: run make test-deps: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), env.Wait)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}

// The alerts are rules to Prometheus, and fire when they should and not else.
func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", rulesFile},
		{"test", "rules", root + "/config/prometheus/rules_test.yaml"},
	} {
		if out, err := promtool(t, args...); err != nil || !strings.Contains(out, "SUCCESS") {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// Each alert has a test in which it fires and one in which it is quiet, a page
// that says what to do, and metrics that exist.
func TestEveryAlertIsTestedAndExplained(t *testing.T) {
	var r alertRules
	unmarshal(t, read(t, rulesFile), &r)
	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	unmarshal(t, read(t, root+"/config/prometheus/rules_test.yaml"), &tests)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, tt := range tests.Tests {
		for _, a := range tt.AlertRuleTest {
			fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
			quiet[a.Alertname] = quiet[a.Alertname] || len(a.ExpAlerts) == 0
		}
	}
	metrics := map[string]bool{"up": true, conditions.Metric: true}
	for _, m := range regexp.MustCompile("(?m)^\\| `(printer_relay_[a-z_]+)` \\|").FindAllStringSubmatch(read(t, root+"/docs/metrics.md"), -1) {
		metrics[m[1]] = true
	}
	pages := map[string]bool{}
	for _, group := range r.Groups {
		for _, a := range group.Rules {
			if pages[a.Alert] {
				t.Errorf("%s is there twice", a.Alert)
			}
			pages[a.Alert] = true
			if !fires[a.Alert] || !quiet[a.Alert] {
				t.Errorf("config/prometheus/rules_test.yaml: %s fires in a test: %v, is quiet in one: %v", a.Alert, fires[a.Alert], quiet[a.Alert])
			}
			for _, m := range regexp.MustCompile(`\bprinter_relay_[a-z_]+|^up\b`).FindAllString(a.Expr, -1) {
				if !metrics[m] {
					t.Errorf("%s: no such metric: %s", a.Alert, m)
				}
			}
			if s := a.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", a.Alert, s)
			}
			checkRunbook(t, a.Alert, a.Annotations["runbook_url"])
		}
	}
	if len(pages) < 15 {
		t.Errorf("%d alerts only", len(pages))
	}
	files, err := filepath.Glob(root + "/docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".md"); name != "README" && !pages[name] {
			t.Errorf("docs/runbooks/%s.md is about no alert", name)
		}
	}
}

func checkRunbook(t *testing.T, alert, url string) {
	t.Helper()
	if want := "https://github.com/printerrelay/printer-relay/blob/main/docs/runbooks/" + alert + ".md"; url != want {
		t.Errorf("%s: runbook_url %q, want %q", alert, url, want)
	}
	b, err := os.ReadFile(root + "/docs/runbooks/" + alert + ".md")
	if err != nil {
		t.Errorf("%s has no page: %v", alert, err)
		return
	}
	for _, want := range []string{"# " + alert + "\n", "## What it means\n", "## What to do\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("docs/runbooks/%s.md lacks %q", alert, want)
		}
	}
	if !strings.Contains(read(t, root+"/docs/runbooks/README.md"), "["+alert+"]("+alert+".md)") {
		t.Errorf("docs/runbooks/README.md does not list %s", alert)
	}
}

// What is installed, by either tool, is what was tested.
func TestInstalledAlerts(t *testing.T) {
	var want map[string]any
	unmarshal(t, read(t, rulesFile), &want)
	for tool, objects := range map[string][]object{
		"kustomize": built(t, "testdata/config/monitoring"),
		"Helm":      templated(t, "testdata/chart/monitoring/values.yaml"),
	} {
		rule := one(t, objects, "PrometheusRule", "printer-relay-alerts")
		if a, b := marshal(t, want), marshal(t, rule.at("spec")); a != b {
			t.Errorf("%s: %s", tool, difference(a, b))
		}
	}
	if of := ofKind(templated(t, ""), "PrometheusRule"); len(of) != 0 {
		t.Errorf("without being asked for: %q", slices.Sorted(maps.Keys(of[0])))
	}
}
