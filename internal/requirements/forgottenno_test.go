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

// TestForgottenNo_OWN_16: an owner's no stays one in each scenario when an operator has freed the agent.
func TestForgottenNo_OWN_16(t *testing.T) {
	store := &memstore.Grants{}
	owners := grants.OwnerApproval(store)
	owners.Logger = discardLog()
	b, known, _ := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, owners)
	}, func(_ *bench, c *authagent.Config) { owners.ApproveByConsent = []string{c.Issuer} })
	agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	b.MustSignIn(b.Browser(), agent)
	all, _ := store.OwnerGrants(t.Context(), b.AliceID)
	if _, err := owners.Decide(t.Context(), b.AliceID, grants.Decision{GrantID: all[0].ID, Version: all[0].Version, State: grants.Revoked}); err != nil {
		t.Fatal(err)
	}
	b.MustRefuseSignIn(agent, http.StatusForbidden, problem.ApprovalNeeded)
	if err := b.RP.ForgetAgent(t.Context(), "root", authagent.Agent{Issuer: b.AS.URL, ID: "agent_1"}); err != nil {
		t.Fatal(err)
	}
	b.MustRefuseSignIn(agent, http.StatusForbidden, problem.ApprovalNeeded)
	b.Instance("profile", func(c *authagent.Config) {
		c.Scenario = authagent.ContextualProfile(known, b.Profiles, owners)
		c.RedirectURL = b.Config.RedirectURL
	})
	c := b.Browser()
	begun := b.Get(c, "/auth/agent/login", "X-Instance", "profile")
	resp := b.Get(c, b.Authorize(agent, begun.Header.Get("Location")), "X-Instance", "profile")
	if resp.StatusCode == 303 {
		all, _ = store.OwnerGrants(t.Context(), b.AliceID)
		t.Errorf("let in by consent in another scenario: %v %+v", resp.Header, all)
	}
}
