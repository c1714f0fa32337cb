package grants_test

import (
	"testing"

	"github.com/authagent-go/authagent/grants"
)

// TestForgottenIsPast: after an operator has freed an agent, no decision of before
// can be taken back by the account's owner, who may be a stranger.
func TestForgottenIsPast(t *testing.T) {
	for _, state := range []grants.State{grants.Approved, grants.Suspended, grants.Revoked} {
		bubble(t, "LNK-41 "+string(state), func(t *testing.T) {
			s := newShop(t, options{})
			s.approved("agent_1")
			if state != grants.Approved {
				s.decide(s.alice, "agent_1", state)
			}
			if err := s.instance("").rp.ForgetAgent(t.Context(), "operator", s.named("agent_1")); err != nil {
				t.Fatal(err)
			}
			g := s.grants(s.alice)["agent_1"]
			if now := g.Now(); now != grants.Expired {
				t.Errorf("the grant is %s", now)
			}
			approve := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved}
			if _, err := s.owners.Decide(t.Context(), s.alice, approve); err == nil {
				t.Error("the owner has approved the agent again")
			}
		})
	}
}
