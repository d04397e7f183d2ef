package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestAcceptedIsRemovedWithoutAnotherRecord(t *testing.T) {
	s := settings()
	appends := 0
	inBubble(t, s, func(r *rig) {
		r.stop()
		r.wrap = func(st store) store { return &spy{store: st, appended: func() { appends++ }} }
		r.start()
		tk := r.send(message("x@corp.example", "y@corp.example"))
		r.wantTried("a:x@corp.example,y@corp.example")
		if r.stored(tk.ID) || r.state(tk.ID) != "" {
			t.Error("the message is still there")
		}
		if appends != 0 {
			t.Errorf("%d state records for a message that was accepted at once", appends)
		}
		if n := r.logged("msg=outcome"); n != 1 {
			t.Errorf("%d outcome lines, want 1:\n%s", n, r.log.String())
		}
	})
}

// spy looks at what the queue writes.
type spy struct {
	store
	appended func()
}

func (s *spy) Append(id string, b []byte) error {
	s.appended()
	return s.store.Append(id, b)
}

func TestRecipientScopeFailedBouncesAtOnce(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "x" {
				return ok
			}
			return noUser
		})
		m := message("x@corp.example", "y@corp.example", "z@corp.example")
		id := r.send(m).ID
		r.wantTried("a:x@corp.example,y@corp.example,z@corp.example")
		r.wantNotices("failed it@corp.example y@corp.example,z@corp.example")
		r.wantState(id, Failed)
		if e, err := r.sp.Read(id); err != nil || len(e.Records) != 1 {
			t.Errorf("%d records, %v; outcome and notification take one", len(e.Records), err)
		}
		if o := r.noticed()[0].Recipients[0].Outcome; o.Text != "no such user" || o.Code != 550 {
			t.Errorf("the notification says %v", o)
		}
		r.pass(8 * 24 * time.Hour)
		if r.stored(id) {
			t.Error("the failed message is kept longer than keepFailed")
		}
		r.wantTried("a:x@corp.example,y@corp.example,z@corp.example")
	})
}

func TestRecipientScopeDeferredRetriesTheSameUpstream(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.wantTried("a:x@corp.example")
		r.wantState(id, Deferred)
		r.up.say(always(ok))
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example", "a:x@corp.example")
		r.wantState(id, "")
		r.wantNotices()
	})
}

func TestOnlyPendingRecipientsAreTriedAgain(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "x" {
				return ok
			}
			return greylisted
		})
		r.send(message("x@corp.example", "y@corp.example"))
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example,y@corp.example", "a:y@corp.example")
	})
}

func TestBackoffGrowsToItsMaximumWithJitter(t *testing.T) {
	s := only(settings())
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		r.send(message("x@corp.example"))
		r.pass(20 * time.Hour)
		a := slices.DeleteFunc(r.up.attempts(), func(a tried) bool { return a.Message.DSNOf != "" })
		want := 30 * time.Second
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(a)-1; i++ {
			gap := a[i].at.Sub(a[i-1].at)
			distinct[gap] = true
			if gap < want*8/10 || gap > want*12/10 {
				t.Errorf("attempt %d came %v after the one before, want about %v", i+1, gap, want)
			}
			want = min(2*want, time.Hour)
		}
		if len(a) < 15 {
			t.Errorf("%d attempts in 20 h", len(a))
		}
		if len(distinct) < 5 {
			t.Error("the waits have no jitter")
		}
	})
}

func TestRetryInIsHonoured(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		o := greylisted
		o.RetryIn = 20 * time.Minute
		r.up.say(always(o))
		r.send(message("x@corp.example"))
		r.pass(19 * time.Minute)
		r.wantTried("a:x@corp.example")
		r.pass(2 * time.Minute)
		r.wantTried("a:x@corp.example", "a:x@corp.example")
	})
}

func TestUpstreamScopeNeverBouncesImmediately(t *testing.T) {
	for _, o := range []upstream.Outcome{down, badLogin} {
		inBubble(t, only(settings()), func(r *rig) {
			r.up.say(always(o))
			id := r.send(message("x@corp.example")).ID
			r.wantNotices()
			r.wantState(id, Deferred)
			r.up.say(always(ok))
			r.pass(time.Hour)
			r.wantState(id, "")
			r.wantNotices()
		})
	}
}

func TestFailoverOnUpstreamScope(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": ok}))
		id := r.send(message("x@corp.example")).ID
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.wantState(id, "")
	})
}

func TestAllDownBacksOffAndStartsAgainWithTheFirst(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(down))
		r.send(message("x@corp.example"))
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.pass(40 * time.Second)
		r.wantTried("a:x@corp.example", "b:x@corp.example", "a:x@corp.example", "b:x@corp.example")
	})
}

func TestMessageScopeGoesToTheNextUpstream(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": tooLarge, "b": greylisted}))
		id := r.send(message("x@corp.example")).ID
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.wantNotices()
		r.restart() // what a refused is remembered
		r.up.say(by(map[string]upstream.Outcome{"a": tooLarge, "b": ok}))
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example", "b:x@corp.example", "b:x@corp.example")
		r.wantState(id, "")
	})
}

func TestMessageScopeRefusedByAllFails(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(tooLarge))
		id := r.send(message("x@corp.example", "y@corp.example")).ID
		r.wantTried("a:x@corp.example,y@corp.example", "b:x@corp.example,y@corp.example")
		r.wantNotices("failed it@corp.example x@corp.example,y@corp.example")
		r.wantState(id, Failed)
	})
}

func TestMessageScopeWaitsForAnUpstreamThatIsDown(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": tooLarge, "b": down}))
		id := r.send(message("x@corp.example")).ID
		r.wantNotices()
		r.wantState(id, Deferred)
		r.up.say(by(map[string]upstream.Outcome{"a": tooLarge, "b": ok}))
		r.pass(time.Minute)
		r.wantState(id, "")
	})
}

func TestUpstreamsThatCannotCarryAreSkipped(t *testing.T) {
	s := settings()
	s.Upstreams["a"].MessageSize = 1000
	inBubble(t, s, func(r *rig) {
		m := message("x@corp.example")
		m.Size = 2000
		r.send(m)
		r.wantTried("b:x@corp.example")
	})
	s = settings()
	s.Upstreams["a"].MessageSize, s.Upstreams["b"].MessageSize = 1000, 1000
	inBubble(t, s, func(r *rig) { // none can: their own words say so
		r.up.say(always(tooLarge))
		m := message("x@corp.example")
		m.Size = 2000
		r.send(m)
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.wantNotices("failed it@corp.example x@corp.example")
	})
}

func TestUTF8GoesToTheUpstreamThatCarriesIt(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		r.options = func(o *Options) {
			o.Capabilities = func(name string) upstream.Capabilities { return upstream.Capabilities{UTF8: name == "b"} }
		}
		r.start()
		m := message("x@corp.example")
		m.UTF8 = true
		r.send(m)
		r.send(message("y@corp.example"))
		r.wantTried("b:x@corp.example", "a:y@corp.example")
	})
}

func TestUnknownRetrySame(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(brokeOff))
		id := r.send(message("x@corp.example")).ID
		r.wantTried("a:x@corp.example")
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": ok})) // still only there: it may have the message already
		s := settings()
		s.Upstreams["a"].Suspend = true
		r.q.Update(s)
		r.pass(time.Hour)
		r.wantTried("a:x@corp.example")
		r.q.Update(settings())
		r.pass(time.Hour)
		r.restart()
		r.pass(time.Hour)
		for _, a := range r.tried() {
			if a != "a:x@corp.example" {
				t.Errorf("tried %s", a)
			}
		}
		r.up.say(always(ok))
		r.pass(2 * time.Hour)
		r.wantState(id, "")
		if r.stored(id) {
			t.Error("it is still there")
		}
	})
}

func TestUnknownAtAnUpstreamThatIsGone(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": brokeOff, "b": ok}))
		id := r.send(message("x@corp.example")).ID
		s := settings()
		s.Routes[0].Upstream = "b"
		delete(s.Upstreams, "a")
		r.q.Update(s)
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.wantState(id, "")
	})
}

func TestDamagedSpoolEntryIsHeldForAPerson(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "cannot be read", Cause: fmt.Errorf("body: %w", spool.ErrCorrupt)}))
		id := r.send(message("x@corp.example")).ID
		r.pass(10 * 24 * time.Hour)
		r.wantState(id, Held)
		d, err := r.q.Show(id)
		if err != nil || d.Reason != "its spool entry is damaged: cannot be read" {
			t.Errorf("%+v %v", d.Summary, err)
		}
		r.wantTried("a:x@corp.example")
		if n := r.logged("spool entry is corrupt"); n != 1 {
			t.Errorf("the cause is logged %d times", n)
		}
	})
}

func TestUnknownHold(t *testing.T) {
	s := settings()
	s.Delivery.OnUnknown = "Hold"
	inBubble(t, s, func(r *rig) {
		r.up.say(always(brokeOff))
		id := r.send(message("x@corp.example")).ID
		r.wantState(id, Held)
		r.restart()
		r.pass(10 * 24 * time.Hour)
		r.wantState(id, Held)
		r.wantTried("a:x@corp.example")
		p, err := r.q.List(Filter{State: Held})
		if err != nil || len(p.Messages) != 1 || !strings.Contains(p.Messages[0].Reason, "unknown whether a took it") {
			t.Errorf("list: %+v %v", p, err)
		}
		r.up.say(always(ok))
		if ids, err := r.q.Release(r.Context(), Filter{All: true}); err != nil || !slices.Equal(ids, []string{id}) {
			t.Errorf("release: %v %v", ids, err)
		}
		r.pass(time.Second)
		r.wantState(id, "")
	})
}

func TestUnknownFailOver(t *testing.T) {
	s := settings()
	s.Delivery.OnUnknown = "FailOver"
	inBubble(t, s, func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": brokeOff, "b": ok}))
		r.send(message("x@corp.example"))
		r.wantTried("a:x@corp.example", "b:x@corp.example")
	})
}

func TestRoutesSplitAMessage(t *testing.T) {
	s := settings()
	s.Routes = []plan.Route{
		{Name: "internal", RecipientDomains: []string{"corp.example", "*.corp.example"}, Upstream: "b"},
		{Upstream: "a"},
	}
	inBubble(t, s, func(r *rig) {
		r.send(message("x@corp.example", "y@other.example", "z@Sub.Corp.Example", "w@notcorp.example"))
		got := r.tried()
		slices.Sort(got)
		want := []string{"a:y@other.example,w@notcorp.example", "b:x@corp.example,z@Sub.Corp.Example"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestADelivererThatPanicsOrMiscountsStopsNothing(t *testing.T) {
	s := settings()
	s.Delivery.OnUnknown = "Hold"
	inBubble(t, s, func(r *rig) {
		r.up.say(func(Attempt, envelope.Address) upstream.Outcome { panic("poison") })
		id := r.send(message("x@corp.example")).ID
		r.wantState(id, Held)
		r.up.sayAll(nil)
		id = r.send(message("x@corp.example")).ID
		r.wantState(id, Held)
		r.up.say(always(upstream.Outcome{}))
		id = r.send(message("x@corp.example")).ID
		r.wantState(id, Held)
		r.up.say(always(ok))
		id = r.send(message("x@corp.example")).ID
		r.wantState(id, "")
	})
}
