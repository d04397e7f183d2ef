package wire

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// ErrGone is the cause of a context that ended because the client hung up.
var ErrGone = errors.New("the client hung up")

// Watch runs f while somebody listens on the connection: f's context ends with
// ErrGone if the client hangs up meanwhile. It is for a session that waits for
// something else before it answers. What the client sends is kept for later,
// as far as the buffer holds it; a client that sends more than that is not
// watched any longer, but TCP has it wait.
func (c *Conn) Watch(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.hungUp(&over) {
			cancel(ErrGone)
		}
	}()
	f(ctx)
	over.Store(true)
	c.wake()
	<-done
}

// hungUp reads until the client ends the connection, which is true, or over is
// set and the read woken.
func (c *Conn) hungUp(over *atomic.Bool) bool {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.w -= c.r
		c.r = 0
	}
	for c.w < len(c.buf) {
		c.sock.SetReadDeadline(time.Time{}) //nolint:errcheck // a closed socket says so when it is read
		if over.Load() {                    // behind the deadline: a wake-up that came before would be lost
			return false
		}
		n, err := c.sock.Read(c.buf[c.w:])
		c.w += n
		var ne net.Error
		if err != nil && !(errors.As(err, &ne) && ne.Timeout()) { // a timeout is over, or a drain
			return true
		}
	}
	return false
}
