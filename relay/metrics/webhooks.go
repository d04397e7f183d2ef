package metrics

import "github.com/prometheus/client_golang/prometheus"

// Webhook is what is measured of one webhook when it is scraped.
type Webhook struct {
	Name    string
	Waiting int
	Working bool
}

// Webhooks registers gauges of each webhook that sample names when it is scraped;
// sample must not block. A webhook is named by the manifests.
func Webhooks(r prometheus.Registerer, relay string, sample func() []Webhook) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "webhook", name), help, []string{"webhook"}, nil)
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r).MustRegister(&webhooks{
		sample:  sample,
		waiting: desc("waiting_events", "Events that wait to be told to a webhook."),
		working: desc("working", "1 if the webhook took what it was told last, or was told nothing yet; 0 if it cannot be told, or wants no more."),
	})
}

type webhooks struct {
	sample           func() []Webhook
	waiting, working *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (w *webhooks) Describe(ch chan<- *prometheus.Desc) {
	ch <- w.waiting
	ch <- w.working
}

// Collect implements prometheus.Collector.
func (w *webhooks) Collect(ch chan<- prometheus.Metric) {
	for _, x := range w.sample() {
		ch <- prometheus.MustNewConstMetric(w.waiting, prometheus.GaugeValue, float64(x.Waiting), x.Name)
		ch <- prometheus.MustNewConstMetric(w.working, prometheus.GaugeValue, truth(x.Working), x.Name)
	}
}
