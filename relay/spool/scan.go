package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// Scan gives every committed entry to fn, in no order and from several
// goroutines one at a time. Call it once, before anything is created. What was
// never committed is deleted; what is corrupt, or no entry at all, is moved to
// quarantine. An error of fn ends the scan.
func (s *Spool) Scan(fn func(Entry) error) error {
	names, err := readNames(s.dir)
	if err != nil {
		return err
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		fail error
		next = make(chan string)
	)
	for range min(2*runtime.GOMAXPROCS(0), 16) {
		wg.Go(func() {
			buf := make([]byte, scanBuffer)
			for name := range next {
				e, err := s.scanOne(name, buf)
				mu.Lock()
				if err == nil && e.Meta != nil && fail == nil {
					err = fn(e)
				}
				fail = errors.Join(fail, err)
				mu.Unlock()
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
		return Entry{}, s.setAside(name, errors.New("it is no spool entry"))
	}
	f, err := openFile(path, os.O_RDONLY, 0)
	if err != nil {
		return Entry{}, fmt.Errorf("spool: %w", err)
	}
	defer f.Close()
	e, end, err := readEntry(f, buf)
	switch {
	case errors.Is(err, errUncommitted):
		s.entries.Add(-1)
		s.bytes.Add(-info.Size())
		s.o.Log.Info("spool: a message that was never acknowledged is dropped", "id", name)
		return Entry{}, os.Remove(path)
	case errors.Is(err, ErrCorrupt):
		return Entry{}, s.setAside(name, err)
	case err != nil:
		return Entry{}, err
	}
	if end < info.Size() { // a record that a crash cut off: the next Append goes in its place
		s.mu.Lock()
		s.broken[name] = true
		s.mu.Unlock()
	}
	e.ID = name
	return e, nil
}
