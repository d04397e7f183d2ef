package history

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// BenchmarkSearch looks through a hundred thousand messages with an attempt each, for
// what is the oldest and for what is not there; and writes them, a batch at a time.
func BenchmarkSearch(b *testing.B) {
	const all = 100_000
	d, err := openDatabase(b.TempDir(), false)
	if err != nil {
		b.Fatal(err)
	}
	defer d.close() //nolint:errcheck // it is over
	set := &Settings{Keep: 24 * time.Hour, Size: 256 << 20}
	start := time.Now().Add(-time.Hour)
	took := time.Duration(0)
	for n := 0; n < all; {
		batch := map[string]*entry{}
		for range batchMost {
			m := message(envelope.Address{Local: fmt.Sprint("r", n%997), Domain: "corp.example"})
			m.Arrived = start.Add(time.Duration(n) * time.Millisecond)
			m.ID = spool.IDAt(m.Arrived) + fmt.Sprintf("%05d", n%100000)
			e := newMessage(m, false)
			e.fold(&queue.Progress{Message: m, At: m.Arrived, Event: "attempt", Upstream: "ses", Number: 1, Took: time.Second, Gone: queue.Delivered, Text: fmt.Sprintf("250 2.0.0 OK queued as 0100018f-%08x", n)})
			batch[m.ID] = e
			n++
		}
		began := time.Now()
		if err := d.commit(batch, set, time.Now()); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	b.Logf("%d messages are %d octets each in the file, and took %s each to write", all, d.octets.Load()/all, took/all)
	for name, f := range map[string]Filter{
		"first page":          {},
		"text that is absent": {Text: "not to be found"},
		"oldest recipient":    {Recipient: "r1@corp.example", Limit: 1000},
		"absent sender":       {Sender: "nobody@nowhere.example"},
		"absent network":      {Client: "192.0.2.0/24"},
		"an hour ago":         {Until: start.Add(time.Second)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if p, err := d.list(context.Background(), f); err != nil || p.Incomplete {
					b.Fatal(err, p.Incomplete)
				}
			}
		})
	}
}
