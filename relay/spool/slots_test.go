package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// slotFile is the file that small entries share.
func slotFile(dir string) string { return filepath.Join(dir, "slots") }

func TestASmallEntryNeedsNoFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	small, large := put(t, s, "small", "m"), put(t, s, strings.Repeat("x", slotSize), "m")
	names, err := readNames(s.dir)
	if err != nil || !slices.Equal(names, []string{large}) || !s.slots.has(small) {
		t.Errorf("files %v (%v), slots %v", names, err, s.slots.ids())
	}
}

func TestASlotIsUsedAgainOnlyWhenNobodyReadsIt(t *testing.T) {
	s := open(t, t.TempDir(), Options{Slots: 1})
	first := put(t, s, "first", "m")
	r, err := s.Body(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(first); err != nil {
		t.Fatal(err)
	}
	if id := put(t, s, "second", "m"); s.slots.has(id) {
		t.Error("the slot was taken while somebody read it")
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "first" {
		t.Errorf("read %q, %v", b, err)
	}
	r.Close()
	r.Close()
	if id := put(t, s, "third", "m"); !s.slots.has(id) {
		t.Error("the slot was not free after the last reader")
	}
	if len(s.slots.free) != 0 {
		t.Errorf("free slots %v: one was given back twice", s.slots.free)
	}
}

func TestMoreEntriesThanSlots(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Slots: slotGrow + 3})
	want := map[string]string{}
	for i := range slotGrow + 10 {
		b := fmt.Sprint(i)
		want[put(t, s, b, "m")] = b
	}
	if n := len(s.slots.ids()); n != slotGrow+3 {
		t.Errorf("%d in slots, want %d", n, slotGrow+3)
	}
	s.Close()
	s = open(t, dir, Options{})
	got := scan(t, s)
	for id, b := range want {
		if x, err := body(s, id); err != nil || x != b || got[id].ID != id {
			t.Errorf("%s: %q, %v", id, x, err)
		}
	}
}

// What a power cut or a bad disk leaves of a slot: the entry whole, or none and
// what there is in quarantine. Neighbours are not touched.
func TestEveryCutAndBitFlipOfASlot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	before, id, after := put(t, s, "before", "m"), put(t, s, "the body of the message", "meta"), put(t, s, "after", "m")
	at, size := int64(s.slots.byID[id].number)*slotSize, slotHead+int(s.slots.byID[id].size)
	s.Close()
	good, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, damaged []byte) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(slotFile(dir), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var corrupt atomic.Int32
		s, err := Open(dir, Options{Corrupt: func() { corrupt.Add(1) }, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got := scan(t, s)
		for _, n := range []string{before, after} {
			if got[n].ID != n {
				t.Errorf("%s: a neighbour is lost", name)
			}
		}
		e, there := got[id]
		if there {
			if b, err := body(s, id); err != nil || b != "the body of the message" || string(e.Meta) != "meta" {
				t.Errorf("%s: %q %q, %v", name, b, e.Meta, err)
			}
			return
		}
		free := bytes.Equal(damaged[at:at+int64(len(slotMagic))], make([]byte, len(slotMagic)))
		if corrupt.Load() == 0 && !free {
			t.Errorf("%s: dropped without a word", name)
		}
	}
	for n := range size {
		b := slices.Clone(good)
		clear(b[at+int64(n) : at+int64(size)])
		check(fmt.Sprintf("cut at %d", n), b)
		b = slices.Clone(good)
		b[at+int64(n)] ^= 1 << rand.IntN(8)
		check(fmt.Sprintf("a bit of octet %d", n), b)
	}
}

// A write over what a removed entry left may be torn at any sector: the new
// entry is whole or not there, and the old one never comes back.
func TestATornWriteOverAnOldEntry(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Slots: 1, MinFree: 1})
	old := put(t, s, strings.Repeat("old ", 1000), "the same length")
	if err := s.Remove(old); err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	id := put(t, s, strings.Repeat("new ", 1000), "the same length")
	is, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	const sector = 512
	sectors := (slotHead + int(s.slots.byID[id].size) + sector - 1) / sector
	for written := range 1 << sectors {
		torn := slices.Clone(was)
		for i := range sectors {
			if written&(1<<i) != 0 {
				copy(torn[i*sector:(i+1)*sector], is[i*sector:])
			}
		}
		got, _, err := decodeSlot(torn)
		if all := written == 1<<sectors-1; err == nil && !(all && got == id) || all && err != nil {
			t.Fatalf("sectors %b: entry %q, %v", written, got, err)
		}
	}
}

// A crash in Append may leave two copies of an entry. The one with all of it
// counts, and the other does not come back.
func TestACrashWhileAnEntryMoves(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id := put(t, s, "body", "meta")
	inSlot, err := os.ReadFile(slotFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(id, []byte("state")); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for n := range len(file) + 1 {
		torn := slices.Clone(file)
		clear(torn[n:])
		for name, f := range map[string][]byte{"cut": file[:n], "zeros": torn} {
			dir := t.TempDir()
			if err := errors.Join(os.WriteFile(slotFile(dir), inSlot, 0o600), os.Mkdir(filepath.Join(dir, "messages"), 0o700),
				os.WriteFile(filepath.Join(dir, "messages", id), f, 0o600)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and after another start it is the same
				s, err := Open(dir, Options{MinFree: 1})
				if err != nil {
					t.Fatal(err)
				}
				e := scan(t, s)[id]
				b, err := body(s, id)
				if string(e.Meta) != "meta" || b != "body" || err != nil || s.Usage().Entries != 1 {
					t.Errorf("%s at %d: %+v, body %q, %v, usage %+v", name, n, e, b, err, s.Usage())
				}
				if n == len(file) && len(e.Records) != 1 {
					t.Errorf("%s at %d: the state is lost", name, n)
				}
				s.Close()
			}
			s, err := Open(dir, Options{MinFree: 1})
			if err != nil {
				t.Fatal(err)
			}
			scan(t, s)
			if err := s.Remove(id); err != nil {
				t.Errorf("%s at %d: %v", name, n, err)
			}
			s.Close()
			s, err = Open(dir, Options{MinFree: 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := scan(t, s); len(got) != 0 {
				t.Errorf("%s at %d: it came back after Remove", name, n)
			}
			s.Close()
		}
	}
}

func TestQuarantineOfASmallEntry(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id := put(t, s, "body", "meta")
	if err := s.Quarantine(id, errors.New("for a test")); err != nil {
		t.Fatal(err)
	}
	set, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(set) != 1 || s.Usage().Entries != 0 || s.Usage().Bytes != 0 {
		t.Errorf("quarantine %v (%v), usage %+v", set, err, s.Usage())
	}
	s.Close()
	if got := scan(t, open(t, dir, Options{})); len(got) != 0 {
		t.Errorf("it came back: %v", got)
	}
}

// After a failed sync nobody is told that the message is stored, nothing of it
// stays, and the file is not trusted with another.
func TestAFailedSyncOfTheSlots(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	put(t, s, "one that makes the file grow", "m")
	w, err := s.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("body")) //nolint:errcheck // Commit says
	s.sync.mu.Lock()
	s.sync.closed = true // every sync fails from now on
	s.sync.mu.Unlock()
	err = w.Commit([]byte("m"))
	s.sync.mu.Lock()
	s.sync.closed = false
	s.sync.mu.Unlock()
	if err == nil {
		t.Fatal("Commit went through")
	}
	if _, err := s.Read("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the entry stayed: %v", err)
	}
	if id := put(t, s, "later", "m"); s.slots.has(id) {
		t.Error("a new entry went into a slot")
	}
}

// A removal whose sync failed is not taken for one that was made: the next
// Remove does it again, and only then the entry is gone for certain.
func TestARemovalThatFailedIsMadeAgain(t *testing.T) {
	for _, o := range []Options{{}, fileOnly} {
		s := open(t, t.TempDir(), o)
		id := put(t, s, "body", "m")
		fail := func(closed bool) {
			s.sync.mu.Lock()
			s.sync.closed = closed
			s.sync.mu.Unlock()
		}
		fail(true)
		for range 2 {
			if err := s.Remove(id); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("Remove while nothing can be synced: %v", err)
			}
		}
		fail(false)
		if err := s.Remove(id); err != nil {
			t.Errorf("Remove when it can: %v", err)
		}
		if err := s.Remove(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Remove of what is gone: %v", err)
		}
	}
}

func TestAMoveWhoseClearingFailedIsEndedByRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id := put(t, s, "body", "m")
	x := s.slots.byID[id]
	if err := s.moveOut(id); err != nil {
		t.Fatal(err)
	}
	// As if the sync of the clearing had failed, and the disk kept the old slot.
	image := append(make([]byte, slotHead), "whatever"...)
	encodeSlotHead(image, id)
	if _, err := s.slots.f.WriteAt(image, int64(x.number)*slotSize); err != nil {
		t.Fatal(err)
	}
	s.doubt(id, x)
	if err := s.Remove(id); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := scan(t, open(t, dir, Options{})); len(got) != 0 {
		t.Errorf("it came back: %v", got)
	}
}

func FuzzDecodeSlot(f *testing.F) {
	good := append(make([]byte, slotHead), "an image"...)
	encodeSlotHead(good, "id")
	f.Add(append(good, make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < slotHead {
			return
		}
		if id, image, err := decodeSlot(b); err == nil && (!validID(id) || len(image) > len(b)) {
			t.Errorf("id %q, %d octets of %d", id, len(image), len(b))
		}
	})
}
