package otel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/authagent-go/authagent/metrics"
)

// A Recorder passes authagent's numbers on to OpenTelemetry: it is a metrics.Recorder, for
// authagent.Config.Metrics. Several relying parties can share one.
type Recorder map[metrics.Name]func(value float64, labels metrics.Labels)

// NewRecorder returns a Recorder whose instruments have the names that metrics.All has.
func NewRecorder(provider metric.MeterProvider) (Recorder, error) {
	r, meter := make(Recorder), provider.Meter("github.com/authagent-go/authagent")
	for _, m := range metrics.All() {
		record, err := recordTo(meter, m)
		if err != nil {
			return nil, fmt.Errorf("make instrument %s: %w", m.Name, err)
		}
		r[m.Name] = record
		for _, labels := range m.Series { // an alert sees the first of something only if there was a zero before it
			record(0, labels)
		}
	}
	return r, nil
}

func recordTo(meter metric.Meter, m metrics.Metric) (func(float64, metrics.Labels), error) {
	attributes := func(labels metrics.Labels) metric.MeasurementOption {
		all := make([]attribute.KeyValue, len(m.Labels))
		for i, name := range m.Labels {
			all[i] = attribute.String(name, labels[i])
		}
		return metric.WithAttributes(all...)
	}
	name, help := string(m.Name), metric.WithDescription(m.Help)
	switch m.Kind {
	case metrics.Histogram:
		h, err := meter.Float64Histogram(name, help, metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(m.Buckets...))
		return func(value float64, labels metrics.Labels) { h.Record(context.Background(), value, attributes(labels)) }, err
	case metrics.Gauge:
		g, err := meter.Float64UpDownCounter(name, help)
		return func(value float64, labels metrics.Labels) { g.Add(context.Background(), value, attributes(labels)) }, err
	}
	c, err := meter.Float64Counter(name, help)
	return func(value float64, labels metrics.Labels) { c.Add(context.Background(), value, attributes(labels)) }, err
}

// Record implements metrics.Recorder.
func (r Recorder) Record(name metrics.Name, value float64, labels metrics.Labels) {
	if record := r[name]; record != nil { // there is none for what a later version has
		record(value, labels)
	}
}
