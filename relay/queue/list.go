package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
)

const (
	defaultPage = 100
	maxPage     = 1000
	maxHistory  = 50 // events that Show gives
)

// List gives the messages of f in the order of their IDs, which is that of
// their arrival. An empty Filter lists all.
func (q *Queue) List(f Filter) (Page, error) {
	m, err := f.compile(time.Now())
	if err != nil {
		return Page{}, err
	}
	if err := q.known(f.IDs); err != nil {
		return Page{}, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	p := Page{Messages: []Summary{}}
	q.walk(f.Cursor, func(it *item) bool {
		switch {
		case !m.matches(q, it):
		case len(p.Messages) == limit:
			p.Next = p.Messages[limit-1].ID
			return false
		default:
			p.Messages = append(p.Messages, q.summary(it))
		}
		return true
	})
	return p, nil
}

// known tells whether the queue has all the messages that are named.
func (q *Queue) known(ids []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if q.items[id] == nil {
			return fmt.Errorf("%s: %w", id, ErrNotFound)
		}
	}
	return nil
}

// Has tells whether a message is in the queue, or in the spool where this version cannot
// read it. Of one that it does not have Witness was told that it left.
func (q *Queue) Has(id string) bool {
	q.mu.Lock()
	it := q.items[id]
	q.mu.Unlock()
	if it != nil {
		return true
	}
	_, err := q.store.Read(id)
	return !errors.Is(err, spool.ErrNotFound)
}

// Show gives one message with what happened to it so far.
func (q *Queue) Show(id string) (Detail, error) {
	q.mu.Lock()
	it := q.items[id]
	if it == nil {
		q.mu.Unlock()
		return Detail{}, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	d := Detail{Summary: q.summary(it), Message: it.msg}
	for i := range it.rcpts {
		x := &it.rcpts[i]
		r := RecipientDetail{Address: it.msg.Recipients[i].Address.String(), Status: x.status.String(), Attempts: int(x.tries), Reply: replyText(x.outcome()), Remedy: q.adviceOf(x.by(), x.outcome()).String()}
		if l := q.laneOf(it, i); l != nil {
			r.Upstream = l.name
		}
		if x.status == waiting && x.next > 0 && !x.busy {
			r.Next = time.Unix(0, x.next)
		}
		d.Recipients = append(d.Recipients, r)
	}
	q.mu.Unlock()
	e, err := q.store.Read(id)
	if err != nil {
		return Detail{}, fmt.Errorf("message %s: %w", id, err)
	}
	d.History = history(it.msg, e.Records)
	return d, nil
}

// history makes events of the last records.
func history(m *Message, records [][]byte) []Event {
	out := []Event{}
	for _, b := range records[max(0, len(records)-maxHistory):] {
		var r record
		if json.Unmarshal(b, &r) != nil || r.check(len(m.Recipients)) != nil {
			continue
		}
		if len(r.Results) == 0 {
			out = append(out, Event{At: r.At, Event: r.Event, Upstream: r.Upstream, By: r.By, Text: first(r.Held, r.Text)})
		}
		for i := range r.Results {
			res := &r.Results[i]
			e := Event{At: r.At, Event: r.Event, Upstream: r.Upstream, By: r.By, Text: replyText(res.outcome())}
			for _, n := range res.Rcpts {
				e.Recipients = append(e.Recipients, m.Recipients[n].Address.String())
			}
			out = append(out, e)
		}
	}
	return out[max(0, len(out)-maxHistory):]
}

// summary wants q.mu held.
func (q *Queue) summary(it *item) Summary {
	m := it.msg
	s := Summary{
		ID: m.ID, State: q.stateOf(it), Arrived: m.Arrived, Size: m.Size, User: m.Client.User,
		Sender: m.Sender.String(), Recipients: len(it.rcpts), Rule: m.ruleName(), Attempts: int(it.attempts),
		Reason: q.reason(it), Remedy: q.remedyOf(it, time.Now().UnixNano()),
	}
	s.Client = m.Client.text()
	next := int64(0)
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting {
			continue
		}
		s.Waiting++
		if !x.busy && it.held == "" {
			next = earlier(next, x.next)
		}
		if l := q.laneOf(it, i); l != nil && !slices.Contains(s.Upstreams, l.name) {
			s.Upstreams = append(s.Upstreams, l.name)
		}
	}
	if next > 0 {
		s.Next = time.Unix(0, next)
	}
	return s
}

// stateOf wants q.mu held.
func (q *Queue) stateOf(it *item) State {
	switch {
	case it.ended != 0:
		return Failed
	case it.held != "":
		return Held
	case it.trying > 0:
		return Pending
	}
	now := time.Now().UnixNano()
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status != waiting {
			continue
		}
		if x.tries > 0 || x.job != nil && x.job.lane.whyDown(now) != "" {
			return Deferred
		}
	}
	return Pending
}

// reason says in a line why it has not gone out; empty: its turn comes.
func (q *Queue) reason(it *item) string {
	if it.ended == 0 && it.held != "" {
		return it.held
	}
	now := time.Now().UnixNano()
	for i := range it.rcpts {
		x := &it.rcpts[i]
		if x.status == accepted {
			continue
		}
		if x.status == waiting {
			if l := q.laneOf(it, i); l != nil {
				if why := l.whyDown(now); why != "" {
					return why
				}
			}
		}
		if x.last != nil {
			return replyText(x.outcome())
		}
	}
	if first := it.rcpts[0].next; first > now {
		return "paced by a rate limit"
	}
	return ""
}

func (m *Message) ruleName() string {
	if m.Rule == "" {
		return m.Policy
	}
	return m.Policy + "/" + m.Rule
}

func (s status) String() string {
	return [...]string{"pending", "accepted", "failed", "failed"}[min(s, told)]
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
