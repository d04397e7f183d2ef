package relay

import (
	"context"
	"os"
	"path/filepath"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// historyReserve is how many octets of the volume the history leaves free, the spool's
// last 64 MiB among them: where scans are about to be refused it does not grow.
const historyReserve = 128 << 20

// historyDir is where the history of a relay with this state folder lies.
func historyDir(dir string) string { return filepath.Join(dir, "history") }

func historySettings(pl *plan.Plan) history.Settings {
	return history.Settings{Keep: pl.History.Keep, Size: pl.History.Size, Subjects: pl.History.Subjects}
}

// remember starts the history. It outlasts the queue, which tells it of what ends last.
func (in *instance) remember(pl *plan.Plan) {
	in.history = history.New(history.Options{
		Dir: historyDir(in.dir), Settings: historySettings(pl), Log: in.log,
		Free: func() int64 { return in.spool.Usage().Free }, Reserve: historyReserve,
		Advise: func(up string, o *upstream.Outcome) string {
			return queue.Advise(in.plan.Load().Upstreams[up], o).String()
		},
		Dropped: func(why string) { in.metrics.HistoryDropped.WithLabelValues(why).Inc() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	in.forget = cancel
	in.past.Go(func() { in.history.Run(ctx) })
}

// OpenHistory opens the history in a state folder, as OpenQueue does a queue; to be
// read alone, or not. A relay that runs has it open.
func OpenHistory(state, name string, readOnly bool) (*history.Stored, error) {
	dir, err := storedRelay(state, name)
	if err != nil {
		return nil, err
	}
	if err := sameOwner(filepath.Join(dir, "spool"), os.Geteuid()); err != nil {
		return nil, err
	}
	pl, err := loadPlan(dir)
	if err != nil {
		return nil, err
	}
	return history.OpenStored(historyDir(dir), readOnly, func(up string, o *upstream.Outcome) string { return queue.Advise(pl.Upstreams[up], o).String() })
}
