package maildir

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*Transport, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a", "mail")
	tr, err := New(dir, "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	return tr, dir
}

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{ // no faults: there is no server; those of a disk have tests of their own
		UTF8: true, Start: func(t *testing.T, _ conformance.Fault) *conformance.Upstream {
			tr, dir := start(t)
			return &conformance.Upstream{Transport: tr, Received: func(t *testing.T) []conformance.Received { return received(t, dir) }}
		},
	})
}

func BenchmarkDeliver(b *testing.B) {
	tr, err := New(b.TempDir(), "relay.test")
	if err != nil {
		b.Fatal(err)
	}
	conformance.Benchmark(b, tr)
}

// received reads the folder in the order of queue IDs.
func received(t *testing.T, dir string) []conformance.Received {
	t.Helper()
	var out []conformance.Received
	for _, name := range files(t, dir) {
		f, err := os.Open(filepath.Join(dir, "new", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := bufio.NewReader(f)
		var m conformance.Received
		for {
			peek, err := r.Peek(13)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			sender, to := bytes.HasPrefix(peek, []byte("Return-Path:")), bytes.HasPrefix(peek, []byte("X-Envelope-To"))
			if !sender && !to {
				break
			}
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_, value, _ := strings.Cut(line, ": <")
			value = strings.TrimSuffix(value, ">\r\n")
			if to {
				m.Recipients = append(m.Recipients, value)
			} else {
				m.Sender = value
			}
		}
		if err := m.Read(r); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// files are the names in new, by queue ID. tmp must be empty.
func files(t *testing.T, dir string) []string {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("tmp holds %v (%v)", left, err)
	}
	list, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestWhatIsWritten(t *testing.T) {
	tr, dir := start(t)
	for _, name := range []string{"", "new", "cur", "tmp"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v, want 0700", name, info.Mode(), err)
		}
	}
	o := tr.Deliver(t.Context(), conformance.Mail(t, "Subject: x\r\n\r\nhello\r\n", "a@corp.test", "b@corp.test"))[1]
	names := files(t, dir)
	if o.Kind != upstream.Accepted || len(names) != 1 || o.RemoteID != names[0] {
		t.Fatalf("%+v, files %v", o, names)
	}
	path := filepath.Join(dir, "new", names[0])
	b, err := os.ReadFile(path)
	want := "Return-Path: <mfp@copier.test>\r\nX-Envelope-To: <a@corp.test>\r\nX-Envelope-To: <b@corp.test>\r\nSubject: x\r\n\r\nhello\r\n"
	if err != nil || string(b) != want {
		t.Errorf("%q (%v)", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want 0600", info.Mode(), err)
	}
}

// A crash between the delivery and the note of it makes a second attempt.
func TestSecondAttemptTakesThePlaceOfTheFirst(t *testing.T) {
	tr, dir := start(t)
	for _, to := range [][]string{{"a@corp.test", "b@corp.test"}, {"a@corp.test", "b@corp.test"}, {"b@corp.test"}} {
		if o := tr.Deliver(t.Context(), conformance.Mail(t, "x\r\n", to...))[0]; o.Kind != upstream.Accepted {
			t.Fatal(o)
		}
	}
	if names := files(t, dir); len(names) != 2 {
		t.Errorf("%v, want one for a and b, one for b alone", names)
	}
}

func TestHostnameCannotLeaveTheFolder(t *testing.T) {
	dir := t.TempDir()
	tr, err := New(dir, "../../x:y")
	if err != nil {
		t.Fatal(err)
	}
	if o := tr.Deliver(t.Context(), conformance.Mail(t, "x\r\n", "a@corp.test"))[0]; o.Kind != upstream.Accepted || strings.ContainsAny(o.RemoteID, "/:") {
		t.Errorf("%+v", o)
	}
	if len(files(t, dir)) != 1 {
		t.Error("the file is somewhere else")
	}
}

// What cannot be written is deferred for the upstream's sake, and leaves nothing.
func TestFolderThatCannotBeWritten(t *testing.T) {
	tr, dir := start(t)
	for _, name := range []string{"new", "tmp"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		o := tr.Deliver(t.Context(), conformance.Mail(t, "x\r\n", "a@corp.test"))[0]
		if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || !errors.Is(o.Cause, fs.ErrNotExist) {
			t.Errorf("without %s: %+v", name, o)
		}
	}
	if _, err := New(filepath.Join("/dev/null", "mail"), "relay.test"); err == nil || !strings.Contains(err.Error(), "maildir.path") {
		t.Errorf("a folder that cannot be: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	o := failed(t.Context(), &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	if o.Code != 452 || o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
		t.Errorf("%+v", o)
	}
}

func TestStop(t *testing.T) {
	tr, dir := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	m := conformance.Mail(t, "", "a@corp.test")
	m.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("half of it\r\n"), readFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader("the rest\r\n"))), nil
	}
	if o := tr.Deliver(ctx, m)[0]; o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
		t.Errorf("%+v", o)
	}
	if names := files(t, dir); len(names) != 0 {
		t.Errorf("half a message is there: %v", names)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestTmpIsCleaned(t *testing.T) {
	tr, dir := start(t)
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": stale + time.Minute, "young": stale - time.Minute} {
		path := filepath.Join(dir, "tmp", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, now, now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.clean(now); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("%v %v", left, err)
	}
}
