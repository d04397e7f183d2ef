package queue

import (
	"slices"
	"strings"
)

// order has the messages by their IDs, which is the order of their arrival, so
// that a page of a list costs what is on it, however long the queue is. What it
// has given is never changed in place: it can be read with q.mu released.
type order struct {
	items []*item // those that have left too, until they are most
	gone  int
	mixed bool // not in order: an ID came that is before others
}

// fewGone may stay among the others.
const fewGone = 64

func (o *order) add(it *item) {
	if n := len(o.items); n > 0 && o.items[n-1].msg.ID > it.msg.ID {
		o.mixed = true
	}
	o.items = append(o.items, it)
}

// left notes that an item is gone.
func (o *order) left() {
	if o.gone++; o.gone <= fewGone || o.gone < len(o.items)/2 {
		return
	}
	kept := make([]*item, 0, len(o.items)-o.gone+fewGone)
	for _, it := range o.items {
		if !it.gone {
			kept = append(kept, it)
		}
	}
	o.items, o.gone = kept, 0
}

// all gives the messages, oldest first. Some may be gone.
func (o *order) all() []*item {
	if o.mixed {
		o.items, o.mixed = slices.Clone(o.items), false
		sortItems(o.items)
	}
	return o.items
}

// after gives those behind an ID.
func (o *order) after(id string) []*item {
	items := o.all()
	from, _ := slices.BinarySearchFunc(items, id, func(it *item, id string) int {
		if it.msg.ID <= id {
			return -1
		}
		return 1
	})
	return items[from:]
}

func sortItems(items []*item) {
	slices.SortFunc(items, func(a, b *item) int { return strings.Compare(a.msg.ID, b.msg.ID) })
}

// walkStep is how many messages are looked at before others get q.mu.
const walkStep = 256

// walk calls fn for the messages behind an ID, in the order of their IDs, until it
// returns false. fn is called with q.mu held, which is given up now and then: mail
// comes in and goes out meanwhile, and a message may have changed by the time that
// another is looked at.
func (q *Queue) walk(after string, fn func(*item) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.order.after(after)
	for n, it := range items {
		if n > 0 && n%walkStep == 0 {
			q.mu.Unlock()
			q.mu.Lock()
		}
		if !it.gone && !fn(it) {
			return
		}
	}
}
