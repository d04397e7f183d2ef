package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

const verbWorkers = 16 // messages that a verb works on at once, to share the spool's syncs

// The verbs take who asks from the context (WithPerson).

// Retry makes what was not accepted due now, failed messages too; these get
// their full time again, if the policy of now would still take them in. Held
// messages stay held.
func (q *Queue) Retry(ctx context.Context, f Filter) ([]string, error) {
	ask := &question{wanted: func(it *item) bool { return it.ended != 0 && !it.allAccepted() }}
	return q.each(ctx, f, ask, func(it *item, now time.Time) *step {
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
	if HoldName(reason) != "" || isHeldBy(reason, ByIntake) { // it would look like one of the manifests'
		reason = "by hand: " + reason
	}
	return q.each(ctx, f, nil, func(it *item, now time.Time) *step {
		if it.held != "" || it.ended != 0 {
			return nil
		}
		return &step{rec: &record{At: now, Event: evHold, Held: reason}}
	})
}

// Release lets held messages go which the policy of now would take in, and which
// no hold of the manifests keeps. The time they were held does not count for
// their expiry.
func (q *Queue) Release(ctx context.Context, f Filter) ([]string, error) {
	ask := &question{holds: true, wanted: func(it *item) bool { return it.held != "" && it.ended == 0 }}
	return q.each(ctx, f, ask, func(it *item, now time.Time) *step {
		if it.held == "" {
			return nil
		}
		rec := &record{At: now, Event: evRelease}
		if PersonOf(ctx).Override { // who does not is held again by a hold that came while the policy was asked
			rec.Past = q.routing.holdsOf(it.msg, it.past)
		}
		return &step{rec: rec}
	})
}

// Reroute sends what waits, and what is tried again later, by one upstream only,
// where that can carry it and the policy of now would take it in. The empty name
// ends that: the routes decide again.
func (q *Queue) Reroute(ctx context.Context, f Filter, to string) ([]string, error) {
	q.mu.Lock()
	known := to == "" || q.routing.Upstreams[to] != nil
	q.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("upstream %q is not part of this relay: name one of its upstreams", to)
	}
	ask := &question{to: to, wanted: func(it *item) bool { return to != "" && !it.allAccepted() }}
	return q.each(ctx, f, ask, func(it *item, now time.Time) *step {
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
	return q.each(ctx, f, nil, func(it *item, now time.Time) *step {
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
	return q.each(ctx, f, nil, func(it *item, now time.Time) *step {
		if it.removed {
			return nil
		}
		return &step{rec: &record{At: now, Event: evRemove}, remove: it.trying == 0}
	})
}

// Export gives the message as it was taken in: RFC 5322 with CRLF line ends. It is
// logged and not written down: it must work on a disk that takes no writes.
func (q *Queue) Export(ctx context.Context, id string) (io.ReadCloser, error) {
	q.mu.Lock()
	_, ok := q.items[id]
	q.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	q.log.Info("queue control", "id", id, "verb", "export", "by", PersonOf(ctx).Name)
	return q.store.Body(id)
}

// each makes the steps that fn gives for the messages of f, and returns the IDs
// of those that were changed, sorted; those that ask speaks against are a KeptError.
// fn is called with q.mu held, the item locked and its waiting jobs taken back; nil
// is no change.
func (q *Queue) each(ctx context.Context, f Filter, ask *question, fn func(*item, time.Time) *step) ([]string, error) {
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
		kept  []Kept
		first error
		next  = make(chan *item)
	)
	for range min(verbWorkers, len(todo)) {
		wg.Go(func() {
			for it := range next {
				ok, why, err := q.change(ctx, it, ask, fn)
				mu.Lock()
				if ok {
					ids = append(ids, it.msg.ID)
				}
				if why != "" {
					kept = append(kept, Kept{it.msg.ID, why})
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
	if first == nil && len(kept) > 0 {
		slices.SortFunc(kept, func(a, b Kept) int { return strings.Compare(a.ID, b.ID) })
		first = &KeptError{kept}
	}
	return ids, first
}

// change makes one step of a verb durable, then effective. It tells whether it did,
// and what ask has against it.
func (q *Queue) change(ctx context.Context, it *item, ask *question, fn func(*item, time.Time) *step) (bool, string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.lockCtx(ctx, it); err != nil {
		return false, "", err
	}
	defer q.unlock(it)
	if it.gone {
		return false, "", nil
	}
	who := PersonOf(ctx)
	if ask != nil && ask.wanted(it) {
		why := q.forbids(it, ask)
		switch {
		case why != "" && who.Override:
			q.log.Warn("the policy is overridden by hand", "id", it.msg.ID, "by", who.Name, "against", why)
		case why != "":
			var err error
			if st := it.stays(why, who.Name, time.Now()); st != nil && ask.holds {
				err = q.make(it, st)
			}
			return false, why, err
		}
	}
	q.withdraw(it)
	st := fn(it, time.Now())
	if st == nil {
		return false, "", nil
	}
	st.rec.By = who.Name
	err := q.make(it, st)
	return err == nil, "", err
}

// make makes st durable, then effective. It wants q.mu held and it locked, and gives
// q.mu up while it writes.
func (q *Queue) make(it *item, st *step) error {
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
	if err != nil {
		q.takeBack(st.posted, it)
	}
	q.mu.Lock()
	switch {
	case errors.Is(err, spool.ErrNotFound) && st.remove: // as was asked
	case errors.Is(err, spool.ErrNotFound):
		q.lose(it)
		return errors.New(lostText + ": " + lostAdvice.Remedy)
	case err != nil:
		return err
	}
	q.settle(it, st, 0)
	q.tellOutcome(it.msg, st.rec, nil, 0)
	q.log.Info("queue control", "id", it.msg.ID, "verb", st.rec.Event, "upstream", st.rec.Upstream, "by", st.rec.By)
	return nil
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
