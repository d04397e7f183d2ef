package metrics

import "github.com/prometheus/client_golang/prometheus"

// Copiers is how many devices of one kind are known when that is scraped.
type Copiers struct {
	TLS     string // "none", "1.0" to "1.3"
	Auth    string // "none", or a mechanism that the relay takes
	Refused bool   // what happened last was that it was refused
	Devices int
}

// Inventory registers gauges of the devices that were seen; sample must not block
// for long.
func Inventory(r prometheus.Registerer, relay string, sample func() (known []Copiers, strangers int)) {
	prometheus.WrapRegistererWith(prometheus.Labels{"relay": relay}, r).MustRegister(&copiers{
		sample:    sample,
		devices:   prometheus.NewDesc(namespace+"_copiers", "Devices of the last 90 days that sent something, logged in, or are in a network that a rule names, by the TLS of their last connection and their last login.", []string{"tls", "authentication"}, nil),
		refused:   prometheus.NewDesc(namespace+"_copiers_refused", "Those among them whose last attempt was refused.", nil, nil),
		strangers: prometheus.NewDesc(namespace+"_copiers_strangers", "Devices that connected and are none of those.", nil, nil),
	})
}

type copiers struct {
	sample                      func() ([]Copiers, int)
	devices, refused, strangers *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *copiers) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.devices
	ch <- c.refused
	ch <- c.strangers
}

// Collect implements prometheus.Collector.
func (c *copiers) Collect(ch chan<- prometheus.Metric) {
	known, strangers := c.sample()
	refused := 0
	devices := map[[2]string]int{}
	for _, k := range known {
		devices[[2]string{k.TLS, k.Auth}] += k.Devices
		if k.Refused {
			refused += k.Devices
		}
	}
	for labels, n := range devices {
		ch <- prometheus.MustNewConstMetric(c.devices, prometheus.GaugeValue, float64(n), labels[0], labels[1])
	}
	ch <- prometheus.MustNewConstMetric(c.refused, prometheus.GaugeValue, float64(refused))
	ch <- prometheus.MustNewConstMetric(c.strangers, prometheus.GaugeValue, float64(strangers))
}
