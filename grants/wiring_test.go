package grants_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A smallSite has people's sign-in, and lets agents in by the wiring that the README
// shows, with nothing else set that a test does not need.
type smallSite struct {
	t      *testing.T
	site   *testsite.Site
	as     *authagenttest.Server
	hosts  authagenttest.Hosts
	owners *grants.Policy
	rp     *authagent.RelyingParty
	alice  string
}

func newSmallSite(t *testing.T) *smallSite {
	t.Helper()
	s := &smallSite{t: t}
	s.site = testsite.NewCluster(t, func(site *testsite.Site, c *authagent.Config) {
		site.AS.Quirks.SameSecondTokens = false
		s.owners = grants.OwnerApproval(&memstore.Grants{})
		s.owners.Actions = map[string]string{"orders:create": "Place orders"}
		s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
		s.owners.Logger = quiet
		c.Scenario = authagent.FullAccount(site.Users, s.owners)
		c.Human, c.SignInPath, c.Logger, c.Audit = testsite.Human, "/sign-in", quiet, nil
	})
	s.as, s.hosts, s.alice, s.rp = s.site.AS, s.site.Hosts, s.site.AliceID, s.site.RP
	rp, mux := s.rp, http.NewServeMux()
	s.site.SetMux("", mux)
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/account/agents/", grants.Handler(s.owners, rp))
	mux.HandleFunc("POST /sign-in", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "human", Value: r.FormValue("user"), Path: "/", Secure: true, HttpOnly: true})
		http.Redirect(w, r, rp.ReturnTo(r), http.StatusSeeOther)
	})
	mux.Handle("GET /orders", rp.RequireAccess(authagent.AccessRead)(hello))
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(hello))
	mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", s.owners)(hello))
	mux.Handle("GET /settings", rp.RequireHuman(hello))
	mux.Handle("GET /about", rp.Attach(hello))
	return s
}

func (s *smallSite) do(c *http.Client, method, path, body string, header ...string) *response {
	s.t.Helper()
	return send(s.site, c, method, path, body, header...)
}

func (s *smallSite) browser() *http.Client { return s.site.Browser() }

// signIn signs an agent in, and returns the status of the callback.
func (s *smallSite) signIn(c *http.Client, agent *authagenttest.Agent) int {
	s.t.Helper()
	begun := s.do(c, "GET", "/auth/agent/login", "")
	callback, err := agent.Authorize(s.t.Context(), &http.Client{Transport: s.hosts}, begun.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	status := s.do(c, "GET", callback, "").StatusCode
	s.owners.Wait()
	return status
}

// signInPerson signs alice in on the site's own page, and returns where that leads.
func (s *smallSite) signInPerson(c *http.Client, page string) string {
	s.t.Helper()
	return s.do(c, "POST", page, "user="+s.alice).Header.Get("Location")
}

func (s *smallSite) decide(agent string, state grants.State, actions ...string) {
	s.t.Helper()
	s.owners.Wait() // an agent's request reaches its owner in the background
	o, err := s.owners.Overview(s.t.Context(), s.alice)
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(o.Grants, func(g grants.Grant) bool { return g.Agent.ID == agent })
	if i < 0 {
		s.t.Fatalf("%s has no grant: %+v", agent, o.Grants)
	}
	d := grants.Decision{GrantID: o.Grants[i].ID, Version: o.Grants[i].Version, State: state, Access: authagent.AccessRead, Actions: actions}
	if _, err := s.owners.Decide(s.t.Context(), s.alice, d); err != nil {
		s.t.Fatal(err)
	}
}

// visits sends a visitor to each route: GET and POST /orders, POST /payouts, GET
// /settings, GET /about.
func (s *smallSite) visits(who string, c *http.Client, want string) {
	s.t.Helper()
	var got []string
	for _, route := range []string{"GET /orders", "POST /orders", "POST /payouts", "GET /settings", "GET /about"} {
		method, path, _ := strings.Cut(route, " ")
		got = append(got, fmt.Sprint(s.do(c, method, path, "").StatusCode))
	}
	if got := strings.Join(got, " "); got != want {
		s.t.Errorf("WIR-7 %s: %s, want %s", who, got, want)
	}
}

// TestSmallSite_WIR_7 is WIR-1 and WIR-7: around the wiring of three lines, people keep
// their pages, agents get in where their owner lets them, and strangers get nowhere.
func TestSmallSite_WIR_7(t *testing.T) {
	const (
		stranger = "401 401 401 401 200"
		person   = "200 200 200 200 200"
		reads    = "200 403 202 403 200"
		acts     = "200 200 202 403 200"
		paused   = "503 503 503 403 503"
		ended    = "403 403 403 403 403" // beside a person: the browser is nobody's until somebody signs out
	)
	bubble(t, "WIR-1 WIR-7", func(t *testing.T) {
		s := newSmallSite(t)
		nobody, alice := s.browser(), s.browser()
		s.visits("a stranger", nobody, stranger)
		page := s.do(nobody, "GET", "/orders", "", "Accept", htmlOnly).Header.Get("Location")
		if page != "/sign-in?return_to=%2Forders" {
			t.Errorf("a stranger who opens a page is sent to %q", page)
		}
		if to := s.signInPerson(alice, page); to != "/orders" {
			t.Errorf("who signs in there lands on %q", to)
		}
		s.visits("a person", alice, person)

		// Two agents of alice, each in a browser of its own, and in one where she is signed in too.
		browsers := make(map[string]*http.Client)
		for _, id := range []string{"reader", "doer"} {
			agent := s.as.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com"})
			alone, beside := s.browser(), s.browser()
			if got := s.signIn(alone, agent); got != 403 {
				t.Fatalf("%s signs in before alice has let it in: %d", id, got)
			}
			s.visits(id+" before alice has let it in", alone, stranger)
			s.decide(id, grants.Approved)
			s.signInPerson(beside, "/sign-in")
			for name, c := range map[string]*http.Client{"alone": alone, "beside": beside} {
				if got := s.signIn(c, agent); got != 303 {
					t.Fatalf("%s signs in: %d", id, got)
				}
				browsers[id+" "+name] = c
			}
		}
		s.decide("doer", grants.Approved, "orders:create")
		everybody := func(when, reader, doer, besideReader, besideDoer string) {
			t.Helper()
			s.visits("an agent that reads, "+when, browsers["reader alone"], reader)
			s.visits("an agent with the action, "+when, browsers["doer alone"], doer)
			s.visits("an agent that reads beside a person, "+when, browsers["reader beside"], besideReader)
			s.visits("an agent with the action beside a person, "+when, browsers["doer beside"], besideDoer)
			s.visits("a person, "+when, alice, person)
			s.visits("a stranger, "+when, nobody, stranger)
		}
		everybody("let in", reads, acts, reads, acts)

		// The page shows what they did, and nobody has wired that.
		o, err := s.owners.Overview(t.Context(), s.alice)
		i := slices.IndexFunc(o.Grants, func(g grants.Grant) bool { return g.Agent.ID == "doer" })
		if body := s.do(alice, "GET", "/account/agents/agents/"+o.Grants[i].ID, "", "Accept", htmlOnly).body; !strings.Contains(body, "Did this: place orders") {
			t.Errorf("WIR-1 the page says nothing of the order: %s", body)
		}
		if err != nil || !slices.ContainsFunc(o.Deeds, func(d grants.Deed) bool { return d.Event == audit.ActionPerformed }) {
			t.Errorf("WIR-1 deeds: %+v, %v", o.Deeds, err)
		}

		if err := s.owners.SetRules(t.Context(), "op", grants.Rules{Paused: true}); err != nil {
			t.Fatal(err)
		}
		everybody("while agents are paused", paused, paused, paused, paused)
		if got := s.do(nobody, "GET", "/auth/agent/login", "").StatusCode; got != 503 {
			t.Errorf("WIR-1 a login while agents are paused: %d", got)
		}
		if err := s.owners.SetRules(t.Context(), "op", grants.Rules{}); err != nil {
			t.Fatal(err)
		}
		everybody("after the pause", reads, acts, reads, acts)

		s.decide("doer", grants.Revoked)
		everybody("after one was revoked", reads, stranger, reads, ended)
		s.do(browsers["doer beside"], "POST", "/auth/agent/logout", "")
		s.visits("the person, after the revoked agent was signed out", browsers["doer beside"], person)
		s.owners.Wait()
	})
}

// TestRulesSetting_WIR_2 is WIR-2: where no policy has rules, Config.Rules brings them,
// and New says where the setting makes no sense.
func TestRulesSetting_WIR_2(t *testing.T) {
	for name, scenario := range map[string]func(s *shop) authagent.Scenario{
		"FreshProfile": func(s *shop) authagent.Scenario { return authagent.FreshProfile(s.profiles) },
		"a scenario of its own": func(s *shop) authagent.Scenario {
			return struct{ authagent.Scenario }{authagent.FreshProfile(s.profiles)}
		},
		"another policy": func(s *shop) authagent.Scenario { return authagent.FullAccount(s.users, anybody{}) },
	} {
		bubble(t, "WIR-2 "+name, func(t *testing.T) {
			s := newShop(t, options{scenario: "FreshProfile", config: func(s *shop, c *authagent.Config) { c.Scenario = scenario(s) }})
			agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
			s.wantSignIn(c, agent, 303, "")
			s.want(c, "GET", "/me", 200, "")
			s.setRules(grants.Rules{Paused: true})
			s.want(c, "GET", "/me", 503, problem.Paused)
			if resp := s.get(s.browser(), "/auth/agent/login"); resp.reason() != problem.Paused {
				t.Errorf("login: %d %s", resp.StatusCode, resp.body)
			}
			s.setRules(grants.Rules{})
			s.want(c, "GET", "/me", 200, "")
			s.setRules(grants.Rules{DenyAgents: []authagent.Agent{s.named("agent_1")}})
			s.want(c, "GET", "/me", 401, problem.NoSession)
			s.wantSignIn(c, agent, 403, problem.Blocked)
		})
	}
	for name, test := range map[string]struct {
		change func(owners *grants.Policy, c *authagent.Config)
		want   string
	}{
		"WIR-2 beside a policy": {func(owners *grants.Policy, c *authagent.Config) {
			c.Scenario = authagent.FullAccount(&memstore.Users{}, owners)
		}, "Rules: the scenario's LinkPolicy has rules"},
		"WIR-2 settings that are wrong": {func(owners *grants.Policy, c *authagent.Config) {
			owners.MaxAgents, c.Scenario = -1, authagent.FreshProfile(&memstore.Profiles{})
		}, "Rules: grants: MaxAgents"},
	} {
		t.Run(name, func(t *testing.T) {
			owners := grants.OwnerApproval(&memstore.Grants{})
			c := authagent.Config{Rules: owners}
			test.change(owners, &c)
			if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestEventsOnce_WIR_3 is WIR-3: each event reaches an audit function once, wherever a
// site sets it, and what owners see does not hang on it.
func TestEventsOnce_WIR_3(t *testing.T) {
	want := []string{
		"action_performed", "link_approved", "link_pending", "login_failed", "login_started", "login_started", "login_succeeded",
	}
	isPolicys := func(name string) bool { return strings.HasPrefix(name, "link_") }
	only := func(policys bool) []string {
		return slices.DeleteFunc(slices.Clone(want), func(name string) bool { return isPolicys(name) != policys })
	}
	for name, test := range map[string]struct {
		config, policy     bool
		instances          int
		inConfig, inPolicy []string
	}{
		"WIR-3 neither":      {false, false, 1, nil, nil},
		"WIR-3 Config.Audit": {true, false, 1, want, nil},
		"WIR-3 Policy.Audit": {false, true, 1, nil, want},
		"WIR-3 both":         {true, true, 1, only(false), only(true)},
		"WIR-3 Config.Audit at two relying parties": {true, false, 2, want, nil},
		"WIR-3 both, at two relying parties":        {true, true, 2, only(false), only(true)},
	} {
		bubble(t, name, func(t *testing.T) {
			var inConfig, inPolicy log[string]
			s := newShop(t, options{
				policy: func(p *grants.Policy) {
					p.Audit = nil
					if test.policy {
						p.Audit = func(_ context.Context, e audit.Event) { inPolicy.add(string(e.Name)) }
					}
				},
				config: func(s *shop, c *authagent.Config) {
					if test.config {
						c.Audit = func(_ context.Context, e audit.Event) { inConfig.add(string(e.Name)) }
					}
					if test.instances == 2 {
						if _, err := authagent.New(*c); err != nil { // with the same policy
							t.Fatal(err)
						}
					}
				},
			})
			_, c := s.approved("agent_1", withFullAccess)
			s.want(c, "POST", "/orders", 200, "")
			s.wait()
			synctest.Wait()
			for _, got := range []struct {
				in        string
				want, got []string
			}{{"Config.Audit", test.inConfig, inConfig.take()}, {"Policy.Audit", test.inPolicy, inPolicy.take()}} {
				slices.Sort(got.got)
				if diff := cmp.Diff(got.want, got.got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", got.in, diff)
				}
			}
			if deeds := s.overview(s.alice).Deeds; len(deeds) != 2 { // the sign-in, and the order
				t.Errorf("%d deeds: %+v", len(deeds), deeds)
			}
		})
	}
	bubble(t, "WIR-3 Config.Audit panics", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.Audit = func(context.Context, audit.Event) { panic("audit") }
		}})
		_, c := s.approved("agent_1", withFullAccess)
		s.want(c, "POST", "/orders", 200, "")
		synctest.Wait()
		if deeds := s.overview(s.alice).Deeds; len(deeds) != 2 {
			t.Errorf("%d deeds: %+v", len(deeds), deeds)
		}
	})
}

// TestSetRulesUnread_WIR_4 is WIR-4: rules are stored whoever reads them, and where
// nothing in the process does, the log says so.
func TestSetRulesUnread_WIR_4(t *testing.T) {
	for name, test := range map[string]struct {
		use   func(t *testing.T, p *grants.Policy)
		warns bool
	}{
		"WIR-4 a tool": {func(*testing.T, *grants.Policy) {}, true},
		"WIR-4 a policy that nobody was given": {func(t *testing.T, p *grants.Policy) {
			newShop(t, options{})
		}, true},
		"WIR-4 a policy": {func(t *testing.T, p *grants.Policy) {
			newShop(t, options{config: func(s *shop, c *authagent.Config) { c.Scenario = authagent.FullAccount(s.users, p) }})
		}, false},
		"WIR-4 Config.Rules": {func(t *testing.T, p *grants.Policy) {
			newShop(t, options{scenario: "FreshProfile", config: func(_ *shop, c *authagent.Config) { c.Rules = p }})
		}, false},
		"WIR-4 a policy that a wrapper hides, once it was asked": {func(t *testing.T, p *grants.Policy) {
			s := newShop(t, options{config: func(s *shop, c *authagent.Config) {
				c.Scenario = struct{ authagent.Scenario }{authagent.FullAccount(s.users, p)}
			}})
			s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
			p.Wait()
		}, false},
	} {
		bubble(t, name, func(t *testing.T) {
			var said log[string]
			store := &memstore.Grants{}
			p := grants.OwnerApproval(store)
			p.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) { said.add(string(b)) }), nil))
			test.use(t, p)
			said.take()
			if err := p.SetRules(t.Context(), "op", grants.Rules{Paused: true}); err != nil {
				t.Fatal(err)
			}
			if rules, err := store.Rules(t.Context()); err != nil || !rules.Paused {
				t.Errorf("stored: %+v, %v", rules, err)
			}
			if text := strings.Join(said.take(), ""); strings.Contains(text, "level=WARN") != test.warns {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// TestActionNobodyCanAllow_WIR_5 is WIR-5: a guard whose action no owner can allow is
// a finding of Check and in the log, once, and the agent is not sent to its owner.
func TestActionNobodyCanAllow_WIR_5(t *testing.T) {
	bubble(t, "WIR-5", func(t *testing.T) {
		var said log[string]
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
			c.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) { said.add(string(b)) }), &slog.HandlerOptions{Level: slog.LevelWarn}))
		}, policy: func(p *grants.Policy) {
			p.Approvals = map[string]string{"payouts:create": "Pay out money", "refunds:create": ""}
		}})
		i := s.instances[""]
		for path, guard := range map[string]func(http.Handler) http.Handler{
			"/typo":     i.rp.RequireAction("orders:craete"),
			"/approved": i.rp.RequireAction("payouts:create"),
			"/offered":  i.rp.RequireApproval("orders:create", i.owners),
			"/unknown":  i.rp.RequireApproval("payuots:create", i.owners),
			"/fine":     i.rp.RequireApproval("refunds:create", i.owners),
			"/other":    i.rp.RequireApproval("anything", approver{}), // who says nothing of its actions
		} {
			i.mux.Handle(path, guard(hello))
		}
		i.rp.RequireAction("orders:craete") // once more
		wrong := map[string]string{
			`RequireAction "orders:craete"`:    "not in Policy.Actions",
			`RequireAction "payouts:create"`:   "guard the route by RequireApproval",
			`RequireApproval "orders:create"`:  "in Policy.Actions",
			`RequireApproval "payuots:create"`: "not in Policy.Approvals",
		}
		found := 0
		for _, f := range i.rp.Check(t.Context()) {
			if !strings.HasPrefix(f.Setting, "Require") {
				continue
			}
			found++
			name, _, _ := strings.Cut(f.Problem, ":")
			for key, want := range wrong {
				if strings.HasPrefix(f.Setting+" "+f.Problem, key+":") {
					name = key
					if !strings.Contains(f.Problem, want) || f.Severity != slog.LevelWarn || f.Remedy == "" {
						t.Errorf("WIR-5 %s: %+v", key, f)
					}
				}
			}
			if wrong[name] == "" {
				t.Errorf("WIR-5 found %+v", f)
			}
		}
		if found != len(wrong) {
			t.Errorf("WIR-5 %d findings, want %d", found, len(wrong))
		}

		said.take()
		_, c := s.approved("agent_1", func(d *grants.Decision) { d.Actions = []string{"orders:create"} })
		stranger := s.browser()
		for _, path := range []string{"/typo", "/approved", "/offered", "/unknown", "/fine"} {
			s.do(stranger, "POST", path, "") // the first request is not an agent's
			s.do(c, "POST", path, "")
		}
		warnings := slices.DeleteFunc(said.take(), func(line string) bool { return !strings.Contains(line, "guard=") })
		if len(warnings) != len(wrong) {
			t.Errorf("WIR-5 log: %q", warnings)
		}
		for _, path := range []string{"/typo", "/approved"} {
			resp := s.do(c, "POST", path, "")
			if resp.StatusCode != 403 || resp.reason() != problem.AccessTooLow || strings.Contains(resp.body, "owner can") {
				t.Errorf("WIR-5 %s: %d %s", path, resp.StatusCode, resp.body)
			}
		}
		s.decide(s.alice, "agent_1", grants.Approved)
		if resp := s.do(c, "POST", "/orders", ""); resp.reason() != problem.ActionNotGranted || !strings.Contains(resp.body, "owner can allow it") {
			t.Errorf("an action that the owner can allow: %d %s", resp.StatusCode, resp.body)
		}
	})
	bubble(t, "WIR-5 without an owner", func(t *testing.T) {
		s := newShop(t, options{scenario: "ContextualProfile", link: func(*grants.Policy) authagent.LinkPolicy { return authagent.InsecureTrustEmail }})
		c := s.browser()
		s.wantSignIn(c, s.agent("agent_1", "alice@example.com"), 303, "")
		s.want(c, "POST", "/orders", 403, problem.AccessTooLow)
	})
}

// approver is an Approver of a site's own.
type approver struct{}

func (approver) Approve(_ context.Context, r action.Request) (*action.Reservation, string, error) {
	return &action.Reservation{Request: r}, "", nil
}

// A userTable is a UserStore that finds accounts by ID, and nothing else.
type userTable struct {
	users *memstore.Users
	err   atomic.Pointer[error] // of UserByID
}

func (u *userTable) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	return u.users.UserByEmail(ctx, email)
}

func (u *userTable) UserByID(ctx context.Context, id string) (authagent.User, error) {
	if err := u.err.Load(); err != nil {
		return authagent.User{}, *err
	}
	return u.users.UserByID(ctx, id)
}

// A checkingTable is a userTable that is asked about sessions.
type checkingTable struct {
	*userTable
	answer atomic.Pointer[error]
}

func (u *checkingTable) CheckSession(context.Context, *authagent.Session) error {
	if err := u.answer.Load(); err != nil {
		return *err
	}
	return nil
}

// TestAccountEndsSessions_WIR_6 is WIR-6: an account that is disabled or gone ends the
// sessions of its agents on their next request.
func TestAccountEndsSessions_WIR_6(t *testing.T) {
	for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
		start := func(t *testing.T, table func(*shop) authagent.UserStore) (*shop, *http.Client) {
			t.Helper()
			s := newShop(t, options{scenario: scenario, users: table})
			_, c := s.approved("agent_1")
			s.want(c, "GET", "/me", 200, "")
			return s, c
		}
		var table *userTable
		finding := func(s *shop) authagent.UserStore {
			table = &userTable{users: s.users}
			return table
		}
		for name, end := range map[string]func(s *shop){
			"disabled": func(s *shop) {
				a, _ := s.users.Get(s.alice)
				a.Disabled = true
				s.users.Put(a)
			},
			"gone": func(s *shop) { s.users.Remove(s.alice) },
		} {
			bubble(t, "WIR-6 "+name+" "+scenario, func(t *testing.T) {
				s, c := start(t, finding)
				s.instance("b")
				s.events.take()
				end(s)
				s.want(c, "GET", "/me", 401, problem.NoSession, "X-Instance", "b")
				s.want(c, "GET", "/me", 401, problem.NoSession)
				s.wait()
				if events := s.events.take(); len(events) != 1 || events[0].Name != audit.SessionEnded || events[0].Reason != problem.NoAccount {
					t.Errorf("LOG-3 events: %+v", events)
				}
			})
		}
		// Whatever a store fails with, also with what would be a reason of a scenario.
		for name, failure := range map[string]error{"WIR-6 the store fails": errors.New("down"), "WIR-6 with a reason": authagent.ErrConflict} {
			bubble(t, name+" "+scenario, func(t *testing.T) {
				s, c := start(t, finding)
				table.err.Store(&failure)
				s.want(c, "GET", "/me", 500, problem.StoreFailed)
				table.err.Store(nil)
				s.want(c, "GET", "/me", 200, "")
			})
		}
		bubble(t, "WIR-6 a SessionChecker is asked instead "+scenario, func(t *testing.T) {
			var checking *checkingTable
			s, c := start(t, func(s *shop) authagent.UserStore {
				checking = &checkingTable{userTable: &userTable{users: s.users}}
				return checking
			})
			down := errors.New("down")
			checking.err.Store(&down) // of UserByID, which nobody calls
			s.want(c, "GET", "/me", 200, "")
			var gone error = problem.NoAccount
			checking.answer.Store(&gone)
			s.want(c, "GET", "/me", 401, problem.NoSession)
		})
	}
}

// A raceStore has another instance do something right before this one creates a grant.
type raceStore struct {
	grants.Store
	other func()
}

func (r *raceStore) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	if other := r.other; other != nil {
		r.other = nil
		other()
	}
	return r.Store.CreateGrant(ctx, g)
}

// TestTwoAccounts_WIR_8 is WIR-8: an agent never enters one of two accounts because of
// what a clock says, and what an address has opened is taken back where the agent has
// another account.
func TestTwoAccounts_WIR_8(t *testing.T) {
	ctx := context.Background()
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
	request := func(user, scenario string) authagent.LinkRequest {
		return authagent.LinkRequest{
			Agent: agent, Scenario: scenario, Email: user + "@example.com", User: &authagent.User{ID: user, EmailVerified: true},
		}
	}
	byEmail := func(store grants.Store) *grants.Policy {
		p := grants.OwnerApproval(store)
		p.Logger = quiet
		p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{agent.Issuer}, Domains: []string{"example.com"}}
		return p
	}
	for _, first := range []time.Duration{-time.Minute, 0, time.Minute} {
		bubble(t, fmt.Sprint("WIR-8 two grants in force, one decided ", first, " before"), func(t *testing.T) {
			store := &memstore.Grants{}
			now := time.Now()
			for user, decided := range map[string]time.Time{"alice": now, "bob": now.Add(first)} {
				g := grants.Grant{
					ID: user, Version: 1, Agent: agent, Scenario: "S", UserID: user, State: grants.Approved, Access: authagent.AccessRead,
					Email: "alice@example.com", DecidedAt: decided, ExpiresAt: now.Add(time.Hour),
				}
				if _, _, err := store.CreateGrant(ctx, g); err != nil {
					t.Fatal(err)
				}
			}
			p := grants.OwnerApproval(store)
			p.Logger = quiet
			if link, err := p.Link(ctx, request("alice", "S")); !errors.Is(err, problem.LinkRefused) {
				t.Errorf("the agent enters %q, %v", link.UserID, err)
			}
			if err := p.RevokeAll(ctx, "bob"); err != nil {
				t.Fatal(err)
			}
			if link, err := p.Link(ctx, request("alice", "S")); err != nil || link.UserID != "alice" {
				t.Errorf("after bob has revoked, the agent enters %q, %v", link.UserID, err)
			}
			p.Wait()
		})
	}
	for name, test := range map[string]struct {
		scenario string
		atOnce   bool
		want     error
	}{
		"WIR-8 at two instances":                      {"S", true, problem.LinkRefused},
		"WIR-8 at two instances, in another scenario": {"other", true, problem.LinkRefused},
		"WIR-8 connected before, in another scenario": {"other", false, problem.ApprovalNeeded},
	} {
		bubble(t, name, func(t *testing.T) {
			memory := &memstore.Grants{}
			race := &raceStore{Store: memory}
			bobs, alices := byEmail(race), byEmail(memory)
			connects := func() {
				time.Sleep(time.Second)
				if err := alices.LinkByOwner(ctx, request("alice", test.scenario)); err != nil {
					t.Errorf("alice connects: %v", err)
				}
			}
			if test.atOnce {
				race.other = connects
			} else {
				connects()
			}
			if link, err := bobs.Link(ctx, request("bob", "S")); !errors.Is(err, test.want) {
				t.Errorf("the agent enters %q by its address, %v", link.UserID, err)
			}
			bobs.Wait()
			alices.Wait()
			all, err := memory.OwnerGrants(ctx, "bob")
			if err != nil || slices.ContainsFunc(all, func(g grants.Grant) bool { return g.State == grants.Approved }) {
				t.Errorf("bob's: %+v, %v", all, err)
			}
			if link, err := alices.Link(ctx, request("alice", test.scenario)); err != nil || link.UserID != "alice" {
				t.Errorf("alice's agent enters %q, %v", link.UserID, err)
			}
		})
	}
}
