package relay

import (
	"math"
	"runtime/debug"
)

// What takes memory, in octets; docs/limits.md tells where they come from, and
// test/hostile measures that they hold.
const (
	memoryUnknown = 1 << 30   // taken for the memory limit where there is none
	perConnection = 56 << 10  // one that is open, inside TLS
	perReceiving  = 384 << 10 // one message that comes in, beside its connection
)

// budget is what a relay allows itself of its memory limit: a quarter for
// connections, a quarter for messages that come in, two fifths for the queue. What
// is left is the program's own.
type budget struct {
	connections int
	receiving   int
	queue       int64
}

// budgetOf divides the part of a memory limit that one of so many relays has.
// Connections and messages that come in have a least number, without which a relay
// is none, and a most, which nobody needs.
func budgetOf(limit int64, relays int) budget {
	limit /= int64(max(relays, 1))
	return budget{
		connections: int(min(max(limit/4/perConnection, 100), 20_000)),
		receiving:   int(min(max(limit/4/perReceiving, 16), 512)),
		queue:       limit / 5 * 2,
	}
}

// memoryLimit is GOMEMLIMIT, which the operator sets from spec.pod.resources.
func memoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 {
		return n
	}
	return memoryUnknown
}
