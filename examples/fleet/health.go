package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/authagent-go/authagent"
)

// health is what whoever runs the site asks an instance, at an address that
// nobody else reaches.
type health struct {
	stores   *stores
	rp       *authagent.RelyingParty
	stopping atomic.Bool
}

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(http.ResponseWriter, *http.Request) {}) // whoever answers lives
	mux.HandleFunc("GET /ready", h.ready)
	mux.HandleFunc("GET /agents", h.agents)
	return mux
}

// ready is for the proxy. It does not ask the Auth Agent server: the site serves
// without it all who are signed in already.
func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	if h.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	if err := h.stores.check(r.Context()); err != nil {
		slog.Error("not ready", "err", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// agents says what keeps agents from signing in. It asks the server, so it is
// for people and deployments, not for a probe.
func (h *health) agents(w http.ResponseWriter, r *http.Request) {
	status, findings := http.StatusOK, h.rp.Check(r.Context())
	for _, f := range findings {
		if f.Severity >= slog.LevelError {
			status = http.StatusServiceUnavailable
		}
	}
	writeJSON(w, status, findings)
}
