package queue

import (
	"errors"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// The chores are what has to be written for a message while no attempt ends:
// expiry, notifications that are due, the delay warning, removal.

const noticeRetry = time.Minute // after a notification could not be written

// arm sets it's timer and hands it to the chore workers if it has a chore. It
// wants q.mu held.
func (q *Queue) arm(it *item, now int64) {
	at := q.nextChore(it, now)
	if at != 0 && at <= now {
		q.chore(it)
		at = 0
	}
	if it.held == "" && it.giveUp == "" && !it.removed {
		for i := range it.rcpts {
			if x := &it.rcpts[i]; x.status == waiting && !x.busy && x.next > now {
				at = earlier(at, x.next)
			}
		}
	}
	if at == 0 {
		q.timers.remove(it)
		return
	}
	q.wake(it, at)
}

// earlier is the smaller of two times of which 0 means never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// nextChore is when something is to be done for it other than an attempt: now
// or before if it is due, 0 if nothing is.
func (q *Queue) nextChore(it *item, now int64) int64 {
	d := &q.routing.Delivery
	if it.removed {
		if it.trying == 0 {
			return now
		}
		return 0
	}
	if it.unkept {
		return now
	}
	at := int64(0)
	untold := it.hasFailed()
	if untold && it.ticket == nil && it.noticeAt != never {
		at = max(now, it.noticeAt)
	}
	switch {
	case it.ended != 0 && it.allAccepted():
		return now
	case it.ended != 0 && untold: // it stays until somebody knows
		return at
	case it.ended != 0:
		return it.ended + int64(d.KeepFailed)
	case it.giveUp != "":
		if len(q.overdue(it, now)) > 0 {
			return now
		}
		return at
	case it.held != "":
		return at
	case it.spent:
		return now
	}
	if !it.warned && d.Warn > 0 && it.msg.DSNOf == "" && it.noticeAt != never {
		at = earlier(at, max(it.since+int64(d.Warn), it.noticeAt))
	}
	end := it.since + int64(d.Expire)
	if now >= end && len(q.overdue(it, now)) == 0 {
		end = now + int64(time.Minute) // its last attempt is about to be made, or runs
	}
	return earlier(at, end)
}

func (it *item) hasFailed() bool {
	for i := range it.rcpts {
		if it.rcpts[i].status == failed {
			return true
		}
	}
	return false
}

// overdue are the recipients that can be given up without another attempt:
// bounced by hand, refused by every upstream, or past the expiry while their
// upstream is down. Who is being tried, or can be now, is not among them; nor
// is who waits for an upstream that is suspended, which is a kind of hold.
func (q *Queue) overdue(it *item, now int64) []int {
	var out []int
	late := now >= it.since+int64(q.routing.Delivery.Expire)
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting || x.busy && x.job == nil {
			continue
		}
		l := q.laneOf(it, i)
		switch {
		case it.giveUp != "":
		case l == nil && len(q.candidates(it, i)) > 0: // all have refused
		case !late:
			continue
		case l == nil:
		case l.up != nil && l.up.Suspend:
			continue
		case x.job != nil && l.up != nil && !l.open && now >= l.pausedTo:
			continue // its turn comes
		case x.job == nil && x.next <= now:
			continue
		}
		out = append(out, i)
	}
	return out
}

// chore hands it to the chore workers. It wants q.mu held.
func (q *Queue) chore(it *item) {
	if it.chore || q.stopping {
		return
	}
	it.chore = true
	q.chores.push(it)
	if q.chorers < choreWorkers {
		q.chorers++
		q.workers++
		go q.doChores()
	}
}

func (q *Queue) doChores() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.chores.len() > 0 && !q.stopping {
		it := q.chores.pop()
		it.chore = false
		q.lock(it)
		if !it.gone {
			q.doChore(it)
		}
		q.unlock(it)
	}
	q.chorers--
	q.done()
}

// doChore does the first thing that is due for it; unlocking it finds the next.
// It wants q.mu held, and gives it up while it writes.
func (q *Queue) doChore(it *item) {
	now := time.Now()
	n := now.UnixNano()
	d := &q.routing.Delivery
	over := q.overdue(it, n)
	var st *step
	kind := kindFailed
	switch {
	case it.unkept && !it.removed:
		st = &step{rec: &record{At: now, Event: evHold, Held: it.held}}
	case it.removed && it.trying == 0, it.ended != 0 && it.allAccepted():
		st = &step{rec: &record{}, remove: true}
	case it.ticket == nil && it.hasFailed() && n >= it.noticeAt:
		st = q.telling(it, kind, now)
	case it.ended != 0 && !it.hasFailed() && n >= it.ended+int64(d.KeepFailed):
		st = &step{rec: &record{}, remove: true}
	case it.ended == 0 && (it.held == "" || it.giveUp != "") && len(over) > 0:
		st = q.giveUpOn(it, over, now)
	case n >= it.noticeAt && q.overtime(it, n):
		kind = kindDelayed
		st = q.telling(it, kind, now)
	default:
		return
	}
	q.mu.Unlock()
	ok := q.writeChore(it, st, kind)
	q.mu.Lock()
	if ok {
		q.settle(it, st, 0)
		q.tellOutcome(it.msg, st.rec, nil, 0)
	}
}

// writeChore is write for what exists only because of its notification: there
// is nothing to record while that cannot be written.
func (q *Queue) writeChore(it *item, st *step, kind string) bool {
	if st.rec.Event == evTold || st.rec.Event == evWarn {
		err := q.notify(it, st, kind)
		if errors.Is(err, errGathered) {
			return false
		}
		if err != nil {
			q.mu.Lock()
			it.noticeAt = time.Now().Add(noticeRetry).UnixNano()
			q.mu.Unlock()
			return false
		}
		st.notify, st.rec.Told = nil, st.rec.Event == evTold
	}
	return q.write(it, st, func() {})
}

// giveUpOn is the step that fails the recipients over without an attempt.
func (q *Queue) giveUpOn(it *item, over []int, now time.Time) *step {
	st := &step{rec: &record{At: now, Event: evExpire}}
	for _, i := range over {
		x := &it.rcpts[i]
		l := q.laneOf(it, i)
		if j := x.job; j != nil {
			q.withdraw(it)
		}
		r := result{Scope: upstream.ScopeMessage, Status: failed}
		switch {
		case it.giveUp != "": // no server's words
		case x.last != nil:
			r.Code, r.Enhanced, r.Text, r.Remote = x.last.code, x.last.enhanced, x.last.text, x.last.remote
		case l != nil:
			r.Text = l.whyDown(now.UnixNano())
		}
		switch {
		case it.giveUp != "":
			r.Text = it.giveUp
		case l != nil || len(q.candidates(it, i)) == 0:
			r.Text = q.expired(r.Text)
			if r.Enhanced == "" {
				r.Enhanced = timeExpired
			}
		}
		st.add(i, r)
	}
	q.conclude(it, st)
	return st
}
