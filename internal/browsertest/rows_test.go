package browsertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// The pages that TestPages looks at. One more page is one more row.

const list = "/account/agents/"

// What a phone has to show of a request, or of a single action: what is asked, and both buttons.
var decision = []string{".ask h2", ".ask .buttons button"}

// What an agent asks for, in fields that a page can send.
const payout = "amount=120.00&currency=EUR&to=DE02120300000000202051&note=Invoice+2025%2F117"

// ownerPages are the owner's pages with what waits, and the page of one agent.
func ownerPages(t *testing.T) []screen {
	h := newHouse(t, nil)
	of := func(name, agent string, state grants.State, change ...func(*grants.Grant)) (*tab, grants.Grant) {
		user := h.person(name)
		return h.owner(user), h.grant(user, agent, state, change...)
	}
	request, _ := of("request", "agent_7f3a9c52e1", grants.Pending)
	described, g := of("described", "agent_b81d20c4aa", grants.Approved, called("Tea helper"))
	h.asked(g, "action-described", grants.Pending, "Refund order 2, Pine cone small, $12.50", "/payouts", formType, payout)
	form, g := of("form", "agent_b81d20c4ab", grants.Approved)
	h.asked(g, "action-form", grants.Pending, "", "/payouts", formType, payout)
	json, g := of("json", "agent_b81d20c4ac", grants.Approved)
	h.asked(g, "action-json", grants.Pending, "", "/orders/4711/cancel?refund=credit", "application/json", `{"reason":"wrong size","lines":[{"sku":"TEA-1","quantity":2}]}`)

	many, g := of("many", "agent_many", grants.Approved, called("Tea helper"))
	for i := range 9 {
		h.asked(g, fmt.Sprintf("action-many-%d", i), grants.Pending, fmt.Sprintf("Refund order %d, Pine cone small, $12.50", i), "/payouts", formType, payout)
		h.grant(g.UserID, fmt.Sprintf("agent_many_%d", i), grants.Pending, names(fmt.Sprintf("Order watcher %d", i)))
	}

	agent, g := of("agent", "agent_0123456789abcdef0123456789abcdef0123456789abcdef", grants.Approved, may("orders:create"))
	h.lives(g)
	all, full := of("full", "agent_full", grants.Approved, full, called("Tea helper"), soon)
	h.lives(full)
	both, two := of("both", "agent_both", grants.Approved, may("orders:create"))
	h.grant(two.UserID, "agent_both", grants.Revoked, itself)
	stopped, was := of("stopped", "agent_stopped", grants.Revoked, may("orders:create", "orders:cancel"))
	denied, never := of("denied", "agent_denied", grants.Denied)
	paused, held := of("paused", "agent_paused", grants.Suspended, may("orders:create"))

	back, backed := of("restored", "agent_restored", grants.Suspended, may("orders:create"), restored)
	h.grant(backed.UserID, "agent_restored_too", grants.Suspended, called("Tea helper"), restored)

	page := func(g grants.Grant) string { return list + "agents/" + g.ID }
	return []screen{
		{name: "request", in: request, path: list, first: append([]string{".ask .code"}, decision...)},
		{name: "action-described", in: described, path: list, first: decision},
		{name: "action-form", in: form, path: list, first: decision[:1]},
		{name: "action-json", in: json, path: list, first: decision[:1]},
		{name: "waiting-some", in: many, path: list},
		{name: "waiting-all", in: many, path: list + "?waiting=1"},

		{name: "restored", in: back, path: list, first: []string{".ask h2", ".ask .button"}},

		{name: "agent", in: agent, path: page(g) + "?done=approved"},
		{name: "agent-full", in: all, path: page(full)},
		{name: "agent-two-scenarios", in: both, path: page(two)},
		{name: "agent-stopped", in: stopped, path: page(was)},
		{name: "agent-undo", in: stopped, path: page(was) + "?done=revoked"},
		{name: "agent-denied", in: denied, path: page(never)},
		{name: "agent-paused", in: paused, path: page(held) + "?done=suspended"},
		{name: "agent-restored", in: back, path: page(backed)},
	}
}

// listPages are the views of the owner's list.
func listPages(t *testing.T) []screen {
	h := newHouse(t, nil)
	empty, user := h.owner(h.person("empty")), h.person("agents")
	agents := h.owner(user)
	h.lives(h.grant(user, "agent_acts", grants.Approved, called("Tea helper"), may("orders:create")))
	h.grant(user, "agent_full", grants.Approved, full, soon)
	h.grant(user, "agent_nameless_8f3a9b2c71d04e55", grants.Approved, names(""))
	h.grant(user, "agent_both", grants.Approved, names("Invoice robot"))
	h.grant(user, "agent_both", grants.Approved, names("Invoice robot"), itself, may("orders:create", "orders:cancel"))
	for i := range 8 {
		h.grant(user, fmt.Sprintf("agent_more_%d", i), grants.Approved, names(fmt.Sprintf("Order watcher %d", i)))
	}

	user = h.person("past")
	past := h.owner(user)
	g := h.grant(user, "agent_past", grants.Approved, may("orders:create", "orders:cancel"))
	h.asked(g, "action-used", grants.Used, "Refund order 2, Pine cone small, $12.50", "/payouts", formType, payout)
	h.asked(g, "action-approved", grants.Approved, "", "/payouts", formType, payout)
	h.asked(g, "action-denied", grants.Denied, "", "/payouts?order=4711", "application/json", `{"amount":2}`)
	for _, state := range []grants.State{grants.Denied, grants.Revoked, grants.Suspended} {
		h.grant(user, "agent_"+string(state), state)
		h.grant(user, "agent_hidden_"+string(state), state, hidden)
	}
	h.grant(user, "agent_over", grants.Approved, over)

	const most = 60_000 // bytes of a list, whatever there is
	return []screen{
		{name: "list-empty", in: empty, path: list},
		{name: "list-agents", in: agents, path: list + "?done=revoked-all"},
		{name: "list-found", in: agents, path: list + "?q=tea"},
		{name: "list-found-none", in: agents, path: list + "?q=coffee"},
		{name: "list-some", in: past, path: list},
		{name: "list-past", in: past, path: list + "?past=1"},
		{name: "list-hidden", in: past, path: list + "?past=1&hidden=1"},
		{name: "list-actions", in: past, path: list + "?actions=1"},
		{name: "thousand-approved", in: h.thousand(grants.Approved), path: list, bytes: most},
		{name: "thousand-denied", in: h.thousand(grants.Denied), path: list + "?past=1", bytes: most},
		{name: "thousand-waiting", in: h.thousand(grants.Pending), path: list + "?waiting=1&page=2", bytes: most},
		{name: "leave", in: empty, path: list, do: leave},
	}
}

// leave goes to the page from which an owner leaves for the server.
func leave(b *tab) {
	b.click(`form[action$="connect"] button`)
	b.see(list + "connect")
}

// agentPages are what agents see: how a request stands, and why something was refused.
func agentPages(t *testing.T) []screen {
	h := newHouse(t, nil)
	stranger := newTab(t, h.url)
	acting := h.signedIn(h.grant(h.person("standing"), "agent_standing", grants.Approved, may("orders:export")))
	h.site.Get(acting.client, "/export") // what is over the limit next time
	going := h.continues(h.grant(h.person("continues"), "agent_continues", grants.Approved, full))
	return []screen{
		{name: "standing-pending", in: acting.in, path: acting.standing(grants.Pending) + "?from=%2Fforms"},
		{name: "standing-approved", in: acting.in, path: acting.standing(grants.Approved) + "?from=%2Fforms"},
		{name: "standing-by-program", in: acting.in, path: acting.approved("application/json", `{"to":"DE02"}`)},
		{name: "standing-denied", in: acting.in, path: acting.standing(grants.Denied)},
		{name: "standing-used", in: acting.in, path: acting.standing(grants.Used)},

		{name: "refused-approval-needed", in: stranger, path: "/auth/agent/login", do: h.unknown()},
		{name: "refused-sign-in-required", in: stranger, path: "/forms", do: submitted("/data")},
		{name: "refused-not-for-agents", in: acting.in, path: "/humans"},
		{name: "refused-approval-pending", in: acting.in, path: "/forms", do: submitted("/pay")},
		{name: "refused-too-many", in: acting.in, path: "/export"},
		{name: "refused-no-such-sign-in", in: stranger, path: "/auth/agent/callback?code=a&state=b"},

		{name: "continue", in: stranger, path: "/forms", do: going},
		{name: "continue-where-agent", in: acting.in, path: "/forms", do: going},
		{name: "continue-where-person", in: h.owner(h.person("somebody")), path: "/forms", do: going},

		{name: "signed-out", in: stranger, path: "/signed-out"},
		{name: "signed-in", in: acting.in, path: "/signed-out"},
	}
}

// framedPages are some of the pages, in the frame of a site.
func framedPages(t *testing.T) []screen {
	h := newHouse(t, houseFrame)
	stranger, user := newTab(t, h.url), h.person("request")
	h.grant(user, "agent_7f3a9c52e1", grants.Pending)
	request, g := h.owner(user), h.grant(user, "agent_acts", grants.Approved, called("Tea helper"))
	acting := h.signedIn(h.grant(h.person("standing"), "agent_standing", grants.Approved))
	return []screen{
		{name: "framed-request", in: request, path: list, first: decision},
		{name: "framed-agent", in: request, path: list + "agents/" + g.ID},
		{name: "framed-leave", in: h.owner(h.person("empty")), path: list, do: leave},
		{name: "framed-standing", in: acting.in, path: acting.standing(grants.Approved) + "?from=%2Fforms"},
		{name: "framed-refused", in: stranger, path: "/auth/agent/login", do: h.unknown()},
		{name: "framed-not-for-agents", in: acting.in, path: "/humans"},
		{name: "framed-signed-out", in: stranger, path: "/signed-out"},
	}
}

// unknown signs an agent in that nobody has let in.
func (h *house) unknown() func(*tab) {
	agent := h.as.AddAgent(authagenttest.Agent{ID: "agent_unknown", Email: "nobody@example.com", Name: "Unknown"})
	return func(b *tab) {
		h.authenticate(b, agent)
		b.see("/auth/agent/callback")
	}
}

// continues opens an address that the agent of a grant has got with an access token.
func (h *house) continues(g grants.Grant) func(*tab) {
	agent := h.as.AddAgent(authagenttest.Agent{ID: g.Agent.ID, Email: g.Email, Name: g.Name})
	token := h.as.AccessToken(agent, authagenttest.APIToken{
		Audience: []string{h.url + apiPath}, Form: "opaque", Claims: map[string]any{"email": g.Email, "email_verified": true},
	})
	return func(b *tab) {
		resp := h.site.Send(h.site.Bare(), http.MethodPost, "/auth/agent/link", `{"path":"/orders/4711?tab=invoice","description":"Download the invoice of order 4711"}`,
			"Authorization", "Bearer "+token, "Content-Type", "application/json")
		var given struct{ URL string }
		if err := json.Unmarshal([]byte(resp.Text), &given); err != nil || given.URL == "" {
			b.t.Fatalf("%d: %s\n%s", resp.StatusCode, resp.Text, h.site.Log)
		}
		b.open(strings.TrimPrefix(given.URL, h.url))
	}
}

// submitted presses the button of the form that goes to a path.
func submitted(path string) func(*tab) {
	return func(b *tab) {
		b.click(`form[action^="` + path + `"] button`)
		b.see(path)
	}
}

// confirmPages are where an owner confirms in person, and the page of passkeys.
func confirmPages(t *testing.T) []screen {
	h, store, fresh := newConfirmingHouse(t, nil)
	fresh.Store(true)
	g := h.grant(h.person("confirms"), "agent_7f3a9c52e1", grants.Pending)
	h.hasPasskey(store, g.UserID)
	request := h.owner(g.UserID)
	g = h.grant(h.person("action"), "agent_b81d20c4aa", grants.Approved, called("Tea helper"))
	h.hasPasskey(store, g.UserID)
	h.asked(g, "action-confirmed", grants.Pending, "Refund order 2, Pine cone small, $12.50", "/payouts", formType, payout)
	action := h.owner(g.UserID)
	g = h.grant(h.person("without"), "agent_without", grants.Pending)

	later, store, _ := newConfirmingHouse(t, houseFrame)
	user := later.person("later")
	later.hasPasskey(store, user)
	return []screen{
		{name: "confirm-request", in: request, path: list, do: confirm("approve"), first: decision},
		{name: "confirm-action", in: action, path: list, do: confirm("approvals/approve"), first: decision},
		{name: "confirm-failed", in: action, path: list, do: notConfirmed, first: decision},
		{name: "confirm-without-passkey", in: h.owner(g.UserID), path: list, do: confirm("approve")},
		{name: "passkeys", in: request, path: passkeysPage + "?done=add"},
		{name: "framed-passkeys-later", in: later.owner(user), path: passkeysPage},
	}
}

// confirm presses the button that gives an agent more.
func confirm(path string) func(*tab) {
	return func(b *tab) {
		b.click(`button[formaction$="/` + path + `"], form[action$="/` + path + `"] button.go`)
		b.see(list + path)
	}
}

// notConfirmed sends a proof that is none.
func notConfirmed(b *tab) {
	confirm("approvals/approve")(b)
	b.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=proof]").value = "{}"; document.querySelector("form").submit()`))
	b.until("that it was not accepted", func(state) bool {
		return len(found(b, `[...document.querySelectorAll("p.done[role=alert]")].map(p => p.innerText)`)) == 1
	})
}
