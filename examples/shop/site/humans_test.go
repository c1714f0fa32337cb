package site_test

import (
	"strings"
	"testing"

	"github.com/authagent-go/authagent/grants"
)

// register opens an account and returns a client that is signed in to it.
func (b *bench) register(t *testing.T, email, name, password string) *client {
	t.Helper()
	c := b.client(t)
	c.want("200", "POST", "/register", "email", email, "name", name, "password", password)
	token := b.link(t, email)
	_, token, _ = strings.Cut(token, "token=")
	c.want("200", "POST", "/confirm", "token", token, "password", password)
	return c
}

// TestRegister: an account is there once its address is confirmed, by somebody
// who has both the mail and the password.
func TestRegister(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		c := b.client(t)
		for _, bad := range [][]string{
			{"email", "bob@example.com", "name", "", "password", "long enough"},
			{"email", "bob", "name", "Bob", "password", "long enough"},
			{"email", "bob@example.com", "name", "Bob", "password", "short"},
		} {
			c.want("400 invalid_request", "POST", "/register", bad...)
		}
		c.want("200", "POST", "/register", "email", "Bob@Example.com", "name", "Bob", "password", "bob's password")
		c.want("400 invalid_request", "POST", "/sign-in", "email", "bob@example.com", "password", "bob's password")
		_, token, _ := strings.Cut(b.link(t, "bob@example.com"), "token=")
		c.want("400 invalid_request", "POST", "/confirm", "token", token, "password", "another password")
		c.want("404 not_found", "POST", "/confirm", "token", "made-up", "password", "bob's password")
		c.want("200", "POST", "/confirm", "token", token, "password", "bob's password")
		c.want("404 not_found", "POST", "/confirm", "token", token, "password", "bob's password")
		c.want("200", "GET", "/account")

		// A second account with the address there is not, and nobody is told.
		c.want("200", "POST", "/register", "email", "bob@example.com", "name", "Eve", "password", "eve's password")
		_, token, _ = strings.Cut(b.link(t, "bob@example.com"), "token=")
		c.want("400 invalid_request", "POST", "/confirm", "token", token, "password", "eve's password")
		b.human(t, "bob@example.com", "bob's password")
	})
}

// TestPassword: a changed password ends the sessions everywhere else.
func TestPassword(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		here, there := b.human(t, "alice@example.com", password), b.human(t, "alice@example.com", password)
		here.want("400 invalid_request", "POST", "/account/password", "current", "a guess", "password", "a new password")
		here.want("200", "POST", "/account/password", "current", password, "password", "a new password")
		here.want("200", "GET", "/account")
		there.want("401 no_session", "GET", "/account")
		b.client(t).want("400 invalid_request", "POST", "/sign-in", "email", "alice@example.com", "password", password)
		b.human(t, "alice@example.com", "a new password")
		here.want("200", "POST", "/sign-out")
		here.want("401 no_session", "GET", "/account")
	})
}

// TestEmail: a new address counts when its holder has confirmed it.
func TestEmail(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice := b.human(t, "alice@example.com", password)
		alice.want("200", "POST", "/account/email", "current", password, "email", "alice@example.org")
		b.human(t, "alice@example.com", password)
		_, token, _ := strings.Cut(b.link(t, "alice@example.org"), "token=")
		alice.want("200", "POST", "/confirm", "token", token, "password", password)
		b.human(t, "alice@example.org", password)
	})
}

// TestDelete: with the account, its agents' sessions end.
func TestDelete(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		alice, agent := b.human(t, "alice@example.com", password), b.client(t)
		agent.signIn(b.agent, "/")
		alice.decide("approve", grants.Approved, "access", "read")
		if got := agent.signIn(b.agent, "/orders"); got != 200 {
			t.Fatal(got)
		}
		alice.want("400 invalid_request", "POST", "/account/delete", "current", "a guess")
		alice.want("200", "POST", "/account/delete", "current", password)
		agent.want("401 no_session", "GET", "/orders")
		alice.want("401 no_session", "GET", "/orders")
		if got := agent.signIn(b.agent, "/orders"); got != 403 {
			t.Errorf("afterwards the agent gets %d", got)
		}
	})
}

// TestPages: what browsers get, under a strict policy and without scripts.
func TestPages(t *testing.T) {
	onEngines(t, func(t *testing.T, b *bench) {
		stranger, alice := b.client(t), b.human(t, "alice@example.com", password)
		stranger.accept, alice.accept = "text/html", "text/html"
		for _, test := range []struct {
			c          *client
			path, want string
		}{
			{stranger, "/", "Add to cart"},
			{stranger, "/sign-in?return_to=/orders", `data-auth-agent-button="true"`},
			{stranger, "/sign-in?return_to=//evil.example", `action="/sign-in?return_to=%2f"`},
			{stranger, "/orders", `action="/sign-in?return_to=%2forders"`},
			{stranger, "/account/agents/", "You are an AI agent"},
			{stranger, "/register", "Open an account"},
			{stranger, "/nothing", "not_found"},
			{alice, "/orders", "placed"},
			{alice, "/account", "alice@example.com"},
			{alice, "/account/agents/", "Add an agent"},
			{alice, "/account/activity", "Nothing yet"},
		} {
			got := test.c.do("GET", test.path)
			policy := got.header.Get("Content-Security-Policy")
			if !strings.Contains(got.body, test.want) || strings.Contains(got.body, "<script") || !strings.Contains(policy, "default-src 'none'") ||
				strings.Contains(policy, "unsafe-inline") {
				t.Errorf("%s: policy %q, page lacks %q: %s", test.path, policy, test.want, got.body)
			}
		}
		for path, want := range map[string]string{"/auth.md": "# Signing in as an agent", "/auth.json": `"sign_in"`, "/button.css": ".auth-agent-button"} {
			if got := stranger.do("GET", path); got.status != 200 || !strings.Contains(got.body, want) {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	})
}
