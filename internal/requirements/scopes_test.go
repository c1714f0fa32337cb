package requirements_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// scopes is what the site of these tests makes of the server's scopes.
var scopes = map[string]authagent.Permission{
	"shop:read":    {Access: authagent.AccessRead},
	"shop:all":     {Access: authagent.AccessFull},
	"orders:write": {Actions: []string{"orders:create"}},
	"orders:end":   {Access: authagent.AccessRead, Actions: []string{"orders:delete"}},
	"nothing":      {},
}

// grantsScope has the token endpoint say what it grants.
func (b *bench) grantsScope(scope string) {
	b.AS.Wrap(authagenttest.PathToken, rewrite(map[string]any{"scope": scope}))
}

// TestScopesLimit_SCP_1: an agent has the least of scenario, scopes and grant, and the site's policy is
// told what was granted.
func TestScopesLimit_SCP_1(t *testing.T) {
	full, read, none := authagent.AccessFull, authagent.AccessRead, authagent.AccessNone
	for name, test := range map[string]struct {
		policy     letIn // whose zero value gives full access
		contextual bool
		granted    string
		access     authagent.Access
		actions    []string
	}{
		"all of it":                         {letIn{}, false, "openid shop:all", full, nil},
		"to read":                           {letIn{}, false, "openid shop:read", read, nil},
		"an action, and to read":            {letIn{}, false, "openid shop:read orders:write", read, []string{"orders:create"}},
		"two actions":                       {letIn{}, false, "orders:write orders:end", read, []string{"orders:create", "orders:delete"}},
		"an action, without access":         {letIn{}, false, "openid orders:write", none, nil},
		"all, of a grant with one action":   {letIn{actions: "orders:create"}, false, "shop:all", read, []string{"orders:create"}},
		"read, of a grant with one action":  {letIn{actions: "orders:create"}, false, "shop:read", read, nil},
		"another action than the grant has": {letIn{actions: "orders:create"}, false, "orders:end", read, nil},
		"the same action as the grant has":  {letIn{actions: "orders:create other"}, false, "shop:read orders:write", read, []string{"orders:create"}},
		"a profile is read-only":            {letIn{}, true, "shop:all", read, nil},
		"nothing that is known":             {letIn{}, false, "openid profile shop:READ", none, nil},
		"a scope that allows nothing":       {letIn{}, false, "openid nothing", none, nil},
		"nothing":                           {letIn{}, false, "", none, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, _ := newSubjectBench(t, func(users authagent.UserStore, b *bench) authagent.Scenario {
				if test.contextual {
					return authagent.ContextualProfile(users, b.Profiles, test.policy)
				}
				return authagent.FullAccount(users, test.policy)
			}, func(_ *bench, c *authagent.Config) { c.Permissions = scopes })
			b.grantsScope(test.granted)
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
			if test.access == none {
				b.MustRefuseSignIn(agent, 403, problem.Reason("insufficient_scope"))
				return
			}
			c := b.Browser()
			got := b.MustSignIn(c, agent)
			if got.Access != test.access || !slices.Equal(got.Actions, test.actions) {
				t.Errorf("access %v, actions %q; want %v, %q", got.Access, got.Actions, test.access, test.actions)
			}
			if e := b.Events.Named(audit.LoginSucceeded); len(e) != 1 || e[0].Access != test.access.String() {
				t.Errorf("events %+v, want one with access %v: what is kept is the least, too", e, test.access)
			}
			if again := b.Me(c); again.Access != test.access || !slices.Equal(again.Actions, test.actions) {
				t.Errorf("on the next request: access %v, actions %q", again.Access, again.Actions)
			}
		})
	}
}

// TestScopesAsked_SCP_2: the scopes that allow something are asked for, unless the site says which are.
func TestScopesAsked_SCP_2(t *testing.T) {
	for name, test := range map[string]struct {
		own  []string
		want string
	}{
		"by default": {nil, "openid nothing orders:end orders:write shop:all shop:read"},
		"the site's": {[]string{"openid", "shop:read"}, "openid shop:read"},
	} {
		b, _, _ := newSubjectBench(t, fullBySubject, func(_ *bench, c *authagent.Config) { c.Permissions, c.Provider.Scopes = scopes, test.own })
		if got := mustParse(t, b.Begin(b.Browser(), "")).Query().Get("scope"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestScopesOfToken_SCP_3: what the access token says of its scope limits what the token endpoint says.
// An endpoint that says nothing has granted what was asked for, if nobody could change that.
func TestScopesOfToken_SCP_3(t *testing.T) {
	for name, test := range map[string]struct {
		answer any // scope of the token endpoint's answer; nil for none
		token  any
		want   authagent.Access
		pushed bool
	}{
		"silent, and a token with less":     {nil, "openid shop:read", authagent.AccessRead, false},
		"more than in the token":            {"shop:all", "shop:read", authagent.AccessNone, false},
		"less than in the token":            {"shop:read", "shop:read shop:all", authagent.AccessRead, false},
		"both, the token without":           {"shop:all", nil, authagent.AccessFull, false},
		"silent, and a token that has none": {nil, nil, authagent.AccessNone, false},
		"the same, of a pushed request":     {nil, nil, authagent.AccessFull, true},
		"in an array":                       {"shop:all shop:read", []string{"shop:read"}, authagent.AccessRead, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, _ := newSubjectBench(t, fullBySubject, func(b *bench, c *authagent.Config) {
				c.Permissions, c.Provider.TokenKey = scopes, b.AS.JWTSecret
				b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
					f.IDToken, f.PushedRequests = false, "offered"
				})
				c.Provider.PushRequests = test.pushed
			})
			claims := with(b.accessClaims(), members{"sub": "user_a", "act": members{"sub": "agent_1"}, "scope": test.token})
			b.gives(members{"access_token": signedHS256(b.AS.JWTSecret, nil, claims), "id_token": nil, "scope": test.answer, "refresh_token": nil})
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
			if test.want == authagent.AccessNone {
				b.MustRefuseSignIn(agent, 403, problem.Reason("insufficient_scope"))
				return
			}
			if got := b.MustSignIn(b.Browser(), agent); got.Access != test.want {
				t.Errorf("access %v, want %v", got.Access, test.want)
			}
		})
	}
}

// TestScopesRefuse_SCP_4: what is refused for want of a scope is not put to the owner, who could do nothing.
func TestScopesRefuse_SCP_4(t *testing.T) {
	b, _, _ := newSubjectBench(t, fullBySubject, func(_ *bench, c *authagent.Config) { c.Permissions = scopes })
	b.grantsScope("shop:read orders:write")
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	b.Mux("").Handle("POST /orders", b.RP.RequireAction("orders:create")(ok))
	b.Mux("").Handle("DELETE /orders", b.RP.RequireAction("orders:delete")(ok))
	c := b.Browser()
	b.MustSignIn(c, b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}))
	if got := b.Do(c, http.MethodPost, "/orders"); got.StatusCode != 200 {
		t.Errorf("an action of a granted scope: %d %s", got.StatusCode, got.Text)
	}
	if got := b.Do(c, http.MethodDelete, "/orders"); got.StatusCode != 403 || got.Reason() != "insufficient_scope" {
		t.Errorf("an action of another scope: %d %s", got.StatusCode, got.Text)
	}
	asked := 0
	waits := approverFunc(func(action.Request) (string, error) { asked++; return "", problem.ApprovalPending })
	for name, path := range map[string]string{"orders:create": "/one", "orders:delete": "/other"} {
		b.Mux("").Handle("POST "+path, b.RP.RequireApproval(name, waits)(ok))
	}
	if got := b.Do(c, http.MethodPost, "/other"); got.Reason() != "insufficient_scope" || asked != 0 {
		t.Errorf("an action of another scope, each by itself: %d %s, asked %d times", got.StatusCode, got.Text, asked)
	}
	if got := b.Do(c, http.MethodPost, "/one"); got.Reason() != problem.ApprovalPending || asked != 1 {
		t.Errorf("an action of a granted scope, each by itself: %d %s, asked %d times", got.StatusCode, got.Text, asked)
	}
}

// TestPermissionsChange_SCP_5: a session is held to the permissions as they are now.
func TestPermissionsChange_SCP_5(t *testing.T) {
	b, _, _ := newSubjectBench(t, fullBySubject, func(_ *bench, c *authagent.Config) { c.Permissions = scopes })
	b.grantsScope("shop:all orders:write")
	c := b.Browser()
	b.MustSignIn(c, b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}))
	for name, test := range map[string]struct {
		permissions map[string]authagent.Permission
		want        authagent.Access
	}{
		"less":    {map[string]authagent.Permission{"shop:all": {Access: authagent.AccessRead}}, authagent.AccessRead},
		"nothing": {map[string]authagent.Permission{"shop:read": {Access: authagent.AccessRead}}, authagent.AccessNone},
		"empty":   {map[string]authagent.Permission{}, authagent.AccessNone},
		"no more": {nil, authagent.AccessFull},
	} {
		b.Instance(name, func(c *authagent.Config) { c.Permissions = test.permissions })
		if got := b.Get(c, "/me", "X-Instance", name).Session(t); got.Access != test.want {
			t.Errorf("%s: access %v, want %v", name, got.Access, test.want)
		}
	}
}

// TestPermissionsWrong_SCP_6: permissions that cannot be, or have no effect, are told at New.
func TestPermissionsWrong_SCP_6(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		permissions map[string]authagent.Permission
		scenario    authagent.Scenario
		want        string
	}{
		"access":    {map[string]authagent.Permission{"a": {Access: 7}}, b.Config.Scenario, `Permissions: "a" allows`},
		"negative":  {map[string]authagent.Permission{"a": {Access: -1}}, b.Config.Scenario, `Permissions: "a" allows`},
		"no action": {map[string]authagent.Permission{"a": {Actions: []string{"a b"}}}, b.Config.Scenario, `Permissions: "a" allows`},
		"no scope":  {map[string]authagent.Permission{"a b": {}}, b.Config.Scenario, "Scopes"},
		"no access": {map[string]authagent.Permission{"a": {Actions: []string{"orders:create"}}}, b.Config.Scenario, "no scope allows AccessRead"},
		"not offered": {map[string]authagent.Permission{"a": {Access: authagent.AccessRead, Actions: []string{"orders:create"}}},
			authagent.FullAccount(b.Users, grants.OwnerApproval(&memstore.Grants{})), `allows orders:create: it is not in Policy.Actions`},
		"FreshProfile": {scopes, authagent.FreshProfile(b.Profiles), "Permissions: has no effect"},
	} {
		c := b.Config
		c.Permissions, c.Scenario = test.permissions, test.scenario
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
