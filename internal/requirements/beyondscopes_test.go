package requirements_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestScopesTakenOutOnTheWay_SCP_3: an agent drives the browser, and may take scopes out of the request before the
// server and the owner see it. A server that then grants what it was asked for says nothing.
func TestScopesTakenOutOnTheWay_SCP_3(t *testing.T) {
	b, _, _ := newSubjectBench(t, fullBySubject, func(_ *bench, c *authagent.Config) { c.Permissions = scopes })
	b.grantsNothingSaid()
	agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	c := b.Browser()
	u := mustParse(t, b.Begin(c, ""))
	q := u.Query()
	q.Set("scope", "openid shop:read")
	u.RawQuery = q.Encode()
	resp := b.Get(c, b.Authorize(agent, u.String()))
	if got := b.Me(c); got != nil && got.Access > authagent.AccessRead {
		t.Errorf("%d: access %v by scopes that nobody was asked for", resp.StatusCode, got.Access)
	}
}

// grantsNothingSaid is a token endpoint that does not say what it grants, with tokens that do not either.
func (b *bench) grantsNothingSaid() {
	b.AS.Wrap(authagenttest.PathToken, rewrite(map[string]any{"scope": nil, "access_token": "opaque-token-of-the-server", "refresh_token": nil}))
	b.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(200, "application/json", `{"active":true,"client_id":"site"}`))
}

// TestApprovalBeyondScopes_SCP_4: an owner is not asked about an action that no granted scope allows.
func TestApprovalBeyondScopes_SCP_4(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger, owners.Approvals = discardLog(), map[string]string{"orders:delete": "Delete", "orders:create": "Create"}
	b, _, _ := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, owners)
	}, func(_ *bench, c *authagent.Config) {
		c.Permissions = scopes
		owners.ApproveByConsent = []string{c.Issuer}
	})
	b.grantsScope("shop:read orders:write")
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	b.Mux("").Handle("POST /orders", b.RP.RequireApproval("orders:create", owners)(ok))
	b.Mux("").Handle("DELETE /orders", b.RP.RequireApproval("orders:delete", owners)(ok))
	c := b.Browser()
	s := b.MustSignIn(c, b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}))
	if got := b.Do(c, http.MethodPost, "/orders"); got.StatusCode != 202 {
		t.Errorf("an action of a granted scope: %d %s", got.StatusCode, got.Text)
	}
	if got := b.Do(c, http.MethodDelete, "/orders"); got.StatusCode != 403 || got.Reason() != "insufficient_scope" {
		t.Errorf("an action of another scope: %d %s", got.StatusCode, got.Text)
	}
	_, _, err := b.RP.Approve(t.Context(), s, "orders:delete", []byte("all"), owners)
	if reason, _ := err.(interface{ Is(error) bool }); err == nil || reason == nil || !reason.Is(problem.Reason("insufficient_scope")) {
		t.Errorf("by Approve: %v", err)
	}
}

// TestConnectOfDisabled_SUB_5: a disabled account is one: whoever it belongs to has no agent in another.
func TestConnectOfDisabled_SUB_5(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Logger = discardLog()
	b, users, bob := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, owners)
	})
	users.Put(memstore.Account{User: authagent.User{ID: b.AliceID, Disabled: true}})
	b.Mux("").Handle("/connect", b.RP.ConnectHandler())
	c := b.Browser()
	b.SignInPerson(c, bob)
	begun := b.Do(c, http.MethodPost, "/connect", "Sec-Fetch-Site", "same-origin")
	agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	resp := b.Get(c, b.Authorize(agent, begun.Header.Get("Location")))
	if resp.StatusCode != 403 || resp.Reason() != problem.LinkRefused {
		t.Errorf("connected: %d %s", resp.StatusCode, resp.Text)
	}
	if got := b.SignIn(b.Browser(), agent); got.StatusCode != 403 {
		t.Errorf("in Bob's account by the agent of a user whose account is disabled: %d %s", got.StatusCode, got.Text)
	}
}

// TestGuestHoldsNobody_SUB_4: a guest of a shared agent must not keep it from its users.
func TestGuestHoldsNobody_SUB_4(t *testing.T) {
	store := &memstore.Grants{}
	owners := grants.OwnerApproval(store)
	owners.Logger = discardLog()
	b, _, bob := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, owners)
	}, func(_ *bench, c *authagent.Config) { owners.ApproveByConsent = []string{c.Issuer} })
	b.Mux("").Handle("/connect", b.RP.ConnectHandler())
	c := b.Browser()
	b.SignInPerson(c, bob)
	begun := b.Do(c, http.MethodPost, "/connect", "Sec-Fetch-Site", "same-origin")
	guest := b.AS.AddAgent(authagenttest.Agent{ID: "agent_shared", Guest: true})
	resp := b.Get(c, b.Authorize(guest, begun.Header.Get("Location")))
	t.Log("guest connects:", resp.StatusCode, resp.Text)
	hers := b.AS.AddAgent(authagenttest.Agent{ID: "agent_shared", UserID: "user_a"})
	if got := b.SignIn(b.Browser(), hers); got.StatusCode != 303 {
		t.Errorf("Alice's: %d %s", got.StatusCode, got.Text)
	}
}
