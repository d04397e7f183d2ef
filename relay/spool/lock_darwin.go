package spool

import (
	"fmt"
	"os"
	"syscall"
)

// takeLock keeps a second relay away from the folder, as on Linux.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("spool: %w (%s is locked): stop it, or give each its own --state", ErrLocked, path)
	}
	return f, nil
}
