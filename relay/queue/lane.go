package queue

import (
	"math/rand/v2"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// The circuit breaker of a lane.
const (
	breakerFailures = 5               // results in a row that speak of the upstream itself open it
	breakerFirst    = 5 * time.Second // until the first probe
	breakerMax      = 5 * time.Minute
	maxRetryIn      = 24 * time.Hour // the longest wait an upstream can ask for
)

// maxUnwritten bounds the attempts whose results wait for a spool that cannot be
// written: so many messages may come twice if the process ends before it can.
const maxUnwritten = 256

// lane is one upstream as the queue sees it. Its fields want q.mu held.
type lane struct {
	name   string
	up     *plan.Upstream // nil: no plan names it any more
	self   []*lane        // itself, as a list of candidates
	ready  ready
	parked int // jobs that wait in domains

	active    int  // attempts that run
	settling  int  // attempts that have ended, whose results are being written
	unwritten *int // of all lanes: those whose results could not be written at once
	limit     int
	ramp      ramp   // slow start after an outage; at most limit counts
	bucket    bucket // messages a minute that the plan allows
	pace      bucket // recipients a second that the provider tells

	open      bool // the circuit
	failures  int  // in a row
	delay     time.Duration
	probeAt   int64 // Unix nanoseconds: while open, no attempt before
	pausedTo  int64 // the upstream asked to wait so long
	since     time.Time
	lastError string
	advice    remedy.Advice // on it

	domains map[string]*domain
	heapPos int32
	wakeAt  int64
}

func newLane(name string, unwritten *int) *lane {
	l := &lane{name: name, unwritten: unwritten, domains: make(map[string]*domain), since: time.Now()}
	l.self = []*lane{l}
	return l
}

// configure takes the settings of a new plan.
func (l *lane) configure(up *plan.Upstream) {
	l.up = up
	if up == nil {
		return
	}
	l.limit = max(1, up.Connections)
	if l.ramp == 0 {
		l.ramp = ramp(l.limit)
	}
	l.bucket.set(float64(up.PerMinute), time.Minute)
}

// empty drops all jobs that have not begun.
func (l *lane) empty() {
	l.ready, l.parked = ready{}, 0
	for _, d := range l.domains {
		d.parked = fifo[*job]{}
	}
}

// follow takes the rate that the provider tells for all that send by the
// account: this instance's share of it.
func (l *lane) follow(perSecond float64) {
	if l.up == nil {
		return
	}
	l.pace.set(perSecond/float64(max(1, l.up.Sharers)), time.Second)
}

func (l *lane) suspended() bool { return l.up == nil || l.up.Suspend }

// usable tells whether an attempt that is asked for now would be made soon: the
// upstream is not suspended or pausing, and its circuit is closed or could do
// with a probe.
func (l *lane) usable(now int64) bool {
	if l.suspended() || now < l.pausedTo {
		return false
	}
	return !l.open || now >= l.probeAt && l.active == 0 && l.ready.len() == 0
}

// slots is how many attempts may run at once now.
func (l *lane) slots() int {
	if l.open {
		return 1 // the probe
	}
	return min(l.limit, int(l.ramp))
}

// free tells whether an attempt may begin now. If only time is missing, it says
// how long.
func (l *lane) free(now int64) (ok bool, at int64) {
	if l.suspended() || l.active >= l.slots() || l.settling > l.limit || *l.unwritten >= maxUnwritten || l.ready.len() == 0 {
		return false, 0
	}
	at = max(l.pausedTo, l.bucket.next(now), l.pace.next(now))
	if l.open {
		at = max(at, l.probeAt)
	}
	return at <= now, at
}

// report takes the results of one attempt, and tells whether the circuit
// opened or closed by them.
func (l *lane) report(now time.Time, outs []upstream.Outcome) (changed bool) {
	bad := failedUpstream(outs)
	if bad == nil {
		l.failures = 0
		if l.open {
			l.open, l.delay, l.ramp, l.since = false, 0, 1, now
			return true
		}
		l.ramp = l.ramp.up(l.limit)
		return false
	}
	l.failures++
	l.lastError, l.advice = replyText(bad), Advise(l.up, bad)
	l.ramp = l.ramp.down()
	if bad.RetryIn > 0 {
		l.pausedTo = max(l.pausedTo, now.Add(min(bad.RetryIn, maxRetryIn)).UnixNano())
	}
	if !l.open && l.failures < breakerFailures {
		return bad.RetryIn > 0
	}
	changed = !l.open
	if changed {
		l.open, l.since = true, now
	}
	l.delay = min(max(breakerFirst, 2*l.delay), breakerMax)
	l.probeAt = now.Add(jitter(l.delay)).UnixNano()
	return changed
}

// failedUpstream gives the outcome that speaks of the upstream itself, if none
// shows that it works.
func failedUpstream(outs []upstream.Outcome) *upstream.Outcome {
	var bad *upstream.Outcome
	for i := range outs {
		o := &outs[i]
		if o.Kind == upstream.Accepted || o.Scope == upstream.ScopeRecipient {
			return nil
		}
		if o.Scope == upstream.ScopeUpstream && bad == nil {
			bad = o
		}
	}
	return bad
}

// circuit is the state of the breaker in a word.
func (l *lane) circuit() string {
	switch {
	case !l.open:
		return "Closed"
	case l.active > 0:
		return "HalfOpen"
	}
	return "Open"
}

// circuitEvent is the label of a breaker that opened or closed.
func circuitEvent(open bool) string {
	if open {
		return "open"
	}
	return "closed"
}

// jitter gives d, up to a fifth shorter or longer.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // no secret
}

// bucket limits what goes out in a time. In no such time does it give out more
// than the limit: what may go out at once (a tenth) is taken off the rate.
type bucket struct {
	limit float64 // as it was set; 0: none
	burst int
	every int64 // nanoseconds for one token
	tat   int64 // when the bucket is full again
}

// set allows so many tokens in a time; 0: any number.
func (b *bucket) set(limit float64, in time.Duration) {
	if b.limit == limit {
		return
	}
	b.limit = limit
	if limit <= 0 {
		return
	}
	b.burst = max(1, int(limit/10))
	rate := limit
	if b.burst > 1 {
		rate -= float64(b.burst)
	}
	b.every = int64(min(float64(in)/rate, float64(time.Hour)))
}

// next is when a token is there.
func (b *bucket) next(now int64) int64 {
	if b.limit <= 0 {
		return now
	}
	return b.tat - int64(b.burst-1)*b.every
}

// take takes n tokens. More than are there are owed.
func (b *bucket) take(now int64, n int) {
	if b.limit > 0 {
		b.tat = max(b.tat, now) + int64(n)*b.every
	}
}
