package queue

import (
	"net/netip"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// job is an attempt that waits for its turn in a lane: some recipients of one
// message.
type job struct {
	it     *item
	lane   *lane
	rcpts  []uint16
	domain *domain // of all recipients; nil: they have several
	number int32   // of the attempt, once it begins
	era    uint32  // of the queue, when it was made
	dead   bool    // taken back while it waited
	parked bool    // waits in its domain, not in the lane
	again  bool    // not the first attempt of these recipients

	unwritten bool // its results wait for a spool that cannot be written
}

// fifo is a queue in a slice.
type fifo[T any] struct {
	buf  []T
	head int
}

func (f *fifo[T]) len() int { return len(f.buf) - f.head }

func (f *fifo[T]) push(v T) {
	if f.head > 32 && f.head > len(f.buf)/2 {
		n := copy(f.buf, f.buf[f.head:])
		clear(f.buf[n:])
		f.buf, f.head = f.buf[:n], 0
	}
	f.buf = append(f.buf, v)
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.buf[f.head]
	f.buf[f.head] = zero
	f.head++
	if f.head == len(f.buf) {
		f.head = 0
		if cap(f.buf) > 1024 { // a backlog is over: give its memory back
			f.buf = nil
		} else {
			f.buf = f.buf[:0]
		}
	}
	return v
}

// fair gives jobs out round-robin over the clients that sent them, so that one
// busy copier does not make the others wait.
type fair struct {
	clients map[netip.Prefix]*share
	order   fifo[*share]
	n       int // jobs, dead ones included
}

type share struct {
	client netip.Prefix
	jobs   fifo[*job]
}

func (f *fair) push(j *job) {
	key := envelope.Device(j.it.msg.Client.Addr)
	s := f.clients[key]
	if s == nil {
		if f.clients == nil {
			f.clients = make(map[netip.Prefix]*share)
		}
		s = &share{client: key}
		f.clients[key] = s
		f.order.push(s)
	}
	s.jobs.push(j)
	f.n++
}

// pop wants f.n > 0.
func (f *fair) pop() *job {
	s := f.order.pop()
	j := s.jobs.pop()
	f.n--
	if s.jobs.len() > 0 {
		f.order.push(s)
	} else {
		delete(f.clients, s.client)
	}
	return j
}

// ready is what waits in a lane. New mail and retries alternate: a backlog of
// retries does not delay new mail, and a stream of new mail does not starve it.
type ready struct {
	fresh, retry fair
	turn         bool // the retries' turn
	dead         int
}

func (r *ready) len() int { return r.fresh.n + r.retry.n - r.dead }

func (r *ready) push(j *job) {
	if j.again {
		r.retry.push(j)
	} else {
		r.fresh.push(j)
	}
}

// pop gives the next job that is not dead, or nil.
func (r *ready) pop() *job {
	for r.fresh.n+r.retry.n > 0 {
		f := &r.fresh
		if f.n == 0 || r.turn && r.retry.n > 0 {
			f = &r.retry
		}
		r.turn = f == &r.fresh
		j := f.pop()
		if !j.dead {
			return j
		}
		r.dead--
	}
	return nil
}
