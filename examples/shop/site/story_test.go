package site_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/shop/database"
	"github.com/authagent-go/authagent/grants"
)

// decide has the owner decide about their one grant.
func (c *client) decide(what string, state grants.State, more ...string) grants.Grant {
	c.t.Helper()
	o := c.agents(func(o grants.Overview) bool { return len(o.Grants) == 1 })
	g := o.Grants[0]
	fields := append([]string{"id", g.ID, "version", strconv.FormatInt(g.Version, 10)}, more...)
	got := decode[grants.Grant](c.t, c.want("200", "POST", "/account/agents/"+what, fields...))
	if got.State != state {
		c.t.Fatalf("%s: the grant is %s", what, got.State)
	}
	return got
}

type orderJSON struct {
	database.Order
	Deeds []struct {
		State database.State
		By    string
	}
}

// TestStory: an agent asks, its owner approves it, it reads, does what its owner
// has named and nothing else, pays out once what its owner has approved, and is
// put out.
func TestStory(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice, agent := b.human(t, "alice@example.com", password), b.client(t)

		agent.want("401 no_session", "GET", "/orders")
		if got := agent.signIn(b.agent, "/orders"); got != 403 {
			t.Fatalf("before it is approved: %d", got)
		}
		agent.want("401 no_session", "GET", "/orders")

		alice.decide("approve", grants.Approved, "access", "read")
		if got := agent.signIn(b.agent, "/orders"); got != 200 {
			t.Fatalf("once it is approved: %d", got)
		}
		orders := decode[struct{ Orders []database.Order }](t, agent.want("200", "GET", "/orders")).Orders
		if len(orders) != 1 || orders[0].Total != 4900+2*1290 || orders[0].State != database.Placed {
			t.Fatalf("Alice's orders: %+v", orders)
		}
		order := "/orders/" + orders[0].ID
		agent.want("403 action_not_granted", "POST", order+"/cancel")
		agent.want("403 action_not_granted", "POST", "/cart", "product", "sencha")

		alice.decide("change", grants.Approved, "access", "read", "action", "cart:change", "action", "orders:create")
		agent.want("200", "POST", "/cart", "product", "sencha")
		placed := decode[orderJSON](t, agent.want("200", "POST", "/orders"))
		agent.want("409 conflict", "POST", "/orders")
		agent.want("403 action_not_granted", "POST", order+"/cancel")
		alice.want("200", "POST", "/orders/"+placed.ID+"/cancel")
		cancelled := decode[orderJSON](t, alice.want("200", "GET", "/orders/"+placed.ID))

		// The payout needs Alice each time, and is made once.
		payout := []string{"POST", "/orders/" + placed.ID + "/refund", "bank_account", "DE02 1203 0000 0000 2020 51"}
		pay := func(outcome string) reply {
			t.Helper()
			return agent.want(outcome, payout[0], payout[1], payout[2:]...)
		}
		asked := pay("202 approval_pending")
		if got := agent.want("200", "GET", asked.header.Get("Location")); !strings.Contains(got.body, `"pending"`) {
			t.Errorf("how it stands: %s", got.body)
		}
		pay("202 approval_pending")
		a := alice.agents(func(o grants.Overview) bool { return len(o.Approvals) == 1 }).Approvals[0]
		if want := "Pay €16.50 for order " + placed.ID + " (Sencha, 100 g) back to the account DE02120300000000202051"; a.Description != want {
			t.Errorf("described as %q, want %q", a.Description, want)
		}
		approved := alice.want("200", "POST", "/account/agents/approvals/approve", "id", a.ID, "version", strconv.FormatInt(a.Version, 10))
		if !strings.Contains(approved.body, "Pay a refund to a bank account") {
			t.Errorf("what Alice approves is not in words: %s", approved.body)
		}
		agent.want("202 approval_pending", payout[0], payout[1], "bank_account", "GB33BUKB20201555555555") // is another request
		refunded := decode[orderJSON](t, pay("200"))
		pay("409 approval_used")

		var history []string
		for _, d := range refunded.Deeds {
			history = append(history, string(d.State)+" "+d.By)
		}
		want := []string{"placed by agent_alice for Alice", "cancelled by Alice", "refunded by agent_alice for Alice"}
		if diff := cmp.Diff(want, history); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		if cancelled.State != database.Cancelled || refunded.State != database.Refunded {
			t.Errorf("states: %s, then %s", cancelled.State, refunded.State)
		}

		alice.decide("revoke", grants.Revoked)
		agent.want("401 no_session", "GET", "/orders")
		agent.want("401 no_session", payout[0], payout[1], payout[2:]...)
		if got := agent.signIn(b.agent, "/orders"); got != 403 {
			t.Errorf("after it was revoked: %d", got)
		}
		activityHas(alice, "link_pending", "link_approved", "login_succeeded", "permission_denied", "action_performed orders:create",
			"action_pending refunds:pay", "action_approved refunds:pay", "action_performed refunds:pay", "link_revoked", "session_ended")
	})
}

// TestDescribe: the shop says what a refund would do in the language of the account, and asks the
// owner about none that it would not pay.
func TestDescribe(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice, agent := b.human(t, "alice@example.com", password), b.client(t)
		agent.signIn(b.agent, "/")
		alice.decide("approve", grants.Approved, "access", "read")
		agent.signIn(b.agent, "/")
		id := decode[struct{ Orders []database.Order }](t, alice.want("200", "GET", "/orders")).Orders[0].ID
		refund := func(outcome, path, account string) {
			t.Helper()
			agent.want(outcome, "POST", "/orders/"+path+"/refund", "bank_account", account)
		}
		const account = "DE02120300000000202051"
		refund("409 conflict", id, account) // it is not cancelled
		alice.want("200", "POST", "/orders/"+id+"/cancel")
		refund("404 not_found", "another", account)
		refund("400 invalid_request", id, "DE03120300000000202051")
		if o := alice.agents(func(grants.Overview) bool { return true }); len(o.Approvals) > 0 {
			t.Errorf("Alice is asked about %+v", o.Approvals)
		}
		alice.want("400 invalid_request", "POST", "/account/locale", "language", "de", "time_zone", "Local")
		alice.want("200", "POST", "/account/locale", "language", "de", "time_zone", "Europe/Berlin")
		refund("202 approval_pending", id, account)
		a := alice.agents(func(o grants.Overview) bool { return len(o.Approvals) == 1 }).Approvals[0]
		if want := "Für die Bestellung " + id + " (Teapot u. a.) 74,80 € auf das Konto " + account + " zurückzahlen"; a.Description != want {
			t.Errorf("described as %q, want %q", a.Description, want)
		}
	})
}

// activityHas waits until the audit trail of the account has these events.
func activityHas(c *client, want ...string) {
	c.t.Helper()
	var names []string
	for range 100 {
		view := decode[struct {
			Events []struct{ Name, Action string }
		}](c.t, c.want("200", "GET", "/account/activity"))
		names = nil
		for _, e := range view.Events {
			names = append(names, strings.TrimSpace(e.Name+" "+e.Action), e.Name)
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return slices.Contains(names, w) })
		if len(missing) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond) // the trail is written in the background
	}
	c.t.Errorf("the audit trail %q lacks some of %q", names, want)
}

// TestHumansOnly: no agent gets to what a human has to do in person, whatever it
// may do, and in the human's own browser neither.
func TestHumansOnly(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice, agent := b.human(t, "alice@example.com", password), b.client(t)
		agent.signIn(b.agent, "/")
		alice.decide("approve", grants.Approved, "access", "full")
		if got := agent.signIn(b.agent, "/"); got != 200 {
			t.Fatal(got)
		}
		both := b.human(t, "alice@example.com", password)
		both.signIn(b.agent, "/")
		for _, path := range []string{"/account/password", "/account/locale", "/account/email", "/account/delete", "/account/activity", "/account/agents/"} {
			alice.want("200", "GET", path)
			for _, c := range []*client{agent, both} {
				c.want("403 agent_forbidden", "GET", path)
				c.want("403 agent_forbidden", "POST", strings.Replace(path, "activity", "delete", 1), "current", password, "password", "another password")
			}
			b.client(t).want("401 human_required", "GET", path)
		}
		for _, path := range []string{"/sign-in", "/register", "/confirm", "/sign-out"} {
			agent.want("403 agent_forbidden", "POST", path, "email", "alice@example.com", "password", password)
		}
		alice.want("200", "GET", "/account")
	})
}

// TestStranger: what is Alice's is not Bob's, nor his agent's.
func TestStranger(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice := b.human(t, "alice@example.com", password)
		orders := decode[struct{ Orders []database.Order }](t, alice.want("200", "GET", "/orders")).Orders
		bob, bobs := b.register(t, "bob@example.com", "Bob", "bob's password"), b.client(t)
		bobsAgent := b.as.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
		bobs.signIn(bobsAgent, "/")
		bob.decide("approve", grants.Approved, "access", "full")
		if got := bobs.signIn(bobsAgent, "/"); got != 200 {
			t.Fatal(got)
		}
		for _, c := range []*client{bob, bobs} {
			c.want("404 not_found", "GET", "/orders/"+orders[0].ID)
			c.want("404 not_found", "POST", "/orders/"+orders[0].ID+"/cancel")
			if got := c.want("200", "GET", "/orders"); strings.Contains(got.body, orders[0].ID) {
				t.Errorf("Alice's order in %s", got.body)
			}
		}
		bob.want("404 not_found", "POST", "/orders/"+orders[0].ID+"/refund", "bank_account", "DE02120300000000202051")
	})
}
