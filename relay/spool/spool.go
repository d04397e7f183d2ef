package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrExists says that an entry of this ID is there already.
	ErrExists = errors.New("the spool holds this entry already")
	// ErrFull says that the spool may not or cannot take more.
	ErrFull = errors.New("the spool is full")
	// ErrNotFound says that there is no such entry.
	ErrNotFound = errors.New("the spool holds no such entry")
	// ErrCorrupt says that an entry is not what was written.
	ErrCorrupt = errors.New("the spool entry is corrupt")
	// ErrClosed says that the spool was closed.
	ErrClosed = errors.New("the spool is closed")
)

// Options bound a spool. Zero figures take the defaults.
type Options struct {
	MaxBytes   int64 // octets of all entries together; 0: what the volume has
	MaxEntries int   // default 1,000,000
	MinFree    int64 // octets that stay free on the volume; default 64 MiB
	Slots      int   // small entries that share one file, at most; default 1024, negative: none
	NoSyncFS   bool  // never sync the whole volume at once (it may be shared with another program)
	Log        *slog.Logger
	Corrupt    func() // called for each entry found damaged, from any goroutine; may be nil
}

// Spool is an open store. It is safe for concurrent use, but that Append, Remove
// and Quarantine of one entry come one after the other.
type Spool struct {
	o          Options
	dir        string // of the entries
	quarantine string
	lock       *os.File
	sync       *committer
	slots      *slots
	health     health
	ids        idMaker

	most    atomic.Int64 // MaxBytes
	entries atomic.Int64
	bytes   atomic.Int64
	free    freeSpace

	mu      sync.Mutex
	broken  map[string]int64 // where the next record goes, for IDs whose last one failed or was torn
	known   map[string]bool  // IDs found to be corrupt, that stay
	writing map[string]bool  // IDs that have a Writer
	unsure  map[string]*slot // IDs whose removal, from a slot (or nil: a file of their own), may not have reached the disk
}

// Open opens the spool in dir, which it creates and locks.
func Open(dir string, o Options) (*Spool, error) {
	if o.MaxEntries == 0 {
		o.MaxEntries = 1_000_000
	}
	if o.MinFree == 0 {
		o.MinFree = 64 << 20
	}
	if o.Slots == 0 {
		o.Slots = slotsMax
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Spool{o: o, dir: filepath.Join(dir, "messages"), quarantine: filepath.Join(dir, "quarantine"), broken: map[string]int64{}, known: map[string]bool{}, writing: map[string]bool{}, unsure: map[string]*slot{}}
	s.health.path = filepath.Join(dir, "probe")
	s.Resize(o.MaxBytes)
	for _, d := range []string{s.dir, s.quarantine} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	var err error
	if s.lock, err = takeLock(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	s.free.dir = s.dir
	s.free.get() // for Room
	if err = s.openSlots(filepath.Join(dir, "slots")); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err = syncAbove(dir); err == nil {
		s.sync, err = newCommitter(s.dir, !o.NoSyncFS)
	}
	if err != nil {
		s.slots.f.Close()
		s.lock.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, nil
}

// Close waits for syncs under way and releases the lock. Writers must be done.
func (s *Spool) Close() error {
	s.sync.close()
	s.slots.f.Close()
	return s.lock.Close()
}

// syncAbove makes the folders from dir upwards last that a relay's first start
// may have made: the spool's, the relay's, its namespace's and the state folder.
// What holds those may be another's, or on a file system that is never written.
func syncAbove(dir string) error {
	relay := filepath.Dir(dir)
	if err := syncDirs(dir, relay); err != nil {
		return err
	}
	namespace := filepath.Dir(relay)
	for _, d := range []string{namespace, filepath.Dir(namespace), filepath.Dir(filepath.Dir(namespace))} {
		syncDirs(d) //nolint:errcheck // see above
	}
	return nil
}

// syncDirs makes the names of folders that were just created last.
func syncDirs(dirs ...string) error {
	for _, d := range dirs {
		f, err := os.Open(d)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Usage is what the spool holds and what is left.
type Usage struct {
	Entries int
	Bytes   int64 // of all entries
	Free    int64 // octets that the volume has left
}

// Usage tells what the spool holds; Free may be a second old.
func (s *Spool) Usage() Usage {
	return Usage{Entries: int(s.entries.Load()), Bytes: s.bytes.Load(), Free: s.free.get()}
}

// Resize sets MaxBytes anew. What the spool holds already stays.
func (s *Spool) Resize(maxBytes int64) { s.most.Store(maxBytes) }

// Full tells whether an entry of size octets must be refused, as ErrFull that
// says which bound it is, or as ErrFailing.
func (s *Spool) Full(size int64) error {
	most := s.most.Load()
	switch {
	case s.entries.Load() >= int64(s.o.MaxEntries):
		return fmt.Errorf("%w: %d entries", ErrFull, s.o.MaxEntries)
	case most > 0 && s.bytes.Load()+size > most:
		return fmt.Errorf("%w: %d of %d octets are used", ErrFull, s.bytes.Load(), most)
	case s.free.get() < s.o.MinFree+size:
		return fmt.Errorf("%w: %d octets are free on its volume, of which %d stay free", ErrFull, s.free.get(), s.o.MinFree)
	}
	return s.health.trouble()
}

// Room is how many octets more the spool takes, by its size and by what the volume
// had left when Full or Usage asked last. What Writers have written and not
// committed counts as room as far as the volume does not show it. It asks nobody and
// does not wait.
func (s *Spool) Room() int64 {
	room := s.free.known() - s.o.MinFree
	if most := s.most.Load(); most > 0 {
		room = min(room, most-s.bytes.Load())
	}
	return max(room, 0)
}

func (s *Spool) path(id string) string { return filepath.Join(s.dir, id) }

const maxID = 64

// validID keeps names that could leave the folder, or hide in it, away.
func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-') {
			return false
		}
	}
	return id[0] != '-'
}

// Remove deletes an entry. When it returns nil the entry will not come back,
// not even after a power cut: what an upstream took must not be sent again.
func (s *Spool) Remove(id string) error {
	if !validID(id) {
		return ErrNotFound
	}
	if s.slots.has(id) {
		return s.clearSlot(id, true)
	}
	settled, err := s.settle(id)
	if err != nil {
		return err
	}
	mark := s.sync.mark()
	info, err := os.Lstat(s.path(id))
	if err == nil {
		err = os.Remove(s.path(id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		if settled {
			return nil
		}
		return ErrNotFound
	}
	if err != nil {
		return s.disk(err)
	}
	s.entries.Add(-1)
	s.bytes.Add(-info.Size())
	s.mu.Lock()
	delete(s.broken, id)
	delete(s.known, id)
	s.mu.Unlock()
	if err := s.sync.wait(nil, mark); err != nil {
		s.doubt(id, nil)
		return s.disk(err)
	}
	return nil
}

// doubt notes that the removal of an entry may be on the disk or not: its
// sync failed.
func (s *Spool) doubt(id string, x *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure[id] = x
}

// settle makes durable what doubt has noted of an entry; false: nothing was.
func (s *Spool) settle(id string) (bool, error) {
	s.mu.Lock()
	x, ok := s.unsure[id]
	s.mu.Unlock()
	if !ok {
		return false, nil
	}
	mark := s.sync.mark()
	var err error
	if x == nil {
		err = s.settleNames(id, mark)
	} else if err = s.slots.zero(x.number); err == nil { // written anew: after a failed sync its page counts as clean
		if err = s.syncSlots(mark); err == nil {
			s.slots.freed(x)
		}
	}
	if err != nil {
		return false, s.disk(err)
	}
	s.mu.Lock()
	delete(s.unsure, id)
	s.mu.Unlock()
	return true, nil
}

// settleNames makes durable that the file of an entry is gone: its name is made
// and removed once more, so that the folder is written anew.
func (s *Spool) settleNames(id string, mark uint64) error {
	f, err := openFile(s.path(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Remove(s.path(id))); err != nil {
		return err
	}
	return s.sync.wait(nil, mark)
}

// clearSlot takes an entry out of its slot for certain: it was removed, or has a
// file of its own now.
func (s *Spool) clearSlot(id string, removed bool) error {
	mark := s.sync.mark()
	x, err := s.slots.clear(id)
	if err != nil {
		return s.disk(err)
	}
	if removed {
		s.entries.Add(-1)
		s.bytes.Add(-x.size)
		s.mu.Lock()
		delete(s.known, id)
		s.mu.Unlock()
	}
	return s.freeSlot(id, x, mark)
}

// freeSlot makes durable that the slot x of the entry id was cleared.
func (s *Spool) freeSlot(id string, x *slot, mark uint64) error {
	if err := s.syncSlots(mark); err != nil {
		s.doubt(id, x)
		return s.disk(err)
	}
	s.slots.freed(x)
	return nil
}

func (s *Spool) syncSlots(mark uint64) error {
	err := s.sync.data(s.slots.f, mark)
	if err != nil {
		s.slots.fail()
	}
	return err
}

// Quarantine takes an entry out of the spool, because its content is not what
// was written, and keeps the file for a person to look at.
func (s *Spool) Quarantine(id string, why error) error {
	if !validID(id) {
		return ErrNotFound
	}
	if s.slots.has(id) {
		if err := s.moveOut(id); err != nil {
			return err
		}
	}
	return s.setAside(id, why)
}

// setAside moves a file of the spool to quarantine.
func (s *Spool) setAside(name string, why error) error {
	mark := s.sync.mark()
	size := int64(0)
	if info, err := os.Lstat(filepath.Join(s.dir, name)); err == nil {
		size = info.Size()
	}
	to := s.asidePath(name)
	if err := os.Rename(filepath.Join(s.dir, name), to); err != nil {
		return fmt.Errorf("quarantine: %w", s.disk(err))
	}
	s.entries.Add(-1)
	s.bytes.Add(-size)
	s.say("spool entry moved to quarantine", name, to, why)
	if err := syncDirs(s.quarantine); err != nil { // there, before it is gone here
		return err
	}
	return s.sync.wait(nil, mark)
}

// say logs and counts what is not what was written.
func (s *Spool) say(what, name, to string, why error) {
	s.o.Log.Error(what, "id", name, "to", to, "cause", why)
	if s.o.Corrupt != nil {
		s.o.Corrupt()
	}
}

func (s *Spool) asidePath(name string) string {
	return filepath.Join(s.quarantine, strings.TrimLeft(name, ".")+"."+time.Now().UTC().Format("20060102T150405.000"))
}
