package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestARestartKeepsTheHour(t *testing.T) {
	inBubble(t, perHour(3), func(r *rig) {
		r.up.say(deadAddress)
		send := func(n int) {
			for range n {
				r.send(message("gone@corp.example"))
			}
		}
		send(2)
		r.restart()
		send(5)
		r.restart()
		send(5)
		if n := len(r.noticed()); n != 3 {
			t.Fatalf("%d on their own", n)
		}
		r.pass(50 * time.Minute)
		r.restart()
		r.wantDigests()
		r.pass(10*time.Minute + time.Second)
		r.wantDigests("it@corp.example: 9+0 of 9 after 3")
		send(3) // a new hour
		r.restart()
		send(1)
		if n := len(r.noticed()); n != 6 {
			t.Errorf("%d on their own", n)
		}
		r.stop()
		r.pass(5 * time.Hour)
		r.start() // what was due meanwhile comes at once
		r.pass(time.Second)
		if n := len(r.noticed()); n != 7 || r.untold() != 0 {
			t.Errorf("%d on their own, %d not told of", n, r.untold())
		}
		send(8)
		r.stop()
		r.pass(5 * time.Hour)
		r.start()
		r.pass(time.Second)
		if n := r.untold(); n != 0 || len(r.digests) != 2 {
			t.Errorf("%d not told of, %d digests", n, len(r.digests))
		}
	})
}

// A restart does not begin or end an hour: that of the notices before it, of which some
// were of the hour before, or of a digest.
func TestARestartKnowsWhenTheHourBegan(t *testing.T) {
	tests := []struct {
		name    string
		perHour int
		life    func(r *rig, send func(n int))
		want    []string // all that is told, with the minute
	}{
		{
			"an hour behind another", 2,
			func(r *rig, send func(int)) {
				send(1)
				r.pass(59 * time.Minute)
				send(1)
				r.pass(2 * time.Minute)
				send(3) // two of the next hour, and one that waits for its end
				r.pass(5 * time.Minute)
			},
			[]string{"0 alone", "59 alone", "61 alone", "61 alone", "121 alone"},
		},
		{
			"an hour behind another, with a digest", 2,
			func(r *rig, send func(int)) {
				send(1)
				r.pass(59 * time.Minute)
				send(1)
				r.pass(2 * time.Minute)
				send(4)
				r.pass(5 * time.Minute)
			},
			[]string{"0 alone", "59 alone", "61 alone", "61 alone", "121 digest"},
		},
		{
			"behind a digest, of which there is nothing else", 0,
			func(r *rig, send func(int)) {
				send(2)
				r.pass(80 * time.Minute)
				send(2)
				r.pass(10 * time.Minute)
			},
			[]string{"60 digest", "120 digest"},
		},
		{
			"while the hour ends", 1,
			func(r *rig, send func(int)) {
				send(1)
				r.pass(50 * time.Minute)
				send(2)
				r.stop()
				r.pass(20 * time.Minute)
				r.start()
			},
			[]string{"0 alone", "70 digest"},
		},
		{
			"behind the hour", 2,
			func(r *rig, send func(int)) {
				send(2)
				r.pass(70 * time.Minute)
				send(2)
			},
			[]string{"0 alone", "0 alone", "70 alone", "70 alone"},
		},
	}
	for _, x := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(x.name, " restart=", restart), func(t *testing.T) {
				inBubble(t, perHour(x.perHour), func(r *rig) {
					begin := time.Now()
					r.up.say(deadAddress)
					x.life(r, func(n int) {
						for range n {
							r.send(message("gone@corp.example"))
						}
					})
					if restart {
						r.restart()
					}
					r.pass(3 * time.Hour)
					var got []string
					at := func(when time.Time, what string) {
						got = append(got, fmt.Sprintf("%d %s", int(when.Sub(begin).Minutes()), what))
					}
					for _, n := range r.noticed() {
						at(n.At, "alone")
					}
					for _, d := range r.digests {
						at(d.At, "digest")
					}
					if fmt.Sprint(got) != fmt.Sprint(x.want) {
						t.Errorf("\n got %q\nwant %q", got, x.want)
					}
				})
			})
		}
	}
}

// What a restart finds that nobody was told of may be what nobody is to be told of.
func TestARestartGathersNoReports(t *testing.T) {
	const report = "Auto-Submitted: auto-replied\r\n\r\n"
	for scans, want := range map[int][]string{0: nil, 2: {"it@corp.example: 0+2 of 2 after 0"}} {
		inBubble(t, perHour(1), func(r *rig) {
			r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
				if a.Message.DSNOf != "" {
					return ok
				}
				return greylisted
			})
			for range 3 {
				m := message("late@corp.example")
				m.HeaderSize = int64(len(report))
				r.sendBody(m, report+"page\r\n")
			}
			for range scans {
				r.send(message("late@corp.example"))
			}
			r.stop()
			r.pass(r.s.Delivery.Warn + time.Minute) // all are late when it starts
			r.start()
			r.pass(2 * time.Hour)
			r.wantDigests(want...)
			r.wantNotices()
			if n := r.logged("no notification is due"); n != 3 {
				t.Errorf("that nobody is told is said %d times", n)
			}
			r.q.mu.Lock()
			defer r.q.mu.Unlock()
			for id, it := range r.q.items {
				if !it.warned || it.noticeAt == never {
					t.Errorf("%s waits to be told of", id)
				}
			}
		})
	}
}

// TestCrashAroundADigest stops the queue dead at every write of an hour with a digest,
// and starts it again: everybody is told of at least once, and by a digest twice only
// where it had been given to the upstream when the crash came.
func TestCrashAroundADigest(t *testing.T) {
	s := perHour(1)
	s.Delivery.KeepFailed, s.Delivery.Warn = 3*time.Hour, 30*time.Minute
	s.Delivery.RetryMax = 10 * time.Minute
	life := func(n int, half bool) (writes int) {
		inBubble(t, s, func(r *rig) {
			r.stop()
			c := &crashing{n: n, half: half}
			r.wrap = func(s store) store { c.store = s; return c }
			r.start()
			var mu sync.Mutex
			got := map[string]int{} // digests and notifications that the postmaster has, by ID
			late := true
			r.up.sayAll(func(_ context.Context, a Attempt) []upstream.Outcome {
				mu.Lock()
				defer mu.Unlock()
				o := noUser
				switch {
				case a.Message.DSNOf != "":
					got[a.Message.ID]++
					o = ok
				case a.Recipients[0].Local == "late" && late:
					o = greylisted
				}
				return upstream.All(len(a.Recipients), o)
			})
			var ids []string
			for range 4 {
				if m := message("gone@corp.example"); r.mayHave(m) {
					ids = append(ids, m.ID)
				}
			}
			m := message("late@corp.example")
			m.Recipients = append(m.Recipients, Recipient{Address: addr("late2@corp.example")})
			if r.mayHave(m) {
				ids = append(ids, m.ID)
			}
			for range 70 {
				if r.pass(time.Minute); c.left() < 0 {
					break
				}
			}
			writes = n - c.left()
			r.wrap = nil
			r.restart()
			r.pass(2 * time.Hour)
			mu.Lock()
			late = false
			mu.Unlock()
			r.pass(2 * time.Hour)
			what := fmt.Sprintf("crash at write %d (half: %v)", n, half)
			told := map[string]map[string]bool{} // by message: the mails that reached the postmaster
			reached := func(mail string, n *Notice) {
				if got[mail] == 0 || n.Delayed {
					return
				}
				if told[n.Message.ID] == nil {
					told[n.Message.ID] = map[string]bool{}
				}
				told[n.Message.ID][mail] = true
			}
			for _, n := range r.noticed() {
				reached(n.ID, n)
			}
			for _, d := range r.digests {
				for _, cause := range d.Causes {
					for _, n := range cause.Notices {
						reached(d.ID, n)
					}
				}
				if got[d.ID] > 2 { // a transaction was open
					t.Errorf("%s: a digest was sent %d times", what, got[d.ID])
				}
			}
			again := 0
			for _, id := range ids {
				if len(told[id]) == 0 {
					t.Errorf("%s: nobody was told of %s", what, id)
				}
				again += max(0, len(told[id])-1)
			}
			if again > 1 {
				t.Errorf("%s: %d told of again by another mail", what, again)
			}
			if n := r.untold(); n != 0 {
				t.Errorf("%s: %d not told of", what, n)
			}
		})
		return writes
	}
	writes := life(1<<20, false)
	if writes < 20 {
		t.Fatalf("only %d writes: the scenario is too short", writes)
	}
	for n := range writes {
		life(n, false)
		life(n, true)
	}
}

// mayHave submits m to a spool that may not work any more.
func (r *rig) mayHave(m *Message) bool {
	_, err := r.trySubmit(m)
	if err != nil && !errors.Is(err, errCrash) {
		r.Fatal(err)
	}
	r.pass(time.Second)
	return err == nil
}
