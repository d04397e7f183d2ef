package queue

import (
	"math"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

const (
	domainStreak = 5                // transactions in a row that a domain deferred, until it is held back
	domainRest   = 3                // times as long as its attempt took, a domain held back rests
	domainMax    = 15 * time.Minute // of rest
	maxDomains   = 4096             // remembered in a lane; quiet ones are forgotten first
)

// domain is one destination domain in a lane. One that has not shown that it
// takes mail gets at most half of the lane's slots; one that keeps deferring
// gets a single slot, for a quarter of the time. So it slows down nobody else,
// however long it takes to defer; and where it does so quickly (greylisting, one
// full mailbox) its own mail hardly waits either. When it takes mail again it gets
// its slots back one by one: at direct delivery a domain is a server that was away.
type domain struct {
	name    string
	lane    *lane
	active  int
	streak  int   // transactions in a row that it deferred
	until   int64 // Unix nanoseconds: it rests
	good    bool  // took something last time
	ramp    ramp  // slow start after a streak; 0: there was none
	parked  fifo[*job]
	wakeAt  int64
	heapPos int32
}

// domain finds or makes the state of a destination.
func (l *lane) domain(key string) *domain {
	d := l.domains[key]
	if d == nil {
		if len(l.domains) >= maxDomains {
			l.forget()
		}
		d = &domain{name: key, lane: l}
		l.domains[key] = d
	}
	return d
}

// forget drops the domains that hold nothing. Jobs keep those they point to.
func (l *lane) forget() {
	for k, d := range l.domains {
		if d.idle() && d.streak < domainStreak {
			delete(l.domains, k)
		}
	}
	for k, d := range l.domains { // all of them deferring: an attack, or no network
		if len(l.domains) < maxDomains {
			return
		}
		if d.idle() {
			delete(l.domains, k)
		}
	}
}

// slots is how many of a lane's n slots d may have.
func (d *domain) slots(n int) int {
	switch {
	case d.good && d.ramp > 0:
		return min(n, int(d.ramp))
	case d.good:
		return n
	case d.streak >= domainStreak:
		return 1
	}
	return max(1, n/2)
}

func (d *domain) idle() bool { return d.active == 0 && d.parked.len() == 0 && d.heapPos == 0 }

// report takes what became of d's recipients in an attempt that took so long.
func (d *domain) report(now time.Time, kind upstream.Kind, took time.Duration) {
	switch kind {
	case upstream.Deferred, upstream.Unknown:
		d.good = false
		d.streak++
		if d.streak >= domainStreak {
			d.until = now.Add(min(domainRest*took, domainMax)).UnixNano()
			d.ramp = 1
		}
	default: // a refusal is an answer too
		d.good, d.streak, d.until = true, 0, 0
		if d.ramp > 0 {
			d.ramp = d.ramp.up(math.MaxInt)
		}
	}
}

// admits tells whether another attempt for d may begin in a lane of n slots.
func (d *domain) admits(now int64, n int) bool { return now >= d.until && d.active < d.slots(n) }

// backoff is the time between attempt n and the next one, before jitter.
func backoff(s *Settings, n int) time.Duration {
	first := max(s.Delivery.RetryFirst, time.Second)
	d := first << min(max(n-1, 0), 30)
	if d <= 0 || d>>min(max(n-1, 0), 30) != first || d > s.Delivery.RetryMax {
		d = max(s.Delivery.RetryMax, first)
	}
	return d
}
