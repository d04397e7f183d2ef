package relay

import "testing"

// All parts together leave a tenth of the limit, and at least the program's own 30
// MiB, from the Pods' default on.
func TestBudget(t *testing.T) {
	for _, limit := range []int64{256 << 20 / 10 * 9, 512 << 20, memoryUnknown, 16 << 30} {
		b := budgetOf(limit)
		used := int64(b.connections)*perConnection + int64(b.receiving)*perReceiving + b.queue
		if used > limit/10*9 {
			t.Errorf("%d MiB: %+v take %d MiB", limit>>20, b, used>>20)
		}
		if b.connections < 1000 || b.receiving < 100 {
			t.Errorf("%d MiB: %+v is not enough for two listeners as they are by default", limit>>20, b)
		}
	}
	if b := budgetOf(1); b.connections < 1 || b.receiving < 1 {
		t.Errorf("nothing: %+v", b)
	}
}
