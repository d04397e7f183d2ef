package env

import (
	"net"
	"testing"
)

// Server is what go-smtp's and net/http's servers have in common.
type Server interface {
	Serve(l net.Listener) error
	Close() error
}

// Serve runs a server until the test ends, and waits for its end. A Close may come
// before Serve has begun, and then knows of no listener: the listener is closed on its
// own, so that a Serve that comes later ends as well.
func Serve(t testing.TB, s Server, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }() //nolint:errcheck // ends with the listener
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // one of the two closes it a second time
		s.Close() //nolint:errcheck // likewise
		<-done
	})
}
