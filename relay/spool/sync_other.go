//go:build !linux

package spool

import (
	"fmt"
	"math"
	"os"
)

const canSyncVolume = false

func syncVolume(dir *os.File) error { return dir.Sync() }

func syncData(f *os.File) error { return f.Sync() }

func openFile(path string, flag int, perm uint32) (*os.File, error) {
	return os.OpenFile(path, flag, os.FileMode(perm))
}

// takeLock locks nothing: it is for development only; releases are built for
// Linux.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return f, nil
}

type freeSpace struct{ dir string }

func (freeSpace) get() int64 { return math.MaxInt64 }

func (freeSpace) known() int64 { return math.MaxInt64 }
