package grants_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/tokens"
)

// TestLateEvents_ERA_4: what comes after an account was erased has its pseudonym: the work on the tokens of a session
// whose store cannot find them by their account, a request that ends it, a person who is signed in to the site, and what
// the policy does.
func TestLateEvents_ERA_4(t *testing.T) {
	bubble(t, "ERA-4", func(t *testing.T) {
		s := newShop(t, options{scenario: "ContextualProfile", config: func(_ *shop, c *authagent.Config) {
			c.Tokens.Store = sessionTokens{&memstore.Tokens{}}
		}})
		_, c := s.approved("agent_1")
		human := s.human(s.alice)
		s.users.Remove(s.alice)
		s.wait()
		s.events.take()
		rp := s.instances[""].rp
		receipt, err := rp.EraseUser(t.Context(), s.alice, s.alice)
		if err != nil {
			t.Fatal(err)
		}
		left := false
		for _, store := range receipt.Stores {
			for _, l := range store.Left {
				left = left || l.What == "tokens" && strings.Contains(l.Why, "tokens.UserStore")
			}
		}
		if !left {
			t.Errorf("ERA-3: the receipt does not name the tokens: %+v", receipt)
		}
		for range 20 { // refusals, which are counted
			s.get(c, "/me")
			s.get(human, "/account/agents/")
		}
		if err := rp.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.wait()
		revoked := 0
		for _, e := range s.events.take() {
			if e.UserID == s.alice || e.HumanID == s.alice || strings.Contains(e.Detail, s.alice) {
				t.Errorf("ERA-4: event %+v", e)
			}
			if e.Name == audit.TokensRevoked && e.UserID == receipt.Pseudonym {
				revoked++
			}
		}
		if revoked == 0 {
			t.Error("ERA-4: no tokens were revoked afterwards, so the test proves nothing")
		}
	})
}

// TestNoNotices_ERA_6: an owner who is gone gets no mail.
func TestNoNotices_ERA_6(t *testing.T) {
	bubble(t, "ERA-6", func(t *testing.T) {
		s := newShop(t, options{scenario: "FullAccount"})
		_, c := s.approved("agent_1")
		s.told()
		s.get(c, "/me") // the first use, which waits for the day's digest
		synctest.Wait()
		s.users.Remove(s.alice)
		if _, err := s.instances[""].rp.EraseUser(t.Context(), "", s.alice); err != nil {
			t.Fatal(err)
		}
		if told := s.told(); len(told) > 0 {
			t.Errorf("ERA-6: an owner who is gone is told %v", told)
		}
	})
}

// sessionTokens hides that a store finds tokens by their account.
type sessionTokens struct{ tokens.Store }
