package grants_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

var allScenarios = []string{"FullAccount", "ContextualProfile", "FreshProfile"}

// in returns a browser in which an agent of alice is signed in.
func (s *shop) in(id string) (*authagenttest.Agent, *http.Client) {
	s.t.Helper()
	if s.options.scenario == "FreshProfile" {
		agent, c := s.agent(id, "alice@example.com"), s.browser()
		s.wantSignIn(c, agent, 303, "")
		return agent, c
	}
	return s.approved(id)
}

func (s *shop) setRules(r grants.Rules) {
	s.t.Helper()
	if err := s.owners.SetRules(context.Background(), "root", r); err != nil {
		s.t.Fatal(err)
	}
}

// TestKillSwitch is MW-6: at every instance no agent signs in and none is served,
// humans notice nothing, and afterwards all is as before.
func TestKillSwitch(t *testing.T) {
	for _, scenario := range allScenarios {
		bubble(t, "MW-6 "+scenario, func(t *testing.T) {
			s := newShop(t, options{scenario: scenario})
			s.instance("b")
			agent, c := s.in("agent_1")
			_, quiet := s.in("agent_2")
			human := s.human(s.alice)
			begun := s.browser()
			callback := s.callback(begun, agent)
			s.happened()
			s.setRules(grants.Rules{Paused: true})
			for _, name := range []string{"", "b"} {
				s.want(c, "GET", "/me", 503, problem.Paused, "X-Instance", name)
				resp := s.get(s.browser(), "/auth/agent/login", "X-Instance", name)
				if resp.StatusCode != 503 || resp.reason() != problem.Paused || resp.Header.Get("Retry-After") == "" {
					t.Errorf("login at %q: %d %s", name, resp.StatusCode, resp.body)
				}
				s.want(human, "GET", "/humans", 200, "", "X-Instance", name)
			}
			if resp := s.get(begun, callback, "X-Instance", "b"); resp.StatusCode != 503 || resp.reason() != problem.Paused {
				t.Errorf("callback of a login that had begun: %d %s", resp.StatusCode, resp.body)
			}
			s.setRules(grants.Rules{})
			s.want(quiet, "GET", "/me", 200, "") // it sent nothing while agents were paused
			s.want(c, "GET", "/me", 200, "")
			s.wantSignIn(c, agent, 303, "")
			s.want(c, "GET", "/me", 200, "", "X-Instance", "b")
			var names []audit.Name
			for _, e := range s.events.take() {
				if e.Name == grants.EventPaused || e.Name == grants.EventResumed {
					names = append(names, e.Name)
					if e.HumanID != "root" || e.Time.IsZero() {
						t.Errorf("LOG-3: %+v", e)
					}
				}
			}
			if diff := cmp.Diff([]audit.Name{grants.EventPaused, grants.EventResumed}, names); diff != "" {
				t.Errorf("LOG-3 events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRules is LNK-17: lists match exactly, in every scenario.
func TestRules(t *testing.T) {
	const issuer = "https://as.example"
	one := authagent.Agent{Issuer: issuer, ID: "Agent_1"}
	for _, test := range []struct {
		name  string
		rules grants.Rules
		email string
		in    bool // in the scenarios that know an address
		fresh bool // in FreshProfile
	}{
		{"none", grants.Rules{}, "a@example.com", true, true},
		{"issuer allowed", grants.Rules{AllowIssuers: []string{"https://x.example", issuer}}, "a@example.com", true, true},
		{"issuer with a slash", grants.Rules{AllowIssuers: []string{issuer + "/"}}, "a@example.com", false, false},
		{"issuer in other letters", grants.Rules{AllowIssuers: []string{"https://AS.example"}}, "a@example.com", false, false},
		{"issuer as a beginning", grants.Rules{AllowIssuers: []string{"https://"}}, "a@example.com", false, false},
		{"issuer denied", grants.Rules{DenyIssuers: []string{issuer}}, "a@example.com", false, false},
		{"issuer on both", grants.Rules{AllowIssuers: []string{issuer}, DenyIssuers: []string{issuer}}, "a@example.com", false, false},
		{"another issuer denied", grants.Rules{DenyIssuers: []string{"https://x.example", issuer + "x"}}, "a@example.com", true, true},
		{"agent allowed", grants.Rules{AllowAgents: []authagent.Agent{one}}, "a@example.com", true, true},
		{"agent of another issuer", grants.Rules{AllowAgents: []authagent.Agent{{Issuer: "https://x.example", ID: one.ID}}}, "a@example.com", false, false},
		{"agent in other letters", grants.Rules{AllowAgents: []authagent.Agent{{Issuer: issuer, ID: "agent_1"}}}, "a@example.com", false, false},
		{"agent as a beginning", grants.Rules{AllowAgents: []authagent.Agent{{Issuer: issuer, ID: "Agent"}}}, "a@example.com", false, false},
		{"agent denied", grants.Rules{DenyAgents: []authagent.Agent{one}}, "a@example.com", false, false},
		{"agent on both", grants.Rules{AllowAgents: []authagent.Agent{one}, DenyAgents: []authagent.Agent{one}}, "a@example.com", false, false},
		{"another agent denied", grants.Rules{DenyAgents: []authagent.Agent{{Issuer: issuer, ID: "agent_1"}, {Issuer: issuer, ID: ""}}}, "a@example.com", true, true},
		{"domain", grants.Rules{AllowDomains: []string{"example.com"}}, "a@example.com", true, false},
		{"domain in capitals", grants.Rules{AllowDomains: []string{"example.com"}}, "a@EXAMPLE.COM", true, false},
		{"list in capitals", grants.Rules{AllowDomains: []string{"EXAMPLE.com"}}, "a@example.com", true, false},
		{"list with a letter that folds", grants.Rules{AllowDomains: []string{"\u212Aite.example"}}, "a@kite.example", false, false},
		{"domain with a beginning", grants.Rules{AllowDomains: []string{"example.com"}}, "a@evilexample.com", false, false},
		{"domain with an end", grants.Rules{AllowDomains: []string{"example.com"}}, "a@example.com.evil.example", false, false},
		{"domain below", grants.Rules{AllowDomains: []string{"example.com"}}, "a@sub.example.com", false, false},
		{"two domains", grants.Rules{AllowDomains: []string{"example.com"}}, "a@evil.example@example.com", false, false},
		{"quoted domain", grants.Rules{AllowDomains: []string{"example.com"}}, `"a@example.com"@evil.example`, false, false},
		{"no address", grants.Rules{AllowDomains: []string{"example.com"}}, "nobody", false, false},
		{"wildcard", grants.Rules{AllowDomains: []string{"*", "*.com", ".com", ""}}, "a@example.com", false, false},
		{"domain denied", grants.Rules{DenyDomains: []string{"Example.com"}}, "a@example.com", false, true},
		{"domain denied in capitals", grants.Rules{DenyDomains: []string{"example.com"}}, "a@EXAMPLE.com", false, true},
		{"another domain denied", grants.Rules{DenyDomains: []string{"sub.example.com", "xample.com", "com", ""}}, "a@example.com", true, true},
		{"LNK-44 no address while a domain is denied", grants.Rules{DenyDomains: []string{"evil.example"}}, "nobody", false, true},
		{"LNK-44 denied domain with a dot", grants.Rules{DenyDomains: []string{"evil.example"}}, "eve@evil.example.", false, true},
		{"LNK-44 denied domain after a name", grants.Rules{DenyDomains: []string{"evil.example"}}, "Eve <eve@evil.example>", false, true},
		{"LNK-44 denied domain, quoted", grants.Rules{DenyDomains: []string{"evil.example"}}, `"eve"@evil.example`, false, true},
		{"LNK-44 odd address, no rule of domains", grants.Rules{DenyIssuers: []string{"https://x.example"}}, `"eve"@evil.example`, true, true},
		{"domain on both", grants.Rules{AllowDomains: []string{"example.com"}, DenyDomains: []string{"example.com"}}, "a@example.com", false, false},
	} {
		for _, scenario := range allScenarios {
			bubble(t, "LNK-17 "+test.name+" "+scenario, func(t *testing.T) {
				// Who is let in by the rules goes in, so that only they are tested.
				s := newShop(t, options{scenario: scenario, link: func(*grants.Policy) authagent.LinkPolicy { return anybody{} }})
				s.setRules(test.rules)
				in := test.in
				if scenario == "FreshProfile" {
					in = test.fresh
				}
				c, agent := s.browser(), s.agent("Agent_1", test.email)
				if in {
					s.wantSignIn(c, agent, 303, "")
					s.want(c, "GET", "/me", 200, "")
				} else {
					s.wantSignIn(c, agent, 403, problem.Blocked)
					s.want(c, "GET", "/me", 401, problem.NoSession)
				}
				if n := len(s.as.Requests(authagenttest.PathUserInfo)); scenario == "FreshProfile" && n != 0 {
					t.Errorf("FreshProfile: %d requests for userinfo", n)
				}
			})
		}
	}
}

// TestDeniedDomainConnects_LNK_44: a person cannot connect an agent whose address is
// written so that rules could not tell its domain.
func TestDeniedDomainConnects_LNK_44(t *testing.T) {
	for _, email := range []string{"eve@evil.example", "eve@evil.example.", "Eve <eve@evil.example>", `"eve"@evil.example`, "nobody"} {
		bubble(t, "LNK-44 "+email, func(t *testing.T) {
			s := newShop(t, options{})
			s.setRules(grants.Rules{DenyDomains: []string{"evil.example"}})
			s.wantConnect(s.bob, s.agent("agent_1", email), 403, problem.Blocked)
		})
	}
}

// anybody lets every agent into the first account.
type anybody struct{}

func (anybody) Link(context.Context, authagent.LinkRequest) (authagent.Principal, error) {
	return authagent.Principal{UserID: "user_1", Access: authagent.AccessRead}, nil
}

// TestRulesCountAtOnce is MW-6 and SES-11: what the rules say of an agent or an
// issuer counts for sessions that are open, at two instances.
func TestRulesCountAtOnce(t *testing.T) {
	for name, rules := range map[string]grants.Rules{
		"agent denied":   {DenyAgents: []authagent.Agent{{Issuer: "https://as.example", ID: "agent_1"}}},
		"issuer denied":  {DenyIssuers: []string{"https://as.example"}},
		"not among them": {AllowAgents: []authagent.Agent{{Issuer: "https://as.example", ID: "agent_2"}}},
	} {
		for _, scenario := range allScenarios {
			bubble(t, "MW-6 SES-11 "+name+" "+scenario, func(t *testing.T) {
				s := newShop(t, options{scenario: scenario})
				s.instance("b")
				_, c := s.in("agent_1")
				_, other := s.in("agent_2")
				s.happened()
				s.setRules(rules)
				s.want(c, "GET", "/me", 401, problem.NoSession, "X-Instance", "b")
				s.want(c, "GET", "/me", 401, problem.NoSession)
				status, reason := 200, problem.Reason("")
				if name == "issuer denied" {
					status, reason = 401, problem.NoSession
				}
				s.want(other, "GET", "/me", status, reason)
				if events := s.events.take(); events[0].Name != grants.EventRules || events[1].Name != audit.SessionEnded || events[1].Reason != problem.Blocked {
					t.Errorf("LOG-3 events: %+v", events)
				}
			})
		}
	}
}

// wrapper is a scenario that wraps another as a site would, and hides what else
// that is.
type wrapper struct{ authagent.Scenario }

func (w wrapper) Unwrap() authagent.Scenario { return w.Scenario }

// TestRulesThroughWrappers: the scenario of a policy with rules is otherwise like any, however
// deep a site has wrapped it.
func TestRulesThroughWrappers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{config: func(s *shop, c *authagent.Config) { c.Scenario = wrapper{wrapper{c.Scenario}} }})
		s.setRules(grants.Rules{Paused: true})
		if resp := s.get(s.browser(), "/auth/agent/login"); resp.StatusCode != 503 {
			t.Errorf("login while the rules pause: %d %s", resp.StatusCode, resp.body)
		}
		s.setRules(grants.Rules{})
		human, agent := s.human(s.alice), s.agent("agent_1", "whoever@example.com")
		begun := s.do(human, "POST", "/connect", "")
		callback, err := agent.Authorize(context.Background(), &http.Client{Transport: s.hosts}, begun.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if resp := s.get(human, callback); resp.StatusCode != 303 {
			t.Errorf("connect through wrappers: %d %s", resp.StatusCode, resp.body)
		}
		s.wantSignIn(s.browser(), agent, 303, "")
		s.setRules(grants.Rules{DenyAgents: []authagent.Agent{s.named("agent_2")}})
		other := s.agent("agent_2", "whoever@example.com")
		begun = s.do(human, "POST", "/connect", "")
		if callback, err = other.Authorize(context.Background(), &http.Client{Transport: s.hosts}, begun.Header.Get("Location")); err != nil {
			t.Fatal(err)
		}
		if resp := s.get(human, callback); resp.StatusCode != 403 || resp.reason() != problem.Blocked {
			t.Errorf("LNK-17 connect an agent that is denied: %d %s", resp.StatusCode, resp.body)
		}
	})
}

// TestDecisionsCountAtOnce is SES-11 and MW-6: what an owner decides counts on the
// next request, at two instances.
func TestDecisionsCountAtOnce(t *testing.T) {
	for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
		for name, end := range map[string]func(s *shop) error{
			"revoked":   func(s *shop) error { s.decide(s.alice, "agent_1", grants.Revoked); return nil },
			"suspended": func(s *shop) error { s.decide(s.alice, "agent_1", grants.Suspended); return nil },
			"all":       func(s *shop) error { return s.owners.RevokeAll(context.Background(), s.alice) },
			"account":   func(s *shop) error { return s.instances[""].rp.EndUserSessions(context.Background(), s.alice) },
			"agent": func(s *shop) error {
				return s.instances[""].rp.EndAgentSessions(context.Background(), s.named("agent_1"))
			},
			"everybody": func(s *shop) error { return s.instances[""].rp.EndAllSessions(context.Background()) },
		} {
			bubble(t, "SES-11 "+name+" "+scenario, func(t *testing.T) {
				s := newShop(t, options{scenario: scenario})
				s.instance("b")
				agent, c := s.approved("agent_1")
				copy := s.browser()
				s.wantSignIn(copy, agent, 303, "")
				time.Sleep(time.Second)
				if err := end(s); err != nil {
					t.Fatal(err)
				}
				s.want(c, "GET", "/me", 401, problem.NoSession, "X-Instance", "b")
				s.want(copy, "GET", "/me", 401, problem.NoSession)
			})
		}
		bubble(t, "MW-6 "+scenario, func(t *testing.T) {
			s := newShop(t, options{scenario: scenario})
			s.instance("b")
			_, c := s.approved("agent_1")
			s.want(c, "POST", "/orders", 403, problem.ActionNotGranted, "X-Instance", "b")
			s.decide(s.alice, "agent_1", grants.Approved, func(d *grants.Decision) { d.Actions = []string{"orders:create"} })
			s.want(c, "POST", "/orders", 200, "", "X-Instance", "b")
			s.want(c, "DELETE", "/orders/1", 403, problem.ActionNotGranted)
			s.want(c, "POST", "/me", 403, problem.ReadOnly)
			s.decide(s.alice, "agent_1", grants.Approved)
			s.want(c, "POST", "/orders", 403, problem.ActionNotGranted, "X-Instance", "b")
			if scenario == "FullAccount" {
				s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
				s.want(c, "POST", "/me", 200, "", "X-Instance", "b")
				s.decide(s.alice, "agent_1", grants.Approved)
			}
			s.want(c, "POST", "/me", 403, problem.ReadOnly, "X-Instance", "b")
		})
	}
}

// TestRevokeAll: nothing that could let an agent in is left, and nobody else's is
// touched (MW-8).
func TestRevokeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{policy: func(p *grants.Policy) { p.MaxNotices = 100 }})
		s.wantSignIn(s.browser(), s.agent("expired", "alice@example.com"), 403, problem.ApprovalNeeded)
		time.Sleep(24 * time.Hour) // without a decision
		s.approved("approved")
		s.approved("suspended")
		s.decide(s.alice, "suspended", grants.Suspended)
		s.wantSignIn(s.browser(), s.agent("pending", "alice@example.com"), 403, problem.ApprovalNeeded)
		s.wantSignIn(s.browser(), s.agent("denied", "alice@example.com"), 403, problem.ApprovalNeeded)
		s.decide(s.alice, "denied", grants.Denied)
		s.approved("short", func(d *grants.Decision) { d.For = time.Minute })
		s.wantSignIn(s.browser(), s.agent("bobs", "bob@example.com"), 403, problem.ApprovalNeeded)
		s.decide(s.bob, "bobs", grants.Approved)
		time.Sleep(time.Minute)
		if err := s.owners.RevokeAll(context.Background(), s.alice); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]grants.State)
		for id, g := range s.grants(s.alice) {
			got[id] = g.State
		}
		want := map[string]grants.State{
			"approved": grants.Revoked, "suspended": grants.Revoked, "pending": grants.Denied, "denied": grants.Denied, "short": grants.Revoked,
			"expired": grants.Expired,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("MW-8 (-want +got):\n%s", diff)
		}
		if g := s.grants(s.bob)["bobs"]; g.State != grants.Approved {
			t.Errorf("MW-8 bob's: %s", g.State)
		}
		if err := s.owners.RevokeAll(context.Background(), s.alice); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// TestForeignSession: a session whose grant is another's, or none, does not hold.
func TestForeignSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		_, c := s.approved("agent_1")
		s.want(c, "GET", "/me", 200, "")
		g := s.grants(s.alice)["agent_1"]
		good := authagent.Session{ID: "s", Agent: g.Agent, Scenario: g.Scenario, UserID: g.UserID, GrantID: g.ID}
		for name, test := range map[string]struct {
			change func(*authagent.Session)
			want   error
		}{
			"good":             {func(*authagent.Session) {}, nil},
			"no grant":         {func(s *authagent.Session) { s.GrantID = "" }, problem.LinkRefused},
			"unknown grant":    {func(s *authagent.Session) { s.GrantID = "x" }, problem.LinkRefused},
			"another agent":    {func(s *authagent.Session) { s.Agent.ID = "agent_2" }, problem.LinkRefused},
			"another issuer":   {func(s *authagent.Session) { s.Agent.Issuer = "https://x.example" }, problem.LinkRefused},
			"another account":  {func(session *authagent.Session) { session.UserID = s.bob }, problem.LinkRefused},
			"another scenario": {func(s *authagent.Session) { s.Scenario = "ContextualProfile" }, problem.LinkRefused},
		} {
			session := good
			test.change(&session)
			if err := s.owners.CheckSession(context.Background(), &session); !errors.Is(err, test.want) {
				t.Errorf("SES-11 %s: %v, want %v", name, err, test.want)
			}
		}
	})
}
