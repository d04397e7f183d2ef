package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

const verbWorkers = 16 // messages that a verb works on at once, to share the spool's syncs

// Retry makes what was not accepted due now, failed messages too; these get
// their full time again. Held messages stay held.
func (q *Queue) Retry(ctx context.Context, f Filter) ([]string, error) {
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.held != "" || it.allAccepted() {
			return nil
		}
		return &step{rec: &record{At: now, Event: evRetry}}
	})
}

// Hold keeps messages from being tried until they are released. An attempt
// that runs ends by itself.
func (q *Queue) Hold(ctx context.Context, f Filter, reason string) ([]string, error) {
	if reason == "" {
		reason = "held by hand"
	}
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.held != "" || it.ended != 0 {
			return nil
		}
		return &step{rec: &record{At: now, Event: evHold, Held: reason}}
	})
}

// Release lets held messages go. The time they were held does not count for
// their expiry.
func (q *Queue) Release(ctx context.Context, f Filter) ([]string, error) {
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.held == "" {
			return nil
		}
		return &step{rec: &record{At: now, Event: evRelease}}
	})
}

// Reroute sends what waits, and what is tried again later, by one upstream only.
// The empty name ends that: the routes decide again.
func (q *Queue) Reroute(ctx context.Context, f Filter, to string) ([]string, error) {
	q.mu.Lock()
	known := to == "" || q.routing.Upstreams[to] != nil
	q.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("upstream %q is not part of this relay: name one of its upstreams", to)
	}
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.allAccepted() {
			return nil
		}
		return &step{rec: &record{At: now, Event: evReroute, Upstream: to}}
	})
}

// Bounce gives messages up: those concerned are notified, and the message is
// kept as failed. What is being tried now is given up if it is not accepted.
func (q *Queue) Bounce(ctx context.Context, f Filter, reason string) ([]string, error) {
	if reason == "" {
		reason = "given up by the administrator"
	}
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.ended != 0 || it.giveUp != "" {
			return nil
		}
		st := &step{rec: &record{At: now, Event: evBounce, Text: reason}}
		for i := range it.rcpts {
			if x := &it.rcpts[i]; x.status == waiting && !x.busy {
				st.add(i, result{Scope: upstream.ScopeMessage, Text: reason, Status: failed})
			}
		}
		q.conclude(it, st)
		return st
	})
}

// Remove deletes messages without a word to anybody. One that is being tried
// goes when the attempt has ended.
func (q *Queue) Remove(ctx context.Context, f Filter) ([]string, error) {
	return q.each(ctx, f, func(it *item, now time.Time) *step {
		if it.removed {
			return nil
		}
		return &step{rec: &record{At: now, Event: evRemove}, remove: it.trying == 0}
	})
}

// each makes the steps that fn gives for the messages of f, and returns the IDs
// of those that were changed, sorted. fn is called with q.mu held, the item
// locked and its waiting jobs taken back; nil is no change.
func (q *Queue) each(ctx context.Context, f Filter, fn func(*item, time.Time) *step) ([]string, error) {
	if f.empty() {
		return nil, ErrNoSelection
	}
	todo, err := q.selected(f)
	if err != nil {
		return nil, err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		ids   []string
		first error
		next  = make(chan *item)
	)
	for range min(verbWorkers, len(todo)) {
		wg.Go(func() {
			for it := range next {
				ok, err := q.change(ctx, it, fn)
				mu.Lock()
				if ok {
					ids = append(ids, it.msg.ID)
				}
				if err != nil && first == nil {
					first = fmt.Errorf("message %s: %w", it.msg.ID, err)
				}
				mu.Unlock()
			}
		})
	}
	for _, it := range todo {
		next <- it
	}
	close(next)
	wg.Wait()
	slices.Sort(ids)
	return ids, first
}

// change makes one step of a verb durable, then effective.
func (q *Queue) change(ctx context.Context, it *item, fn func(*item, time.Time) *step) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.lockCtx(ctx, it); err != nil {
		return false, err
	}
	defer q.unlock(it)
	if it.gone {
		return false, nil
	}
	q.withdraw(it)
	st := fn(it, time.Now())
	if st == nil {
		return false, nil
	}
	st.rec.By = Actor(ctx)
	q.mu.Unlock()
	if len(st.notify) > 0 {
		st.rec.Told = q.notify(it, st, kindFailed) == nil
	}
	var err error
	if st.remove {
		err = q.store.Remove(it.msg.ID)
	} else {
		err = q.store.Append(it.msg.ID, st.rec.encode())
	}
	q.mu.Lock()
	if err != nil {
		return false, err
	}
	q.commit(it, st)
	q.witness(it, st, 0)
	q.tellOutcome(it.msg, st.rec, nil, 0)
	q.log.Info("queue control", "id", it.msg.ID, "verb", st.rec.Event, "upstream", st.rec.Upstream, "by", st.rec.By)
	return true, nil
}

// lockCtx is lock with an end.
func (q *Queue) lockCtx(ctx context.Context, it *item) error {
	defer context.AfterFunc(ctx, func() {
		q.mu.Lock()
		q.unlocked.Broadcast()
		q.mu.Unlock()
	})()
	for it.locked && ctx.Err() == nil {
		q.unlocked.Wait()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	it.locked = true
	return nil
}

// selected gives the messages of f in the order of their IDs. IDs that are
// named and not there are an error.
func (q *Queue) selected(f Filter) ([]*item, error) {
	m, err := f.compile(time.Now())
	if err != nil {
		return nil, err
	}
	var out []*item
	if m.ids != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		for id := range m.ids {
			it := q.items[id]
			if it == nil {
				return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
			}
			if m.matches(q, it) {
				out = append(out, it)
			}
		}
		sortItems(out)
		return out, nil
	}
	q.walk("", func(it *item) bool {
		if m.matches(q, it) {
			out = append(out, it)
		}
		return true
	})
	return out, nil
}
