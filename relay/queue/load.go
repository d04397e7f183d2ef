package queue

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Load takes up what the spool holds. Call it once, before Run and Submit. An
// entry whose Meta this version cannot read stays in the spool, untouched, and
// is logged.
func (q *Queue) Load() error {
	n, unreadable := 0, 0
	err := q.store.Scan(func(e spool.Entry) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		it, err := q.restore(e)
		if err != nil {
			unreadable++
			q.log.Error("a spool entry cannot be read by this version; it is left as it is", "id", e.ID, "error", err)
			return nil
		}
		q.items[it.msg.ID] = it
		q.order.add(it)
		q.shares.hold(it.msg)
		n++
		return nil
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	q.log.Info("queue loaded", "messages", n, "unreadable", unreadable)
	return nil
}

// restore makes the state of a message from its entry.
func (q *Queue) restore(e spool.Entry) (*item, error) {
	m := new(Message)
	if err := json.Unmarshal(e.Meta, m); err != nil {
		return nil, fmt.Errorf("meta: %w", err)
	}
	if len(m.Recipients) == 0 || len(m.Recipients) > math.MaxUint16 {
		return nil, fmt.Errorf("meta: %d recipients", len(m.Recipients))
	}
	m.ID = e.ID
	q.strs.share(m)
	it := newItem(m)
	for _, b := range e.Records {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
		if err := r.check(len(m.Recipients)); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
		it.apply(&r, &q.strs)
	}
	return it, nil
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
