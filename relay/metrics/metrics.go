// Package metrics declares every Prometheus metric of a relay, so that names,
// labels and their bounds stand in one place. Labels hold only what the
// manifests name (listeners, upstreams, policies, rules) or a fixed set of
// words: never an address, a HELO name or a client, so that no peer can grow
// the number of series.
//
// It imports the Prometheus client, its data model and the standard library only.
package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const namespace = "printer_relay"

// Set holds the metrics of one relay. A Set from New is never partly nil.
type Set struct {
	// Sessions.
	Connections         *prometheus.GaugeVec   // listener
	ConnectionsTotal    *prometheus.CounterVec // listener
	ConnectionsRefused  *prometheus.CounterVec // listener, reason
	TLSHandshakes       *prometheus.CounterVec // listener, version ("1.0".."1.3", "failed")
	AuthAttempts        *prometheus.CounterVec // listener, mechanism, result (ok, failed)
	Refusals            *prometheus.CounterVec // listener, reason (the catalogue's PR code)
	PolicyDecisions     *prometheus.CounterVec // policy, rule, action, mode (enforce, dryrun)
	DryRunChanges       *prometheus.CounterVec // policy, rule, now, would (Accept, Hold, Refuse)
	MessagesReceived    *prometheus.CounterVec // listener
	BytesReceived       *prometheus.CounterVec // listener
	MessageSize         prometheus.Histogram   // octets
	AcknowledgeDuration prometheus.Histogram   // seconds from the final dot to the 250

	// Delivery.
	Recipients      *prometheus.CounterVec   // upstream, outcome, scope
	AttemptDuration *prometheus.HistogramVec // upstream
	Circuits        *prometheus.CounterVec   // upstream, state (open, closed)
	Notifications   *prometheus.CounterVec   // kind (failed, delayed, digest, held)
	TLSResults      *prometheus.CounterVec   // upstream, policy (RFC 8460 4.4), result (4.3, or success)

	HistoryDropped *prometheus.CounterVec // reason (busy, off, refusals)

	WebhookRequests *prometheus.CounterVec // webhook, result (ok, failed)
	WebhookSent     *prometheus.CounterVec // webhook
	WebhookDropped  *prometheus.CounterVec // webhook, reason (busy, full, expired, refused, gone)

	// Configuration.
	Reloads       *prometheus.CounterVec // result (ok, failed)
	ReloadOK      prometheus.Gauge       // 1: what stands in the manifests is what runs
	ReloadTime    prometheus.Gauge       // Unix time of the last good load
	SpoolCorrupt  prometheus.Counter
	SecretsAbsent prometheus.Gauge
	OpenListeners prometheus.Gauge // that would relay for anybody
	IntakeClosed  prometheus.Gauge // 1: no new mail is taken
}

// New makes the metrics and registers them with r; relay ("namespace/name") is
// on each as a label.
func New(r prometheus.Registerer, relay string) *Set {
	r = prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r)
	m := maker{r}
	return &Set{
		Connections:         m.gauges("connections", "Connections that are open now.", "listener"),
		ConnectionsTotal:    m.counters("connections_total", "Connections accepted.", "listener"),
		ConnectionsRefused:  m.counters("connections_refused_total", "Connections refused before the greeting.", "listener", "reason"),
		TLSHandshakes:       m.counters("tls_handshakes_total", "TLS handshakes with clients by the version agreed on, or failed.", "listener", "version"),
		AuthAttempts:        m.counters("auth_attempts_total", "AUTH exchanges.", "listener", "mechanism", "result"),
		Refusals:            m.counters("refusals_total", "Refusals to clients by the code that their text begins with, without those to the relay's own question whether it is open.", "listener", "reason"),
		PolicyDecisions:     m.counters("policy_decisions_total", "Decisions at MAIL; mode dryrun decides nothing.", "policy", "rule", "action", "mode"),
		DryRunChanges:       m.counters("policy_dry_run_changes_total", "Messages that a policy in DryRun would have decided otherwise, by what was decided and what would have been.", "policy", "rule", "now", "would"),
		MessagesReceived:    m.counters("messages_received_total", "Messages acknowledged with 250.", "listener"),
		BytesReceived:       m.counters("received_bytes_total", "Octets of the messages acknowledged.", "listener"),
		MessageSize:         m.histogram("message_size_bytes", "Octets of a message.", prometheus.ExponentialBuckets(4096, 4, 8)),
		AcknowledgeDuration: m.histogram("acknowledge_duration_seconds", "From the final dot to the 250.", prometheus.ExponentialBuckets(0.001, 2.5, 10)),
		Recipients:          m.counters("attempted_recipients_total", "Recipients of delivery attempts by what became of them.", "upstream", "outcome", "scope"),
		AttemptDuration:     m.histograms("attempt_duration_seconds", "Time of one delivery attempt.", prometheus.ExponentialBuckets(0.005, 3, 9), "upstream"),
		Circuits:            m.counters("upstream_circuit_changes_total", "Times that an upstream's circuit breaker opened, or closed again.", "upstream", "state"),
		Notifications:       m.counters("notifications_total", "Notifications made: of failed and delayed mail (RFC 3464), digests of more of these, and of a hold that begins.", "kind"),
		TLSResults:          m.counters("mx_tls_results_total", "How TLS began with the mail servers of direct delivery, by policy and result type of RFC 8460, or success.", "upstream", "policy", "result"),
		HistoryDropped:      m.counters("history_dropped_total", "What happened and is missing from the history: too much at once (busy), the database could not be written (off), more refusals of a client than are kept (refusals).", "reason"),
		WebhookRequests:     m.counters("webhook_requests_total", "Requests to webhooks.", "webhook", "result"),
		WebhookSent:         m.counters("webhook_events_sent_total", "Events that a webhook was told of.", "webhook"),
		WebhookDropped:      m.counters("webhook_events_dropped_total", "Events that a webhook is not told of: too much at once (busy), too many waited (full), for too long (expired), it would not take them (refused), it wants no more (gone).", "webhook", "reason"),
		Reloads:             m.counters("config_reloads_total", "Loads of the manifests.", "result"),
		ReloadOK:            m.gauge("config_last_reload_successful", "1 if what stands in the manifests is what runs."),
		ReloadTime:          m.gauge("config_last_reload_success_timestamp_seconds", "Unix time of the last good load."),
		SpoolCorrupt:        m.counter("spool_corrupt_total", "Spool entries found damaged: moved to quarantine at the start, or held when they were to be delivered; and those that were gone from the folder while messages waited."),
		SecretsAbsent:       m.gauge("secrets_missing", "Secrets that the plan names and that are not there."),
		OpenListeners:       m.gauge("open_relay_listeners", "Listeners that took mail from and for somebody that no rule names when the relay tried by itself. Anything but 0 is an alarm."),
		IntakeClosed:        m.gauge("intake_closed", "1 while no new mail is taken: intake is Refuse, the instance is drained, or a policy or upstream is missing."),
	}
}

type maker struct{ prometheus.Registerer }

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.MustRegister(v)
	return v
}

func (m maker) counter(name, help string) prometheus.Counter {
	v := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	m.MustRegister(v)
	return v
}

func (m maker) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.MustRegister(v)
	return v
}

func (m maker) gauge(name, help string) prometheus.Gauge {
	v := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	m.MustRegister(v)
	return v
}

func (m maker) histogram(name, help string, buckets []float64) prometheus.Histogram {
	v := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.MustRegister(v)
	return v
}

func (m maker) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.MustRegister(v)
	return v
}

// Sampled registers gauges that are read when they are scraped, for what the
// queue and the spool count anyway. The functions must not block.
func Sampled(r prometheus.Registerer, relay string, gauges map[Gauge]func() float64) {
	r = prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r)
	for g, f := range gauges {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: g.name, Help: g.help, ConstLabels: g.labels(),
		}, f))
	}
}

// Gauge names one sampled gauge; label and value are empty or one fixed pair.
type Gauge struct{ name, help, label, value string }

func (g Gauge) labels() prometheus.Labels {
	if g.label == "" {
		return nil
	}
	return prometheus.Labels{g.label: g.value}
}

// The sampled gauges.
var (
	queueHelp     = "Messages in the queue by state."
	QueuePending  = Gauge{"queue_messages", queueHelp, "state", "pending"}
	QueueDeferred = Gauge{"queue_messages", queueHelp, "state", "deferred"}
	QueueHeld     = Gauge{"queue_messages", queueHelp, "state", "held"}
	QueueFailed   = Gauge{"queue_messages", queueHelp, "state", "failed"}
	QueueOldest   = Gauge{"queue_oldest_message_seconds", "Age of the oldest message that still waits for an upstream.", "", ""}
	QueueHeldFor  = Gauge{"queue_oldest_held_message_seconds", "How long the message has been held that is held longest; 0 if none is.", "", ""}
	SpoolBytes    = Gauge{"spool_bytes", "Octets of the entries in the spool.", "", ""}
	SpoolFree     = Gauge{"spool_free_bytes", "Octets free on the spool's volume.", "", ""}
	HistoryBytes  = Gauge{"history_bytes", "Octets of the history's file.", "", ""}
	HistoryOK     = Gauge{"history_working", "1 if the history is written, or is not to be kept.", "", ""}
)

// Sum adds up a counter over those of its series whose label has one of the
// values; no label: over all.
func Sum(v *prometheus.CounterVec, label string, values ...string) (sum float64) {
	found := make(chan prometheus.Metric)
	go func() { defer close(found); v.Collect(found) }()
	for m := range found {
		var d dto.Metric
		if m.Write(&d) != nil {
			continue // no metric of ours is like that
		}
		wanted := label == ""
		for _, l := range d.GetLabel() {
			wanted = wanted || l.GetName() == label && slices.Contains(values, l.GetValue())
		}
		if wanted {
			sum += d.GetCounter().GetValue()
		}
	}
	return sum
}
