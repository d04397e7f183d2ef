package queue

import (
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// again brings everything that follows from it's state up to date: jobs for the
// recipients that are due, its timer, its chores. It wants q.mu held, and does
// nothing while it is locked: the unlocking calls it.
func (q *Queue) again(it *item) {
	if it.gone || it.locked || !q.running {
		return
	}
	q.keepBack(it)
	now := time.Now().UnixNano()
	if it.held == "" && it.giveUp == "" && !it.removed {
		q.assign(it, now)
	}
	if t := it.ticket; t != nil && t.undecided && q.stuck(it) {
		t.undecided = false
		t.announce(Queued) // nothing more comes soon
	}
	if len(q.followed) > 0 {
		q.tellWaits(it, now)
	}
	q.arm(it, now)
}

// assign puts the recipients that are due into the lanes' queues, one job for
// each upstream.
func (q *Queue) assign(it *item, now int64) {
	var jobs []*job
	it.spent = false
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting || x.busy || x.next > now {
			continue
		}
		l, c := q.choose(it, i, now, "", false)
		switch {
		case c == exhausted:
			it.spent = true
		case c == roundOver:
			x.endRound()
			x.rounds++
			x.next = now + int64(jitter(backoff(&q.routing.Settings, int(x.rounds))))
		case l == nil:
			x.next = now + int64(backoff(&q.routing.Settings, 1))
		default:
			d := l.domain(envelope.DomainKey(it.msg.Recipients[i].Address.Domain))
			jobs = addTo(jobs, it, l, d, i, q.era)
		}
	}
	for _, j := range jobs {
		q.enqueue(j, now)
	}
}

func addTo(jobs []*job, it *item, l *lane, d *domain, i int, era uint32) []*job {
	x := &it.rcpts[i]
	x.busy = true
	for _, j := range jobs {
		if j.lane == l {
			j.rcpts = append(j.rcpts, uint16(i)) //nolint:gosec // Submit and Load take no more than that many
			j.again = j.again || x.tries > 0
			if j.domain != d {
				j.domain = nil
			}
			x.job = j
			return jobs
		}
	}
	j := &job{it: it, lane: l, rcpts: []uint16{uint16(i)}, domain: d, again: x.tries > 0, era: era} //nolint:gosec // the same
	x.job = j
	return append(jobs, j)
}

// enqueue gives j its place in its lane. It wants q.mu held, as all below do.
func (q *Queue) enqueue(j *job, now int64) {
	j.lane.ready.push(j)
	q.kick(j.lane, now)
}

// kick starts as many attempts of l as may run now, or sets its timer.
func (q *Queue) kick(l *lane, now int64) {
	for q.running && !q.stopping {
		ok, at := l.free(now)
		if !ok {
			if at > now {
				q.wake(l, at)
			}
			return
		}
		j := l.take(q, now)
		if j == nil {
			return
		}
		q.workers++
		go q.work(j)
	}
}

// take begins the next attempt of l; nil: nothing in it may go now.
func (l *lane) take(q *Queue, now int64) *job {
	for {
		j := l.ready.pop()
		if j == nil {
			return nil
		}
		if d := j.domain; d != nil {
			if !d.admits(now, l.slots()) {
				j.parked = true
				d.parked.push(j)
				l.parked++
				if now < d.until {
					q.wake(d, d.until)
				}
				continue
			}
			d.active++
		}
		for _, i := range j.rcpts {
			j.it.rcpts[i].job = nil
		}
		l.active++
		l.bucket.take(now, 1)
		l.pace.take(now, len(j.rcpts))
		j.it.trying++
		j.number = j.it.attempts + int32(j.it.trying)
		return j
	}
}

// unpark gives the jobs that waited for d back to l, as many as may run now.
// While some stay, an attempt for d runs or d's timer does.
func (l *lane) unpark(q *Queue, d *domain, now int64) {
	if now < d.until && d.parked.len() > 0 {
		q.wake(d, d.until)
		return
	}
	for n := d.slots(l.slots()) - d.active; n > 0 && d.parked.len() > 0; {
		j := d.parked.pop()
		if j.dead {
			continue
		}
		j.parked = false
		l.parked--
		l.ready.push(j)
		n--
	}
}

// withdraw takes back all of it's jobs that have not begun.
func (q *Queue) withdraw(it *item) {
	for i := range it.rcpts {
		x := &it.rcpts[i]
		j := x.job
		if j == nil {
			continue
		}
		x.job, x.busy = nil, false
		if j.dead || j.era != q.era { // those of an era before are in no list
			continue
		}
		j.dead = true
		if j.parked {
			j.lane.parked--
			continue
		}
		j.lane.ready.dead++
		j.lane.ready.compact()
	}
}

// compact drops dead jobs where they are most of what there is.
func (r *ready) compact() {
	if r.dead < 1024 || r.dead < r.len() {
		return
	}
	var fresh ready
	for j := r.pop(); j != nil; j = r.pop() {
		fresh.push(j)
	}
	*r = fresh
}

// sweep looks again at what waits in lanes that are down: another upstream may
// have come back, or be the one to fall back to.
func (q *Queue) sweep(now int64) {
	if len(q.routing.Fallbacks) == 0 {
		return
	}
	for _, l := range q.lanes {
		if l.ready.len() == 0 || l.usable(now) {
			continue
		}
		var jobs []*job
		for j := l.ready.pop(); j != nil; j = l.ready.pop() {
			jobs = append(jobs, j)
		}
		for _, j := range jobs {
			for _, i := range j.rcpts {
				j.it.rcpts[i].job, j.it.rcpts[i].busy = nil, false
			}
		}
		for _, j := range jobs {
			q.again(j.it)
		}
	}
}

// wake sets the timer of t, and tells Run where that is the earliest.
func (q *Queue) wake(t timed, at int64) {
	q.timers.set(t, at)
	if first, ok := q.timers.first(); ok && first < q.alarm {
		q.alarm = first
		select {
		case q.poke <- struct{}{}:
		default:
		}
	}
}

// tick does what is due and tells when to come again; false: nothing waits.
func (q *Queue) tick() (time.Duration, bool) {
	now := time.Now().UnixNano()
	for t := q.timers.pop(now); t != nil; t = q.timers.pop(now) {
		switch t := t.(type) {
		case *item:
			q.again(t)
		case *domain:
			t.lane.unpark(q, t, now)
			q.kick(t.lane, now)
		case *lane:
			if t.pausedTo > 0 && t.usable(now) {
				t.pausedTo = 0
				q.sweep(now)
			}
			q.kick(t, now)
		case *hearing:
			switch {
			case t.busy || q.stopping:
			case q.digests >= maxDigests:
				q.wake(t, now+int64(time.Second))
			default:
				t.busy = true
				q.digests++
				q.workers++
				go q.digest(t)
			}
		}
	}
	at, ok := q.timers.first()
	if !ok {
		q.alarm = never
		return 0, false
	}
	q.alarm = at
	return time.Duration(at - now), true
}
