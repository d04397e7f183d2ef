//go:build !linux

package spool

import (
	"math"
	"os"
	"syscall"
)

const canSyncVolume = false

// errUnclean: other systems have no word of their own for it.
const errUnclean = syscall.EIO

func syncVolume(dir *os.File) error { return dir.Sync() }

func syncData(f *os.File) error { return f.Sync() }

func openFile(path string, flag int, perm uint32) (*os.File, error) {
	return os.OpenFile(path, flag, os.FileMode(perm))
}

type freeSpace struct{ dir string }

func (freeSpace) get() int64 { return math.MaxInt64 }

func (freeSpace) known() int64 { return math.MaxInt64 }
