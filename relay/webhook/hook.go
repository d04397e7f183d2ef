package webhook

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// hook is one webhook. What is not an atomic or of inbox is run's.
type hook struct {
	o    *Options
	name string
	log  *slog.Logger
	stop func() // of Hooks
	send func(ctx context.Context, c *config, d *delivery) result

	config  atomic.Pointer[config]
	mask    atomic.Uint32 // of the events that it wants
	state   atomic.Pointer[State]
	inbox   inbox
	changed chan struct{}
	asks    chan func()   // what run does for others
	ended   chan struct{} // run has

	box     outbox
	dirty   bool      // box is to be written
	saved   time.Time // when it was, or could not be
	unsaved string    // why it could not; empty: it could

	subjects bool // may be in box

	drainAt time.Time // the inbox is to be looked at; zero: nothing is in it
	known   string    // what config, Secrets and all, was when it was looked at last
	asked   time.Time // when the last request began
	next    time.Time // no request before
	wait    time.Duration
	flight  chan result // of the request that is under way; nil: none is

	problem string // in the log, so that it is said once
	reply   *Reply // the last
}

// config is a webhook as a plan has it.
type config struct {
	plan.Webhook
	subjects bool
	place    int // in spec.webhooks
}

func newHook(o *Options, c config) *hook {
	h := &hook{
		o: o, name: c.Name, log: o.Log.With("webhook", c.Name), changed: make(chan struct{}, 1),
		asks: make(chan func()), ended: make(chan struct{}),
	}
	h.inbox.bell = make(chan struct{}, 1)
	if h.send = o.send; h.send == nil {
		h.send = h.post
	}
	h.state.Store(&State{Name: c.Name})
	h.change(c)
	return h
}

// change takes what a plan says now.
func (h *hook) change(c config) {
	h.config.Store(&c)
	h.mask.Store(uint32(maskOf(c.Events)))
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *hook) path() string { return filepath.Join(h.o.Dir, h.name+".json") }

// run tells what is put into the inbox until ctx ends.
func (h *hook) run(ctx context.Context) {
	defer close(h.ended)
	box, err := loadOutbox(h.path())
	if err != nil {
		h.log.Warn("webhook", "cause", err)
	}
	h.box, h.subjects = *box, true
	h.look()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		h.drain(now)
		h.expire(now)
		h.forget()
		h.begin(ctx, now)
		h.save(now, false)
		h.publish()
		timer.Reset(h.idle(now))
		select {
		case <-timer.C:
		case <-h.inbox.bell:
			if h.drainAt.IsZero() {
				h.drainAt = time.Now().Add(h.o.pace.gather)
			}
		case <-h.changed:
			h.look()
		case do := <-h.asks:
			do()
		case r := <-h.flight:
			h.flight = nil
			h.took(r, time.Now())
		case <-ctx.Done():
			h.end()
			return
		}
	}
}

// end keeps what waits.
func (h *hook) end() {
	if h.flight != nil {
		if r := <-h.flight; r.kind == taken || r.kind == gone { // else it was cut off
			h.took(r, time.Now())
		}
		h.flight = nil
	}
	h.drainAt = time.Now()
	h.drain(h.drainAt)
	h.forget()
	h.save(time.Now(), true)
	h.publish()
}

// idle is how long nothing is to be done.
func (h *hook) idle(now time.Time) time.Duration {
	at := now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if !h.drainAt.IsZero() {
		sooner(h.drainAt)
	}
	if h.dirty {
		sooner(h.saved.Add(h.saveAfter()))
	}
	if h.flight == nil && h.box.Gone == "" && h.box.events() > 0 {
		sooner(h.due())
	}
	return max(0, at.Sub(now))
}

// due is when the next request may be made.
func (h *hook) due() time.Time {
	at := h.asked.Add(time.Minute / time.Duration(max(1, h.config.Load().PerMinute)))
	if h.next.After(at) {
		return h.next
	}
	return at
}

// drain makes events of what is in the inbox, when that is due.
func (h *hook) drain(now time.Time) {
	if h.drainAt.IsZero() || now.Before(h.drainAt) && !h.inbox.crowded() {
		return
	}
	h.drainAt = time.Time{}
	items, refusals, busy := h.inbox.take()
	c := h.config.Load()
	wants := maskOf(c.Events)
	full, off := 0, 0
	keep := func(w waiting) {
		full += h.box.add(w)
		h.dirty = true
	}
	for i := range items {
		m := happened(&items[i]) & wants
		for _, t := range types {
			switch {
			case m&t.mask == 0:
			case h.box.Gone != "":
				off++
			default:
				keep(waiting{At: items[i].At, Type: t.name, Event: h.event(&items[i], t.mask, t.name, c.subjects)})
				h.subjects = h.subjects || c.subjects
			}
		}
	}
	for _, w := range refusals {
		switch {
		case wants&refusal == 0:
		case h.box.Gone != "":
			off++
		default:
			keep(w)
		}
	}
	h.box.Dropped += busy
	h.lost("busy", busy)
	h.lost("full", full)
	h.lost("gone", off)
}

// lost counts events that nobody is told of.
func (h *hook) lost(reason string, n int) {
	if n == 0 {
		return
	}
	h.dirty = true
	if h.o.Metrics != nil {
		h.o.Metrics.WebhookDropped.WithLabelValues(h.name, reason).Add(float64(n))
	}
	h.log.Debug("webhook: events are dropped", "reason", reason, "events", n)
}

func (h *hook) expire(now time.Time) {
	if h.flight != nil {
		return // what is being told is told
	}
	h.lost("expired", h.box.expire(now))
}

// forget takes subjects out of what waits, where they may not be told any more.
func (h *hook) forget() {
	if !h.subjects || h.config.Load().subjects || h.flight != nil {
		return
	}
	h.subjects = false
	changed, dropped := h.box.forgetSubjects()
	h.dirty = h.dirty || changed
	h.lost("full", dropped) // only of a file that something else wrote
}

// begin makes a request, if one is due.
func (h *hook) begin(ctx context.Context, now time.Time) {
	if h.flight != nil || h.box.Gone != "" || h.box.events() == 0 || now.Before(h.due()) {
		return
	}
	if h.box.Current == nil {
		h.box.gather(h.o.Relay, h.o.Instance)
		h.save(now, true) // so that it is told with the same ID after a crash
	}
	d := *h.box.Current
	h.asked = now
	h.flight = make(chan result, 1)
	flight, c := h.flight, h.config.Load()
	go func() {
		ctx, cancel := context.WithTimeout(ctx, h.o.pace.request)
		defer cancel()
		flight <- h.send(ctx, c, &d)
	}()
}

// Bounds of trying again.
const (
	maxRetryAfter = 12 * time.Hour // that the receiver may ask for
	maxRefusals   = 3              // of a request that the receiver says is bad
)

// took does what follows from a request.
func (h *hook) took(r result, now time.Time) {
	h.dirty = true
	if h.o.Metrics != nil {
		h.o.Metrics.WebhookRequests.WithLabelValues(h.name, r.outcome()).Inc()
	}
	if r.reply != nil {
		h.reply = r.reply
	}
	b := &h.box
	if r.kind != taken {
		b.Current.Tries++
	}
	switch {
	case r.kind == taken:
		if h.o.Metrics != nil {
			h.o.Metrics.WebhookSent.WithLabelValues(h.name).Add(float64(b.Current.Events))
		}
		b.told()
		h.wait, h.next = 0, time.Time{}
		h.says("", "")
		s := *h.state.Load()
		s.Last = now
		h.state.Store(&s)
		return
	case h.elsewhere(&r):
		h.wait, h.next = 0, time.Time{} // what the old address wants does not count for the new one
		return
	case r.kind == gone:
		b.Gone = r.address
		n := b.abandon() + len(b.Waiting)
		b.drop(len(b.Waiting))
		b.Dropped = 0 // there is nobody to be told
		h.lost("gone", n)
	case r.kind == refused:
		if b.Current.Refusals++; b.Current.Refusals == maxRefusals {
			h.lost("refused", b.abandon())
		}
	}
	h.wait = min(max(2*h.wait, h.o.pace.first), h.o.pace.most)
	spread := 0.8 + 0.4*rand.Float64() //nolint:gosec // jitter
	h.next = now.Add(max(time.Duration(float64(h.wait)*spread), min(r.retryAfter, maxRetryAfter)))
	h.says(r.problem, r.remedy)
}

// elsewhere tells whether r is of another address than the webhook has now.
func (h *hook) elsewhere(r *result) bool {
	if r.address == "" {
		return false // it was made nowhere
	}
	t, _ := h.target(h.config.Load()) //nolint:errcheck // the address may be known all the same; look says what is wrong
	return t.url == nil || r.address != t.digestOfAddress()
}

// says tells of a problem, or that there is none any more.
func (h *hook) says(problem, remedy string) {
	s := *h.state.Load()
	s.Problem, s.Remedy = problem, remedy
	switch {
	case problem == "":
		s.Since = time.Time{}
	case s.Since.IsZero():
		s.Since = time.Now()
	}
	h.state.Store(&s)
	if problem == h.problem {
		return
	}
	h.problem = problem
	if problem == "" {
		h.log.Info("the webhook is told again")
		return
	}
	h.log.Warn("the webhook cannot be told: mail goes on, and what happens waits", "problem", problem, "remedy", remedy, "waiting", h.box.events())
}

// look sees whether the webhook, or what stands in its Secrets, is another than
// before: then it is tried at once. What cannot be used is said though nothing waits.
func (h *hook) look() {
	c := h.config.Load()
	t, err := h.target(c)
	known := t.digest(c, err)
	if known == h.known {
		return
	}
	h.known, h.wait, h.next = known, 0, time.Time{}
	switch {
	case err != nil:
		_, remedy := about(err)
		h.says(err.Error(), remedy)
	case h.box.Gone == t.digestOfAddress():
		h.says(goneWords(t.host()), goneRemedy)
	default:
		h.dirty = h.dirty || h.box.Gone != ""
		h.box.Gone = ""
		h.says("", "")
	}
}

// save writes what waits, if it changed and the last time is long enough ago, or at
// once. Where it cannot, what was written before goes too: else each start would tell
// of that anew.
func (h *hook) save(now time.Time, atOnce bool) {
	if !h.dirty || !atOnce && now.Sub(h.saved) < h.saveAfter() {
		return
	}
	h.saved = now
	var problem string
	if h.o.Free != nil && h.o.Free() < h.o.Reserve {
		problem = "the volume has no room to spare"
	} else if err := h.box.save(h.path()); err != nil {
		problem = err.Error()
	}
	if problem != "" {
		if err := os.Remove(h.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem += ", and what was written before stays: " + err.Error()
		}
	}
	h.dirty = problem != ""
	if problem != "" && problem != h.unsaved {
		h.log.Warn("what waits for the webhook is in memory only", "cause", problem)
	}
	h.unsaved = problem
}

// saveAfter is the time between two writes: the longer, the more there is to write.
func (h *hook) saveAfter() time.Duration {
	return h.o.pace.save * time.Duration(1+h.box.octets/(128<<10))
}

// publish makes known how it stands.
func (h *hook) publish() {
	s := *h.state.Load()
	if n, off := h.box.events(), h.box.Gone != ""; s.Waiting != n || s.Disabled != off {
		s.Waiting, s.Disabled = n, off
		h.state.Store(&s)
	}
}
