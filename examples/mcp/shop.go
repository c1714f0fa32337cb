package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

const (
	callbackPath = "/auth/agent/callback"
	signInPath   = "/sign-in"
	agentsPath   = "/account/agents/" // where Alice sees and decides about her agents
	mcpPath      = "/mcp"
	placeOrders  = "orders:create"  // an action that she can allow by name
	payMoney     = "payouts:create" // one that she is asked about each time
	humanCookie  = "mcp-shop-human"
	aliceSubject = "user_a" // what the authorization server calls Alice
)

// resource names the API and the MCP server, for the authorization server. It is an
// address above both that ends in a slash, so one access token is good for both.
func resource(url string) string { return url + "/" }

// credentials are what an authorization server knows a client by.
type credentials struct{ issuer, clientID, clientSecret string }

// A shop is a site whose customers have orders and a balance.
type shop struct {
	url      string
	users    *memstore.SubjectUsers // in a real site, the table of users that it has
	owners   *grants.Policy         // what owners let agents do
	rp       *authagent.RelyingParty
	aliceID  string
	signedIn string // the value of Alice's cookie

	mu       sync.Mutex
	accounts map[string]*account // by user ID
}

// An account is what belongs to one user.
type account struct {
	Orders  []string `json:"orders"`
	Balance int64    `json:"balance" jsonschema:"in cents"`
}

// newShop returns the shop that is reached at url, with Alice and her orders.
func newShop(url string, client credentials) (*shop, error) {
	s := &shop{url: url, users: &memstore.SubjectUsers{}, owners: grants.OwnerApproval(&memstore.Grants{}), signedIn: rand.Text()}
	s.aliceID = s.users.Add("alice@example.com", "Alice")
	s.users.AddSubject(client.issuer, aliceSubject, s.aliceID)
	s.accounts = map[string]*account{s.aliceID: {Orders: []string{"Coffee beans", "Teapot"}, Balance: 5000}}
	s.owners.Path = agentsPath
	s.owners.Reading = "orders and balance"
	s.owners.Actions = map[string]string{placeOrders: "Place orders"}
	s.owners.Approvals = map[string]string{payMoney: "Pay out money"}
	s.owners.Describe = describe

	key := make([]byte, 32)
	rand.Read(key) // a real site has its key in its settings
	config := authagent.Config{
		Issuer:       client.issuer,
		ClientID:     client.clientID,
		ClientSecret: client.clientSecret,
		RedirectURL:  url + callbackPath,
		SessionKeys:  [][]byte{key},
		Scenario:     authagent.FullAccount(s.users, s.owners),
		ReturnTo:     "/orders",
		Human:        s.human,
		SignInPath:   signInPath,
		API:          api.Settings{Resource: resource(url)},
	}
	config.Provider.SubjectIsUser = true // tokens name the user in sub, and the agent in act
	var err error
	s.rp, err = authagent.New(config)
	return s, err
}

// handler returns the whole shop.
func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /auth/agent/login", s.rp.LoginHandler())
	mux.Handle("GET "+callbackPath, s.rp.CallbackHandler())
	mux.Handle("POST /auth/agent/logout", s.rp.LogoutHandler())
	mux.Handle("GET "+api.MetadataPath(resource(s.url)), s.rp.ResourceMetadataHandler())
	mux.Handle("GET /button.css", s.rp.DiscoveryHandler())
	mux.Handle(agentsPath, grants.Handler(s.owners, s.rp))
	mux.Handle("GET /{$}", http.RedirectHandler("/orders", http.StatusSeeOther))
	mux.HandleFunc("GET "+signInPath, s.signInPage)
	mux.HandleFunc("POST "+signInPath, s.signIn)

	// The pages and the API have the same guards and the same handlers. The MCP server
	// has the same guards before its tools.
	for _, door := range []string{"", "/api"} {
		mux.Handle("GET "+door+"/orders", s.rp.RequireAccess(authagent.AccessRead)(http.HandlerFunc(s.listOrders)))
		mux.Handle("POST "+door+"/orders", s.rp.RequireAction(placeOrders)(http.HandlerFunc(s.newOrder)))
		mux.Handle("POST "+door+"/payouts", s.rp.RequireApproval(payMoney, s.owners)(http.HandlerFunc(s.newPayout)))
	}
	mux.Handle(mcpPath, s.tools())

	// The shop's own forms have to come from its own pages.
	return secure(http.NewCrossOriginProtection().Handler(mux))
}

func (s *shop) listOrders(w http.ResponseWriter, r *http.Request) {
	s.write(w, r, "orders", view{account: s.of(userID(r))})
}

func (s *shop) newOrder(w http.ResponseWriter, r *http.Request) {
	s.done(w, r, s.order(userID(r), r.PostFormValue("item")))
}

// newPayout pays out money. Of an agent's requests, one gets here for each that Alice has approved.
func (s *shop) newPayout(w http.ResponseWriter, r *http.Request) {
	p, err := payoutIn(r)
	if err == nil {
		err = s.pay(r.Context(), userID(r), p)
	}
	s.done(w, r, err)
}

// done answers a request that was to change the account.
func (s *shop) done(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case err != nil:
		s.rp.ServeError(w, r, err)
	case wantsPage(r):
		http.Redirect(w, r, "/orders", http.StatusSeeOther)
	default:
		s.listOrders(w, r)
	}
}

// of returns a copy of an account.
func (s *shop) of(userID string) account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[userID]; a != nil {
		return account{slices.Clone(a.Orders), a.Balance}
	}
	return account{}
}

// order places an order.
func (s *shop) order(userID, item string) error {
	if item == "" || len(item) > 100 {
		return fmt.Errorf("an item has between 1 and 100 bytes: %w", problem.InvalidRequest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[userID]
	if a == nil {
		return problem.NotFound
	}
	a.Orders = append(a.Orders, item)
	return nil
}

// A payout is money that leaves an account.
type payout struct {
	To    string `json:"to" jsonschema:"who gets the money"`
	Cents int64  `json:"cents" jsonschema:"how much"`
}

func (p payout) check() error {
	if p.To == "" || len(p.To) > 100 || p.Cents <= 0 {
		return fmt.Errorf("a payout is of a positive amount to a name of up to 100 bytes: %w", problem.InvalidRequest)
	}
	return nil
}

// payoutIn reads a form.
func payoutIn(r *http.Request) (payout, error) {
	cents, err := strconv.ParseInt(r.PostFormValue("cents"), 10, 64)
	if err != nil {
		return payout{}, fmt.Errorf("cents: %w, %w", err, problem.InvalidRequest)
	}
	return payout{To: r.PostFormValue("to"), Cents: cents}, nil
}

// pay pays out money, or does nothing and says why.
func (s *shop) pay(ctx context.Context, userID string, p payout) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.accounts[userID], p.check()
	if err == nil && (a == nil || a.Balance < p.Cents) {
		err = problem.Conflict
	}
	if err != nil {
		action.ReservationFrom(ctx).NothingDone() // an agent can use the approval again
		return err
	}
	a.Balance -= p.Cents
	return nil
}

// userID returns whose account a request is about: that of the agent's user, or of
// the person who is signed in.
func userID(r *http.Request) string {
	if session, ok := authagent.FromContext(r.Context()); ok {
		return session.UserID
	}
	id, _ := authagent.HumanFromContext(r.Context())
	return id
}

// human is how authagent learns which human is signed in. A real site asks its own sessions.
func (s *shop) human(r *http.Request) (userID string, err error) {
	if c, err := r.Cookie(humanCookie); err == nil && c.Value == s.signedIn {
		return s.aliceID, nil
	}
	return "", nil
}

func (s *shop) signInPage(w http.ResponseWriter, r *http.Request) {
	s.write(w, r, "sign-in", view{ReturnTo: s.rp.ReturnTo(r)})
}

// signIn signs Alice in. A real site wants her password.
func (s *shop) signIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: humanCookie, Value: s.signedIn, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, s.rp.ReturnTo(r), http.StatusSeeOther)
}

//go:embed pages.html
var pagesText string

var pages = template.Must(template.New("").Parse(pagesText))

// A view is what a page shows. A program gets the account as JSON.
type view struct {
	account
	Agent    *authagent.Session
	ReturnTo string
	Button   template.HTML
}

func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// write answers with a page, or with JSON to a program.
func (s *shop) write(w http.ResponseWriter, r *http.Request, page string, v view) {
	v.Agent, _ = authagent.FromContext(r.Context())
	v.Button = s.rp.Button(v.ReturnTo)
	w.Header().Add("Vary", "Accept")
	var body bytes.Buffer
	var err error
	if wantsPage(r) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		err = pages.ExecuteTemplate(&body, page, v)
	} else {
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(&body).Encode(v.account)
	}
	if err != nil {
		slog.Error("mcp: write page", "page", page, "err", err)
		http.Error(w, "The page could not be written.", http.StatusInternalServerError)
		return
	}
	w.Write(body.Bytes())
}

// secure sets the headers of the shop's own pages. authagent's pages have their own.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
