package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// planFile is the plan that a relay ran last, in its state folder: what the
// queue of a relay that does not run is routed and notified by. It names
// Secrets and holds none.
const planFile = "plan.json"

// savePlan keeps pl for OpenQueue. A relay runs without it too. One that is there
// already is not written again: what cannot be applied is tried five times a second.
func (in *instance) savePlan(pl *plan.Plan) {
	file := filepath.Join(in.dir, planFile)
	b, err := json.Marshal(pl)
	if err == nil {
		if old, rerr := os.ReadFile(file); rerr != nil || !bytes.Equal(old, b) {
			err = atomicfile.Write(file, b)
		}
	}
	if err != nil {
		in.log.Warn("the plan was not saved: `queue --state` goes by the one before", "cause", err)
	}
}

// Stored is the queue of a relay that does not run. Nothing is tried; what is
// changed is durable, and counts when the relay starts.
type Stored struct {
	*queue.Queue
	spool *spool.Spool
}

// OpenQueue opens the queue in a state folder (as `relay --state` takes it) and
// keeps every relay away from it until Close. name ("namespace/name") chooses
// among several; empty takes the only one. A folder that a relay has open is a
// spool.ErrLocked.
func OpenQueue(state, name string, log *slog.Logger) (*Stored, error) {
	dir, pl, err := storedPlan(state, name)
	if err != nil {
		return nil, err
	}
	s := &Stored{}
	s.spool, err = spool.Open(filepath.Join(dir, "spool"), spool.Options{MaxBytes: pl.Spool.Size, Log: log})
	if err != nil {
		return nil, err
	}
	s.Queue = queue.New(s.spool, queue.Options{
		Settings: queue.SettingsOf(pl), Log: log,
		Permits: func(m *queue.Message) error { return permits(pl, nil, s.spool, m) },
	})
	if err := s.Load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close lets the folder go.
func (s *Stored) Close() error { return s.spool.Close() }

// storedPlan finds the state folder of a relay below state, for who may change it, and the
// plan that the relay ran last.
func storedPlan(state, name string) (string, *plan.Plan, error) {
	dir, err := storedRelay(state, name)
	if err != nil {
		return "", nil, err
	}
	if err := sameOwner(filepath.Join(dir, "spool"), os.Geteuid()); err != nil {
		return "", nil, err
	}
	pl, err := loadPlan(dir)
	return dir, pl, err
}

// storedRelay finds the state folder of a relay below state.
func storedRelay(state, name string) (string, error) {
	if _, err := os.ReadDir(state); err != nil { // Glob does not say so
		return "", fmt.Errorf("state folder: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(globEscape(state), "*", "*", "spool", "lock"))
	if err != nil {
		return "", err
	}
	var names []string
	for _, path := range found {
		dir := filepath.Dir(filepath.Dir(path))
		n := filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
		if n == name || name == "" && len(found) == 1 {
			return dir, nil
		}
		names = append(names, n)
	}
	switch {
	case len(found) == 0:
		return "", fmt.Errorf("%s: holds the state of no relay: name the folder that `relay --state` has", state)
	case name == "":
		return "", fmt.Errorf("%s: holds the state of %d relays: name one with --relay: %s", state, len(found), strings.Join(names, ", "))
	}
	return "", fmt.Errorf("%s: holds no state of a relay %q: name one of %s with --relay", state, name, strings.Join(names, ", "))
}

// globEscape takes the special meaning from the characters of a path.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func loadPlan(dir string) (*plan.Plan, error) {
	path := filepath.Join(dir, planFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: start the relay once with this folder, it writes it (the queue's routes and the address for bounces come from there)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the plan that the relay ran last: %w", err)
	}
	pl := new(plan.Plan)
	if err := json.Unmarshal(b, pl); err != nil {
		return nil, fmt.Errorf("%s: %w: start the relay once with this folder, it writes it anew", path, err)
	}
	return pl, nil
}
