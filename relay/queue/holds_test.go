package queue

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// holding is settings with a hold on the device of message().
func holding() Settings {
	s := settings()
	s.Holds = []plan.Hold{{Name: "stolen", Networks: []netip.Prefix{netip.MustParsePrefix("10.20.3.7/32")}, Reason: "ticket 4711"}}
	return s
}

const stolen = "hold stolen: ticket 4711"

func (r *rig) update(s Settings) {
	r.s = s
	r.q.Update(s)
	synctest.Wait()
}

func (r *rig) wantReason(id, want string) {
	r.Helper()
	d, err := r.q.Show(id)
	if err != nil {
		r.Fatal(err)
	}
	if d.Reason != want {
		r.Errorf("message %s: %q, want %q", id, d.Reason, want)
	}
}

// wantKept calls a verb that must leave one message as it is.
func (r *rig) wantKept(id, why string) func([]string, error) {
	return func(changed []string, err error) {
		r.Helper()
		var kept *KeptError
		if !errors.As(err, &kept) || len(changed) > 0 || len(kept.Messages) != 1 || kept.Messages[0].ID != id || !strings.Contains(kept.Messages[0].Why, why) {
			r.Fatalf("%v, %v; want %s kept: %s", changed, err, id, why)
		}
	}
}

func (r *rig) wantChanged(ids ...string) func([]string, error) {
	return func(changed []string, err error) {
		r.Helper()
		if err != nil || !slices.Equal(changed, ids) {
			r.Fatalf("%v, %v; want %v changed", changed, err, ids)
		}
	}
}

func TestWhomAHoldKeeps(t *testing.T) {
	domain, err := envelope.ParsePattern("*@copier.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	device := netip.MustParsePrefix("10.20.3.7/32")
	from := func(change func(*Message)) *Message {
		m := message("x@corp.example")
		change(m)
		return m
	}
	self := from(func(*Message) {})
	other := from(func(m *Message) { m.Client.Addr = netip.MustParseAddr("10.20.3.8") })
	mapped := from(func(m *Message) { m.Client.Addr = netip.MustParseAddr("::ffff:10.20.3.7") })
	hidden := from(func(m *Message) { m.Client.Addr, m.Client.Hidden = netip.MustParseAddr("10.244.0.1"), true })
	user := from(func(m *Message) { m.Client.User = "mfp-1" })
	elsewhere := from(func(m *Message) { m.Sender = addr("fax@old.example") })
	null := from(func(m *Message) { m.Sender = envelope.Address{} })
	notice := from(func(m *Message) { m.DSNOf = "parent" })
	for _, c := range []struct {
		name string
		hold plan.Hold
		keep []*Message
		free []*Message
	}{
		{"a device", plan.Hold{Networks: []netip.Prefix{device}}, []*Message{self, mapped, hidden, null}, []*Message{other, notice}},
		{"a login", plan.Hold{Users: []string{"mfp-1"}}, []*Message{user}, []*Message{self, hidden}},
		{"a login in another case", plan.Hold{Users: []string{"MFP-1"}}, []*Message{user}, []*Message{self, hidden}},
		{"a sender domain", plan.Hold{Senders: []envelope.Pattern{domain}}, []*Message{self, other, user}, []*Message{elsewhere, null, notice}},
		{"all must match", plan.Hold{Networks: []netip.Prefix{device}, Users: []string{"mfp-1"}}, []*Message{user}, []*Message{self, other}},
		{"nobody", plan.Hold{}, nil, []*Message{self, user, hidden}},
	} {
		r := &routing{Settings: Settings{Holds: []plan.Hold{c.hold}}}
		for _, m := range c.keep {
			if r.holdOf(m, "") == nil {
				t.Errorf("%s: %+v is not held", c.name, m.Origin)
			}
		}
		for _, m := range c.free {
			if r.holdOf(m, "") != nil {
				t.Errorf("%s: %+v is held", c.name, m.Origin)
			}
		}
	}
}

// Whose address is known by now to hide others may have been the device that is meant,
// whatever was known when the mail came.
func TestAHoldGoesByWhoIsHiddenNow(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		node, other := message("node@corp.example"), message("other@corp.example")
		node.Client.Addr, other.Client.Addr = netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.20.3.8")
		r.send(node)
		r.send(other)
		s := holding()
		r.update(s)
		r.wantState(node.ID, Deferred)
		s.HiddenClients.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
		r.update(s)
		r.wantReason(node.ID, stolen)
		r.wantState(other.ID, Deferred)
		r.wantKept(node.ID, "hold stolen still keeps it")(r.q.Release(r.Context(), Filter{IDs: []string{node.ID}}))
		comes := message("comes@corp.example")
		comes.Client.Addr = node.Client.Addr
		r.send(comes)
		r.wantState(comes.ID, Held)
	})
}

func TestAHoldKeepsWhatComesAndWhatWaits(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		waits := r.send(message("waits@corp.example")).ID
		other := message("other@corp.example")
		other.Client.Addr = netip.MustParseAddr("10.20.3.8")
		r.send(other)
		r.update(holding())
		r.up.say(always(ok))
		comes := r.send(message("comes@corp.example")).ID
		r.wantState(waits, Held)
		r.wantState(comes, Held)
		r.wantReason(waits, stolen)
		r.wantReason(comes, stolen)
		r.pass(30 * 24 * time.Hour)
		r.wantTried("a:waits@corp.example", "a:other@corp.example", "a:other@corp.example")
		if s := r.q.Snapshot(); s.Held != 2 || s.HeldBy["stolen"] != 2 {
			t.Errorf("%+v", s)
		}
		// The hold goes, and with it nothing: a person has to say so.
		r.update(settings())
		r.restart()
		r.pass(30 * 24 * time.Hour)
		for _, id := range []string{waits, comes} {
			r.wantState(id, Held)
		}
		r.wantChanged(waits, comes)(r.q.Release(r.Context(), Filter{HeldBy: "stolen"}))
		synctest.Wait()
		r.wantState(waits, "")
		r.wantState(comes, "")
	})
}

// An attempt that runs when the hold comes ends by itself; what is left of the
// message is held.
func TestAHoldWhileAnAttemptRuns(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.sayAll(slow(10*time.Second, greylisted))
		id := r.send(message("x@corp.example")).ID
		r.update(holding())
		r.pass(time.Hour)
		r.wantTried("a:x@corp.example")
		r.wantState(id, Held)
		r.restart()
		r.wantState(id, Held)
	})
}

func TestReleasePastAHold(t *testing.T) {
	inBubble(t, holding(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.wantKept(id, "hold stolen still keeps it")(r.q.Release(r.Context(), Filter{All: true}))
		r.wantReason(id, stolen+"; not released: hold stolen still keeps it: take it out of spec.holds first")
		r.wantKept(id, "hold stolen")(r.q.Release(r.Context(), Filter{HeldBy: "stolen"})) // it is still found by it
		r.restart()
		r.wantTried()

		ctx := WithPerson(r.Context(), Person{Name: "pat\nfake", Override: true})
		r.wantChanged(id)(r.q.Release(ctx, Filter{IDs: []string{id}}))
		synctest.Wait()
		r.update(r.s)
		r.restart()
		r.pass(time.Hour)
		r.wantState(id, Deferred)
		d, err := r.q.Show(id)
		if err != nil {
			t.Fatal(err)
		}
		by := slices.IndexFunc(d.History, func(e Event) bool { return e.Event == "release" && e.By == "pat fake" })
		if by < 0 || r.logged("the policy is overridden by hand") != 1 {
			t.Errorf("who released it is not told: %+v", d.History)
		}
		// Another hold is another matter.
		s := holding()
		s.Holds = append(s.Holds, plan.Hold{Name: "again", Users: []string{""}, Senders: nil})
		s.Holds[0].Name = "again"
		r.update(s)
		r.wantState(id, Held)
		r.wantReason(id, "hold again: ticket 4711")
	})
}

// Who is released past one hold is kept by any other that means it too, in whatever
// order they stand; and one that is released by force goes past all that there are.
func TestReleasedPastOneOfTwoHolds(t *testing.T) {
	inBubble(t, holding(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		force := WithPerson(r.Context(), Person{Override: true})
		r.wantChanged(id)(r.q.Release(force, Filter{IDs: []string{id}}))
		synctest.Wait()
		r.wantState(id, Deferred)
		both := holding()
		both.Holds = append(both.Holds, plan.Hold{Name: "second", Networks: both.Holds[0].Networks})
		r.update(both)
		r.wantReason(id, "hold second")
		r.wantKept(id, "hold second still keeps it")(r.q.Release(r.Context(), Filter{HeldBy: "second"}))
		third := both
		third.Holds = append(third.Holds[:2:2], plan.Hold{Name: "third", Networks: both.Holds[0].Networks})
		r.update(third)
		r.wantChanged(id)(r.q.Release(force, Filter{IDs: []string{id}}))
		synctest.Wait()
		r.restart()
		r.wantState(id, Deferred)
	})
}

// A hold that comes while a release asks the policy keeps the message: nobody has
// released it past that one.
func TestAHoldThatComesWhileAReleaseAsks(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		r.options = func(o *Options) {
			o.Permits = func(*Message) error {
				r.q.Update(holding())
				return nil
			}
		}
		r.start()
		m := message("x@corp.example")
		m.Held = "rule office/mfps holds"
		id := r.send(m).ID
		r.wantChanged(id)(r.q.Release(r.Context(), Filter{IDs: []string{id}}))
		r.pass(time.Hour)
		r.wantState(id, Held)
		r.wantReason(id, stolen)
		r.wantTried()
	})
}

func TestVerbsAskThePolicyOfNow(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.stop()
		forbidden := map[string]bool{}
		r.options = func(o *Options) {
			o.Permits = func(m *Message) error {
				if forbidden[m.Sender.Domain] {
					return errors.New("550 5.7.1 PR-031 Sender not allowed")
				}
				return nil
			}
		}
		r.start()
		r.up.say(always(noUser))
		failed := r.send(message("gone@corp.example")).ID
		m := message("x@corp.example")
		m.Held = "rule office/mfps holds"
		held := r.send(m).ID
		r.up.say(always(ok))
		forbidden["copier.corp.example"] = true
		all := Filter{IDs: []string{held}}
		r.wantKept(held, "PR-031")(r.q.Release(r.Context(), all))
		r.wantReason(held, "rule office/mfps holds; not released: 550 5.7.1 PR-031 Sender not allowed")
		r.wantKept(failed, "PR-031")(r.q.Retry(r.Context(), Filter{IDs: []string{failed}}))
		r.wantKept(held, "PR-031")(r.q.Reroute(r.Context(), Filter{IDs: []string{held}}, "b"))
		r.pass(time.Hour)
		r.wantTried("a:gone@corp.example")
		r.wantState(held, Held)
		r.wantState(failed, Failed)
		// What is allowed again goes.
		forbidden["copier.corp.example"] = false
		r.wantChanged(held)(r.q.Reroute(r.Context(), Filter{IDs: []string{held}}, "b"))
		r.wantChanged(held)(r.q.Release(r.Context(), Filter{IDs: []string{held}}))
		r.wantChanged(failed)(r.q.Retry(r.Context(), Filter{IDs: []string{failed}}))
		synctest.Wait()
		r.wantTried("a:gone@corp.example", "b:x@corp.example", "a:gone@corp.example")
	})
}

func TestRerouteAsksTheUpstream(t *testing.T) {
	s := settings()
	s.Upstreams["b"].Sender = &plan.Sender{Domain: "other.example", Rewrite: "Never"}
	s.Upstreams["small"] = &plan.Upstream{Name: "small", Connections: 1, MessageSize: 10}
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.wantKept(id, "sends as other.example only")(r.q.Reroute(r.Context(), Filter{All: true}, "b"))
		r.wantKept(id, "not to carry it")(r.q.Reroute(r.Context(), Filter{All: true}, "small"))
		r.wantChanged(id)(r.q.Reroute(r.Context(), Filter{All: true}, ""))
		r.wantChanged(id)(r.q.Reroute(WithPerson(r.Context(), Person{Override: true}), Filter{All: true}, "b"))
		r.pass(5 * time.Minute)
		if got := r.tried(); !strings.HasPrefix(got[len(got)-1], "b:") {
			t.Error(got)
		}
	})
}

// TestCrashWhileAHoldBegins stops the queue dead at each write that a hold, a
// release that is refused and one that is forced make, and starts it again.
func TestCrashWhileAHoldBegins(t *testing.T) {
	life := func(n int, half bool) (writes int) {
		inBubble(t, settings(), func(r *rig) {
			r.up.say(always(greylisted))
			id := r.send(message("x@corp.example")).ID
			r.stop()
			c := &crashing{n: n, half: half}
			r.wrap = func(s store) store { c.store = s; return c }
			r.start()
			before := len(r.tried())
			r.update(holding())
			ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
			r.q.Release(ctx, Filter{All: true}) //nolint:errcheck // it crashes
			cancel()
			r.pass(time.Hour)
			if got := len(r.tried()); got != before {
				t.Errorf("crash at write %d: tried %d times though it was held", n, got-before)
			}
			c.mu.Lock()
			writes = n - max(c.n, 0)
			c.mu.Unlock()
			r.wrap = nil
			r.restart()
			r.pass(time.Hour)
			r.wantState(id, Held)
			if d, _ := r.q.Show(id); !strings.HasPrefix(d.Reason, stolen) {
				t.Errorf("crash at write %d: held by %q", n, d.Reason)
			}
			r.update(settings())
			r.restart()
			r.wantState(id, Held)
			r.up.say(always(ok))
			r.wantChanged(id)(r.q.Release(r.Context(), Filter{All: true}))
			synctest.Wait()
			r.wantState(id, "")
		})
		return writes
	}
	all := life(1000, false)
	if all < 2 {
		t.Fatalf("%d writes: the hold and the refusal of its release are two", all)
	}
	for n := range all {
		life(n, false)
		life(n, true)
	}
}

func TestHoldName(t *testing.T) {
	for held, want := range map[string]string{
		"hold stolen": "stolen", "hold stolen: ticket 4711": "stolen", "hold stolen; not released: hold stolen still keeps it: take it out": "stolen",
		"hold stolen: why: so; not released: 550 5.7.1 PR-031": "stolen", "held by hand": "", "by hand: hold stolen": "", "": "",
	} {
		if got := HoldName(held); got != want {
			t.Errorf("%q: %q, want %q", held, got, want)
		}
	}
}

// What intake: Hold keeps is selected by itself, as what a hold keeps is.
func TestWhatIntakeKeepsIsSelected(t *testing.T) {
	s := settings()
	s.Holds = []plan.Hold{{Name: "intake", Users: []string{"mfp-1"}}}
	inBubble(t, s, func(r *rig) {
		send := func(held, user string) string {
			m := message("x@corp.example")
			m.Held, m.Client.User = held, user
			return r.send(m).ID
		}
		intake := send(IntakeHeld, "")
		rule, hold := send(RuleHeld("office", "mfps"), ""), send("", "mfp-1")
		r.wantChanged(intake)(r.q.Release(r.Context(), Filter{HeldBy: ByIntake}))
		r.wantState(rule, Held)
		r.wantState(hold, Held)
	})
}

func TestByHandIsNoHoldOfTheManifests(t *testing.T) {
	inBubble(t, settings(), func(r *rig) {
		r.up.say(always(greylisted))
		id := r.send(message("x@corp.example")).ID
		r.wantChanged(id)(r.q.Hold(r.Context(), Filter{All: true}, IntakeHeld))
		r.wantReason(id, "by hand: "+IntakeHeld)
		r.wantChanged()(r.q.Release(r.Context(), Filter{HeldBy: ByIntake}))
		r.wantChanged(id)(r.q.Release(r.Context(), Filter{All: true}))
		r.wantChanged(id)(r.q.Hold(r.Context(), Filter{All: true}, "hold stolen: not so"))
		if s := r.q.Snapshot(); len(s.HeldBy) != 0 {
			t.Errorf("%v", s.HeldBy)
		}
		r.wantReason(id, "by hand: hold stolen: not so")
	})
}
