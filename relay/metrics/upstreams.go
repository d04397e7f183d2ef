package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Upstream is what is measured of one upstream when it is scraped.
type Upstream struct {
	Name      string
	Circuit   string // one of circuits, in any case
	Suspended bool
	Waiting   int // messages whose turn has not come
	Deferred  int // messages that wait for another try
	Active    int // attempts that run

	// Of the last preflight check; without one they are not measured.
	Checked                time.Time
	Reachable, Credentials Tristate
	Expires                time.Time // of the credential; zero: not measured
	SendRate               float64   // 0: not measured
	DailyLimit, DailyUsed  int64     // a limit of 0: not measured
}

// Tristate is something that may not be known, and is not measured then.
type Tristate uint8

// The values of a Tristate.
const (
	NotKnown Tristate = iota
	True
	False
)

// circuits are the states of a circuit breaker.
var circuits = []string{"closed", "halfopen", "open"}

// Upstreams registers gauges of each upstream that sample names when it is
// scraped; sample must not block. An upstream that the plan no longer names
// goes from the metrics with it.
func Upstreams(r prometheus.Registerer, relay string, sample func() []Upstream) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "upstream", name), help, append([]string{"upstream"}, labels...), nil)
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r).MustRegister(&upstreams{
		sample:    sample,
		circuit:   desc("circuit_state", "1 for the state that the upstream's circuit breaker is in, else 0.", "state"),
		suspended: desc("suspended", "1 if the manifests suspend the upstream."),
		waiting:   desc("waiting_messages", "Messages that are due by the upstream and wait for their turn."),
		deferred:  desc("deferred_messages", "Messages that wait for another try by the upstream."),
		active:    desc("active_attempts", "Delivery attempts that run."),

		checked:     desc("last_check_timestamp_seconds", "Unix time of the last preflight check of the upstream."),
		reachable:   desc("reachable", "1 if the last preflight check reached the upstream, 0 if it could not; absent if nobody can tell."),
		credentials: desc("credentials_valid", "1 if the upstream took the credential, 0 if it refused it; absent if nobody can tell."),
		expires:     desc("credential_expiry_timestamp_seconds", "Unix time at which the upstream's credential ends, where that is known."),
		sendRate:    desc("send_rate_limit", "Messages a second that the provider takes, where it tells."),
		dailyLimit:  desc("daily_quota_recipients", "Recipients in 24 hours that the provider allows, where it tells."),
		dailyUsed:   desc("daily_quota_used_recipients", "Recipients of the last 24 hours that the provider counted at the last check."),
	})
}

type upstreams struct {
	sample                                        func() []Upstream
	circuit, suspended, waiting, deferred, active *prometheus.Desc

	checked, reachable, credentials, expires, sendRate, dailyLimit, dailyUsed *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (u *upstreams) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		u.circuit, u.suspended, u.waiting, u.deferred, u.active,
		u.checked, u.reachable, u.credentials, u.expires, u.sendRate, u.dailyLimit, u.dailyUsed,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u *upstreams) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range u.sample() {
		for _, state := range circuits {
			gauge(u.circuit, truth(strings.EqualFold(s.Circuit, state)), s.Name, state)
		}
		gauge(u.suspended, truth(s.Suspended), s.Name)
		gauge(u.waiting, float64(s.Waiting), s.Name)
		gauge(u.deferred, float64(s.Deferred), s.Name)
		gauge(u.active, float64(s.Active), s.Name)
		u.health(&s, gauge)
	}
}

// health gives what the last check found, as far as it did.
func (u *upstreams) health(s *Upstream, gauge func(*prometheus.Desc, float64, ...string)) {
	if s.Checked.IsZero() {
		return
	}
	for _, m := range []struct {
		known bool
		d     *prometheus.Desc
		v     float64
	}{
		{true, u.checked, float64(s.Checked.Unix())},
		{s.Reachable != NotKnown, u.reachable, truth(s.Reachable == True)},
		{s.Credentials != NotKnown, u.credentials, truth(s.Credentials == True)},
		{!s.Expires.IsZero(), u.expires, float64(s.Expires.Unix())},
		{s.SendRate > 0, u.sendRate, s.SendRate},
		{s.DailyLimit > 0, u.dailyLimit, float64(s.DailyLimit)},
		{s.DailyLimit > 0, u.dailyUsed, float64(s.DailyUsed)},
	} {
		if m.known {
			gauge(m.d, m.v, s.Name)
		}
	}
}

// Holds registers a gauge of each hold that sample names when it is scraped; sample
// must not block. A hold is named by the manifests.
func Holds(r prometheus.Registerer, relay string, sample func() map[string]int) {
	prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r).MustRegister(&holds{
		sample: sample,
		held:   prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "held_messages"), "Messages that a hold of the manifests keeps until they are released.", []string{"hold"}, nil),
	})
}

type holds struct {
	sample func() map[string]int
	held   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (h *holds) Describe(ch chan<- *prometheus.Desc) { ch <- h.held }

// Collect implements prometheus.Collector.
func (h *holds) Collect(ch chan<- prometheus.Metric) {
	for name, n := range h.sample() {
		ch <- prometheus.MustNewConstMetric(h.held, prometheus.GaugeValue, float64(n), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
