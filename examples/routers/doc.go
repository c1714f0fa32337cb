// Package routers shows authagent behind routers that are not net/http's, and over
// sessions that a site has already. Each file is one of them, to be copied:
// chi.go, gin.go, echo.go, scs.go.
package routers

import "net/http"

// Orders is what the site does: handlers of net/http, which each router takes. Where
// an agent is let through, authagent.FromContext says which.
type Orders interface {
	List(http.ResponseWriter, *http.Request)
	Place(http.ResponseWriter, *http.Request)
}
