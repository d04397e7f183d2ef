package relay

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// All parts together leave a tenth of the limit, and at least the program's own 30
// MiB, from the Pods' default on.
func TestBudget(t *testing.T) {
	for _, limit := range []int64{256 << 20 / 10 * 9, 512 << 20, memoryUnknown, 16 << 30} {
		b := budgetOf(limit, 1)
		used := int64(b.connections)*perConnection + int64(b.receiving)*perReceiving + b.queue
		if used > limit/10*9 {
			t.Errorf("%d MiB: %+v take %d MiB", limit>>20, b, used>>20)
		}
		if b.connections < 1000 || b.receiving < 100 {
			t.Errorf("%d MiB: %+v is not enough for two listeners as they are by default", limit>>20, b)
		}
	}
	var of4 int64
	for range 4 {
		b := budgetOf(memoryUnknown, 4)
		of4 += int64(b.connections)*perConnection + int64(b.receiving)*perReceiving + b.queue
	}
	if of4 > memoryUnknown/10*9 {
		t.Errorf("four relays take %d MiB", of4>>20)
	}
	if b := budgetOf(1, 0); b.connections < 1 || b.receiving < 1 {
		t.Errorf("nothing: %+v", b)
	}
}

// Relays of one process have the memory limit between them.
func TestRelaysShareTheMemory(t *testing.T) {
	p := &Process{Options: Options{State: t.TempDir(), Log: slog.New(slog.DiscardHandler)}, registry: prometheus.NewRegistry()}
	defer p.stop()
	if err := p.start(t.Context(), &Configuration{Plans: []*plan.Plan{{Namespace: "a", Name: "x"}, {Namespace: "a", Name: "y"}}}); err != nil {
		t.Fatal(err)
	}
	if err := p.start(t.Context(), &Configuration{Plans: []*plan.Plan{{Namespace: "a", Name: "later"}}}); err != nil {
		t.Fatal(err)
	}
	for i, among := range []int{2, 2, 3} {
		if got, want := p.instances[i].server.Connections, budgetOf(memoryLimit(), among).connections; got != want {
			t.Errorf("relay %s may have %d connections, want %d", p.instances[i].Key(), got, want)
		}
	}
}
