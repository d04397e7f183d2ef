package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// What an earlier process left is used; what is damaged, has expired, or is
// another's is forgotten.
func TestStoreOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"fresh.test": 0, "old.test": 25 * time.Hour, "damaged.test": 0, "moved.test": 0} {
		if err := s.put(&entry{Domain: name, ID: "1", Policy: day, Fetched: now.Add(-age)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path("damaged.test"), []byte(`{"domain":"damaged`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.path("moved.test"), s.path("victim.test")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new-123"), []byte("half"), 0o600); err != nil { // a crash
		t.Fatal(err)
	}
	if s, err = open(dir, now); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old.test", "damaged.test", "moved.test", "victim.test"} {
		if e := s.get(name, now); e != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if e := s.get("fresh.test", now); e == nil || e.ID != "1" || !e.Policy.Allows("mx.test") {
		t.Errorf("%+v", e)
	}
	if e := s.get("fresh.test", now.Add(25*time.Hour)); e != nil {
		t.Errorf("it has expired: %+v", e)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%d files (%v), want 1", len(files), err)
	}
}

// Many domains do not fill the volume: what would expire first goes.
func TestStoreIsBounded(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxEntries + 10 {
		if err := s.put(&entry{Domain: fmt.Sprintf("d%d.test", i), Policy: day, Fetched: now.Add(time.Duration(i-maxEntries) * time.Second)}, now); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != maxEntries || len(s.entries) != maxEntries {
		t.Errorf("%d files, %d entries (%v)", len(files), len(s.entries), err)
	}
	if s.get("d9.test", now) != nil || s.get("d10.test", now) == nil {
		t.Error("another went than what would expire first")
	}
}

// host is a policy host whose answers a test sets.
type host struct {
	*httptest.Server
	body    atomic.Value // string
	asked   atomic.Int32
	results chan string
}

func startHost(t *testing.T, txt *atomic.Value) (*host, *Cache) {
	t.Helper()
	h := &host{results: make(chan string, 100)}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.asked.Add(1)
		body := h.body.Load().(string)
		if body == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(body)) //nolint:errcheck // the client may be gone
	}))
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	h.StartTLS()
	t.Cleanup(h.Close)
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	c, err := New(Config{
		Dir: t.TempDir(), Roots: roots, Log: slog.New(slog.DiscardHandler), Failed: func(result string) { h.results <- result },
		TXT: func(context.Context, string) ([]string, error) {
			if s := txt.Load().(string); s != "" {
				return []string{s}, nil
			}
			return nil, errors.New("SERVFAIL")
		},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, h.Listener.Addr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// httptest's certificate is for example.com.
	c.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	t.Cleanup(c.Close)
	return h, c
}

const body = "version: STSv1\nmode: enforce\nmx: mx.test\nmax_age: 604800\n"

// A policy that is getting old is fetched again, and no mail waits for that; one
// that cannot be had is not asked for with each message.
func TestRefresh(t *testing.T) {
	var txt atomic.Value
	txt.Store("v=STSv1; id=1")
	h, c := startHost(t, &txt)
	h.body.Store(body)
	get := func() string {
		p, ok := c.Policy(t.Context(), "corp.test")
		return fmt.Sprint(ok, p.MX)
	}
	for range 3 {
		if got := get(); got != "true [mx.test]" {
			t.Fatal(got)
		}
	}
	if n := h.asked.Load(); n != 1 {
		t.Fatalf("asked %d times, want once", n)
	}
	e := *c.store.get("corp.test", time.Now())
	e.Fetched = time.Now().Add(-25 * time.Hour)
	if err := c.store.put(&e, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.body.Store("version: STSv1\nmode: enforce\nmx: mx2.test\nmax_age: 604800\n")
	if got := get(); got != "true [mx.test]" { // the old one still counts
		t.Error(got)
	}
	env.Eventually(t, "the new one counts", get, func() bool { return get() == "true [mx2.test]" })
	if n := h.asked.Load(); n != 2 {
		t.Errorf("asked %d times, want twice", n)
	}
	txt.Store("") // DNS fails
	if got := get(); got != "true [mx2.test]" {
		t.Error(got)
	}
	txt.Store("v=STSv1; id=2")
	h.body.Store("")
	for range 3 {
		if got := get(); got != "true [mx2.test]" {
			t.Error(got)
		}
	}
	if n := h.asked.Load(); n != 3 {
		t.Errorf("asked %d times, want three times", n)
	}
	if got := <-h.results; got != ResultFetch {
		t.Error(got)
	}
}
