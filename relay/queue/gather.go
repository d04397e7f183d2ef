package queue

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// A device that sends five hundred scans to a dead address at night must not make five
// hundred notifications. Whoever hears of a device gets a number of them in an hour on
// their own. The messages behind that stay failed and not told of (or late and not
// warned of) on stable storage, as they would if their notification could not be
// written, until the hour is over and one digest tells of all of them. A restart finds
// them so, and how many notifications there were from the records of the others.

const (
	hour        = time.Hour
	maxHearings = 4096 // that only count; those for whom messages are gathered are no more than messages
)

// errGathered says that a digest will tell of it in place of a notification.
var errGathered = errors.New("a digest will tell of it")

// hearer is who hears of a device: the client's address, and the user where it logs
// in. What is behind a load balancer that hides it is one device.
type hearer struct {
	to     envelope.Address // folded: its mailbox
	device netip.Prefix
	user   string
}

// hearing is what somebody heard of one device in this hour, and what is gathered.
type hearing struct {
	hearer
	addr    envelope.Address // whoever hears of it, as it was written
	from    int64            // Unix nanoseconds: when the hour began
	alone   int              // notifications on their own in it
	more    map[*item]bool   // true: its header is not read yet
	next    []*item          // of more, in the order in which digests tell of them; it may have left since
	busy    bool             // a digest of it is being written
	wakeAt  int64
	heapPos int32
}

// mailbox folds the spellings by which one mailbox is reached nearly everywhere: who
// writes a colleague's address into a device could have each of them told by itself.
func mailbox(a envelope.Address) envelope.Address {
	local, _, _ := strings.Cut(a.Local, "+")
	if local == "" {
		local = a.Local
	}
	return envelope.Address{Local: strings.ToLower(local), Domain: envelope.DomainKey(a.Domain)}
}

func (h *hearing) clock() (*int64, *int32) { return &h.wakeAt, &h.heapPos }

// hearing finds or makes what to heard of m's device. It wants q.mu held, as all below
// do.
func (q *Queue) hearing(to envelope.Address, m *Message) *hearing {
	key := hearer{to: mailbox(to), device: envelope.Device(m.Client.Addr), user: m.Client.User}
	h := q.hearings[key]
	if h == nil {
		if len(q.hearings) >= max(q.crowd, maxHearings) {
			q.forgetHearings(time.Now().UnixNano())
		}
		h = &hearing{hearer: key, more: make(map[*item]bool)}
		q.hearings[key] = h
	}
	if len(h.more) == 0 { // else a digest is to go to the one that was there
		h.addr = to
	}
	return h
}

// forgetHearings drops those that say nothing any more and, where many are left that only
// count, those whose hour began first: whoever comes from thousands of addresses is told
// of more often, and no memory grows. It looks through all of them, so it leaves room
// for many before it is called again.
func (q *Queue) forgetHearings(now int64) {
	var counting []*hearing
	for k, h := range q.hearings {
		switch {
		case len(h.more) > 0 || h.busy:
		case now >= h.from+int64(hour):
			delete(q.hearings, k)
		default:
			counting = append(counting, h)
		}
	}
	slices.SortFunc(counting, func(a, b *hearing) int { return cmp.Compare(a.from, b.from) })
	for _, h := range counting[:max(0, len(counting)-maxHearings/2)] {
		delete(q.hearings, h.hearer)
	}
	q.crowd = len(q.hearings) + maxHearings/2
}

// alone tells whether there is to be a notification about it on its own, and counts it.
// If not, it is gathered.
func (q *Queue) alone(it *item, to envelope.Address, now int64) bool {
	if it.noticeAt == never {
		return false
	}
	h := q.hearing(to, it.msg)
	if h.from > now || len(h.more) == 0 && now >= h.from+int64(hour) {
		h.from, h.alone = now, 0 // the first of a new hour, or the clock was set back
	}
	if len(h.more) == 0 && h.alone < q.routing.Delivery.Bounce.PerHour {
		h.alone++
		return true
	}
	q.gather(h, it, false)
	return false
}

// notAlone takes back what alone counted: the notification could not be written.
func (q *Queue) notAlone(to envelope.Address, m *Message) {
	if h := q.hearing(to, m); h.alone > 0 {
		h.alone--
	}
}

// gather keeps it for the digest. unread: whether it is a report itself is to be looked
// at then.
func (q *Queue) gather(h *hearing, it *item, unread bool) {
	h.more[it] = unread
	q.gathered[it] = h
	it.noticeAt = never
	if !h.busy {
		q.wake(h, h.from+int64(hour))
	}
}

// ungather leaves it to its own notification again.
func (q *Queue) ungather(h *hearing, it *item) {
	delete(h.more, it)
	delete(q.gathered, it)
	it.noticeAt = 0
}

// untold is what somebody has to be told of it, and since when; empty: nothing.
func (q *Queue) untold(it *item, now int64) (kind string, since int64) {
	switch {
	case it.gone || it.removed || it.ticket != nil && it.ticket.undecided:
	case it.hasFailed():
		if it.ended != 0 {
			return kindFailed, it.ended
		}
		return kindFailed, now
	case q.overtime(it, now):
		return kindDelayed, it.since + int64(q.routing.Delivery.Warn)
	}
	return "", 0
}

// overtime tells whether a delay warning is due, since nobody was warned yet.
func (q *Queue) overtime(it *item, now int64) bool {
	warn := q.routing.Delivery.Warn
	return it.ended == 0 && it.held == "" && it.giveUp == "" && !it.warned && warn > 0 && it.msg.DSNOf == "" && now >= it.since+int64(warn)
}

// regather gathers at a start what was gathered before: what nobody was told of, where
// it is more than there may be notifications. Its hour is that which began when the
// first of it failed.
func (q *Queue) regather(now int64) {
	type found struct {
		items []*item
		since int64
	}
	all := make(map[*hearing]*found)
	for _, it := range q.order.all() {
		kind, since := q.untold(it, now)
		if kind == "" {
			continue
		}
		to, ok := bounceTo(q.routing.Delivery.Bounce, it.msg)
		if !ok {
			continue
		}
		h := q.hearing(to, it.msg)
		f := all[h]
		if f == nil {
			f = &found{since: since}
			all[h] = f
		}
		f.items, f.since = append(f.items, it), min(f.since, since)
	}
	for h, f := range all {
		if h.alone+len(f.items) <= q.routing.Delivery.Bounce.PerHour {
			continue
		}
		q.hearings[h.hearer] = h // it may have been forgotten meanwhile
		if h.alone == 0 {
			h.from = f.since
		}
		for _, it := range f.items {
			q.gather(h, it, true) // a start has no time to read them
		}
	}
}

// heard is what the records of a loaded message say of notifications.
type heard struct {
	alone  map[*hearing][]int64 // when those of the last hour were made
	digest map[*hearing]int64   // when the last digest was: an hour begins with it
}

// note takes the records of one message.
func (d *heard) note(q *Queue, m *Message, records []record, now time.Time) {
	for i := range records {
		r := &records[i]
		if r.Notice == "" || now.Sub(r.At) >= hour {
			continue
		}
		to, ok := bounceTo(q.routing.Delivery.Bounce, m)
		if !ok {
			return
		}
		h := q.hearing(to, m)
		if r.Gathered {
			d.digest[h] = max(d.digest[h], r.At.UnixNano())
		} else {
			d.alone[h] = append(d.alone[h], r.At.UnixNano())
		}
	}
}

// count begins the hours that the records tell of.
func (d *heard) count() {
	for h, at := range d.digest {
		h.from = at
	}
	for h, times := range d.alone {
		since := d.digest[h]
		for _, at := range times {
			if at <= since {
				continue
			}
			if h.alone++; h.from == 0 || since == 0 && at < h.from {
				h.from = at
			}
		}
	}
}
