package browsertest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// centsIn reads the amount of a payout, as its handler does.
func centsIn(ctx context.Context, r action.Request) (grants.Amount, error) {
	cents, err := strconv.ParseInt(r.HTTP(ctx).FormValue("cents"), 10, 64)
	if err != nil {
		return grants.Amount{}, nil // the owner is asked
	}
	return grants.Amount{Value: cents, Currency: "USD"}, nil
}

// TestAllowanceStory_CONF_7: an owner allows an agent an amount. It is used up, the next request
// waits, the owner approves it with a passkey, and it happens once. An agent in the owner's browser
// gets none of that.
func TestAllowanceStory_CONF_7(t *testing.T) {
	h, _, fresh := newConfirmingHouse(t, nil, func(h *house) {
		h.owners.Amount = centsIn
		h.owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
	})
	var paid atomic.Int64
	h.site.Mux("").Handle("POST /payouts", h.site.RP.RequireApproval("payouts:create", h.owners)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cents, _ := strconv.ParseInt(r.FormValue("cents"), 10, 64)
		paid.Add(cents)
	})))
	user := h.person("alice")
	alice := h.owner(user)
	device := h.enrol(alice)
	fresh.Store(false) // a few minutes later
	g := h.grant(user, "agent_pays", grants.Approved)
	agent := h.site.Browser()
	h.site.MustSignIn(agent, h.as.AddAgent(authagenttest.Agent{ID: g.Agent.ID, Email: g.Email}))
	pays := func(form string, status int, total int64) {
		t.Helper()
		resp := h.site.Send(agent, "POST", "/payouts", form, "Content-Type", formType)
		if resp.StatusCode != status || paid.Load() != total {
			t.Errorf("%s: %d %s; %d cents are paid", form, resp.StatusCode, resp.Text, paid.Load())
		}
	}

	page := list + "agents/" + g.ID
	alice.open(page)
	alice.see(page, "Without asking you", "It asks you each time.")
	alice.unfold()
	alice.fillIn("amount", "10")
	alice.click(`form[action$="/allow"] button`)
	alice.see(list+"allow", "Confirm that it is you", "10.00 USD")
	alice.pressButton("Confirm")
	alice.see(page, "Up to this amount the agent does not ask you.", "Up to 10.00 USD in 30 days")

	pays("cents=700&to=a", 200, 700)
	pays("cents=300&to=b", 200, 1000)
	pays("cents=1&to=c", 202, 1000)
	alice.open(list)
	alice.see(list, "Pay out money", "0.01 USD")
	alice.pressButton("Allow this once")
	alice.see(list+"approvals/approve", "Confirm that it is you")
	alice.pressButton("Confirm")
	alice.see(list, "Allowed. The agent can do this once")
	pays("cents=1&to=c", 200, 1001)
	pays("cents=1&to=c", 409, 1001)
	if errs := alice.errors(); len(errs) > 0 {
		t.Errorf("the browser complains: %q", errs)
	}

	pays("cents=2&to=d", 202, 1001)
	device.verifies(false) // the person is not there: an agent drives the browser
	before := h.standing(user)
	var asks grants.Approval
	o, err := h.owners.Overview(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range o.Approvals {
		if a.Now() == grants.Pending {
			asks = a
		}
	}
	seen := strconv.FormatInt(o.Allowances[0].Terms, 10)
	forms := [][]any{
		{list + "allow", [][]string{{"id", g.ID}, {"action", "payouts:create"}, {"amount", "1000"}, {"currency", "USD"}, {"per", "1"}, {"days", "90"}, {"seen", seen}}},
		{list + "approvals/approve", [][]string{{"id", asks.ID}, {"version", "1"}}},
	}
	text, _ := json.Marshal(forms)
	want := map[string]string{
		"options to add": "undefined", "add": "403", "remove": "403",
		list + "allow made up": "403", list + "allow verified": "NotAllowedError", "a sixth proof": "403",
	}
	for _, f := range forms {
		want[f[0].(string)+" bare"], want[f[0].(string)+" not verified"] = "403", "403"
	}
	alice.open("/forms")
	ctx, cancel := context.WithTimeout(alice.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]string](attack+"("+string(text)+")", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.unchanged(user, before, "the forms")
	pays("cents=2&to=d", 202, 1001)
	pays("cents=100000&to=e", 202, 1001)
}

// fillIn types into the field of a form that has this name.
func (b *tab) fillIn(name, text string) {
	b.t.Helper()
	b.run(chromedp.SendKeys(chromedp.CSS(`input[name="`+name+`"]`), text))
}
