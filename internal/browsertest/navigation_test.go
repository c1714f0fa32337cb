package browsertest_test

import (
	"strings"
	"testing"
)

// TestTwoTabs: two sign-ins that are under way in one browser both come to their
// end, whichever is first.
func TestTwoTabs(t *testing.T) {
	s := newShop(t)
	_, first := s.admitted()
	first.press("Sign the agent out")
	first.see("/", "Sign in")
	second := first.beside()
	for b, path := range map[*tab]string{first: "/orders", second: "/cart"} {
		b.open(path)
		b.see("/sign-in")
		b.click(`[data-auth-agent-button="true"]`)
		b.requestID()
	}
	s.authenticate(second, s.agent)
	second.see("/cart", "agent_alice acts here for Alice")
	s.authenticate(first, s.agent)
	first.see("/orders", "agent_alice acts here for Alice")
	second.reload()
	second.see("/cart", "agent_alice acts here for Alice")
}

// TestBackToWaitingPage: after the sign-in, going back does not disturb it. The
// waiting page is asked again, sends its old code, and is told that it is used.
func TestBackToWaitingPage(t *testing.T) {
	s := newShop(t)
	_, agent := s.admitted()
	agent.back()
	agent.until("where back leads", func(now state) bool { return agent.path(now) != "/orders" })
	agent.open("/orders")
	agent.see("/orders", "agent_alice acts here for Alice")
}

// TestReloadCallback: a callback that is loaded again leads who was signed in by it
// on, and signs in nobody else. The code that signed in is not in the history.
func TestReloadCallback(t *testing.T) {
	s := newShop(t)
	_, agent := s.admitted()
	for _, visited := range agent.history() {
		if strings.HasSuffix(visited, s.lastCallback()) {
			t.Errorf("the code that signed in is in the history: %s", visited)
		}
	}
	callback := s.lastCallback()
	agent.open(callback)
	agent.see("/", "agent_alice acts here for Alice")

	stranger := newTab(t, s.url)
	stranger.open(callback)
	stranger.see("/auth/agent/callback", "state_mismatch")
	stranger.reload()
	stranger.see("/auth/agent/callback", "state_mismatch")
	stranger.open("/orders")
	stranger.see("/sign-in")
}

// TestReloadRefusal: a sign-in that was refused can be tried again from its page.
func TestReloadRefusal(t *testing.T) {
	s := newShop(t)
	alice, agent := s.signIn(), newTab(t, s.url)
	s.enter(agent, "/orders")
	agent.see("/auth/agent/callback", "approval_needed")
	agent.reload()
	agent.see("/auth/agent/callback", "state_mismatch")
	s.approve(alice)
	agent.click(`[data-auth-agent-button="true"]`)
	s.authenticate(agent, s.agent)
	agent.see("/", "agent_alice acts here for Alice")
}

// TestConnect: a human connects an agent in their own browser. It is not signed in
// there by that, and signs in by itself from then on.
func TestConnect(t *testing.T) {
	s := newShop(t)
	s.agent.Email = "somebody@else.example"
	s.as.AddAgent(*s.agent)
	alice, agent := s.signIn(), newTab(t, s.url)
	alice.open("/account/agents/")
	alice.pressButton("Add an agent")
	alice.press("Cancel, and go back to your agents")
	alice.see("/account/agents/")
	alice.pressButton("Add an agent")
	alice.click(".onward a")
	s.authenticate(alice, s.agent)
	alice.see("/account/agents/", "The agent is added")
	alice.open("/account/password")
	alice.see("/account/password", "Change your password")
	s.enter(agent, "/orders")
	agent.see("/orders", "agent_alice acts here for Alice", "It may read, and change nothing")
	if errs := alice.errors(); len(errs) > 0 {
		t.Errorf("the browser complains: %q", errs)
	}
}
