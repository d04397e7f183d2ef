package operator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/printerrelay/printer-relay/controllers/instances"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/relay/traffic"
	"github.com/printerrelay/printer-relay/test/env"
)

// adminRelay is what an admin port serves.
type adminRelay struct{ state admin.RelayState }

func (a adminRelay) Key() string              { return a.state.Namespace + "/" + a.state.Name }
func (a adminRelay) State() admin.RelayState  { return a.state }
func (a adminRelay) Queue() admin.Queue       { return nil }
func (a adminRelay) Sessions() admin.Sessions { return nil }
func (a adminRelay) Traffic() traffic.Day     { return traffic.Day{} }
func (a adminRelay) Messages() admin.Messages { return nil }
func (a adminRelay) Copiers() admin.Copiers   { return nil }
func (a adminRelay) Webhooks() admin.Webhooks { return nil }

// TestTokens: what the operator writes into the ConfigMap lets the operator into
// the relay's admin port, with tokens of the API server, and nobody else.
func TestTokens(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady()
	config := func() string { return must[corev1.ConfigMap](r, "copiers-relay").Data[access.File] }
	port := r.adminPort(config)
	api, err := kubernetes.NewForConfig(r.namespaced())
	if err != nil {
		t.Fatal(err)
	}
	tokens := &instances.ServiceAccountTokens{ServiceAccounts: api.CoreV1().ServiceAccounts(r.ns), Name: account}
	reader := instances.NewReader(tokens)
	reader.Port = port
	report, err := reader.Report(r.ctx(), r.key("copiers"), "127.0.0.1")
	if err != nil || report.PlanHash != "abc" || !report.Drained || report.Queue.Waiting != 3 || report.Connections != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	// A token for another relay of the namespace opens nothing here.
	if _, err := reader.Report(r.ctx(), r.key("other"), "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "another audience") {
		t.Errorf("with a token for another relay: %v", err)
	}
	// Another account's is not let in, and the operator may make none for it.
	other := &instances.ServiceAccountTokens{ServiceAccounts: api.CoreV1().ServiceAccounts(r.ns), Name: "copiers-queue"}
	if token, err := other.Token(r.ctx(), r.key("copiers")); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the operator may make tokens of others: %q, %v", token, err)
	}
	again, err := tokens.Token(r.ctx(), r.key("copiers"))
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := tokens.Token(r.ctx(), r.key("copiers")); err != nil || kept != again {
		t.Errorf("each time a new token: %v", err)
	}
	tokens.Forget(r.key("copiers"))
	if fresh, err := tokens.Token(r.ctx(), r.key("copiers")); err != nil || fresh == "" {
		t.Errorf("%v", err)
	}
}

// adminPort serves the admin port of a relay that judges by what config gives.
func (r *rig) adminPort(config func() string) int {
	r.Helper()
	state := admin.RelayState{
		Namespace: r.ns, Name: "copiers", PlanHash: "abc", Intake: "Refuse",
		Listeners: []admin.ListenerState{{Name: "scans", Address: ":10025", Connections: 2}},
		Queue:     admin.QueueState{Pending: 1, Deferred: 2},
	}
	s := admin.New(admin.Config{
		Version: "test", Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Relays: func() []admin.Relay { return []admin.Relay{adminRelay{state}} }, Problems: func() []string { return nil },
		Phase:     func() string { return admin.PhaseDrained },
		Authorize: admin.Bearer(func() (a access.Access, err error) { return a, json.Unmarshal([]byte(config()), &a) }),
	})
	ca := env.NewCA(r, filepath.Join(r.TempDir(), "ca"))
	cert, key := ca.Issue(r, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		r.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(r.ctx(), "tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	}()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && err != http.ErrServerClosed { //nolint:errorlint // as it is
			r.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}
