package queue

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// longQueue is a queue that has started, of n messages that are due, whose
// upstream is suspended.
func longQueue(t testing.TB, n int, capabilities func(string) upstream.Capabilities) *Queue {
	s := only(settings())
	s.Upstreams["a"] = &plan.Upstream{Name: "a", Connections: 4, Suspend: true}
	q := newQueue(many{n: n, rcpts: 1, devices: 300, due: true}, Options{Settings: s, Capabilities: capabilities})
	if err := q.Load(); err != nil {
		t.Fatal(err)
	}
	q.start()
	if got := waitFor(q, "a"); got != n {
		t.Fatalf("%d of %d wait for the upstream", got, n)
	}
	return q
}

// waitFor counts what waits for its turn with an upstream.
func waitFor(q *Queue, name string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[name].ready.len()
}

// A reload of a long queue lets others in while what waits is routed anew: mail is
// acknowledged meanwhile.
func TestAReloadLetsMailPass(t *testing.T) {
	const n = 5_000
	var calls atomic.Int64
	var reloading atomic.Bool
	begin, passed := make(chan struct{}), make(chan int64, 1)
	q := longQueue(t, n, func(string) upstream.Capabilities {
		if reloading.Load() {
			if calls.Add(1) == 10 {
				<-begin // the other one is about to ask for the lock
			}
			runtime.Gosched()
		}
		return upstream.Capabilities{}
	})
	go func() {
		begin <- struct{}{}
		q.Full()
		passed <- calls.Load()
	}()
	s := q.routing.Settings
	reloading.Store(true)
	q.Update(s)
	reloading.Store(false)
	all := calls.Load()
	if at := <-passed; at >= all {
		t.Errorf("who asked at the beginning of a reload had to wait for its end (%d messages)", n)
	}
	if got := waitFor(q, "a"); got != n {
		t.Errorf("%d of %d wait for the upstream", got, n)
	}
}

// BenchmarkReload tells how long a reload takes for 100,000 messages that are due,
// and how long others wait for the queue meanwhile at most.
func BenchmarkReload(b *testing.B) {
	q := longQueue(b, 100_000, nil)
	var longest time.Duration
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			begun := time.Now()
			q.Full()
			longest = max(longest, time.Since(begun))
			runtime.Gosched()
		}
	}()
	for b.Loop() {
		q.Update(q.routing.Settings)
	}
	close(stop)
	<-done
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-wait")
}
