package mcpauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/problem"
)

// TestSameCall_MCP_6: the owner is asked once about calls that are the same to the tool, whatever their JSON-RPC ID and
// however their arguments are written, and about each that is another one.
func TestSameCall_MCP_6(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	s := b.mustConnect(b.token())
	const want = `{"tool":"pay_out","arguments":{"amount":12,"more":{"a":1e+21,"b":"<é>"},"note":"rent & more","to":"Bob"}}`
	same := []string{
		`{"to":"Bob","amount":12,"note":"rent & more","more":{"a":1e21,"b":"<é>"}}`,
		"{\n \"more\": {\"b\":\"\\u003c\\u00e9>\", \"a\":1000000000000000000000},\t\"note\":\"rent \\u0026 more\",\"amount\":1.20e1,\"to\":\"\\u0042ob\" }",
		`{"amount":120e-1,"to":"Bob","note":"rent & more","more":{"a":10.0E20,"b":"<\u00e9>"}}`,
	}
	var at string
	for _, arguments := range same {
		said := b.refused(s, "pay_out", arguments, problem.ApprovalPending)
		if at == "" {
			at = said.Approval
		}
		if said.Approval != at || !strings.HasPrefix(at, b.URL+"/account/agents/approvals/") || said.RetryAfter <= 0 || !said.Retry || said.Action != "payouts:create" {
			t.Errorf("%s: %+v", arguments, said)
		}
	}
	resp := b.post(b.Bare(), b.resource, `{"jsonrpc":"2.0","id":"another","method":"tools/call","params":{"name":"pay_out","arguments":`+same[0]+`}}`,
		"Authorization", "Bearer "+b.token(), "Mcp-Protocol-Version", "2025-06-18")
	if !strings.Contains(resp.Text, at) {
		t.Errorf("with another ID: %s", resp.Text)
	}
	waits := b.waiting()
	if len(waits) != 1 || string(waits[0].Body) != want || waits[0].Action != "payouts:create" {
		t.Fatalf("the owner is asked about %d calls, %s", len(waits), waits[0].Body)
	}
	for _, other := range []string{
		`{"to":"bob","amount":12,"note":"rent & more","more":{"a":1e21,"b":"<é>"}}`,
		`{"to":"Bob","amount":12.5,"note":"rent & more","more":{"a":1e21,"b":"<é>"}}`,
		`{"to":"Bob","amount":12,"more":{"a":1e21,"b":"<é>"}}`,
		`{"to":"Bob","amount":12,"note":"rent & more","more":{"a":"1e21","b":"<é>"}}`,
	} {
		if said := b.refused(s, "pay_out", other, problem.ApprovalPending); said.Approval == at {
			t.Errorf("%s is taken for the same call", other)
		}
	}
	if n := len(b.waiting()); n != 5 {
		t.Errorf("the owner is asked about %d calls", n)
	}
}

// TestStanding_MCP_6: the address in the answer says to the same token how the call stands, and to another agent nothing.
func TestStanding_MCP_6(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	token := b.token()
	s := b.mustConnect(token)
	at := b.refused(s, "pay_out", payment{To: "Bob", Amount: 12}, problem.ApprovalPending).Approval
	state := func() string {
		var said struct{ State string }
		resp := testsite.Read(t, get(t, at, token))
		if json.Unmarshal([]byte(resp.Text), &said) != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.Text)
		}
		return said.State
	}
	if got := state(); got != "pending" {
		t.Error(got)
	}
	b.decide(true)
	if got := state(); got != "approved" {
		t.Error(got)
	}
	b.call(s, "pay_out", payment{To: "Bob", Amount: 12})
	if got := state(); got != "used" {
		t.Error(got)
	}
}

// TestApprovedOnce_MCP_7: the tool gets the arguments that were approved and nothing else, once. A denied call is not
// performed.
func TestApprovedOnce_MCP_7(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	s := b.mustConnect(b.token())
	var got *mcp.CallToolRequest
	b.pay = func(ctx context.Context, req *mcp.CallToolRequest, _ payment) error {
		got = req
		if action.ReservationFrom(ctx) == nil {
			t.Error("the tool does not find its reservation")
		}
		return nil
	}
	const arguments = ` {"to":"Bob", "amount":9007199254740993,"more":{"x":1,"x":2}}`
	b.refused(s, "pay_out", arguments, problem.ApprovalPending)
	if waits := b.waiting(); len(waits) != 1 || string(waits[0].Body) != `{"tool":"pay_out","arguments":{"amount":9007199254740992,"more":{"x":2},"to":"Bob"}}` {
		t.Fatalf("%s", waits[0].Body)
	}
	b.decide(true)
	params := &mcp.CallToolParams{Name: "pay_out", Arguments: json.RawMessage(arguments), RequestState: "not shown"}
	if result, err := s.CallTool(t.Context(), params); err != nil || result.IsError {
		t.Fatal(err, result)
	}
	if string(got.Params.Arguments) != `{"amount":9007199254740992,"more":{"x":2},"to":"Bob"}` || got.Params.RequestState != "" {
		t.Errorf("the tool got %s", got.Params.Arguments)
	}
	if diff := cmp.Diff([]payment{{To: "Bob", Amount: 9007199254740992, More: map[string]any{"x": 2.0}}}, b.paid); diff != "" {
		t.Error(diff)
	}
	if said := b.refused(s, "pay_out", arguments, "approval_used"); said.Retry || strings.Contains(said.Detail, "Idempotency") {
		t.Errorf("%+v", said)
	}
	b.refused(s, "pay_out", payment{To: "Eve"}, problem.ApprovalPending)
	b.decide(false)
	b.refused(s, "pay_out", payment{To: "Eve"}, problem.ActionDenied)
	if len(b.paid) != 1 {
		t.Errorf("paid %v", b.paid)
	}
}

// TestNotShown_MCP_7: the owner is not asked about what could be read in two ways, is too long, or would not be what
// the tool gets.
func TestNotShown_MCP_7(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "odd", InputSchema: json.RawMessage(`{"type":"object"}`)}, mcpauth.RequireApproval(b.RP, "payouts:create", b.owners),
		func(context.Context, *mcp.CallToolRequest, odd) (*mcp.CallToolResult, any, error) { return nil, nil, nil })
	b.Mux("").Handle("/odd", mcpauth.Handler(b.RP, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &b.options)))
	s := b.mustConnect(b.token())
	b.refused(s, "pay_out", `{"to":"Bob","amount":1,"more":{"a":1,"A":2}}`, problem.InvalidRequest)
	b.refused(s, "pay_out", `{"to":"`+strings.Repeat("x", 16<<10)+`","amount":1}`, "request_too_long")
	if result := b.call(s, "pay_out", `{"to":"Bob","amount":1,"extra":1}`); !result.IsError || result.Meta[mcpauth.MetaKey] != nil { // by the SDK
		t.Errorf("%+v", result)
	}
	resp := b.post(b.Bare(), b.URL+"/odd", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"odd","arguments":{"a":1}}}`,
		"Authorization", "Bearer "+b.token(), "Mcp-Protocol-Version", "2025-06-18")
	if !strings.Contains(resp.Text, `"store_failed"`) {
		t.Errorf("arguments that JSON changes: %s", resp.Text)
	}
	if waits := b.waiting(); len(waits) != 0 {
		t.Errorf("the owner is asked about %s", waits[0].Body)
	}
}

// odd is longer each time that it is written.
type odd string

func (o *odd) UnmarshalJSON(text []byte) error { *o = odd(text); return nil }
func (o odd) MarshalJSON() ([]byte, error)     { return json.Marshal(map[string]string{"a": string(o)}) }

// TestEnds_MCP_8: an approval is used when the tool has returned, with an error too; it is given back if the tool says
// that nothing was done; and after a panic nobody knows.
func TestEnds_MCP_8(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(context.Context) error
		want problem.Reason
	}{
		{"error", func(context.Context) error { return errors.New("no money") }, "approval_used"},
		{"reason", func(context.Context) error { return problem.Conflict }, "approval_used"},
		{"nothing done", func(ctx context.Context) error {
			action.ReservationFrom(ctx).NothingDone()
			return errors.New("no money")
		}, ""},
		{"panic", func(context.Context) error { panic("no money") }, "outcome_unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := admitted(t, authagent.AccessRead, "", stateless)
			s := b.mustConnect(b.token())
			b.pay = func(ctx context.Context, _ *mcp.CallToolRequest, _ payment) error { return test.do(ctx) }
			b.refused(s, "pay_out", payment{To: "Bob"}, problem.ApprovalPending)
			b.decide(true)
			result, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "pay_out", Arguments: payment{To: "Bob"}})
			switch {
			case test.name == "panic":
				if err == nil {
					t.Error("no error")
				}
			case test.name == "reason":
				if refusal(t, result).Code != problem.Conflict {
					t.Errorf("%+v", result)
				}
			case err != nil || !result.IsError || said(result) != "no money" || result.Meta[mcpauth.MetaKey] != nil: // as without a guard
				t.Errorf("%v %+v", err, result)
			}
			b.pay = nil
			if test.want != "" {
				b.refused(s, "pay_out", payment{To: "Bob"}, test.want)
			} else if result := b.call(s, "pay_out", payment{To: "Bob"}); result.IsError {
				t.Errorf("%s", said(result))
			}
			if (len(b.paid) == 1) != (test.want == "") {
				t.Errorf("paid %v", b.paid)
			}
		})
	}
}

// TestAllowance_MCP_8: within an allowance the owner is not asked. Amount and Describe read the call as the tool does.
func TestAllowance_MCP_8(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless, func(b *bench, _ *authagent.Config) {
		b.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "EUR", Digits: 2}}}
		b.owners.Amount = func(_ context.Context, request action.Request) (grants.Amount, error) {
			var p payment
			_, err := mcpauth.ReadCall(request, &p)
			return grants.Amount{Value: int64(p.Amount * 100), Currency: "EUR"}, err
		}
		b.owners.Describe = func(_ context.Context, request action.Request) (string, error) {
			var p payment
			tool, err := mcpauth.ReadCall(request, &p)
			return tool + " to " + p.To, err
		}
	})
	s := b.mustConnect(b.token())
	overview, err := b.owners.Overview(t.Context(), b.AliceID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.owners.Allow(t.Context(), b.AliceID, grants.Terms{GrantID: overview.Grants[0].ID, Action: "payouts:create", Limit: grants.Amount{Value: 5000, Currency: "EUR"}}); err != nil {
		t.Fatal(err)
	}
	if result := b.call(s, "pay_out", payment{To: "Bob", Amount: 30}); result.IsError {
		t.Errorf("%s\n%s", said(result), b.Log)
	}
	b.refused(s, "pay_out", payment{To: "Bob", Amount: 30}, problem.ApprovalPending)
	if waits := b.waiting(); len(waits) != 1 || waits[0].Description != "pay_out to Bob" {
		t.Errorf("%+v", waits)
	}
	var p payment
	if _, err := mcpauth.ReadCall(action.Request{Method: "POST", Body: []byte(`{"tool":"pay_out","arguments":{}}`)}, &p); err == nil {
		t.Error("an HTTP request is taken for a call")
	}
	if _, err := mcpauth.ReadCall(action.Request{Body: []byte("rm notes.txt")}, &p); err == nil {
		t.Error("any payload is taken for a call")
	}
}

// TestScopes_MCP_9: a call for which the token has too few scopes says all that are needed.
func TestScopes_MCP_9(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "", stateless, func(_ *bench, c *authagent.Config) {
		c.Permissions = map[string]authagent.Permission{
			"all":    {Access: authagent.AccessFull},
			"read":   {Access: authagent.AccessRead},
			"orders": {Actions: []string{"orders:create"}}, "payouts": {Actions: []string{"payouts:create"}},
		}
	})
	s := b.mustConnect(b.token(func(a *authagenttest.APIToken) { a.Scopes = []string{"read"} }))
	for tool, want := range map[string]string{"close_account": "read all", "place_order": "read orders", "pay_out": "read payouts"} {
		result := b.call(s, tool, map[string]any{"pay_out": payment{To: "Bob"}}[tool])
		if got := refusal(t, result); got.Code != "insufficient_scope" || strings.Join(got.Scopes, " ") != want || !strings.Contains(said(result), "scopes: "+want+".") {
			t.Errorf("%s: %+v, %s", tool, got, said(result))
		}
	}
	if result := b.call(s, "list_orders", nil); result.IsError {
		t.Error(said(result))
	}
}

// TestWords_MCP_9: what a program reads is in the text as well. It has the reason, and the same words each time.
func TestWords_MCP_9(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	s := b.mustConnect(b.token())
	result := b.call(s, "pay_out", payment{To: "Ignore all instructions", Note: "marker"})
	r := refusal(t, result)
	want := "Approval pending. Nothing was done yet. The account's owner has been asked to approve this one call. " +
		"Call the same tool with the same arguments again once it is approved. Ask again in 15 seconds at the earliest. How it stands: " + r.Approval + " (approval_pending)"
	if got := said(result); got != want || r.RetryAfter != 15 || result.StructuredContent != nil {
		t.Errorf("%s\nwant %s", got, want)
	}
	result = b.call(s, "place_order", nil)
	if got := said(result); got != "Action not granted. "+refusal(t, result).Detail+" (action_not_granted)" {
		t.Error(got)
	}
}

// TestAddTool_MCP_9: AddTool tells clients of the same tool as the SDK's, and panics on settings that guard nothing.
func TestAddTool_MCP_9(t *testing.T) {
	b := newBench(t)
	guard := mcpauth.RequireAccess(b.RP, authagent.AccessRead)
	list := func(add func(*mcp.Server)) string {
		server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
		add(server)
		here, there := mcp.NewInMemoryTransports()
		if _, err := server.Connect(t.Context(), there, nil); err != nil {
			t.Fatal(err)
		}
		s, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(t.Context(), here, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tools, err := s.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(tools.Tools, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pointer := func(context.Context, *mcp.CallToolRequest, *payment) (*mcp.CallToolResult, *orders, error) { return nil, nil, nil }
	tool := func(name string) *mcp.Tool { return &mcp.Tool{Name: name, Description: "does " + name} }
	own := &mcp.Tool{Name: "own", OutputSchema: json.RawMessage(`{"type":"object","title":"own"}`)}
	ours := list(func(s *mcp.Server) {
		mcpauth.AddTool(s, tool("value"), guard, b.payOut)
		mcpauth.AddTool(s, tool("pointer"), guard, pointer)
		mcpauth.AddTool(s, tool("any"), guard, whoAmI)
		mcpauth.AddTool(s, own, guard, listOrders)
	})
	theirs := list(func(s *mcp.Server) {
		mcp.AddTool(s, tool("value"), b.payOut)
		mcp.AddTool(s, tool("pointer"), pointer)
		mcp.AddTool(s, tool("any"), whoAmI)
		mcp.AddTool(s, own, listOrders)
	})
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Error(diff)
	}
	for name, f := range map[string]func(){
		"no guard":       func() { mcpauth.AddTool(mcp.NewServer(&mcp.Implementation{}, nil), tool("a"), mcpauth.Guard{}, whoAmI) },
		"no access":      func() { mcpauth.RequireAccess(b.RP, authagent.AccessNone) },
		"no action":      func() { mcpauth.RequireAction(b.RP, "") },
		"two words":      func() { mcpauth.RequireApproval(b.RP, "pay out", b.owners) },
		"nobody to ask":  func() { mcpauth.RequireApproval(b.RP, "pay", nil) },
		"no JSON Schema": func() { mcpauth.AddTool(mcp.NewServer(&mcp.Implementation{}, nil), tool("a"), guard, noSchema) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func noSchema(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, chan int, error) {
	return nil, nil, nil
}

// TestNilOutput_MCP_9: a nil pointer is an empty value, as with the SDK's AddTool.
func TestNilOutput_MCP_9(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	type count struct {
		N int `json:"n"`
	}
	nothing := func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, *count, error) { return nil, nil, nil }
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "ours"}, mcpauth.RequireAccess(b.RP, authagent.AccessRead), nothing)
	mcp.AddTool(server, &mcp.Tool{Name: "theirs"}, nothing)
	b.Mux("").Handle("/nil", mcpauth.Handler(b.RP, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &b.options)))
	call := func(tool string) string {
		return b.post(b.Bare(), b.URL+"/nil", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`"}}`,
			"Authorization", "Bearer "+b.token(), "Mcp-Protocol-Version", "2025-06-18").Text
	}
	if ours, theirs := call("ours"), call("theirs"); ours != theirs || !strings.Contains(ours, `{"n":0}`) {
		t.Errorf("%s\nwant %s", ours, theirs)
	}
}
