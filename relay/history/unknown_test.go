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
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Of a message that left the queue while a killed relay could not note it, the history
// says that its end is not known, once; of all others it says what is so.
func TestWhatLeftTheQueueUnnoted(t *testing.T) {
	inWorld(t, month, func(w *world) {
		var killed, open atomic.Bool
		run := w.lives(&killed)
		w.answer = func(a queue.Attempt, to envelope.Address) upstream.Outcome {
			switch {
			case to == bert, a.Message.Client.User == "late" && !open.Load():
				return tarry
			}
			return good
		}
		late := func() *queue.Message {
			m := message(anna)
			m.Client.User = "late"
			return m
		}
		var ids [4]string
		run(func() {
			held := message(anna)
			held.Held = "the relay's intake is Hold"
			ids = [...]string{w.submit(late()), w.submit(message(bert)), w.submit(held), w.submit(late())}
			time.Sleep(2 * batchTime)
			synctest.Wait()
			if _, err := w.q.Hold(w.Context(), queue.Filter{IDs: ids[3:]}, ""); err != nil {
				w.Fatal(err)
			}
			time.Sleep(2 * batchTime)
			killed.Store(true) // what happens from now on is lost
			open.Store(true)
			time.Sleep(time.Hour)
			synctest.Wait()
		})
		killed.Store(false)
		for start := range 3 {
			run(func() {
				if start == 0 {
					if _, err := w.q.Release(w.Context(), queue.Filter{IDs: ids[3:]}); err != nil { // it leaves before it is asked for
						w.Fatal(err)
					}
				}
				time.Sleep(2 * batchTime)
				synctest.Wait()
				var got []string
				for _, id := range ids {
					got = append(got, string(w.show(id).State))
				}
				if s := strings.Join(got, " "); s != "unknown deferred held accepted" {
					w.Errorf("start %d: %s", start, s)
				}
				s := story(w.show(ids[0]))
				if n := strings.Count(s, "left it left the queue and nothing was noted here of how"); n != 1 {
					w.Errorf("start %d: said %d times:\n%s", start, n, s)
				}
				if all := w.list(Filter{State: Unknown}); len(all) != 1 || all[0].ID != ids[0] || !strings.HasPrefix(all[0].Reply, "it left the queue") {
					w.Errorf("start %d: %+v", start, all)
				}
			})
		}
	})
}

// However many are said to wait, each is looked at; one that is told to have left while
// it is looked at has, and one that came since is not asked for.
func TestAReviewOfMany(t *testing.T) {
	const many = 2*maxPage + 10
	inWorld(t, month, func(w *world) {
		begin := time.Now()
		old := func(n int) *queue.Message {
			m := message(anna)
			m.ID, m.Arrived = spool.IDAt(begin.Add(time.Duration(n)*time.Second))+fmt.Sprint(n), begin.Add(time.Duration(n)*time.Second)
			return m
		}
		var messages []*queue.Message
		for n := range many {
			m := old(n)
			messages = append(messages, m)
			w.s.Witness(queue.Progress{Message: m, At: m.Arrived, Event: queue.Arrived})
			if n%1000 == 999 {
				time.Sleep(batchTime)
				synctest.Wait()
			}
		}
		time.Sleep(time.Hour)
		late := messages[many/2]
		asked := map[string]int{}
		w.s.Review(func(id string) bool {
			asked[id]++
			if id == late.ID {
				w.s.Witness(queue.Progress{Message: late, At: time.Now(), Event: "attempt", Gone: queue.Delivered})
			}
			return false
		})
		time.Sleep(time.Second)
		fresh := old(int(time.Since(begin) / time.Second))
		w.s.Witness(queue.Progress{Message: fresh, At: fresh.Arrived, Event: queue.Arrived})
		time.Sleep(6 * batchTime)
		synctest.Wait()
		count := map[State]int{}
		for f := (Filter{Limit: maxPage}); ; {
			p, err := w.s.List(w.Context(), f)
			if err != nil {
				w.Fatal(err)
			}
			for _, e := range p.Entries {
				count[e.State]++
			}
			if f.Cursor = p.Next; p.Next == "" {
				break
			}
		}
		if len(asked) != many || count[Unknown] != many-1 || count[Accepted] != 1 || count[Waiting] != 1 {
			w.Errorf("%d were asked for; %v", len(asked), count)
		}
		if s := story(w.show(late.ID)); strings.Contains(s, "left") {
			w.Errorf("of one that was accepted: %s", s)
		}
		for id, n := range asked {
			if n != 1 {
				w.Fatalf("%s was asked for %d times", id, n)
			}
		}
	})
}
