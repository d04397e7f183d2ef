package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/dsn"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/spool"
)

const (
	maxDigests  = 4    // that are made at once
	maxCovered  = 1000 // messages that a digest tells of, and locks while it is written
	markWorkers = 16   // that note it in their entries, to share the spool's syncs
)

// Digest is what a digest has to say.
type Digest struct {
	ID       string // queue ID of the digest itself
	At       time.Time
	Relay    string
	Hostname string
	From, To envelope.Address
	Device   Client // that of the first message
	Message  *Message
	Since    time.Time // when the hour began
	Alone    int       // notifications about the device on their own in it
	Causes   []DigestCause
	Console  string // URL of a page with the device's messages; empty: none is known
}

// DigestCause is why some messages failed, or are late.
type DigestCause struct {
	Delayed bool
	Mixed   bool // the rest, of more causes than are told apart
	Count   int
	Notices []*Notice // what a notification would have said, of those that are listed
}

// covered is what a digest is about: the IDs of messages. It is in the Meta of its entry,
// so that a restart does not tell of them again.
type covered struct {
	Failed  []string `json:"failed,omitempty"`
	Delayed []string `json:"delayed,omitempty"`
}

// part is one message that a digest tells of.
type part struct {
	it *item
	st *step
}

// digest tells of what is gathered for h in one mail, its hour being over. It owns
// h while h.busy is set.
func (q *Queue) digest(h *hearing) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.done()
	defer func() { q.digests-- }()
	now := time.Now()
	parts := q.leaveOut(h, q.cover(h, now))
	err := error(nil)
	switch {
	case len(parts) == 1 && q.routing.Delivery.Bounce.PerHour > 0: // it can say more on its own
		h.from, h.alone = now.UnixNano(), 0
		q.ungather(h, parts[0].it)
		q.unlock(parts[0].it)
	case len(parts) > 0:
		if err = q.tellOf(h, parts, now); err == nil {
			h.from, h.alone = now.UnixNano(), 0
		}
		for _, p := range parts {
			q.unlock(p.it)
		}
	}
	h.busy = false
	switch {
	case err != nil:
		h.next = nil
		q.wake(h, now.Add(noticeRetry).UnixNano())
	case len(h.next) > 0:
		q.wake(h, now.UnixNano())
	case len(h.more) > 0: // they were being changed: the next one tells
		q.wake(h, h.from+int64(hour))
	}
}

// cover locks the messages that a digest is about. Those of which there is nothing to
// tell any more, or to somebody else, go their own way. What one digest has no room for
// is in order for the next. It wants q.mu held, and gives it up while it sorts.
func (q *Queue) cover(h *hearing, now time.Time) []*part {
	if len(h.next) == 0 {
		h.next = slices.Collect(maps.Keys(h.more))
		q.mu.Unlock()
		sortItems(h.next)
		q.mu.Lock()
	}
	var parts []*part
	for len(h.next) > 0 && len(parts) < maxCovered {
		it := h.next[0]
		h.next[0], h.next = nil, h.next[1:]
		if _, ok := h.more[it]; !ok || it.locked {
			continue
		}
		kind, _ := q.untold(it, now.UnixNano())
		to, ok := bounceTo(q.routing.Delivery.Bounce, it.msg)
		if kind == "" || !ok || mailbox(to) != h.to {
			q.ungather(h, it)
			q.again(it)
			continue
		}
		it.locked = true
		parts = append(parts, &part{it: it, st: q.telling(it, kind, now)})
	}
	return parts
}

// leaveOut leaves those of which there is nothing to tell by their headers to notify,
// which finds the same and notes it. It wants q.mu held and the parts locked, and gives
// q.mu up while it reads.
func (q *Queue) leaveOut(h *hearing, parts []*part) []*part {
	unread := slices.DeleteFunc(slices.Clone(parts), func(p *part) bool { return !h.more[p.it] })
	if len(unread) == 0 {
		return parts
	}
	from := q.routing.bounceFrom()
	q.mu.Unlock()
	unread = slices.DeleteFunc(unread, func(p *part) bool {
		m := p.it.msg
		return !dsn.Automatic(q.headerOf(m), m.Sender == from)
	})
	q.mu.Lock()
	for _, p := range unread {
		q.ungather(h, p.it)
		q.unlock(p.it)
	}
	return slices.DeleteFunc(parts, func(p *part) bool { return slices.Contains(unread, p) })
}

// telling is the step that notes that somebody was told of it.
func (q *Queue) telling(it *item, kind string, now time.Time) *step {
	if kind == kindFailed {
		st := &step{rec: &record{At: now, Event: evTold}}
		q.conclude(it, st)
		return st
	}
	st := &step{rec: &record{At: now, Event: evWarn}}
	for i := range it.rcpts {
		if it.rcpts[i].status == waiting {
			st.notify = append(st.notify, i)
		}
	}
	return st
}

// tellOf makes the digest of parts durable, then notes it in the entry of each, then
// lets it go. A crash in between is mended by Load, which finds in the digest what it is
// about. It wants q.mu held and the parts locked, and gives q.mu up while it writes.
func (q *Queue) tellOf(h *hearing, parts []*part, now time.Time) error {
	d, about := q.digestOf(h, parts, now)
	q.mu.Unlock()
	p := &posting{
		m:    &Message{ID: d.ID, Arrived: now, Origin: &Origin{Relay: d.Relay}, Recipients: []Recipient{{Address: d.To}}, DSNOf: d.Message.ID},
		kind: kindDigest, log: []any{"device", d.Device.name(), "failed", len(about.Failed), "delayed", len(about.Delayed)},
	}
	p, err := q.post(p, ownMeta{Covers: about}, func(w io.Writer) (Content, error) { return q.o.Digest(w, d) })
	if err != nil {
		q.log.Error("a digest cannot be written; it is tried again", "to", d.To.String(), "device", d.Device.name(), "messages", len(parts), "error", err)
		q.mu.Lock()
		return err
	}
	marked := q.mark(parts, d.ID)
	q.mu.Lock()
	for _, x := range parts {
		if x.st == nil {
			continue
		}
		q.ungather(h, x.it)
		q.settle(x.it, x.st, 0)
	}
	if marked { // else the queue is being stopped, and the next start finds the rest
		q.letGo(p)
	}
	return nil
}

// mark notes in the entries of parts that the digest tells of them; a part that could
// not be written, or was not before the process has to end, has no step any more.
func (q *Queue) mark(parts []*part, digest string) bool {
	var wg sync.WaitGroup
	next := make(chan *part)
	for range min(markWorkers, len(parts)) {
		wg.Go(func() {
			for p := range next {
				rec := p.st.rec
				rec.Told, rec.Notice, rec.Gathered, rec.Text = rec.Event == evTold, digest, true, "digest "+digest
				p.st.notify = nil
				if !q.write(p.it, p.st, func() {}) {
					p.st = nil
				}
			}
		})
	}
	for _, p := range parts {
		if q.hard.Err() != nil {
			p.st = nil
			continue
		}
		next <- p
	}
	close(next)
	wg.Wait()
	return !slices.ContainsFunc(parts, func(p *part) bool { return p.st == nil })
}

// digestOf is what the digest says, and what it is about. It wants q.mu held.
func (q *Queue) digestOf(h *hearing, parts []*part, now time.Time) (*Digest, *covered) {
	r := q.routing
	first := parts[0].it.msg
	d := &Digest{
		At: now, Relay: r.Relay, Hostname: r.Hostname, From: r.bounceFrom(), To: h.addr, Device: first.Client, Message: first,
		Since: time.Unix(0, h.from), Alone: h.alone, Console: r.PageOfClient(first.Client.text()),
	}
	id := fnv.New32a()
	about := &covered{}
	var c causes
	for i, p := range parts {
		if i%walkStep == walkStep-1 { // they are locked: others may go on meanwhile
			q.mu.Unlock()
			q.mu.Lock()
		}
		kind := kindDelayed
		if p.st.rec.Event == evTold {
			kind = kindFailed
			about.Failed = append(about.Failed, p.it.msg.ID)
		} else {
			about.Delayed = append(about.Delayed, p.it.msg.ID)
		}
		n := q.notice(p.it, p.st, kind, h.addr)
		fmt.Fprint(id, kindDigest, n.ID)
		c.add(n)
	}
	d.ID = fmt.Sprintf("%s-%08x", first.ID, id.Sum32())
	d.Causes = c.listed()
	return d, about
}

// finish notes in the entries of a loaded digest's messages that it tells of them, where
// a crash came between. An entry that says so already has been told anew since, if
// there is something to tell.
func (q *Queue) finish(digest string, about *covered, now time.Time) {
	began := q.items[digest].msg.Arrived.UnixNano()
	todo := func(ids []string, kind string) {
		for _, id := range ids {
			it := q.items[id]
			if it == nil || kind == kindFailed && !it.hasFailed() || kind == kindDelayed && (it.warned || it.ended != 0) {
				continue
			}
			if e, err := q.store.Read(id); err != nil || says(e.Records, digest) {
				continue
			}
			rec := &record{At: now, Event: evWarn, Notice: digest, Gathered: true, Hour: began, Text: "digest " + digest}
			if kind == kindFailed {
				rec.Event, rec.Told = evTold, true
			}
			if err := q.store.Append(id, rec.encode()); err != nil && !errors.Is(err, spool.ErrNotFound) {
				q.log.Error("what a digest tells of cannot be noted", "id", id, "notification", digest, "error", err)
			}
			it.apply(rec, &q.strs)
			q.heard(it.msg, []record{*rec}, now)
		}
	}
	todo(about.Failed, kindFailed)
	todo(about.Delayed, kindDelayed)
}

// says tells whether one of the records names a notification.
func says(records [][]byte, notice string) bool {
	return slices.ContainsFunc(records, func(b []byte) bool {
		var r record
		return json.Unmarshal(b, &r) == nil && r.Notice == notice
	})
}
