package metrics

import (
	"strings"

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
}

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
	})
}

type upstreams struct {
	sample                                        func() []Upstream
	circuit, suspended, waiting, deferred, active *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (u *upstreams) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{u.circuit, u.suspended, u.waiting, u.deferred, u.active} {
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
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
