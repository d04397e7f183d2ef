package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// vanish takes a message away from the spool, as somebody would who cleans up the folder.
func (r *rig) vanish(id string) {
	r.Helper()
	if err := r.sp.Remove(id); err != nil {
		r.Fatal(err)
	}
}

// outcomes has the rig note how each message left the queue, or was lost, and after
// which events.
func (r *rig) outcomes() map[string][]string {
	r.Helper()
	got := map[string][]string{}
	r.stop()
	r.options = func(o *Options) {
		o.Witness = func(p Progress) {
			if p.Message.DSNOf == "" && p.Event != Arrived {
				got[p.Message.ID] = append(got[p.Message.ID], fmt.Sprintf("%s>%s %d+%d", p.Event, p.Gone, p.Accepted, p.Failed))
			}
		}
	}
	r.start()
	return got
}

// A message whose spool entry is gone is not called accepted: who waits for it has
// failed, somebody hears of it, and the log says what to do.
func TestALostMessageIsNotAnAcceptedOne(t *testing.T) {
	some := func(_ Attempt, to envelope.Address) upstream.Outcome {
		switch to.Local {
		case "taken":
			return ok
		case "nobody":
			return noUser
		}
		return greylisted
	}
	tests := []struct {
		name    string
		to      []string
		first   func(r *rig, id string) // happens before it vanishes
		then    func(r *rig, id string) error
		events  string
		told    []string
		lost    int // recipients
		wantErr string
	}{
		{
			name: "while it waits for another try", to: []string{"late"},
			events: "attempt> 0+0, attempt> 0+0, lost>lost 0+1, told>lost 0+1", told: []string{"failed it@corp.example late@corp.example"}, lost: 1,
		},
		{
			name: "when some have it, and some never will", to: []string{"taken", "late", "nobody", "late2"},
			events: "attempt> 1+1, attempt> 1+1, lost>lost 1+3, told>lost 1+3",
			told:   []string{"failed it@corp.example nobody@corp.example", "failed it@corp.example late@corp.example,late2@corp.example"}, lost: 2,
		},
		{
			name: "held", to: []string{"late"},
			first: func(r *rig, id string) {
				if _, err := r.q.Hold(r.Context(), Filter{IDs: []string{id}}, ""); err != nil {
					r.Error(err)
				}
			},
			then: func(r *rig, id string) error {
				_, err := r.q.Release(r.Context(), Filter{IDs: []string{id}})
				return err
			},
			events: "attempt> 0+0, hold> 0+0, lost>lost 0+1, told>lost 0+1", told: []string{"failed it@corp.example late@corp.example"}, lost: 1,
			wantErr: "what removes or replaces files",
		},
		{
			name: "removed by hand", to: []string{"late"},
			then: func(r *rig, id string) error {
				_, err := r.q.Remove(r.Context(), Filter{IDs: []string{id}})
				return err
			},
			events: "attempt> 0+0, remove>removed 0+0",
		},
		{
			name: "failed, and kept for a week", to: []string{"nobody"},
			events: "attempt> 0+1, >kept 0+1", told: []string{"failed it@corp.example nobody@corp.example"},
		},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, settings(), func(r *rig) {
				got := r.outcomes()
				r.up.say(some)
				var to []string
				for _, local := range x.to {
					to = append(to, local+"@corp.example")
				}
				id := r.send(message(to...)).ID
				if x.first != nil {
					x.first(r, id)
				}
				r.vanish(id)
				if x.then != nil {
					err := x.then(r, id)
					if x.wantErr == "" && err != nil || x.wantErr != "" && (err == nil || !strings.Contains(err.Error(), x.wantErr)) {
						t.Errorf("%v, want %q", err, x.wantErr)
					}
				}
				r.pass(8 * 24 * time.Hour)
				if s := strings.Join(got[id], ", "); s != x.events {
					t.Errorf("\n got %s\nwant %s", s, x.events)
				}
				r.wantNotices(x.told...)
				r.wantState(id, "")
				if n := r.logged("level=ERROR msg=\"a scan is lost"); n != min(1, x.lost) {
					t.Errorf("it is said %d times", n)
				}
				if x.lost > 0 && r.logged(fmt.Sprintf("recipients=%d remedy=\"scan it again", x.lost)) == 0 {
					t.Errorf("not said of %d recipients, with what to do", x.lost)
				}
			})
		})
	}
}

// Of two attempts that run, the one that ends first finds that the entry is gone; what
// the other brings counts all the same.
func TestALostMessageIsStillBeingTried(t *testing.T) {
	s := settings()
	s.Fallbacks = nil
	s.Routes = []plan.Route{{Upstream: "b", RecipientDomains: []string{"slow.example"}}, {Upstream: "a"}}
	for kind, want := range map[upstream.Kind]string{
		upstream.Accepted: "attempt> 0+0, lost>lost 0+1, told>lost 0+1, attempt>lost 1+1",
		upstream.Deferred: "attempt> 0+0, lost>lost 0+1, told>lost 0+1, attempt>lost 0+1, lost>lost 0+2, told>lost 0+2",
	} {
		inBubble(t, s, func(r *rig) {
			got := r.outcomes()
			slow := make(chan struct{})
			r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
				switch {
				case a.Message.DSNOf != "":
					return []upstream.Outcome{ok}
				case a.Upstream == "b":
					<-slow
					return []upstream.Outcome{{Kind: kind, Scope: upstream.ScopeRecipient}}
				}
				r.vanish(a.Message.ID)
				return []upstream.Outcome{greylisted}
			})
			id := r.send(message("late@corp.example", "other@slow.example")).ID
			r.pass(time.Hour)
			close(slow)
			r.pass(time.Hour)
			if s := strings.Join(got[id], ", "); s != want {
				t.Errorf("\n got %s\nwant %s", s, want)
			}
			r.wantState(id, "")
		})
	}
}

// A device that waits for the first attempt is not kept waiting for what is lost, and
// what is lost is told of in a digest too.
func TestALostMessageIsToldOfInADigest(t *testing.T) {
	inBubble(t, perHour(1), func(r *rig) {
		r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
			if a.Message.DSNOf != "" {
				return []upstream.Outcome{ok}
			}
			r.vanish(a.Message.ID)
			return []upstream.Outcome{greylisted}
		})
		for range 3 {
			m := message("late@corp.example")
			m.Relayed = true
			if _, ok := r.send(m).Wait(r.Context()); ok {
				t.Error("the device is told a result")
			}
		}
		r.pass(2 * time.Hour)
		r.wantNotices("failed it@corp.example late@corp.example")
		r.wantDigests("it@corp.example: 2+0 of 2 after 1")
		if c := r.digests[0].Causes[0].Notices[0]; !c.Lost || c.Recipients[0].Advice != lostAdvice {
			t.Errorf("%+v", c)
		}
		if n := r.q.Snapshot(); n.Failed+n.Deferred+n.Pending != 0 {
			t.Errorf("%+v", n)
		}
	})
}
