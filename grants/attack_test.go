package grants_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// usersWithoutLinks is a UserStore and UserFinder, and no AgentLinker.
type usersWithoutLinks struct {
	authagent.UserStore
	authagent.UserFinder
}

// TestAttackTakenAfterRenewal: an approval that has run out holds the agent, so that
// no stranger can take it at that moment (LinkByOwner, heldElsewhere, LNK-30). The
// agent's own next sign-in makes a Pending request of it, in the same row, and then a
// stranger can.
func TestAttackTakenAfterRenewal(t *testing.T) {
	bubble(t, "connected, never used", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantConnect(s.alice, agent, 303, "")
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // holds
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // and does not any more
		if all := s.grants(s.bob); len(all) != 0 {
			t.Errorf("bob has alice's agent: %+v", all)
		}
	})
	bubble(t, "acted for alice for 90 days", func(t *testing.T) {
		var p *grants.Policy
		s := newShop(t, options{
			policy: func(own *grants.Policy) { p = own },
			config: func(s *shop, c *authagent.Config) {
				c.Scenario = grants.Enforce(s.store, authagent.FullAccount(usersWithoutLinks{s.users, s.users}, p))
			},
		})
		agent, _ := s.approved("agent_1")
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		if all := s.grants(s.bob); len(all) != 0 {
			t.Errorf("bob has alice's agent")
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
			g := s.grants(s.alice)["agent_1"]
			_, err := s.owners.Decide(context.Background(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			t.Errorf("alice approves it anew: %v", err)
		}
	})
}

// TestAttackSuspendedForgotten: with DangerouslyApproveByEmail, an agent that its owner
// has suspended is asked about in every scenario (Policy.stopped). When the suspended
// grant's time is over, the agent's sign-in turns the owner's no into a request, and the
// agent walks in in another scenario without anybody being asked.
func TestAttackSuspendedForgotten(t *testing.T) {
	bubble(t, "suspended", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		}})
		s.options.scenario = "ContextualProfile"
		s.instance("contextual")
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 303, "")
		s.decide(s.alice, "agent_1", grants.Suspended)
		time.Sleep(90 * 24 * time.Hour)
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		for _, g := range s.overview(s.alice).Grants {
			t.Logf("%s %s", g.Scenario, g.State)
		}
		c := s.browser()
		resp := s.signIn(c, agent, "X-Instance", "contextual")
		if resp.StatusCode == 303 {
			t.Errorf("an agent that its owner suspended is let in, unasked: GET /me is %d", s.get(c, "/me", "X-Instance", "contextual").StatusCode)
		}
	})
	bubble(t, "suspended, and only one sign-in in the other scenario", func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		}})
		s.options.scenario = "ContextualProfile"
		s.instance("contextual")
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 303, "")
		s.decide(s.alice, "agent_1", grants.Suspended)
		time.Sleep(90 * 24 * time.Hour)
		if resp := s.signIn(s.browser(), agent, "X-Instance", "contextual"); resp.StatusCode != 403 {
			t.Errorf("let in: %d", resp.StatusCode)
		}
	})
}

// TestAttackSuspendedShownAsExpired: an agent whose owner's address has changed is
// stopped, since its ID may be somebody else's by now. Once its time is over, the page
// says that it has expired, and nothing of the address.
func TestAttackSuspendedShownAsExpired(t *testing.T) {
	s := newSite(t)
	s.grant(func(g *grants.Grant) {
		g.State, g.Email, g.ExpiresAt = grants.Suspended, "mallory@evil.example", time.Now().Add(-time.Hour)
	})
	page := s.page(s.human(s.alice))
	if !strings.Contains(page, "Suspended: you stopped it, or the e-mail address that it gives has changed") {
		i := strings.Index(page, "<dt>State</dt>")
		t.Errorf("the page does not say that it was suspended: %s", page[i:i+160])
	}
}

// shown is the owner's page as its reader sees it, without tags and escapes.
func (s *site) shown() string {
	s.t.Helper()
	page := s.page(s.human(s.alice))
	if i := strings.Index(page, "<body>"); i >= 0 {
		page = page[i:]
	}
	return html.UnescapeString(page)
}

// TestAttackUnreadable: the owner is shown what was sent and not what it means. An agent
// writes the request so that a usual handler reads one thing and the owner cannot
// read it anywhere on the page.
func TestAttackUnreadable(t *testing.T) {
	escaped := func(format, s string) (out string) {
		for _, c := range []byte(s) {
			out += fmt.Sprintf(format, c)
		}
		return out
	}
	for name, test := range map[string]struct {
		target, contentType, body string
		read                      func(r *http.Request) string
	}{
		"JSON, the value that counts is escaped": {
			"/transfer/x", "application/json", `{"to":"alice-savings","` + escaped(`\u%04x`, "to") + `":"` + escaped(`\u%04x`, "mallory") + `"}`,
			func(r *http.Request) string {
				var order struct{ To string }
				if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
					return err.Error()
				}
				return order.To
			},
		},
		"a form with a pair that url.ParseQuery skips": {
			"/transfer/x", "application/x-www-form-urlencoded", "to" + "=" + escaped("%%%02x", "mallory") + "&to=alice-savings&;",
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a form in hexadecimal": {
			"/transfer/x", "application/x-www-form-urlencoded", "to=" + escaped("%%%02x", "mallory") + "&note=\xff",
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a form with a parameter that mime does not know": {
			"/transfer/x", "application/x-www-form-urlencoded; x", "to=" + escaped("%%%02x", "mallory"),
			func(r *http.Request) string { return r.FormValue("to") },
		},
		"a path": {
			"/transfer/" + escaped("%%%02x", "mallory"), "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.PathValue("to") },
		},
		"a query": {
			"/transfer/x?to=" + escaped("%%%02x", "mallory") + "&;", "application/x-www-form-urlencoded", "amount=1",
			func(r *http.Request) string { return r.URL.Query().Get("to") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			got := ""
			s.server.Config.Handler.(*http.ServeMux).Handle("POST /transfer/{to}", s.rp.RequireApproval("transfer", s.owners)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = test.read(r)
			})))
			send := func() *answered {
				return s.do(c, "POST", test.target, test.body, "Content-Type", test.contentType)
			}
			if resp := send(); resp.StatusCode != 202 {
				t.Skipf("refused: %d %s", resp.StatusCode, resp.body)
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			if resp := send(); resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			if got == "mallory" && !strings.Contains(shown, "mallory") {
				i := strings.Index(shown, "<dt>Request</dt>")
				t.Errorf("the handler reads to=%q, which the owner was not shown anywhere:\n%s", got, shown[i:min(len(shown), i+900)])
			}
		})
	}
}

func (s *site) overviewOf() grants.Overview {
	s.t.Helper()
	o, err := s.owners.Overview(context.Background(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// TestAttackHiddenFilename: a part of a multipart form is shown by its name and value
// unless it says more. One with a filename and no name says more, and is shown as a
// field without a name; a handler that goes by FileName stores it.
func TestAttackHiddenFilename(t *testing.T) {
	for name, disposition := range map[string]string{
		"a filename, no name":      `form-data; filename="authorized_keys"`,
		"of another kind":          `attachment; name="authorized_keys"`,
		"none that mime can parse": `form-data; name="authorized_keys"; x`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.grant(nil)
			c := s.signedInAgent("agent_1")
			var stored []string
			s.server.Config.Handler.(*http.ServeMux).Handle("POST /upload", s.rp.RequireApproval("upload", s.owners)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				parts, err := r.MultipartReader()
				for err == nil {
					var part *multipart.Part
					if part, err = parts.NextPart(); err == nil {
						stored = append(stored, part.FileName())
					}
				}
			})))
			body := "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nssh-rsa AAAA\r\n--b--\r\n"
			if resp := s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b"); resp.StatusCode != 202 {
				t.Skipf("refused: %d %s", resp.StatusCode, resp.body)
			}
			shown := s.shown()
			a := s.overviewOf().Approvals[0]
			if _, err := s.owners.DecideAction(context.Background(), s.alice, a.ID, a.Version, true); err != nil {
				t.Fatal(err)
			}
			s.do(c, "POST", "/upload", body, "Content-Type", "multipart/form-data; boundary=b")
			if !strings.Contains(shown, "authorized_keys") {
				t.Errorf("the handler stores %q, and the owner was not shown the name", stored)
			}
		})
	}
}

// TestAttackLongMethod: an owner is shown all of a request, which is why its address and
// body are bounded. Its method is not.
func TestAttackLongMethod(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.signedInAgent("agent_1")
	s.server.Config.Handler.(*http.ServeMux).Handle("/any", s.rp.RequireApproval("any", s.owners)(http.NotFoundHandler()))
	for i := range 3 {
		if resp := s.do(c, strings.Repeat("A", 500<<10)+string(rune('A'+i)), "/any", ""); resp.StatusCode != 202 {
			t.Logf("refused: %d %s", resp.StatusCode, resp.body)
		}
	}
	if page := s.page(s.human(s.alice)); len(page) > 100<<10 {
		t.Errorf("the owner's page has %d bytes after three requests without a body", len(page))
	}
}

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

// TestAttackOtherHost: the owner's page refuses an agent that is signed in in its
// owner's browser. The agent's cookie is of one host; a site that has a second name
// and signs people in on both shows the agent the page there, and lets it approve itself.
func TestAttackOtherHost(t *testing.T) {
	bubble(t, "www", func(t *testing.T) {
		s := newShop(t, options{})
		s.hosts["www.shop.example"] = http.HandlerFunc(s.balance)
		i := s.instances[""]
		i.mux.Handle(agents, grants.Handler(i.owners, i.rp))
		_, c := s.approved("agent_1")
		u, _ := url.Parse("https://shop.example/")
		c.Jar.SetCookies(u, []*http.Cookie{{Name: "human", Value: s.alice, Domain: "shop.example", Secure: true}})
		s.want(c, "GET", "/humans", 403, authagent.ErrAgentForbidden) // holds
		g := s.grants(s.alice)["agent_1"]
		body := form(append(versionOf(g), "access", "full")...)
		if resp := s.do(c, "POST", agents+"change", body, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 403 {
			t.Fatalf("%d %s", resp.StatusCode, resp.body) // holds
		}
		resp := s.do(c, "POST", "https://www.shop.example"+agents+"change", body, "Sec-Fetch-Site", "same-origin")
		if resp.StatusCode < 400 {
			t.Errorf("an agent that is signed in has approved itself: %d, access is %v", resp.StatusCode, s.grants(s.alice)["agent_1"].Access)
		}
	})
}

// TestAttackForgetUndone: an operator frees an agent that a stranger has connected
// (ForgetAgent). The stranger has a Revoked grant left, and approves it on their own page:
// the agent is theirs again, without the agent's doing anything, and its owner is shut out.
func TestAttackForgetUndone(t *testing.T) {
	bubble(t, "at once", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval) // alice is asked
		s.wantConnect(s.bob, agent, 303, "")                         // the stranger
		if err := s.instances[""].rp.ForgetAgent(context.Background(), "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		g := s.grants(s.bob)["agent_1"]
		if _, err := s.owners.Decide(context.Background(), s.bob, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessFull}); err == nil {
			t.Error("bob has approved the agent that the operator has freed from him")
			g := s.grants(s.alice)["agent_1"]
			_, err := s.owners.Decide(context.Background(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			t.Errorf("alice approves her own agent: %v", err)
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
		}
	})
	bubble(t, "when its owner's approval runs out", func(t *testing.T) {
		var p *grants.Policy
		s := newShop(t, options{
			policy: func(own *grants.Policy) { p = own },
			config: func(s *shop, c *authagent.Config) {
				c.Scenario = grants.Enforce(s.store, authagent.FullAccount(usersWithoutLinks{s.users, s.users}, p))
			},
		})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 303, "")
		if err := s.owners.ForgetAgent(context.Background(), "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		s.decide(s.alice, "agent_1", grants.Approved)
		if user, _ := s.actsFor(agent); user != s.alice {
			t.Fatal("not alice's")
		}
		g := s.grants(s.bob)["agent_1"]
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}
		if _, err := s.owners.Decide(context.Background(), s.bob, d); err == nil {
			t.Error("approved while alice has it")
		}
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // to connect it is refused
		if _, err := s.owners.Decide(context.Background(), s.bob, d); err == nil {
			t.Error("and to approve it is not: bob has the agent the moment alice's approval has run out")
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
		}
	})
}

// TestAttackPageFlood: what waits for an owner is bounded in bytes, and so is the page's
// share of JSON (maxIndented); of forms it is not: two bytes make a row of a table.
func TestAttackPageFlood(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	c := s.signedInAgent("agent_1")
	sent := 0
	for i := range 20 {
		target, body := "/payouts?"+strings.Repeat("a&", 3900)+fmt.Sprint(i), strings.Repeat("a&", 8000)+fmt.Sprint(i)
		if resp := s.do(c, "POST", target, body); resp.StatusCode != 202 {
			t.Fatalf("%d %s", resp.StatusCode, resp.body)
		}
		sent += len(target) + len(body)
	}
	page := s.page(s.human(s.alice))
	if rows := strings.Count(page, "<tr>"); rows > 50_000 {
		t.Errorf("%d bytes that the agent has sent make a page of %d bytes with %d rows of tables", sent, len(page), rows)
	}
}

// TestAttackAnotherUsersAgent: with Config.SubjectIsUser, a token says for which user of
// the server an agent acts (sub) beside which agent it is (act.sub). A grant keeps the
// agent alone, so that what one user's owner has approved is open to every user of the
// same agent who claims the address, and any other one stops it.
func TestAttackAnotherUsersAgent(t *testing.T) {
	bubble(t, "enters", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved, withFullAccess)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		mallory, thief := s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "alice@example.com"}), s.browser()
		if resp := s.signIn(thief, mallory); resp.StatusCode == 303 {
			t.Errorf("another user (sub) of the server is in alice's account, unasked: GET /full is %d", s.get(thief, "/full").StatusCode)
		}
	})
	bubble(t, "stops", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		s.signIn(s.browser(), s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "mallory@evil.example"}))
		if state := s.grants(s.alice)["assistant"].State; state != grants.Approved {
			t.Errorf("a sign-in for another user has made alice's grant %s", state)
		}
	})
}

// TestAttackDeniedDomain: DenyDomains keeps out the agents whose owner has an address of
// that domain. One whose address is not written plainly has none, to the rules, and is
// connected and let in.
func TestAttackDeniedDomain(t *testing.T) {
	for _, email := range []string{"eve@evil.example", "eve@evil.example.", "Eve <eve@evil.example>", `"eve"@evil.example`} {
		bubble(t, email, func(t *testing.T) {
			s := newShop(t, options{})
			s.setRules(grants.Rules{DenyDomains: []string{"evil.example"}})
			agent := s.agent("agent_1", email)
			connected := s.connect(s.bob, agent)
			c := s.browser()
			if in := s.signIn(c, agent); in.StatusCode == 303 {
				t.Errorf("connect: %d; an agent of a domain that is denied is in: GET /me is %d", connected.StatusCode, s.get(c, "/me").StatusCode)
			}
		})
	}
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

// cutOff is a store that is out of reach as soon as a grant has been created; before that,
// somebody else is faster.
type cutOff struct {
	grants.Store
	faster func()
	away   bool
}

func (c *cutOff) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	c.faster()
	c.away = true
	return c.Store.CreateGrant(ctx, g)
}

func (c *cutOff) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	if c.away {
		return nil, context.DeadlineExceeded
	}
	return c.Store.AgentGrants(ctx, a)
}

func (c *cutOff) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	if c.away {
		return grants.Grant{}, context.DeadlineExceeded
	}
	return c.Store.UpdateGrant(ctx, g)
}

// TestAttackConnectFailsOpen: a connection is written as approved, and looked at after
// that. Where the store is gone in between it stays, though it was refused: the agent has
// two accounts, enters the stranger's, and neither an event nor a notice says so.
func TestAttackConnectFailsOpen(t *testing.T) {
	bubble(t, "cut off", func(t *testing.T) {
		ctx := context.Background()
		agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
		request := func(user string) authagent.LinkRequest {
			return authagent.LinkRequest{Agent: agent, Scenario: "S", Email: "alice@example.com", User: &authagent.User{ID: user}}
		}
		memory := grants.NewMemory()
		alices := grants.OwnerApproval(memory)
		alices.Logger = quiet
		broken := &cutOff{Store: memory, faster: func() {
			time.Sleep(time.Second)
			if err := alices.LinkByOwner(ctx, request("alice")); err != nil {
				t.Fatal(err)
			}
		}}
		bobs := grants.OwnerApproval(broken)
		bobs.Logger = quiet
		var events, notices int
		bobs.Audit = func(context.Context, authagent.Event) { events++ }
		bobs.Notify = func(context.Context, grants.Notice) { notices++ }
		if err := bobs.LinkByOwner(ctx, request("bob")); err == nil {
			t.Fatal("no error")
		}
		bobs.Wait()
		if link, err := alices.Link(ctx, request("alice")); err != nil || link.UserID != "alice" {
			t.Errorf("bob's connection was refused, and alice's agent enters %q (%v); %d events, %d notices", link.UserID, err, events, notices)
		}
		alices.Wait()
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

// TestAttackWaitsForCookie: the browser of an agent keeps the cookie of a session that has
// ended, since without it the browser would be the person's again who is signed in there
// (RelyingParty.over). The cookie lives as long as a session may. An agent that signs
// nobody out, and waits for that long, is its owner.
func TestAttackWaitsForCookie(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Hour, 12 * time.Hour} {
		bubble(t, lifetime.String(), func(t *testing.T) {
			s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SessionLifetime = lifetime }})
			i := s.instances[""]
			i.mux.Handle(agents, grants.Handler(i.owners, i.rp))
			_, c := s.approved("agent_1")
			u, _ := url.Parse("https://shop.example/")
			c.Jar.SetCookies(u, []*http.Cookie{{Name: "human", Value: s.alice, Secure: true, MaxAge: 7 * 24 * 3600}})
			s.want(c, "GET", "/humans", 403, authagent.ErrAgentForbidden)
			time.Sleep(lifetime - time.Minute)
			s.want(c, "GET", "/humans", 403, authagent.ErrAgentForbidden) // idle for long, and still no person
			time.Sleep(lifetime + time.Minute)
			g := s.grants(s.alice)["agent_1"]
			resp := s.do(c, "POST", agents+"change", form(append(versionOf(g), "access", "full")...), "Sec-Fetch-Site", "same-origin")
			if resp.StatusCode < 400 {
				t.Errorf("the agent has given itself more, without having signed out: %d, access is %v", resp.StatusCode, s.grants(s.alice)["agent_1"].Access)
			}
		})
	}
}

// rowCost is a store for which each row that it reads takes its time, as for a database.
type rowCost struct{ grants.Store }

func (r rowCost) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	all, err := r.Store.AgentGrants(ctx, a)
	time.Sleep(time.Duration(len(all)) * time.Millisecond)
	return all, err
}

// TestAttackRowOracle: an agent is told the same whether there is an account or not, and
// "not even the time of this answer or of the next one tells" (Policy.Link). The request
// that was filed is a row of the agent's, which each further sign-in of it reads before it
// is answered; where there is no account, there is none.
func TestAttackRowOracle(t *testing.T) {
	bubble(t, "the next answer", func(t *testing.T) {
		s := newShop(t, options{store: func(in grants.Store) grants.Store { return rowCost{in} }})
		next := func(id, email string) time.Duration {
			agent := s.agent(id, email)
			s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
			c := s.browser()
			callback := s.callback(c, agent)
			start := time.Now()
			s.get(c, callback)
			took := time.Since(start)
			s.wait()
			return took
		}
		if there, not := next("agent_1", "alice@example.com"), next("agent_2", "nobody@example.com"); there != not {
			t.Errorf("the second answer takes %v where there is an account, and %v where there is none", there, not)
		}
	})
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
