package grants_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// TestAttackDeedsHidden: what an agent was refused is bounded for its owner, lest a flood
// of it hides what the agent did (maxNoes). Sign-ins, and reading an address that has
// RequireAction, are not, and hide it as well.
func TestAttackDeedsHidden(t *testing.T) {
	for name, flood := range map[string]func(s *shop, agent *authagenttest.Agent, c *http.Client){
		"by sign-ins": func(s *shop, agent *authagenttest.Agent, _ *http.Client) { s.signIn(s.browser(), agent) },
		"by reading":  func(s *shop, _ *authagenttest.Agent, c *http.Client) { s.want(c, "GET", "/orders", 200, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{})
			agent, c := s.approved("agent_1", func(d *grants.Decision) { d.Actions = []string{"orders:create", "orders:delete"} })
			s.want(c, "DELETE", "/orders/1", 200, "")
			did := func() bool {
				for _, d := range s.overview(s.alice).Deeds {
					if d.Action == "orders:delete" {
						return true
					}
				}
				return false
			}
			if !did() {
				t.Fatal("it is not shown at all")
			}
			for range 50 {
				flood(s, agent, c)
			}
			if !did() {
				t.Error("the owner is not shown any more that the agent has deleted an order a moment ago")
			}
		})
	}
}

// TestAttackNetworkUnseen: an owner is told when an agent acts from a network that it
// has not used before. Whoever has a copy of its cookie acts within a minute of the
// agent's own request, and nobody is told, nor is the address shown.
func TestAttackNetworkUnseen(t *testing.T) {
	bubble(t, "stolen cookie", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
		}})
		agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		s.signIn(c, agent, "X-Addr", "198.51.100.1")
		s.get(c, "/me", "X-Addr", "198.51.100.1")
		s.told()
		for range 20 { // the agent goes on working, and so does the thief
			time.Sleep(61 * time.Second)
			s.get(c, "/me", "X-Addr", "198.51.100.1")
			time.Sleep(50 * time.Second)
			if resp := s.do(c, "POST", "/orders", "", "X-Addr", "203.0.113.66"); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			time.Sleep(9 * time.Second) // within the minute
		}
		told := s.told()
		seen := false
		for _, a := range s.overview(s.alice).Sessions {
			seen = seen || a.RemoteAddr == "203.0.113.66"
		}
		if !seen && !strings.Contains(fmt.Sprint(told), string(grants.EventNewNetwork)) {
			t.Errorf("20 orders from another network: the owner is told %v, and is shown %v", told, s.overview(s.alice).Uses)
		}
	})
}

// TestAttackSessionsFlood: an owner sees each live session of an agent. How many an agent
// may have is bounded by nothing but the limit of sign-ins of one address.
func TestAttackSessionsFlood(t *testing.T) {
	bubble(t, "sessions", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.ClientAddr = func(r *http.Request) string { return r.Header.Get("X-Addr") }
		}})
		agent, _ := s.approved("agent_1")
		for i := range 300 {
			c := s.browser()
			addr := fmt.Sprintf("[2a00:1:%x::1]:443", i) // one /32 has 2^32 networks
			s.signIn(c, agent, "X-Addr", addr)
			s.get(c, "/me", "X-Addr", addr)
		}
		if n := len(s.overview(s.alice).Sessions); n > 100 {
			t.Errorf("the owner's page has %d sessions of one agent, each with a form", n)
		}
	})
}

// TestAttackMailText: the text of a notice is the site's own but for the agent's ID, which
// is left out where it could have a text of its own in it. A text without spaces passes.
func TestAttackMailText(t *testing.T) {
	for _, id := range []string{
		"we_closed_your_account_call_0900-555-0199_today_to_get_it_back", "Security-Team_of_this_shop",
	} {
		n := grants.Notice{Kind: grants.EventPending, Grant: &grants.Grant{Agent: authagent.Agent{ID: id}}}
		if text := n.Text(); strings.Contains(text, id) {
			t.Errorf("an owner gets, in the site's name: %s", text)
		}
	}
}

// TestAttackLookalike: the page tells its owner to compare the agent's ID. One with a
// letter that only looks the same, or another space, is shown as it is.
func TestAttackLookalike(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) { pending(g); g.Agent.ID = "\u0430gent_7f3a9c52e1" }) // a Cyrillic a
	page := s.page(s.human(s.alice))
	if strings.Contains(page, "<bdi>\u0430gent_7f3a9c52e1</bdi>") {
		t.Error("the page shows an agent ID that no eye can tell from agent_7f3a9c52e1")
	}
}
