package otel

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/authagent-go/authagent"
)

// Annotate writes who acts onto the span of a request, which a middleware such as
// otelhttp.NewHandler has begun. It goes inside of authagent's middlewares.
func Annotate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := authagent.FromContext(r.Context()); ok {
			trace.SpanFromContext(r.Context()).SetAttributes(
				attribute.String("authagent.agent", s.Agent.ID),
				attribute.String("authagent.user", s.UserID),
				attribute.String("authagent.access", s.Access.String()),
				attribute.String("authagent.session", s.ID), // names the session, and opens nothing
			)
		}
		next.ServeHTTP(w, r)
	})
}
