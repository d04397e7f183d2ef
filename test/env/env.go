// Package env is what tests need from the machine they run on: other people's
// programs, free ports, folders, certificates, processes that end with the
// test. Nothing is ever skipped: what is missing fails the test and says how to
// install it. Only tests import it; it imports the standard library alone.
package env

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Wait bounds every wait: far above what any step takes, so that a slow machine
// does not fail a test.
const Wait = 2 * time.Minute

// systemDirs are searched after PATH: an ordinary user's PATH lacks them.
var systemDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"}

// FindOrFail returns the path of a program, and fails the test if it is not
// installed.
func FindOrFail(t testing.TB, name string) string {
	t.Helper()
	path, err := find(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range systemDirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed, and this test runs it: run `make test-deps` (Debian), or install it", name)
}

// NeedRoot fails the test unless it runs as root: Postfix and Dovecot start no
// other way.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test starts a private Postfix, which only root may: run the tests as root, in a container for instance, or `make test-unit` for those that need nothing")
	}
}

// Root is the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
	}
}

// Ports that FreePort gives. They are below those that the kernel gives to
// outgoing connections, so only another test can take one before its server
// does, and below the highest that a listener may have.
const (
	firstPort = 20000
	lastPort  = 32000
)

// given are the ports that FreePort gave to somebody in this process: one relay
// with two listeners must not be told the same twice.
var given sync.Map

// FreePort gives a loopback port on which nothing listens, and none twice. Another
// process may take it before the caller does: servers are started in a loop.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatalf("no free port between %d and %d", firstPort, lastPort)
	return 0
}

// SharedDir is a temporary folder that every user may enter, unlike
// t.TempDir(), under a path short enough for a Unix socket. It goes with the
// test.
func SharedDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pr") //nolint:usetesting // only its owner may enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("test folder stays behind: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// WriteFile writes a file that every user may read, and its folder.
func WriteFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until ok is true, and fails the test with what, and with
// what says tells, unless that happens within Wait.
func Eventually(t testing.TB, what string, says func() string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Wait)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %s: %s\n%s", Wait, what, says())
		}
	}
}

// Loopback is the address of a loopback port.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Listening says whether something accepts connections at an address.
func Listening(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// Greets says whether the SMTP server at an address greets with 220.
func Greets(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220") {
		return false
	}
	_, err = c.Write([]byte("QUIT\r\n"))
	return err == nil
}
