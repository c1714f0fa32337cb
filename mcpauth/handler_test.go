package mcpauth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/mcpauth"
	"github.com/authagent-go/authagent/problem"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`

// post sends a message to the MCP server, with headers in pairs.
func (b *bench) post(c *http.Client, address, message string, headers ...string) *testsite.Response {
	b.T.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(message))
	if err != nil {
		b.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		b.T.Fatal(err)
	}
	return testsite.Read(b.T, resp)
}

// TestRefusals_MCP_2: who has no good access token gets the same answer as at any other door of the site. Its texts are
// constant, and the challenge for access tokens comes first. The SDK answers nobody in its own words.
func TestRefusals_MCP_2(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "", stateless)
	metadata := `resource_metadata="` + b.URL + `/.well-known/oauth-protected-resource/mcp"`
	good, secret := b.token(), "eyJ.marker.eyJ"
	browser := b.Browser()
	b.MustSignIn(browser, b.agent)
	for name, test := range map[string]struct {
		client    *http.Client
		query     string
		headers   []string
		status    int
		code      problem.Reason
		challenge string
	}{
		"none":           {nil, "", nil, 401, "no_session", "Bearer " + metadata},
		"forged":         {nil, "", []string{"Authorization", "Bearer " + secret}, 401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		"other resource": {nil, "", []string{"Authorization", "Bearer " + b.token(func(a *authagenttest.APIToken) { a.Audience = []string{b.URL + "/api"} })}, 401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		"expired":        {nil, "", []string{"Authorization", "Bearer " + b.token(func(a *authagenttest.APIToken) { a.Age = 2 * time.Hour })}, 401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		"no token":       {nil, "", []string{"Authorization", "Bearer two words"}, 400, "invalid_credentials", `Bearer error="invalid_request", ` + metadata},
		"twice":          {nil, "", []string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, 400, "invalid_credentials", `Bearer error="invalid_request", ` + metadata},
		"Basic":          {nil, "", []string{"Authorization", "Basic " + good}, 401, "no_session", "Bearer " + metadata},
		"DPoP":           {nil, "", []string{"Authorization", "DPoP " + good}, 401, "no_session", "Bearer " + metadata},
		"in the address": {nil, "?access_token=" + good, nil, 401, "no_session", "Bearer " + metadata},
		"cookie":         {browser, "", nil, 401, "no_session", "Bearer " + metadata},
		"person":         {nil, "", []string{"Cookie", "human=" + b.AliceID}, 401, "no_session", "Bearer " + metadata},
	} {
		if test.client == nil {
			test.client = b.Bare()
		}
		resp := b.post(test.client, b.resource+test.query, initialize, test.headers...)
		if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != test.status || resp.Reason() != test.code || challenge != test.challenge {
			t.Errorf("%s: status %d, challenge %s, %s\n%s", name, resp.StatusCode, challenge, resp.Text, b.Log)
		}
		if strings.Contains(resp.Text, "marker") || strings.Contains(resp.Text, good) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q %s", name, resp.Header, resp.Text)
		}
	}
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		if resp := b.post(b.Bare(), b.resource, initialize, "Authorization", scheme+" "+good); resp.StatusCode != http.StatusOK || !strings.Contains(resp.Text, "serverInfo") {
			t.Errorf("%s: status %d, %s", scheme, resp.StatusCode, resp.Text)
		}
	}
	if resp := b.post(b.Bare(), b.resource, initialize, "Authorization", "Bearer "+secret); strings.Contains(b.Log.String(), "marker") {
		t.Errorf("a token is in the log: %s", resp.Text)
	}
}

// TestPaused_MCP_2: while agents are paused, none reaches the server, and each is told when to come back.
func TestPaused_MCP_2(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "", stateless)
	if err := b.owners.SetRules(context.Background(), "admin", grants.Rules{Paused: true}); err != nil {
		t.Fatal(err)
	}
	resp := b.post(b.Bare(), b.resource, initialize, "Authorization", "Bearer "+b.token())
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Reason() != problem.Paused || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %s", resp.StatusCode, resp.Text)
	}
}

// TestHandsOn_MCP_3: the SDK learns when the token expires, what it is good for and whose it is.
func TestHandsOn_MCP_3(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "", stateless, func(_ *bench, c *authagent.Config) {
		c.Permissions = map[string]authagent.Permission{"all": {Access: authagent.AccessFull}}
	})
	var info *auth.TokenInfo
	b.Mux("").Handle("/own", mcpauth.Handler(b.RP, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { info = auth.TokenInfoFromContext(r.Context()) })))
	token := b.token()
	me := testsite.Read(t, get(t, b.URL+"/me", token)).Session(t)
	resp := b.post(b.Bare(), b.URL+"/own", "", "Authorization", "Bearer "+token)
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", resp.Header["Cache-Control"])
	}
	if info == nil || !info.Expiration.Equal(me.ExpiresAt) || len(info.Scopes) != 1 || info.Scopes[0] != "all" ||
		info.UserID != `"`+b.AS.URL+`" "agent_1" "`+b.AliceID+`"` {
		t.Errorf("%+v, want that of %+v", info, me)
	}
}

// TestExpires_MCP_3: a token that expires while a session of the MCP server goes on is refused at the next call, and the
// stream of that session ends.
func TestExpires_MCP_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBenchOf(func(f testsite.Change) *testsite.Site { return testsite.NewCluster(t, f) })
		b.post(&http.Client{Transport: b.Hosts}, b.resource, initialize, "Authorization", "Bearer "+b.token()) // asks to be let in
		b.letIn(grants.Approved, authagent.AccessFull)
		token := b.token(func(a *authagenttest.APIToken) { a.Lifetime = 10 * time.Minute })
		c := authagenttest.Bearer(&http.Client{Transport: b.Hosts}, token)
		resp := b.post(c, b.resource, initialize)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s\n%s", resp.StatusCode, resp.Text, b.Log)
		}
		in := []string{"Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"), "Mcp-Protocol-Version", "2025-06-18"}
		b.post(c, b.resource, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, in...)
		const call = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who_am_i"}}`
		if resp := b.post(c, b.resource, call, in...); resp.StatusCode != http.StatusOK || !strings.Contains(resp.Text, `"content"`) {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.Text)
		}
		started := time.Now()
		r := httptest.NewRequest(http.MethodGet, b.resource, nil)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set(in[0], in[1])
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w := httptest.NewRecorder()
		b.Mux("").ServeHTTP(w, r.WithContext(ctx)) // which ends with the stream
		if took := time.Since(started); w.Code != http.StatusOK || took > 10*time.Minute || took < 9*time.Minute {
			t.Errorf("status %d, the stream was open for %s: %s", w.Code, took, w.Body)
		}
		if resp := b.post(c, b.resource, call, in...); resp.StatusCode != http.StatusUnauthorized || resp.Reason() != "invalid_token" {
			t.Errorf("status %d, %s", resp.StatusCode, resp.Text)
		}
		r = httptest.NewRequest(http.MethodDelete, b.resource, nil) // ends the session, and what it has started
		r.Header.Set("Authorization", "Bearer "+b.token())
		r.Header.Set(in[0], in[1])
		b.Mux("").ServeHTTP(httptest.NewRecorder(), r)
	})
}

// TestStale_MCP_4: in a server with sessions of its own, a tool finds the session of the token that came with the call,
// though its context is that of the first request. A session of the server is of one agent for one user.
func TestStale_MCP_4(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "")
	var inContext string
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "who"}, mcpauth.RequireAccess(b.RP, authagent.AccessRead), func(ctx context.Context, req *mcp.CallToolRequest, in struct{}) (*mcp.CallToolResult, any, error) {
		if s, ok := authagent.FromContext(ctx); ok {
			inContext = s.ID
		}
		return whoAmI(ctx, req, in)
	})
	handler := mcpauth.Handler(b.RP, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	b.Mux("").Handle("/stateful", b.RP.RequireAgent(handler))
	first, second := b.token(), b.token()
	other := b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_a"})
	others := b.AS.AccessToken(other, authagenttest.APIToken{Audience: []string{b.resource}})
	b.post(b.Bare(), b.resource, initialize, "Authorization", "Bearer "+others) // asks to be let in
	b.letIn(grants.Approved, authagent.AccessFull)
	id := func(token string) string { return testsite.Read(t, get(t, b.URL+"/me", token)).Session(t).ID }

	resp := b.post(b.Bare(), b.URL+"/stateful", initialize, "Authorization", "Bearer "+first)
	in := []string{"Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"), "Authorization"}
	b.post(b.Bare(), b.URL+"/stateful", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, append(in, "Bearer "+first)...)
	call := func(token string) *testsite.Response {
		return b.post(b.Bare(), b.URL+"/stateful", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who"}}`, append(in[:3:3], "Bearer "+token)...)
	}
	if resp := call(second); !strings.Contains(resp.Text, id(second)) || inContext != id(first) {
		t.Errorf("the session is not %q, or that of the context, %q, not %q: %s\n%s", id(second), inContext, id(first), resp.Text, b.Log)
	}
	if resp := call(others); resp.StatusCode != http.StatusForbidden || resp.Text != "session user mismatch\n" {
		t.Errorf("another agent: status %d, %s", resp.StatusCode, resp.Text)
	}
	if err := b.RP.EndSession(context.Background(), id(first)); err != nil {
		t.Fatal(err)
	}
	if resp := call(first); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a session that has ended: status %d, %s", resp.StatusCode, resp.Text)
	}
	if resp := call(second); resp.StatusCode != http.StatusOK {
		t.Errorf("another session: status %d, %s", resp.StatusCode, resp.Text)
	}
}

// TestEndsBetween_MCP_5: what ends, pauses or lowers a session after the handler has looked at it, while the call comes
// or waits, counts for the tool.
func TestEndsBetween_MCP_5(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*bench)
		want problem.Reason
	}{
		{"stopped", func(b *bench) { b.letIn(grants.Revoked, authagent.AccessRead) }, problem.NoSession},
		{"ended", func(b *bench) {
			if err := b.RP.EndUserSessions(context.Background(), b.AliceID); err != nil {
				b.T.Error(err)
			}
		}, problem.NoSession},
		{"paused", func(b *bench) {
			if err := b.owners.SetRules(context.Background(), "admin", grants.Rules{Paused: true}); err != nil {
				b.T.Error(err)
			}
		}, problem.Paused},
	} {
		for tool, arguments := range map[string]any{"list_orders": nil, "place_order": nil, "pay_out": payment{To: "Bob"}} {
			b := admitted(t, authagent.AccessFull, "", stateless)
			s := b.mustConnect(b.token())
			b.between = func() { test.do(b) }
			if said := b.refused(s, tool, arguments, test.want); said.Retry != (test.want == problem.Paused) {
				t.Errorf("%s, %s: %+v", test.name, tool, said)
			}
			if len(b.waiting()) != 0 {
				t.Errorf("%s, %s: the owner is asked", test.name, tool)
			}
		}
	}
	b := admitted(t, authagent.AccessFull, "", stateless)
	s := b.mustConnect(b.token())
	b.between = func() { b.letIn(grants.Approved, authagent.AccessRead) }
	b.refused(s, "close_account", nil, problem.AccessTooLow)
}

// TestNoSession_MCP_5: a tool with a guard runs for nobody at a server that has no Handler in front.
func TestNoSession_MCP_5(t *testing.T) {
	b := newBench(t)
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	mcpauth.AddTool(server, &mcp.Tool{Name: "list_orders"}, mcpauth.RequireAccess(b.RP, authagent.AccessRead), listOrders)
	mcpauth.AddTool(server, &mcp.Tool{Name: "place_order"}, mcpauth.RequireAction(b.RP, "orders:create"), whoAmI)
	mcpauth.AddTool(server, &mcp.Tool{Name: "pay_out"}, mcpauth.RequireApproval(b.RP, "payouts:create", b.owners), b.payOut)
	here, there := mcp.NewInMemoryTransports()
	if _, err := server.Connect(t.Context(), there, nil); err != nil {
		t.Fatal(err)
	}
	local, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	own := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
	defer own.Close()
	remote, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: own.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	for tool, arguments := range map[string]any{"list_orders": nil, "place_order": nil, "pay_out": payment{To: "Bob"}} {
		b.refused(local, tool, arguments, problem.NoSession)
		b.refused(remote, tool, arguments, problem.NoSession)
	}
}

// TestStreams_MCP_11: a client that listens for changes hears of none soon after its session has ended, also at a server
// without sessions, which it asks with a POST.
func TestStreams_MCP_11(t *testing.T) {
	const listen = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{
		"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	for name, stop := range map[string]func(*bench){
		"expired": func(*bench) {},
		"stopped": func(b *bench) { b.letIn(grants.Revoked, authagent.AccessRead) },
		"paused": func(b *bench) {
			if err := b.owners.SetRules(context.Background(), "admin", grants.Rules{Paused: true}); err != nil {
				b.T.Error(err)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBenchOf(func(f testsite.Change) *testsite.Site { return testsite.NewCluster(t, f) }, stateless)
			b.post(&http.Client{Transport: b.Hosts}, b.resource, initialize, "Authorization", "Bearer "+b.token()) // asks to be let in
			b.letIn(grants.Approved, authagent.AccessFull)
			r := httptest.NewRequest(http.MethodPost, b.resource, strings.NewReader(listen))
			for name, value := range map[string]string{
				"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28",
				"Mcp-Method": "subscriptions/listen", "Authorization": "Bearer " + b.token(func(a *authagenttest.APIToken) { a.Lifetime = 10 * time.Minute }),
			} {
				r.Header.Set(name, value)
			}
			after, started := map[string]time.Duration{"expired": 10 * time.Minute}[name], time.Now()
			if after == 0 {
				after = 5*time.Minute + time.Second
				time.AfterFunc(after, func() { stop(b) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			w := httptest.NewRecorder()
			b.Mux("").ServeHTTP(w, r.WithContext(ctx))
			if took := time.Since(started); w.Code != http.StatusOK || took < after-time.Minute || took > after+time.Minute {
				t.Errorf("%s: status %d, the stream was open for %s: %s", name, w.Code, took, w.Body)
			}
		})
	}
}

// TestRecover_MCP_12: no call ends the process, whether the tool panics or the SDK does before it. What it panicked with
// is told to nobody.
func TestRecover_MCP_12(t *testing.T) {
	b := admitted(t, authagent.AccessRead, "", stateless)
	server := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	type greeting struct {
		Text string `json:"text"`
	}
	schema := json.RawMessage(`{"type":"object","properties":{"text":{"type":"string","default":"hello"}}}`)
	mcpauth.AddTool(server, &mcp.Tool{Name: "greet", InputSchema: schema}, mcpauth.RequireAccess(b.RP, authagent.AccessRead),
		func(_ context.Context, _ *mcp.CallToolRequest, in greeting) (*mcp.CallToolResult, any, error) {
			if in.Text != "hello" {
				panic("marker")
			}
			return nil, "greeted", nil
		})
	b.Mux("").Handle("/greet", mcpauth.Handler(b.RP, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &b.options)))
	for arguments, want := range map[string]string{`{}`: "greeted", `null`: `"message":"internal error"`, `{"text":"no"}`: `"message":"internal error"`} {
		resp := b.post(b.Bare(), b.URL+"/greet", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":`+arguments+`}}`,
			"Authorization", "Bearer "+b.token(), "Mcp-Protocol-Version", "2025-06-18")
		if !strings.Contains(resp.Text, want) || strings.Contains(resp.Text, "marker") {
			t.Errorf("%s: status %d, %s", arguments, resp.StatusCode, resp.Text)
		}
	}
}

// TestBatch_MCP_13: an agent gets around no limit with several calls in one request.
func TestBatch_MCP_13(t *testing.T) {
	b := admitted(t, authagent.AccessFull, "", stateless, func(_ *bench, c *authagent.Config) {
		c.Limits.Agent = limits.Rate{N: 3, Per: time.Hour}
	})
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_orders"}}`
	var calls []string
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		calls = append(calls, strings.Replace(call, `"id":1`, `"id":`+id, 1))
	}
	resp := b.post(b.Bare(), b.resource, "["+strings.Join(calls, ",")+"]", "Authorization", "Bearer "+b.token())
	if passed, refused := strings.Count(resp.Text, "structuredContent"), strings.Count(resp.Text, `"error":"rate_limited"`); passed != 3 || refused != 2 {
		t.Errorf("%d calls passed and %d were refused: %d %s", passed, refused, resp.StatusCode, resp.Text)
	}
}
