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

// alone tells whether there is to be a notification about it on its own, counts it, and
// gives when the hour began in which it counts. If not, it is gathered.
func (q *Queue) alone(it *item, to envelope.Address, now int64) (began int64, ok bool) {
	if it.noticeAt == never {
		return 0, false
	}
	h := q.hearing(to, it.msg)
	if h.from > now || len(h.more) == 0 && now >= h.from+int64(hour) {
		h.from, h.alone = now, 0 // the first of a new hour, or the clock was set back
	}
	if len(h.more) == 0 && h.alone < q.routing.Delivery.Bounce.PerHour {
		h.alone++
		return h.from, true
	}
	q.gather(h, it, false)
	return 0, false
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
		from, alone := h.from, h.alone
		if f.since >= from+int64(hour) { // that hour was over
			from, alone = f.since, 0
		}
		if alone+len(f.items) <= q.routing.Delivery.Bounce.PerHour {
			continue
		}
		q.hearings[h.hearer] = h // it may have been forgotten meanwhile
		h.from, h.alone = from, alone
		for _, it := range f.items {
			q.gather(h, it, true) // a start has no time to read them
		}
	}
}

// heard counts the notifications that the records of a loaded message tell of, in the
// hour that began last of those that they were made in. One that is over counts as well
// where what is gathered in it may wait for its end.
func (q *Queue) heard(m *Message, records []record, now time.Time) {
	for i := range records {
		r := &records[i]
		began := cmp.Or(r.Hour, r.At.UnixNano())
		if r.Notice == "" || now.UnixNano()-began >= 2*int64(hour) {
			continue
		}
		to, ok := bounceTo(q.routing.Delivery.Bounce, m)
		if !ok {
			return
		}
		h := q.hearing(to, m)
		if began > h.from {
			h.from, h.alone = began, 0
		}
		if began == h.from && !r.Gathered {
			h.alone++
		}
	}
}
