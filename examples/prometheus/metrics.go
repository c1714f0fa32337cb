// Package prometheus shows authagent's numbers in Prometheus: a metrics.Recorder for
// authagent.Config.Metrics. It is an example: copy it into your site.
//
//	registry := prometheus.NewRegistry()
//	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//	config.Metrics = NewRecorder(registry)
package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authagent-go/authagent/metrics"
)

// A Recorder is a metrics.Recorder. Several relying parties can share one.
type Recorder map[metrics.Name]func(value float64, labels []string)

// NewRecorder returns a Recorder whose metrics are all registered. It panics if one is registered already.
func NewRecorder(to prometheus.Registerer) Recorder {
	r := make(Recorder)
	for _, m := range metrics.All() {
		record, collector := recordTo(m)
		to.MustRegister(collector)
		r[m.Name] = record
		for _, labels := range m.Series { // an alert sees the first of something only if there was a zero before it
			record(0, labels[:len(m.Labels)])
		}
	}
	return r
}

func recordTo(m metrics.Metric) (record func(float64, []string), _ prometheus.Collector) {
	switch m.Kind {
	case metrics.Histogram:
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: string(m.Name), Help: m.Help, Buckets: m.Buckets}, m.Labels)
		return func(value float64, labels []string) { h.WithLabelValues(labels...).Observe(value) }, h
	case metrics.Gauge:
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: string(m.Name), Help: m.Help}, m.Labels)
		return func(value float64, labels []string) { g.WithLabelValues(labels...).Add(value) }, g
	}
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: string(m.Name), Help: m.Help}, m.Labels)
	return func(value float64, labels []string) { c.WithLabelValues(labels...).Add(value) }, c
}

// Record implements metrics.Recorder.
func (r Recorder) Record(name metrics.Name, value float64, labels metrics.Labels) {
	record := r[name]
	if record == nil { // of a later version
		return
	}
	if labels[1] == "" {
		record(value, labels[:1])
		return
	}
	record(value, labels[:])
}
