package history

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Settings are those of a relay's manifest.
type Settings struct {
	Keep     time.Duration // 0: nothing is kept
	Size     int64         // octets of the file
	Subjects bool
}

// Options is what New takes. All are required but Log and Advise.
type Options struct {
	Dir      string // of the database
	Settings Settings
	Free     func() int64 // octets free on the volume; it must not block for long
	Reserve  int64        // of them that stay free, beside what the spool keeps free
	Log      *slog.Logger
	// Advise is what an outcome of an upstream means, and what to do; empty: it is not known.
	Advise  func(upstream string, o *upstream.Outcome) string
	Dropped func(why string) // counts what was not kept: "busy", "off", "refusals"
}

// Bounds of what waits to be written.
const (
	mailRoom    = 4096 // things that happened
	refusalRoom = 512
	batchTime   = 5 * time.Second // between two writes
	batchMost   = 2000            // entries of one
	batchOctets = 4 << 20
)

// Store is the history of one relay. Its methods are safe for concurrent use.
type Store struct {
	o        Options
	settings atomic.Pointer[Settings]
	mail     inbox[queue.Progress]
	refused  inbox[RefusedCommand]
	bell     chan struct{} // an inbox is half full
	ask      chan request
	ended    chan struct{} // closed when Run has returned

	db       atomic.Pointer[database] // nil: there is none
	problem  atomic.Pointer[string]
	review   atomic.Pointer[review] // nil: there is none, or it is done
	searches chan struct{}          // places
	recent   recent                 // refusals; of Run
	pending  batch                  // of Run
	retry    backoff                // of Run

	erased       bool             // of Run: nothing is kept, and nothing is there
	spareMail    []queue.Progress // of Run, empty
	spareRefused []RefusedCommand
}

// request has Run write what waits, and then do something.
type request struct {
	do   func() error // nil: nothing more
	done chan error
}

// New makes a store; Run opens its database.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dropped == nil {
		o.Dropped = func(string) {}
	}
	s := &Store{
		o: o, mail: inbox[queue.Progress]{room: mailRoom}, refused: inbox[RefusedCommand]{room: refusalRoom},
		bell: make(chan struct{}, 1), ask: make(chan request), ended: make(chan struct{}), searches: make(chan struct{}, 2),
	}
	s.settings.Store(&o.Settings)
	s.pending.init()
	return s
}

// Update takes new settings: what is too old or too much by them goes with the next
// batch.
func (s *Store) Update(n Settings) { s.settings.Store(&n) }

// Witness takes what happened to a message. It does not block, and makes nothing:
// who calls it is on the way of mail.
func (s *Store) Witness(p queue.Progress) {
	if s.settings.Load().Keep <= 0 {
		return
	}
	if !s.mail.put(p, s.bell) {
		s.o.Dropped("busy")
	}
}

// Refused takes a refusal; so many that they do not fit are counted only. It does not
// block.
func (s *Store) Refused(r RefusedCommand) {
	if s.settings.Load().Keep <= 0 {
		return
	}
	if !s.refused.put(r, s.bell) {
		s.o.Dropped("refusals")
	}
}

// Problem says why there is no history, or not all of it; empty: all is well.
func (s *Store) Problem() string {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// Octets are those of the database's file.
func (s *Store) Octets() int64 {
	if d := s.db.Load(); d != nil {
		return d.octets.Load()
	}
	return 0
}

// Run writes what Witness and Refused are given until ctx ends, and the rest then.
// It owns the database and every goroutine of the store. Call it once.
func (s *Store) Run(ctx context.Context) {
	defer close(s.ended)
	defer s.close()
	tick := time.NewTicker(batchTime)
	defer tick.Stop()
	s.open()
	for {
		select {
		case <-s.bell:
			s.drain()
		case q := <-s.ask:
			q.done <- s.serve(q)
		case <-tick.C:
			s.drain()
			s.look()
			s.write()
		case <-ctx.Done():
			s.drain()
			s.write()
			return
		}
	}
}

// inbox holds what waits for Run, with a bound. Run looks at it when it is half full,
// and with each batch: to wake a goroutine for every message would cost more than all
// the rest.
type inbox[T any] struct {
	room  int
	mu    sync.Mutex
	items []T
}

// put tells whether there was room.
func (b *inbox[T]) put(x T, bell chan struct{}) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == b.room {
		return false
	}
	b.items = append(b.items, x)
	if len(b.items) == b.room/2 {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	return true
}

// take gives all, and leaves the memory of spare in its place.
func (b *inbox[T]) take(spare []T) []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = spare[:0]
	return items
}

// drain takes what waits in the inboxes.
func (s *Store) drain() {
	mail := s.mail.take(s.spareMail)
	for i := range mail {
		s.happened(&mail[i])
		if s.pending.full() {
			s.write()
		}
	}
	clear(mail)
	refused := s.refused.take(s.spareRefused)
	for i := range refused {
		s.refusal(&refused[i])
		if s.pending.full() {
			s.write()
		}
	}
	clear(refused)
	s.spareMail, s.spareRefused = mail, refused
}

// serve writes what waits, so that who asks sees it, and does what is asked.
func (s *Store) serve(q request) error {
	s.drain()
	s.look()
	s.write()
	if q.do == nil {
		return nil
	}
	return q.do()
}

// request asks Run; ctx ends the waiting, not what Run does.
func (s *Store) request(ctx context.Context, do func() error) error {
	q := request{do: do, done: make(chan error, 1)}
	select {
	case s.ask <- q:
	case <-s.ended:
		return ErrOff
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-q.done:
		return err
	case <-s.ended:
		return ErrOff
	case <-ctx.Done():
		return ctx.Err()
	}
}

// happened folds p into its message's entry.
func (s *Store) happened(p *queue.Progress) {
	var e *entry
	if p.Event != queue.Arrived || p.Recalled {
		e = s.entryOf(p.Message.ID)
	}
	if p.Recalled && (s.db.Load() == nil || e != nil && p.At.UnixNano() <= e.changed) {
		return // it is known; or it cannot be told whether it is
	}
	if e == nil {
		e = newMessage(p.Message, s.settings.Load().Subjects)
	}
	e.fold(p)
	s.pending.put(p.Message.ID, e)
	if of := p.Message.DSNOf; of != "" && p.Event == queue.Arrived {
		if parent := s.entryOf(of); parent != nil && !(p.Recalled && parent.mentions(p.Message.ID)) {
			parent.add(notified(p.Message))
			s.pending.put(of, parent)
		}
	}
}

// entryOf is what is known of a message so far; nil: nothing.
func (s *Store) entryOf(id string) *entry {
	if e := s.pending.entries[id]; e != nil {
		return e
	}
	d := s.db.Load()
	if d == nil {
		return nil
	}
	e, err := d.entry(messagesBucket, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.trouble(err)
	}
	return e
}

// batch are the entries that are to be written.
type batch struct {
	entries map[string]*entry
	octets  int
}

func (b *batch) init() { b.entries, b.octets = make(map[string]*entry), 0 }

func (b *batch) put(id string, e *entry) {
	b.entries[id] = e
	b.octets += 512
	if n := len(e.events); n > 0 {
		b.octets += len(e.events[n-1])
	}
}

func (b *batch) full() bool { return len(b.entries) >= batchMost || b.octets >= batchOctets }

// write writes the batch, and what is too old or too much goes. A batch that cannot be
// written is kept while there is room for it.
func (s *Store) write() {
	set := s.settings.Load()
	switch {
	case set.Keep <= 0:
		s.pending.init()
		s.says("")
		s.erase()
		return
	case !s.retry.due(time.Now()):
		s.shed()
		return
	case s.db.Load() == nil && !s.open():
		s.shed()
		return
	}
	s.erased = false
	d := s.db.Load()
	err := errNoRoom
	if idle := len(s.pending.entries) == 0 && s.Problem() == ""; idle || s.o.Free() >= s.o.Reserve {
		err = d.commit(s.pending.entries, set, time.Now())
	}
	if err != nil {
		s.trouble(err)
		s.shed()
		return
	}
	s.pending.init()
	s.retry = backoff{}
	s.says("")
}

// shed drops a batch that has become too large to wait.
func (s *Store) shed() {
	if !s.pending.full() {
		return
	}
	for range s.pending.entries {
		s.o.Dropped("off")
	}
	s.pending.init()
}

// backoff is when to try again what failed.
type backoff struct {
	next time.Time
	wait time.Duration
}

func (b *backoff) due(now time.Time) bool { return !now.Before(b.next) }

func (b *backoff) failed(now time.Time) {
	b.wait = min(max(2*b.wait, batchTime), time.Minute)
	b.next = now.Add(b.wait)
}

// trouble says once what does not work. A database that is damaged is set aside, and a
// new one begun.
func (s *Store) trouble(err error) {
	s.retry.failed(time.Now())
	if errors.Is(err, errDamaged) {
		s.setAside(err)
		return
	}
	s.says("history: " + err.Error() + ": mail goes on, what happens meanwhile may be missing from the history")
}

// says tells of a problem, or that there is none any more.
func (s *Store) says(problem string) {
	if s.Problem() == problem {
		return
	}
	s.problem.Store(&problem)
	if problem == "" {
		s.o.Log.Info("the history is written again")
		return
	}
	s.o.Log.Warn("history", "problem", problem)
}
