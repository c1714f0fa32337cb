package site_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/grants"
)

// TestAllowance: within the amount that Alice allows, a refund is paid at once and recorded in the
// shop's own transaction. One that is not paid takes nothing of the amount.
func TestAllowance(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice, agent := b.human(t, "alice@example.com", password), b.client(t)
		agent.signIn(b.agent, "/")
		alice.decide("approve", grants.Approved, "access", "read")
		agent.signIn(b.agent, "/")
		order := decode[struct{ Orders []database.Order }](t, alice.want("200", "GET", "/orders")).Orders[0]
		path := "/orders/" + order.ID + "/refund"
		const account = "DE02120300000000202051"
		overview := func() grants.Overview { return alice.agents(func(grants.Overview) bool { return true }) }
		allow := func(outcome, amount string) {
			t.Helper()
			seen := int64(0)
			if all := overview().Allowances; len(all) > 0 {
				seen = all[0].Terms
			}
			alice.want(outcome, "POST", "/account/agents/allow", "id", overview().Grants[0].ID, "action", "refunds:pay", "amount", amount, "currency", "EUR",
				"per", "30", "days", "7", "seen", strconv.FormatInt(seen, 10))
		}
		taken := func(want int64) {
			t.Helper()
			if all := overview().Allowances; len(all) != 1 || all[0].Taken != want || len(all[0].Open) > 0 {
				t.Errorf("allowances %+v, want %d taken", all, want)
			}
		}
		alice.want("200", "POST", "/orders/"+order.ID+"/cancel")
		allow("400 invalid_request", "1.000")
		allow("200", "74,79") // a cent too little
		agent.want("202 approval_pending", "POST", path, "bank_account", account)
		if a := overview().Approvals[0]; a.Amount != (grants.Amount{Value: 7480, Currency: "EUR"}) {
			t.Errorf("the amount is %v", a.Amount)
		}
		allow("200", "150")
		taken(0)
		agent.want("202 approval_pending", "POST", path, "bank_account", account) // she was asked about this one
		const other = "GB33BUKB20201555555555"
		agent.want("200", "POST", path, "bank_account", other)
		taken(7480)
		agent.want("409 conflict", "POST", path, "bank_account", "FR1420041010050500013M02606") // it is refunded
		taken(7480)
		orders := alice.want("200", "GET", "/orders/"+order.ID).body
		if !strings.Contains(orders, string(database.Refunded)) {
			t.Errorf("the order: %s", orders)
		}
	})
}
