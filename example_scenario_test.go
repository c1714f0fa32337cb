package authagent_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

// quietWeekends is a scenario around another: at weekends, when nobody is there
// to undo it, agents change nothing. Name, Scopes and SignIn are the other's.
type quietWeekends struct {
	authagent.Scenario
	today func() time.Weekday
}

// CheckSession is asked on each request.
func (q quietWeekends) CheckSession(ctx context.Context, s *authagent.Session) error {
	if err := q.Scenario.CheckSession(ctx, s); err != nil {
		return err // the account is disabled, for example
	}
	if day := q.today(); day == time.Saturday || day == time.Sunday {
		s.Access = min(s.Access, authagent.AccessRead)
	}
	return nil
}

// A scenario that wraps another.
func ExampleScenario() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	day := time.Friday
	scenario := quietWeekends{
		Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		today:    func() time.Weekday { return day }, // time.Now().Weekday()
	}
	order := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ordered") })
	send, done := withAgent(scenario, func(rp *authagent.RelyingParty) http.Handler {
		return rp.RequireAccess(authagent.AccessRead)(order)
	})
	defer done()
	fmt.Println(send("POST", "/orders"))
	day = time.Saturday
	fmt.Println(send("POST", "/orders"))
	// Output:
	// 200 ordered
	// 403 agent_read_only
}
