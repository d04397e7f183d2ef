package queue

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
)

func TestOrder(t *testing.T) {
	var o order
	items := map[string]*item{}
	add := func(id string) {
		items[id] = &item{msg: &Message{ID: id}}
		o.add(items[id])
	}
	ids := func(of []*item) (out []string) {
		for _, it := range of {
			if !it.gone {
				out = append(out, it.msg.ID)
			}
		}
		return out
	}
	for i := range 400 {
		add(fmt.Sprintf("%04d", i*2))
	}
	given := o.all()
	add("0001") // a notification's ID is its parent's, with more behind
	if got := ids(o.after("0000"))[:2]; !slices.Equal(got, []string{"0001", "0002"}) {
		t.Errorf("behind the first come %v", got)
	}
	if n := len(ids(given)); n != 400 {
		t.Errorf("what was given before has %d items now", n)
	}
	for i := range 390 {
		items[fmt.Sprintf("%04d", i*2)].gone = true
		o.left()
	}
	if got := ids(o.all()); len(got) != 11 || got[0] != "0001" || got[1] != "0780" {
		t.Errorf("left are %v", got)
	}
	if n := len(o.items); n > 11+fewGone {
		t.Errorf("%d are kept for 11", n)
	}
	if got := ids(o.after("0798")); got != nil {
		t.Errorf("behind the last comes %v", got)
	}
}

// quiet counts what a queue reads and writes.
type quiet struct {
	many
	calls atomic.Int64
}

func (s *quiet) Read(string) (spool.Entry, error) {
	s.calls.Add(1)
	return spool.Entry{}, spool.ErrNotFound
}

func (s *quiet) Body(string) (*spool.Reader, error)   { s.calls.Add(1); return nil, spool.ErrNotFound }
func (s *quiet) Append(string, []byte) error          { s.calls.Add(1); return nil }
func (s *quiet) Remove(string) error                  { s.calls.Add(1); return nil }
func (s *quiet) Create(string) (*spool.Writer, error) { s.calls.Add(1); return nil, spool.ErrFull }

// Messages that wait are neither read nor written until their time comes: not by
// timers, lists or metrics.
func TestALongQueueRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		s := &quiet{many: many{n: n, rcpts: 1, devices: 300}}
		up := &upstreams{}
		up.say(always(ok))
		q := newQueue(s, Options{Settings: settings(), Deliver: up})
		if err := q.Load(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); q.Run(ctx) }() //nolint:errcheck // always nil
		for range 59 {
			time.Sleep(time.Minute)
			if s := q.Snapshot(); s.Deferred != n {
				t.Fatalf("%+v", s)
			}
			if p, err := q.List(Filter{Sender: "nobody@corp.example"}); err != nil || len(p.Messages) != 0 {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		if got := s.calls.Load(); got != 0 || len(up.attempts()) != 0 {
			t.Errorf("within an hour of rest the spool was used %d times, and %d attempts were made", got, len(up.attempts()))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := len(up.attempts()); got != n {
			t.Errorf("when their time came %d of %d were tried", got, n)
		}
		cancel()
		<-ran
	})
}

// A list in pages gives each message once, in order, while others come and go.
func TestPagesWhileTheQueueChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(many{n: 3000, rcpts: 1, devices: 300}, Options{Settings: settings()})
		if err := q.Load(); err != nil {
			t.Fatal(err)
		}
		var got []string
		f := Filter{Limit: 700}
		for {
			p, err := q.List(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p.Messages {
				got = append(got, m.ID)
			}
			q.mu.Lock()
			q.drop(q.items[got[len(got)-1]]) // the cursor itself, and more than half
			for _, id := range got[:len(got)-1] {
				if it := q.items[id]; it != nil {
					q.drop(it)
				}
			}
			q.mu.Unlock()
			if p.Next == "" {
				break
			}
			f.Cursor = p.Next
		}
		if len(got) != 3000 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 3000 {
			t.Errorf("%d messages, sorted: %t", len(got), slices.IsSorted(got))
		}
		if len(q.items) != 0 || len(q.order.items) > fewGone {
			t.Errorf("%d left, %d in order", len(q.items), len(q.order.items))
		}
	})
}
