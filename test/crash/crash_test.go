// Package crash kills a relay with SIGKILL at random moments, in every phase of
// its life, again and again, and looks for what it acknowledged: nothing may be
// lost, and no more be there twice than transactions were open at a kill.
package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/ledger"
)

const (
	clients     = 6
	connections = 4 // to the upstream

	// open is how many transactions with the upstream can be open at a kill: those
	// that run, and those that have ended and whose end is being written down
	// meanwhile (relay/queue: lane.free). A notification that is only being made has none.
	open = 2 * connections
)

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: crash}
spec:
  hostname: relay%d.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: all}]
  listeners: [{name: smtp, port: %d, tls: {mode: None}}]
  delivery: {keepFailedSeconds: 0, bounce: {to: Postmaster, postmaster: it@example.test, maximumPerHour: 10000}, retry: {initialSeconds: 1, maximumSeconds: 1}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec: {type: SMTP, smtp: {host: 127.0.0.1, port: %d, tls: {mode: None}}, limits: {connections: %d}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: all}
spec:
  rules:
  - name: local
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@example.test"]}
`

// The phases in which a relay can be killed, beside those that ledger sees.
const (
	reloading = "reloading" // the manifests have changed, and it has not applied them yet
	draining  = "draining"  // it was told to end, and has not yet
)

var phases = []string{ledger.Receiving, ledger.Committing, ledger.Delivering, ledger.Bouncing, reloading, draining}

// TestKillsLoseNothing is short by default; CRASH_KILLS sets how often it kills.
// It goes on until every phase was hit.
func TestKillsLoseNothing(t *testing.T) {
	x := newExperiment(t)
	kills := number(t, "CRASH_KILLS", 15)
	least := 1 + kills/40 // kills in each phase
	hit, made := map[string]int{}, 0
	for ; made < kills || missing(hit, least) != "" && made < 10*kills; made++ {
		for _, phase := range x.killUnderLoad(made % 3) {
			hit[phase]++
		}
	}
	x.relay.Start() // and now in peace
	if answer, err := x.copiers.One(x.relay.Address()); err != nil {
		t.Fatalf("%s %v", answer, err)
	}
	x.relay.Drain()
	for _, name := range x.relay.Quarantine() {
		if !strings.HasPrefix(name, "slot-") { // of which a write is rarely cut, before it is acknowledged
			t.Errorf("in quarantine: %s", name)
		}
	}
	x.relay.Kill()

	a := ledger.Of(x.copiers, x.upstream)
	t.Logf("%d kills, in these phases %v: %d acknowledged, %d arrived, %d bounced, %d lost; %d scans and %d notifications twice",
		made, hit, a.Acknowledged, a.Arrived, a.Notified, len(a.Lost), ledger.Sum(a.Again), ledger.Sum(a.NoticesAgain))
	if phase := missing(hit, least); phase != "" {
		t.Errorf("%d of %d kills hit it %s, want %d", hit[phase], made, phase, least)
	}
	if len(a.Lost) > 0 {
		t.Errorf("%d of %d acknowledged messages are lost: %.20q", len(a.Lost), a.Acknowledged, a.Lost)
	}
	if len(a.Broken) > 0 {
		t.Errorf("%d messages are not what was sent: %.20q", len(a.Broken), a.Broken)
	}
	for life := range made {
		if a.Again[life] > open || a.NoticesAgain[life] > open {
			t.Errorf("kill %d: %d scans and %d notifications came twice, and %d transactions can have been open", life+1, a.Again[life], a.NoticesAgain[life], open)
		}
	}
	if a.Again[made] > 0 || a.NoticesAgain[made] > 0 {
		t.Errorf("%d scans and %d notifications came twice without a kill", a.Again[made], a.NoticesAgain[made])
	}
	if a.Acknowledged < made {
		t.Errorf("only %d messages were acknowledged in %d rounds: the load was none", a.Acknowledged, made)
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%q: want a number", variable, s)
	}
	return n
}

// missing gives a phase that was hit less often than least; empty: there is none.
func missing(hit map[string]int, least int) string {
	for _, phase := range phases {
		if hit[phase] < least {
			return phase
		}
	}
	return ""
}

type experiment struct {
	t        *testing.T
	relay    *ledger.Relay
	upstream *ledger.Upstream
	copiers  *ledger.Copiers
	edits    int // of the manifests
}

func newExperiment(t *testing.T) *experiment {
	t.Helper()
	dir := t.TempDir()
	bin, err := ledger.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := &experiment{t: t, upstream: ledger.StartUpstream(t)}
	x.upstream.Slow(10 * time.Millisecond)
	x.copiers = &ledger.Copiers{Pause: 10 * time.Millisecond, Kind: func() string {
		return []string{ledger.Now, ledger.Now, ledger.Now, ledger.Later, ledger.Never}[rand.IntN(5)]
	}}
	x.relay = &ledger.Relay{
		T: t, Bin: bin, Dir: dir, State: filepath.Join(dir, "state"), Name: "crash", Log: "info",
		Manifests: func(port int) string { return fmt.Sprintf(manifests, x.edits, port, x.upstream.Port, connections) },
	}
	return x
}

// killUnderLoad runs the relay under load, in one round of three with a reload
// and in one with its orderly end under way, kills it at a random moment, and
// gives the phases that it was in.
func (x *experiment) killUnderLoad(round int) (hit []string) {
	x.relay.Start()
	x.copiers.During(x.relay.Address(), clients, func() {
		random(250 * time.Millisecond) // the random moment that this test is about
		switch round {
		case 1:
			x.edits++
			x.relay.Write()
			random(450 * time.Millisecond) // it looks twice, 200 ms apart, before it applies
		case 2:
			if err := x.relay.Process.Signal(syscall.SIGTERM); err != nil {
				x.t.Error(err)
			}
			random(20 * time.Millisecond)
		}
		hit = x.now(round)
		x.relay.Kill()
		x.upstream.Off()
	})
	x.upstream.On()
	return hit
}

func random(most time.Duration) { time.Sleep(time.Duration(rand.Int64N(int64(most)))) }

// now gives the phases that the relay is in.
func (x *experiment) now(round int) []string {
	hit := ledger.Phases(x.copiers, x.upstream)
	switch {
	case round == 1 && !strings.Contains(x.relay.Process.Output(), "manifests applied"):
		hit = append(hit, reloading)
	case round == 2 && x.relay.Process.Running():
		hit = append(hit, draining)
	}
	return hit
}
