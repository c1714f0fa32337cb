package clientkey

import (
	"net/http"
	"strconv"

	"github.com/authagent-go/authagent/internal/answer"
)

// Handler serves the JWK Set of the public keys. taken returns the algorithms that the server
// lists, and whether it was asked yet; it does not wait for the server, which may be waiting
// for this answer.
//
// The type is application/json, and not application/jwk-set+json (RFC 7517 section 8.5): that
// is what nearly all servers send for their own keys, and so what each reader of keys takes.
// A copy is kept for an hour at most, so that a new key is known everywhere by then.
func (keys Keys) Handler(taken func() (algorithms []string, known bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if !answer.Allow(w, r, http.MethodGet, http.MethodHead) {
			http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
			return
		}
		body := keys.Set(taken())
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // an error means that the client has gone
	})
}
