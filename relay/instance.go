package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/delivery"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/preflight"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
	"github.com/printerrelay/printer-relay/relay/smtpd"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/traffic"
	"github.com/printerrelay/printer-relay/relay/transcript"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// instance is one relay that runs: the plan in force and what executes it.
type instance struct {
	log      *slog.Logger
	dir      string // state folder
	grace    time.Duration
	registry prometheus.Registerer // with what this instance registered
	metrics  *metrics.Set
	plan     atomic.Pointer[plan.Plan]
	judge    atomic.Pointer[plan.Plan] // whose policy verbs of the queue go by: plan, or the one that is being applied
	secrets  atomic.Pointer[secrets.Source]
	closed   atomic.Pointer[string] // why no new mail is taken though the manifests do not say so; nil: it is

	spool    *spool.Spool
	queue    *queue.Queue
	delivery *delivery.Delivery
	checks   *preflight.Runner // of the upstreams
	server   *smtpd.Server
	limiter  *policy.Limiter
	failed   *transcript.Store // sessions
	copiers  *inventory.Store
	probe    *selfprobe.Runner
	traffic  *traffic.Recorder
	history  *history.Store
	began    *beginnings
	forget   context.CancelFunc // ends history, which outlasts who tells it
	webhooks *webhook.Hooks     // which outlast it too
	past     sync.WaitGroup
	absent   []string // Secrets that were last said to be missing; of who applies plans

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newInstance starts a relay; the caller stops it. After an error nothing is
// left running.
func newInstance(ctx context.Context, p *Process, pl *plan.Plan, src secrets.Source, b budget) (*instance, error) {
	in := &instance{
		log: p.Log.With("relay", key(pl)), dir: filepath.Join(p.State, pl.Namespace, pl.Name), grace: p.Grace,
		limiter: policy.NewLimiter(), failed: transcript.NewStore(), copiers: inventory.New(),
	}
	in.plan.Store(pl)
	in.judge.Store(pl)
	in.secrets.Store(&src)
	r := &registrations{Registerer: p.registry}
	in.registry = r
	in.metrics = metrics.New(r, key(pl))
	if err := in.open(ctx, p, pl, src, b); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *instance) open(ctx context.Context, p *Process, pl *plan.Plan, src secrets.Source, b budget) error {
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return fmt.Errorf("state folder: %w: name another with --state", err)
	}
	waited, err := in.openSpool(ctx, p.predecessor, spool.Options{MaxBytes: pl.Spool.Size, Log: in.log, Corrupt: in.metrics.SpoolCorrupt.Inc})
	if err != nil {
		return err
	}
	if waited { // a minute, maybe: what was revoked or stopped meanwhile must not run first
		if pl, src, err = p.anew(ctx, in); err != nil {
			return err
		}
		in.log.Info("the spool is free: the relay begins with what the manifests say now", "hash", pl.Hash, "intake", pl.Intake)
		in.plan.Store(pl)
		in.judge.Store(pl)
		in.secrets.Store(&src)
		in.spool.Resize(pl.Spool.Size)
	}
	if err := in.loadLimits(); err != nil { // which who had the spool before has written
		return err
	}
	in.checks = preflight.New(preflight.Options{
		Targets: func() []preflight.Target { return in.delivery.Targets() }, Log: in.log,
		Recovered: func(name string) { in.queue.Probe(name) },
	})
	in.delivery = delivery.New(delivery.Config{
		State: in.dir, Spool: in.spool, Secrets: func() secrets.Source { return *in.secrets.Load() }, Log: in.log, Saw: in.checks.Saw, Timeouts: p.Timeouts,
		TLSResult: func(up, policy, result string) { in.metrics.TLSResults.WithLabelValues(up, policy, result).Inc() },
	})
	if err := in.delivery.Update(pl); err != nil {
		return err
	}
	in.remember(pl)
	in.openWebhooks(p, pl)
	in.began = newBeginnings(filepath.Join(in.dir, beginningsFile), in.plan.Load, in.log)
	in.began.update(pl)
	in.queue = queue.New(in.spool, queue.Options{
		Deliver: in.delivery, Settings: queue.SettingsOf(pl), Capabilities: in.delivery.Capabilities,
		Permits: func(m *queue.Message) error { return permits(in.judge.Load(), *in.secrets.Load(), in.spool, m) },
		Log:     in.log, Metrics: in.metrics, Grace: in.grace, MaxMemory: b.queue, Witness: in.witness,
	})
	in.began.queue = in.queue
	if err := in.queue.Load(); err != nil {
		return err
	}
	in.queue.Recall(in.history.Witness) // what it may not have written when the relay was killed
	in.history.Review(in.queue.Has)
	in.gauges(in.registry, pl)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	in.cancel = cancel
	in.wg.Go(func() {
		in.queue.Run(ctx) //nolint:errcheck // always nil
	})
	in.wg.Go(func() { in.began.Run(ctx) })
	in.wg.Go(func() { in.checks.Run(ctx) })
	in.watch(ctx)
	in.server = smtpd.New(smtpd.Config{
		Bind: p.Bind, PortOffset: p.PortOffset, State: in.dir, Spool: in.spool, Queue: in.queue, Limiter: in.limiter,
		Connections: b.connections, Receiving: b.receiving,
		CarriesUTF8: in.delivery.CarriesUTF8, Transcripts: in.failed, Copiers: in.copiers, Metrics: in.metrics, Log: in.log,
		Refused: in.refused,
	})
	in.missing(pl, src)
	in.metrics.IntakeClosed.Set(boolean(pl.Intake == plan.IntakeRefuse))
	if err := in.server.Update(pl, src); err != nil {
		return err
	}
	in.savePlan(pl)
	in.probe = selfprobe.New(selfprobe.Config{
		Plan: in.plan.Load, Listeners: in.openListeners, Log: in.log,
		Found: func(open int) { in.metrics.OpenListeners.Set(float64(open)) },
	})
	in.wg.Go(func() { in.probe.Run(ctx) })
	return nil
}

// lockedRetry is how often a spool that another process has is tried.
const lockedRetry = 100 * time.Millisecond

// openSpool opens it when the process that has it now has ended, for which it waits
// at most so long: where a Pod is deleted, the next one is there at once and the
// first still drains. To exit instead would have the kubelet back off, and nobody
// take scans when the spool is free. It tells whether it waited.
func (in *instance) openSpool(ctx context.Context, most time.Duration, o spool.Options) (waited bool, err error) {
	dir := filepath.Join(in.dir, "spool")
	if in.spool, err = spool.Open(dir, o); !errors.Is(err, spool.ErrLocked) || most == 0 {
		return false, err
	}
	in.log.Info("waiting for another process that uses the spool to end", "folder", dir, "at most", most)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(lockedRetry)
	defer tick.Stop()
	for errors.Is(err, spool.ErrLocked) {
		select {
		case <-ctx.Done():
			return true, err
		case <-tick.C:
			in.spool, err = spool.Open(dir, o)
		}
	}
	return true, err
}

// openListeners are those that can be asked.
func (in *instance) openListeners() []selfprobe.Listener {
	var out []selfprobe.Listener
	for _, l := range in.server.Listeners() {
		if l.Address != "" {
			out = append(out, selfprobe.Listener{Name: l.Name, Address: l.Address})
		}
	}
	return out
}

// stop drains: no new mail, sessions and deliveries end within the grace, the
// queue stays on disk.
func (in *instance) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), in.grace)
	defer cancel()
	in.server.Shutdown(ctx)
	in.close()
	in.log.Info("stopped")
}

func (in *instance) close() {
	if in.cancel != nil {
		in.cancel()
		in.wg.Wait()
	}
	if in.forget != nil {
		in.forget()
		in.past.Wait()
	}
	if in.webhooks != nil {
		in.webhooks.Close()
	}
	if in.delivery != nil {
		in.delivery.Close()
	}
	if in.spool != nil { // else nothing was counted, and the file is another process's
		in.saveLimits()
		if err := in.spool.Close(); err != nil { // the next process may go on from here
			in.log.Error("closing the spool", "cause", err)
		}
	}
	in.registry.(*registrations).forget()
}
