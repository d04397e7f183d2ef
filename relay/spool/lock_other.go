//go:build !linux && !darwin

package spool

import (
	"errors"
	"os"
	"runtime"
)

// takeLock refuses: a folder cannot be synced everywhere, and what was acknowledged
// must be on the disk.
func takeLock(string) (*os.File, error) {
	return nil, errors.New("spool: mail cannot be kept safely on " + runtime.GOOS + ": run the relay on Linux, in a cluster, a virtual machine or WSL; all commands that need no state folder work here")
}
