// Package otel shows OpenTelemetry through the seams of authagent: spans of the
// requests to the authorization server (Client, for Config.Provider.HTTPClient), its
// numbers (Recorder, for Config.Metrics), and who acts on the spans of the site's
// own requests (Annotate). authagent itself knows nothing of it.
package otel

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Client returns the client for authagent.Config.Provider.HTTPClient: each request to the
// authorization server is a span, of the sign-in that it belongs to. What is secret
// is in bodies and in the header Authorization, neither of which is recorded.
func Client(traces trace.TracerProvider, metrics metric.MeterProvider) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64 // all requests go to one host
	return &http.Client{Transport: otelhttp.NewTransport(transport,
		otelhttp.WithTracerProvider(traces), otelhttp.WithMeterProvider(metrics),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Path }),
	)}
}
