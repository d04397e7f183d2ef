package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// failSyncs has every sync of s fail, until the function it gives is called.
func failSyncs(s *Spool) (mend func()) {
	var bad atomic.Bool
	bad.Store(true)
	s.sync.do = func(b *batch) error {
		if bad.Load() {
			return syscall.EIO
		}
		return s.sync.sync(b)
	}
	return func() { bad.Store(false) }
}

// The kernel tells of a write that failed once. Whoever wrote before that and
// syncs after it would be told that all is well.
func TestAFailedSyncFailsAllThatWasWrittenBeforeIt(t *testing.T) {
	for name, o := range map[string]Options{"slots": {}, "files": fileOnly} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), o)
			put(t, s, "one that makes the file grow", "m")
			began, release := make(chan struct{}), make(chan struct{})
			var n atomic.Int32
			s.sync.do = func(b *batch) error {
				if n.Add(1) > 1 {
					return s.sync.sync(b)
				}
				close(began)
				<-release
				return syscall.EIO
			}
			commit := func(id string) chan error {
				w, err := s.Create(id)
				if err != nil {
					t.Fatal(err)
				}
				w.Write([]byte("body")) //nolint:errcheck // Commit says
				done := make(chan error, 1)
				go func() { done <- w.Commit([]byte("m")) }()
				return done
			}
			first := commit("first")
			<-began
			second := commit("second") // written and waiting while the first sync runs
			for waiting := false; !waiting; {
				s.sync.mu.Lock()
				waiting = len(s.sync.batch.files) > 0
				s.sync.mu.Unlock()
			}
			close(release)
			for id, done := range map[string]chan error{"first": first, "second": second} {
				if err := <-done; !errors.Is(err, ErrFailing) {
					t.Errorf("%s: %v, want ErrFailing", id, err)
				}
				if _, err := s.Read(id); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s stayed: %v", id, err)
				}
			}
			if err := s.Full(0); err != nil { // the probe went well
				t.Errorf("after it: %v", err)
			}
			put(t, s, "later", "m")
		})
	}
}

// What a failed sync left of a record is in the page cache, whole, and perhaps
// not on the disk: it is written over.
func TestARecordWhoseSyncFailedIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, fileOnly)
	id := put(t, s, "body", "meta", "first")
	used := s.Usage().Bytes
	mend := failSyncs(s)
	for range 2 {
		if err := s.Append(id, []byte(strings.Repeat("not stored", 1000))); !errors.Is(err, ErrFailing) {
			t.Fatalf("Append: %v, want ErrFailing", err)
		}
	}
	mend()
	if err := s.Append(id, []byte("third")); err != nil {
		t.Fatal(err)
	}
	e, err := s.Read(id)
	if err != nil || fmt.Sprintf("%s", e.Records) != "[first third]" {
		t.Errorf("records %.40s, %v", e.Records, err)
	}
	if err := s.Remove(id); err != nil || s.Usage().Bytes != 0 || used == 0 {
		t.Errorf("%v, %d octets are left", err, s.Usage().Bytes)
	}
}

// Full says why nothing can be stored, and finds out by itself when it can.
func TestFullSaysThatTheVolumeFailsUntilItDoesNot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	mend := failSyncs(s)
	s.health.path = filepath.Join(dir, "missing", "probe")
	w, err := s.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit([]byte("m")); !errors.Is(err, ErrFailing) || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("Commit: %v", err)
	}
	for range 2 {
		if err := s.Full(0); !errors.Is(err, ErrFailing) || !strings.Contains(err.Error(), "input/output error") {
			t.Errorf("Full: %v", err)
		}
	}
	if _, err := s.Create("b"); !errors.Is(err, ErrFailing) {
		t.Errorf("Create: %v", err)
	}
	mend()
	if err := os.Mkdir(filepath.Join(dir, "missing"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.health.probed = s.health.probed.Add(-probeEvery)
	if err := s.Full(0); err != nil {
		t.Errorf("Full when it can be written again: %v", err)
	}
	put(t, s, "body", "m")
}

// A crash may leave any part of the record that was being written unwritten:
// zeros, in a file that is as long as it should be.
func TestATornRecordInAnyOfItsParts(t *testing.T) {
	s := open(t, t.TempDir(), fileOnly)
	id := put(t, s, "body", "meta", "first", strings.Repeat("second", 100))
	good, err := os.ReadFile(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	last := len(good) - recordHead - 600
	for from := last; from < len(good); from++ {
		for _, to := range []int{min(from+7, len(good)), min(from+40, len(good)), len(good)} {
			b := slices.Clone(good)
			clear(b[from:to])
			if slices.Equal(b, good) {
				continue
			}
			if err := os.WriteFile(s.path(id), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if e, err := s.scanOne(id, make([]byte, scanBuffer)); err != nil || fmt.Sprintf("%s", e.Records) != "[first]" {
				t.Errorf("zeros from %d to %d of %d: records %.40s, %v", from, to, len(good), e.Records, err)
			}
		}
	}
}

// Whatever one entry has become, the others are given, and the spool opens.
func TestWhatIsNoEntryHoldsUpNoOther(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(dir, name string) string { return filepath.Join(dir, "messages", name) }
	for name, harm := range map[string]func(dir, small, large string){
		"a folder in the place of a file": func(dir, _, large string) {
			must(os.Remove(file(dir, large)))
			must(os.MkdirAll(filepath.Join(file(dir, large), "more"), 0o700))
		},
		"a folder where the file of a small entry may be": func(dir, small, _ string) {
			must(os.MkdirAll(filepath.Join(file(dir, small), "more"), 0o700))
		},
		"a link":         func(dir, _, _ string) { must(os.Symlink("/etc/passwd", file(dir, "LINK"))) },
		"a pipe":         func(dir, _, _ string) { must(syscall.Mkfifo(file(dir, "PIPE"), 0o600)) },
		"a foreign file": func(dir, _, _ string) { must(os.WriteFile(file(dir, "core.1234"), []byte("x"), 0o600)) },
		"a huge file": func(dir, _, _ string) {
			must(os.WriteFile(file(dir, "HUGE"), []byte("nothing that it could be"), 0o600))
			must(os.Truncate(file(dir, "HUGE"), 1<<40))
		},
		"an entry with a terabyte behind it": func(dir, _, large string) { must(os.Truncate(file(dir, large), 1<<40)) },
		"the file of small entries is a folder": func(dir, _, _ string) {
			must(os.Remove(slotFile(dir)))
			must(os.MkdirAll(filepath.Join(slotFile(dir), "more"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			small, large := put(t, s, "small", "m"), put(t, s, "large", "m", "state")
			other := put(t, s, "other", "m", "state")
			s.Close()
			harm(dir, small, large)
			var corrupt atomic.Int32
			for range 2 { // it is said once
				s := open(t, dir, Options{Corrupt: func() { corrupt.Add(1) }})
				if got := scan(t, s); got[other].ID != other {
					t.Errorf("entries %v: another is lost", got)
				}
				put(t, s, "new", "m")
				s.Close()
			}
			set, err := os.ReadDir(filepath.Join(dir, "quarantine"))
			if err != nil || len(set) != 1 || corrupt.Load() != 1 {
				t.Errorf("quarantine %v (%v), %d counted, want 1", set, err, corrupt.Load())
			}
		})
	}
}

// The same ID in two slots, or in a slot and a file of which one is damaged: it
// is given once.
func TestDuplicateIDs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id, other := put(t, s, "the body", "m"), put(t, s, "another", "m")
	from, to := s.slots.byID[id].number, s.slots.byID[other].number
	s.Close()
	b, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	copy(b[to*slotSize:], b[from*slotSize:(from+1)*slotSize])
	if err := os.WriteFile(slotFile(dir), b, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt atomic.Int32
	s = open(t, dir, Options{Corrupt: func() { corrupt.Add(1) }})
	var n atomic.Int32
	if err := s.Scan(func(Entry) error { n.Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := body(s, id); n.Load() != 1 || got != "the body" || err != nil || corrupt.Load() != 1 {
		t.Errorf("%d entries, %q, %v, %d counted", n.Load(), got, err, corrupt.Load())
	}
}

// The file of small entries cut at every octet of its last entry: that one is
// given whole, or kept aside with a word, and the others are given.
func TestTheSlotFileCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	before, id := put(t, s, "before", "m"), put(t, s, "the body", "meta")
	at, size := int64(s.slots.byID[id].number)*slotSize, slotHead+s.slots.byID[id].size
	s.Close()
	good, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := range size + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(slotFile(dir), good[:at+n], 0o600); err != nil {
			t.Fatal(err)
		}
		var corrupt atomic.Int32
		s := open(t, dir, Options{Corrupt: func() { corrupt.Add(1) }, MinFree: 1})
		s.sync.do = func(*batch) error { return nil }
		got := scan(t, s)
		b, err := body(s, id)
		switch {
		case got[before].ID != before:
			t.Errorf("cut at %d: a neighbour is lost", n)
		case n == size && (got[id].ID != id || err != nil || b != "the body"):
			t.Errorf("cut behind it: %q, %v", b, err)
		case n > 0 && n < size && (got[id].ID == id || corrupt.Load() != 1):
			t.Errorf("cut at %d: given %v, %d counted", n, got[id].ID == id, corrupt.Load())
		}
		seen := map[int]bool{}
		for range 2 * slotGrow { // no slot is given to two
			put(t, s, "new", "m")
		}
		for _, x := range s.slots.byID {
			if seen[x.number] {
				t.Errorf("cut at %d: slot %d is used twice", n, x.number)
			}
			seen[x.number] = true
		}
		s.Close()
	}
}

// A body that the disk has spoilt is found when it is read, and counted once.
func TestASpoiltBodyIsCountedOnce(t *testing.T) {
	var corrupt atomic.Int32
	dir := t.TempDir()
	s := open(t, dir, Options{Slots: -1, Corrupt: func() { corrupt.Add(1) }})
	id := put(t, s, "the body", "m")
	f, err := os.OpenFile(s.path(id), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("X"), preambleSize); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 3 {
		if _, err := body(s, id); !errors.Is(err, ErrCorrupt) {
			t.Errorf("body: %v", err)
		}
	}
	if corrupt.Load() != 1 {
		t.Errorf("counted %d times", corrupt.Load())
	}
}
