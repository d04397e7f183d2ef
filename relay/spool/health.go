package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrFailing says that the volume does not take what is written to it: it is
// read-only, or broken.
var ErrFailing = errors.New("the spool cannot be written")

// health is what is known of the volume: the error of the last write or sync
// that failed, until one goes well again.
type health struct {
	path string // of the probe

	mu      sync.Mutex
	err     error
	probing bool
	probed  time.Time
}

const (
	probeEvery = time.Second // while the volume fails
	probeSize  = 4 << 10     // takes a block
)

// disk makes of an error of the volume what callers tell apart, ErrFull or
// ErrFailing, and keeps it for Full.
func (s *Spool) disk(err error) error {
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, ErrNotFound):
		return fmt.Errorf("spool: %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: %w", ErrFull, err)
	default:
		err = fmt.Errorf("%w: %w", ErrFailing, err)
	}
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	s.health.err = err
	return err
}

// trouble gives why the volume was last not to be written; nil: it was. While it
// fails a small file is written and synced now and then, by one of the callers:
// so a relay that nobody sends to, because it is not ready, finds out too.
func (h *health) trouble() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || h.probing || time.Since(h.probed) < probeEvery {
		return h.err
	}
	h.probing = true
	h.mu.Unlock()
	err := h.probe()
	h.mu.Lock()
	h.probing, h.probed = false, time.Now()
	if err == nil {
		h.err = nil
	}
	return h.err
}

func (h *health) probe() error {
	f, err := openFile(h.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	if err == nil {
		err = syncData(f)
	}
	return errors.Join(err, f.Close(), os.Remove(h.path))
}
