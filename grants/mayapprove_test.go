package grants_test

import (
	"testing"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// TestMayApprove: what was decided once can be taken up again. A request that nobody
// decided in time cannot: the agent has to ask again.
func TestMayApprove(t *testing.T) {
	decided := time.Now()
	for _, test := range []struct {
		state   grants.State
		decided time.Time
		may     bool
	}{
		{grants.Expired, time.Time{}, false},
		{grants.Expired, decided, true},
		{grants.Denied, decided, true},
		{grants.Revoked, decided, true},
		{grants.Suspended, decided, true},
		{grants.Suspended, time.Time{}, true},
	} {
		var a grants.PageGrant
		a.State, a.DecidedAt = test.state, test.decided
		if a.MayApprove() != test.may {
			t.Errorf("%s, decided %v: %v", test.state, !test.decided.IsZero(), !test.may)
		}
	}
}
