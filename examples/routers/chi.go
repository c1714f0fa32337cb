package routers

import (
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/authagent-go/authagent"
)

// Chi mounts everything as it is: chi's handlers and middlewares are net/http's.
func Chi(rp *authagent.RelyingParty, orders Orders) http.Handler {
	r := chi.NewRouter()
	r.Handle("/auth/agent/login", rp.LoginHandler())
	r.Handle("/auth/agent/callback", rp.CallbackHandler())
	r.Handle("/auth/agent/logout", rp.LogoutHandler())

	read := rp.RequireAccess(authagent.AccessRead)
	r.With(read).Get("/orders", orders.List)
	r.With(rp.RequireAction("orders:create"), read).Post("/orders", orders.Place) // RequireAction is the outer one
	r.With(read).Get("/me", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, whoActs(r.Context())) })
	return r
}
