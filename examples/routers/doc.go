// Package routers shows authagent behind routers that are not net/http's, and over
// sessions that a site has already. Each file is one of them, to be copied:
// chi.go, gin.go, echo.go, scs.go.
package routers

import (
	"context"
	"net/http"

	"github.com/authagent-go/authagent"
)

// Orders is what the site does: handlers of net/http, which each router takes. Where
// an agent is let through, authagent.FromContext says which.
type Orders interface {
	List(http.ResponseWriter, *http.Request)
	Place(http.ResponseWriter, *http.Request)
}

// whoActs is for handlers in a router's own style. They pass on the request's context. gin's own
// context does not have what a guard has found out, unless the engine has ContextWithFallback.
func whoActs(ctx context.Context) string {
	if s, ok := authagent.FromContext(ctx); ok {
		return "agent " + s.Agent.ID
	}
	person, _ := authagent.HumanFromContext(ctx)
	return "person " + person
}
