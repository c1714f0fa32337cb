package requirements_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestOwnerByAddress_API_16: where accounts are found by address, the one in the token or in introspection counts, and
// userinfo is not asked. One that is not verified is none.
func TestOwnerByAddress_API_16(t *testing.T) {
	d := newDoorCluster(t, func(b *bench, c *authagent.Config) {
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = false })
		b.AliceID = b.Users.Add("alice@shop.example", "Alice")
		c.Provider.SubjectIsUser, c.Scenario = false, authagent.FullAccount(b.Users, letIn{})
	})
	for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
		for what, test := range map[string]struct {
			claims map[string]any
			ok     bool
		}{
			"an address":          {map[string]any{"email": "Alice@Shop.example"}, true},
			"verified":            {map[string]any{"email": "alice@shop.example", "email_verified": true}, true},
			"not verified":        {map[string]any{"email": "alice@shop.example", "email_verified": false}, false},
			"verified oddly":      {map[string]any{"email": "alice@shop.example", "email_verified": "yes"}, false},
			"none":                {nil, false},
			"somebody else's":     {map[string]any{"email": "carol@shop.example"}, false},
			"no plain address":    {map[string]any{"email": "Alice <alice@shop.example>"}, false},
			"of another type":     {map[string]any{"email": []string{"alice@shop.example"}}, false},
			"in another's claims": {map[string]any{"act": nil, "owner": map[string]any{"email": "alice@shop.example"}}, false},
		} {
			token := d.token(as, claiming(test.claims))
			if !test.ok {
				d.refused(what+", "+form, "/me", token, 403, problem.NoAccount, "")
			} else if s := d.good(what+", "+form, token); s.UserID != d.AliceID || s.Subject != "" || s.Agent.ID != "agent_1" {
				t.Errorf("%s, %s: session %+v", what, form, s)
			}
		}
	}
	if n := d.AS.Count(authagenttest.PathUserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times", n)
	}
}

// TestNoAddress_API_47: a token that names no address neither lets an agent in nor suspends its grant, as an address
// would that has changed.
func TestNoAddress_API_47(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	d := newDoorCluster(t, func(b *bench, c *authagent.Config) {
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = false })
		b.AliceID = b.Users.Add("alice@shop.example", "Alice")
		c.Provider.SubjectIsUser, c.Scenario = false, authagent.FullAccount(b.Users, owners)
	})
	named := d.token(claiming(map[string]any{"email": "alice@shop.example"}))
	d.refused("before the owner's yes", "/me", named, 403, problem.ApprovalNeeded, "")
	owners.Wait()
	o, err := owners.Overview(t.Context(), d.AliceID)
	if err != nil || len(o.Grants) != 1 {
		t.Fatal(o, err)
	}
	decision := grants.Decision{GrantID: o.Grants[0].ID, Version: o.Grants[0].Version, State: grants.Approved, Access: authagent.AccessRead}
	if _, err := owners.Decide(t.Context(), d.AliceID, decision); err != nil {
		t.Fatal(err)
	}
	d.good("with the address", named)
	d.refused("without an address", "/me", d.token(), 403, problem.ApprovalNeeded, "")
	d.good("with the address, again", named)
	d.refused("with another address", "/me", d.token(claiming(map[string]any{"email": "carol@shop.example"})), 403, problem.Suspended, "")
}

// TestScenarios_API_17: a token begins the session that a sign-in would, in every scenario, and with the least of what the
// scenario, the policy and the scopes give.
func TestScenarios_API_17(t *testing.T) {
	profiles := &memstore.Profiles{}
	for name, test := range map[string]struct {
		scenario func(*memstore.SubjectUsers) authagent.Scenario
		change   func(*bench, *authagent.Config)
		scopes   []string
		want     authagent.Session
		hasUser  bool
		profile  bool
	}{
		"FullAccount": {func(u *memstore.SubjectUsers) authagent.Scenario { return authagent.FullAccount(u, letIn{}) }, nil, nil,
			authagent.Session{Access: authagent.AccessFull}, true, false},
		"ContextualProfile": {func(u *memstore.SubjectUsers) authagent.Scenario {
			return authagent.ContextualProfile(u, profiles, letIn{})
		}, nil, nil,
			authagent.Session{Access: authagent.AccessRead}, true, true},
		"FreshProfile": {func(*memstore.SubjectUsers) authagent.Scenario { return authagent.FreshProfile(profiles) }, nil, nil, authagent.Session{}, false, true},
		"least by policy": {func(u *memstore.SubjectUsers) authagent.Scenario {
			return authagent.FullAccount(u, letIn{actions: "orders:create"})
		}, nil, nil,
			authagent.Session{Access: authagent.AccessRead, Actions: []string{"orders:create"}}, true, false},
		"least by scopes": {func(u *memstore.SubjectUsers) authagent.Scenario { return authagent.FullAccount(u, letIn{}) }, permitted, []string{"shop:read", "other"},
			authagent.Session{Access: authagent.AccessRead, Scopes: []string{"shop:read"}}, true, false},
		"least by all": {func(u *memstore.SubjectUsers) authagent.Scenario {
			return authagent.FullAccount(u, letIn{actions: "orders:create orders:delete"})
		}, permitted, []string{"orders:end"}, authagent.Session{Access: authagent.AccessRead, Actions: []string{"orders:delete"}, Scopes: []string{"orders:end"}}, true, false},
	} {
		d := newDoorClusterOf(t, func(u *memstore.SubjectUsers, c *authagent.Config) { c.Scenario = test.scenario(u) }, func(b *bench, c *authagent.Config) {
			if test.change != nil {
				test.change(b, c)
			}
		})
		s := d.good(name, d.token(func(t *authagenttest.APIToken) { t.Scopes = test.scopes }))
		if s.Access != test.want.Access || !slices.Equal(s.Actions, test.want.Actions) || !slices.Equal(s.Scopes, test.want.Scopes) ||
			(s.UserID == d.AliceID) != test.hasUser || (s.ProfileID != "") != test.profile || s.Agent.ID != "agent_1" {
			t.Errorf("%s: session %+v", name, s)
		}
		if name == "least by all" || name == "least by scopes" {
			continue // the server asks for scopes at a sign-in
		}
		if same := d.MustSignIn(d.Browser(), d.agent); same.Access != s.Access || same.UserID != s.UserID || same.ProfileID != s.ProfileID || same.Agent != s.Agent || same.Subject != s.Subject {
			t.Errorf("%s: with a cookie %+v, with a token %+v", name, same, s)
		}
	}
}

// TestWaitsForOwner_API_18: an agent that its owner has not let in learns where they decide, as at a sign-in, and passes with
// the same token once they have.
func TestWaitsForOwner_API_18(t *testing.T) {
	for _, as := range []func(*authagenttest.APIToken){typed("at+jwt"), opaque} {
		synctest.Test(t, func(t *testing.T) {
			d := newOwnedDoor(t)
			token := d.token(as)
			said := func(text string) map[string]any {
				var members map[string]any
				json.Unmarshal([]byte(text), &members)
				return members
			}
			byToken, byCookie := said(d.call("/me", token).Text), said(d.SignIn(d.Browser(), d.agent).Text)
			for _, member := range []string{"error", "status", "owner_page", "compare"} {
				if byToken[member] == nil || byToken[member] != byCookie[member] {
					t.Errorf("%s: %v by token, %v at a sign-in", member, byToken[member], byCookie[member])
				}
			}
			if n := len(d.Events.Named(audit.TokenAccepted)); n != 0 {
				t.Errorf("accepted %d times", n)
			}
			time.Sleep(10 * time.Minute)
			d.decide(grants.Approved)
			s := d.good("after the yes", token)
			if s.GrantID != d.grant().ID || s.Access != authagent.AccessFull {
				t.Errorf("session %+v", s)
			}
			d.owners.Wait()
			o, err := d.owners.Overview(context.Background(), d.AliceID)
			if err != nil || len(o.Sessions) != 1 || o.Sessions[0].Door != audit.API || o.Sessions[0].SessionID != s.ID {
				t.Errorf("the owner sees %+v, %v", o.Sessions, err)
			}
		})
	}
}

// TestApprovals_API_19: what an owner approves one at a time passes once by a token too, and limits count both doors together.
func TestApprovals_API_19(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOwnedDoor(t)
		token := d.token()
		d.letIn(token)
		d.handle("POST /pay", d.RP.RequireApproval("orders:pay", d.owners))
		pay := func() *response {
			return d.Send(d.Bare(), "POST", "/pay", "amount=1", "Authorization", "Bearer "+token, "Content-Type", formType)
		}
		waiting := pay()
		if waiting.StatusCode != 202 || waiting.Header.Get("Location") == "" {
			t.Fatalf("%d %s", waiting.StatusCode, waiting.Text)
		}
		approve := func() {
			t.Helper()
			all, err := d.store.OwnerApprovals(t.Context(), d.AliceID)
			if err != nil || len(all) == 0 {
				t.Fatalf("%v, %v", all, err)
			}
			for _, a := range all {
				if a.State == grants.Pending {
					if _, err := d.owners.DecideAction(t.Context(), d.AliceID, a.ID, a.Version, true); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		approve()
		if resp := pay(); resp.StatusCode != 200 || resp.Text != "amount=1" {
			t.Errorf("approved: %d %s", resp.StatusCode, resp.Text)
		}
		if resp := pay(); resp.StatusCode == 200 {
			t.Errorf("a second time: %d", resp.StatusCode)
		}

		var s *authagent.Session
		d.Mux("").Handle("/tool", d.RP.RequireAgent(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s, _ = authagent.FromContext(r.Context()) })))
		d.call("/tool", token)
		if s == nil || s.Door != audit.API {
			t.Fatalf("session %+v", s)
		}
		if _, _, err := d.RP.Approve(t.Context(), s, "orders:pay", []byte("two"), d.owners); !errorIs(err, problem.ApprovalPending) {
			t.Errorf("by Approve: %v", err)
		}
		approve()
		reserved, _, err := d.RP.Approve(t.Context(), s, "orders:pay", []byte("two"), d.owners)
		if err != nil {
			t.Fatalf("approved: %v", err)
		}
		reserved.End(t.Context())
		if _, err := d.RP.TokenSource(t.Context(), s).Token(); !errorIs(err, problem.Reason("no_tokens")) {
			t.Errorf("its tokens: %v", err)
		}
		d.RP.EndSession(t.Context(), s.ID)
		if _, _, err := d.RP.Approve(t.Context(), s, "orders:pay", []byte("three"), d.owners); !errorIs(err, problem.NoSession) {
			t.Errorf("ended: %v", err)
		}
	})
	d := newDoorCluster(t, func(_ *bench, c *authagent.Config) { c.Limits.Agent.N = 4 })
	browser := d.Browser()
	d.MustSignIn(browser, d.agent)
	first, second := d.token(), d.token(opaque)
	d.good("by the first token", first)
	d.good("by the second token", second)
	if d.Me(browser) == nil {
		t.Error("limited too early")
	}
	for _, token := range []string{first, second, d.token()} {
		if resp := d.call("/me", token); resp.StatusCode != 429 || resp.Reason() != problem.Limited || resp.Header.Get("Retry-After") == "" {
			t.Errorf("over the limit: %d %s", resp.StatusCode, resp.Text)
		}
	}
}

func errorIs(err error, reason problem.Reason) bool {
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(reason)
}

// TestSessionID_API_20: a token stands for one session, at all instances and after restarts, and events say by which door
// it came.
func TestSessionID_API_20(t *testing.T) {
	d := newDoorCluster(t)
	d.Instance("b")
	seen := map[string]bool{}
	for form, as := range map[string]func(*authagenttest.APIToken){
		"JWT": typed("at+jwt"), "opaque": opaque, "without jti": claiming(map[string]any{"jti": nil}),
		"opaque, without jti": func(t *authagenttest.APIToken) { opaque(t); t.Claims = map[string]any{"jti": nil} },
	} {
		token := d.token(as)
		s := d.good(form, token)
		again, b := d.good(form+", again", token), d.good(form+", at another instance", token, "X-Instance", "b")
		d.Instance("b")
		if restarted := d.good(form+", after a restart", token, "X-Instance", "b"); s.ID == "" || again.ID != s.ID || b.ID != s.ID || restarted.ID != s.ID {
			t.Errorf("%s: sessions %q, %q, %q, %q", form, s.ID, again.ID, b.ID, restarted.ID)
		}
		if seen[s.ID] || len(s.ID) < 22 || strings.Contains(token, s.ID) {
			t.Errorf("%s: session %q", form, s.ID)
		}
		seen[s.ID] = true
		later := func(t *authagenttest.APIToken) { t.Lifetime = 2 * time.Hour } // without jti, all that differs is what it says
		if other := d.good(form+", another token", d.token(as, later)); other.ID == s.ID {
			t.Errorf("%s: two tokens have the session %q", form, s.ID)
		}
		d.refused(form, "/humans", token, 403, problem.AgentForbidden, "")
		d.RP.EndSession(t.Context(), s.ID)
		d.bad(form+", ended", token)
	}
	d.RP.Shutdown(t.Context())
	for _, name := range []audit.Name{audit.TokenAccepted, audit.PermissionDenied} {
		events := d.Events.Named(name)
		for _, e := range events {
			if e.Door != audit.API || e.SessionID == "" || e.Agent.ID != "agent_1" {
				t.Errorf("event %+v", e)
			}
		}
		if len(events) == 0 {
			t.Errorf("no event %s", name)
		}
	}
}

// TestTokenStaysHere_API_14: no token is in a log, an error, an event, an answer or an address, and it is sent on for
// introspection alone.
func TestTokenStaysHere_API_14(t *testing.T) {
	d := newDoorCluster(t)
	var tokens []string
	send := func(line, token string) {
		tokens = append(tokens, token)
		for path := range d.guardPathsOnce() {
			resp := d.Get(d.Bare(), path, "Authorization", line)
			for name, values := range resp.Header {
				if strings.Contains(strings.Join(values, ""), token) {
					t.Errorf("%s: %s has the token", path, name)
				}
			}
			if strings.Contains(resp.Text, token) {
				t.Errorf("%s: the answer has the token: %s", path, resp.Text)
			}
		}
	}
	for _, as := range []func(*authagenttest.APIToken){typed("at+jwt"), opaque, claiming(map[string]any{"aud": "elsewhere"}), claiming(map[string]any{"cnf": map[string]any{}})} {
		token := d.token(as)
		send("Bearer "+token, token)
	}
	for _, kind := range authagenttest.Forgeries() {
		token := d.AS.ForgedToken(d.agent, authagenttest.APIToken{Audience: []string{d.resource}}, kind)
		send("Bearer "+token, token)
	}
	for _, token := range []string{"secret-made-up", "secret%made%up", "secret,secret"} {
		send("Bearer "+token, token)
	}
	d.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(500, "text/plain", ""))
	send("Bearer secret-while-down", "secret-while-down")
	d.RP.Shutdown(t.Context())
	events, _ := json.Marshal(d.Events.All())
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		signature := parts[len(parts)-1]
		for what, text := range map[string]string{"the log": d.Log.String(), "an event": string(events)} {
			if strings.Contains(text, token) || signature != "" && strings.Contains(text, signature) {
				t.Errorf("%s has a token", what)
			}
		}
		for _, r := range d.AS.Requests("") {
			if text := r.URL.String() + r.Header.Get("Authorization"); strings.Contains(text, token) || strings.Contains(string(r.Body), token) && r.Path != authagenttest.PathIntrospect {
				t.Errorf("%s was sent a token", r.Path)
			}
		}
	}
}

// guardPathsOnce is guardPaths, which can mount them one time.
func (d *doorBench) guardPathsOnce() map[string]int {
	if d.paths == nil {
		d.paths = d.guardPaths()
	}
	return d.paths
}
