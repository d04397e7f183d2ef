package queue

import (
	"slices"
	"strings"
	"time"
)

// Snapshot is the queue at one moment.
type Snapshot struct {
	At        time.Time
	Pending   int // messages by state
	Deferred  int
	Held      int
	Failed    int
	HeldBy    map[string]int // of Held, by the hold of the manifests
	Oldest    time.Duration  // age of the oldest message that waits for an upstream
	HeldFor   time.Duration  // how long the message is held that is held longest
	Upstreams []UpstreamState
}

// UpstreamState is one upstream as the queue sees it.
type UpstreamState struct {
	Name      string
	Circuit   string // Closed | Open | HalfOpen
	Suspended bool
	Pending   int       // jobs that wait for their turn
	Deferred  int       // messages that wait for another try
	Active    int       // attempts that run
	LastError string    // of the failures since it last worked; empty: it works
	Remedy    string    // what LastError means, and what to do; empty: it is not known
	Since     time.Time // when the circuit last changed
}

// Snapshot gives the state of the queue, at most a second old.
func (q *Queue) Snapshot() Snapshot {
	now := time.Now()
	q.mu.Lock()
	s := q.snap
	q.mu.Unlock()
	if !s.At.IsZero() && now.Sub(s.At) < time.Second {
		return s
	}
	s, deferred := q.count(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lanes {
		u := UpstreamState{
			Name: l.name, Circuit: l.circuit(), Suspended: l.suspended(), Pending: l.ready.len() + l.parked,
			Deferred: deferred[l.name], Active: l.active, Since: l.since,
		}
		if l.failures > 0 {
			u.LastError, u.Remedy = l.lastError, l.advice.String()
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	slices.SortFunc(s.Upstreams, func(a, b UpstreamState) int { return strings.Compare(a.Name, b.Name) })
	q.snap = s
	return s
}

// count counts messages by state, and those that an upstream defers by its name.
func (q *Queue) count(now time.Time) (s Snapshot, deferred map[string]int) {
	s.At = now
	oldest, held := now, now.Unix()
	deferred = make(map[string]int)
	q.walk("", func(it *item) bool {
		switch q.stateOf(it) {
		case Pending:
			s.Pending++
		case Deferred:
			s.Deferred++
			for i := range it.rcpts {
				if l := q.laneOf(it, i); l != nil {
					deferred[l.name]++
					break
				}
			}
		case Held:
			s.Held++
			held = min(held, int64(it.heldAt))
			if name := HoldName(it.held); name != "" {
				if s.HeldBy == nil {
					s.HeldBy = make(map[string]int)
				}
				s.HeldBy[name]++
			}
			return true
		case Failed:
			s.Failed++
			return true
		}
		if it.msg.Arrived.Before(oldest) {
			oldest = it.msg.Arrived
		}
		return true
	})
	s.Oldest = now.Sub(oldest)
	if s.Held > 0 {
		s.HeldFor = now.Sub(time.Unix(held, 0))
	}
	return s, deferred
}
