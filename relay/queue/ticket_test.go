package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func relayed(to ...string) *Message {
	m := message(to...)
	m.Relayed = true
	return m
}

// wait gives what a client with a time limit of 20 s is told.
func wait(tk *Ticket) (Result, bool, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	start := time.Now()
	res, told := tk.Wait(ctx)
	return res, told, time.Since(start)
}

func TestAcknowledgeRelayed(t *testing.T) {
	perUser := func(a Attempt, to envelope.Address) upstream.Outcome {
		switch to.Local {
		case "nobody", "none":
			return noUser
		case "grey":
			return greylisted
		case "lost":
			return brokeOff
		case "down":
			return down
		case "large":
			return tooLarge
		case "second":
			if a.Upstream == "a" {
				return down
			}
		}
		return ok
	}
	for _, c := range []struct {
		name    string
		to      []string
		verdict Verdict
		notices []string
		state   State
	}{
		{"all accepted", []string{"x@corp.example", "y@corp.example"}, Accepted, nil, ""},
		{"accepted by the fallback", []string{"second@corp.example"}, Accepted, nil, ""},
		{"all refused: the client is told, nobody else", []string{"nobody@corp.example", "none@corp.example"}, Refused, nil, Failed},
		{"refused by every upstream", []string{"large@corp.example"}, Refused, nil, Failed},
		{"a mix", []string{"x@corp.example", "nobody@corp.example"}, Queued, []string{"failed it@corp.example nobody@corp.example"}, Failed},
		{"deferred", []string{"x@corp.example", "grey@corp.example"}, Queued, nil, Deferred},
		{"refused and deferred", []string{"nobody@corp.example", "grey@corp.example"}, Queued, []string{"failed it@corp.example nobody@corp.example"}, Deferred},
		{"unknown", []string{"lost@corp.example"}, Queued, nil, Deferred},
		{"upstreams down", []string{"down@corp.example"}, Queued, nil, Deferred},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, settings(), func(r *rig) {
				r.up.say(perUser)
				m := relayed(c.to...)
				res, told, took := wait(r.submit(m))
				if res.Verdict != c.verdict || told != (c.verdict != Queued) || took != 0 {
					t.Errorf("verdict %v, told %v after %v", res.Verdict, told, took)
				}
				if c.verdict == Refused && (len(res.Outcomes) != len(c.to) || res.First().Code/100 != 5) {
					t.Errorf("the remote's words are missing: %+v", res)
				}
				synctest.Wait()
				r.wantNotices(c.notices...)
				r.wantState(m.ID, c.state)
				r.restart() // nobody is notified because of a restart
				r.pass(10 * time.Second)
				r.wantNotices(c.notices...)
			})
		})
	}
}

func TestRelayedRefusalAfterTheClientGaveUpIsNotified(t *testing.T) {
	for _, after := range []time.Duration{30 * time.Second, 5 * time.Second} { // the time limit; the client hung up
		inBubble(t, settings(), func(r *rig) {
			r.up.sayAll(slow(40*time.Second, noUser))
			m := relayed("x@corp.example")
			tk := r.submit(m)
			ctx, cancel := context.WithTimeout(context.Background(), after)
			defer cancel()
			if res, told := tk.Wait(ctx); told || res.Verdict != Queued {
				t.Errorf("told %v", res)
			}
			r.pass(time.Minute)
			r.wantNotices("failed it@corp.example x@corp.example")
			r.wantState(m.ID, Failed)
		})
	}
}

// The parts of a message end at different times; a refusal waits for the
// verdict before it is notified.
func TestRelayedRefusalWaitsForTheOtherRecipients(t *testing.T) {
	s := only(settings())
	s.Upstreams["c"] = &plan.Upstream{Name: "c", Connections: 1}
	s.Routes = []plan.Route{{Name: "c", RecipientDomains: []string{"c.example"}, Upstream: "c"}, {Upstream: "a"}}
	for _, c := range []struct {
		late    upstream.Outcome
		verdict Verdict
		notices []string
	}{
		{noUser, Refused, nil},
		{ok, Queued, []string{"failed it@corp.example x@corp.example"}},
		{greylisted, Queued, []string{"failed it@corp.example x@corp.example"}},
	} {
		inBubble(t, s, func(r *rig) {
			r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
				if a.Upstream == "c" {
					return slow(10*time.Second, c.late)(ctx, a)
				}
				return upstream.All(len(a.Recipients), noUser)
			})
			m := relayed("x@corp.example", "y@c.example")
			tk := r.send(m)
			r.wantNotices()
			res, _, took := wait(tk)
			if res.Verdict != c.verdict || took != 10*time.Second {
				t.Errorf("verdict %v after %v, want %v", res.Verdict, took, c.verdict)
			}
			synctest.Wait()
			r.wantNotices(c.notices...)
		})
	}
}

// A crash while the client waits: it was never told, so a DSN must follow.
func TestRelayedRefusalWithoutAVerdictIsNotifiedAfterARestart(t *testing.T) {
	s := only(settings())
	s.Upstreams["c"] = &plan.Upstream{Name: "c", Connections: 1}
	s.Routes = []plan.Route{{Name: "c", RecipientDomains: []string{"c.example"}, Upstream: "c"}, {Upstream: "a"}}
	inBubble(t, s, func(r *rig) {
		r.up.sayAll(func(ctx context.Context, a Attempt) []upstream.Outcome {
			if a.Upstream == "c" {
				return slow(time.Hour, ok)(ctx, a)
			}
			return upstream.All(len(a.Recipients), noUser)
		})
		m := relayed("x@corp.example", "y@c.example")
		r.send(m)
		e, err := r.sp.Read(m.ID)
		if err != nil || len(e.Records) != 1 {
			t.Fatalf("%d records, %v", len(e.Records), err)
		}
		r.wantNotices()
		r.restart()
		r.wantNotices("failed it@corp.example x@corp.example")
		before := len(r.tried())
		r.pass(time.Minute)
		for _, a := range r.tried()[before:] {
			if a != "c:y@c.example" {
				t.Errorf("tried again: %s", a)
			}
		}
	})
}

func TestRelayedMailThatCannotBeTriedIsQueuedAtOnce(t *testing.T) {
	s := only(settings())
	s.Upstreams["a"] = &plan.Upstream{Name: "a", Connections: 4, Suspend: true}
	inBubble(t, s, func(r *rig) {
		if _, told, took := wait(r.submit(relayed("x@corp.example"))); told || took != 0 {
			t.Errorf("suspended: told %v after %v", told, took)
		}
		r.q.Update(settings())
		held := relayed("x@corp.example")
		held.Held = "held by rule"
		if _, told, took := wait(r.submit(held)); told || took != 0 {
			t.Errorf("held: told %v after %v", told, took)
		}
		paced := relayed("x@corp.example")
		paced.NotBefore = time.Now().Add(time.Minute)
		if _, told, took := wait(r.submit(paced)); told || took != 0 {
			t.Errorf("paced: told %v after %v", told, took)
		}
		synctest.Wait()
	})
}

func TestRelayedShutdownQueues(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.sayAll(slow(time.Hour, noUser))
		tk := r.send(relayed("x@corp.example"))
		go func() {
			time.Sleep(5 * time.Second)
			r.cancel()
		}()
		if _, told, took := wait(tk); told || took != 5*time.Second {
			t.Errorf("told %v after %v", told, took)
		}
		synctest.Wait()
	})
}

func TestRelayedVerdictThatCannotBeWrittenIsQueued(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		f := new(failing)
		r.wrap = func(s store) store { f.store = s; return f }
		r.start()
		r.up.say(always(noUser))
		f.set(true)
		m := relayed("x@corp.example")
		if _, told, took := wait(r.submit(m)); told || took != 0 {
			t.Errorf("told %v after %v", told, took)
		}
		f.set(false)
		r.pass(5 * time.Minute)
		r.wantNotices("failed it@corp.example x@corp.example")
		r.wantState(m.ID, Failed)
	})
}
