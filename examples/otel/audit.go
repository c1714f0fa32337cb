package otel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/authagent-go/authagent/audit"
)

// Audit returns the function for authagent.Config.Audit: it counts events as
// authagent.events, refusals by their Count, and passes them on to next, which may be
// nil. The attributes have few values each; who it was is in the
// audit trail.
func Audit(metrics metric.MeterProvider, next func(context.Context, audit.Event)) (func(context.Context, audit.Event), error) {
	events, err := metrics.Meter("authagent").Int64Counter("authagent.events",
		metric.WithDescription("What agents did, or were refused."), metric.WithUnit("{event}"))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e audit.Event) {
		attributes := []attribute.KeyValue{attribute.String("event", string(e.Name)), attribute.String("outcome", e.Outcome)}
		if e.Reason != "" {
			attributes = append(attributes, attribute.String("reason", string(e.Reason)))
		}
		if e.Action != "" {
			attributes = append(attributes, attribute.String("action", e.Action))
		}
		events.Add(ctx, int64(e.Count), metric.WithAttributes(attributes...))
		if next != nil {
			next(ctx, e)
		}
	}, nil
}
