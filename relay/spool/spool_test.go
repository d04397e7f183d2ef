package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fileOnly gives every entry a file of its own.
var fileOnly = Options{Slots: -1}

func open(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Spool, body, meta string, records ...string) string {
	t.Helper()
	w, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit([]byte(meta)); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := s.Append(w.ID(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	return w.ID()
}

func body(s *Spool, id string) (string, error) {
	r, err := s.Body(id)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// scan gives the entries by ID.
func scan(t *testing.T, s *Spool) map[string]Entry {
	t.Helper()
	out := map[string]Entry{}
	var mu sync.Mutex
	if err := s.Scan(func(e Entry) error { mu.Lock(); defer mu.Unlock(); out[e.ID] = e; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 4096, slotSize - slotHead, slotSize, bufferSize - preambleSize - slotHead, bufferSize, 3*bufferSize + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			want := strings.Repeat("abcdefg", size/7+1)[:size]
			id := put(t, s, want, "meta", "one", "two")
			usage := s.Usage()
			s.Close()

			s = open(t, dir, Options{})
			e, ok := scan(t, s)[id]
			if !ok || string(e.Meta) != "meta" || fmt.Sprintf("%s", e.Records) != "[one two]" || e.Size != int64(size) {
				t.Fatalf("after a restart: %+v", e)
			}
			if got, err := body(s, id); err != nil || got != want {
				t.Fatalf("body of %d octets, %v", len(got), err)
			}
			if u := s.Usage(); u.Entries != 1 || u.Bytes != usage.Bytes {
				t.Errorf("usage %+v, was %+v", u, usage)
			}
			if err := s.Remove(id); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(id); !errors.Is(err, ErrNotFound) {
				t.Errorf("after Remove: %v", err)
			}
			if u := s.Usage(); u.Entries != 0 || u.Bytes != 0 {
				t.Errorf("usage after Remove: %+v", u)
			}
		})
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w, err := s.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create("a"); !errors.Is(err, ErrExists) {
		t.Errorf("second Create: %v", err)
	}
	w.Write(make([]byte, 3*bufferSize)) //nolint:errcheck // looked at below
	w.Abort()
	w.Abort()
	if _, err := s.Create("a"); err != nil {
		t.Errorf("Create after Abort: %v", err)
	}
}

func TestWhatWasNeverCommittedIsGoneAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for _, n := range []int{0, 100, 3 * bufferSize} {
		w, err := s.Create(s.NewID())
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, n)) //nolint:errcheck // the crash comes before anybody looks
		if w.f != nil {
			w.f.Close()
		}
	}
	s.Close()
	s = open(t, dir, Options{})
	if got := scan(t, s); len(got) != 0 || s.Usage().Entries != 0 || s.Usage().Bytes != 0 {
		t.Errorf("%v, usage %+v", got, s.Usage())
	}
}

// Whatever a crash or a bad disk leaves of a file: an entry is given whole, with
// the records that are whole, and its body ends in io.EOF only if it is what was
// written; or it is in quarantine, and counted. Nothing goes without a word but a
// file of which nothing is left.
func TestEveryTruncationAndBitFlip(t *testing.T) {
	var corrupt int
	s := open(t, t.TempDir(), Options{Slots: -1, Corrupt: func() { corrupt++ }})
	s.sync.do = func(*batch) error { return nil }
	id := put(t, s, "the body of the message", "meta", "first", "second")
	good, err := os.ReadFile(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(s.path(id), b, 0o600); err != nil {
			t.Fatal(err)
		}
		counted := corrupt
		delete(s.known, id)
		e, err := s.scanOne(id, make([]byte, scanBuffer))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e.Meta == nil {
			if _, err := os.Stat(s.path(id)); corrupt != counted+1 && len(b) > 0 || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: neither given nor set aside (%d counted, %v)", name, corrupt-counted, err)
			}
			return
		}
		whole := []string{"first", "second"}[:min(len(e.Records), 2)]
		if string(e.Meta) != "meta" || fmt.Sprintf("%s", e.Records) != fmt.Sprint(whole) {
			t.Errorf("%s: got %s %s", name, e.Meta, e.Records)
		}
		if got, err := body(s, id); err == nil && got != "the body of the message" || err != nil && (!errors.Is(err, ErrCorrupt) || corrupt != counted+1) {
			t.Errorf("%s: body %q, %v, %d counted", name, got, err, corrupt-counted)
		}
	}
	for n := range good {
		check(fmt.Sprintf("cut at %d", n), good[:n])
		for bit := range 8 {
			b := slices.Clone(good)
			b[n] ^= 1 << bit
			check(fmt.Sprintf("bit %d of octet %d", bit, n), b)
		}
	}
}

func TestCorruptEntriesAndForeignFilesGoToQuarantine(t *testing.T) {
	dir := t.TempDir()
	var corrupt atomic.Int32
	s := open(t, dir, fileOnly)
	good, bad := put(t, s, "good", "m"), put(t, s, "bad", "m")
	b, err := os.ReadFile(s.path(bad))
	if err != nil {
		t.Fatal(err)
	}
	b[10] ^= 1
	for name, content := range map[string][]byte{bad: b, "README.txt": []byte("hello"), ".hidden": nil} {
		if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, Options{Slots: -1, Corrupt: func() { corrupt.Add(1) }})
	if got := scan(t, s); len(got) != 1 || got[good].ID != good {
		t.Errorf("entries %v", got)
	}
	set, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(set) != 4 || corrupt.Load() != 4 {
		t.Errorf("quarantine %v (%v), %d counted, want 4", set, err, corrupt.Load())
	}
	if u := s.Usage(); u.Entries != 1 {
		t.Errorf("usage %+v", u)
	}
}

func TestAppendAfterATornRecordKeepsWhatIsWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, fileOnly)
	id := put(t, s, "body", "meta", "first", "second")
	info, err := os.Stat(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.path(id), info.Size()-3); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, fileOnly)
	if e := scan(t, s)[id]; fmt.Sprintf("%s", e.Records) != "[first]" {
		t.Fatalf("records %s", e.Records)
	}
	if err := s.Append(id, []byte("third")); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Read(id); err != nil || fmt.Sprintf("%s", e.Records) != "[first third]" {
		t.Errorf("records %s, %v", e.Records, err)
	}
}

func TestBounds(t *testing.T) {
	for name, o := range map[string]Options{
		"entries": {MaxEntries: 1}, "octets": {MaxBytes: 10}, "free": {MinFree: 1 << 62},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), o)
			if name != "free" {
				put(t, s, "a body", "meta")
			}
			if _, err := s.Create("b"); !errors.Is(err, ErrFull) {
				t.Errorf("got %v, want ErrFull", err)
			}
		})
	}
}

func TestTwoProcessesCannotShareASpool(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("second Open: %v", err)
	}
}

func TestNamesThatLeaveTheFolder(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a\x00", "-a", strings.Repeat("a", 65)} {
		if _, err := s.Create(id); err == nil {
			t.Errorf("Create(%q) went through", id)
		}
		if _, err := s.Read(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Read(%q): %v", id, err)
		}
		if err := s.Remove(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Remove(%q): %v", id, err)
		}
	}
}

func TestConcurrentCommits(t *testing.T) {
	for _, noSyncFS := range []bool{false, true} {
		dir := t.TempDir()
		s := open(t, dir, Options{NoSyncFS: noSyncFS})
		var wg sync.WaitGroup
		var mu sync.Mutex
		want := map[string]string{}
		for i := range 20 {
			wg.Go(func() {
				for k := range 10 {
					b := fmt.Sprintf("%d-%d", i, k)
					id := put(t, s, b, "m")
					if k%3 == 0 {
						if err := s.Remove(id); err != nil {
							t.Error(err)
						}
						continue
					}
					mu.Lock()
					want[id] = b
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		s.Close()
		s = open(t, dir, Options{})
		got := scan(t, s)
		if len(got) != len(want) {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		for id, b := range want {
			if g, err := body(s, id); err != nil || g != b {
				t.Errorf("%s: %q, %v", id, g, err)
			}
		}
	}
}

// After a failed sync nobody is told that the message is stored, and nothing
// of it stays.
func TestAFailedSyncFailsTheCommit(t *testing.T) {
	s := open(t, t.TempDir(), fileOnly)
	w, err := s.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("body")) //nolint:errcheck // Commit says
	s.sync.dir.Close()      // the sync of the folder fails from now on
	if err := w.Commit([]byte("m")); err == nil {
		t.Fatal("Commit went through")
	}
	if _, err := s.Read("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the entry stayed: %v", err)
	}
	if u := s.Usage(); u.Entries != 0 || u.Bytes != 0 {
		t.Errorf("usage %+v", u)
	}
}

func TestIDsAreUniqueAndSorted(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var ids []string
	for range 10000 {
		ids = append(ids, s.NewID())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) || !validID(ids[0]) {
		t.Error("IDs repeat or are out of order")
	}
}

func FuzzReadEntry(f *testing.F) {
	head := preamble{size: 4, crc: 0}.encode()
	f.Add(appendRecord(append(head[:], "body"...), []byte("meta")))
	f.Add(bytes.Repeat([]byte{0}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, end, err := readEntry(bytes.NewReader(b), int64(len(b)), make([]byte, scanBuffer)); err == nil && (e.Meta == nil || end > int64(len(b))) {
			t.Errorf("meta %v, end %d of %d", e.Meta, end, len(b))
		}
	})
}

func BenchmarkCommitAndRemove(b *testing.B) {
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			body := bytes.Repeat([]byte("x"), 4096)
			b.SetParallelism(writers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					w, err := s.Create(s.NewID())
					if err != nil {
						b.Error(err)
						return
					}
					w.Write(body) //nolint:errcheck // Commit says
					if err := w.Commit([]byte("meta")); err != nil {
						b.Error(err)
					}
					if err := s.Remove(w.ID()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
