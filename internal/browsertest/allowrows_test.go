package browsertest_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
)

// allowPages are what owners see of allowances, and of actions of which nobody knows whether they
// were done; and what agents see of those.
func allowPages(t *testing.T) []screen {
	h := newHouseWith(t, nil, func(h *house, _ *testsite.Site, _ *authagent.Config) {
		h.owners.Amount = centsIn
		h.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "EUR", Digits: 2}, {Code: "JPY"}}}
	})
	user := h.person("allows")
	allows, g := h.owner(user), h.grant(user, "agent_pays", grants.Approved, called("Tea helper"), may("orders:create"))
	h.takes(g, 12345, grants.Taking{ID: "running", Value: 345, At: time.Now()})
	h.asked(g, "action-above", grants.Pending, "Pay out €120.00 to DE02 1203 0000 0000 2020 51", "/payouts", formType, payout, costs(12000))
	page := list + "agents/" + g.ID

	user = h.person("unknown")
	unknown, lost := h.owner(user), h.grant(user, "agent_lost", grants.Approved)
	h.takes(lost, 2000, grants.Taking{ID: "lost", Value: 2000, At: time.Now().Add(-3 * time.Hour), Unknown: true, Description: "Pay out €20.00 to DE02 1203 0000 0000 2020 51"})
	h.asked(lost, "action-lost", grants.Unknown, "Refund order 2, Pine cone small, $12.50", "/payouts", formType, payout)
	h.asked(lost, "action-runs", grants.Reserved, "Refund order 3, Pine cone large, $15.00", "/payouts", formType, payout, reserved)

	acting := h.signedIn(h.grant(h.person("acts"), "agent_acts", grants.Approved))
	return []screen{
		{name: "allowance", in: allows, path: page + "?done=allowed"},
		{name: "allowance-wrong", in: allows, path: page, do: thousands},
		{name: "allowance-list", in: allows, path: list, first: decision},
		{name: "unknown-list", in: unknown, path: list},
		{name: "unknown-agent", in: unknown, path: list + "agents/" + lost.ID},
		{name: "unknown-actions", in: unknown, path: list + "?actions=1"},
		{name: "standing-reserved", in: acting.in, path: acting.standing(grants.Reserved)},
		{name: "standing-unknown", in: acting.in, path: acting.standing(grants.Unknown)},
	}
}

// takes keeps an allowance of 500 euros in 30 days from which something was taken.
func (h *house) takes(g grants.Grant, taken int64, open ...grants.Taking) {
	h.t.Helper()
	a, err := h.owners.Allow(h.t.Context(), g.UserID, grants.Terms{
		GrantID: g.ID, Action: "payouts:create", Limit: grants.Amount{Value: 50000, Currency: "EUR"}, Days: 30, For: 90 * 24 * time.Hour,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	a.Taken, a.Open = taken, open
	if _, err := h.store.UpdateAllowance(h.t.Context(), a); err != nil {
		h.t.Fatal(err)
	}
}

func costs(cents int64) func(*grants.Approval) {
	return func(a *grants.Approval) { a.Amount = grants.Amount{Value: cents, Currency: "EUR"} }
}

// reserved is an action that is being performed.
func reserved(a *grants.Approval) {
	a.Reservation, a.ReservedAt, a.Until = "r", time.Now(), a.ExpiresAt
}

// thousands types an amount in that people read in two ways.
func thousands(b *tab) {
	b.unfold()
	b.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=amount]").value = "1,000"; document.querySelector("form[action$='/allow']").submit()`))
	b.see(list + "allow")
}
