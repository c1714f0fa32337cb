package grants_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// newConsentShop is a shop at a server that names users and agents, where an owner's consent is enough.
func newConsentShop(t *testing.T, o options) *shop {
	t.Helper()
	subjects := &memstore.SubjectUsers{}
	policy, config := o.policy, o.config
	o.policy = func(p *grants.Policy) {
		p.ApproveByConsent, p.Approvals = []string{"https://as.example"}, map[string]string{"payouts:create": "Pay out"}
		if policy != nil {
			policy(p)
		}
	}
	o.config = func(s *shop, c *authagent.Config) {
		c.Provider.SubjectIsUser = true
		if config != nil {
			config(s, c)
		}
	}
	o.users = func(s *shop) authagent.UserStore {
		for subject, id := range map[string]string{"user_a": s.alice, "user_b": s.bob} {
			account, _ := s.users.Get(id)
			subjects.Put(account)
			subjects.AddSubject("https://as.example", subject, id)
		}
		return subjects
	}
	s := newShop(t, o)
	s.as.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
		*q, *f = authagenttest.Quirks{}, authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
	})
	return s
}

// byUser is an agent that acts for a user of the server.
func (s *shop) byUser(id, user string) *authagenttest.Agent {
	return s.as.AddAgent(authagenttest.Agent{ID: id, UserID: user})
}

func (s *shop) me(c *http.Client) (session authagent.Session) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.get(c, "/me").body), &session); err != nil {
		s.t.Error(err)
	}
	return session
}

// TestConsent_OWN_15: an agent whose owner has consented at the server enters at once, with what its scopes
// allow. Its owner is told, and has a grant like any other.
func TestConsent_OWN_15(t *testing.T) {
	for name, test := range map[string]struct {
		permissions map[string]authagent.Permission
		access      authagent.Access
		actions     []string
	}{
		"what the scopes allow": {map[string]authagent.Permission{
			"shop:read": {Access: authagent.AccessRead}, "orders:write": {Actions: []string{"orders:create", "payouts:create", "orders:create"}},
		}, authagent.AccessRead, []string{"orders:create"}},
		"all":                               {map[string]authagent.Permission{"shop:all": {Access: authagent.AccessFull}}, authagent.AccessFull, nil},
		"to read, where scopes say nothing": {nil, authagent.AccessRead, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newConsentShop(t, options{config: func(_ *shop, c *authagent.Config) { c.Permissions = test.permissions }})
			agent := s.byUser("agent_1", "user_a")
			c := s.browser()
			s.wantSignIn(c, agent, http.StatusSeeOther, "")
			session := s.me(c)
			if session.UserID != s.alice || session.Access != test.access || !slices.Equal(session.Actions, test.actions) {
				t.Errorf("session %+v", session)
			}
			all, err := s.store.OwnerGrants(t.Context(), s.alice)
			if err != nil || len(all) != 1 || all[0].State != grants.Approved || all[0].Access != test.access || !slices.Equal(all[0].Actions, test.actions) || all[0].Subject != "user_a" || all[0].Email != "" {
				t.Fatalf("grants %+v, %v", all, err)
			}
			s.wait()
			if got := s.notices.take(); len(got) != 2 || got[0].Kind != grants.EventApproved || !strings.Contains(got[0].Text, "where it signs in") {
				t.Errorf("notices %+v", got)
			}
			// Stopped here, it stays out, whatever its owner has said at the server.
			s.decide(s.alice, agent.ID, grants.Revoked)
			s.wantSignIn(s.browser(), agent, http.StatusForbidden, problem.ApprovalNeeded)
		})
	}
}

// TestNoConsent_OWN_16: consent counts for the issuers that the site has listed, for an account that
// was found by subject, and for nothing else.
func TestNoConsent_OWN_16(t *testing.T) {
	for _, o := range map[string]options{
		"another issuer": {policy: func(p *grants.Policy) { p.ApproveByConsent = []string{"https://as.example/", "https://other.example"} }},
		"none":           {policy: func(p *grants.Policy) { p.ApproveByConsent = nil }},
		"privileged": {policy: func(p *grants.Policy) {
			p.Privileged = func(context.Context, string) (bool, error) { return true, nil }
		}},
	} {
		s := newConsentShop(t, o)
		s.wantSignIn(s.browser(), s.byUser("agent_1", "user_a"), http.StatusForbidden, problem.ApprovalNeeded)
	}
	s := newConsentShop(t, options{})
	s.wantSignIn(s.browser(), s.byUser("agent_2", "nobody"), http.StatusForbidden, problem.ApprovalNeeded)

	s = newShop(t, options{ // by e-mail, though the server names users
		policy: func(p *grants.Policy) { p.ApproveByConsent = []string{"https://as.example"} },
		config: func(_ *shop, c *authagent.Config) { c.Provider.SubjectIsUser = true },
	})
	s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
	s.wantSignIn(s.browser(), s.as.AddAgent(authagenttest.Agent{ID: "agent_3", UserID: "user_a", Email: "alice@example.com"}), http.StatusForbidden, problem.ApprovalNeeded)

	s = newConsentShop(t, options{policy: func(p *grants.Policy) { p.MaxAgents = 1 }})
	s.wantSignIn(s.browser(), s.byUser("agent_1", "user_a"), http.StatusSeeOther, "")
	s.wantSignIn(s.browser(), s.byUser("agent_2", "user_a"), http.StatusForbidden, problem.ApprovalNeeded)
}

// TestConsentOfEach_OWN_17: one agent acts for two users of the server, each by a grant of their own. To
// stop it in one account does not stop it in the other.
func TestConsentOfEach_OWN_17(t *testing.T) {
	s := newConsentShop(t, options{})
	alices, bobs := s.browser(), s.browser()
	s.wantSignIn(alices, s.byUser("agent_1", "user_a"), http.StatusSeeOther, "")
	s.wantSignIn(bobs, s.byUser("agent_1", "user_b"), http.StatusSeeOther, "")
	all, err := s.store.OwnerGrants(t.Context(), s.alice)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	s.decide(s.alice, "agent_1", grants.Revoked)
	if got := s.get(alices, "/me"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("stopped by Alice: %d", got.StatusCode)
	}
	if got := s.get(bobs, "/me"); got.StatusCode != http.StatusOK {
		t.Errorf("not stopped by Bob: %d", got.StatusCode)
	}
}

// TestConsentWrong_OWN_16: a list that can have no effect is told at New.
func TestConsentWrong_OWN_16(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	p.ApproveByConsent = []string{""}
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "ApproveByConsent") {
		t.Error(err)
	}
	p.ApproveByConsent, p.OwnerStartedOnly = []string{"https://as.example"}, true
	if err := p.Check(); err == nil || errors.Is(err, problem.Blocked) {
		t.Error(err)
	}
}
