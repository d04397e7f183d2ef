package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// minSize is the least that the database may have, in octets.
const minSize = 1 << 20

// closeTime bounds the end of a database that is damaged: what bbolt holds then it may
// never let go.
const closeTime = 5 * time.Second

// open opens the database, unless it was tried a moment ago; it tells whether it is open.
func (s *Store) open() bool {
	if s.settings.Load().Keep <= 0 || !s.retry.due(time.Now()) {
		return false
	}
	d, err := openDatabase(s.o.Dir, false)
	if err == nil {
		s.db.Store(d)
		s.retry = backoff{}
		return true
	}
	s.trouble(err)
	return false
}

// setAside puts a database that is damaged out of the way, in place of one that was
// before, and has a new one begun. What is in it may still be looked at; nothing of it is
// needed.
func (s *Store) setAside(cause error) {
	s.abandon()
	from, to := filepath.Join(s.o.Dir, fileName), filepath.Join(s.o.Dir, asideName)
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		s.says(fmt.Sprintf("history: %v, and it cannot be set aside: %v: remove %s", cause, err, from))
		return
	}
	s.o.Log.Error("the history is damaged: it was set aside, and a new one is begun", "file", to, "cause", cause)
	s.retry = backoff{}
	s.open()
}

// abandon closes a database that may not be well.
func (s *Store) abandon() {
	d := s.db.Swap(nil)
	if d == nil {
		return
	}
	done := make(chan error, 1)
	go func() { done <- d.close() }()
	t := time.NewTimer(closeTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// close ends the use of the database.
func (s *Store) close() {
	if d := s.db.Swap(nil); d != nil {
		if err := d.close(); err != nil {
			s.o.Log.Warn("closing the history", "cause", err)
		}
	}
}

// erase removes a history that is not to be kept.
func (s *Store) erase() {
	if s.erased {
		return
	}
	s.abandon()
	for _, name := range []string{fileName, asideName} {
		if err := os.Remove(filepath.Join(s.o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.says("history: it is to be kept no more, and cannot be removed: " + err.Error())
			return
		}
	}
	s.erased = true
}
