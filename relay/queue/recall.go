package queue

import (
	"cmp"
	"slices"
	"time"
)

// A process that is killed may not have told of what happened last: who is told writes
// it down now and then, and not each thing by itself. What the spool has of it can be
// told again.

const (
	recallTime = time.Minute // before the last thing that is known to have happened
	maxRecall  = 1000        // messages, the last ones: who is told has room for a few thousand things
)

// recent are the messages to which something happened last, as they are loaded.
type recent struct {
	last  int64 // Unix nanoseconds
	found []lately
}

type lately struct {
	it *item
	at int64 // when something happened to it last
}

// note takes a message. What is too old, or too much, goes.
func (r *recent) note(it *item, records []record) {
	at := it.msg.Arrived.UnixNano()
	if n := len(records); n > 0 {
		at = records[n-1].At.UnixNano()
	}
	r.last = max(r.last, at)
	if at < r.last-int64(recallTime) {
		return
	}
	if r.found = append(r.found, lately{it, at}); len(r.found) == 2*maxRecall {
		r.trim()
	}
}

// trim leaves what is to be told again, oldest first.
func (r *recent) trim() {
	r.found = slices.DeleteFunc(r.found, func(l lately) bool { return l.at < r.last-int64(recallTime) })
	slices.SortFunc(r.found, func(a, b lately) int { return cmp.Compare(a.at, b.at) })
	r.found = slices.Delete(r.found, 0, max(0, len(r.found)-maxRecall))
}

// Recall tells again of the messages to which something happened in the last minute of the
// process before: of each all that happened, oldest first. Of a message that left the
// queue nothing is known. Call it once, between Load and Run.
func (q *Queue) Recall(tell func(Progress)) {
	q.mu.Lock()
	q.recent.trim()
	found := q.recent.found
	q.recent = recent{}
	q.mu.Unlock()
	for _, l := range found {
		e, err := q.store.Read(l.it.msg.ID)
		if err != nil {
			continue // it is said when it is tried
		}
		m, records, err := decode(e)
		if err != nil {
			continue
		}
		q.mu.Lock()
		q.strs.share(m)
		it := newItem(m)
		all := []Progress{{Message: m, At: m.Arrived, Event: Arrived, Text: it.held, State: q.stateOf(it)}}
		for i := range records {
			it.apply(&records[i], &q.strs)
			all = append(all, q.progress(it, &records[i]))
		}
		q.mu.Unlock()
		for _, p := range all {
			p.Recalled = true
			tell(p)
		}
	}
}
