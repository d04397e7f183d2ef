package share

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fixed is a pool of n.
func fixed(n int64) *Pool { return New(func() int64 { return n }) }

// fill takes for each client in turn, until none gets more.
func fill(p *Pool, clients int) []int64 {
	got := make([]int64, clients)
	for again := true; again; {
		again = false
		for i := range got {
			if name := fmt.Sprint(i); p.May(name, 1) {
				again = p.Take(context.Background(), name, 1) == nil
				got[i]++
			}
		}
	}
	return got
}

// However many clients take what they can get, each gets as much as the others,
// and who comes late gets some.
func TestWhatIsLeftForWhoComesLate(t *testing.T) {
	for greedy, left := range map[int]int64{1: 250, 2: 142, 10: 32, 100: 3, 333: 1} {
		p := fixed(1000)
		got := fill(p, greedy)
		if slices.Max(got)-slices.Min(got) > 1 {
			t.Errorf("%d greedy clients got from %d to %d", greedy, slices.Min(got), slices.Max(got))
		}
		if p.Left() < left || !p.May("late", 1) {
			t.Errorf("%d greedy clients leave %d of 1000, want %d", greedy, p.Left(), left)
		}
	}
}

func TestTakeMoreThanThereIs(t *testing.T) {
	p := fixed(10)
	if !p.May("a", 10) || p.May("a", 11) {
		t.Error("who has nothing may take all that is left, and no more")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	p := fixed(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Take(ctx, "a", 1); err != nil {
		t.Errorf("there is room: %v", err)
	}
	if err := p.Take(ctx, "b", 1); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	if len(p.waiting) != 0 || p.Has("b") != 0 {
		t.Error("it still waits")
	}
}

// Who has least is served first, whoever came first.
func TestWhoHasLeastIsServedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fixed(4)
		for _, c := range []string{"greedy", "greedy", "greedy", "other"} {
			if err := p.Take(t.Context(), c, 1); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var order []string
		for _, c := range []string{"greedy", "greedy", "late"} {
			go func() {
				if p.Take(t.Context(), c, 1) == nil {
					mu.Lock()
					order = append(order, c)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		for _, c := range []string{"other", "greedy", "late", "greedy"} {
			p.Give(c, 1)
			synctest.Wait()
		}
		if fmt.Sprint(order) != "[late greedy greedy]" {
			t.Errorf("served: %v", order)
		}
	})
}

func TestHeldCountsForTheClientAlone(t *testing.T) {
	room := int64(100)
	p := New(func() int64 { return room })
	p.Hold("a", 300)
	if p.May("a", 1) || !p.May("b", 100) {
		t.Error("what a holds is not counted, or counted for b")
	}
	p.Drop("a", 1)
	if !p.May("a", 1) {
		t.Error("what a gave up is still counted")
	}
	p.Drop("a", 299)
	if len(p.clients) != 0 {
		t.Errorf("clients with nothing are remembered: %v", p.clients)
	}
}

// Nothing is lost and nothing given twice, whoever gives up when.
func TestManyAtOnce(t *testing.T) {
	const size = 20
	p := fixed(size)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprint(i % 7)
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Microsecond)
				if p.Take(ctx, name, 1) == nil {
					if p.Left() < 0 || p.Has(name) > size {
						t.Error("more than there is")
					}
					p.Give(name, 1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if p.Left() != size || len(p.clients) != 0 || len(p.waiting) != 0 {
		t.Errorf("left %d, clients %v, waiting %d", p.Left(), p.clients, len(p.waiting))
	}
}
