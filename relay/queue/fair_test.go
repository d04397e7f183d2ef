package queue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestRetriesAreNotStarvedByFreshMail(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 1
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		old := message("x@old.example")
		r.send(old)
		r.up.sayAll(slow(time.Second, ok))
		for range 120 { // as much as the upstream takes, and more
			r.submit(message("x@corp.example"))
			r.submit(message("x@corp.example"))
			r.pass(time.Second)
		}
		if r.stored(old.ID) {
			t.Error("a retry waits for new mail to end")
		}
	})
}

func TestDomainThatKeepsDeferringHasOneSlot(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 8
	s.Delivery.Warn = 0
	inBubble(t, s, func(r *rig) {
		var now, most atomic.Int32
		r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return upstream.All(len(a.Recipients), greylisted)
		})
		for range 20 {
			r.submit(message("x@tarpit.example"))
		}
		r.pass(500 * time.Millisecond)
		if n := most.Load(); n != 4 {
			t.Errorf("a domain that is not known yet has %d of 8 slots, want half", n)
		}
		r.pass(2 * time.Minute)
		seen := map[string]bool{}
		for _, a := range r.up.attempts() {
			seen[a.Message.ID] = true
		}
		if len(seen) != 20 {
			t.Errorf("%d of 20 new messages were tried", len(seen))
		}
		most.Store(0)
		r.pass(4 * time.Hour)
		if n := most.Load(); n != 1 {
			t.Errorf("a domain that keeps deferring has %d slots, want 1", n)
		}
	})
}

// A hundred messages that a domain greylists are all tried again when their
// time has come: being deferred once is not a reason to wait longer.
func TestGreylistingDomainIsTriedAgainSoon(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		seen := map[string]time.Time{}
		var mu sync.Mutex
		r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
			mu.Lock()
			defer mu.Unlock()
			first, again := seen[a.Message.ID]
			if !again {
				first = time.Now()
				seen[a.Message.ID] = first
			}
			if time.Since(first) < 5*time.Minute {
				return greylisted
			}
			return ok
		})
		for range 100 {
			r.send(message("x@corp.example"))
		}
		r.pass(15 * time.Minute)
		if u := r.sp.Usage(); u.Entries != 0 {
			t.Errorf("%d messages still wait", u.Entries)
		}
	})
}

// With one slot there is no other to leave free: then it is a matter of time.
func TestDomainThatKeepsDeferringHasAQuarterOfTheTime(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 1
	s.Delivery.Warn = 0
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			if a.Recipients[0].Domain == "tarpit.example" {
				return slow(time.Minute, greylisted)(ctx, a)
			}
			return upstream.All(len(a.Recipients), ok)
		})
		var last string
		for range 50 {
			last = r.submit(message("x@tarpit.example")).ID
		}
		r.pass(10 * time.Minute)
		before := len(r.tried())
		for range 40 {
			r.submit(message("x@corp.example"))
			r.pass(3 * time.Minute)
		}
		tarpit := len(r.tried()) - before - 40
		if tarpit < 20 || tarpit > 32 {
			t.Errorf("in two hours %d attempts of a minute were for the tarpit", tarpit)
		}
		// What was parked is not forgotten when the one in front of it goes away.
		p, err := r.q.List(Filter{Limit: 1000})
		if err != nil || len(p.Messages) != 50 {
			t.Fatalf("%d messages, %v", len(p.Messages), err)
		}
		r.up.say(always(ok))
		for _, m := range p.Messages {
			if m.ID != last {
				if _, err := r.q.Remove(r.Context(), Filter{IDs: []string{m.ID}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.pass(2 * time.Hour)
		r.wantState(last, "")
	})
}

// One mailbox that is full says nothing about the next recipient.
func TestQuickDeferralsDoNotDelayTheirDomain(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "full" {
				return greylisted
			}
			return ok
		})
		for range 30 {
			r.send(message("full@corp.example"))
		}
		if id := r.send(message("x@corp.example")).ID; r.stored(id) {
			t.Error("new mail waits for the retries of another recipient")
		}
	})
}

// b asked to wait and a is down: when b's time has come, what waits for a goes
// to b.
func TestPauseEndsForWhatWaitsElsewhere(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		busy := down
		busy.RetryIn = 10 * time.Minute
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": busy}))
		for i := range breakerFailures {
			r.send(message(fmt.Sprintf("x@d%d.example", i)))
		}
		if st := upstreamState(r, "a"); st.Circuit != "Open" {
			t.Fatalf("%+v", st)
		}
		id := r.send(message("x@corp.example")).ID
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": ok}))
		r.pass(10*time.Minute + time.Second)
		if r.stored(id) {
			t.Error("it still waits")
		}
	})
}

func TestJitterKeepsRetriesApart(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(always(greylisted))
		for i := range 20 {
			r.send(message(fmt.Sprintf("x@d%d.example", i)))
		}
		start := time.Now()
		r.pass(37 * time.Second)
		waits := map[time.Duration]bool{}
		for _, a := range r.up.attempts()[20:] {
			waits[a.at.Sub(start)] = true
		}
		if len(waits) < 15 {
			t.Errorf("20 messages were tried again at %d moments", len(waits))
		}
	})
}

func TestTheLastAttemptIsAtTheExpiry(t *testing.T) {
	s := only(settings())
	s.Delivery.Expire, s.Delivery.RetryFirst, s.Delivery.RetryMax = 10*time.Hour, 7*time.Hour, 7*time.Hour
	inBubble(t, s, func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "it" {
				return ok
			}
			return greylisted
		})
		start := time.Now()
		r.send(message("x@corp.example"))
		r.pass(24 * time.Hour)
		n := len(r.tried())
		var last time.Duration
		for _, a := range r.up.attempts() {
			if a.Message.DSNOf == "" {
				last = a.at.Sub(start)
			}
		}
		if n != 3 || last != 10*time.Hour {
			t.Errorf("%d attempts, the last after %v", n, last)
		}
	})
}

// What a rate limit holds back is tried when its time comes, however short the
// expiry is.
func TestPacingDoesNotUseTheExpiryUp(t *testing.T) {
	s := only(settings())
	s.Delivery.Expire = 4 * time.Hour
	inBubble(t, s, func(r *rig) {
		r.up.say(func(Attempt, envelope.Address) upstream.Outcome { return ok })
		m := message("x@corp.example")
		m.NotBefore = time.Now().Add(20 * time.Hour)
		start := time.Now()
		r.send(m)
		r.pass(24 * time.Hour)
		if a := r.up.attempts(); len(a) != 1 || a[0].at.Sub(start) != 20*time.Hour {
			t.Errorf("attempts %+v, want one after 20 hours", a)
		}
	})
}

// stalling makes the first removal wait.
type stalling struct {
	store
	calls atomic.Int32
}

func (s *stalling) Remove(id string) error {
	if s.calls.Add(1) == 1 {
		time.Sleep(time.Hour)
	}
	return s.store.Remove(id)
}

func TestTheSpoolDoesNotHoldUpTheUpstream(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 1
	inBubble(t, s, func(r *rig) {
		r.stop()
		r.wrap = func(s store) store { return &stalling{store: s} }
		r.start()
		r.up.sayAll(slow(time.Second, ok))
		r.submit(message("x@corp.example"))
		r.submit(message("y@corp.example"))
		r.pass(3 * time.Second)
		r.wantTried("a:x@corp.example", "a:y@corp.example")
		r.pass(2 * time.Hour)
		synctest.Wait()
	})
}

func TestManyUpstreamsManyMessages(t *testing.T) {
	s := settings()
	inBubble(t, s, func(r *rig) {
		var n atomic.Int32
		r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
			switch c := n.Add(1); {
			case c%7 == 0:
				return upstream.All(len(a.Recipients), down)
			case c%5 == 0:
				return upstream.All(len(a.Recipients), greylisted)
			}
			return upstream.All(len(a.Recipients), ok)
		})
		for i := range 500 {
			r.submit(message(fmt.Sprintf("x@d%d.example", i%20), fmt.Sprintf("y@d%d.example", i%7)))
		}
		r.pass(24 * time.Hour)
		if u := r.sp.Usage(); u.Entries != 0 {
			t.Errorf("%d entries are left", u.Entries)
		}
		r.q.mu.Lock()
		defer r.q.mu.Unlock()
		if len(r.q.items) != 0 || len(r.q.timers.h) > len(r.q.lanes) || r.q.workers != 0 || r.q.chorers != 0 {
			t.Errorf("left over: %d items, %d timers, %d workers", len(r.q.items), len(r.q.timers.h), r.q.workers)
		}
		for _, l := range r.q.lanes {
			if l.active != 0 || l.settling != 0 || l.parked != 0 || l.ready.len() != 0 {
				t.Errorf("lane %s: %d active, %d settling, %d parked, %d ready", l.name, l.active, l.settling, l.parked, l.ready.len())
			}
		}
	})
}

// The upstream to fall back to goes down while the result of the first one is
// being written: the next round starts with the first again.
func TestFallbackThatGoesDownMeanwhile(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		r.wrap = func(st store) store {
			return &spy{store: st, appended: func() {
				r.q.mu.Lock()
				defer r.q.mu.Unlock()
				b := r.q.lane("b")
				b.open, b.probeAt = true, time.Now().Add(24*time.Hour).UnixNano()
			}}
		}
		r.start()
		r.up.say(always(down))
		id := r.send(message("x@corp.example")).ID
		r.wantTried("a:x@corp.example")
		r.up.say(always(ok))
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example", "a:x@corp.example")
		r.wantState(id, "")
	})
}

func TestCountsOfWhatWaitsInALane(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Suspend = true
	inBubble(t, s, func(r *rig) {
		for range 10 {
			r.send(message("x@corp.example"))
		}
		for range 500 { // held and released, jobs do not pile up
			if _, err := r.q.Hold(r.Context(), Filter{IDs: []string{r.q.order.all()[0].msg.ID}}, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := r.q.Release(r.Context(), Filter{State: Held}); err != nil {
				t.Fatal(err)
			}
		}
		if st := upstreamState(r, "a"); st.Pending != 10 || !st.Suspended {
			t.Errorf("%+v", st)
		}
		if _, err := r.q.Hold(r.Context(), Filter{All: true}, ""); err != nil {
			t.Fatal(err)
		}
		if st := upstreamState(r, "a"); st.Pending != 0 {
			t.Errorf("%+v", st)
		}
		if s := r.q.Snapshot(); s.Held != 10 || s.Pending+s.Deferred+s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		for range 5 {
			for i := range 400 {
				r.q.mu.Lock()
				it := r.q.order.all()[i%10]
				it.held = ""
				r.q.again(it)
				r.q.withdraw(it)
				it.held = "again"
				r.q.mu.Unlock()
			}
		}
		r.q.mu.Lock()
		defer r.q.mu.Unlock()
		if l := r.q.lane("a"); l.ready.dead > 1024+1 {
			t.Errorf("%d dead jobs are kept", l.ready.dead)
		}
	})
}

// Both are down and no new mail comes that could find out that b works again.
func TestFallbackThatRecoversIsFoundByWhatWaits(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(down))
		for i := range 30 {
			r.send(message(fmt.Sprintf("x@d%d.example", i)))
		}
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": ok}))
		r.pass(10 * time.Minute)
		if u := r.sp.Usage(); u.Entries != 0 {
			t.Errorf("%d messages still wait", u.Entries)
		}
	})
}
