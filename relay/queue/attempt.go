package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

const maxText = 512 // octets of a reply that are kept

// work makes the attempt j, then others of its lane while there are any.
func (q *Queue) work(j *job) {
	l := j.lane
	for j != nil {
		q.attempt(j)
		q.mu.Lock()
		j = nil
		now := time.Now().UnixNano()
		if ok, _ := l.free(now); ok && !q.stopping {
			j = l.take(q, now)
		}
		if j == nil {
			q.kick(l, now) // sets the lane's timer
			q.done()
		}
		q.mu.Unlock()
	}
}

// attempt makes one attempt and carries out what follows from it.
func (q *Queue) attempt(j *job) {
	start := time.Now()
	outs := q.deliver(j)
	took := time.Since(start)
	l, it := j.lane, j.it

	q.mu.Lock()
	now := time.Now()
	q.leave(j, outs, now, took)
	q.lock(it)
	if q.hard.Err() != nil && unmade(outs) {
		q.forsake(j)
		l.settling--
		q.unlock(it)
		q.mu.Unlock()
		return
	}
	st := q.decide(j, outs, now)
	q.mu.Unlock()

	wrote := q.write(it, st, func() { q.late(j) })

	q.mu.Lock()
	if j.unwritten {
		q.unwritten--
		for _, l := range q.lanes { // they may have waited for that
			q.kick(l, time.Now().UnixNano())
		}
	} else {
		l.settling--
	}
	q.forsake(j)
	if wrote {
		q.settle(it, st, took)
	}
	q.unlock(it)
	up := l.up
	q.mu.Unlock()
	q.tellOutcome(it.msg, st.rec, up, took)
}

// leave frees the lane's slot: the upstream can have the next message while
// the results of this one are written.
func (q *Queue) leave(j *job, outs []upstream.Outcome, now time.Time, took time.Duration) {
	l := j.lane
	l.active--
	l.settling++
	l.follow(q.capabilities(l.name).PerSecond) // it may be told anew
	was := l.open
	changed := l.report(now, outs)
	if l.open != was && q.o.Metrics != nil {
		q.o.Metrics.Circuits.WithLabelValues(l.name, circuitEvent(l.open)).Inc()
	}
	if d := j.domain; d != nil {
		d.active--
	}
	reportDomains(j, outs, now, took)
	if d := j.domain; d != nil {
		l.unpark(q, d, now.UnixNano())
	}
	if changed {
		q.log.Info("circuit", "upstream", l.name, "state", l.circuit(), "failures", l.failures, "reason", l.lastError, "remedy", l.advice.String())
		q.sweep(now.UnixNano())
	}
	q.kick(l, now.UnixNano())
	if l.pausedTo > now.UnixNano() && l.heapPos == 0 {
		q.wake(l, l.pausedTo) // then it can take what waits for others
	}
}

// reportDomains tells each destination domain of j what it did.
func reportDomains(j *job, outs []upstream.Outcome, now time.Time, took time.Duration) {
	if d := j.domain; d != nil {
		best := upstream.Kind(0)
		for i := range outs {
			best = better(best, outs[i])
		}
		if best != 0 {
			d.report(now, best, took)
		}
		return
	}
	best := make(map[string]upstream.Kind)
	for n, i := range j.rcpts {
		key := envelope.DomainKey(j.it.msg.Recipients[i].Address.Domain)
		best[key] = better(best[key], outs[n])
	}
	for key, kind := range best {
		if kind != 0 {
			j.lane.domain(key).report(now, kind, took)
		}
	}
}

// better gives the kind that says most for a domain; what speaks of the
// upstream or the message says nothing.
func better(k upstream.Kind, o upstream.Outcome) upstream.Kind {
	switch {
	case o.Kind == upstream.Accepted:
		return upstream.Accepted
	case o.Scope != upstream.ScopeRecipient, k == upstream.Accepted:
		return k
	case o.Kind == upstream.Failed, k == 0:
		return o.Kind
	}
	return k
}

// deliver asks the Deliverer, and makes sure of what it gives back.
func (q *Queue) deliver(j *job) (outs []upstream.Outcome) {
	ctx, cancel := context.WithTimeout(q.hard, q.o.Timeout)
	defer cancel()
	a := Attempt{Upstream: j.lane.name, Message: j.it.msg, Number: int(j.number)}
	a.Recipients = make([]envelope.Address, len(j.rcpts))
	for n, i := range j.rcpts {
		a.Recipients[n] = j.it.msg.Recipients[i].Address
	}
	defer func() {
		if r := recover(); r != nil {
			// One message must not be able to stop the relay at every start.
			q.log.Error("delivery failed on a fault of this program", "id", a.Message.ID, "upstream", a.Upstream, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			outs = fault(len(a.Recipients))
		}
	}()
	outs = q.o.Deliver.Deliver(ctx, a)
	if len(outs) != len(a.Recipients) {
		q.log.Error("delivery gave a wrong number of outcomes", "id", a.Message.ID, "upstream", a.Upstream, "recipients", len(a.Recipients), "outcomes", len(outs))
		return fault(len(a.Recipients))
	}
	for i := range outs {
		o := &outs[i]
		if o.Kind == 0 || o.Kind > upstream.Unknown || o.Scope > upstream.ScopeUpstream {
			q.log.Error("delivery gave an outcome that does not exist", "id", a.Message.ID, "upstream", a.Upstream)
			return fault(len(a.Recipients))
		}
		if o.Kind != upstream.Accepted && o.Scope == 0 {
			o.Scope = upstream.ScopeRecipient
		}
		if len(o.Text) > 0 {
			o.Text = reply.Line(o.Text, maxText)
		}
	}
	return outs
}

// fault stands for an attempt of which nothing is known for certain.
func fault(n int) []upstream.Outcome {
	return upstream.All(n, upstream.Outcome{Kind: upstream.Unknown, Scope: upstream.ScopeMessage, Text: "internal error in delivery; see the log"})
}

// unmade tells that an attempt was cut off by the shutdown before anything
// came of it: it is as if it had not been made, and is due at the next start.
func unmade(outs []upstream.Outcome) bool {
	for i := range outs {
		if outs[i].Kind != upstream.Deferred || outs[i].Scope != upstream.ScopeUpstream {
			return false
		}
	}
	return true
}

// forsake ends j: its recipients are not being tried any more.
func (q *Queue) forsake(j *job) {
	j.it.trying--
	for _, i := range j.rcpts {
		j.it.rcpts[i].busy = false
	}
}

// late notes that the results of j could not be written at once: its lane goes on
// without it, though what has been accepted may be sent twice if the process ends
// before the spool can be written. On a disk that dies, scans that leave it are
// worth more than one that comes twice.
func (q *Queue) late(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.unwritten {
		return
	}
	j.unwritten = true
	j.lane.settling--
	q.unwritten++
	q.kick(j.lane, time.Now().UnixNano())
}

// write makes st durable. A spool that cannot write is asked again until it can
// or the queue stops, and late is called. It tells whether st counts; what the spool has
// nothing of any more is noted in st.
func (q *Queue) write(it *item, st *step, late func()) bool {
	if len(st.notify) > 0 {
		st.rec.Told = q.notify(it, st, kindFailed) == nil
	}
	id := it.msg.ID
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		var err error
		if st.remove {
			err = q.store.Remove(id)
		} else {
			err = q.store.Append(id, st.rec.encode())
		}
		if err == nil {
			return true
		}
		if errors.Is(err, spool.ErrNotFound) {
			if st.remove {
				return true // an earlier try did it
			}
			st.lost = true
			return true
		}
		q.log.Error("the spool cannot be written; the state of a message is kept in memory until it can", "id", id, "error", err, "retry", wait)
		q.unverdict(it, st)
		late()
		select {
		case <-q.hard.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// unverdict takes back a refusal that nobody was told of, because it could not
// be written: the client hears "queued", and a DSN follows.
func (q *Queue) unverdict(it *item, st *step) {
	if !st.decided {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	st.decided = false
	if st.verdict == Refused {
		st.rec.Told = false
	}
	if it.ticket != nil {
		it.ticket.announce(Queued)
	}
}

// commit makes st count in memory. It wants q.mu held.
func (q *Queue) commit(it *item, st *step) {
	defer q.tellFollower(it, st)
	if st.remove {
		q.drop(it)
	} else {
		it.apply(st.rec, &q.strs)
	}
	if st.decided && it.ticket != nil {
		it.ticket.announce(st.verdict)
	}
}

// drop forgets it: its spool entry is gone.
func (q *Queue) drop(it *item) {
	q.withdraw(it)
	it.gone = true
	q.timers.remove(it)
	if h := q.gathered[it]; h != nil {
		q.ungather(h, it)
	}
	if q.items[it.msg.ID] == it {
		delete(q.items, it.msg.ID)
		q.order.left()
		q.shares.drop(it.msg)
	}
	if t := it.ticket; t != nil && t.undecided {
		t.undecided = false
		t.announce(Queued)
	}
}

// lock waits until nobody else decides about it. It wants q.mu held, and gives
// it up while it waits.
func (q *Queue) lock(it *item) {
	for it.locked {
		q.unlocked.Wait()
	}
	it.locked = true
}

// unlock ends lock and does what follows from the new state.
func (q *Queue) unlock(it *item) {
	it.locked = false
	q.unlocked.Broadcast()
	q.again(it)
}

// tellOutcome writes the log line of each result of an attempt, or of what the
// queue gave up without one, and counts. at is the upstream of an attempt; nil
// else.
func (q *Queue) tellOutcome(m *Message, rec *record, at *plan.Upstream, took time.Duration) {
	up := rec.Upstream
	count := q.o.Metrics != nil && rec.Event == evAttempt
	if count {
		q.o.Metrics.AttemptDuration.WithLabelValues(up).Observe(took.Seconds())
	}
	for i := range rec.Results {
		r := &rec.Results[i]
		if count {
			q.o.Metrics.Recipients.WithLabelValues(up, r.Kind.String(), r.Scope.String()).Add(float64(len(r.Rcpts)))
		}
		level := slog.LevelInfo
		if r.Status == failed {
			level = slog.LevelWarn
		}
		if !q.log.Enabled(context.Background(), level) {
			continue
		}
		attrs := []slog.Attr{
			slog.String("id", m.ID), slog.String("event", rec.Event), slog.String("outcome", r.Kind.String()), slog.String("status", r.Status.String()),
			slog.String("client", m.Client.text()), slog.String("user", m.Client.User), slog.String("sender", m.ShownSender()),
			slog.Int("recipients", len(r.Rcpts)), slog.String("rule", m.ruleName()),
			slog.String("upstream", up), slog.String("reply", replyText(r.outcome())), slog.String("remoteID", r.RemoteID),
			slog.Duration("duration", took), slog.Int("attempt", int(rec.Number)),
		}
		if r.Next > 0 {
			attrs = append(attrs, slog.Time("next", time.Unix(0, r.Next)))
		}
		if text := Advise(at, r.outcome()).String(); text != "" && rec.Event == evAttempt {
			attrs = append(attrs, slog.String("remedy", text))
		}
		if r.cause != nil {
			attrs = append(attrs, slog.String("cause", r.cause.Error()))
		}
		q.log.LogAttrs(context.Background(), level, "outcome", attrs...)
	}
}
