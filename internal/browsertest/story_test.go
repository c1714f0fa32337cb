package browsertest_test

import (
	"strings"
	"testing"
)

// TestStory: a human opens an account, their agent asks to enter it, is let in,
// and does what it may.
func TestStory(t *testing.T) {
	s := newShop(t)
	human, agent := newTab(t, s.url), newTab(t, s.url)

	human.open("/")
	human.press("Sign in")
	human.see("/sign-in")
	human.press("Open one.")
	human.see("/register")
	human.fill("name", "Bob", "email", "bob@example.com", "password", "bob's password")
	human.press("Open the account")
	human.see("/register", "We have sent a mail to bob@example.com")
	human.open(s.mailedLink("bob@example.com"))
	human.fill("password", "bob's password")
	human.press("Confirm")
	human.see("/account", "Your e-mail address is confirmed")
	human.press("Catalogue")
	human.see("/")
	human.click(`li:nth-child(2) form button`)
	human.see("/cart", "Kettle")
	human.press("Place the order")
	human.until("the order", func(s state) bool { return strings.Contains(s.Text, "placed by Bob") })

	s.agent.Email = "bob@example.com"
	s.as.AddAgent(*s.agent)
	s.enter(agent, "/orders")
	agent.see("/auth/agent/callback", "approval_needed")
	agent.open("/orders")
	agent.see("/sign-in")

	s.approve(human, `input[value="orders:cancel"]`)
	s.enter(agent, "/orders")
	agent.see("/orders", "agent_alice acts here for Bob", "placed")
	agent.click("tbody a")
	agent.until("the order", func(s state) bool { return strings.Contains(s.Text, "placed by Bob") })
	agent.press("Cancel the order")
	agent.until("the cancelled order", func(s state) bool { return strings.Contains(s.Text, "cancelled by agent_alice for Bob") })

	human.open("/account/activity")
	human.see("/account/activity", "agent_alice did this: Cancel orders", "agent_alice signed in", "agent_alice was let in, as you decided")
	for name, b := range map[string]*tab{"human": human, "agent": agent} {
		if errs := b.errors(); len(errs) > 0 {
			t.Errorf("the %s's browser complains: %q", name, errs)
		}
	}
}

// TestPayout: what needs approval is done once, when its owner has approved it.
func TestPayout(t *testing.T) {
	s := newShop(t)
	alice, agent := s.admitted(`input[value="orders:cancel"]`)
	agent.click("tbody a")
	agent.press("Cancel the order")
	agent.press("Have the money paid back")
	agent.fill("bank_account", "DE02 1203 0000 0000 2020 51")
	refund := agent.where()
	agent.press("Pay to this account")
	agent.see(agent.path(refund), "approval_pending")

	alice.open("/account/agents/")
	alice.see("/account/agents/", "asks to do this once", "back to the account DE02120300000000202051")
	alice.press("Allow this once")
	alice.see("/account/agents/", "Allowed. The agent can do this once")

	agent.open(agent.path(refund))
	agent.fill("bank_account", "DE02 1203 0000 0000 2020 51")
	agent.press("Pay to this account")
	agent.until("the refund", func(s state) bool {
		return strings.Contains(s.Text, "refunded by agent_alice for Alice, to the account DE02120300000000202051")
	})
}

// TestRefusals: what an agent may not do is said, on a page from which it can go on.
func TestRefusals(t *testing.T) {
	s := newShop(t)
	alice, agent := s.admitted()
	for _, path := range []string{"/account/password", "/account/email", "/account/delete", "/account/agents/", "/account/activity"} {
		agent.open(path)
		agent.see(path, "agent_forbidden", "Sign the agent out")
	}
	agent.open("/")
	agent.click(`li:nth-child(2) form button`)
	agent.see("/cart", "action_not_granted")
	agent.click(`a[href="/"]`)
	agent.see("/", "agent_alice acts here for Alice")

	alice.open("/account/agents/")
	alice.click(".rows a")
	alice.pressButton("Stop this agent")
	alice.until("that the agent is stopped", func(s state) bool { return strings.Contains(s.Text, "Stopped.") })
	agent.open("/orders")
	agent.see("/sign-in", "You are an AI agent")
	s.enter(agent, "/orders")
	agent.see("/auth/agent/callback", "approval_needed")
}

// TestSignOut: the agent's session ends. Chromium's back button shows the page as
// it was, without asking the shop, although it is marked no-store; what is asked of
// the shop from there is refused.
func TestSignOut(t *testing.T) {
	s := newShop(t)
	_, agent := s.admitted()
	agent.press("Sign the agent out")
	agent.see("/", "Sign in")
	agent.back()
	agent.until("where back leads", func(now state) bool { return agent.path(now) != "/" })
	agent.reload()
	agent.see("/sign-in", "You are an AI agent")
	agent.open("/cart")
	agent.see("/sign-in", "You are an AI agent")
}

// TestBothInOneBrowser: where a human and an agent are signed in, it is the agent
// that acts, until it is signed out.
func TestBothInOneBrowser(t *testing.T) {
	s := newShop(t)
	alice, _ := s.admitted()
	alice.open("/sign-in?return_to=/orders")
	alice.click(`[data-auth-agent-button="true"]`)
	s.authenticate(alice, s.agent)
	alice.see("/orders", "agent_alice acts here for Alice")
	alice.open("/account/password")
	alice.see("/account/password", "agent_forbidden")
	alice.press("Sign the agent out")
	alice.see("/account/password", "Change your password")
}
