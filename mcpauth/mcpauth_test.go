package mcpauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A bench is a shop with an MCP server, and any number of instances.
type bench struct {
	*testsite.Site
	resource string
	owners   *grants.Policy
	store    *memstore.Grants
	agent    *authagenttest.Agent // Alice's
	options  mcp.StreamableHTTPOptions

	between func() // once, between the handler's look at the session and the tool

	mu   sync.Mutex
	paid []payment // by the tool pay_out
	pay  func(context.Context, *mcp.CallToolRequest, payment) error
}

type payment struct {
	To     string         `json:"to"`
	Amount float64        `json:"amount"`
	Note   string         `json:"note,omitempty"`
	More   map[string]any `json:"more,omitempty"`
}

type orders struct {
	Orders []string `json:"orders"`
}

func stateless(b *bench, _ *authagent.Config) { b.options.Stateless = true }

func newBench(t testing.TB, change ...func(*bench, *authagent.Config)) *bench {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Start()
	t.Cleanup(as.Close)
	return newBenchOf(func(f testsite.Change) *testsite.Site { return testsite.NewPlain(t, as, f) }, change...)
}

// newBenchOf is newBench for a site that make makes with the settings that it is given.
func newBenchOf(make func(testsite.Change) *testsite.Site, change ...func(*bench, *authagent.Config)) *bench {
	b := &bench{store: &memstore.Grants{}}
	b.owners = grants.OwnerApproval(b.store)
	b.owners.Actions = map[string]string{"orders:create": "Place orders"}
	b.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	users := &memstore.SubjectUsers{}
	alice := users.Add("alice@example.com", "Alice")
	b.Site = make(func(s *testsite.Site, c *authagent.Config) {
		s.AS.Quirks = authagenttest.Quirks{}
		s.AS.Features = authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256", Resources: true}
		b.resource = s.URL + "/mcp"
		users.AddSubject(s.AS.URL, "user_a", alice)
		c.Provider.SubjectIsUser, c.Human, c.API.Resource = true, testsite.Human, b.resource
		c.Scenario = authagent.FullAccount(users, b.owners)
		b.owners.Logger = c.Logger
		for _, f := range change {
			f(b, c)
		}
	})
	b.AliceID = alice
	b.T.Cleanup(b.owners.Wait)
	b.agent = b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	b.mount("", b.RP)
	return b
}

// mount puts the MCP server into an instance.
func (b *bench) mount(instance string, rp *authagent.RelyingParty) {
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders"}, mcpauth.RequireAccess(rp, authagent.AccessRead), listOrders)
	mcpauth.AddTool(server, &mcp.Tool{Name: "close_account"}, mcpauth.RequireAccess(rp, authagent.AccessFull), whoAmI)
	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order"}, mcpauth.RequireAction(rp, "orders:create"), whoAmI)
	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out"}, mcpauth.RequireApproval(rp, "payouts:create", b.owners), b.payOut)
	mcp.AddTool(server, &mcp.Tool{Name: "who_am_i"}, whoAmI)
	server.AddReceivingMiddleware(catch)
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &b.options)
	mux := b.Mux(instance)
	mux.Handle("/mcp", mcpauth.Handler(rp, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := b.between; f != nil { // as while a body comes that takes its time
			b.between = nil
			f()
		}
		handler.ServeHTTP(w, r)
	})))
	mux.Handle("GET "+api.MetadataPath(b.resource), rp.ResourceMetadataHandler())
	mux.Handle("/account/agents/", grants.Handler(b.owners, rp))
}

// catch makes an error of a panic, which would end the process.
func catch(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (result mcp.Result, err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("panicked")
			}
		}()
		return next(ctx, method, req)
	}
}

func listOrders(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, orders, error) {
	s, _ := mcpauth.Session(req)
	return nil, orders{[]string{"a coat for " + s.UserID}}, nil
}

// whoAmI answers with the ID of the session.
func whoAmI(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	s, ok := mcpauth.Session(req)
	if !ok {
		return nil, nil, errors.New("nobody")
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s.ID}}}, nil, nil
}

func (b *bench) payOut(ctx context.Context, req *mcp.CallToolRequest, p payment) (*mcp.CallToolResult, orders, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pay != nil {
		if err := b.pay(ctx, req, p); err != nil {
			return nil, orders{}, err
		}
	}
	b.paid = append(b.paid, p)
	return nil, orders{[]string{"paid"}}, nil
}

// token returns a good token, or one that is changed.
func (b *bench) token(change ...func(*authagenttest.APIToken)) string {
	like := authagenttest.APIToken{Audience: []string{b.resource}, Scopes: []string{"all"}}
	for _, f := range change {
		f(&like)
	}
	return b.AS.AccessToken(b.agent, like)
}

// An instance is the address of one instance of the site.
type instance struct{ name string }

func (i instance) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Instance", i.name)
	return http.DefaultTransport.RoundTrip(r)
}

// connect returns the session of the SDK's client.
func (b *bench) connect(token string, at ...string) (*mcp.ClientSession, error) {
	client := authagenttest.Bearer(&http.Client{Transport: instance{strings.Join(at, "")}}, token)
	transport := &mcp.StreamableClientTransport{Endpoint: b.resource, HTTPClient: client, DisableStandaloneSSE: true, MaxRetries: -1}
	s, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(context.Background(), transport, nil)
	if err == nil {
		b.T.Cleanup(func() { s.Close() })
	}
	return s, err
}

func (b *bench) mustConnect(token string, at ...string) *mcp.ClientSession {
	b.T.Helper()
	s, err := b.connect(token, at...)
	if err != nil {
		b.T.Fatalf("%v\n%s", err, b.Log)
	}
	return s
}

// call calls a tool. Arguments that are text are sent as they are.
func (b *bench) call(s *mcp.ClientSession, tool string, arguments any) *mcp.CallToolResult {
	b.T.Helper()
	if text, ok := arguments.(string); ok {
		arguments = json.RawMessage(text)
	}
	result, err := s.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		b.T.Fatalf("%s: %v\n%s", tool, err, b.Log)
	}
	return result
}

// said is the text of a result.
func said(r *mcp.CallToolResult) string {
	var all []string
	for _, c := range r.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			all = append(all, text.Text)
		}
	}
	return strings.Join(all, "\n")
}

// refusal is what a program reads in a result.
func refusal(t testing.TB, r *mcp.CallToolResult) (said mcpauth.Refusal) {
	t.Helper()
	text, err := json.Marshal(r.Meta[mcpauth.MetaKey])
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || r.IsError != (said.Code != "") {
		t.Fatalf("%v: error %v, %s", err, r.IsError, text)
	}
	return said
}

// refused checks for what reason a tool refuses a call.
func (b *bench) refused(s *mcp.ClientSession, tool string, arguments any, code problem.Reason) mcpauth.Refusal {
	b.T.Helper()
	result := b.call(s, tool, arguments)
	said := refusal(b.T, result)
	if said.Code != code || !result.IsError {
		b.T.Fatalf("%s: %+v, want %s\n%s", tool, said, string(code), b.Log)
	}
	return said
}

// letIn is what Alice decides about her agents.
func (b *bench) letIn(state grants.State, access authagent.Access, actions ...string) {
	b.T.Helper()
	b.owners.Wait()
	overview, err := b.owners.Overview(context.Background(), b.AliceID)
	if err != nil || len(overview.Grants) == 0 {
		b.T.Fatal(overview, err)
	}
	for _, g := range overview.Grants {
		if _, err := b.owners.Decide(context.Background(), b.AliceID, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: access, Actions: actions}); err != nil {
			b.T.Fatal(err)
		}
	}
	b.owners.Wait()
}

// admitted returns a bench whose agent Alice has let in.
func admitted(t testing.TB, access authagent.Access, actions string, change ...func(*bench, *authagent.Config)) *bench {
	t.Helper()
	b := newBench(t, change...)
	if _, err := b.connect(b.token()); err == nil {
		t.Fatal("the agent is in, and nobody has let it in")
	}
	b.letIn(grants.Approved, access, strings.Fields(actions)...)
	return b
}

// waiting returns what waits for Alice.
func (b *bench) waiting() []grants.Approval {
	b.T.Helper()
	overview, err := b.owners.Overview(context.Background(), b.AliceID)
	if err != nil {
		b.T.Fatal(err)
	}
	return slices.DeleteFunc(overview.Approvals, func(a grants.Approval) bool { return a.Now() != grants.Pending })
}

// decide is what Alice decides about all that waits.
func (b *bench) decide(yes bool) {
	b.T.Helper()
	for _, a := range b.waiting() {
		if _, err := b.owners.DecideAction(context.Background(), b.AliceID, a.ID, a.Version, yes); err != nil {
			b.T.Fatal(err)
		}
	}
}

// TestTools_MCP_1: a tool that reads, one that performs an action, and one that is approved for one call. The session is
// the one that the site's guards know. Each call asks again whether it holds, at every instance.
func TestTools_MCP_1(t *testing.T) {
	for name, change := range map[string]func(*bench, *authagent.Config){"stateless": stateless, "stateful": func(*bench, *authagent.Config) {}} {
		t.Run(name, func(t *testing.T) {
			b := admitted(t, authagent.AccessRead, "", change)
			b.mount("two", b.Instance("two"))
			token := b.token()
			s, two := b.mustConnect(token), b.mustConnect(token, "two")
			if name == "stateless" && s.InitializeResult().ProtocolVersion < "2026-07-28" {
				t.Errorf("protocol %s", s.InitializeResult().ProtocolVersion)
			}
			result := b.call(s, "list_orders", nil)
			if text, _ := json.Marshal(result.StructuredContent); string(text) != `{"orders":["a coat for `+b.AliceID+`"]}` || result.IsError {
				t.Errorf("list_orders: %s", text)
			}
			b.refused(s, "close_account", nil, problem.AccessTooLow)
			if said := b.refused(s, "place_order", nil, problem.ActionNotGranted); said.Action != "orders:create" || said.Retry || said.Title != "Action not granted" {
				t.Errorf("place_order: %+v", said)
			}
			b.letIn(grants.Approved, authagent.AccessRead, "orders:create")
			inTool := said(b.call(s, "place_order", nil))
			me := testsite.Read(t, get(t, b.URL+"/me", token)).Session(t)
			if inTool != me.ID || me.ID == "" {
				t.Errorf("the session is %q in a tool, and %q elsewhere", inTool, me.ID)
			}
			b.refused(s, "pay_out", `{"to":"Bob","amount":12}`, problem.ApprovalPending)
			b.decide(true)
			if result := b.call(two, "pay_out", `{"to":"Bob","amount":12}`); result.IsError || len(b.paid) != 1 {
				t.Errorf("pay_out: %s, %v", said(result), b.paid)
			}
			b.letIn(grants.Revoked, authagent.AccessRead)
			for at, session := range map[string]*mcp.ClientSession{"": s, "two": two} {
				if _, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: "list_orders"}); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
					t.Errorf("after the owner has stopped the agent, instance %q: %v", at, err)
				}
			}
		})
	}
}

func get(t testing.TB, address, token string) *http.Response {
	t.Helper()
	resp, err := authagenttest.Bearer(http.DefaultClient, token).Get(address)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
