//go:build linux

package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/printerrelay/printer-relay/test/bench"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
)

// nobody runs the relay in this test: root may read everything.
const nobody = 65534

// harm is done to the spool of a relay that does not run. It gives the ID of the
// scan that it spoils; empty: none.
type harm struct {
	name string
	do   func(t *testing.T, s *spoilt) string
	held bool // it is found at delivery, and stays in the queue
}

// spoilt is the spool that harm is done to.
type spoilt struct {
	dir   string
	files []string // of large scans that nothing was done to yet
}

// take gives a file that nothing was done to, and the ID of the scan in it.
func (s *spoilt) take(t *testing.T) (path, id string) {
	t.Helper()
	path = s.files[0]
	s.files = s.files[1:]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, scanID(b)
}

func scanID(b []byte) string {
	_, rest, _ := bytes.Cut(b, []byte("X-Scan: "))
	id, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(id)
}

// edit has a file be what change makes of it.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flip has a bit be another, at an octet from the end if at is negative.
func flip(at int) func(t *testing.T, s *spoilt) string {
	return func(t *testing.T, s *spoilt) string {
		path, id := s.take(t)
		edit(t, path, func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 4; return b })
		return id
	}
}

// foreign puts something into the folder of the entries.
func foreign(name string, put func(path string) error) func(t *testing.T, s *spoilt) string {
	return func(t *testing.T, s *spoilt) string {
		must(t, put(filepath.Join(s.dir, "messages", name)))
		return ""
	}
}

var harms = []harm{
	{"a bit of the preamble", flip(9), false},
	{"a bit of the body", flip(9000), true},
	{"a bit of the meta record", flip(-9), false},
	{"cut in the preamble", cutAt(20), false},
	{"cut in the body", cutAt(10_000), false},
	{"a folder in its place", func(t *testing.T, s *spoilt) string {
		path, id := s.take(t)
		must(t, errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "more"), 0o700), os.Chown(path, nobody, nobody)))
		return id
	}, false},
	{"nobody may read it", func(t *testing.T, s *spoilt) string {
		path, id := s.take(t)
		must(t, errors.Join(os.Chown(path, 0, 0), os.Chmod(path, 0o600)))
		return id
	}, false},
	{"a copy under another name", func(t *testing.T, s *spoilt) string {
		path, _ := s.take(t)
		b, err := os.ReadFile(path)
		must(t, errors.Join(err, os.WriteFile(filepath.Join(s.dir, "messages", "a copy"), b, 0o600)))
		return ""
	}, false},
	{"a file of another program", foreign(".nfs0001", func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }), false},
	{"a huge file", foreign("HUGE", func(path string) error {
		return errors.Join(os.WriteFile(path, []byte("nothing that it could be"), 0o600), os.Truncate(path, 1<<40))
	}), false},
	{"a pipe", foreign("PIPE", func(path string) error { return syscall.Mkfifo(path, 0o600) }), false},
	{"a link", foreign("LINK", func(path string) error { return os.Symlink("/etc/passwd", path) }), false},
	{"a slot", func(t *testing.T, s *spoilt) (id string) {
		edit(t, filepath.Join(s.dir, "slots"), func(b []byte) []byte {
			id = scanID(b[:16<<10])
			b[200] ^= 1
			return b
		})
		return id
	}, false},
}

func cutAt(n int) func(t *testing.T, s *spoilt) string {
	return func(t *testing.T, s *spoilt) string {
		path, id := s.take(t)
		must(t, os.Truncate(path, int64(n)))
		return id
	}
}

// Whatever happens to a part of the spool: the relay starts, sets that part aside
// with a word and a count, sends nothing that is not what came, and sends the rest.
func TestASpoiltSpool(t *testing.T) {
	bin := program(t)
	dir := env.SharedDir(t)
	x := &experiment{t: t, upstream: ledger.StartUpstream(t), copiers: &ledger.Copiers{}}
	x.Relay = &ledger.Relay{
		T: t, Bin: bin, Dir: dir, State: filepath.Join(dir, "state"), Name: "bench",
		Under:     []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"},
		Manifests: func(port int) string { return bench.Manifests(port, x.upstream.Port, connections, delivery) },
	}
	must(t, errors.Join(os.Mkdir(x.State, 0o700), os.Chown(x.State, nobody, nobody)))
	x.Start()
	x.upstream.Hold()
	for i := range 40 {
		x.copiers.Size = func() int { return []int{10, 500}[i%2] } // a slot, a file
		x.sends("250")
	}
	x.Kill()
	x.upstream.Off() // what is under way is not accepted
	x.upstream.On()
	x.upstream.Release()

	s := &spoilt{dir: x.Spool()}
	entries, err := os.ReadDir(filepath.Join(s.dir, "messages"))
	must(t, err)
	for _, e := range entries {
		s.files = append(s.files, filepath.Join(s.dir, "messages", e.Name()))
	}
	gone := map[string]bool{}
	aside, held := 0, 0
	for _, h := range harms {
		if id := h.do(t, s); id != "" {
			gone[id] = true
		}
		if h.held {
			held++
		} else {
			aside++
		}
	}

	x.Start()
	x.recovers()
	st, err := x.Queue()
	if err != nil || st.Queue.Held != held {
		t.Errorf("%d messages are held (%v), want %d", st.Queue.Held, err, held)
	}
	if names := x.Quarantine(); len(names) != aside {
		t.Errorf("in quarantine: %q, want %d", names, aside)
	}
	if n := strings.Count(x.Process.Output(), "to quarantine"); n != aside {
		t.Errorf("%d lines tell of the quarantine, want %d:\n%s", n, aside, x.Process.Output())
	}
	if n, want := x.Metric("printer_relay_spool_corrupt_total"), len(harms); n != strconv.Itoa(want) {
		t.Errorf("%s are counted, want %d", n, want)
	}
	a := ledger.Of(x.copiers, x.upstream)
	for _, id := range a.Lost {
		if !gone[id] {
			t.Errorf("%s is lost, and nothing was done to it", id)
		}
	}
	if len(a.Lost) != len(gone) || len(a.Broken) > 0 || ledger.Sum(a.Again) > 0 {
		t.Errorf("%d not sent, want the %d that were spoilt; %d broken, %d twice", len(a.Lost), len(gone), len(a.Broken), ledger.Sum(a.Again))
	}
}
