//go:build bench

package benchoperator

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// operator is one process.
type operator struct {
	testing.TB
	process *env.Process
	metrics string
	pprof   string
	http    *http.Client
	pss     atomic.Int64 // the most that was seen
}

// start starts the operator as config/manager does, but for the addresses.
func (b *bench) start() *operator {
	o := &operator{TB: b, metrics: env.Loopback(env.FreePort(b)), http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its certificate is made at each start
	}}}
	args := []string{
		"operator", "--image", "registry.example/printer-relay:1", "--namespace", operatorNamespace, "--service-account", operatorAccount,
		"--metrics", o.metrics, "--metrics-authentication", "None", "--probes", "", "--check-dns=false",
	}
	if *profiles != "" {
		o.pprof = env.Loopback(env.FreePort(b))
		args = append(args, "--pprof", o.pprof)
	}
	o.process = env.Start(b, b.TempDir(), *binary, args...)
	go o.watchMemory()
	return o
}

// watchMemory looks at the proportional set size until the process ends.
func (o *operator) watchMemory() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if !o.process.Running() {
			return
		}
		o.pss.Store(max(o.pss.Load(), o.figure("smaps_rollup", "Pss:")))
	}
}

// figure is a line in kB of a file in /proc, in octets.
func (o *operator) figure(file, name string) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(o.process.Pid()), file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			kB, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64) // the kernel's own form
			return kB << 10
		}
	}
	return 0
}

// cpu is what the process used until now (proc_pid_stat(5)).
func (o *operator) cpu() time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(o.process.Pid()), "stat"))
	if err != nil {
		o.Fatal(err)
	}
	var ticks int64
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	for _, f := range fields[11:13] { // utime stime, in USER_HZ, which is 100
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			o.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (o *operator) report() {
	const mib = 1 << 20
	row("CPU time", "%.1f s", o.cpu().Seconds())
	row("memory at the peak: PSS, VmHWM", "%.0f MiB, %.0f MiB", float64(o.pss.Load())/mib, float64(o.figure("status", "VmHWM:"))/mib)
	row("memory now: anonymous, RSS, live heap", "%.0f MiB, %.0f MiB, %.0f MiB", float64(o.figure("status", "RssAnon:"))/mib, float64(o.figure("status", "VmRSS:"))/mib,
		o.sum("go_memstats_heap_alloc_bytes", "")/mib)
	o.save("heap", "/debug/pprof/heap?gc=1")
}

// Names of the controllers in the metrics.
const (
	relayController    = "printerrelay"
	upstreamController = "mailupstream"
	policyController   = "senderpolicy"
)

// looks are reconciles by controller.
type looks map[string]int

func (o *operator) looks() looks {
	out := looks{}
	for _, c := range []string{relayController, upstreamController, policyController} {
		out[c] = int(o.sum("controller_runtime_reconcile_total", `controller="`+c+`"`))
	}
	return out
}

func (l looks) since(before looks) looks {
	out := looks{}
	for c, n := range l {
		out[c] = n - before[c]
	}
	return out
}

func (l looks) total() int { return l[relayController] + l[upstreamController] + l[policyController] }

func (l looks) String() string {
	return fmt.Sprintf("%d at relays, %d at upstreams, %d at policies", l[relayController], l[upstreamController], l[policyController])
}

func (o *operator) looked() int { return o.looks().total() }

// busy tells whether anything is or waits to be looked at.
func (o *operator) busy() bool {
	return o.sum("workqueue_depth", "") > 0 || o.sum("controller_runtime_active_workers", "") > 0
}

// sum adds up a metric's series whose labels contain some text. An operator that
// does not answer yet has counted nothing.
func (o *operator) sum(metric, labels string) (out float64) {
	b, err := o.get("https://" + o.metrics + "/metrics")
	if err != nil {
		return 0
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		if metricName, _, _ := strings.Cut(name, "{"); metricName != metric || !strings.Contains(name, labels) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			o.Fatalf("%q: %v", s.Text(), err)
		}
		out += v
	}
	return out
}

func (o *operator) get(url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(o.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// profile writes a CPU profile of the time to come, if profiles are wanted.
func (o *operator) profile(name string, d time.Duration) {
	if o.pprof != "" {
		go func() {
			env.Eventually(o, "profiles are served", o.process.Output, func() bool { return env.Listening(o.pprof) })
			o.save(name+"-cpu", fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(d.Seconds())))
		}()
	}
}

func (o *operator) save(name, path string) {
	if o.pprof == "" {
		return
	}
	b, err := o.get("http://" + o.pprof + path)
	if err == nil {
		err = os.MkdirAll(*profiles, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(*profiles, fmt.Sprintf("%s-%d.pprof", name, o.process.Pid())), b, 0o644)
	}
	if err != nil {
		o.Error(err)
	}
}
