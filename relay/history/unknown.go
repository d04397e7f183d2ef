package history

import (
	"errors"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// A process that is killed leaves messages in the history as they were seconds before. Of
// those that are still in the queue Recall tells the rest; of those that left it nobody
// can. They must not be said to wait for ever.

// reviewTime is what one look takes at most, beside every batch: mail that happens
// meanwhile waits in memory.
const reviewTime = 50 * time.Millisecond

// notNoted is what is known of a message that is no longer in the queue, and of which no
// end is known.
const notNoted = "it left the queue and nothing was noted here of how: the relay was killed then, did not run, or could not write this. Whether an upstream accepted it is not known: see the log of that time"

// review looks for messages that are said to be in the queue, and are not.
type review struct {
	kept   func(id string) bool
	until  string // ID; what came in since is known from its beginning
	cursor string
}

// Review has the messages looked through that came in before, the newest first: of those
// that are said to be in the queue, and which kept knows nothing of, the history says from
// then on that their end is not known. kept must not say so of one whose end Witness was
// not told yet. It does not block.
func (s *Store) Review(kept func(id string) bool) {
	s.review.Store(&review{kept: kept, until: spool.IDAt(time.Now())})
}

// look goes on with a review for a while. It is of Run.
func (s *Store) look() {
	r := s.review.Load()
	if r == nil || s.settings.Load().Keep <= 0 {
		return
	}
	begin := time.Now()
	over := func() bool { return time.Since(begin) > reviewTime }
	for !over() {
		d := s.db.Load()
		if d == nil {
			return
		}
		m := &matcher{kind: position(kinds, Message), anyState: true, inQueue: true, until: r.until}
		p, err := d.search(r.cursor, m, maxPage, over)
		if err != nil {
			s.review.CompareAndSwap(r, nil)
			if errors.Is(err, errDamaged) {
				s.trouble(err)
			}
			return
		}
		s.judge(p.Entries, r.kept)
		if r.cursor = p.Next; r.cursor == "" {
			s.review.CompareAndSwap(r, nil)
			return
		}
	}
}

// judge notes which of those that are said to be in the queue have left it.
func (s *Store) judge(entries []Entry, kept func(id string) bool) {
	gone := slices.DeleteFunc(entries, func(e Entry) bool { return kept(e.ID) })
	if len(gone) > 0 {
		s.drain() // they may have left since the start: then that was told
	}
	for i := range gone {
		id := gone[i].ID
		if e := s.entryOf(id); e != nil && isInQueue(e.state) {
			e.left(time.Now())
			s.pending.put(id, e)
		}
	}
}

// isInQueue tells whether a state is of a message that was in the queue then.
func isInQueue(state byte) bool {
	switch name(States, state) {
	case Waiting, Deferred, Held:
		return true
	}
	return false
}

// left makes it a message whose end is not known.
func (e *entry) left(now time.Time) {
	e.state, e.changed = position(States, Unknown), now.UnixNano()
	e.reply = reply.Line(notNoted, maxWords)
	var w writer
	w.event(now, "left", notNoted)
	e.add(w.b)
}

// event writes an event with a text and nothing else.
func (w *writer) event(at time.Time, what, text string) {
	w.time(at.UnixNano())
	w.text(what)
	w.text("") // upstream
	w.num(0)   // attempt
	w.time(0)  // took
	w.text("") // by
	w.text(text)
	w.num(0) // results
}
