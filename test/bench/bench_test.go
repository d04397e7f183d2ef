//go:build bench

// Package bench measures a relay beside Debian's Postfix: Postfix's smtp-source
// sends through each of them to its smtp-sink, in turn, on one machine in one
// run, and the tools once more with nothing between. It asserts nothing on
// time: `make bench` prints a table for README and docs/performance.md. A test
// by its form only, so that it shares what the interop tests run.
package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

var (
	rounds = flag.Int("rounds", 3, "how often each load runs; the median counts")
	only   = flag.String("load", "", "the one load to run, by name")
	binary = flag.String("relay", "", "the relay's binary; empty: built from this checkout")
	alone  = flag.String("system", "", "the one system to run, by name, which is then compared with nothing")

	profiles = flag.String("profiles", "", "folder for profiles of the relay's CPU time and allocations; the relay is then the test's own binary")
)

// load is what smtp-source sends.
type load struct {
	name     string
	size     int // octets of a body
	messages int
	sessions int // at once
	once     bool
	all      bool // policy, content rules, TLS on both sides and DKIM
}

var loads = []load{
	{name: "4 kB", size: 4 << 10, messages: 10000, sessions: 20},
	{name: "200 kB", size: 200_000, messages: 1000, sessions: 20},
	{name: "10 MB", size: 10_000_000, messages: 40, sessions: 10},
	{name: "25 MB from 100 at once", size: 25_000_000, messages: 100, sessions: 100, once: true},
	{name: "4 kB, with all", size: 4 << 10, messages: 5000, sessions: 20, all: true},
	{name: "10 MB, with all", size: 10_000_000, messages: 40, sessions: 10, all: true},
}

// upstreamConnections are as many for both.
const upstreamConnections = 20

func TestBench(t *testing.T) {
	env.NeedRoot(t)
	postfix.Installed(t)
	if *binary == "" {
		*binary = build(t)
	}
	fmt.Printf("%d cores, %s, %s\n\n", runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	for _, l := range loads {
		if !wanted(l.name) {
			continue
		}
		n := *rounds
		if l.once {
			n = 1
		}
		results := map[string][]result{}
		for range n {
			for _, x := range starters {
				if *alone != "" && *alone != x.name {
					continue
				}
				var k *keys
				if l.all {
					k = newKeys(t)
				}
				sink := startSink(t, k)
				s := x.start(t, sink.port, k)
				results[x.name] = append(results[x.name], measure(t, l, s, sink, k))
				s.stop()
				sink.stop()
			}
		}
		report(l, results)
	}
	if wanted("acknowledgement") {
		acknowledgement(t)
	}
	if wanted("idle") {
		idle(t)
	}
	if wanted("queue") {
		queueOf(t)
	}
}

// wanted tells whether a load is to run.
func wanted(name string) bool { return *only == "" || *only == name }

func build(t *testing.T) string {
	bin := filepath.Join(t.TempDir(), "printer-relay")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-buildvcs=false", "-o", bin, ".")
	cmd.Dir = env.Root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the image is built
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}
