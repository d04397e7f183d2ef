package queue

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// slow answers o after d, or when the attempt is cancelled.
func slow(d time.Duration, o upstream.Outcome) func(context.Context, Attempt) []upstream.Outcome {
	return func(ctx context.Context, a Attempt) []upstream.Outcome {
		select {
		case <-time.After(d):
			return upstream.All(len(a.Recipients), o)
		case <-ctx.Done():
			return upstream.All(len(a.Recipients), down)
		}
	}
}

func TestConcurrencyLimit(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 3
	inBubble(t, s, func(r *rig) {
		var now, most atomic.Int32
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return upstream.All(len(a.Recipients), ok)
		})
		for i := range 30 {
			r.submit(message(fmt.Sprintf("x@d%d.example", i)))
		}
		r.pass(time.Minute)
		if n := most.Load(); n != 3 {
			t.Errorf("%d attempts at once, want 3", n)
		}
		if n := len(r.tried()); n != 30 {
			t.Errorf("%d attempts, want 30", n)
		}
	})
}

func TestMessagesPerMinute(t *testing.T) {
	for _, perMinute := range []int{1, 5, 30, 120} {
		s := only(settings())
		s.Upstreams["a"].PerMinute = perMinute
		inBubble(t, s, func(r *rig) {
			n := 3 * perMinute
			for range n {
				r.submit(message("x@corp.example"))
			}
			r.pass(10 * time.Minute)
			a := r.up.attempts()
			if len(a) != n {
				t.Fatalf("%d a minute: %d attempts, want %d", perMinute, len(a), n)
			}
			for i := range a {
				if j := i + perMinute; j < n && a[j].at.Sub(a[i].at) < time.Minute {
					t.Fatalf("%d a minute: attempts %d to %d took only %v", perMinute, i, j, a[j].at.Sub(a[i].at))
				}
			}
			if took := a[n-1].at.Sub(a[0].at); took > 4*time.Minute {
				t.Errorf("%d a minute: three minutes' worth took %v", perMinute, took)
			}
		})
	}
}

// The rate that a provider tells is for recipients, of all that send by the
// account: an instance takes its share, and follows when it changes.
func TestProvidersRate(t *testing.T) {
	for _, tc := range []struct {
		name       string
		perSecond  float64
		sharers    int
		recipients int
		want       int // attempts in the ten seconds after the first
	}{
		{"not told", 0, 1, 1, 400},
		{"one a second", 1, 1, 1, 10},
		{"fourteen a second", 14, 1, 1, 140},
		{"shared by seven", 14, 7, 1, 20},
		{"four recipients each", 14, 1, 4, 35},
		{"a hundred shared by a thousand", 100, 1000, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := only(settings())
			s.Upstreams["a"].Sharers = tc.sharers
			synctest.Test(t, func(t *testing.T) {
				r := &rig{T: t, dir: t.TempDir(), s: s, up: &upstreams{}}
				r.up.say(always(ok))
				r.options = func(o *Options) {
					o.Capabilities = func(string) upstream.Capabilities { return upstream.Capabilities{UTF8: true, PerSecond: tc.perSecond} }
				}
				r.start()
				defer r.stop()
				var to []string
				for i := range tc.recipients {
					to = append(to, fmt.Sprintf("x%d@corp.example", i))
				}
				for range 400 {
					r.submit(message(to...))
				}
				r.pass(time.Hour)
				a := r.up.attempts()
				n := 0
				for i := range a {
					if a[i].at.Sub(a[0].at) < 10*time.Second {
						n++
					}
				}
				if n < tc.want*9/10 || n > tc.want+1 {
					t.Errorf("%d attempts in ten seconds, want %d", n, tc.want)
				}
			})
		})
	}
}

func TestDeadUpstreamDoesNotDelayOthers(t *testing.T) {
	s := only(settings())
	s.Upstreams["c"] = &plan.Upstream{Name: "c", Connections: 2}
	s.Routes = []plan.Route{{Name: "dead", RecipientDomains: []string{"dead.example"}, Upstream: "c"}, {Upstream: "a"}}
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			if a.Upstream == "c" {
				return slow(10*time.Minute, down)(ctx, a)
			}
			return upstream.All(len(a.Recipients), ok)
		})
		for range 50 {
			r.submit(message("x@dead.example"))
		}
		for range 20 {
			if id := r.send(message("x@corp.example")).ID; r.stored(id) {
				t.Fatal("mail for a waits behind mail for c")
			}
		}
		// The parts of one message are independent too.
		id := r.send(message("x@dead.example", "y@corp.example")).ID
		d, err := r.q.Show(id)
		if err != nil || d.Recipients[0].Status != "pending" || d.Recipients[1].Status != "accepted" {
			t.Errorf("%+v %v", d.Recipients, err)
		}
	})
}

func TestDeferringDomainDoesNotDelayTheRest(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 4
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			if a.Recipients[0].Domain == "tarpit.example" {
				return slow(5*time.Minute, greylisted)(ctx, a)
			}
			return upstream.All(len(a.Recipients), ok)
		})
		for range 100 {
			r.submit(message("x@tarpit.example"))
		}
		synctest.Wait()
		for range 200 { // for a day, while the tarpit's mail comes up again and again
			if id := r.send(message("x@corp.example")).ID; r.stored(id) {
				t.Fatal("mail for corp.example waits behind mail for tarpit.example")
			}
			r.pass(7 * time.Minute)
		}
	})
}

func TestOneFullMailboxDoesNotDelayItsDomain(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
			if to.Local == "full" {
				return greylisted
			}
			return ok
		})
		r.send(message("full@corp.example"))
		r.pass(12 * time.Hour)
		if id := r.send(message("x@corp.example")).ID; r.stored(id) {
			t.Error("new mail waits for the retries of another recipient")
		}
	})
}

func TestFreshMailDoesNotWaitBehindRetries(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 1
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		for i := range 100 {
			r.submit(message(fmt.Sprintf("x@d%d.example", i)))
		}
		r.pass(time.Second)
		r.up.sayAll(slow(time.Second, ok))
		r.pass(37 * time.Second) // all the retries are due, one is done a second
		before := len(r.tried())
		m := message("new@corp.example")
		r.submit(m)
		r.pass(5 * time.Second)
		if r.stored(m.ID) {
			t.Errorf("new mail was not sent among the next %d attempts", len(r.tried())-before)
		}
		r.pass(2 * time.Minute)
		if p, _ := r.q.List(Filter{}); len(p.Messages) != 0 {
			t.Errorf("%d messages are left", len(p.Messages))
		}
	})
}

func TestClientsTakeTurns(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 1
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(slow(time.Second, ok))
		for range 50 {
			r.submit(message("x@corp.example"))
		}
		m := message("quiet@corp.example")
		m.Client.Addr = netip.MustParseAddr("10.20.3.8")
		r.submit(m)
		r.pass(4 * time.Second)
		if r.stored(m.ID) {
			t.Error("a quiet copier waits behind a busy one")
		}
	})
}

func TestCircuitBreaker(t *testing.T) {
	m := metrics.New(prometheus.NewRegistry(), "ns/office")
	inBubble(t, only(settings()), func(r *rig) {
		r.stop()
		r.options = func(o *Options) { o.Metrics = m }
		r.start()
		r.up.say(always(down))
		for i := range 20 {
			r.send(message(fmt.Sprintf("x@d%d.example", i)))
		}
		if n := len(r.tried()); n != breakerFailures {
			t.Errorf("%d attempts before the circuit opened, want %d", n, breakerFailures)
		}
		st := upstreamState(r, "a")
		if st.Circuit != "Open" || st.LastError == "" {
			t.Errorf("%+v", st)
		}
		p, _ := r.q.List(Filter{State: Deferred})
		if len(p.Messages) != 20 {
			t.Errorf("%d messages are deferred, want 20", len(p.Messages))
		}
		r.pass(time.Hour) // probes only, fewer and fewer
		if n := len(r.tried()) - breakerFailures; n < 5 || n > 25 {
			t.Errorf("%d probes in an hour", n)
		}
		r.up.say(always(ok))
		r.pass(time.Hour)
		if p, _ := r.q.List(Filter{}); len(p.Messages) != 0 {
			t.Errorf("%d messages are left after the upstream came back", len(p.Messages))
		}
		for state, want := range map[string]float64{"open": 1, "closed": 1} {
			var got dto.Metric
			if err := m.Circuits.WithLabelValues("a", state).Write(&got); err != nil || got.GetCounter().GetValue() != want {
				t.Errorf("%v times %s, want %v (%v)", got.GetCounter().GetValue(), state, want, err)
			}
		}
		if st := upstreamState(r, "a"); st.Circuit != "Closed" {
			t.Errorf("%+v", st)
		}
	})
}

func TestRefusedRecipientsDoNotOpenTheCircuit(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(always(noUser))
		for range 50 {
			r.send(message("x@corp.example"))
		}
		r.up.say(always(tooLarge))
		for range 50 {
			r.send(message("x@corp.example"))
		}
		if st := upstreamState(r, "a"); st.Circuit != "Closed" {
			t.Errorf("%+v", st)
		}
	})
}

func TestOpenCircuitMovesWhatWaitsToTheFallbackAndBack(t *testing.T) {
	s := settings()
	s.Upstreams["a"].Connections = 1
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			if a.Upstream == "a" {
				return slow(time.Second, down)(ctx, a)
			}
			return upstream.All(len(a.Recipients), ok)
		})
		for i := range 100 {
			r.submit(message(fmt.Sprintf("x@d%d.example", i)))
		}
		r.pass(breakerFailures*time.Second + time.Second)
		if p, _ := r.q.List(Filter{}); len(p.Messages) > 1 {
			t.Errorf("%d messages still wait for an upstream that is down", len(p.Messages))
		}
		r.up.say(always(ok))
		r.pass(10 * time.Minute)
		before := len(r.tried())
		for range 3 {
			r.send(message("x@corp.example"))
		}
		if got := r.tried()[before:]; got[2] != "a:x@corp.example" {
			t.Errorf("after a came back mail goes %v", got)
		}
	})
}

func TestSlowStartAfterAnOutage(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"].Connections = 20
	inBubble(t, s, func(r *rig) {
		r.up.say(always(down))
		for i := range 100 {
			r.send(message(fmt.Sprintf("x@d%d.example", i)))
		}
		r.up.sayAll(slow(time.Second, ok))
		first := len(r.tried())
		r.pass(10 * time.Minute)
		perSecond := map[int64]int{}
		var seconds []int64
		for _, a := range r.up.attempts()[first:] {
			k := a.at.Unix()
			if perSecond[k] == 0 {
				seconds = append(seconds, k)
			}
			perSecond[k]++
		}
		var got []int
		for _, k := range seconds {
			got = append(got, perSecond[k])
		}
		if len(got) < 5 || got[0] != 1 || got[1] > 2 || got[2] > 4 || slices.Max(got) < 16 {
			t.Errorf("attempts in each second after the outage: %v", got)
		}
	})
}

func TestThrottledUpstreamIsLeftAlone(t *testing.T) {
	s := only(settings())
	inBubble(t, s, func(r *rig) {
		o := down
		o.Code, o.RetryIn = 432, 3*time.Minute
		r.up.say(always(o))
		r.send(message("x@corp.example"))
		r.up.say(always(ok))
		r.send(message("y@corp.example"))
		r.pass(2 * time.Minute)
		r.wantTried("a:x@corp.example")
		r.pass(2 * time.Minute)
		if n := len(r.tried()); n != 3 {
			t.Errorf("attempts %v", r.tried())
		}
	})
}

func TestSuspendHoldsItsMailWithoutTrying(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"] = &plan.Upstream{Name: "a", Connections: 4, Suspend: true}
	inBubble(t, s, func(r *rig) {
		id := r.send(message("x@corp.example")).ID
		r.pass(30 * 24 * time.Hour) // past the expiry: a person stopped it, so it is not lost
		r.wantTried()
		r.wantNotices("delayed it@corp.example x@corp.example")
		d, err := r.q.Show(id)
		if err != nil || d.State != Deferred || d.Reason != `upstream "a" is suspended` {
			t.Errorf("%+v %v", d.Summary, err)
		}
		r.q.Update(only(settings()))
		synctest.Wait()
		r.wantState(id, "")
	})
}

func TestSuspendOfAnUpstreamThatIsDown(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(always(down))
		id := ""
		for range 20 {
			id = r.send(message("x@corp.example")).ID
		}
		s := only(settings())
		s.Upstreams["a"] = &plan.Upstream{Name: "a", Connections: 4, Suspend: true}
		r.q.Update(s)
		r.pass(30 * 24 * time.Hour)
		r.wantState(id, Deferred)
	})
}

func TestSuspendedUpstreamLeavesItsMailToTheFallback(t *testing.T) {
	s := settings()
	s.Upstreams["a"].Suspend = true
	inBubble(t, s, func(r *rig) {
		r.send(message("x@corp.example"))
		r.wantTried("b:x@corp.example")
	})
}

func TestUpdateRoutesWhatWaitsAnew(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": ok}))
		id := r.send(message("x@corp.example")).ID
		s := settings()
		s.Routes[0].Upstream = "b"
		r.q.Update(s)
		r.pass(time.Minute)
		r.wantTried("a:x@corp.example", "b:x@corp.example")
		r.wantState(id, "")
	})
}

func TestUpstreamThatIsGone(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(down))
		id := r.send(message("x@corp.example")).ID
		if _, err := r.q.Reroute(r.Context(), Filter{IDs: []string{id}}, "b"); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.up.say(always(ok))
		r.q.Update(only(settings())) // b is gone, and the message was rerouted to it by hand
		r.pass(3 * time.Hour)
		d, err := r.q.Show(id)
		if err != nil || d.State != Deferred || d.Reason != `upstream "b" is not part of the relay any more: reroute the message, or name the upstream again` {
			t.Errorf("%+v %v", d.Summary, err)
		}
		if _, err := r.q.Reroute(r.Context(), Filter{IDs: []string{id}}, ""); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantState(id, "")
	})
}

func upstreamState(r *rig, name string) UpstreamState {
	r.pass(time.Second) // a snapshot may be a second old
	for _, u := range r.q.Snapshot().Upstreams {
		if u.Name == name {
			return u
		}
	}
	return UpstreamState{}
}
