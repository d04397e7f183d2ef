package reload

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

// process runs the relay as a program of its own on the folders of r.
func process(t *testing.T, r *rig.Relay) *env.Process {
	t.Helper()
	t.Setenv(asRelay, "yes")
	p := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", r.Admin, "--grace", "20s")
	r.Eventually("the process is ready", func() bool {
		if !p.Running() {
			t.Fatalf("it ended: %s", p.Output())
		}
		code, _ := r.Get("/readyz")
		return code == 200
	})
	return p
}

// TestSIGTERMDrains: transactions end, the queue stays, the status is 0, and
// the next start goes on where it was.
func TestSIGTERMDrains(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	r.Stop() // it is run as a process from here on
	p := process(t, r)
	rig.QueueID(t, send(r.Dial()))
	deferred(r, 1)
	idle, busy := r.Dial(), r.Dial()
	busy.Begin("mfp@copier.test", "a@corp.example")
	busy.Write("From: mfp@copier.test\r\n")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.Eventually("it says that it drains", func() bool {
		code, body := r.Get("/readyz")
		return code == 503 && strings.HasPrefix(body, "not ready: draining\n")
	})
	if code, _ := r.Get("/healthz"); code != 200 {
		t.Errorf("/healthz while it drains: %d", code)
	}
	if got := idle.Reply(); !strings.HasPrefix(got, "421 ") {
		t.Errorf("an idle connection gets %q, want 421", got)
	}
	r.Eventually("no new connections", func() bool { return !dials(r.Port) })
	busy.Write("Subject: half\r\n\r\npage\r\n.\r\n")
	rig.QueueID(t, busy.Reply())
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, p.Output())
	}
	if n := len(u.Messages()); n != 0 {
		t.Fatalf("%d messages at the upstream", n)
	}

	u.Script(rig.Script{})
	p = process(t, r)
	arrived(r, u, 2)
	if got := fmt.Sprint(u.Messages()); !strings.Contains(got, "Subject: half") || !strings.Contains(got, "Subject: Scan") {
		t.Errorf("got %s", got)
	}
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("SIGINT: it ended with %v\n%s", err, p.Output())
	}
}

// A Pod that is deleted still drains when the next one starts on its volume: that
// waits, and takes scans as soon as the spool is free.
func TestTheNextProcessWaitsForTheSpool(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	r.Stop()
	first := process(t, r)
	busy := r.Dial()
	busy.Begin("mfp@copier.test", "a@corp.example")
	busy.Write("From: mfp@copier.test\r\n")
	if err := first.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.Eventually("no new connections", func() bool { return !dials(r.Port) })
	next := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", "127.0.0.1:0", "--grace", "1m")
	r.Eventually("the next waits", func() bool {
		if !next.Running() {
			t.Fatalf("it ended: %s", next.Output())
		}
		return strings.Contains(next.Output(), "waiting for another process that uses the spool")
	})
	busy.Write("Subject: half\r\n\r\npage\r\n.\r\n")
	rig.QueueID(t, busy.Reply())
	if err := first.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, first.Output())
	}
	r.Eventually("the next greets", func() bool { return dials(r.Port) })
	arrived(r, u, 1)
	if err := next.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, next.Output())
	}
}

// Who waits for a spool and is told to end does so.
func TestAWaitForTheSpoolEnds(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	t.Setenv(asRelay, "yes")
	next := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", "127.0.0.1:0", "--grace", "10m")
	r.Eventually("it waits", func() bool { return strings.Contains(next.Output(), "waiting for another process that uses the spool") })
	if err := next.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err == nil || !strings.Contains(next.Output(), "another process uses this folder") {
		t.Errorf("it ended with %v\n%s", err, next.Output())
	}
	if code, _ := r.Get("/readyz"); code != 200 {
		t.Errorf("the first is not ready: %d", code)
	}
}

// Who waited for the spool begins with what the manifests say then: what was taken away
// or stopped meanwhile does not run for a moment.
func TestWhoWaitedBeginsWithTheManifestsOfNow(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	for name, tc := range map[string]struct {
		change  func(yaml string) string
		begins  string // with this intake
		problem string // at /readyz, when it has looked again
	}{
		"another plan": {func(s string) string { return strings.Replace(s, "spec:\n", "spec:\n  intake: Hold\n", 1) }, "Hold", "ready\n"},
		"a policy is gone": {func(s string) string {
			return strings.Replace(s, "{name: office}\nspec:\n  rules:", "{name: other}\nspec:\n  rules:", 1)
		}, "Refuse", "SenderPolicy default/office is missing"},
		"no relay": {func(s string) string { return s[strings.Index(s, "---"):] }, "Refuse", "PrinterRelay default/office is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &rig.Log{}
			changed := make(chan error, 8)
			r := rig.StartWith(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml(), func(o *relay.Options) {
				o.Grace, o.Log = rig.Wait, slog.New(slog.NewTextHandler(log, nil))
				sp, err := spool.Open(filepath.Join(o.State, "default", "office", "spool"), spool.Options{})
				if err != nil {
					t.Fatal(err)
				}
				go func() { changed <- changeWhileItWaits(o.Manifests, log, sp, tc.change) }()
			})
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			r.Eventually("the manifests were looked at again", func() bool {
				_, body := r.Get("/readyz")
				return strings.Contains(body, tc.problem) && strings.Contains(log.String(), "manifests")
			})
			if _, state := r.Get("/state"); !strings.Contains(state, `"intake": "`+tc.begins+`"`) {
				t.Errorf("it runs with another intake than %s: %s", tc.begins, state)
			}
			if text := log.String(); strings.Contains(text, "plan applied") || !strings.Contains(text, "begins with what the manifests say now") || !strings.Contains(text, " intake="+tc.begins+"\n") {
				t.Errorf("it did not begin with what it runs:\n%s", text)
			}
		})
	}
}

// changeWhileItWaits changes the manifests while a relay waits for sp, and lets it go on.
func changeWhileItWaits(manifests string, log *rig.Log, sp *spool.Spool, change func(string) string) error {
	defer sp.Close() //nolint:errcheck // it is empty
	for deadline := time.Now().Add(rig.Wait); !strings.Contains(log.String(), "waiting for another process"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("it does not wait")
		}
	}
	path := filepath.Join(manifests, "relay.yaml")
	text, err := os.ReadFile(path) //nolint:gosec // a folder of the test's
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(change(string(text))), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// A client that never ends its transaction does not keep the relay.
func TestTheGraceEnds(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	r.Stop()
	t.Setenv(asRelay, "yes")
	p := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", r.Admin, "--grace", "100ms")
	r.Eventually("the process is ready", func() bool { code, _ := r.Get("/readyz"); return code == 200 })
	c := r.Dial()
	c.Begin("mfp@copier.test", "a@corp.example")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, p.Output())
	}
	if got := c.Reply(); strings.HasPrefix(got, "250") {
		t.Errorf("the half message got %q", got)
	}
}

// A bad start says what is wrong and ends with 1.
func TestABadStart(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	t.Setenv(asRelay, "yes")
	for name, tc := range map[string]struct{ manifests, state, admin, want string }{
		"admin port is taken": {r.Manifests, t.TempDir(), r.Admin, "choose another with --admin"},
		"port is taken":       {r.Manifests, t.TempDir(), "127.0.0.1:0", "choose another port in spec.listeners"},
		"state is in use":     {r.Manifests, r.State, "127.0.0.1:0", "another process uses this folder"},
		"no manifests":        {t.TempDir(), t.TempDir(), "127.0.0.1:0", "holds no PrinterRelay"},
		"state is a file":     {r.Manifests, "/dev/null", "127.0.0.1:0", "name another with --state"},
	} {
		t.Run(name, func(t *testing.T) {
			p := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", tc.manifests, "--state", tc.state, "--bind", "127.0.0.1", "--admin", tc.admin, "--grace", "100ms")
			if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(p.Output(), tc.want) {
				t.Errorf("%v\n%s", err, p.Output())
			}
		})
	}
}
