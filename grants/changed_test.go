package grants_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent/grants"
)

// TestChangeKeepsRequests: what an agent has asked for once goes on waiting when its owner
// changes what it may do. Whatever else is decided about the agent denies it.
func TestChangeKeepsRequests(t *testing.T) {
	for _, test := range []struct {
		state grants.State
		waits bool
	}{{grants.Approved, true}, {grants.Suspended, false}, {grants.Revoked, false}} {
		bubble(t, string(test.state), func(t *testing.T) {
			s := newShop(t, options{})
			_, in := s.approved("agent_1")
			if status := s.pay(in, "amount=1"); status != http.StatusAccepted {
				t.Fatal(status)
			}
			s.wait()
			s.decide(s.alice, "agent_1", test.state, withFullAccess)
			all := s.overview(s.alice).Approvals
			if len(all) != 1 || (all[0].State == grants.Pending) != test.waits {
				t.Errorf("requests: %+v", all)
			}
		})
	}
}
