package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/test/env"
)

// Build builds the program into a folder and gives its path.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "printer-relay")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "github.com/printerrelay/printer-relay").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Relay is the real program; between Start and Kill it runs.
type Relay struct {
	T         testing.TB
	Bin       string
	Dir       string                // of the manifests
	State     string                // its state folder
	Name      string                // of the PrinterRelay in them
	Manifests func(port int) string // for a listener on port
	Under     []string              // a program, with its arguments, that runs it; nil: none
	Log       string                // level; empty: warn

	Process     *env.Process
	port, admin int
}

// Address is the listener's.
func (r *Relay) Address() string { return env.Loopback(r.port) }

// Spool is the folder of its spool.
func (r *Relay) Spool() string { return filepath.Join(r.State, "default", r.Name, "spool") }

// Start runs it and waits until it greets.
func (r *Relay) Start() {
	r.T.Helper()
	for range 20 {
		if r.port == 0 {
			r.port, r.admin = env.FreePort(r.T), env.FreePort(r.T)
		}
		r.Write()
		args := append(append([]string{}, r.Under...), r.Bin, "relay", "--manifests", filepath.Join(r.Dir, "manifests"), "--state", r.State,
			"--bind", "127.0.0.1", "--admin", env.Loopback(r.admin), "--log-level", r.level())
		r.Process = env.Start(r.T, r.Dir, args[0], args[1:]...)
		env.Eventually(r.T, "the relay greets", r.Process.Output, func() bool { return !r.Process.Running() || env.Greets(r.Address()) })
		if r.Process.Running() {
			return
		}
		if !strings.Contains(r.Process.Output(), "address already in use") {
			break
		}
		r.port = 0
	}
	r.T.Fatalf("the relay does not start:\n%s", r.Process.Tail(3000))
}

func (r *Relay) level() string {
	if r.Log == "" {
		return "warn"
	}
	return r.Log
}

// Write writes the manifests, which a relay that runs applies.
func (r *Relay) Write() {
	r.T.Helper()
	env.WriteFile(r.T, filepath.Join(r.Dir, "manifests", "relay.yaml"), r.Manifests(r.port))
}

// Kill ends it at once.
func (r *Relay) Kill() { r.Process.Kill() }

// Get asks the admin port; the status is 0 where it does not answer.
func (r *Relay) Get(path string) (status int, body string) {
	c := http.Client{Timeout: 10 * time.Second}
	res, err := c.Get("http://" + env.Loopback(r.admin) + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// Queue is what the admin port tells of the queue.
func (r *Relay) Queue() (admin.RelayState, error) {
	_, body := r.Get("/state")
	var st admin.State
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		return admin.RelayState{}, fmt.Errorf("/state: %w: %s", err, body)
	}
	if len(st.Relays) != 1 {
		return admin.RelayState{}, fmt.Errorf("/state: %s", body)
	}
	return st.Relays[0], nil
}

// stale is how old the figures of the admin port can be, and more.
const stale = 1200 * time.Millisecond

// Drain waits until nothing waits for the upstream, and for certain.
func (r *Relay) Drain() {
	r.T.Helper()
	var since time.Time
	env.Eventually(r.T, "the queue is empty", func() string { _, b := r.Get("/state"); return b + r.Process.Tail(2000) }, func() bool {
		st, err := r.Queue()
		if err != nil || st.Queue.Pending+st.Queue.Deferred > 0 {
			since = time.Time{}
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > stale
	})
}

// Metric gives the value of a metric without labels but relay.
func (r *Relay) Metric(name string) string {
	_, body := r.Get("/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+"{"); ok {
			_, value, _ := strings.Cut(rest, "} ")
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Quarantine gives the names of what was set aside.
func (r *Relay) Quarantine() []string {
	r.T.Helper()
	entries, err := os.ReadDir(filepath.Join(r.Spool(), "quarantine"))
	if err != nil {
		r.T.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
