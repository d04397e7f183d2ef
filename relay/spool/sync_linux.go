package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// canSyncVolume: syncfs(2) reports errors of write-back since Linux 5.8.
const canSyncVolume = true

// errUnclean is a file system that found itself damaged.
const errUnclean = unix.EUCLEAN

func syncVolume(dir *os.File) error {
	for {
		if err := unix.Syncfs(int(dir.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openFile is os.OpenFile without its attempt to wait for a regular file by
// epoll, which costs five system calls and always fails.
func openFile(path string, flag int, perm uint32) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flag|unix.O_CLOEXEC, perm)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// takeLock keeps a second relay away from the folder. The lock goes with the
// process, however it ends.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("spool: %w (%s is locked): stop it, or give each its own --state", ErrLocked, path)
	}
	return f, nil
}

// freeSpace asks the volume at most once a second.
type freeSpace struct {
	dir  string
	mu   sync.Mutex
	at   time.Time
	free int64
	last atomic.Int64 // free, for who must not wait
}

func (s *freeSpace) get() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.at.IsZero() || now.Sub(s.at) >= time.Second {
		var st unix.Statfs_t
		if err := unix.Statfs(s.dir, &st); err == nil {
			s.free, s.at = int64(st.Bavail)*st.Bsize, now //nolint:gosec // blocks of a volume
			s.last.Store(s.free)
		}
	}
	return s.free
}

// known is what get said last; it asks nobody.
func (s *freeSpace) known() int64 { return s.last.Load() }
