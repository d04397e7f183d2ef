package queue

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A crash between the notification's commit and the parent's record: whether or not the
// upstream would have taken it at once, it goes out once, and says what came of the scan
// then.
func TestNoSecondDSNAfterACrash(t *testing.T) {
	for _, half := range []bool{false, true} { // the record may be there though nobody heard of it
		for _, notices := range []*upstream.Outcome{&ok, &greylisted} {
			inBubble(t, only(settings()), func(r *rig) {
				r.stop()
				c := &crashing{n: 1, half: half} // the notification's Create
				r.wrap = func(s store) store { c.store = s; return c }
				r.start()
				var taken atomic.Int32
				answer := func(notices upstream.Outcome) {
					r.up.say(func(_ Attempt, to envelope.Address) upstream.Outcome {
						if to.Local != "it" {
							return noUser
						}
						if notices == ok {
							taken.Add(1)
						}
						return notices
					})
				}
				answer(*notices)
				id := r.send(message("x@corp.example")).ID
				if taken.Load() > 0 {
					t.Error("it went out before that was noted")
				}
				r.wrap = nil
				r.restart()
				tries := []string{"a:x@corp.example"}
				if !half {
					tries = append(tries, tries[0])
				}
				r.wantTried(tries...)
				r.wantState(id, Failed)
				answer(ok)
				r.pass(time.Hour)
				r.wantTried(tries...)
				if n := taken.Load(); n != 1 {
					t.Errorf("half: %v, %v: %d went out", half, notices.Kind, n)
				}
				if u := r.sp.Usage(); u.Entries != 1 {
					t.Errorf("%d entries, want the message", u.Entries)
				}
			})
		}
	}
	t.Run("and the scan arrives then", func(t *testing.T) {
		inBubble(t, only(settings()), func(r *rig) {
			r.stop()
			c := &crashing{n: 1}
			r.wrap = func(s store) store { c.store = s; return c }
			r.start()
			r.up.say(deadAddress)
			r.send(message("x@corp.example"))
			r.wrap = nil
			r.up.say(always(ok))
			r.restart()
			r.pass(time.Hour)
			for _, a := range r.up.attempts() {
				if a.Message.DSNOf != "" {
					t.Errorf("somebody is told of its failure: %s", a)
				}
			}
			if u := r.sp.Usage(); u.Entries != 0 {
				t.Errorf("%d entries are left", u.Entries)
			}
		})
	})
}

// unwritable takes messages, and no state for the time being.
type unwritable struct {
	store
	appends, removes atomic.Bool // fail
}

func (u *unwritable) Append(id string, b []byte) error {
	if u.appends.Load() {
		return errors.New("input/output error")
	}
	return u.store.Append(id, b)
}

func (u *unwritable) Remove(id string) error {
	if u.removes.Load() {
		return errors.New("input/output error")
	}
	return u.store.Remove(id)
}

// Nobody is told of what a person does before it counts, and then once.
func TestABounceThatCannotBeWritten(t *testing.T) {
	for _, removes := range []bool{true, false} {
		inBubble(t, perHour(1), func(r *rig) {
			r.stop()
			u := &unwritable{}
			r.wrap = func(s store) store { u.store = s; return u }
			r.start()
			r.up.say(func(a Attempt, _ envelope.Address) upstream.Outcome {
				if a.Message.DSNOf != "" {
					return ok
				}
				return greylisted
			})
			id := r.send(message("x@corp.example")).ID
			told := func() (n int) {
				for _, a := range r.up.attempts() {
					if a.Message.DSNOf == id {
						n++
					}
				}
				return n
			}
			u.appends.Store(true)
			u.removes.Store(!removes)
			if _, err := r.q.Bounce(r.Context(), Filter{IDs: []string{id}}, ""); err == nil {
				t.Error("no error")
			}
			r.pass(time.Second)
			r.wantState(id, Deferred)
			if n := told(); n != 0 {
				t.Errorf("%d told", n)
			}
			u.appends.Store(false)
			u.removes.Store(false)
			if _, err := r.q.Bounce(r.Context(), Filter{IDs: []string{id}}, ""); err != nil {
				t.Error(err)
			}
			r.pass(2 * time.Hour)
			r.wantState(id, Failed)
			if n, e := told(), r.sp.Usage().Entries; n != 1 || e != 1 {
				t.Errorf("%d told, %d entries", n, e)
			}
			r.wantDigests() // the first did not count
		})
	}
}

// A notification that could not be committed does not go out, and is made again.
func TestANoticeThatIsNotCommitted(t *testing.T) {
	inBubble(t, only(settings()), func(r *rig) {
		r.stop()
		var full atomic.Bool
		full.Store(true)
		r.options = func(o *Options) {
			o.Notice = func(w io.Writer, n *Notice) (Content, error) {
				c, err := r.render(w, n)
				if full.Load() {
					c.MessageID = strings.Repeat("x", 17<<20) // more than the Meta of an entry may have
				}
				return c, err
			}
		}
		r.start()
		r.up.say(deadAddress)
		id := r.send(message("x@corp.example")).ID
		notices := func() (n int) {
			for _, a := range r.up.attempts() {
				if a.Message.DSNOf == id {
					n++
				}
			}
			return n
		}
		if n := r.logged("a notification cannot be written"); n == 0 || notices() != 0 {
			t.Errorf("it could not be written %d times, and went out %d times", n, notices())
		}
		full.Store(false)
		r.pass(2 * noticeRetry)
		if notices() != 1 || r.untold() != 0 {
			t.Errorf("%d went out", notices())
		}
	})
}
