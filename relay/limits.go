package relay

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
)

func (in *instance) limitsFile() string { return filepath.Join(in.dir, "limits.json") }

// loadLimits takes up the rate limits' counts, so that a restart is no way
// around them. A file that cannot be read is no reason not to start.
func (in *instance) loadLimits() error {
	b, err := os.ReadFile(in.limitsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, in.limiter)
	}
	if err != nil {
		in.log.Warn("rate limits begin anew", "cause", err)
	}
	return nil
}

func (in *instance) saveLimits() {
	b, err := json.Marshal(in.limiter)
	if err == nil {
		err = atomicfile.Write(in.limitsFile(), b)
	}
	if err != nil {
		in.log.Warn("rate limits were not saved", "cause", err)
	}
}
