//go:build linux

// Package disk takes the disk away from a relay under load, in all the ways that
// a disk goes: the power is cut on ext4 and xfs, it fills, becomes read-only,
// answers with I/O errors, spoils what it holds. It looks for every message that
// was acknowledged. As root, on Linux: it mounts file systems of its own.
package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
)

// inside is set in the process that has a mount namespace, to the program.
const inside = "PRINTER_RELAY_TEST_DISK"

// TestMain runs the tests where nobody else sees their mounts, and none stays
// however they end.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	code, err := again()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/disk:", err)
		code = 1
	}
	os.Exit(code)
}

// again runs this program in a new mount namespace and gives its exit code.
func again() (int, error) {
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	bin, err := ledger.Build(dir)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread() // the child is told of the thread's end
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// program gives the relay's, and sees to it that mounts are the test's own.
func program(t *testing.T) string {
	t.Helper()
	env.NeedRoot(t)
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	return os.Getenv(inside)
}
