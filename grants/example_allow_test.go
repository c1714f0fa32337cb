package grants_test

import (
	"context"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// An owner lets an agent pay out money without a question, up to 50 dollars in 30 days. What is
// more waits for the owner.
func ExamplePolicy_Allow() {
	ctx := context.Background()
	store := &memstore.Grants{}
	owners := grants.OwnerApproval(store)
	owners.Logger = quiet
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
	owners.Amount = func(_ context.Context, r action.Request) (grants.Amount, error) { // from the form, as the handler reads it
		var cents int64
		_, err := fmt.Sscan(string(r.Body), &cents)
		return grants.Amount{Value: cents, Currency: "USD"}, err
	}
	g := letInByAlice(store) // as the page does

	_, err := owners.Allow(ctx, "alice", grants.Terms{GrantID: g.ID, Action: "payouts:create", Limit: audit.Amount{Value: 5000, Currency: "USD"}, Days: 30})
	fmt.Println("allowed:", err == nil)

	for i, cents := range []string{"1250", "4000"} {
		reserved, _, err := owners.Approve(ctx, action.Request{ // as authagent.RelyingParty.RequireApproval does
			Agent: g.Agent, UserID: "alice", GrantID: g.ID, Action: "payouts:create", Body: []byte(cents), Digest: fmt.Sprint("request ", i),
		})
		if err != nil {
			fmt.Println(cents, err)
			continue
		}
		fmt.Println(cents, "passes") // pay it out
		reserved.End(ctx)
	}
	o, _ := owners.Overview(ctx, "alice")
	fmt.Println("left:", o.Allowances[0].Left())
	// Output:
	// allowed: true
	// 1250 passes
	// 4000 authagent: ask for approval: approval_pending: the owner has yet to decide
	// left: 3750
}

// letInByAlice returns the grant of an agent that alice has let in.
func letInByAlice(store grants.Store) grants.Grant {
	now := time.Now()
	g, _, err := store.CreateGrant(context.Background(), grants.Grant{
		ID: "grant_1", Version: 1, Agent: authagent.Agent{Issuer: "https://agents.example", ID: "agent_1"}, Scenario: "FullAccount", UserID: "alice",
		State: grants.Approved, Access: authagent.AccessRead, RequestedAt: now, DecidedAt: now, ExpiresAt: now.AddDate(0, 3, 0),
	})
	if err != nil {
		panic(err)
	}
	return g
}
