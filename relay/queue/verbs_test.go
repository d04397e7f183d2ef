package queue

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestSelectors(t *testing.T) {
	s := only(settings())
	s.Upstreams["c"] = &plan.Upstream{Name: "c", Connections: 1}
	s.Routes = []plan.Route{{Name: "c", RecipientDomains: []string{"c.example"}, Upstream: "c"}, {Upstream: "a"}}
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		old := message("x@corp.example")
		old.Client.User = "mfp-1"
		r.send(old)
		r.pass(time.Hour)
		other := message("x@c.example")
		other.Client.Addr = netip.MustParseAddr("10.20.4.1")
		other.Sender = addr("fax@old.example")
		r.send(other)
		null := message("x@corp.example")
		null.Sender, null.Held = envelope.Address{}, "held by rule"
		r.send(null)
		for _, c := range []struct {
			f    Filter
			want []*Message
		}{
			{Filter{}, []*Message{old, other, null}},
			{Filter{All: true}, []*Message{old, other, null}},
			{Filter{IDs: []string{null.ID, old.ID}}, []*Message{old, null}},
			{Filter{Upstream: "c"}, []*Message{other}},
			{Filter{Upstream: "a"}, []*Message{old, null}},
			{Filter{Sender: "*@copier.corp.example"}, []*Message{old}},
			{Filter{Sender: "fax@old.example"}, []*Message{other}},
			{Filter{Sender: "<>"}, []*Message{null}},
			{Filter{Client: "10.20.3.0/24"}, []*Message{old, null}},
			{Filter{Client: "10.20.4.1"}, []*Message{other}},
			{Filter{Client: "mfp-1"}, []*Message{old}},
			{Filter{OlderThan: 30 * time.Minute}, []*Message{old}},
			{Filter{State: Held}, []*Message{null}},
			{Filter{State: Deferred, Client: "10.20.3.7"}, []*Message{old}},
		} {
			p, err := r.q.List(c.f)
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, m := range p.Messages {
				got = append(got, m.ID)
			}
			for _, m := range c.want {
				want = append(want, m.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v: got %v, want %v", c.f, got, want)
			}
		}
		for _, f := range []Filter{{Client: "10.0.0.0/99"}, {Sender: "no pattern"}, {State: "lost"}, {IDs: []string{"nothing"}}} {
			if _, err := r.q.List(f); err == nil {
				t.Errorf("%+v is no error", f)
			}
		}
		if _, err := r.q.Remove(r.Context(), Filter{}); !errors.Is(err, ErrNoSelection) {
			t.Errorf("a verb without a selector: %v", err)
		}
	})
}

func TestListInPages(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		var want, got []string
		for range 25 {
			m := message("x@corp.example")
			m.Held = "held by rule"
			want = append(want, r.submit(m).ID)
		}
		pages := 0
		for f := (Filter{Limit: 10}); ; pages++ {
			p, err := r.q.List(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p.Messages {
				got = append(got, m.ID)
			}
			if f.Cursor = p.Next; f.Cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) || pages != 2 {
			t.Errorf("%d pages: %v", pages+1, got)
		}
	})
}

func TestHoldAndReleaseSurviveARestart(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		if ids, err := r.q.Hold(r.Context(), Filter{IDs: []string{id}}, ""); err != nil || !slices.Equal(ids, []string{id}) {
			t.Fatal(ids, err)
		}
		if ids, _ := r.q.Hold(r.Context(), Filter{IDs: []string{id}}, ""); len(ids) != 0 {
			t.Error("held twice")
		}
		r.restart()
		r.pass(30 * 24 * time.Hour)
		r.wantState(id, Held)
		r.wantTried("a:x@corp.example")
		if ids, err := r.q.Release(r.Context(), Filter{All: true}); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		synctest.Wait()
		r.wantTried("a:x@corp.example", "a:x@corp.example")
		r.wantState(id, Deferred) // the month on hold does not count for the expiry
		r.restart()
		r.up.say(always(ok))
		r.pass(2 * time.Minute)
		r.wantState(id, "")
	})
}

func TestHoldWhileAnAttemptRuns(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.sayAll(slow(10*time.Second, greylisted))
		id := r.send(message("x@corp.example")).ID
		if _, err := r.q.Hold(r.Context(), Filter{IDs: []string{id}}, ""); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Hour)
		r.wantTried("a:x@corp.example")
		r.wantState(id, Held)
	})
}

func TestRetryNow(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.up.say(always(noUser))
		if ids, err := r.q.Retry(r.Context(), Filter{All: true}); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		synctest.Wait()
		r.wantState(id, Failed)
		r.restart()
		r.pass(6 * 24 * time.Hour)
		r.up.say(always(greylisted)) // a failed scan can be sent again, and has its full time
		if ids, err := r.q.Retry(r.Context(), Filter{IDs: []string{id}}); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		synctest.Wait()
		r.wantState(id, Deferred)
		r.restart()
		r.wantState(id, Deferred)
		r.up.say(always(ok))
		r.pass(time.Minute)
		r.wantState(id, "")
	})
}

func TestBounceByHand(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example", "y@corp.example")).ID
		if ids, err := r.q.Bounce(r.Context(), Filter{IDs: []string{id}}, "wrong scan"); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		r.wantState(id, Failed)
		r.wantNotices("failed it@corp.example x@corp.example,y@corp.example")
		if o := r.noticed()[0].Recipients[0].Outcome; o.Text != "wrong scan" {
			t.Errorf("%+v", o)
		}
		r.up.say(always(noUser)) // what has failed already is not bounced once more
		refused := r.send(message("z@corp.example")).ID
		if ids, err := r.q.Bounce(r.Context(), Filter{IDs: []string{id, refused}}, ""); err != nil || len(ids) != 0 {
			t.Error(ids, err)
		}
		r.wantNotices("failed it@corp.example x@corp.example,y@corp.example", "failed it@corp.example z@corp.example")
		r.up.sayAll(slow(10*time.Second, greylisted)) // and while it is being tried
		id = r.send(message("z@corp.example")).ID
		if ids, err := r.q.Bounce(r.Context(), Filter{IDs: []string{id}}, ""); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		r.pass(11 * time.Second)
		r.wantState(id, Failed)
		n := r.noticed()
		if len(n) != 3 {
			t.Fatalf("%d notices", len(n))
		}
		if o := n[2].Recipients[0].Outcome; o.Text != "given up by the administrator" || o.Code != 0 || o.Enhanced != "" || o.Remote != "" {
			t.Errorf("the administrator's words as a server's: %+v", o)
		}
	})
}

func TestRetryAfterABounceByHand(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		m := message("x@corp.example")
		m.Held = "held by rule"
		r.send(m)
		if _, err := r.q.Bounce(r.Context(), Filter{IDs: []string{m.ID}}, ""); err != nil {
			t.Fatal(err)
		}
		r.wantState(m.ID, Failed)
		r.up.say(always(noUser)) // the notification that this one needs is not the first one
		for range 2 {
			r.pass(time.Minute)
			r.restart()
			if ids, err := r.q.Retry(r.Context(), Filter{IDs: []string{m.ID}}); err != nil || len(ids) != 1 {
				t.Fatal(ids, err)
			}
			synctest.Wait()
		}
		if n := len(r.noticed()); n != 3 {
			t.Errorf("%d notifications of 3 failures", n)
		}
	})
}

func TestRerouteToAnUpstreamThatRefused(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": tooLarge, "b": greylisted}))
		id := r.send(message("x@corp.example")).ID
		r.up.say(always(ok))
		if _, err := r.q.Reroute(r.Context(), Filter{IDs: []string{id}}, "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.wantTried("a:x@corp.example", "b:x@corp.example", "a:x@corp.example")
	})
}

func TestRerouteSurvivesARestartAndAnUpdate(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		if _, err := r.q.Reroute(r.Context(), Filter{All: true}, "nowhere"); err == nil {
			t.Error("rerouted to an upstream that does not exist")
		}
		if ids, err := r.q.Reroute(r.Context(), Filter{All: true}, "b"); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		synctest.Wait()
		r.q.Update(settings())
		r.restart()
		r.up.say(always(ok))
		r.pass(5 * time.Minute)
		r.wantTried("a:x@corp.example", "b:x@corp.example", "b:x@corp.example")
		r.wantState(id, "")
	})
}

func TestRemove(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.up.sayAll(slow(10*time.Second, noUser))
		running := r.send(message("y@corp.example")).ID
		if ids, err := r.q.Remove(r.Context(), Filter{All: true}); err != nil || len(ids) != 2 {
			t.Fatal(ids, err)
		}
		if r.stored(id) {
			t.Error("it is still in the spool")
		}
		r.pass(11 * time.Second)
		if r.stored(running) {
			t.Error("what was being tried is still in the spool")
		}
		r.pass(time.Hour)
		r.wantTried("a:x@corp.example", "a:y@corp.example")
		r.wantNotices()

		r.up.sayAll(slow(time.Hour, greylisted)) // removed while it is tried, then a restart
		running = r.send(message("z@corp.example")).ID
		if _, err := r.q.Remove(r.Context(), Filter{IDs: []string{running}}); err != nil {
			t.Fatal(err)
		}
		r.restart()
		if r.stored(running) {
			t.Error("a restart brought back what was removed")
		}
	})
}

func TestShowAndExport(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(by(map[string]upstream.Outcome{"a": down, "b": greylisted}))
		id := r.send(message("x@corp.example", "y@corp.example")).ID
		d, err := r.q.Show(id)
		if err != nil {
			t.Fatal(err)
		}
		if d.Sender != "scan@copier.corp.example" || d.Rule != "office/mfps" || d.Client != "10.20.3.7" || d.Waiting != 2 || d.Attempts != 2 || d.Next.IsZero() {
			t.Errorf("%+v", d.Summary)
		}
		if len(d.History) != 2 || d.History[0].Upstream != "a" || d.History[1].Upstream != "b" || len(d.History[1].Recipients) != 2 ||
			!strings.Contains(d.History[1].Text, "450 4.7.1 greylisted") {
			t.Errorf("%+v", d.History)
		}
		rc, err := r.q.Export(r.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, rc); got != "Subject: scan\r\n\r\npage\r\n" {
			t.Errorf("export %q", got)
		}
		if _, err := r.q.Export(r.Context(), "nothing"); !errors.Is(err, ErrNotFound) {
			t.Errorf("export: %v", err)
		}
		for range 200 {
			r.pass(time.Minute)
			if _, err := r.q.Retry(r.Context(), Filter{All: true}); err != nil {
				t.Fatal(err)
			}
		}
		if d, err = r.q.Show(id); err != nil || len(d.History) > maxHistory {
			t.Errorf("%d events, %v", len(d.History), err)
		}
	})
}

// Verbs, attempts and reloads at once: nothing is lost or sent twice.
func TestVerbsAmidDeliveries(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(func(a Attempt, to envelope.Address) upstream.Outcome {
			if a.Number < 3 {
				return greylisted
			}
			return ok
		})
		var ids []string
		for i := range 60 {
			ids = append(ids, r.submit(message(fmt.Sprintf("x@d%d.example", i))).ID)
		}
		go func() {
			for range 20 {
				r.q.Hold(r.Context(), Filter{All: true}, "") //nolint:errcheck // races with the end of messages
				r.q.Update(settings())
				r.q.Release(r.Context(), Filter{All: true})      //nolint:errcheck // the race is what is tested
				r.q.Retry(r.Context(), Filter{State: Deferred})  //nolint:errcheck // the race is what is tested
				r.q.Reroute(r.Context(), Filter{All: true}, "b") //nolint:errcheck // the race is what is tested
				r.q.Reroute(r.Context(), Filter{All: true}, "")  //nolint:errcheck // the race is what is tested
				time.Sleep(time.Second)
			}
		}()
		r.pass(time.Hour)
		accepted := map[string]int{}
		for _, a := range r.up.attempts() {
			if a.Number >= 3 {
				accepted[a.Message.ID]++
			}
		}
		for _, id := range ids {
			if accepted[id] != 1 {
				t.Errorf("%s was accepted %d times", id, accepted[id])
			}
			r.wantState(id, "")
		}
		if u := r.sp.Usage(); u.Entries != 0 {
			t.Errorf("%d entries are left", u.Entries)
		}
	})
}
