package relay

import "testing"

// A queue of 100,000 messages is some 75 MiB; with its garbage and the program it
// stays below 200, and a small relay collects as seldom as Go does.
func TestGarbageIsBounded(t *testing.T) {
	for _, tc := range []struct {
		live uint64 // MiB
		want int
	}{
		{0, 100}, {10, 100}, {40, 100}, {80, 50}, {160, 25}, {1000, 25},
	} {
		if got := garbagePercent(tc.live << 20); got != tc.want {
			t.Errorf("%d MiB live: GOGC %d, want %d", tc.live, got, tc.want)
		}
	}
}
