package mcpauth_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/memstore"
)

// A Payout is what the tool pay_out is called with.
type Payout struct {
	To     string `json:"to" jsonschema:"the account that gets the money"`
	Amount int64  `json:"amount" jsonschema:"in cents"`
	Text   string `json:"text,omitempty" jsonschema:"what the account's owner reads"`
}

// mountTools puts an MCP server into a site.
func mountTools(mux *http.ServeMux, rp *authagent.RelyingParty, owners *grants.Policy, resource string) {
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders"}, mcpauth.RequireAccess(rp, authagent.AccessRead), showOrders)
	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order"}, mcpauth.RequireAction(rp, "orders:create"), placeOrder)
	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out"}, mcpauth.RequireApproval(rp, "payouts:create", owners), payOut)

	getServer := func(*http.Request) *mcp.Server { return server }
	mux.Handle("/mcp", mcpauth.Handler(rp, mcp.NewStreamableHTTPHandler(getServer, &mcp.StreamableHTTPOptions{Stateless: true})))
	mux.Handle("GET "+api.MetadataPath(resource), rp.ResourceMetadataHandler())
}

// showOrders says who asks. The session is that of the token that came with this call.
func showOrders(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	session, _ := mcpauth.Session(req)
	return text("the orders of %s, for %s", session.UserID, session.Agent.ID), nil, nil
}

func placeOrder(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
	return text("ordered"), nil, nil
}

// payOut runs once for each call that the owner has approved. in is what was approved.
func payOut(ctx context.Context, _ *mcp.CallToolRequest, in Payout) (*mcp.CallToolResult, any, error) {
	if in.Amount == 0 {
		action.ReservationFrom(ctx).NothingDone() // the approval can be used again
		return nil, nil, fmt.Errorf("there is nothing to pay")
	}
	return text("paid %d cents to %s", in.Amount, in.To), nil, nil
}

func text(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

// describe is what an owner reads about a call.
func describe(_ context.Context, request action.Request) (string, error) {
	if request.Action != "payouts:create" || request.Method != "" { // of an HTTP route
		return "", nil
	}
	var in Payout
	if _, err := mcpauth.ReadCall(request, &in); err != nil {
		return "", err
	}
	return fmt.Sprintf("Pay %d.%02d EUR to %q", in.Amount/100, in.Amount%100, in.To), nil
}

// An agent that knows the address of an MCP server and nothing else finds the authorization server, and calls tools.
func Example() {
	as := authagenttest.NewUnstartedServer() // a provider that names user and agent, and issues tokens for APIs
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256", Resources: true}
	as.Start()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/callback"}})

	users := &memstore.SubjectUsers{}
	alice := users.Add("alice@example.com", "Alice")
	users.AddSubject(as.URL, "user_a", alice)
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Actions = map[string]string{"orders:create": "Place orders"}
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	owners.Describe = describe
	config := authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:    authagent.FullAccount(users, owners),
		API:         api.Settings{Resource: site.URL + "/mcp"},
		Logger:      slog.New(slog.DiscardHandler),
	}
	config.Provider.SubjectIsUser = true
	owners.Logger = config.Logger
	rp, err := authagent.New(config)
	if err != nil {
		log.Fatal(err)
	}
	mountTools(mux, rp, owners, config.API.Resource)

	ctx := context.Background()
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	token, err := agent.SignInToAPI(ctx, as.NewBrowser(), config.API.Resource)
	if err != nil {
		log.Fatal(err)
	}
	its := authagenttest.Bearer(http.DefaultClient, token)
	connect := func() (*mcp.ClientSession, error) {
		transport := &mcp.StreamableClientTransport{Endpoint: config.API.Resource, HTTPClient: its}
		return mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(ctx, transport, nil)
	}
	if _, err := connect(); err != nil {
		fmt.Println("Alice is asked whether the agent may enter")
	}
	decide(owners, alice, grants.Approved)
	session, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	call := func(tool string, arguments any) {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if err != nil {
			fmt.Println("refused: " + err.Error()[strings.LastIndex(err.Error(), ": ")+2:])
			return
		}
		title, _, _ := strings.Cut(result.Content[0].(*mcp.TextContent).Text, ". ")
		fmt.Println(title)
	}
	call("list_orders", nil)
	call("place_order", nil)
	call("pay_out", Payout{To: "Bob", Amount: 1200})

	overview, err := owners.Overview(ctx, alice)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range overview.Approvals { // on the page of agents
		fmt.Println(a.Description)
		if _, err := owners.DecideAction(ctx, alice, a.ID, a.Version, true); err != nil {
			log.Fatal(err)
		}
	}
	call("pay_out", Payout{Amount: 1200, To: "Bob"})
	call("pay_out", Payout{To: "Bob", Amount: 1200})
	decide(owners, alice, grants.Revoked)
	call("list_orders", nil)
	// Output:
	// Alice is asked whether the agent may enter
	// the orders of user_1, for agent_1
	// Action not granted
	// Approval pending
	// Pay 12.00 EUR to "Bob"
	// paid 1200 cents to Bob
	// Approval used
	// refused: Unauthorized
}

// decide is what an owner does on the page of connected agents.
func decide(owners *grants.Policy, userID string, state grants.State) {
	owners.Wait()
	overview, err := owners.Overview(context.Background(), userID)
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range overview.Grants {
		if _, err := owners.Decide(context.Background(), userID, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead}); err != nil {
			log.Fatal(err)
		}
	}
	owners.Wait()
}
