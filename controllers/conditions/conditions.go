// Package conditions puts the conditions of the kinds among the operator's
// metrics, so that an alert can be made of what a status says. Its labels are
// what manifests name and fixed words. It imports api, the Prometheus client and
// apimachinery only.
package conditions

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Metric is the gauge's name.
const Metric = "printer_relay_operator_condition"

// shown are the conditions to be alarmed by; the others say why, in the status.
var shown = []string{v1alpha1.ConditionReady, v1alpha1.ConditionCredentialsValid, v1alpha1.ConditionDNSReady}

// Object is what a status says of one object.
type Object struct {
	Kind, Namespace, Name string
	Conditions            []metav1.Condition
}

type collector struct {
	list func() ([]Object, error)
	desc *prometheus.Desc
}

// New returns a collector of what list gives when metrics are scraped; a list
// that fails is an error of the scrape.
func New(list func() ([]Object, error)) prometheus.Collector {
	return &collector{list, prometheus.NewDesc(Metric,
		"1 if the condition of the object (namespace/name) is True, 0 if it is False; absent if it is Unknown.",
		[]string{"kind", "object", "condition"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	objects, err := c.list()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for _, o := range objects {
		for _, cond := range o.Conditions {
			if cond.Status == metav1.ConditionUnknown || !slices.Contains(shown, cond.Type) {
				continue
			}
			v := 0.0
			if cond.Status == metav1.ConditionTrue {
				v = 1
			}
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, v, o.Kind, o.Namespace+"/"+o.Name, cond.Type)
		}
	}
}
