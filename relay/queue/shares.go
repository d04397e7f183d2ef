package queue

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	pools "github.com/printerrelay/printer-relay/relay/share" // this package has a share of its own
	"github.com/printerrelay/printer-relay/relay/spool"
)

// Bounds of a message that comes in.
const (
	smallest  = 64 << 10    // octets for which there must be room before a message begins
	paceTime  = time.Minute // that a message may wait for room, in all: TCP has its client wait meanwhile
	keptShare = 64          // the part of what is left that is kept for one whose size is not known
	headRoom  = 16 << 10    // octets that intake may add to what was announced
	perItem   = 528         // octets of memory that a message takes, about
	perRcpt   = 400         // and each of its recipients, with what is known of the last attempt
	perString = 16          // and each string of them, beside its octets
)

// ErrShare says that a client has its share of the spool or of the queue. It is
// also a spool.ErrFull.
var ErrShare = fmt.Errorf("%w for this client: what is left is for clients that have less in it", spool.ErrFull)

// shares divides the spool, and the memory of the queue, among clients.
type shares struct {
	spool  *pools.Pool  // octets
	memory *pools.Pool  // octets
	held   atomic.Int64 // memory that messages take
}

func (s *shares) init(st store, maxMemory int64) {
	s.spool = pools.New(func() int64 { return st.Room() })
	s.memory = pools.New(func() int64 { return maxMemory - s.held.Load() })
}

// account is whose share a client's messages count for: the user's, behind
// whatever address, or the device's. Our own have none.
func (c Client) account() string {
	switch {
	case c.User != "":
		return "user " + c.User
	case c.Addr.IsValid():
		return envelope.Device(c.Addr).String()
	}
	return ""
}

// weight is the octets of memory that the message takes, about.
func (m *Message) weight() int64 {
	n := perItem + len(m.ID) + len(m.MessageID) + len(m.Client.HELO) + len(m.Sender.Local) + len(m.Sender.Domain)
	for i := range m.Recipients {
		r := &m.Recipients[i]
		n += perRcpt
		for _, s := range []string{r.Address.Local, r.Address.Domain, r.Original.Local, r.Original.Domain} {
			n += perString + len(s)
		}
	}
	return int64(n)
}

func (s *shares) hold(m *Message) {
	n := m.weight()
	s.held.Add(n)
	s.memory.Hold(m.Client.account(), n)
	s.spool.Hold(m.Client.account(), m.Size)
}

func (s *shares) drop(m *Message) {
	n := m.weight()
	s.held.Add(-n)
	s.memory.Drop(m.Client.account(), n)
	s.spool.Drop(m.Client.account(), m.Size)
}

// admit takes memory for a message until done is called: by then it is held, or
// gone. Notifications are always admitted: there are not more of them than messages.
func (s *shares) admit(m *Message) (done func(), err error) {
	account, n := m.Client.account(), m.weight()
	if account == "" {
		return func() {}, nil
	}
	now, cancel := context.WithCancel(context.Background())
	cancel() // it waits for nobody
	if s.memory.Take(now, account, n) != nil {
		return nil, ErrShare
	}
	return func() { s.memory.Give(account, n) }, nil
}

// Admits tells whether a message of so many octets from c may begin, as ErrShare
// where not. Begin may still find no room.
func (q *Queue) Admits(c Client, octets int64) error {
	account := c.account()
	if !q.shares.spool.May(account, max(octets, smallest)) || !q.shares.memory.May(account, perItem+perRcpt) {
		return ErrShare
	}
	return nil
}

// Incoming is a message that is coming in: octets of the spool that are kept for
// it, so that one that has begun does not fail because others came later.
type Incoming struct {
	shares  *shares
	account string
	kept    int64
	came    int64
	waited  time.Duration
}

// Begin keeps room for a message of c: the octets that it announced, or where it
// announced none (0) a part of what is left, at most limit. Where there is no room it
// waits, until ctx ends or for a minute. End must follow.
func (q *Queue) Begin(ctx context.Context, c Client, announced, limit int64) (*Incoming, error) {
	in := &Incoming{shares: &q.shares, account: c.account()}
	want := announced + headRoom
	if announced <= 0 {
		want = min(limit, q.shares.spool.Left()/keptShare)
	}
	if err := in.take(ctx, max(want, smallest)); err != nil {
		return nil, err
	}
	return in, nil
}

func (in *Incoming) take(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, paceTime-in.waited)
	defer cancel()
	begun := time.Now()
	err := in.shares.spool.Take(ctx, in.account, n)
	in.waited += time.Since(begun)
	if err != nil {
		return ErrShare
	}
	in.kept += n
	return nil
}

// Writer gives w behind the bound: what is written counts, and waits for room where
// there is none, a minute in all. Its error is ErrShare then.
func (in *Incoming) Writer(ctx context.Context, w io.Writer) io.Writer {
	return &incomingWriter{in: in, ctx: ctx, w: w}
}

type incomingWriter struct {
	in  *Incoming
	ctx context.Context
	w   io.Writer
}

func (w *incomingWriter) Write(p []byte) (int, error) {
	if over := w.in.came + int64(len(p)) - w.in.kept; over > 0 {
		if err := w.in.take(w.ctx, over); err != nil {
			return 0, err
		}
	}
	n, err := w.w.Write(p)
	w.in.came += int64(n)
	return n, err
}

// End gives back what was kept: the message is in the queue, or gone.
func (in *Incoming) End() { in.shares.spool.Give(in.account, in.kept) }
