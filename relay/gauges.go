package relay

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/traffic"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

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
		metrics.QueueHeldFor:  of(func(s queue.Snapshot) float64 { return s.HeldFor.Seconds() }),
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

// counts is what the relay counts, for the plot of a day.
func (in *instance) counts() traffic.Counts {
	return traffic.Counts{
		Accepted: int64(metrics.Sum(in.metrics.MessagesReceived, "")),
		Refused:  int64(metrics.Sum(in.metrics.Refusals, "")),
		Failed:   int64(metrics.Sum(in.metrics.Recipients, "outcome", upstream.Failed.String())),
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
