package grants_test

import (
	"context"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// TestAttackAnotherUsersAgent: with Config.SubjectIsUser, a token says for which user of
// the server an agent acts (sub) beside which agent it is (act.sub). A grant keeps the
// agent alone, so that what one user's owner has approved is open to every user of the
// same agent who claims the address, and any other one stops it.
func TestAttackAnotherUsersAgent(t *testing.T) {
	bubble(t, "enters", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved, withFullAccess)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		mallory, thief := s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "alice@example.com"}), s.browser()
		if resp := s.signIn(thief, mallory); resp.StatusCode == 303 {
			t.Errorf("another user (sub) of the server is in alice's account, unasked: GET /full is %d", s.get(thief, "/full").StatusCode)
		}
	})
	bubble(t, "stops", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		s.signIn(s.browser(), s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "mallory@evil.example"}))
		if state := s.grants(s.alice)["assistant"].State; state != grants.Approved {
			t.Errorf("a sign-in for another user has made alice's grant %s", state)
		}
	})
}

// rowCost is a store for which each row that it reads takes its time, as for a database.
type rowCost struct{ grants.Store }

func (r rowCost) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	all, err := r.Store.AgentGrants(ctx, a)
	time.Sleep(time.Duration(len(all)) * time.Millisecond)
	return all, err
}

// TestAttackRowOracle: an agent is told the same whether there is an account or not, and
// "not even the time of this answer or of the next one tells" (Policy.Link). The request
// that was filed is a row of the agent's, which each further sign-in of it reads before it
// is answered; where there is no account, there is none.
func TestAttackRowOracle(t *testing.T) {
	bubble(t, "the next answer", func(t *testing.T) {
		s := newShop(t, options{store: func(in grants.Store) grants.Store { return rowCost{in} }})
		next := func(id, email string) time.Duration {
			agent := s.agent(id, email)
			s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
			c := s.browser()
			callback := s.callback(c, agent)
			start := time.Now()
			s.get(c, callback)
			took := time.Since(start)
			s.wait()
			return took
		}
		if there, not := next("agent_1", "alice@example.com"), next("agent_2", "nobody@example.com"); there != not {
			t.Errorf("the second answer takes %v where there is an account, and %v where there is none", there, not)
		}
	})
}
