package queue

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Load takes up what the spool holds. Call it once, before Run and Submit. An
// entry whose Meta this version cannot read stays in the spool, untouched, and
// is logged.
func (q *Queue) Load() error {
	unreadable := 0
	now := time.Now()
	digests := make(map[string]*covered)
	unsent := unsent{waiting: make(map[string]string), noted: make(map[string]struct{})}
	err := q.store.Scan(func(e spool.Entry) error {
		m, records, err := decode(e) // most of the work, and of several at once
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil {
			unreadable++
			q.log.Error("a spool entry cannot be read by this version; it is left as it is", "id", e.ID, "error", err)
			return nil
		}
		own := ownMetaOf(m, e.Meta)
		if own.Covers != nil {
			digests[m.ID] = own.Covers
		}
		unsent.note(m, own, records)
		it := q.restore(m, records)
		q.heard(m, records, now)
		q.recent.note(it, records)
		q.items[it.msg.ID] = it
		q.order.add(it)
		q.shares.hold(it.msg)
		return nil
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	q.mu.Lock()
	unsent.remove(q)
	q.mu.Unlock()
	for id, about := range digests {
		q.finish(id, about, now)
	}
	q.log.Info("queue loaded", "messages", len(q.items), "unreadable", unreadable)
	return nil
}

// decode reads what an entry says.
func decode(e spool.Entry) (*Message, []record, error) {
	m := new(Message)
	if err := json.Unmarshal(e.Meta, m); err != nil {
		return nil, nil, fmt.Errorf("meta: %w", err)
	}
	if len(m.Recipients) == 0 || len(m.Recipients) > math.MaxUint16 {
		return nil, nil, fmt.Errorf("meta: %d recipients", len(m.Recipients))
	}
	m.ID = e.ID
	records := make([]record, len(e.Records))
	for i, b := range e.Records {
		if err := json.Unmarshal(b, &records[i]); err != nil {
			return nil, nil, fmt.Errorf("state: %w", err)
		}
		if err := records[i].check(len(m.Recipients)); err != nil {
			return nil, nil, fmt.Errorf("state: %w", err)
		}
	}
	return m, records, nil
}

// restore makes the state of a message from what its entry says. It wants q.mu held.
func (q *Queue) restore(m *Message, records []record) *item {
	q.strs.share(m)
	it := newItem(m)
	for i := range records {
		it.apply(&records[i], &q.strs)
	}
	return it
}

// check refuses what this version of the queue does not write.
func (r *record) check(rcpts int) error {
	for i := range r.Results {
		res := &r.Results[i]
		if res.Kind > upstream.Unknown || res.Scope > upstream.ScopeUpstream || res.Status > failed {
			return fmt.Errorf("a result of kind %d, scope %d, status %d", res.Kind, res.Scope, res.Status)
		}
		for _, n := range res.Rcpts {
			if n < 0 || n >= rcpts {
				return fmt.Errorf("a result for recipient %d of %d", n, rcpts)
			}
		}
	}
	return nil
}
