package relay

// Who sees what happens to mail and to those who send it, and keeps it: history,
// inventory, the count of a day. None of them is needed by mail.

import (
	"context"
	"path/filepath"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/traffic"
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

// witness hears what becomes of messages; it is on the way of mail and does not wait.
func (in *instance) witness(p queue.Progress) {
	in.history.Witness(p)
	in.began.Witness(p)
	in.webhooks.Witness(p)
}

// refused hears of a command that a device was refused; it is in that session and does
// not wait.
func (in *instance) refused(r history.RefusedCommand) {
	in.history.Refused(r)
	in.webhooks.Refused(r)
}

// watch starts the count of a day and the inventory, which go on with what they had
// when the relay ran last. They end with ctx.
func (in *instance) watch(ctx context.Context) {
	var err error
	if in.traffic, err = traffic.Open(filepath.Join(in.dir, "traffic.json"), in.counts); err != nil {
		in.log.Warn("what was counted over the last day is not known", "cause", err)
	}
	in.wg.Go(func() {
		in.traffic.Run(ctx, func(err error) { in.log.Warn("what was counted over the last day was not saved", "cause", err) })
	})
	copiers := filepath.Join(in.dir, inventory.FileName)
	in.copiers.Load(copiers, time.Now(), in.log)
	in.wg.Go(func() { in.copiers.Run(ctx, copiers, inventory.SaveEvery, in.log) })
}
