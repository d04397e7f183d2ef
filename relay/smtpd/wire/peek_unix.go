//go:build unix

package wire

import (
	"net"
	"syscall"
)

// pending tells whether octets wait in a socket, without waiting for any.
func pending(sock net.Conn) bool {
	sc, ok := sock.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) //nolint:errcheck // nothing there is the usual answer
		return true
	})
	return err == nil && n > 0
}
