package relay

import (
	"log/slog"
	"runtime/debug"
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
