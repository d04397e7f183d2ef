package history

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// A relay that is killed before the history has written what happened last writes it at
// the next start, each thing once, and nothing that it knows already.
func TestWhatAKilledRelayDidNotWrite(t *testing.T) {
	inWorld(t, month, func(w *world) {
		var killed atomic.Bool
		run := w.lives(&killed)
		w.answer = func(_ queue.Attempt, to envelope.Address) upstream.Outcome {
			time.Sleep(time.Second) // two things at one time are one
			if to == bert {
				return nobody
			}
			return tarry
		}
		var known, late string
		run(func() {
			known = w.submit(message(anna))
			time.Sleep(30 * time.Second)
			synctest.Wait()
			killed.Store(true) // what happens from now on is lost
			late = w.submit(message(bert))
			time.Sleep(5 * time.Second)
			if _, err := w.q.Hold(queue.WithPerson(w.Context(), queue.Person{Name: "pat"}), queue.Filter{IDs: []string{known}}, "to be looked at"); err != nil {
				w.Fatal(err)
			}
			synctest.Wait()
		})
		if s := story(w.show(known)); strings.Contains(s, "hold") {
			w.Fatalf("nothing is missing: %s", s)
		}
		time.Sleep(10 * time.Minute)
		killed.Store(false)
		var once string
		for i := range 3 { // the history writes it with the first of these starts
			run(func() {
				time.Sleep(2 * batchTime)
				synctest.Wait()
				all := fmt.Sprint(story(w.show(known)), story(w.show(late)))
				for want, times := range map[string]int{"attempt ses": 2, "hold to be looked at pat": 1, "550 Nobody of that name here bert@other.example": 1} {
					if n := strings.Count(all, want); n != times {
						w.Errorf("start %d: %q is there %d times, want %d:\n%s", i, want, n, times, all)
					}
				}
				if d := w.show(known); d.State != Held || d.Attempts != 1 {
					w.Errorf("%s after %d attempts", d.State, d.Attempts)
				}
				if d := w.show(late); d.Client != copier.String() || d.FailedCount != 1 || d.State != Failed {
					w.Errorf("%+v", d.Entry)
				}
				if i > 0 && all != once {
					w.Errorf("start %d tells it again:\n%s\nbefore:\n%s", i, all, once)
				}
				once = all
			})
		}
	})
}
