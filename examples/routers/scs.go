package routers

import (
	"encoding/json"
	"net/http"

	"github.com/alexedwards/scs/v2"

	"github.com/authagent-go/authagent"
)

// SCS keeps the sessions of agents in those that a site has with scs already: it
// is an authagent.Sessions, for authagent.Config.Session.Own. The site's own
// LoadAndSave has to be around everything, and its idle timeout counts.
//
// An agent and a human then share one session. That ends the human's in a browser
// in which an agent signs in, and the agent's when it ends.
type SCS struct{ Manager *scs.SessionManager }

const scsKey = "authagent"

// Start makes s the client's session, with a new token, and forgets all that was
// in the old one.
func (m SCS) Start(_ http.ResponseWriter, r *http.Request, s *authagent.Session) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := m.Manager.Clear(r.Context()); err != nil {
		return err
	}
	if err := m.Manager.RenewToken(r.Context()); err != nil {
		return err
	}
	m.Manager.Put(r.Context(), scsKey, value)
	return nil
}

// Load returns the client's session, authagent.ErrNoSession if there is none, or
// authagent.ErrSessionEnded if what is there cannot be read: then the browser is
// nobody's until somebody signs out, or the cookie's Max-Age is over. When scs itself
// ends the session, by its own timeouts, it ends the human's with it.
func (m SCS) Load(_ http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	value := m.Manager.GetBytes(r.Context(), scsKey)
	if value == nil {
		return nil, authagent.ErrNoSession
	}
	var s authagent.Session
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, authagent.ErrSessionEnded
	}
	return &s, nil
}

// End ends the client's session.
func (m SCS) End(_ http.ResponseWriter, r *http.Request) error {
	if !m.Manager.Exists(r.Context(), scsKey) {
		return nil // it is a human's
	}
	return m.Manager.Destroy(r.Context())
}

// WithSCS is net/http's own router, with the site's sessions around it. The
// relying party's Config.Session.Own is SCS{manager}.
func WithSCS(rp *authagent.RelyingParty, orders Orders, manager *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())

	read := rp.RequireAccess(authagent.AccessRead)
	mux.Handle("GET /orders", read(http.HandlerFunc(orders.List)))
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(read(http.HandlerFunc(orders.Place))))
	return manager.LoadAndSave(mux)
}
