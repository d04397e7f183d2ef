// Package dashboard holds the Grafana dashboard to what it shows: every query of
// it is asked of a real Prometheus that scrapes a real relay.
package dashboard

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

const file = "config/grafana/printer-relay.json"

// board is what we read of a dashboard.
type board struct {
	UID         string
	Panels      []panel
	Annotations struct {
		List []struct{ Name, Expr string }
	}
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ Expr string }
	Datasource  struct{ UID string }
}

func load(t *testing.T) board {
	t.Helper()
	octets, err := os.ReadFile(filepath.Join(env.Root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(octets, &b); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

// Panels have titles and queries of their own, ask the chosen data source, and
// do not lie upon each other.
func TestPanels(t *testing.T) {
	b := load(t)
	ids, titles := map[int]bool{}, map[string]bool{}
	for i, p := range b.Panels {
		if ids[p.ID] || titles[p.Title] || p.Title == "" {
			t.Errorf("panel %d %q: its id or its title is there twice, or it has none", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%q: %+v is not on the grid of 24 columns", p.Title, g)
		}
		for _, q := range b.Panels[:i] {
			o := q.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				t.Errorf("%q lies upon %q", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%q: %d queries, of data source %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
	}
	if len(b.Panels) < 30 || b.UID != "printer-relay" {
		t.Errorf("%d panels, uid %q", len(b.Panels), b.UID)
	}
}

const manifests = `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example.com
  upstreamRef: {name: smarthost}
  senderPolicyRefs: [{name: trial}, {name: office}]
  holds: [{name: infected, clientNetworks: [192.0.2.9/32]}]
  listeners:
  - name: scans
    port: {{PORT}}
    tls: {mode: StartTLS}
    authentication: {mode: Optional, plaintext: Allow, secretRef: {name: logins}}
  delivery: {bounce: {to: Postmaster, postmaster: it@example.com}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: here
    match: {clientNetworks: [127.0.0.1/32]}
    recipients: {allowed: ["*@example.com"], maximum: 20}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: trial}
spec:
  enforcement: DryRun
  rules: [{name: nobody, match: {clientNetworks: [127.0.0.1/32]}, action: Reject}]
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {users: "mfp1:only-for-this-test"}
`

// absent are the series that a relay alone, with a smarthost that takes all, does
// not have: the operator's, and what nobody can tell here.
var absent = []string{
	"printer_relay_operator_condition", "printer_relay_upstream_daily_quota", "printer_relay_upstream_credentials_valid", "printer_relay_notifications_total",
	"printer_relay_connections_refused_total", "printer_relay_webhook_", "printer_relay_history_dropped_total", "printer_relay_upstream_credential_expiry", "changes(",
}

// Each query is one that Prometheus understands, of a metric that is there, and
// shows something once a copier has scanned and another was refused.
func TestEveryQueryShowsSomething(t *testing.T) {
	upstream := rig.StartUpstream(t, rig.Script{})
	relay := rig.Start(t, manifests+upstream.YAML("smarthost", "  sender: {domain: copier.example.com, localPart: scans}"))
	p := startPrometheus(t, relay.Admin)

	scan := func() {
		c := relay.Dial()
		defer c.Close()
		c.StartTLS()
		c.Want("250", "EHLO copier.test")
		c.Want("235", "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00mfp1\x00only-for-this-test")))
		if got := c.Send("scanner@copier.example.com", []string{"anna@example.com"}, rig.Scan("scanner@copier.example.com", "anna@example.com")); !strings.HasPrefix(got, "250") {
			t.Fatalf("the final dot: %s", got)
		}
		c.Want("250", "MAIL FROM:<scanner@copier.example.com>")
		c.Want("550", "RCPT TO:<boss@elsewhere.example>")
	}
	b := load(t)
	for _, a := range b.Annotations.List {
		b.Panels = append(b.Panels, panel{Title: a.Name, Targets: []struct{ Expr string }{{Expr: a.Expr}}})
	}
	for _, p2 := range b.Panels {
		for _, q := range p2.Targets {
			expr := strings.NewReplacer("$__rate_interval", "30s", "$relay", ".*").Replace(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%q: a variable that is not replaced: %s", p2.Title, expr)
			}
			empty := slices.ContainsFunc(absent, func(s string) bool { return strings.Contains(expr, s) })
			last := ""
			env.Eventually(t, p2.Title+": "+expr, func() string { return last }, func() bool {
				n, err := p.query(t, expr)
				if err != nil {
					t.Fatalf("%q: %v", p2.Title, err)
				}
				last = fmt.Sprintf("%d series", n)
				if n == 0 && !empty {
					scan()
				}
				return n > 0 || empty
			})
		}
	}
}

// prometheus is a running one.
type prometheus struct {
	*env.Process
	address string
}

// startPrometheus scrapes target once a second.
func startPrometheus(t *testing.T, target string) prometheus {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(cache, "printer-relay", "debian", "prometheus", "usr", "bin", "prometheus")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("Prometheus is not there: run make test-deps: %v", err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	env.WriteFile(t, config, "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: relays, static_configs: [{targets: ['"+target+"']}]}]\n")
	address := env.Loopback(env.FreePort(t))
	p := prometheus{env.Start(t, dir, program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address), address}
	t.Cleanup(p.Stop)
	env.Eventually(t, "Prometheus is ready", p.Output, func() bool { return env.Listening(address) })
	return p
}

// query gives the number of series that a query has now.
func (p prometheus) query(t *testing.T, expr string) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable { // it starts
		return 0, nil
	}
	octets, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal(octets, &answer); err != nil {
		return 0, fmt.Errorf("%s: %w", octets, err)
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	return len(answer.Data.Result), nil
}
