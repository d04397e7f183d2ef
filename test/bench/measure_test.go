//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// result of one load through one system.
type result struct {
	took time.Duration // from the first connection to the last delivery
	cpu  time.Duration // of the system, user and system time
	pss  int64         // octets of memory at the peak, what is shared counted once
}

// measure sends a load through s and waits until sink has all of it.
func measure(t *testing.T, l load, s system, sink *sink, k *keys) result {
	t.Helper()
	send := func(messages, sessions, size int) {
		before := sink.count()
		var out string
		var err error
		if k == nil {
			out, err = postfix.Source{Port: s.port, Messages: messages, Sessions: sessions, Size: size, From: "copier@example.test", To: "inbox@example.test"}.Send(t)
		} else {
			out, err = startSource(t, s.port, k, messages, sessions, size, 0)
		}
		if err != nil {
			t.Fatalf("the source: %v\n%s\n%s", err, out, s.says())
		}
		env.Eventually(t, "all is delivered", s.says, func() bool { return sink.count() >= before+messages })
	}
	send(100, 10, 4<<10) // so that every daemon runs and every connection is open
	peak := watchMemory(s.groups)
	cpu, begun := cpuTime(t, s.groups), time.Now()
	send(l.messages, l.sessions, l.size)
	return result{took: time.Since(begun), cpu: cpuTime(t, s.groups) - cpu, pss: peak()}
}

// clockTick is USER_HZ, which is 100 on every Linux that Go knows.
const clockTick = 10 * time.Millisecond

// cpuTime is what the processes of groups, and those of their children that
// have ended, have used until now (proc_pid_stat(5)).
func cpuTime(t *testing.T, groups []int) (sum time.Duration) {
	t.Helper()
	for _, pid := range members(groups) {
		f := stat(pid)
		for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
			if i < len(f) {
				ticks, err := strconv.ParseInt(f[i], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += time.Duration(ticks) * clockTick
			}
		}
	}
	return sum
}

// members are the processes of the groups.
func members(groups []int) (pids []string) {
	if len(groups) == 0 {
		return nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, dir := range all {
		if f := stat(filepath.Base(dir)); len(f) > 2 && slices.ContainsFunc(groups, func(g int) bool { return f[2] == strconv.Itoa(g) }) {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// stat is /proc/PID/stat from the process's state on; empty if it has ended.
func stat(pid string) []string {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold anything
}

// memory is what groups have now, what is shared counted once.
func memory(groups []int) (sum int64) {
	for _, pid := range members(groups) {
		sum += pss(pid)
	}
	return sum
}

// watchMemory looks at the memory of groups until peak is called.
func watchMemory(groups []int) (peak func() int64) {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, memory(groups))
			select {
			case <-tick.C:
			case <-stop:
				done <- most
				return
			}
		}
	}()
	return func() int64 { close(stop); return <-done }
}

// pss is a process's proportional set size in octets; 0 if it has ended.
func pss(pid string) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			kB, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64) // the kernel's own form
			return kB << 10
		}
	}
	return 0
}

// report prints the medians of a load as rows of a table.
func report(l load, results map[string][]result) {
	fmt.Printf("| %s, %d in %d sessions | messages/s | MB/s | CPU ms/message | memory MiB |\n|---|---|---|---|---|\n", l.name, l.messages, l.sessions)
	row := func(name string) (rate, cpu float64) {
		if len(results[name]) == 0 { // -system
			return 0, 0
		}
		r := median(results[name])
		rate = float64(l.messages) / r.took.Seconds()
		cpu = float64(r.cpu.Microseconds()) / 1000 / float64(l.messages)
		fmt.Printf("| %s | %.0f | %.1f | %.2f | %.1f |\n", name, rate, rate*float64(l.size)/1e6, cpu, float64(r.pss)/(1<<20))
		return rate, cpu
	}
	row(starters[0].name)
	theirs, theirCPU := row(starters[1].name)
	ours, ourCPU := row(starters[2].name)
	if theirs == 0 || ours == 0 {
		fmt.Println()
		return
	}
	fmt.Printf("| **of Postfix's** | **%.2f ×** | | **%.2f ×** | |\n\n", ours/theirs, ourCPU/theirCPU)
}

// median takes each figure's own.
func median(rs []result) (m result) {
	mid := func(of func(result) int64) int64 {
		v := make([]int64, len(rs))
		for i, r := range rs {
			v[i] = of(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	m.took = time.Duration(mid(func(r result) int64 { return int64(r.took) }))
	m.cpu = time.Duration(mid(func(r result) int64 { return int64(r.cpu) }))
	m.pss = mid(func(r result) int64 { return r.pss })
	return m
}
