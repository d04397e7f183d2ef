package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/admin"
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
	"github.com/printerrelay/printer-relay/relay/upstream"
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
	forget   context.CancelFunc // ends history, which outlasts who tells it
	webhooks *webhook.Hooks
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
	err := in.openSpool(ctx, p.predecessor, spool.Options{MaxBytes: pl.Spool.Size, Log: in.log, Corrupt: in.metrics.SpoolCorrupt.Inc})
	if err != nil {
		return err
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
	in.queue = queue.New(in.spool, queue.Options{
		Deliver: in.delivery, Settings: queue.SettingsOf(pl), Capabilities: in.delivery.Capabilities,
		Permits: func(m *queue.Message) error { return permits(in.judge.Load(), *in.secrets.Load(), in.spool, m) },
		Log:     in.log, Metrics: in.metrics, Grace: in.grace, MaxMemory: b.queue, Witness: in.witness,
	})
	if err := in.queue.Load(); err != nil {
		return err
	}
	in.gauges(in.registry, pl)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	in.cancel = cancel
	in.wg.Go(func() {
		in.queue.Run(ctx) //nolint:errcheck // always nil
	})
	in.wg.Go(func() { in.checks.Run(ctx) })
	if in.traffic, err = traffic.Open(filepath.Join(in.dir, "traffic.json"), in.counts); err != nil {
		in.log.Warn("what was counted over the last day is not known", "cause", err)
	}
	in.wg.Go(func() {
		in.traffic.Run(ctx, func(err error) { in.log.Warn("what was counted over the last day was not saved", "cause", err) })
	})
	in.copiers.Load(in.copiersFile(), time.Now(), in.log)
	in.wg.Go(func() { in.copiers.Run(ctx, in.copiersFile(), inventory.SaveEvery, in.log) })
	in.server = smtpd.New(smtpd.Config{
		Bind: p.Bind, PortOffset: p.PortOffset, State: in.dir, Spool: in.spool, Queue: in.queue, Limiter: in.limiter,
		Connections: b.connections, Receiving: b.receiving,
		CarriesUTF8: in.delivery.CarriesUTF8, Transcripts: in.failed, Copiers: in.copiers, Metrics: in.metrics, Log: in.log,
		Refused: func(r smtpd.Refusal) { in.history.Refused(history.RefusedCommand(r)) },
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
// take scans when the spool is free.
func (in *instance) openSpool(ctx context.Context, most time.Duration, o spool.Options) (err error) {
	dir := filepath.Join(in.dir, "spool")
	if in.spool, err = spool.Open(dir, o); !errors.Is(err, spool.ErrLocked) || most == 0 {
		return err
	}
	in.log.Info("waiting for another process that uses the spool to end", "folder", dir, "at most", most)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(lockedRetry)
	defer tick.Stop()
	for errors.Is(err, spool.ErrLocked) {
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
			in.spool, err = spool.Open(dir, o)
		}
	}
	return err
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

// registrations remembers what was registered, so that a relay that goes takes
// its metrics along.
type registrations struct {
	prometheus.Registerer
	mu   sync.Mutex
	seen []prometheus.Collector
}

func (r *registrations) Register(c prometheus.Collector) error {
	r.mu.Lock()
	r.seen = append(r.seen, c)
	r.mu.Unlock()
	return r.Registerer.Register(c)
}

func (r *registrations) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

func (r *registrations) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.seen {
		r.Unregister(c)
	}
	r.seen = nil
}

func (in *instance) gauges(r prometheus.Registerer, pl *plan.Plan) {
	of := func(f func(queue.Snapshot) float64) func() float64 {
		return func() float64 { return f(in.queue.Snapshot()) }
	}
	metrics.Sampled(r, key(pl), map[metrics.Gauge]func() float64{
		metrics.QueuePending:  of(func(s queue.Snapshot) float64 { return float64(s.Pending) }),
		metrics.QueueDeferred: of(func(s queue.Snapshot) float64 { return float64(s.Deferred) }),
		metrics.QueueHeld:     of(func(s queue.Snapshot) float64 { return float64(s.Held) }),
		metrics.QueueFailed:   of(func(s queue.Snapshot) float64 { return float64(s.Failed) }),
		metrics.QueueOldest:   of(func(s queue.Snapshot) float64 { return s.Oldest.Seconds() }),
		metrics.SpoolBytes:    func() float64 { return float64(in.spool.Usage().Bytes) },
		metrics.SpoolFree:     func() float64 { return float64(in.spool.Usage().Free) },
		metrics.HistoryBytes:  func() float64 { return float64(in.history.Octets()) },
		metrics.HistoryOK:     func() float64 { return boolean(in.history.Problem() == "") },
	})
	metrics.Holds(r, key(pl), in.heldBy)
	metrics.Webhooks(r, key(pl), in.webhookGauges)
	metrics.Inventory(r, key(pl), func() ([]metrics.Copiers, int) {
		kinds, strangers := in.copiers.Counts()
		out := make([]metrics.Copiers, len(kinds))
		for i, k := range kinds {
			out[i] = metrics.Copiers{TLS: k.TLS, Auth: k.Auth, Refused: k.Refused, Devices: k.Devices}
		}
		return out, strangers
	})
	metrics.Upstreams(r, key(pl), func() []metrics.Upstream {
		var out []metrics.Upstream
		for _, u := range in.queue.Snapshot().Upstreams {
			m := metrics.Upstream{Name: u.Name, Circuit: u.Circuit, Suspended: u.Suspended, Waiting: u.Pending, Deferred: u.Deferred, Active: u.Active}
			measure(&m, in.checks.Result(u.Name))
			out = append(out, m)
		}
		return out
	})
}

// heldBy counts what each hold keeps: those of the plan, and others that left some.
func (in *instance) heldBy() map[string]int {
	out := maps.Clone(in.queue.Snapshot().HeldBy)
	if out == nil {
		out = map[string]int{}
	}
	for i := range in.plan.Load().Holds {
		out[in.plan.Load().Holds[i].Name] += 0
	}
	return out
}

// apply brings the relay to another plan without a restart. If it cannot be
// had as a whole the one before stays, with the new Secrets and all that the new one
// stops: neither a revoked password nor the kill switch waits for a port.
func (in *instance) apply(pl *plan.Plan, src secrets.Source) error {
	old := in.plan.Load()
	in.secrets.Store(&src)
	err := in.run(pl, src)
	if err != nil {
		err = fmt.Errorf("PrinterRelay %s: %w", key(pl), err)
		pl = stopping(old, pl)
		if back := in.run(pl, src); back != nil {
			in.log.Error("going back to the last good plan", "cause", back)
		}
	}
	in.checks.Refresh()
	was := in.plan.Swap(pl).Hash
	in.probe.Changed()
	in.savePlan(pl)
	in.missing(pl, src)
	in.metrics.IntakeClosed.Set(boolean(pl.Intake == plan.IntakeRefuse))
	if pl.Hash != was {
		in.log.Info("plan applied", "hash", pl.Hash, "was", was)
	}
	return err
}

func (in *instance) run(pl *plan.Plan, src secrets.Source) error {
	if err := in.delivery.Update(pl); err != nil {
		return err
	}
	in.spool.Resize(pl.Spool.Size)
	in.judge.Store(pl) // ahead of the sessions: who sees the new policy there finds it here
	in.queue.Update(queue.SettingsOf(pl))
	in.history.Update(historySettings(pl))
	in.webhooks.Update(webhookSettings(pl))
	return in.server.Update(pl, src)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// take brings the relay to a plan of its own.
func (in *instance) take(pl *plan.Plan, src secrets.Source) error {
	err := in.apply(pl, src)
	if err == nil {
		in.closed.Store(nil)
	}
	return err
}

// keep goes on with the last good plan, with the Secrets as they are now. Where
// a policy or an upstream is missing, or the instance is drained, it takes no
// new mail until a plan can be had: what the policy no longer allows must not
// come in. The queue is delivered.
func (in *instance) keep(src secrets.Source, missing []string, drained bool) error {
	pl := in.plan.Load()
	if len(missing) > 0 {
		why := strings.Join(missing, ", ") + " is missing: no new mail is taken until it is back"
		if old := in.closed.Swap(&why); old == nil || *old != why {
			in.log.Error("intake closed", "cause", why)
		}
	}
	if len(missing) > 0 || drained {
		pl = refusing(pl)
	}
	return in.apply(pl, src)
}

// refusing is pl without intake. Its Hash is that of pl.
func refusing(pl *plan.Plan) *plan.Plan {
	closed := *pl
	closed.Intake = plan.IntakeRefuse
	return &closed
}

// missing says which Secrets are not there; what needs them fails closed.
func (in *instance) missing(pl *plan.Plan, src secrets.Source) {
	absent := MissingSecrets(pl, src)
	in.metrics.SecretsAbsent.Set(float64(len(absent)))
	if slices.Equal(absent, in.absent) {
		return // it was said; what failed is tried again and again
	}
	in.absent = absent
	for _, m := range absent {
		in.log.Error("a Secret is missing: what needs it does not work", "cause", m)
	}
}

func (in *instance) reloaded(ok bool) {
	if ok {
		in.metrics.Reloads.WithLabelValues("ok").Inc()
		in.metrics.ReloadOK.Set(1)
		in.metrics.ReloadTime.SetToCurrentTime()
		return
	}
	in.metrics.Reloads.WithLabelValues("failed").Inc()
	in.metrics.ReloadOK.Set(0)
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

func (in *instance) copiersFile() string { return filepath.Join(in.dir, inventory.FileName) }

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
		err = replaceFile(in.limitsFile(), b)
	}
	if err != nil {
		in.log.Warn("rate limits were not saved", "cause", err)
	}
}

// Key implements admin.Relay.
func (in *instance) Key() string { return key(in.plan.Load()) }

// counts is what the relay counts, for the plot of a day.
func (in *instance) counts() traffic.Counts {
	return traffic.Counts{
		Accepted: int64(metrics.Sum(in.metrics.MessagesReceived, "")),
		Refused:  int64(metrics.Sum(in.metrics.Refusals, "")),
		Failed:   int64(metrics.Sum(in.metrics.Recipients, "outcome", upstream.Failed.String())),
	}
}

// Traffic implements admin.Relay.
func (in *instance) Traffic() traffic.Day { return in.traffic.Day() }

// Queue implements admin.Relay.
func (in *instance) Queue() admin.Queue { return in.queue }

// Sessions implements admin.Relay.
func (in *instance) Sessions() admin.Sessions { return in.failed }

// Messages implements admin.Relay.
func (in *instance) Messages() admin.Messages { return in.history }

// Copiers implements admin.Relay.
func (in *instance) Copiers() admin.Copiers { return in.copiers }

// smallMessage is the size in octets below which there is no scan: a relay
// without room for it is not ready.
const smallMessage = 64 << 10

// State implements admin.Relay.
func (in *instance) State() admin.RelayState {
	pl := in.plan.Load()
	q, u := in.queue.Snapshot(), in.spool.Usage()
	st := admin.RelayState{
		Namespace: pl.Namespace, Name: pl.Name, PlanHash: pl.Hash, Ready: true, Intake: string(pl.Intake),
		Queue: admin.QueueState{Pending: q.Pending, Deferred: q.Deferred, Held: q.Held, Failed: q.Failed, OldestSeconds: q.Oldest.Seconds(), HeldBy: in.heldBy()},
		Spool: admin.SpoolState{Entries: u.Entries, Bytes: u.Bytes, Free: u.Free},
	}
	for _, l := range in.server.Listeners() {
		st.Listeners = append(st.Listeners, admin.ListenerState{Name: l.Name, Address: l.Address, Error: l.Problem, Connections: l.Connections})
		if l.Problem != "" {
			st.Problems = append(st.Problems, l.Problem)
		}
	}
	for _, up := range q.Upstreams {
		found := in.checks.Result(up.Name)
		st.Upstreams = append(st.Upstreams, admin.UpstreamState{
			Health: healthState(found),
			Name:   up.Name, Circuit: up.Circuit, Suspended: up.Suspended, Pending: up.Pending, Active: up.Active, LastError: up.LastError, Remedy: up.Remedy, Since: up.Since,
			DKIM: in.delivery.PublicKeys(up.Name),
		})
		if up.Circuit == "Open" {
			st.Problems = append(st.Problems, because(fmt.Sprintf("upstream %s is down: %s", up.Name, up.LastError), up.Remedy))
		}
		if p := unwell(up.Name, found, time.Now()); p != "" && up.Circuit != "Open" {
			st.Problems = append(st.Problems, p)
		}
	}
	if why := in.closed.Load(); why != nil {
		st.Problems = append(st.Problems, *why)
	}
	st.MissingSecrets = AbsentSecrets(pl, *in.secrets.Load())
	st.Problems = append(st.Problems, MissingSecrets(pl, *in.secrets.Load())...)
	if err := in.spool.Full(smallMessage); err != nil {
		st.Ready = false
		st.Problems = append(st.Problems, err.Error())
	}
	if p := in.history.Problem(); p != "" {
		st.Problems = append(st.Problems, p)
	}
	in.webhookStates(&st)
	exposed(&st, in.probe)
	if len(st.Listeners) == 0 {
		st.Ready = false
		st.Problems = append(st.Problems, "no listener is open")
	}
	return st
}
