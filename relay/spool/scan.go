package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// Scan gives every committed entry to fn, in no order and from several
// goroutines at once. Call it once, before anything is created. What was
// never committed is deleted; what is corrupt, or no entry at all, is moved to
// quarantine. An error of fn ends the scan.
func (s *Spool) Scan(fn func(Entry) error) error {
	if err := s.scanSlots(fn); err != nil {
		return err
	}
	names, err := readNames(s.dir)
	if err != nil {
		return err
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		fail   error
		failed atomic.Bool
		next   = make(chan string, 64)
	)
	for range min(2*runtime.GOMAXPROCS(0), 16) {
		wg.Go(func() {
			buf := make([]byte, scanBuffer)
			for name := range next {
				e, err := s.scanOne(name, buf)
				if err == nil && e.Meta != nil && !failed.Load() {
					err = fn(e)
				}
				if err != nil {
					failed.Store(true)
					mu.Lock()
					fail = errors.Join(fail, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	wg.Wait()
	return fail
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return names, nil
}

// scanOne reads one file; an Entry without Meta was dealt with.
func (s *Spool) scanOne(name string, buf []byte) (Entry, error) {
	path := filepath.Join(s.dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, nil
	}
	if err != nil {
		return Entry{}, fmt.Errorf("spool: %w", err)
	}
	s.entries.Add(1)
	s.bytes.Add(info.Size())
	if !validID(name) || !info.Mode().IsRegular() {
		s.exclude(name, errors.New("it is no spool entry"))
		return Entry{}, nil
	}
	f, err := openFile(path, os.O_RDONLY, 0)
	if err != nil {
		return Entry{}, s.unreadable(name, err)
	}
	defer f.Close()
	e, end, err := readEntry(f, info.Size(), buf)
	switch {
	case errors.Is(err, errUncommitted):
		s.entries.Add(-1)
		s.bytes.Add(-info.Size())
		s.o.Log.Info("spool: a message that was never acknowledged is dropped", "id", name)
		if err := os.Remove(path); err != nil {
			s.o.Log.Warn("spool: it cannot be deleted", "id", name, "cause", s.disk(err))
		}
		return Entry{}, nil
	case errors.Is(err, ErrCorrupt):
		s.exclude(name, err)
		return Entry{}, nil
	case err != nil:
		return Entry{}, s.unreadable(name, err)
	}
	if end < info.Size() {
		s.o.Log.Warn("spool: the last state of a message was cut off, by a crash or the disk; the one before counts", "id", name, "octets", info.Size()-end)
		s.mu.Lock()
		s.broken[name] = end
		s.mu.Unlock()
	}
	e.ID = name
	return e, nil
}

// exclude keeps an entry from being given: it moves to quarantine, or, where the
// volume does not even take that, stays where it is.
func (s *Spool) exclude(name string, why error) {
	if err := s.setAside(name, why); err != nil {
		s.say("a damaged spool entry could not be moved to quarantine for certain", name, "", errors.Join(why, err))
	}
}

// unreadable excludes an entry that the disk or its permissions keep from being
// read. What has to do with this process alone ends the scan.
func (s *Spool) unreadable(name string, err error) error {
	if !ofTheFile(err) {
		return fmt.Errorf("spool: %w", err)
	}
	s.exclude(name, err)
	return nil
}

// ofTheFile tells whether an error is about one file, and stays.
func ofTheFile(err error) bool {
	for _, e := range []error{syscall.EACCES, syscall.EPERM, syscall.EIO, syscall.EISDIR, syscall.ELOOP, syscall.ENXIO, errUnclean} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// scanSlots gives the entries that lie in slots.
func (s *Spool) scanSlots(fn func(Entry) error) error {
	for _, n := range s.slots.takeDamaged() {
		s.setSlotAside(n)
	}
	for _, id := range s.slots.ids() {
		moved, err := s.settleMove(id)
		if err != nil {
			return err
		}
		if moved {
			continue // its file comes with the others
		}
		in, ok := s.slots.open(id)
		if !ok {
			continue
		}
		e, _, err := readEntry(in, in.Size(), make([]byte, in.Size()))
		in.Close() //nolint:errcheck // it only reads
		s.entries.Add(1)
		s.bytes.Add(in.Size())
		switch {
		case err != nil:
			err = s.Quarantine(id, err)
		default:
			e.ID = id
			err = fn(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setSlotAside keeps what a damaged slot holds for a person to look at: a
// message that a power cut tore before it was acknowledged, or one that the disk
// has spoilt. A slot that cannot be copied is not used again.
func (s *Spool) setSlotAside(number int) {
	name := fmt.Sprintf("slot-%d", number)
	to := s.asidePath(name)
	why := errors.New("it was being written when the power failed, or the disk has spoilt it")
	content := make([]byte, slotSize)
	err := s.slots.read(number, content)
	if err == nil {
		err = keep(to, content) // on the disk before the slot is overwritten
	}
	if err != nil {
		s.say("a damaged spool slot could not be copied to quarantine; it is left as it is", name, "", errors.Join(why, err))
		return
	}
	s.say("spool slot copied to quarantine", name, to, why)
	mark := s.sync.mark()
	if err = s.slots.zero(number); err == nil {
		err = s.freeSlot(name, &slot{number: number}, mark)
	}
	if err != nil {
		s.o.Log.Warn("spool: a damaged slot cannot be cleared", "id", name, "cause", s.disk(err))
	}
}

// keep writes a file durably, with its name.
func keep(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return syncDirs(filepath.Dir(path))
}

// settleMove ends what a crash in moveOut left: of two copies of the entry id
// the file stays if all of it is there, otherwise the slot.
func (s *Spool) settleMove(id string) (moved bool, err error) {
	mark := s.sync.mark()
	info, err := os.Lstat(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	f, err := openFile(s.path(id), os.O_RDONLY, 0)
	if err == nil {
		defer f.Close()
		if info.Mode().IsRegular() && whole(f) {
			if err := s.sync.wait(f, mark); err != nil { // before the other copy goes
				return false, s.disk(err)
			}
			return true, s.clearSlot(id, false)
		}
	}
	s.entries.Add(1)
	s.bytes.Add(info.Size())
	if !info.Mode().IsRegular() || err != nil {
		s.exclude(id, errors.Join(errors.New("it stands where the file of an entry may be"), err))
		return false, nil
	}
	s.entries.Add(-1)
	s.bytes.Add(-info.Size())
	if err := os.Remove(s.path(id)); err != nil {
		return false, s.disk(err)
	}
	return false, s.sync.wait(nil, mark)
}

// whole tells whether a file is an entry whose body is what its preamble says.
func whole(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	e, _, err := readEntry(f, info.Size(), make([]byte, scanBuffer))
	if err != nil {
		return false
	}
	var head [preambleSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return false
	}
	p, err := decodePreamble(head[:])
	if err != nil {
		return false
	}
	sum := crc32.New(castagnoli)
	_, err = io.Copy(sum, io.NewSectionReader(f, preambleSize, e.Size))
	return err == nil && sum.Sum32() == p.crc
}
