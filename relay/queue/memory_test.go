package queue

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// many is a store that holds n deferred messages and takes no writes.
type many struct {
	store
	n, rcpts, devices int
	due               bool // their next attempt is
}

func (s many) Scan(fn func(spool.Entry) error) error {
	next := time.Now().Add(time.Hour)
	if s.due {
		next = time.Now()
	}
	for i := range s.n {
		var to []string
		var all []int
		for k := range s.rcpts {
			to = append(to, fmt.Sprintf("user%d@corp%d.example", (i+k*31)%5000, i%500))
			all = append(all, k)
		}
		m := message(to...)
		m.Arrived = time.Now()
		device := i % s.devices
		m.Client.Addr = netip.AddrFrom4([4]byte{10, 20, byte(device >> 8), byte(device)})
		m.MessageID = fmt.Sprintf("<20000101.%d.scan@mfp%d.corp.example>", i, device)
		meta, err := json.Marshal(m)
		if err != nil {
			return err
		}
		r := record{At: time.Now(), Event: evAttempt, Number: 1, Upstream: "a", Results: []result{{
			Rcpts: all, Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 450, Enhanced: "4.7.1",
			Text: fmt.Sprintf("greylisted, try again later (ref %d.example)", i), Remote: "mx.corp.example [192.0.2.1]:25",
			Next: next.UnixNano(), Over: true,
		}}}
		if err := fn(spool.Entry{ID: fmt.Sprintf("%014d", i), Meta: meta, Records: [][]byte{r.encode()}}); err != nil {
			return err
		}
	}
	return nil
}

func TestMemoryOfManyMessages(t *testing.T) {
	t.Run("one recipient", func(t *testing.T) { memoryOf(t, many{n: 20_000, rcpts: 1, devices: 3000}, 82<<20/5) }) // 100,000 messages in 82 MiB: with as much garbage, and the program, less than 200
	t.Run("as many devices", func(t *testing.T) { memoryOf(t, many{n: 20_000, rcpts: 1, devices: 20_000}, 200<<20/5) })
	t.Run("many", func(t *testing.T) { memoryOf(t, many{n: 1_000, rcpts: 100, devices: 3000}, 40<<20) })
}

// memoryOf measures, and that no more is taken than is counted against the bound.
func memoryOf(t *testing.T, s many, bound uint64) {
	synctest.Test(t, func(t *testing.T) {
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()
		n := s.n
		q := newQueue(s, Options{Settings: settings()})
		if err := q.Load(); err != nil {
			t.Fatal(err)
		}
		q.start()
		used := heap() - before
		counted := uint64(q.shares.held.Load())
		t.Logf("%d messages take %d KiB, counted as %d", n, used>>10, counted>>10)
		if used > counted {
			t.Errorf("%d messages take %d KiB, and are counted as %d", n, used>>10, counted>>10)
		}
		if len(q.items) != n || used > bound {
			t.Errorf("%d messages take %d MiB, more than %d", len(q.items), used>>20, bound>>20)
		}
		if s := q.Snapshot(); s.Deferred != n {
			t.Errorf("%+v", s)
		}
		runtime.KeepAlive(q)
	})
}
