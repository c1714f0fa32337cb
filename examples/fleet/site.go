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
	"github.com/authagent-go/authagent/limits"
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
	owners.InTransaction = []string{"payouts:create"}
	owners.Notify = tellOwner
	owners.Path = agentsPath

	config := settings.agents
	accounts := &users{Links: stores.sql.Links(), db: stores.db}
	config.Scenario = authagent.ContextualProfile(accounts, stores.sql.Profiles(), owners)
	config.Human = humans.human
	config.SignInPath = signInPath
	config.Audit = stores.sql.Audit
	config.Journal = stores.sql.Journal() // what agents change is on record before it is done
	config.Tokens.ConfirmEvery = settings.confirmEvery
	config.Paths.Discovery = "/auth.md"
	config.ClientAddr = clientAddr(settings.proxies)
	config.Limits = limits.Settings{
		Agent:   limits.Rate{N: 1800, Per: time.Minute},
		Owner:   limits.Rate{N: 3600, Per: time.Minute},
		Actions: map[string]limits.Rate{"orders:create": {N: 180, Per: time.Minute}, "payouts:create": {N: 90, Per: time.Minute}},
	}
	stores.share(&config)
	rp, err := authagent.New(config)
	if err != nil {
		return nil, err
	}
	s := &site{rp: rp, owners: owners}
	s.handler = http.NewCrossOriginProtection().Handler(s.routes(&shop{stores.db, stores.sql.Grants()}, humans))
	return s, nil
}

func (s *site) routes(shop *shop, humans *people) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/agent/login", s.rp.LoginHandler())
	mux.Handle("/auth/agent/callback", s.rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", s.rp.LogoutHandler())
	mux.Handle("/auth.md", s.rp.DiscoveryHandler())
	mux.Handle("/agents.css", s.rp.DiscoveryHandler())
	mux.Handle(agentsPath, grants.Handler(s.owners, s.rp))

	read := s.rp.RequireAccess(authagent.AccessRead)
	agents := func(h http.Handler) http.Handler { return read(s.rp.RequireAgent(h)) } // people have nothing to do here
	mux.Handle("GET /me", agents(http.HandlerFunc(me)))
	mux.Handle("GET /orders", agents(http.HandlerFunc(shop.orders)))
	mux.Handle("POST /orders", s.rp.RequireAction("orders:create")(agents(http.HandlerFunc(shop.order))))
	mux.Handle("POST /payouts", s.rp.RequireApproval("payouts:create", s.owners)(agents(http.HandlerFunc(shop.payout))))

	mux.Handle("GET "+signInPath, s.rp.ForbidAgents(http.HandlerFunc(s.signInPage)))
	mux.Handle("POST "+signInPath, s.rp.ForbidAgents(humans.signIn(s.returnTo)))
	mux.HandleFunc("GET /{$}", s.home)
	return mux
}

const (
	signInPath = "/sign-in"
	agentsPath = "/account/agents/"
)

var pages = template.Must(template.New("pages").Parse(`
{{define "home"}}<!doctype html><title>Fleet</title><link rel="stylesheet" href="/agents.css">
<h1>Fleet</h1>
<p>{{.Button}}</p><p><a href="/account/agents/">Your agents</a></p>
{{end}}
{{define "sign-in"}}<!doctype html><title>Sign in · Fleet</title><link rel="stylesheet" href="/agents.css">
<h1>Sign in to Fleet</h1>
<form method="post" action="/sign-in?return_to={{.ReturnTo}}"><label>Code <input name="code" required></label> <button>Sign in</button></form>
<p>You are an agent? {{.Button}}</p>
{{end}}
`))

func (s *site) home(w http.ResponseWriter, _ *http.Request) {
	show(w, "home", map[string]any{"Button": s.rp.Button("/orders")})
}

// signInPage is where people sign in, and agents find their button.
func (s *site) signInPage(w http.ResponseWriter, r *http.Request) {
	show(w, "sign-in", map[string]any{"Button": s.rp.Button(s.rp.ReturnTo(r)), "ReturnTo": s.returnTo(r)})
}

// returnTo is the page that a person came from who signs in, if it is one of this site.
func (s *site) returnTo(r *http.Request) string {
	if r.URL.Query().Has("return_to") {
		return s.rp.ReturnTo(r)
	}
	return agentsPath
}

func show(w http.ResponseWriter, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pages.ExecuteTemplate(w, page, data) // an error means that the client has gone
}

// tellOwner stands for the mail that your site sends.
func tellOwner(_ context.Context, n grants.Notice) {
	slog.Info("mail to owner", "user", n.UserID, "subject", n.Subject, "text", n.Text)
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
