package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// all is a registry with every metric of a relay.
func all(up []Upstream) (*prometheus.Registry, *Set) {
	r := prometheus.NewRegistry()
	s := New(r, "ns/office")
	zero := func() float64 { return 0 }
	Sampled(r, "ns/office", map[Gauge]func() float64{
		QueuePending: zero, QueueDeferred: zero, QueueHeld: zero, QueueFailed: zero, QueueOldest: zero, QueueHeldFor: zero, SpoolBytes: zero, SpoolFree: zero, HistoryBytes: zero, HistoryOK: zero,
	})
	Holds(r, "ns/office", func() map[string]int { return map[string]int{"stolen": 3} })
	Webhooks(r, "ns/office", func() []Webhook { return []Webhook{{"tickets", 3, true}} })
	Upstreams(r, "ns/office", func() []Upstream { return up })
	Inventory(r, "ns/office", func() ([]Copiers, int) {
		return []Copiers{{"1.0", "LOGIN", true, 2}, {"1.0", "LOGIN", false, 3}, {"none", "none", true, 4}}, 5
	})
	return r, s
}

// touched is all after one of each labelled metric was used.
func touched(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	r, s := all([]Upstream{{Name: "out", Circuit: "Open", Waiting: 1, Deferred: 2, Active: 3, Checked: time.Unix(1, 0), Reachable: True, Credentials: False, Expires: time.Unix(2, 0), SendRate: 1.5, DailyLimit: 200, DailyUsed: 7}})
	s.Connections.WithLabelValues("legacy").Set(1)
	s.ConnectionsTotal.WithLabelValues("legacy").Inc()
	s.ConnectionsRefused.WithLabelValues("legacy", "limit").Inc()
	s.TLSHandshakes.WithLabelValues("legacy", "1.2").Inc()
	s.AuthAttempts.WithLabelValues("legacy", "LOGIN", "ok").Inc()
	s.Refusals.WithLabelValues("legacy", "PR101").Inc()
	s.PolicyDecisions.WithLabelValues("ns/p", "r", "Allow", "enforce").Inc()
	s.DryRunChanges.WithLabelValues("ns/p", "r", "Accept", "Refuse").Inc()
	s.MessagesReceived.WithLabelValues("legacy").Inc()
	s.BytesReceived.WithLabelValues("legacy").Add(7)
	s.Recipients.WithLabelValues("out", "Accepted", "none").Inc()
	s.AttemptDuration.WithLabelValues("out").Observe(1)
	s.Circuits.WithLabelValues("out", "open").Inc()
	s.Notifications.WithLabelValues("failed").Inc()
	s.TLSResults.WithLabelValues("out", "tlsa", "success").Inc()
	s.HistoryDropped.WithLabelValues("busy").Inc()
	s.WebhookRequests.WithLabelValues("tickets", "ok").Inc()
	s.WebhookSent.WithLabelValues("tickets").Inc()
	s.WebhookDropped.WithLabelValues("tickets", "full").Inc()
	s.Reloads.WithLabelValues("ok").Inc()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range families {
		out[f.GetName()] = f
	}
	return out
}

func TestNamesFollowPrometheusConventions(t *testing.T) {
	var b bytes.Buffer
	families := touched(t)
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := promlint.New(&b).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name := range families {
		if !strings.HasPrefix(name, "printer_relay_") {
			t.Errorf("%s is not under printer_relay_", name)
		}
	}
}

// A label that a peer can fill would let it grow the series without end.
func TestLabelsAreBounded(t *testing.T) {
	// Named by the manifests, or one of a fixed set of words.
	bounded := []string{"relay", "listener", "upstream", "policy", "rule", "reason", "version", "mechanism", "result", "action", "mode", "outcome", "scope", "kind", "state", "hold", "webhook", "now", "would", "tls", "authentication"}
	for name, f := range touched(t) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(bounded, l.GetName()) {
					t.Errorf("%s has the label %s: is it bounded?", name, l.GetName())
				}
			}
		}
	}
}

func TestCopierGauges(t *testing.T) {
	got := touched(t)
	for _, m := range got["printer_relay_copiers"].GetMetric() {
		want := map[string]float64{"1.0": 5, "none": 4}[m.GetLabel()[2].GetValue()]
		if m.GetGauge().GetValue() != want {
			t.Errorf("%v, want %v", m, want)
		}
	}
	for name, want := range map[string]float64{"refused": 6, "strangers": 5} {
		if n := got["printer_relay_copiers_"+name].GetMetric()[0].GetGauge().GetValue(); n != want {
			t.Errorf("%s: %v, want %v", name, n, want)
		}
	}
}

func TestUpstreamGauges(t *testing.T) {
	up := []Upstream{{Name: "out", Circuit: "HalfOpen", Suspended: true, Waiting: 4, Deferred: 5, Active: 6}}
	r, _ := all(up)
	values := func() map[string]float64 {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if name, ok := strings.CutPrefix(f.GetName(), "printer_relay_upstream_"); ok {
					for _, l := range m.GetLabel() {
						if l.GetName() != "relay" {
							name += "," + l.GetValue()
						}
					}
					out[name] = m.GetGauge().GetValue()
				}
			}
		}
		return out
	}
	want := map[string]float64{
		"circuit_state,closed,out": 0, "circuit_state,halfopen,out": 1, "circuit_state,open,out": 0,
		"suspended,out": 1, "waiting_messages,out": 4, "deferred_messages,out": 5, "active_attempts,out": 6,
	}
	if got := values(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	up[0] = Upstream{Name: "out", Circuit: "Closed", Checked: time.Unix(9, 0), Reachable: True, Credentials: False, Expires: time.Unix(99, 0), SendRate: 1.5, DailyLimit: 200, DailyUsed: 7}
	for name, want := range map[string]float64{
		"last_check_timestamp_seconds": 9, "reachable": 1, "credentials_valid": 0, "credential_expiry_timestamp_seconds": 99,
		"send_rate_limit": 1.5, "daily_quota_recipients": 200, "daily_quota_used_recipients": 7,
	} {
		if got, ok := values()[name+",out"]; !ok || got != want {
			t.Errorf("%s is %v (%t), want %v", name, got, ok, want)
		}
	}
	up[0] = Upstream{Name: "other", Circuit: "Open", Checked: time.Unix(9, 0)} // of which nobody can tell
	if got := values(); got["last_check_timestamp_seconds,other"] != 9 || len(got) != 8 {
		t.Errorf("what is not known is measured: %v", got)
	}
	up[0] = Upstream{Name: "other", Circuit: "Open"}
	if got := values(); got["circuit_state,open,other"] != 1 || len(got) != 7 {
		t.Errorf("after a reload that renames it: %v", got)
	}
}

var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]+)", unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// TestDocumentsNameMetricsThatExist reads what docs tell people to look at. The
// operator's metrics are its own tests' to hold.
func TestDocumentsNameMetricsThatExist(t *testing.T) {
	known, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"../../README.md"}
	for _, where := range []string{"docs/*.md", "docs/*/*.md", "config/grafana/*.json", "config/prometheus/*.yaml"} {
		found, err := filepath.Glob("../../" + where)
		if err != nil || len(found) == 0 {
			t.Fatal(where, found, err)
		}
		paths = append(paths, found...)
	}
	parts := regexp.MustCompile("_(bucket|sum|count)$") // of a histogram
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`printer_relay_[a-z_]+[a-z]`).FindAllString(string(text), -1) {
			whole := parts.ReplaceAllString(name, "")
			if !strings.HasPrefix(name, "printer_relay_operator_") && !bytes.Contains(known, []byte("`"+name+"`")) && !bytes.Contains(known, []byte("`"+whole+"`")) {
				t.Errorf("%s: no metric has the name %s", path, name)
			}
		}
	}
}

// TestEveryMetricIsDocumented holds docs/metrics.md to the code: -update writes it.
func TestEveryMetricIsDocumented(t *testing.T) {
	types := map[string]string{}
	for name, f := range touched(t) {
		types[name] = strings.ToLower(f.GetType().String())
	}
	r, _ := all(nil)
	ch := make(chan *prometheus.Desc, 1000)
	r.Describe(ch)
	close(ch)
	rows := map[string]string{}
	for d := range ch {
		m := descText.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("a Desc has another form: %s", d)
		}
		labels := []string{"relay"}
		for _, l := range strings.Split(m[3]+","+m[4], ",") {
			l, _, _ = strings.Cut(l, "=")
			if l != "" && l != "relay" {
				labels = append(labels, l)
			}
		}
		if types[m[1]] == "" {
			t.Errorf("%s is not used by touched", m[1])
		}
		rows[m[1]] = fmt.Sprintf("| `%s` | %s | %s | %s |\n", m[1], types[m[1]], strings.Join(labels, ", "), m[2])
	}
	var want strings.Builder
	want.WriteString("# Metrics\n\nThe metrics of a relay, at `/metrics` of its admin port, beside Go's own `go_` and `process_` metrics.\n" +
		"The label `relay` is namespace/name.\nLabels hold only names from the manifests and fixed words, so that no client can make their number grow.\n\n" +
		"How to have Prometheus read them, and the dashboard: [install.md](install.md#metrics).\nThe alerts that use them: [runbooks](runbooks/README.md).\n" +
		"The operator's own metrics: [operator.md](operator.md#metrics-of-the-operator).\n\n" +
		"| name | type | labels | meaning |\n|---|---|---|---|\n")
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		want.WriteString(rows[name])
	}
	want.WriteString("\nThis table is written by `go test ./relay/metrics -update`.\n")
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil { //nolint:gosec // documentation
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("docs/metrics.md is not what the code has: run go test ./relay/metrics -update\n%s", &want)
	}
}
