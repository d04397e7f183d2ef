// Package mx tests direct delivery against software that none of us wrote:
// Debian's Knot DNS with a signed zone, Unbound as the validating resolver, and
// Postfix as the recipients' mail servers, in network namespaces of the test's
// own, on the ports that the world uses.
package mx

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is set in the process that runs in the namespace.
const inside = "PRINTER_RELAY_TEST_MX"

// TestMain runs the tests in a namespace where nobody else is: ports 25, 53 and
// 443 are free, /etc/resolv.conf names the test's resolver, and the system's
// authorities are the test's.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	code, err := again()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/mx: no namespaces of its own:", err)
		code = 1
	}
	os.Exit(code)
}

// again runs this program in new namespaces and gives its exit code.
func again() (int, error) {
	dir, err := os.MkdirTemp("", "mx")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		return 0, err
	}
	runtime.LockOSThread() // the child is told of the thread's end
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+dir, "SSL_CERT_FILE="+filepath.Join(dir, "ca.crt"), "SSL_CERT_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// resolvConf puts the test's resolv.conf in the place of the system's, for this
// process and its children alone.
func resolvConf(t *testing.T) {
	t.Helper()
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(os.Getenv(inside), "resolv.conf"), "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
}
