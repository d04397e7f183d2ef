// Package rig runs a whole relay inside a test: manifests in a temporary
// folder, real sockets on loopback, a scripted upstream. Only tests import it.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay"
)

// Wait bounds every wait of the rig: far above what any step takes, so that a
// slow machine does not fail a test.
const Wait = 60 * time.Second

// Relay is a running relay.
type Relay struct {
	t         *testing.T
	Manifests string // folder; write to it to reload
	State     string
	Port      int    // of the listener that the manifests call {{PORT}}
	Admin     string // host:port
	Log       *Log

	change func(*relay.Options)
	cancel context.CancelFunc
	done   chan error
}

// Start runs relay.Run on manifests, in which {{PORT}} is replaced by a free
// port, and stops it with the test. The listener must be bound to 127.0.0.1.
func Start(t *testing.T, manifests string) *Relay {
	t.Helper()
	return StartWith(t, manifests, func(*relay.Options) {})
}

// StartWith is Start with other options: change gets those that Start has.
func StartWith(t *testing.T, manifests string, change func(*relay.Options)) *Relay {
	t.Helper()
	r := &Relay{t: t, Manifests: t.TempDir(), State: t.TempDir(), Log: &Log{}, change: change}
	r.start(manifests)
	t.Cleanup(r.Stop)
	return r
}

func (r *Relay) start(manifests string) {
	r.t.Helper()
	for try := 0; ; try++ {
		r.Port, r.Admin = FreePort(r.t), fmt.Sprintf("127.0.0.1:%d", FreePort(r.t))
		r.Write("relay.yaml", manifests)
		err := r.run()
		if err == nil {
			return
		}
		if try == 5 || !errors.Is(err, syscall.EADDRINUSE) { // somebody took the port since
			r.t.Fatalf("relay did not start: %v\n%s", err, r.Log)
		}
	}
}

// Write puts one manifest file in place, whole at once, {{PORT}} replaced.
func (r *Relay) Write(name, yaml string) {
	r.t.Helper()
	yaml = strings.ReplaceAll(yaml, "{{PORT}}", fmt.Sprint(r.Port))
	tmp := filepath.Join(r.State, "."+name)
	if err := os.WriteFile(tmp, []byte(yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(r.Manifests, name)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Relay) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() {
		o := relay.Options{
			Manifests: r.Manifests, State: r.State, Bind: "127.0.0.1", Admin: r.Admin, Grace: 5 * time.Second, Version: "test",
			Log: slog.New(slog.NewTextHandler(r.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		r.change(&o)
		r.done <- relay.Run(ctx, o)
	}()
	for deadline := time.Now().Add(Wait); ; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-r.done:
			r.done <- err
			cancel()
			return err
		default:
		}
		if code, _ := r.Get("/readyz"); code == http.StatusOK {
			return nil
		}
		if time.Now().After(deadline) {
			cancel()
			return fmt.Errorf("not ready after %s", Wait)
		}
	}
}

// Restart stops the relay and runs it again on the same folders and ports.
func (r *Relay) Restart() {
	r.t.Helper()
	r.Stop()
	if err := r.run(); err != nil {
		r.t.Fatalf("relay did not start again: %v\n%s", err, r.Log)
	}
}

// Stop ends the relay and waits for it. A second call does nothing.
func (r *Relay) Stop() {
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- err
	case <-time.After(Wait):
		r.t.Errorf("relay did not stop\n%s", r.Log)
	}
}

// Get asks the admin port; code 0: nobody answers.
func (r *Relay) Get(path string) (code int, body string) {
	return r.ask(http.MethodGet, path)
}

// Post asks the admin port to do something.
func (r *Relay) Post(path string) (code int, body string) {
	return r.ask(http.MethodPost, path)
}

func (r *Relay) ask(method, path string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.Admin+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// Eventually fails the test unless ok becomes true.
func (r *Relay) Eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(Wait); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not so after %s: %s\n%s", Wait, what, r.Log)
		}
	}
}

// FreePort gives a loopback port that was free just now.
func FreePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it is only for the number
	return l.Addr().(*net.TCPAddr).Port
}

// Log collects what the relay logs.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
