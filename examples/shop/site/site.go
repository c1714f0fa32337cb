// Package site is the shop: its pages, its humans, and the agents that they let
// in. agents.go has all that is about agents but the routes below.
package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// Config holds the settings of a Site.
type Config struct {
	URL         string       // where browsers reach it, such as "https://shop.example"
	Issuer      string       // the Auth Agent server
	ClientID    string       // what the server knows the shop by
	Secret      string       // and proves itself with
	SessionKeys [][]byte     // see authagent.Config
	DB          *database.DB // what is in it outlives the site
	Mail        func(Mail)   // sends a mail; it is called concurrently
	Logger      *slog.Logger // nil means slog.Default()
}

// A Mail is one to a user.
type Mail struct{ To, Subject, Text, HTML string } // HTML may be empty

// A Site is a shop. It is safe for concurrent use.
type Site struct {
	config    Config
	db        *database.DB
	logger    *slog.Logger
	humans    *scs.SessionManager // sessions of humans; those of agents are authagent's
	passwords hasher
	store     *sqlstore.Store // what is known about agents
	owners    *grants.Policy  // what owners let agents do
	rp        *authagent.RelyingParty
	handler   http.Handler
}

// New returns a Site, and makes the tables that it needs.
func New(ctx context.Context, c Config) (*Site, error) {
	s := &Site{config: c, db: c.DB, logger: c.Logger, passwords: newHasher()}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.humans = scs.New()
	s.humans.Store = database.Sessions{DB: c.DB}
	s.humans.Lifetime = 7 * 24 * time.Hour
	s.humans.IdleTimeout = 24 * time.Hour
	s.humans.Cookie.Name = "shop_session"
	if s.humans.Cookie.Secure = strings.HasPrefix(c.URL, "https:"); s.humans.Cookie.Secure {
		s.humans.Cookie.Name = "__Host-shop_session" // which no neighbouring host can set
	}
	s.humans.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil { // the client is still there
			s.fail(w, r, fmt.Errorf("human's session: %w", err))
		}
	}
	if err := s.admitAgents(ctx); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// ServeHTTP serves the shop.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// routes is who may do what.
func (s *Site) routes() http.Handler {
	mux := http.NewServeMux()
	s.mountAgents(mux)
	mux.HandleFunc("GET /style.css", serveFile("style.css"))
	mux.HandleFunc("GET /icon.svg", serveFile("icon.svg"))

	// For everybody. Attach puts the agent, if it is one, into the context.
	everybody := func(h handlerFunc) http.Handler { return s.rp.Attach(s.page(h)) }
	mux.Handle("GET /{$}", everybody(s.showCatalogue))
	mux.Handle("GET /sign-in", everybody(s.showSignIn))

	// For whoever is signed in, and for agents that act for them. Agents that may
	// only read are held to GET; what changes something has a name, by which
	// owners can allow it.
	read := s.rp.RequireAccess(authagent.AccessRead)
	member := func(h handlerFunc) http.Handler { return read(s.page(h)) }
	action := func(name string, h handlerFunc) http.Handler { return s.rp.RequireAction(name)(member(h)) }
	mux.Handle("GET /cart", member(s.showCart))
	mux.Handle("POST /cart", action(changeCart, s.addToCart))
	mux.Handle("POST /cart/remove", action(changeCart, s.removeFromCart))
	mux.Handle("GET /orders", member(s.listOrders))
	mux.Handle("POST /orders", action(createOrders, s.placeOrder))
	mux.Handle("GET /orders/{id}", member(s.showOrder))
	mux.Handle("POST /orders/{id}/cancel", action(cancelOrders, s.cancelOrder))
	mux.Handle("GET /account", member(s.showAccount))

	// Money that leaves the shop: an agent's owner is asked each time, or allows an amount.
	mux.Handle("GET /orders/{id}/refund", member(s.showRefund))
	mux.Handle("POST /orders/{id}/refund", s.rp.RequireApproval(payRefunds, s.owners)(member(s.payRefund)))

	// For humans alone: whoever comes here as an agent is refused, whatever its
	// access, and in a browser where a human is signed in as well.
	stranger := func(h handlerFunc) http.Handler { return s.rp.ForbidAgents(s.page(h)) }
	mux.Handle("POST /sign-in", stranger(s.signIn))
	mux.Handle("POST /sign-out", stranger(s.signOut))
	mux.Handle("GET /register", stranger(s.showRegister))
	mux.Handle("POST /register", stranger(s.register))
	mux.Handle("GET /confirm", stranger(s.showConfirm))
	mux.Handle("POST /confirm", stranger(s.confirm))
	human := func(h handlerFunc) http.Handler { return s.rp.RequireHuman(s.page(h)) }
	mux.Handle("GET /account/activity", human(s.showActivity))
	mux.Handle("GET /account/password", human(s.showPassword))
	mux.Handle("POST /account/password", human(s.changePassword))
	mux.Handle("GET /account/locale", human(s.showLocale))
	mux.Handle("POST /account/locale", human(s.changeLocale))
	mux.Handle("GET /account/email", human(s.showEmail))
	mux.Handle("POST /account/email", human(s.changeEmail))
	mux.Handle("GET /account/delete", human(s.showDelete))
	mux.Handle("POST /account/delete", human(s.deleteAccount))
	mux.Handle("/", everybody(func(http.ResponseWriter, *http.Request) error { return database.ErrNotFound }))

	return secure(s.humans.LoadAndSave(limitBody(http.NewCrossOriginProtection().Handler(mux))))
}

// Run deletes what has expired, now and then, until ctx is done.
func (s *Site) Run(ctx context.Context) {
	for {
		_, err := s.store.DeleteExpired(ctx, 0)
		if err = errors.Join(err, s.db.DeleteExpired(ctx)); err != nil && ctx.Err() == nil {
			s.logger.Error("shop: delete what has expired", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Minute):
		}
	}
}

// Close waits for what is under way in the background. It is called after the
// HTTP server has shut down.
func (s *Site) Close(ctx context.Context) error {
	s.owners.Wait()
	return s.rp.Shutdown(ctx)
}
