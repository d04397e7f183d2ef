//go:build bench

// Package benchoperator measures the operator with many objects on a real API
// server: bin/printer-relay operator as a process of its own, with the rights of
// config/rbac, behind a proxy that counts what it writes. There are no nodes, so no
// Pod ever runs and no relay is Ready. It asserts the counts, nothing on time:
// `make bench-operator` prints a table for docs/performance.md.
package benchoperator

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

var (
	relays     = flag.Int("relays", 2000, "PrinterRelays")
	upstreams  = flag.Int("upstreams", 500, "MailUpstreams")
	policies   = flag.Int("policies", 500, "SenderPolicies")
	namespaces = flag.Int("namespaces", 10, "namespaces that they are spread over")
	rest       = flag.Duration("rest", 90*time.Second, "how long the operator is watched at rest")
	edits      = flag.Int("edits", 5, "how often a policy is edited")
	binary     = flag.String("operator", "", "the operator's binary; empty: bin/printer-relay of this checkout")
	profiles   = flag.String("profiles", "", "folder for profiles of the operator")
)

func TestMain(m *testing.M) {
	flag.Parse()
	controllers.LogTo(slog.New(slog.DiscardHandler))
	apiserver.Main(m)
}

// bench is one run.
type bench struct {
	*testing.T
	server *apiserver.Server
	writes *apiserver.Writes // the operator's
	fleet  fleet
	op     *operator

	maximum int // of recipients, in the newest edit of a policy
}

func TestBenchOperator(t *testing.T) {
	if *binary == "" {
		*binary = filepath.Join(env.Root(t), "bin/printer-relay")
	}
	if _, err := os.Stat(*binary); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	s := apiserver.Start(t)
	b := &bench{T: t, server: s, fleet: newFleet(*relays, *upstreams, *policies, *namespaces), maximum: firstMaximum}
	b.grant()
	cfg, writes := s.Proxy(t, s.ServiceAccount(t, operatorNamespace, operatorAccount))
	b.writes = writes
	t.Setenv("KUBECONFIG", apiserver.Kubeconfig(t, cfg))
	b.fleet.namespaces(b)

	fmt.Printf("%d cores, %s, %s; %d PrinterRelays, %d MailUpstreams, %d SenderPolicies in %d namespaces\n\n",
		runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly), *relays, *upstreams, *policies, *namespaces)
	b.apply()
	b.idle()
	b.nudge()
	b.edit("that few relays name", b.fleet.few())
	b.edit("that many relays name", b.fleet.many())
	b.restart()
}

func row(what, format string, a ...any) {
	fmt.Printf("| %s | %s |\n", what, fmt.Sprintf(format, a...))
}

// apply makes everything while the operator runs, as kubectl apply does.
func (b *bench) apply() {
	before := b.counts()
	b.op = b.start()
	b.op.profile("apply", 30*time.Second)
	begun := time.Now()
	b.fleet.create(b)
	created := time.Since(begun)
	b.eventually("all objects of all relays are there", 20*time.Minute, func() string { return b.missing(before) })
	took := time.Since(begun)
	b.exact()
	b.settle()
	fmt.Print("| applying | |\n|---|---|\n")
	row("everything is created", "%.1f s", created.Seconds())
	row("all objects of all relays are there", "%.1f s", took.Seconds())
	row("objects", "%d", b.fleet.total())
	row("API writes", "%d (%.0f/s)", b.written(), float64(b.written())/took.Seconds())
	row("looks", "%s", b.op.looks())
	b.op.report()
	fmt.Printf("\n%s\n", b.writes)
}

// settle waits until the operator has nothing to do and has written nothing for
// some time.
func (b *bench) settle() {
	const quiet = 5 * time.Second
	last, since := -1, time.Now()
	b.eventually("the operator is at rest", 10*time.Minute, func() string {
		if now := b.written(); now != last || b.op.busy() {
			last, since = now, time.Now()
		}
		if time.Since(since) < quiet {
			return b.writes.String()
		}
		return ""
	})
}

// idle watches the operator when nothing happens at all.
func (b *bench) idle() {
	b.writes.Reset()
	cpu, looks := b.op.cpu(), b.op.looked()
	time.Sleep(*rest)
	fmt.Print("| at rest | |\n|---|---|\n")
	row("time", "%s", *rest)
	row("API writes", "%d", b.written())
	row("looks", "%d", b.op.looked()-looks)
	row("CPU time", "%.2f s", (b.op.cpu() - cpu).Seconds())
	b.none("at rest")
}

// nudge has every object looked at again, for an annotation that means nothing.
func (b *bench) nudge() {
	b.writes.Reset()
	cpu, looks := b.op.cpu(), b.op.looks()
	b.op.profile("nudge", 10*time.Second)
	b.fleet.annotate(b)
	b.eventually("every relay is looked at again", 10*time.Minute, func() string {
		if n := b.op.looks()[relayController] - looks[relayController]; n < *relays {
			return fmt.Sprint(n)
		}
		return ""
	})
	b.settle()
	all := b.op.looks().since(looks)
	row("every object is annotated: looks", "%s", all)
	row("every object is annotated: API writes", "%d", b.written())
	row("every object is annotated: CPU time a look", "%.2f ms", (b.op.cpu()-cpu).Seconds()*1000/float64(all.total()))
	b.none("after annotations")
	fmt.Println()
}

// edit measures from an edit of a policy until all relays that name it have a
// ConfigMap with the new one.
func (b *bench) edit(what string, policy object) {
	var all []time.Duration
	for range *edits {
		b.maximum++
		all = append(all, b.editOnce(policy, b.maximum))
		b.settle()
	}
	slices.Sort(all)
	if policy == b.fleet.few() {
		fmt.Print("| edit of a policy | relays | median | worst |\n|---|---|---|---|\n")
	}
	fmt.Printf("| %s | %d | %.2f s | %.2f s |\n", what, len(b.fleet.users(policy)), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
}

// restart ends the operator and starts it again: it looks at everything, and
// writes nothing.
func (b *bench) restart() {
	before := b.op.looks()
	begun := time.Now()
	b.op.process.Stop()
	stopped := time.Since(begun)
	b.writes.Reset()
	begun = time.Now()
	b.op = b.start()
	b.op.profile("restart", 10*time.Second)
	b.eventually("everything is looked at again", 10*time.Minute, func() string {
		now := b.op.looks()
		if now[relayController] < *relays || now[upstreamController] < *upstreams || now[policyController] < *policies || b.op.busy() {
			return now.String()
		}
		return ""
	})
	took := time.Since(begun)
	looks := b.op.looks()
	b.settle()
	fmt.Print("\n| restart | |\n|---|---|\n")
	row("the old one ends", "%.1f s", stopped.Seconds())
	row("the new one has looked at everything", "%.1f s", took.Seconds())
	row("looks", "%s", looks)
	row("API writes", "%d", b.written())
	b.op.report()
	b.none("at a restart")
	fmt.Printf("\n(looks of the one before: %s)\n", before)
}

// elections are writes by which the operator's replicas know which of them acts:
// the lease and its renewals, and the event of a new leader.
var elections = []string{"create leases.coordination.k8s.io", "update leases.coordination.k8s.io", "create events"}

// written are the operator's writes since the last reset, but for elections.
func (b *bench) written() int {
	n := 0
	for what, c := range b.writes.Count() {
		if !slices.Contains(elections, what) {
			n += c
		}
	}
	return n
}

// none fails the run if there were writes since the last reset.
func (b *bench) none(when string) {
	b.Helper()
	if b.written() > 0 {
		b.Errorf("%d API writes %s:\n%s", b.written(), when, b.writes)
	}
}

func (b *bench) eventually(what string, patience time.Duration, wrong func() string) {
	b.Helper()
	tick := time.NewTicker(500 * time.Millisecond) // to ask costs the operator time, too
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		said := wrong()
		if said == "" {
			return
		}
		if b.op != nil && !b.op.process.Running() {
			b.Fatalf("the operator has ended:\n%s", b.op.process.Tail(4000))
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("not so after %s: %s\n%s\n%s", patience, what, said, b.op.process.Tail(4000))
		}
	}
}
