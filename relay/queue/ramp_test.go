package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestRamp(t *testing.T) {
	for _, c := range []struct {
		name    string
		start   ramp
		limit   int
		results string // + success, - failure
		want    []ramp
	}{
		{"grows to the limit", 1, 5, "+++++", []ramp{2, 3, 4, 5, 5}},
		{"a limit of one", 1, 1, "+-+", []ramp{1, 1, 1}},
		{"no limit given", 1, 0, "++", []ramp{1, 1}},
		{"halved by each failure", 20, 20, "-----", []ramp{10, 5, 2, 1, 1}},
		{"and back step by step", 20, 20, "--++-+", []ramp{10, 5, 6, 7, 3, 4}},
		{"a limit that was lowered counts at the next success", 20, 4, "+", []ramp{4}},
	} {
		r := c.start
		var got []ramp
		for _, x := range c.results {
			if x == '+' {
				r = r.up(c.limit)
			} else {
				r = r.down()
			}
			got = append(got, r)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// load counts the attempts that run at once.
type load struct {
	mu    sync.Mutex
	now   int
	most  map[int64]int // in each second since start
	start time.Time
}

// taking answers o after d, counting meanwhile.
func (l *load) taking(d time.Duration, o upstream.Outcome) func(context.Context, Attempt) []upstream.Outcome {
	l.start, l.most = time.Now(), map[int64]int{}
	return func(ctx context.Context, a Attempt) []upstream.Outcome {
		l.add(1)
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		l.add(-1)
		return upstream.All(len(a.Recipients), o)
	}
}

func (l *load) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now += n
	k := int64(time.Since(l.start) / time.Second)
	l.most[k] = max(l.most[k], l.now)
}

// doubles checks that no more attempts ran at once than slow start allows whose
// attempts take a second, from the first one on.
func (l *load) doubles(t *testing.T, limit int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var seconds []int64
	for k := range l.most {
		seconds = append(seconds, k)
	}
	slices.Sort(seconds)
	if len(seconds) == 0 {
		t.Fatal("nothing was tried")
	}
	top := 0
	for _, k := range seconds {
		allowed := limit
		if d := k - seconds[0]; d < 10 {
			allowed = min(limit, 1<<(d+1)) // two rounds can touch one second
		}
		if l.most[k] > allowed {
			t.Errorf("second %d after the first attempt: %d at once, want at most %d", k-seconds[0], l.most[k], allowed)
		}
		top = max(top, l.most[k])
	}
	if top != limit {
		t.Errorf("at most %d ran at once, want %d in the end", top, limit)
	}
}

// flood submits n messages to one recipient, many at once: they share syncs.
func (r *rig) flood(n int, to string) {
	const at = 50
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for range n / at {
				if _, err := r.trySubmit(message(to)); err != nil {
					r.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// An upstream is away for three hours while 10,000 scans come in; then it is back.
func TestNoStormWhenAnUpstreamComesBack(t *testing.T) {
	const messages, limit = 10_000, 20
	s := only(settings())
	s.Upstreams["a"].Connections = limit
	inBubble(t, s, func(r *rig) {
		r.up.say(always(down))
		r.flood(messages, "x@corp.example")
		r.pass(3 * time.Hour)
		// 5 attempts open the circuit; 7 probes follow until they are 5 minutes apart,
		// and one in at least 4 minutes then.
		if n := len(r.tried()); n < 20 || n > breakerFailures+7+180/4 {
			t.Errorf("%d attempts in three hours in which the upstream was away", n)
		}
		before := len(r.tried())
		var l load
		r.up.sayAll(l.taking(time.Second, ok))
		// The probe within 6 minutes, the ramp, then 20 a second.
		r.pass(6*time.Minute + 10*time.Second + messages/limit*time.Second)
		l.doubles(t, limit)
		if n := len(r.tried()) - before; n != messages {
			t.Errorf("%d attempts for %d messages after it came back", n, messages)
		}
		if p, _ := r.q.List(Filter{}); len(p.Messages) != 0 {
			t.Errorf("%d messages are left", len(p.Messages))
		}
	})
}

// The same for the servers of one domain: at direct delivery they are what is away.
func TestNoStormWhenADomainComesBack(t *testing.T) {
	const messages, limit = 1000, 20
	s := only(settings())
	s.Upstreams["a"].Connections = limit
	s.Delivery.RetryMax = s.Delivery.RetryFirst // 12 s of jitter are all that spreads them
	inBubble(t, s, func(r *rig) {
		r.up.say(always(greylisted))
		r.flood(messages, "x@corp.example")
		r.pass(2 * time.Minute)
		var l load
		r.up.sayAll(l.taking(time.Second, ok))
		r.pass(5 * time.Minute)
		l.doubles(t, limit)
		if p, _ := r.q.List(Filter{}); len(p.Messages) != 0 {
			t.Errorf("%d messages are left", len(p.Messages))
		}
	})
}

// A server that answers 4xx for days: each scan is tried less and less often, its
// owner hears of it once, and at the end that it did not arrive.
func TestAnUpstreamThatDefersForDays(t *testing.T) {
	const days = 5
	overloaded := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Code: 421, Enhanced: "4.3.2", Text: "try again later"}
	for _, c := range []struct {
		name     string
		o        upstream.Outcome
		min, max int // attempts of each message
	}{
		// 30 s, doubled to an hour: 7 in the first hour, then one an hour, a fifth more
		// or less.
		{"each recipient", greylisted, 100, 160},
		// The circuit is open for nearly all of the time: what is tried is one probe in
		// 4 minutes at most, for all messages together.
		{"the server as a whole", overloaded, 0, 24 * days},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, only(settings()), func(r *rig) {
				r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
					if to.Local == "it" {
						return ok
					}
					return c.o
				})
				const messages = 20
				tries := map[string]int{}
				for i := range messages {
					tries[r.send(message(fmt.Sprintf("x@d%d.example", i))).ID] = 0
				}
				r.pass(days*24*time.Hour + 2*time.Hour)
				all := 0
				for _, a := range r.up.attempts() {
					if a.Message.DSNOf == "" {
						tries[a.Message.ID]++
						all++
					}
				}
				for id, n := range tries {
					if n < c.min || n > c.max {
						t.Errorf("%s was tried %d times in %d days, want %d to %d", id, n, days, c.min, c.max)
					}
					r.wantState(id, Failed)
				}
				if most := days * 24 * 60 / 4; c.o.Scope == upstream.ScopeUpstream && all > most {
					t.Errorf("%d attempts in all, want at most %d", all, most)
				}
				warned, failed := map[string]int{}, map[string]int{}
				for _, n := range r.noticed() {
					if n.Delayed {
						warned[n.Message.ID]++
					} else {
						failed[n.Message.ID]++
					}
				}
				for id := range tries {
					if warned[id] != 1 || failed[id] != 1 {
						t.Errorf("%s: %d warnings and %d notifications that it failed, want one each", id, warned[id], failed[id])
					}
				}
			})
		})
	}
}
