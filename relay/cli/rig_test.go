package cli

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// wait bounds every wait, far above what any takes.
const wait = 60 * time.Second

// result is what a command line printed and its exit status.
type result struct {
	code        int
	out, stderr string
}

// command runs a command line to its end.
func command(t *testing.T, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	code := run(ctx, append([]string{}, args...), &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what came (go test ./relay/cli -update writes it):\n%s\nwant\n%s", path, got, want)
	}
}

// folder makes a folder of files, name and content by turns.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// running is a relay with an admin port.
type running struct {
	admin string
	stop  func()
}

// listenLog takes a relay's log and says where its admin port is.
type listenLog struct {
	mu   sync.Mutex
	all  bytes.Buffer
	addr chan string
}

var adminPort = regexp.MustCompile(`msg="admin port open" address=(\S+)`)

func (l *listenLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := adminPort.FindSubmatch(p); m != nil {
		l.addr <- string(m[1])
	}
	return l.all.Write(p)
}

func (l *listenLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// start runs a relay on any free port until stop, or the end of the test. Its
// manifests give the listener the port 2525.
func start(t *testing.T, manifests, state string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := &listenLog{addr: make(chan string, 1)}
	done := make(chan error, 1)
	go func() {
		done <- relay.Run(ctx, relay.Options{
			Manifests: manifests, State: state, Bind: "127.0.0.1", Admin: "127.0.0.1:0", PortOffset: -2525, Grace: time.Second, Version: "test",
			Log: slog.New(slog.NewTextHandler(log, nil)),
		})
	}()
	r := &running{stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v\n%s", err, log)
		}
	})}
	t.Cleanup(r.stop)
	select {
	case r.admin = <-log.addr:
	case <-time.After(wait):
		t.Fatalf("no admin port\n%s", log)
	}
	eventually(t, "a relay in /state", func() bool { return command(t, "queue", "list", "--admin", r.admin).code == 0 })
	return r
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s", wait, what)
		}
	}
}

var (
	timestamp = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]+"`)
	by        = regexp.MustCompile(`"by": "[^"]+"`)
	age       = regexp.MustCompile(`\b(AGE|(\d+h)?(\d+m)?\d+s)( +|\b)`) // with the column's head, which is as wide as the longest
)

// timeless takes out what is another with every run.
func timeless(s string) string {
	s = by.ReplaceAllString(s, `"by": "WHO"`) // a user here, an address there
	return age.ReplaceAllString(timestamp.ReplaceAllString(s, `"TIME"`), "AGE ")
}

func contains(t *testing.T, what, s string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(s, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, s)
		}
	}
}
