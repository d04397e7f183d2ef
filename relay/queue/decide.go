package queue

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// step is one change of a message that has been decided and is to be written.
type step struct {
	rec    *record
	remove bool     // the entry goes; rec is for the log only
	lost   bool     // there was no entry to write rec to
	notify []int    // recipients that a notification is due about, before rec is written
	posted *posting // that notification

	decided bool // the verdict for the client that waits
	verdict Verdict
}

// add records res for recipient i, together with those of the same result.
func (st *step) add(i int, res result) {
	for n := range st.rec.Results {
		if r := &st.rec.Results[n]; r.same(&res) {
			r.Rcpts = append(r.Rcpts, i)
			return
		}
	}
	res.Rcpts = []int{i}
	st.rec.Results = append(st.rec.Results, res)
}

func (r *result) same(o *result) bool {
	return r.Kind == o.Kind && r.Scope == o.Scope && r.Code == o.Code && r.Enhanced == o.Enhanced && r.Text == o.Text &&
		r.Remote == o.Remote && r.RemoteID == o.RemoteID && r.Status == o.Status && r.Next == o.Next &&
		r.Refused == o.Refused && r.Pin == o.Pin && r.Over == o.Over
}

// decide tells what follows from the outcomes of j. It changes nothing but the
// ticket. It wants q.mu held and the item locked.
func (q *Queue) decide(j *job, outs []upstream.Outcome, now time.Time) *step {
	it := j.it
	st := &step{rec: &record{At: now, Event: evAttempt, Number: j.number, Upstream: j.lane.name}}
	spread := 0.8 + 0.4*rand.Float64() //nolint:gosec // jitter; one for all, so that recipients with one result stay together
	for n, i := range j.rcpts {
		o := &outs[n]
		res := q.judge(it, int(i), j.lane.name, o, now, spread)
		if errors.Is(o.Cause, spool.ErrCorrupt) && res.Status == waiting {
			st.rec.Held = "its spool entry is damaged: " + o.Text
		}
		if o.Kind == upstream.Unknown && q.routing.Delivery.OnUnknown == "Hold" && res.Status == waiting {
			st.rec.Held = "it is unknown whether " + j.lane.name + " took it: " + o.Text
		}
		st.add(int(i), res)
		if it.ticket != nil && it.ticket.undecided && (res.Status != waiting || res.Over) {
			final := *o
			if res.Status == failed {
				final.Kind = upstream.Failed
			}
			it.ticket.note(int(i), final)
		}
	}
	q.conclude(it, st)
	return st
}

// judge gives the result of one outcome.
func (q *Queue) judge(it *item, i int, up string, o *upstream.Outcome, now time.Time, spread float64) result {
	r := result{Kind: o.Kind, Scope: o.Scope, Code: o.Code, Enhanced: o.Enhanced, Text: o.Text, Remote: o.Remote, RemoteID: o.RemoteID, cause: o.Cause}
	kind, scope := o.Kind, o.Scope
	if kind == upstream.Failed && scope == upstream.ScopeUpstream {
		kind = upstream.Deferred // the upstream's own trouble never bounces a message
	}
	onUnknown := q.routing.Delivery.OnUnknown
	switch {
	case kind == upstream.Accepted:
		r.Status, r.Scope = accepted, 0
		return r
	case kind == upstream.Failed && scope == upstream.ScopeRecipient:
		r.Status = failed
		return r
	case kind == upstream.Failed: // the message: the next upstream that can carry it
		r.Refused = true
		switch _, c := q.choose(it, i, now.UnixNano(), up, true); c {
		case exhausted:
			r.Status = failed
			return r
		case goNow, park:
			r.Next = now.UnixNano()
			return r
		}
	case kind == upstream.Unknown && onUnknown == "Hold":
		r.Next, r.Over = now.UnixNano(), true
		return r
	case kind == upstream.Unknown && onUnknown != "FailOver":
		r.Pin = true
	case scope != upstream.ScopeRecipient && it.rcpts[i].pin() == "":
		if _, c := q.choose(it, i, now.UnixNano(), up, false); c == goNow {
			r.Next = now.UnixNano()
			return r
		}
	}
	r.Over = true
	if it.rcpts[i].pin() != "" && kind == upstream.Deferred {
		r.Pin = true // it may be there already: that has not changed
	}
	r.Next = q.nextTry(it, i, o, now, spread)
	return q.unlessLate(it, r, now)
}

// nextTry is the time of the attempt after a back-off. The last one is at the
// expiry itself.
func (q *Queue) nextTry(it *item, i int, o *upstream.Outcome, now time.Time, spread float64) int64 {
	wait := time.Duration(float64(backoff(&q.routing.Settings, int(it.rcpts[i].rounds)+1)) * spread)
	wait = max(wait, min(o.RetryIn, maxRetryIn))
	next := now.Add(wait).UnixNano()
	if end := it.since + int64(q.routing.Delivery.Expire); now.UnixNano() < end {
		next = min(next, end)
	}
	return next
}

// unlessLate turns a result that waits into a failure where the message is past
// its time.
func (q *Queue) unlessLate(it *item, r result, now time.Time) result {
	if !r.Over || now.UnixNano() < it.since+int64(q.routing.Delivery.Expire) {
		return r
	}
	r.Text = q.expired(r.Text)
	if r.Enhanced == "" {
		r.Enhanced = timeExpired
	}
	r.Status, r.Next, r.Refused, r.Pin, r.Over = failed, 0, false, false, false
	return r
}

// timeExpired is the status of RFC 3463 where no server gave a better one.
const timeExpired = "4.4.7"

func (q *Queue) expired(last string) string {
	s := "not accepted within " + q.routing.Delivery.Expire.String()
	if last != "" {
		s += "; last answer: " + last
	}
	return s
}

// conclude finds what st leads to: the entry's removal, a notification, the
// verdict for a client that waits.
func (q *Queue) conclude(it *item, st *step) {
	now := make([]status, len(it.rcpts))
	for i := range it.rcpts {
		now[i] = it.rcpts[i].status
	}
	for n := range st.rec.Results {
		for _, i := range st.rec.Results[n].Rcpts {
			now[i] = st.rec.Results[n].Status
		}
	}
	all := true
	for i, s := range now {
		all = all && s == accepted
		if s == failed {
			st.notify = append(st.notify, i)
		}
	}
	st.remove = all || it.removed && it.trying <= 1
	if t := it.ticket; t != nil && t.undecided {
		if st.verdict, st.decided = t.verdict(); st.decided {
			t.undecided = false
		}
		if !st.decided || st.verdict == Refused {
			st.rec.Told = st.decided
			st.notify = nil
		}
	}
	if st.remove {
		st.notify = nil
	}
}
