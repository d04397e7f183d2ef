package queue

import (
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

const (
	domainStreak = 5    // transactions in a row that a domain deferred, until it waits on its own
	maxDomains   = 4096 // remembered in a lane; quiet ones are forgotten first
)

// domain is one destination domain in a lane. A domain that has not shown that
// it takes mail gets at most half of the lane's slots. One that keeps deferring
// gets one, and its retries back off together: so it can slow down nobody else.
// New mail for it is still tried at once, and only retries lengthen the
// back-off: one full mailbox says nothing about the next recipient, and a domain
// that greylists a hundred messages wants them all again soon.
type domain struct {
	name   string
	active int
	streak int   // transactions in a row that it deferred
	level  int   // back-offs in a row
	until  int64 // Unix nanoseconds: no retry before
	good   bool  // took something last time
	parked fifo[*job]
}

// domain finds or makes the state of a destination.
func (l *lane) domain(key string) *domain {
	d := l.domains[key]
	if d == nil {
		if len(l.domains) >= maxDomains {
			l.forget()
		}
		d = &domain{name: key}
		l.domains[key] = d
	}
	return d
}

// forget drops the domains that hold nothing. Jobs keep those they point to.
func (l *lane) forget() {
	for k, d := range l.domains {
		if d.active == 0 && d.parked.len() == 0 && d.streak < domainStreak {
			delete(l.domains, k)
		}
	}
	for k, d := range l.domains { // all of them deferring: an attack, or no network
		if len(l.domains) < maxDomains {
			return
		}
		if d.active == 0 && d.parked.len() == 0 {
			delete(l.domains, k)
		}
	}
}

// slots is how many of a lane's n slots d may have.
func (d *domain) slots(n int) int {
	switch {
	case d.good:
		return n
	case d.streak >= domainStreak:
		return 1
	}
	return max(1, n/2)
}

// report takes what became of d's recipients in one attempt.
func (d *domain) report(now time.Time, s *Settings, kind upstream.Kind, retry bool) {
	switch kind {
	case upstream.Deferred, upstream.Unknown:
		d.good = false
		d.streak++
		if retry && d.streak >= domainStreak && now.UnixNano() >= d.until {
			d.level++
			d.until = now.Add(jitter(backoff(s, d.level))).UnixNano()
		}
	default: // a refusal is an answer too
		d.good, d.streak, d.level, d.until = true, 0, 0, 0
	}
}

// backoff is the time between attempt n and the next one, before jitter.
func backoff(s *Settings, n int) time.Duration {
	first := max(s.Delivery.RetryFirst, time.Second)
	d := first << min(max(n-1, 0), 30)
	if d <= 0 || d>>min(max(n-1, 0), 30) != first || d > s.Delivery.RetryMax {
		d = max(s.Delivery.RetryMax, first)
	}
	return d
}

// backsOff tells whether nothing should be tried again for d at now.
func (d *domain) backsOff(now int64) bool {
	return now < d.until
}
