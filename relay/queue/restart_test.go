package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestRestartResumesEverything(t *testing.T) {
	s := settings()
	inBubble(t, s, func(r *rig) {
		// One message of each state.
		r.up.say(always(greylisted))
		deferred := r.send(message("deferred@corp.example")).ID
		held := message("held@corp.example")
		held.Held = "held by rule office/mfps"
		r.send(held)
		paced := message("paced@corp.example")
		paced.NotBefore = time.Now().Add(2 * time.Hour)
		r.send(paced)
		r.up.say(always(noUser))
		refused := r.send(message("failed@corp.example")).ID
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "x" {
				return ok
			}
			return greylisted
		})
		partly := r.send(message("x@corp.example", "partly@corp.example")).ID
		// It stops while an attempt is under way, and after a submission.
		r.up.sayAll(slow(time.Hour, ok))
		running := r.send(message("running@corp.example")).ID
		before := len(r.tried())

		r.restart()
		for id, want := range map[string]State{deferred: Deferred, held.ID: Held, paced.ID: Pending, refused: Failed, partly: Deferred, running: Pending} {
			r.wantState(id, want)
		}
		r.wantNotices("failed it@corp.example failed@corp.example")
		r.up.say(always(ok))
		r.pass(10 * time.Minute)
		got := map[string]int{}
		for _, a := range r.tried()[before:] {
			got[a]++
		}
		for _, want := range []string{"a:deferred@corp.example", "a:partly@corp.example"} {
			if got[want] != 1 {
				t.Errorf("%s: %d attempts after the restart, want 1 (%v)", want, got[want], got)
			}
		}
		r.wantState(held.ID, Held)
		r.wantState(refused, Failed)
		r.pass(2 * time.Hour)
		for _, id := range []string{paced.ID, running, deferred, partly} {
			r.wantState(id, "")
		}
		r.pass(8 * 24 * time.Hour)
		r.wantState(refused, "")
		r.wantNotices("failed it@corp.example failed@corp.example") // no second one
	})
}

// crashing does the first n writes; with half the next one reaches the disk
// too, but nobody hears of it. Then nothing works any more.
type crashing struct {
	store
	mu   sync.Mutex
	n    int
	half bool
	last string // what the crash came at
}

var errCrash = errors.New("crash")

func (c *crashing) do(what string, f func() error) error {
	c.mu.Lock()
	c.n--
	n := c.n
	if n == -1 {
		c.last = what
	}
	c.mu.Unlock()
	switch {
	case n >= 0:
		return f()
	case n == -1 && c.half:
		f() //nolint:errcheck // nobody hears of it
	}
	return errCrash
}

func (c *crashing) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *crashing) Create(id string) (*spool.Writer, error) {
	var w *spool.Writer
	err := c.do("create "+id, func() (err error) { w, err = c.store.Create(id); return err })
	if err != nil && w != nil {
		w.Abort()
	}
	return w, err
}

func (c *crashing) Append(id string, b []byte) error {
	return c.do("append "+id, func() error { return c.store.Append(id, b) })
}

func (c *crashing) Remove(id string) error {
	return c.do("remove "+id, func() error { return c.store.Remove(id) })
}

// TestCrashBetweenAnyTwoWrites stops the queue dead at every write that a busy
// life of a message makes, and starts it again from the spool.
func TestCrashBetweenAnyTwoWrites(t *testing.T) {
	s := settings()
	d := &s.Delivery // a life of three hours, with everything in it
	d.Warn, d.Expire, d.KeepFailed, d.RetryMax = 30*time.Minute, 2*time.Hour, time.Hour, 20*time.Minute
	life := func(n int, half bool) (writes int) {
		inBubble(t, s, func(r *rig) {
			r.stop()
			c := &crashing{n: n, half: half}
			r.wrap = func(s store) store { c.store = s; return c }
			r.start()
			taken := map[string]int{}
			var mu sync.Mutex
			r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
				mu.Lock()
				defer mu.Unlock()
				out := make([]upstream.Outcome, len(a.Recipients))
				for i, to := range a.Recipients {
					out[i] = ok
					switch {
					case to.Local == "nobody":
						out[i] = noUser
					case to.Local == "grey" && a.Number < 3, to.Local == "never":
						out[i] = greylisted
					}
					if out[i].Kind == upstream.Accepted {
						taken[to.String()]++
					}
				}
				return out
			})
			m := message("x@corp.example", "nobody@corp.example", "grey@corp.example", "never@corp.example")
			r.send(m)
			for range 4 * 60 {
				if r.pass(time.Minute); c.left() < 0 {
					break
				}
			}
			writes = n - c.left()
			r.wrap = nil
			r.restart()
			r.pass(4 * time.Hour)
			what := fmt.Sprintf("crash at write %d (half: %v)", n, half)
			for _, who := range []string{"x@corp.example", "grey@corp.example"} {
				if taken[who] < 1 || taken[who] > 2 {
					t.Errorf("%s: %s was accepted %d times", what, who, taken[who])
				}
			}
			if extra := taken["x@corp.example"] + taken["grey@corp.example"] - 2; extra > 1 {
				t.Errorf("%s: %d duplicates of one transaction", what, extra)
			}
			failed := map[string]int{}
			for _, n := range r.noticed() {
				for _, x := range n.Recipients {
					if !n.Delayed {
						failed[x.Address.Local]++
					}
				}
			}
			if failed["nobody"] == 0 || failed["never"] == 0 || failed["x"]+failed["grey"] > 0 {
				t.Errorf("%s: notified of %v", what, failed)
			}
			most := 3 // refused, delayed, expired
			if id, ok := strings.CutPrefix(c.last, "remove "); ok && id != m.ID {
				most++ // the transaction of one was open
			}
			if n := taken["it@corp.example"]; n < 3 || n > most {
				t.Errorf("%s, %s: %d notifications reached the postmaster, want 3 to %d", what, c.last, n, most)
			}
			if u := r.sp.Usage(); u.Entries != 0 {
				t.Errorf("%s: %d entries are left", what, u.Entries)
			}
		})
		return writes
	}
	writes := life(1<<20, false)
	if writes < 8 {
		t.Fatalf("only %d writes: the scenario is too short", writes)
	}
	for n := range writes {
		life(n, false)
		life(n, true)
	}
}

// failing fails while it is told to.
type failing struct {
	store
	mu  sync.Mutex
	bad bool
}

func (f *failing) set(bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = bad
}

func (f *failing) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad {
		return errors.New("input/output error")
	}
	return nil
}

func (f *failing) Append(id string, b []byte) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.store.Append(id, b)
}

func (f *failing) Remove(id string) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.store.Remove(id)
}

func (f *failing) Create(id string) (*spool.Writer, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.store.Create(id)
}

func TestASpoolThatCannotWriteCausesNoSecondDelivery(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		f := new(failing)
		r.wrap = func(s store) store { f.store = s; return f }
		r.start()
		f.set(true)
		m := message("x@corp.example")
		r.send(m)
		r.pass(12 * time.Hour)
		r.wantTried("a:x@corp.example")
		f.set(false)
		r.pass(2 * time.Minute)
		r.wantTried("a:x@corp.example")
		if r.stored(m.ID) || r.state(m.ID) != "" {
			t.Error("the message is still there")
		}
		r.up.say(always(noUser)) // and what it could not notify of comes later
		f.set(true)
		m = message("y@corp.example")
		r.send(m)
		r.pass(time.Hour)
		f.set(false)
		r.pass(3 * time.Minute)
		r.wantState(m.ID, Failed)
		r.wantNotices("failed it@corp.example y@corp.example")
	})
}

// What waits for the disk holds up nobody else, up to a bound: each of them would
// be sent twice if the process ended now.
func TestDeliveriesGoOnWhileTheSpoolCannotBeWritten(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 2
	inBubble(t, s, func(r *rig) {
		r.stop()
		f := new(failing)
		r.wrap = func(s store) store { f.store = s; return f }
		r.start()
		f.set(true)
		const more = 20
		for range maxUnwritten + more {
			r.submit(message("x@corp.example"))
		}
		r.pass(time.Hour)
		if n := len(r.tried()); n < maxUnwritten || n > maxUnwritten+more/2 {
			t.Errorf("%d of %d messages were tried, want %d and few more", n, maxUnwritten+more, maxUnwritten)
		}
		f.set(false)
		r.pass(2 * time.Minute)
		if n := len(r.tried()); n != maxUnwritten+more {
			t.Errorf("%d attempts for %d messages", n, maxUnwritten+more)
		}
		if u := r.sp.Usage(); u.Entries != 0 {
			t.Errorf("%d entries are left", u.Entries)
		}
		r.q.mu.Lock()
		defer r.q.mu.Unlock()
		if r.q.unwritten != 0 || r.q.lane("a").settling != 0 {
			t.Errorf("left over: %d unwritten, %d settling", r.q.unwritten, r.q.lane("a").settling)
		}
	})
}

func TestDrainOnShutdown(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.sayAll(slow(15*time.Second, ok))
		id := r.send(message("x@corp.example")).ID
		r.stop() // the grace is 20 s
		r.start()
		r.wantState(id, "")

		var cut []time.Duration
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			start := time.Now()
			<-ctx.Done()
			cut = append(cut, time.Since(start))
			return upstream.All(len(a.Recipients), down)
		})
		id = r.send(message("x@corp.example")).ID
		r.stop()
		if len(cut) != 1 || cut[0] != 20*time.Second {
			t.Errorf("the attempt was cancelled after %v, want the grace of 20 s", cut)
		}
		r.up.say(always(ok))
		r.start() // at once, not after a back-off
		r.wantState(id, "")

		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			<-ctx.Done()
			return upstream.All(len(a.Recipients), brokeOff)
		})
		id = r.send(message("x@corp.example")).ID
		r.restart()
		d, err := r.q.Show(id)
		if err != nil || d.Attempts != 1 {
			t.Errorf("an attempt that ended Unknown is not recorded: %+v %v", d.Summary, err)
		}
	})
}

func TestSubmitAfterTheStopIsKept(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.cancel()
		<-r.ran
		m := message("x@corp.example")
		m.Relayed = true
		tk := r.submit(m)
		if _, told := tk.Wait(context.Background()); told {
			t.Error("a verdict although nothing is tried any more")
		}
		r.wantTried()
		r.sp.Close()
		r.start()
		r.wantTried("a:x@corp.example")
	})
}

func TestAnAttemptCannotLastForever(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			<-ctx.Done()
			return upstream.All(len(a.Recipients), down)
		})
		id := r.send(message("x@corp.example")).ID
		r.pass(time.Hour)
		r.wantState(id, Deferred)
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		r.options = func(o *Options) { o.MaxMessages = 3 }
		r.start()
		r.up.say(always(greylisted))
		for range 3 {
			r.submit(message("x@corp.example"))
		}
		if !r.q.Full() {
			t.Error("Full is false")
		}
		m := message("x@corp.example")
		if _, err := r.trySubmit(m); !errors.Is(err, ErrFull) {
			t.Errorf("a fourth message: %v", err)
		}
		if r.stored(m.ID) {
			t.Error("the refused message is in the spool")
		}
	})
}

func TestUnreadableMetaStaysInTheSpool(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		w, err := r.sp.Create("later")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit([]byte(`{"recipients": "of a later version"}`)); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.pass(30 * 24 * time.Hour)
		if !r.stored("later") {
			t.Error("it was removed")
		}
		if r.logged("id=later") == 0 {
			t.Error("the log does not tell")
		}
		synctest.Wait()
	})
}
