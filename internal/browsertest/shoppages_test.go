package browsertest_test

import (
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

// shopFits checks that the page is not wider than the window, that everything to click
// is large enough for a finger or stands in a text, and that every field has a label.
const shopFits = `(() => {
	const wrong = [];
	if (document.documentElement.scrollWidth > window.innerWidth) wrong.push("wider than the window: " + document.documentElement.scrollWidth);
	for (const e of document.querySelectorAll("button, .button, .auth-agent-button, nav a")) {
		const box = e.getBoundingClientRect();
		if (box.height > 0 && box.height < 43) wrong.push("only " + box.height + " high: " + e.textContent);
	}
	for (const e of document.querySelectorAll("input:not([type=hidden]), select")) {
		if (!e.labels.length) wrong.push("no label: " + e.name);
	}
	if (document.querySelectorAll("h1").length != 1) wrong.push("not one h1");
	return wrong;
})()`

// TestShopPages looks at every page of the shop, narrow and wide, light and dark.
func TestShopPages(t *testing.T) {
	s := newShop(t)
	alice, agent := s.admitted(`input[value="orders:cancel"]`, `input[value="cart:change"]`)
	stranger := newTab(t, s.url)
	agent.click("tbody a")
	agent.press("Cancel the order")
	order := agent.path(agent.until("the cancelled order", func(now state) bool { return strings.Contains(now.Text, "cancelled by") }))
	agent.open(order + "/refund")
	agent.fill("bank_account", "DE02 1203 0000 0000 2020 51")
	agent.press("Pay to this account")
	agent.see(order+"/refund", "approval_pending")
	alice.open("/")
	alice.click(`li:nth-child(2) form button`)
	alice.see("/cart", "Kettle")
	another := s.as.AddAgent(authagenttest.Agent{ID: "agent_new", Email: "alice@example.com", Name: "Shopping helper"})
	asking := newTab(t, s.url)
	asking.open("/auth/agent/login")
	s.authenticate(asking, another)
	asking.see("/auth/agent/callback", "approval_needed")
	stranger.open("/register")
	stranger.fill("name", "Bob", "email", "bob@example.com", "password", "bob's password")
	stranger.press("Open the account")
	stranger.see("/register", "We have sent a mail")

	alice.until("the other agent's request", func(now state) bool {
		if strings.Contains(now.Text, "Shopping helper") {
			return true
		}
		alice.open("/account/agents/")
		return false
	})

	for name, visit := range map[string]struct {
		b    *tab
		path string
	}{
		"catalogue":          {stranger, "/"},
		"catalogue-agent":    {agent, "/"},
		"sign-in":            {stranger, "/sign-in"},
		"register":           {stranger, "/register"},
		"confirm":            {stranger, s.mailedLink("bob@example.com")},
		"not-found":          {stranger, "/nothing"},
		"cart":               {alice, "/cart"},
		"cart-agent":         {agent, "/cart"},
		"orders":             {alice, "/orders"},
		"order":              {alice, order},
		"refund":             {alice, order + "/refund"},
		"refund-agent":       {agent, order + "/refund"},
		"account":            {alice, "/account?done=confirmed"},
		"account-agent":      {agent, "/account"},
		"agents":             {alice, "/account/agents/?done=approved"},
		"activity":           {alice, "/account/activity"},
		"password":           {alice, "/account/password"},
		"email":              {alice, "/account/email"},
		"delete":             {alice, "/account/delete"},
		"refused-agent":      {agent, "/account/password"},
		"refused-asking":     {asking, "/account"},
		"refused-callback":   {stranger, "/auth/agent/callback?code=a&state=b"},
		"waiting-for-signin": {stranger, "/account/agents/"},
	} {
		visit.b.open(visit.path)
		for _, l := range looks {
			visit.b.wear(l)
			wrong, err := evaluate[[]string](visit.b, shopFits)
			if err != nil || len(wrong) > 0 {
				t.Errorf("%s, %s: %q %v", name, l.name, wrong, err)
			}
			visit.b.keep("shop-" + name + "-" + l.name)
		}
	}
	// What a form says that was filled in wrong.
	stranger.open("/sign-in")
	stranger.fill("email", "alice@example.com", "password", "a guess")
	stranger.pressButton("Sign in")
	stranger.see("/sign-in", "do not belong together")
	stranger.wear(looks[0])
	stranger.keep("shop-sign-in-wrong")
	for name, b := range map[string]*tab{"Alice's": alice, "the agent's": agent, "the stranger's": stranger} {
		if errs := b.errors(); len(errs) > 0 {
			t.Errorf("%s browser complains: %q", name, errs)
		}
	}
}
