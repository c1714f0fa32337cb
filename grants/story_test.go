package grants_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// A site is a shop with an authorization server, both on TLS, at which owners
// approve agents. Humans sign in with a cookie of their ID.
type site struct {
	t      testing.TB
	as     *authagenttest.Server
	server *httptest.Server
	rp     *authagent.RelyingParty
	owners *grants.Policy
	store  *grants.Memory
	users  *memstore.Users
	alice  string
	bob    string
}

func newSite(t testing.TB, change ...func(*site, *authagent.Config)) *site {
	t.Helper()
	s := &site{t: t, as: authagenttest.NewTLSServer(), store: grants.NewMemory(), users: &memstore.Users{}}
	t.Cleanup(s.as.Close)
	mux := http.NewServeMux()
	s.server = httptest.NewTLSServer(mux)
	t.Cleanup(s.server.Close)
	s.alice, s.bob = s.users.Add("alice@example.com", "Alice"), s.users.Add("bob@example.com", "Bob")
	client := s.as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{s.server.URL + "/auth/agent/callback"}})
	s.owners = grants.OwnerApproval(s.store)
	s.owners.Actions = map[string]string{"orders:create": "Place orders"}
	s.owners.Logger = slog.New(slog.DiscardHandler)
	c := authagent.Config{
		Issuer: s.as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: s.server.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, HTTPClient: s.as.Client(),
		Scenario: grants.Enforce(s.store, authagent.FullAccount(s.users, s.owners)),
		Human:    signedIn, Audit: s.owners.Record, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(s, &c)
	}
	rp, err := authagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.rp = rp
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") })
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/account/agents/", grants.Handler(s.owners, rp))
	mux.Handle("/me", rp.RequireAgent(ok))
	mux.Handle("POST /orders", rp.Action("orders:create")(ok))
	mux.Handle("POST /other", rp.Action("other:create")(ok))
	mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", s.owners)(ok))
	return s
}

// signedIn is the site's own sign-in of humans.
func signedIn(r *http.Request) (string, error) {
	if c, err := r.Cookie("human"); err == nil {
		return c.Value, nil
	}
	return "", nil
}

func (s *site) signIn(agent *authagenttest.Agent, browser *http.Client) int {
	s.t.Helper()
	resp, err := agent.SignIn(context.Background(), browser, s.server.URL+"/auth/agent/login?return_to=/me")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	s.owners.Wait()
	return resp.StatusCode
}

func (s *site) post(browser *http.Client, path, body string) int {
	s.t.Helper()
	resp, err := browser.Post(s.server.URL+path, "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestSmoke is here until the story is told.
func TestSmoke(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	agent := s.as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	browser := s.as.NewBrowser()
	if got := s.signIn(agent, browser); got != 403 {
		t.Fatalf("sign-in: %d", got)
	}
	o, err := s.owners.Overview(ctx, s.alice)
	if err != nil || len(o.Grants) != 1 {
		t.Fatal(o, err)
	}
	g, err := s.owners.Decide(ctx, s.alice, grants.Decision{GrantID: o.Grants[0].ID, Version: 1, State: grants.Approved, Access: authagent.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.signIn(agent, browser); got != 200 {
		t.Fatalf("sign-in: %d", got)
	}
	if got := s.post(browser, "/orders", "x=1"); got != 403 {
		t.Errorf("order: %d", got)
	}
	if g, err = s.owners.Decide(ctx, s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead, Actions: []string{"orders:create"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.post(browser, "/orders", "x=1"); got != 200 {
		t.Errorf("order: %d", got)
	}
	if got := s.post(browser, "/payouts", "x=1"); got != 202 {
		t.Errorf("payout: %d", got)
	}
	o, _ = s.owners.Overview(ctx, s.alice)
	if _, err := s.owners.DecideAction(ctx, s.alice, o.Approvals[0].ID, 1, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{200, 409} {
		if got := s.post(browser, "/payouts", "x=1"); got != want {
			t.Errorf("payout: %d, want %d", got, want)
		}
	}
	if err := s.owners.RevokeAll(ctx, s.alice); err != nil {
		t.Fatal(err)
	}
	if got := s.post(browser, "/orders", "x=1"); got != 200 {
		t.Errorf("order of nobody: %d", got)
	}
	if resp, _ := browser.Get(s.server.URL + "/me"); resp.StatusCode != 401 {
		t.Errorf("revoked: %d", resp.StatusCode)
	}
}
