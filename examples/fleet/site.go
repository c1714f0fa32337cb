package main

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// site is one instance.
type site struct {
	rp      *authagent.RelyingParty
	owners  *grants.Policy
	handler http.Handler
}

// newSite puts the site together. All that it keeps is in the stores.
func newSite(settings settings, stores *stores) (*site, error) {
	humans := &people{db: stores.db, secure: !strings.HasPrefix(settings.agents.RedirectURL, "http://")}

	owners := grants.OwnerApproval(stores.sql.Grants())
	owners.Actions = map[string]string{"orders:create": "Place orders"}
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	owners.Notify = tellOwner

	config := settings.agents
	stores.share(&config)
	accounts := &users{Links: stores.sql.Links(), db: stores.db}
	config.Scenario = authagent.ContextualProfile(accounts, stores.sql.Profiles(), owners)
	config.Human = humans.human
	config.Audit = stores.sql.Audit
	config.Tokens.ConfirmEvery = settings.confirmEvery
	config.Paths.Discovery = "/auth.md"
	config.ClientAddr = clientAddr(settings.proxies)
	config.Limits = authagent.Limits{ // each instance counts for itself
		Agent:   authagent.Rate{N: 600, Per: time.Minute},
		Owner:   authagent.Rate{N: 1200, Per: time.Minute},
		Actions: map[string]authagent.Rate{"orders:create": {N: 60, Per: time.Minute}, "payouts:create": {N: 30, Per: time.Minute}},
	}
	rp, err := authagent.New(config)
	if err != nil {
		return nil, err
	}
	s := &site{rp: rp, owners: owners}
	s.handler = http.NewCrossOriginProtection().Handler(s.routes(&shop{stores.db}, humans))
	return s, nil
}

func (s *site) routes(shop *shop, humans *people) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/agent/login", s.rp.LoginHandler())
	mux.Handle("/auth/agent/callback", s.rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", s.rp.LogoutHandler())
	mux.Handle("/auth.md", s.rp.DiscoveryHandler())
	mux.Handle("/agents.css", s.rp.DiscoveryHandler())
	mux.Handle("/account/agents/", grants.Handler(s.owners, s.rp))

	read := s.rp.RequireAccess(authagent.AccessRead)
	agents := func(h http.Handler) http.Handler { return read(s.rp.RequireAgent(h)) } // people have nothing to do here
	mux.Handle("GET /me", agents(http.HandlerFunc(me)))
	mux.Handle("GET /orders", agents(http.HandlerFunc(shop.orders)))
	mux.Handle("POST /orders", s.rp.RequireAction("orders:create")(agents(http.HandlerFunc(shop.order))))
	mux.Handle("POST /payouts", s.rp.RequireApproval("payouts:create", s.owners)(agents(http.HandlerFunc(shop.payout))))

	mux.Handle("GET /sign-in", s.rp.ForbidAgents(http.HandlerFunc(humans.page)))
	mux.Handle("POST /sign-in", s.rp.ForbidAgents(http.HandlerFunc(humans.signIn)))
	mux.HandleFunc("GET /{$}", s.home)
	return mux
}

var homePage = template.Must(template.New("home").Parse(`<!doctype html><title>Fleet</title><link rel="stylesheet" href="/agents.css">
<p>{{.Button}}</p><p><a href="/account/agents/">Your agents</a> (<a href="/sign-in">sign in</a> first)</p>
`))

func (s *site) home(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = homePage.Execute(w, map[string]any{"Button": s.rp.Button("/orders")})
}

// tellOwner stands for the mail that your site sends.
func tellOwner(_ context.Context, n grants.Notice) {
	slog.Info("mail to owner", "user", n.UserID, "text", n.Text(), "path", n.Path)
}

// wait waits for what requests have left in the background for owners.
func (s *site) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.owners.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for what owners are to be told: %w", ctx.Err())
	}
}
