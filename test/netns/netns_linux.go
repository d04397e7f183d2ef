// Package netns runs parts of a test in another network namespace: sockets and
// programs that are made there stay there. Only tests import it.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a network namespace.
type Network struct {
	file *os.File
}

// Open opens a namespace by its file, such as /run/netns/NAME or
// /proc/PID/ns/net. It is closed with the test.
func Open(t testing.TB, path string) *Network {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Network{file: f}
}

// Do runs fn in the namespace. Sockets that fn opens and programs that it
// starts belong to it; goroutines that it starts do not. The thread stays for
// programs that are to end with it.
func (n *Network) Do(fn func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err == nil {
		defer own.Close() //nolint:errcheck // only read
		err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		panic(fmt.Sprintf("network namespace: %v; the test must run as root", err))
	}
	defer func() {
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("back from the network namespace: %v", err)) // this thread must not go on elsewhere
		}
	}()
	fn()
}

// Dial connects from the namespace to an IP address with a port.
func (n *Network) Dial(ctx context.Context, address string) (c net.Conn, err error) {
	n.Do(func() { c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address) })
	return c, err
}
