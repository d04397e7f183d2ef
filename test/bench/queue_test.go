//go:build bench

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/test/env"
)

const longQueue = 100_000 // messages

// queueOf measures a relay with a long queue of deferred messages beside one
// with none: start, memory, lists, what it reads, and how long the reply to the
// final dot takes.
func queueOf(t *testing.T) {
	full, empty := env.SharedDir(t), env.SharedDir(t)
	fill(t, full, longQueue)
	snk := startSink(t, nil)
	defer snk.stop()
	fmt.Printf("| %d deferred messages of 4 kB, some of 200 kB | empty | full |\n|---|---|---|\n", longQueue)
	row := func(what string, of func(dir string) string) {
		fmt.Printf("| %s | %s | %s |\n", what, of(empty), of(full))
	}

	relays := map[string]*long{empty: startLong(t, empty, snk.port), full: startLong(t, full, snk.port)}
	row("start until it greets, s", func(d string) string { return fmt.Sprintf("%.2f", relays[d].took.Seconds()) })
	row("read calls at the start", func(d string) string { return strconv.FormatInt(relays[d].io["syscr"], 10) })
	row("octets read at the start, MB", func(d string) string { return fmt.Sprintf("%.1f", float64(relays[d].io["rchar"])/1e6) })
	row("CPU time of the start, s", func(d string) string { return fmt.Sprintf("%.2f", cpuTime(t, relays[d].groups).Seconds()) })
	row("memory at the start's peak, MiB", func(d string) string { return mib(highWater(t, relays[d].pid)) })
	row("memory, MiB", func(d string) string { return mib(memory(relays[d].groups)) })
	for _, args := range [][]string{{}, {"--json"}, {"--client", "10.20.0.0/24"}, {"--sender", "nobody@corp.example"}} {
		row("`queue list "+strings.Join(args, " ")+"`, s (CPU of it, of the relay; lines)", func(d string) string { return relays[d].list(t, args...) })
	}
	row("memory after lists, MiB", func(d string) string { return mib(memory(relays[d].groups)) })
	idleIO(t, relays, row)
	replies := map[string][]time.Duration{}
	for range *rounds {
		for _, d := range []string{empty, full} {
			replies[d] = append(replies[d], p99(t, relays[d]))
		}
	}
	for _, all := range replies {
		slices.Sort(all)
	}
	row("250 after the final dot at 50/s, p99 ms", func(d string) string { return fmt.Sprintf("%.2f", ms(replies[d][len(replies[d])/2])) })
	row("memory at the end, MiB", func(d string) string { return mib(memory(relays[d].groups)) })
	fmt.Printf("| **of the empty one's p99** | | **%.2f ×** |\n\n", float64(replies[full][*rounds/2])/float64(replies[empty][*rounds/2]))
}

func mib(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// idleIO shows what the relays do while nothing happens but that their metrics
// are read.
func idleIO(t *testing.T, relays map[string]*long, row func(string, func(string) string)) {
	const rest = 20 * time.Second
	type usage struct {
		calls int64
		cpu   time.Duration
	}
	now := func() map[string]usage {
		out := map[string]usage{}
		for d, r := range relays {
			out[d] = usage{procIO(t, r.pid)["syscr"], cpuTime(t, r.groups)}
		}
		return out
	}
	before := now()
	time.Sleep(rest)
	after := now()
	row(fmt.Sprintf("read calls in %s of rest", rest), func(d string) string { return strconv.FormatInt(after[d].calls-before[d].calls, 10) })
	row(fmt.Sprintf("CPU time in %s of rest, s", rest), func(d string) string { return fmt.Sprintf("%.2f", (after[d].cpu - before[d].cpu).Seconds()) })
}

// long is a relay on a state folder that stays.
type long struct {
	system
	pid   int
	admin string
	took  time.Duration // until it greeted
	io    map[string]int64
}

func startLong(t *testing.T, dir string, sink int) *long {
	var said string
	for range 5 {
		port, admin := env.FreePort(t), env.Loopback(env.FreePort(t))
		env.WriteFile(t, filepath.Join(dir, "manifests", "relay.yaml"), Manifests(port, sink, upstreamConnections, ""))
		begun := time.Now()
		p := env.Start(t, dir, *binary, "relay", "--manifests", filepath.Join(dir, "manifests"), "--state", filepath.Join(dir, "state"),
			"--bind", "127.0.0.1", "--admin", admin)
		env.Eventually(t, "the relay greets", p.Output, func() bool { return !p.Running() || env.Greets(env.Loopback(port)) })
		if p.Running() {
			return &long{
				system: system{port: port, groups: []int{p.Pid()}, says: func() string { return p.Tail(2000) }},
				pid:    p.Pid(), admin: admin, took: time.Since(begun), io: procIO(t, p.Pid()),
			}
		}
		said = p.Output()
	}
	t.Fatalf("the relay does not start:\n%s", said)
	return nil
}

// list runs `queue list` and tells how long it took and what came.
func (r *long) list(t *testing.T, args ...string) string {
	cpu, begun := cpuTime(t, r.groups), time.Now()
	c := exec.CommandContext(t.Context(), *binary, append([]string{"queue", "list", "--admin", r.admin}, args...)...) //nolint:gosec // the relay's binary
	out, err := c.Output()
	if err != nil {
		t.Fatalf("queue list %q: %v\n%s", args, err, r.says())
	}
	took := time.Since(begun)
	return fmt.Sprintf("%.2f (%.2f, %.2f; %d)", took.Seconds(), (c.ProcessState.SystemTime() + c.ProcessState.UserTime()).Seconds(),
		(cpuTime(t, r.groups) - cpu).Seconds(), strings.Count(string(out), "\n"))
}

// p99 is of the replies to the final dot, at 50 messages a second.
func p99(t *testing.T, r *long) time.Duration {
	const messages, rate, size = 1000, 50, 4 << 10
	out, err := startSource(t, r.port, nil, messages, 20, size, rate)
	if err != nil {
		t.Fatalf("the source: %v\n%s\n%s", err, out, r.says())
	}
	var took []time.Duration
	for line := range strings.Lines(out) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Duration(n)*time.Microsecond)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// highWater is the most memory that a process had (VmHWM).
func highWater(t *testing.T, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kB << 10
		}
	}
	return 0
}

// procIO is /proc/PID/io.
func procIO(t *testing.T, pid int) map[string]int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if out[k], err = strconv.ParseInt(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// fill makes the state of a relay of Manifests with n messages, each deferred
// once and not tried again for hours, by the queue itself.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	sp, err := spool.Open(filepath.Join(dir, "state", "default", "bench", "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close() //nolint:errcheck // what was acknowledged is durable
	q := queue.New(sp, queue.Options{Deliver: deferring{}, Settings: queue.Settings{
		Routes:    []plan.Route{{Upstream: "sink"}},
		Upstreams: map[string]*plan.Upstream{"sink": {Name: "sink", Connections: 256}},
		Delivery:  plan.Delivery{RetryFirst: 6 * time.Hour, RetryMax: 12 * time.Hour},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var running, senders sync.WaitGroup
	running.Go(func() { q.Run(ctx) }) //nolint:errcheck // always nil
	small, large := pdf(4<<10), pdf(200<<10)
	var next atomic.Int64
	for range 128 {
		senders.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				body := small
				if i%100 == 0 {
					body = large
				}
				if err := waitingScan(sp, q, i, body[:len(body)-len(".\r\n")]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
	env.Eventually(t, "all are deferred", func() string { return fmt.Sprintf("%+v", q.Snapshot()) }, func() bool {
		s := q.Snapshot()
		return t.Failed() || s.Deferred == n && s.Upstreams[0].Active == 0
	})
	cancel()
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// deferring is an upstream that asks to come again.
type deferring struct{}

func (deferring) Deliver(_ context.Context, a queue.Attempt) []upstream.Outcome {
	return upstream.All(len(a.Recipients), upstream.Outcome{
		Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 450, Enhanced: "4.7.1",
		Text: "greylisted, try again later (ref " + a.Message.ID + ")", Remote: "mx.corp.example [192.0.2.1]:25",
	})
}

// waitingScan submits message i of 300 devices to 5,000 people in 500 domains.
func waitingScan(sp *spool.Spool, q *queue.Queue, i int, body []byte) error {
	to, err := envelope.ParseAddress(fmt.Sprintf("user%d@corp%d.example", i%5000, i%500))
	if err != nil {
		return err
	}
	from, err := envelope.ParseAddress("copier@example.test")
	if err != nil {
		return err
	}
	id := sp.NewID()
	w, err := sp.Create(id)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		w.Abort()
		return err
	}
	_, err = q.Submit(w, &queue.Message{
		ID: id, Origin: &queue.Origin{
			Relay: "default/bench", Listener: "smtp", Policy: "lan", Rule: "lan", Sender: from, SenderCovered: true,
			Client: queue.Client{Addr: netip.AddrFrom4([4]byte{10, 20, byte(i % 300 / 256), byte(i % 300)}), HELO: fmt.Sprintf("mfp%d.corp.example", i%300)},
		},
		Recipients: []queue.Recipient{{Address: to}},
		Size:       int64(len(body)), HeaderSize: 200, MaxLine: 76, MessageID: fmt.Sprintf("<20000101.%d.scan@mfp%d.corp.example>", i, i%300),
	})
	return err
}
