package mcptest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

const (
	account = "agent-7" // of the agent's owner, at the provider and here
	second  = "second"  // an instance
	secret  = "s3cret-of-more-than-32-bytes-for-the-site"
)

// A site is a shop with an MCP server at two instances, at panva's provider.
type site struct {
	*testsite.Site
	resource string
	owners   *grants.Policy
	issuer   string

	mu       sync.Mutex
	answers  []string // of the MCP server: status and challenge
	payments int
}

// newSite is the site with one kind of access tokens: signed, or opaque if it is empty. The agent's client has a secret,
// or is a public one if that is empty.
func newSite(t *testing.T, accessToken, agentSecret string) *site {
	t.Helper()
	s := &site{owners: grants.OwnerApproval(&memstore.Grants{})}
	s.owners.Actions = map[string]string{"orders:create": "Place orders"}
	s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	users := &memstore.SubjectUsers{}
	users.Put(memstore.Account{User: authagent.User{ID: account}})
	s.Site = testsite.NewPlain(t, nil, func(shared *testsite.Site, c *authagent.Config) {
		s.resource = shared.URL + "/mcp"
		s.issuer = startPanva(t, map[string]any{
			"path": "/oidc", "auth": "client_secret_basic", "idToken": "RS256", "accessToken": accessToken, "actor": "agent-of-7",
			"client": "site", "secret": secret, "redirect": c.RedirectURL, "email": "owner@example.com",
			"api":      map[string]string{"resource": s.resource, "other": shared.URL + "/other", "scope": "orders:read orders:write payouts"},
			"apiAgent": map[string]string{"client": agentClient, "secret": agentSecret, "redirect": agentRedirect},
		})
		users.AddSubject(s.issuer, account, account)
		c.Issuer, c.ClientID, c.ClientSecret = s.issuer, "site", secret
		c.Scenario, c.Human = authagent.FullAccount(users, s.owners), testsite.Human
		c.Provider = provider.Settings{SubjectIsUser: true}
		c.Revocations = &memstore.Revocations{} // which the instances share
		c.API = api.Settings{Resource: s.resource, Scopes: map[string]string{"orders:read": "See orders", "orders:write": "Place orders", "payouts": "Pay out"}}
		c.Permissions = map[string]authagent.Permission{
			"orders:read":  {Access: authagent.AccessRead},
			"orders:write": {Actions: []string{"orders:create"}},
			"payouts":      {Actions: []string{"payouts:create"}},
		}
		s.owners.Logger = c.Logger
	})
	t.Cleanup(s.owners.Wait)
	s.mount("", s.RP)
	s.mount(second, s.Instance(second))
	return s
}

type orders struct {
	Orders []string `json:"orders"`
}

func (s *site) mount(instance string, rp *authagent.RelyingParty) {
	list := func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, orders, error) {
		session, _ := mcpauth.Session(req)
		return nil, orders{[]string{fmt.Sprintf("%s for %s", session.Agent.ID, session.UserID)}}, nil
	}
	pay := func(context.Context, *mcp.CallToolRequest, struct {
		To string `json:"to"`
	}) (*mcp.CallToolResult, orders, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.payments++
		return nil, orders{[]string{"paid"}}, nil
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders"}, mcpauth.RequireAccess(rp, authagent.AccessRead), list)
	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order"}, mcpauth.RequireAction(rp, "orders:create"), list)
	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out"}, mcpauth.RequireApproval(rp, "payouts:create", s.owners), pay)
	handler := mcpauth.Handler(rp, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	mux := s.Mux(instance)
	mux.Handle("/mcp", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&watched{w, s, instance}, r)
	}))
	mux.Handle("GET "+api.MetadataPath(s.resource), rp.ResourceMetadataHandler())
}

// A watched remembers how a request was answered.
type watched struct {
	http.ResponseWriter
	site     *site
	instance string
}

func (w *watched) WriteHeader(status int) {
	w.site.mu.Lock()
	w.site.answers = append(w.site.answers, fmt.Sprintf("%s %d %s", w.instance, status, strings.Split(w.Header().Get("WWW-Authenticate"), ", ")[0]))
	w.site.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *watched) Flush()                      { w.ResponseWriter.(http.Flusher).Flush() }

// answered returns the answers since the last time.
func (s *site) answered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.answers
	s.answers = nil
	return all
}

// startPanva runs the provider, and returns its issuer.
func startPanva(t *testing.T, settings map[string]any) (issuer string) {
	t.Helper()
	const dir = "../oidctest/panva"
	node := needs(t, dir, "oidc-provider")
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "provider.mjs", string(text))
	cmd.Dir = dir
	_, lines := run(t, cmd)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			return lines.Text()
		}
	}
	t.Fatal("the provider did not start")
	return ""
}

// authorize is the agent's owner in a browser, at the pages of the provider. It returns what the agent's client gets.
func (s *site) authorize(address string) url.Values {
	s.T.Helper()
	browser := s.Browser()
	answered := func(resp *http.Response, err error) (location, body string) {
		if err != nil {
			s.T.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			s.T.Fatal(err)
		}
		if u, err := resp.Location(); err == nil {
			location = u.String()
		}
		return location, string(text)
	}
	at, text := address, ""
	for range 12 {
		switch {
		case strings.HasPrefix(at, agentRedirect+"?"):
			u, err := url.Parse(at)
			if err != nil {
				s.T.Fatal(err)
			}
			return u.Query()
		case at == "":
			s.T.Fatalf("the provider leads nowhere: %s", text)
		case strings.Contains(at, "/interaction/"):
			_, page := answered(browser.Get(at))
			prompt := "login"
			if strings.Contains(page, `value="consent"`) {
				prompt = "consent"
			}
			at, text = answered(browser.PostForm(at, url.Values{"prompt": {prompt}, "login": {account}, "password": {"x"}}))
		default:
			at, text = answered(browser.Get(at))
		}
	}
	s.T.Fatalf("the provider goes in circles: %s", at)
	return nil
}

// letIn is what the owner decides about the agent.
func (s *site) letIn(state grants.State, actions ...string) {
	s.T.Helper()
	s.owners.Wait()
	overview, err := s.owners.Overview(context.Background(), account)
	if err != nil || len(overview.Grants) != 1 {
		s.T.Fatal(overview, err, s.Log)
	}
	g := overview.Grants[0]
	if _, err := s.owners.Decide(context.Background(), account, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead, Actions: actions}); err != nil {
		s.T.Fatal(err)
	}
	s.owners.Wait()
}

// TestClients_MCP_10: two clients that nobody here wrote come from a bare 401 to a tool that reads, one that performs an
// action, and one that is approved for one call. After the owner has stopped the agent, the next call is answered 401 at
// another instance.
func TestClients_MCP_10(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(t *testing.T, resource, secret string, authorize func(string) url.Values) client
		secret string
	}{"Go": {newGoClient, secret + "2"}, "TypeScript": {newTSClient, ""}} {
		for kind, accessToken := range map[string]string{"JWT": "ES256", "opaque": ""} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := newSite(t, accessToken, test.secret)
				clientComes(t, s, test.make(t, s.resource, test.secret, s.authorize))
			})
		}
	}
}

func clientComes(t *testing.T, s *site, c client) {
	err := c.connect("")
	if err == nil {
		t.Fatal("the agent is in, and nobody has let it in")
	}
	answers := s.answered()
	if len(answers) < 2 || !strings.HasPrefix(answers[0], " 401 Bearer resource_metadata=") || !strings.HasPrefix(answers[len(answers)-1], " 403") {
		t.Fatalf("%v: the first answers are %q\n%s", err, answers, s.Log)
	}
	s.letIn(grants.Approved, "orders:create")
	for _, at := range []string{"", second} {
		if err := c.connect(at); err != nil {
			t.Fatalf("%v\n%s", err, s.Log)
		}
	}
	call := func(at, tool string, arguments any) result {
		t.Helper()
		got, err := c.call(at, tool, arguments)
		if err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, s.Log)
		}
		return got
	}
	for _, tool := range []string{"list_orders", "place_order"} {
		if got := call("", tool, map[string]any{}); got.IsError || len(got.Content) != 1 || got.Content[0].Text != `{"orders":["agent-of-7 for agent-7"]}` {
			t.Errorf("%s: %+v", tool, got)
		}
	}
	to := map[string]any{"to": "Bob"}
	first, again := call("", "pay_out", to), call(second, "pay_out", to)
	if r := first.Meta.Refusal; r.Code != "approval_pending" || r.Approval == "" || r.RetryAfter <= 0 || again.Meta.Refusal.Approval != r.Approval || !first.IsError {
		t.Errorf("%+v, then %+v", first, again)
	}
	overview, err := s.owners.Overview(t.Context(), account)
	if err != nil || len(overview.Approvals) != 1 {
		t.Fatal(overview, err)
	}
	a := overview.Approvals[0]
	if _, err := s.owners.DecideAction(t.Context(), account, a.ID, a.Version, true); err != nil {
		t.Fatal(err)
	}
	if got := call(second, "pay_out", to); got.IsError || s.payments != 1 {
		t.Errorf("%+v", got)
	}
	if got := call("", "pay_out", to); got.Meta.Refusal.Code != "approval_used" || s.payments != 1 {
		t.Errorf("%+v", got)
	}
	s.letIn(grants.Revoked)
	s.answered()
	if got, err := c.call(second, "list_orders", map[string]any{}); err == nil {
		t.Errorf("after the owner has stopped the agent: %+v", got)
	}
	if answers := s.answered(); len(answers) == 0 || answers[0] != second+` 401 Bearer error="invalid_token"` || slices.ContainsFunc(answers, func(a string) bool { return strings.HasPrefix(a, second+" 200") }) {
		t.Errorf("answers %q", answers)
	}
}
