package relay

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// trim gives back what reading the manifests took and taking mail does not
// need: the garbage of the validator, which is larger than all else, and the parts
// of the program that only ran once. Half of the memory of a small relay is that.
func trim(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := unmapProgram(); err != nil {
		log.Debug("pages of the program could not be given back", "cause", err)
	}
}

// spareGarbage is how much garbage may lie beside a large heap. Go lets as much lie
// as there is live: of a queue of 100,000 messages that is as much again.
const spareGarbage = 40 << 20

// garbagePercent is GOGC for so much that is live: Go's own while that is little, so
// that a small relay collects as seldom as it did.
func garbagePercent(live uint64) int {
	return int(min(max(spareGarbage*100/max(live, 1), 25), 100)) //nolint:gosec // it is between
}

// boundGarbage keeps GOGC at garbagePercent until ctx ends, unless the environment
// sets it.
func boundGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for was := startPercent; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(live)
		if is := garbagePercent(live[0].Value.Uint64()); is != was {
			debug.SetGCPercent(is)
			was = is
		}
	}
}

// startPercent is GOGC while a spool is read, which is garbage for the most part.
const startPercent = 50

// startGarbage sets it, unless the environment says otherwise.
func startGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(startPercent)
	}
}
