package relay

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// StoredCopiers reads the devices that a relay has seen from its state folder, as
// OpenQueue finds it: as they were when the relay last wrote them down, which it does
// at its end and every minute. It changes nothing, whether the relay runs or not.
func StoredCopiers(state, name string) (*inventory.Store, error) {
	dir, err := storedRelay(state, name)
	if err != nil {
		return nil, err
	}
	all, err := inventory.ReadFile(filepath.Join(dir, inventory.FileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s := inventory.New()
	s.Restore(all, time.Now())
	return s, nil
}

// ForgetStoredCopier has a relay that does not run forget a device. A folder that a
// relay has open is a spool.ErrLocked: ask it at its admin port.
func ForgetStoredCopier(state, name string, device netip.Addr, log *slog.Logger) error {
	q, err := OpenQueue(state, name, log)
	if err != nil {
		return err
	}
	s, err := StoredCopiers(state, name)
	if err == nil {
		err = s.Forget(device)
	}
	if err == nil {
		dir, _ := storedRelay(state, name) //nolint:errcheck // it was found above
		err = s.Save(filepath.Join(dir, inventory.FileName), time.Now())
	}
	return errors.Join(err, q.Close())
}

// OpenHistory opens the history in a state folder, as OpenQueue does a queue; to be
// read alone, or not. A relay that runs has it open.
func OpenHistory(state, name string, readOnly bool) (*history.Stored, error) {
	dir, pl, err := storedPlan(state, name)
	if err != nil {
		return nil, err
	}
	return history.OpenStored(historyDir(dir), readOnly, func(up string, o *upstream.Outcome) string { return queue.Advise(pl.Upstreams[up], o).String() })
}
