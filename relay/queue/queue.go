// Package queue decides when to try what. It keeps one small record in memory
// for each message of the spool, groups the recipients that are due by upstream
// into attempts, asks the Deliverer to make them, writes what became of them to
// the spool before it counts, and tries again, falls back, gives up or notifies.
// It knows no SMTP and no headers.
//
// It may import relay/spool, share, envelope, upstream, plan, policy (its names), dsn,
// transcript (what stands in place of a password) and metrics.
package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Options is what New takes.
type Options struct {
	Deliver  Deliverer
	Settings Settings // the first ones; Update changes them

	// Capabilities tells what an upstream is known to carry; nil: no limits are
	// known. It must not block.
	Capabilities func(name string) upstream.Capabilities

	// Notice writes a notification as a whole message to w; nil: WriteNotice.
	Notice func(w io.Writer, n *Notice) (Content, error)

	// Digest writes a digest as a whole message to w; nil: WriteDigest.
	Digest func(w io.Writer, d *Digest) (Content, error)

	// Permits says why the policy of now would not take a message in; nil: it would.
	// Verbs that let mail go ask it. It may read the spool.
	Permits func(m *Message) error

	// Witness is told what becomes of messages, once that is on stable storage; nil:
	// nobody is. It is called often and must not block.
	Witness func(Progress)

	Log         *slog.Logger  // nil: none
	Metrics     *metrics.Set  // nil: none
	MaxMessages int           // 0: 500,000
	MaxMemory   int64         // octets that messages may take in memory, about; 0: 400 MiB
	Grace       time.Duration // for attempts that run when Run's context ends; 0: 20 s
	Timeout     time.Duration // of one attempt, beside the transport's own; 0: 1 h
}

// ErrFull says that the queue holds as many messages as it may. It is also a
// spool.ErrFull.
var ErrFull = fmt.Errorf("%w: the queue holds as many messages as it may", spool.ErrFull)

const (
	never        = math.MaxInt64
	choreWorkers = 4
)

// store is the spool, as far as the queue needs it.
type store interface {
	Scan(fn func(spool.Entry) error) error
	Create(id string) (*spool.Writer, error)
	Append(id string, record []byte) error
	Remove(id string) error
	Body(id string) (*spool.Reader, error)
	Read(id string) (spool.Entry, error)
	Room() int64
}

// Queue is the queue of one relay. Its methods are safe for concurrent use.
type Queue struct {
	o     Options
	store store
	log   *slog.Logger

	hard    context.Context // ends attempts that outlast the grace
	hardEnd context.CancelFunc

	updating  sync.Mutex // one Update at a time; taken before mu
	mu        sync.Mutex // memory only: never held during I/O
	unlocked  sync.Cond  // an item's lock was released
	routing   *routing
	items     map[string]*item
	order     order
	coming    int // messages that are being committed
	shares    shares
	lanes     map[string]*lane
	timers    timers
	alarm     int64         // when Run looks at the timers next
	poke      chan struct{} // it is to look earlier
	strs      strs
	chores    fifo[*item]
	chorers   int
	workers   int           // goroutines of lanes and chores
	unwritten int           // attempts whose results wait for a spool that cannot be written
	idle      chan struct{} // closed when stopping and the last of them ended
	running   bool
	stopping  bool
	era       uint32                // grows with each Update: jobs that were made before are in no lane
	snap      Snapshot              // the last one, for a second
	followed  map[string]*following // by Message-ID
	hearings  map[hearer]*hearing
	crowd     int                // so many hearings are looked through for some to forget
	gathered  map[*item]*hearing // where each is that waits for a digest
	digests   int                // that are being made
	recent    recent             // between Load and Recall
}

// New makes a queue over s. Load fills it and Run runs it.
func New(s *spool.Spool, o Options) *Queue { return newQueue(s, o) }

func newQueue(s store, o Options) *Queue {
	if o.MaxMessages <= 0 {
		o.MaxMessages = 500_000
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 400 << 20
	}
	if o.Grace <= 0 {
		o.Grace = 20 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Hour
	}
	if o.Notice == nil {
		o.Notice = WriteNotice
	}
	if o.Digest == nil {
		o.Digest = WriteDigest
	}
	q := &Queue{
		o:       o,
		store:   s,
		log:     o.Log,
		routing: &routing{},
		items:   make(map[string]*item),
		lanes:   make(map[string]*lane),

		hearings: make(map[hearer]*hearing),
		gathered: make(map[*item]*hearing),

		alarm: never,
		poke:  make(chan struct{}, 1),
		idle:  make(chan struct{}),
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	q.unlocked.L = &q.mu
	q.shares.init(s, o.MaxMemory)
	q.hard, q.hardEnd = context.WithCancel(context.Background())
	q.rewire(o.Settings)
	return q
}

// Update takes new settings. What waits is routed anew, unless it was rerouted
// by hand; attempts that run end as they began. To go through a long queue takes a
// while, in which mail comes in and goes out. Nothing goes by the routes before:
// the lanes are empty, and get each message again when its turn comes.
func (q *Queue) Update(s Settings) {
	q.updating.Lock()
	defer q.updating.Unlock()
	q.mu.Lock()
	q.era++
	for _, l := range q.lanes {
		l.empty()
	}
	q.rewire(s)
	q.mu.Unlock()
	q.walk("", func(it *item) bool {
		q.withdraw(it)
		for i := range it.rcpts {
			it.rcpts[i].endRound()
		}
		q.again(it)
		return true
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now().UnixNano()
	for _, l := range q.lanes {
		q.kick(l, now)
	}
}

// Run makes attempts until ctx ends, then lets those that run end within the
// grace, cancels the rest and waits for them. It owns every goroutine of the
// queue. It returns nil; call it once.
func (q *Queue) Run(ctx context.Context) error {
	q.start()
	for {
		q.mu.Lock()
		wait, ok := q.tick()
		q.mu.Unlock()
		var alarm <-chan time.Time
		var timer *time.Timer
		if ok {
			timer = time.NewTimer(wait)
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
		case <-q.poke:
		case <-alarm:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			q.stop()
			return nil //nolint:nilerr // that the context ended is how it is stopped
		}
	}
}

func (q *Queue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = true
	q.regather(time.Now().UnixNano())
	for _, it := range q.order.all() {
		q.again(it)
	}
}

func (q *Queue) stop() {
	q.mu.Lock()
	q.stopping = true
	for _, it := range q.items {
		if it.ticket != nil && it.ticket.undecided {
			it.ticket.settle(Queued)
		}
	}
	busy := q.workers > 0
	q.mu.Unlock()
	if busy {
		grace := time.NewTimer(q.o.Grace)
		select {
		case <-q.idle:
		case <-grace.C:
			q.hardEnd()
			<-q.idle
		}
		grace.Stop()
	}
	q.hardEnd()
}

// done ends a goroutine of the queue. It wants q.mu held.
func (q *Queue) done() {
	q.workers--
	if q.stopping && q.workers == 0 {
		close(q.idle)
	}
}

// Submit commits w, whose entry has the ID m.ID, with m as its Meta: when it
// returns nil the message is durable and the queue delivers it. After an error
// nothing of it is left. m must not be changed afterwards.
func (q *Queue) Submit(w *spool.Writer, m *Message) (*Ticket, error) {
	if m.ID == "" || len(m.Recipients) == 0 || len(m.Recipients) > math.MaxUint16 {
		w.Abort()
		return nil, fmt.Errorf("queue: a message needs an ID and 1 to %d recipients", math.MaxUint16)
	}
	if m.Origin == nil {
		m.Origin = &Origin{}
	}
	if !q.reserve(m) {
		w.Abort()
		return nil, ErrFull
	}
	defer q.unreserve()
	done, err := q.shares.admit(m)
	if err != nil {
		w.Abort()
		return nil, err
	}
	defer done()
	if m.Arrived.IsZero() {
		m.Arrived = time.Now()
	}
	meta, err := json.Marshal(m)
	if err == nil {
		err = w.Commit(meta)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		w.Abort()
		return nil, fmt.Errorf("queue: message %s: %w", m.ID, err)
	}
	t := q.add(m)
	q.arrived(t.it)
	return t, nil
}

// reserve keeps a place for m, and holds it where the manifests say so.
func (q *Queue) reserve(m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items)+q.coming >= q.o.MaxMessages {
		return false
	}
	q.coming++
	if h := q.routing.holdOf(m, ""); h != nil {
		m.Held = holdText(h)
	}
	return true
}

func (q *Queue) unreserve() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.coming--
}

// Full tells whether Submit would refuse a message now for want of room.
func (q *Queue) Full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)+q.coming >= q.o.MaxMessages
}

// add takes a message that is on stable storage. It wants q.mu held.
func (q *Queue) add(m *Message) *Ticket {
	q.strs.share(m)
	it := newItem(m)
	q.items[m.ID] = it
	q.order.add(it)
	q.shares.hold(m)
	t := &Ticket{ID: m.ID, q: q, it: it}
	if m.Relayed && q.running && !q.stopping && it.held == "" && !m.NotBefore.After(m.Arrived) {
		t.done = make(chan struct{})
		t.res.Outcomes = make([]upstream.Outcome, len(m.Recipients))
		t.left = len(m.Recipients)
		t.undecided = true
		it.ticket = t
	}
	q.joined(it)
	q.again(it)
	return t
}

// stuck tells whether a recipient that waits is neither being tried nor next in
// a lane that works.
func (q *Queue) stuck(it *item) bool {
	now := time.Now().UnixNano()
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting {
			continue
		}
		if !x.busy || x.job != nil && x.job.lane.whyDown(now) != "" {
			return true
		}
	}
	return false
}
