package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// A guardSite is a site with one route behind each guard.
type guardSite struct {
	*bench
	scenario *pausing
	humans   atomic.Int32 // how often Config.Human was asked
}

// pausing is a scenario that lets agents in, or pauses them.
type pausing struct {
	authagent.Scenario
	paused  atomic.Bool
	refuses atomic.Pointer[problem.Reason]
}

func (p *pausing) CheckSession(ctx context.Context, s *authagent.Session) error {
	if p.paused.Load() {
		return problem.Paused
	}
	if why := p.refuses.Load(); why != nil {
		return *why
	}
	return p.Scenario.CheckSession(ctx, s)
}

// guardNames are the columns of the tables.
var guardNames = []string{"attach", "agent", "access", "action", "approval", "human", "forbid"}

func newGuardSite(t *testing.T, link authagent.Principal, user bool, change ...func(*bench, *authagent.Config)) *guardSite {
	t.Helper()
	s := &guardSite{scenario: &pausing{}}
	s.bench = newCluster(t, func(b *bench, c *authagent.Config) {
		link.UserID = b.AliceID
		s.scenario.Scenario = authagent.FullAccount(b.Users, linkAs(link))
		if !user {
			s.scenario.Scenario = authagent.FreshProfile(b.Profiles)
		}
		c.Scenario, c.SignInPath, c.Revocations = s.scenario, "/sign-in", &memstore.Revocations{}
		c.Human = func(r *http.Request) (string, error) {
			s.humans.Add(1)
			return testsite.Human(r)
		}
		for _, f := range change {
			f(b, c)
		}
	})
	pending := approverFunc(func(action.Request) (string, error) { return "/look", problem.ApprovalPending })
	for name, guard := range map[string]func(http.Handler) http.Handler{
		"attach": s.RP.Attach, "agent": s.RP.RequireAgent, "access": s.RP.RequireAccess(authagent.AccessRead),
		"action": s.RP.RequireAction("orders:create"), "approval": s.RP.RequireApproval("payouts:create", pending),
		"human": s.RP.RequireHuman, "forbid": s.RP.ForbidAgents,
	} {
		s.Mux("").Handle("/"+name, guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s.Handled.Add()
			_, agent := authagent.FromContext(r.Context())
			human, person := authagent.HumanFromContext(r.Context())
			if agent && person || person != (human != "") || person && human != "alice" {
				t.Errorf("GRD-8 %s: agent %v, person %v %q", name, agent, person, human)
			}
			if s.scenario.paused.Load() && agent {
				t.Errorf("GRD-12 %s: a paused agent", name)
			}
		})))
	}
	return s
}

// expect sends the four kinds of request to the routes: a page load, a request of a
// program, a POST and an upgrade. Each row has the statuses by name of the guard.
func (s *guardSite) expect(who string, c *http.Client, rows map[string]string) {
	s.T.Helper()
	for _, name := range guardNames {
		var got []string
		for _, r := range []struct {
			method string
			header []string
		}{
			{"GET", []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
			{"GET", nil},
			{"POST", nil},
			{"GET", []string{"Upgrade", "websocket", "Connection", "Upgrade"}},
		} {
			handled, asked := s.Handled.Count(), s.humans.Load()
			resp := s.Do(c, r.method, "/"+name, r.header...)
			got = append(got, fmt.Sprint(resp.StatusCode))
			if ran := s.Handled.Count() > handled; ran != (resp.StatusCode == 200) {
				s.T.Errorf("GRD-1 %s, %s %v on %s: status %d, handler ran: %v", who, r.method, r.header, name, resp.StatusCode, ran)
			}
			if n := s.humans.Load() - asked; n > 1 {
				s.T.Errorf("GRD-8 %s, %s on %s: Human was asked %d times", who, r.method, name, n)
			}
			if to := resp.Header.Get("Location"); resp.StatusCode == 303 && to != "/sign-in?return_to=%2F"+name {
				s.T.Errorf("GRD-9 %s on %s: sent to %q", who, name, to)
			}
			if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
				s.T.Errorf("GRD-12 %s on %s: no Retry-After", who, name)
			}
		}
		if got := strings.Join(got, " "); got != rows[name] {
			s.T.Errorf("GRD-1 %s on %s: %s, want %s", who, name, got, rows[name])
		}
	}
}

// The rows: page load, program, POST, upgrade.
const (
	all200    = "200 200 200 200"
	noUpgrade = "202 202 202 400" // an owner could not be shown what follows an upgrade
	all401    = "401 401 401 401"
	all403    = "403 403 403 403"
	all503    = "503 503 503 503"
	comeIn    = "303 401 401 401"
	reading   = "200 200 403 403"
	asking    = "202 202 202 403" // a session that may not do everything cannot upgrade the connection
	doing     = "200 200 200 403"
)

// The columns of the table of guards, and what becomes of them beside a person.
var (
	strangers = map[string]string{
		"attach": all200, "agent": comeIn, "access": comeIn, "action": comeIn, "approval": comeIn, "human": comeIn, "forbid": all200,
	}
	persons = map[string]string{
		"attach": all200, "agent": all403, "access": all200, "action": all200, "approval": all200, "human": all200, "forbid": all200,
	}
	pausedAgents = map[string]string{
		"attach": all503, "agent": all503, "access": all503, "action": all503, "approval": all503, "human": all403, "forbid": all403,
	}
	// besideEnded is a person in the browser of an agent whose session has ended.
	besideEnded = map[string]string{
		"attach": all403, "agent": all401, "access": all403, "action": all403, "approval": all403, "human": all403, "forbid": all403,
	}
	// besideAnother is a person in the browser of another relying party's agent.
	besideAnother = map[string]string{
		"attach": all200, "agent": all401, "access": all403, "action": all403, "approval": all403, "human": all403, "forbid": all200,
	}
)

// TestGuardTable is GRD-1: who passes which guard, by which kind of request. An agent
// is in its own column whether or not a person is signed in in the same browser.
func TestGuardTable(t *testing.T) {
	for name, test := range map[string]struct {
		link authagent.Principal
		user bool
		want map[string]string
	}{
		"GRD-1 agent without a user": {authagent.Principal{}, false, map[string]string{
			"attach": all200, "agent": all200, "access": all403, "action": all403, "approval": all403, "human": all403, "forbid": all403,
		}},
		"GRD-1 GRD-13 agent with a user and AccessNone": {authagent.Principal{Actions: []string{"orders:create"}}, true, map[string]string{
			"attach": reading, "agent": reading, "access": all403, "action": all403, "approval": all403, "human": all403, "forbid": all403,
		}},
		"GRD-1 agent that reads": {authagent.Principal{Access: authagent.AccessRead}, true, map[string]string{
			"attach": reading, "agent": reading, "access": reading, "action": all403, "approval": asking, "human": all403, "forbid": all403,
		}},
		"GRD-1 agent with the action": {authagent.Principal{Access: authagent.AccessRead, Actions: []string{"orders:create"}}, true, map[string]string{
			"attach": reading, "agent": reading, "access": reading, "action": doing, "approval": asking, "human": all403, "forbid": all403,
		}},
		"GRD-1 agent with full access": {authagent.Principal{Access: authagent.AccessFull}, true, map[string]string{
			"attach": all200, "agent": all200, "access": all200, "action": all200, "approval": noUpgrade, "human": all403, "forbid": all403,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newGuardSite(t, test.link, test.user)
				s.expect("stranger", s.Browser(), strangers)
				person := s.Browser()
				s.SignInPerson(person, "alice")
				s.expect("person", person, persons)

				c, both := s.Browser(), s.Browser()
				s.SignIn(c, s.Agent)
				s.SignIn(both, s.Agent)
				s.SignInPerson(both, "alice")
				asked := s.humans.Load()
				s.expect("agent", c, test.want)
				s.expect("agent and person in one browser", both, test.want)
				if s.humans.Load() != asked {
					t.Error("GRD-8: Human is asked where an agent's session holds")
				}

				s.scenario.paused.Store(true)
				s.expect("paused agent", c, pausedAgents)
				s.expect("paused agent and person in one browser", both, pausedAgents)
				s.expect("person while agents are paused", person, persons)
				s.scenario.paused.Store(false)
				s.expect("agent, after the pause", c, test.want)
				s.expect("agent and person in one browser, after the pause", both, test.want)

				if err := s.RP.EndAllSessions(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.expect("revoked agent", c, strangers)
				s.expect("revoked agent and person in one browser", both, besideEnded)
			})
		})
	}
}

// TestEndedBesidePerson_GRD_2 is GRD-2, GRD-3 and GRD-4: whatever ends an agent's session,
// its browser is not the person's before somebody signs out, and the page that says
// so has the form to do it.
func TestEndedBesidePerson_GRD_2(t *testing.T) {
	read := authagent.Principal{Access: authagent.AccessRead}
	spoil := func(change func(value string) string) func(*guardSite, *http.Client) {
		return func(s *guardSite, c *http.Client) {
			name, value := s.sessionCookie(c)
			c.Jar.SetCookies(mustParse(s.T, s.URL), []*http.Cookie{{Name: name, Value: change(value), Path: "/", Secure: true}})
		}
	}
	for name, end := range map[string]func(*guardSite, *http.Client){
		"revoked": func(s *guardSite, _ *http.Client) { s.RP.EndUserSessions(context.Background(), s.AliceID) },
		"ended by the scenario, and wanted again": func(s *guardSite, c *http.Client) {
			why := problem.Blocked
			s.scenario.refuses.Store(&why)
			s.Get(c, "/attach")
			s.scenario.refuses.Store(nil)
		},
		"ended without an event, and wanted again": func(s *guardSite, c *http.Client) {
			why := problem.NoSession
			s.scenario.refuses.Store(&why)
			s.Get(c, "/attach")
			s.scenario.refuses.Store(nil)
		},
		"idle":       func(*guardSite, *http.Client) { time.Sleep(31 * time.Minute) },
		"unreadable": spoil(func(v string) string { return flip(v, len(v)/2) }),
		"empty":      spoil(func(string) string { return "" }),
		"too long":   spoil(func(string) string { return strings.Repeat("A", 5000) }),
		"without a row in the store": func(s *guardSite, c *http.Client) {
			if s.Config.Session.Store == nil {
				spoil(func(v string) string { return v[1:] })(s, c)
				return
			}
			name, _ := s.sessionCookie(c)
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", s.Cookies(c))
			row, err := s.Config.Session.Store.New(r, name)
			if err != nil {
				s.T.Fatal(err)
			}
			row.Options = &sessions.Options{Path: "/", MaxAge: -1}
			w := httptest.NewRecorder()
			if err := s.Config.Session.Store.Save(r, w, row); err != nil {
				s.T.Fatal(err)
			}
			if _, browser := s.Config.Session.Store.(*sessions.CookieStore); browser { // it has no rows
				s.RP.EndAllSessions(s.T.Context())
			}
		},
	} {
		t.Run("GRD-3 GRD-4 "+name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, k *bench) {
				s := newGuardSite(t, read, true, func(_ *bench, c *authagent.Config) { c.Session.Store = k.Config.Session.Store })
				c := s.Browser()
				s.MustSignIn(c, s.Agent)
				s.SignInPerson(c, "alice")
				end(s, c)
				for range 2 { // it stays so
					s.expect(name, c, besideEnded)
				}
				for _, path := range []string{"/human", "/forbid", "/access", "/attach"} {
					page := s.Get(c, path, "Accept", "text/html")
					if !strings.Contains(page.Text, `action="/auth/agent/logout?return_to=%2F`+path[1:]+`"`) {
						t.Errorf("GRD-4: no form to sign out on %s: %s", path, page.Text)
					}
				}
				if resp := s.Do(c, "POST", "/auth/agent/logout?return_to=/human"); resp.StatusCode != 303 {
					t.Fatalf("logout: %d", resp.StatusCode)
				}
				s.expect("person, after the sign-out", c, persons)
				s.SignIn(c, s.Agent)
				if got := s.Get(c, "/access").StatusCode; got != 200 {
					t.Errorf("SES-6: signed in anew: %d", got)
				}
			})
		})
	}
}

// TestAnotherPartysCookie_GRD_2_GRD_5 is GRD-2 and GRD-5: beside the session cookie of another
// relying party of the site, whether or not its session holds, no person is recognised;
// what is not this one's to guard passes on. A login's cookie is no session's.
func TestAnotherPartysCookie_GRD_2_GRD_5(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessFull}, true)
	other := s.Instance("other", func(c *authagent.Config) { c.ClientID = "other" })
	began := s.Browser()
	s.Get(began, "/auth/agent/login", "X-Instance", "other")
	name, _, _ := strings.Cut(s.Cookies(began), "-login-")
	put := func(c *http.Client, name string) {
		c.Jar.SetCookies(mustParse(t, s.URL), []*http.Cookie{{Name: name, Value: "x", Path: "/", Secure: true}})
	}
	person := s.Browser()
	s.SignInPerson(person, "alice")
	s.Get(person, "/auth/agent/login")
	put(person, name+"-login-AAAAAAAA")
	put(person, "__Host-authagent-") // nobody's
	put(person, "__Host-authagent-AAAAAAA!")
	put(person, "dev-authagent-AAAAAAAA")
	s.expect("person with cookies that are no session's", person, persons)

	put(person, name)
	s.expect("person with another party's cookie", person, besideAnother)
	stranger := s.Browser()
	put(stranger, name)
	s.expect("stranger with another party's cookie", stranger, strangers)

	// The other party's own guards say what has to be said.
	s.SetMux("both", http.NewServeMux())
	s.Mux("both").Handle("/both", s.RP.ForbidAgents(other.ForbidAgents(http.NotFoundHandler())))
	s.Mux("both").Handle("/attached", s.RP.Attach(other.ForbidAgents(http.NotFoundHandler())))
	for _, path := range []string{"/both", "/attached"} {
		if got := s.Get(person, path, "X-Instance", "both").StatusCode; got != 403 {
			t.Errorf("GRD-5 %s: %d", path, got)
		}
	}
	if resp := s.Do(person, "POST", "/auth/agent/logout"); resp.StatusCode != 303 {
		t.Fatal(resp.StatusCode)
	}
	s.expect("person, after the sign-out at this party", person, persons)
}

// TestGuardsOfBoth_MW_10: of two relying parties one knows people. Where the session of
// the other's agent has ended, the agent passes the guards of both as a person in no
// order, and a browser in which nobody is signed in passes.
func TestGuardsOfBoth_MW_10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t) // Config.Human is not set
		people := k.Instance("2", func(c *authagent.Config) { c.ClientID, c.Human = "site-2", testsite.Human })
		reached := 0
		h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
		site := k.Mux("")
		guards := map[string]http.Handler{
			"/forbid-people":         k.RP.ForbidAgents(people.ForbidAgents(h)),
			"/people-forbid":         people.ForbidAgents(k.RP.ForbidAgents(h)),
			"/attach-people":         k.RP.Attach(people.ForbidAgents(h)),
			"/people-attach":         people.ForbidAgents(k.RP.Attach(h)),
			"/forbid-people-attach":  k.RP.ForbidAgents(people.Attach(h)),
			"/people-attach-outside": people.Attach(k.RP.ForbidAgents(h)),
		}
		for path, guard := range guards {
			site.Handle(path, guard)
		}
		c := k.Browser()
		s := k.MustSignIn(c, k.Agent)
		k.SignInPerson(c, "alice")
		if err := k.RP.EndAgentSessions(t.Context(), s.Agent); err != nil {
			t.Fatal(err)
		}
		alone := k.Browser()
		time.Sleep(2 * time.Second)
		s = k.MustSignIn(alone, k.Agent)
		if err := k.RP.EndSession(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		for path := range guards {
			reached = 0
			if resp := k.Do(c, http.MethodPost, path); resp.StatusCode != http.StatusForbidden || reached != 0 {
				t.Errorf("MW-10 %s: ended, the agent gets %d, reached %d times", path, resp.StatusCode, reached)
			}
			if resp := k.Do(alone, http.MethodPost, path); resp.StatusCode != http.StatusOK || reached != 1 {
				t.Errorf("MW-10 %s: where nobody is signed in: %d, reached %d times", path, resp.StatusCode, reached)
			}
		}
	})
}

// TestSignOutRemovesAll_GRD_6 is GRD-6: a sign-out takes away the cookies of all sessions,
// once each, and no other cookie.
func TestSignOutRemovesAll_GRD_6(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessFull}, true)
	c := s.Browser()
	s.MustSignIn(c, s.Agent)
	own := s.Cookies(c)
	const others = "__Host-authagent-AAAAAAAA=1; __Host-authagent-BBBB-_BB=2; __Host-authagent-BBBB-_BB=3"
	for _, path := range []string{"/auth/agent/logout", "/guarded"} {
		logout := s.RP.Attach(http.NotFoundHandler())
		if path == "/guarded" {
			logout = s.RP.LogoutHandler()
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/auth/agent/logout", nil)
		r.Header.Set("Cookie", "site=x; "+others+"; __Host-authagent-AAAAAAAA-login-BBBBBBBB=1; "+own)
		logout.ServeHTTP(w, r)
		var removed []string
		for _, cookie := range w.Result().Cookies() {
			if cookie.MaxAge >= 0 || cookie.Path != "/" || !cookie.Secure {
				t.Errorf("GRD-6: %s", cookie)
			}
			removed = append(removed, cookie.Name)
		}
		slices.Sort(removed)
		name, _, _ := strings.Cut(own, "=")
		want := []string{"__Host-authagent-AAAAAAAA", "__Host-authagent-BBBB-_BB", name}
		slices.Sort(want)
		if !slices.Equal(removed, want) {
			t.Errorf("GRD-6 %s: %q, want %q", path, removed, want)
		}
	}
}

// TestDevelopmentCookies_GRD_6 is GRD-6: in development, where browsers share the cookies
// of all ports, a site takes no other one's for its own.
func TestDevelopmentCookies_GRD_6(t *testing.T) {
	names := func(redirect string) (login, session string) {
		rp, err := authagent.New(authagent.Config{
			Issuer: "http://localhost:9000", ClientID: "c", ClientSecret: "s", RedirectURL: redirect, SessionKeys: [][]byte{testsite.NewKey()},
			Scenario: authagent.FreshProfile(&memstore.Profiles{}), Logger: discardLog(),
			Provider: provider.Settings{Endpoints: provider.Endpoints{Authorization: "http://localhost:9000/authorize", Token: "http://localhost:9000/token"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		rp.LoginHandler().ServeHTTP(w, httptest.NewRequest("GET", "/auth/agent/login", nil))
		if w.Code != 303 {
			t.Fatal(w.Code, w.Body)
		}
		login = w.Result().Cookies()[0].Name
		session, _, _ = strings.Cut(login, "-login-")
		return login, session
	}
	for redirect, want := range map[string]string{
		"http://localhost:8080/auth/agent/callback": "dev-authagent-8080-",
		"http://localhost:8081/auth/agent/callback": "dev-authagent-8081-",
		"http://localhost/auth/agent/callback":      "dev-authagent-80-",
		"http://[::1]:8082/auth/agent/callback":     "dev-authagent-8082-",
	} {
		if login, session := names(redirect); !strings.HasPrefix(login, want) || len(session) != len(want)+8 {
			t.Errorf("GRD-6 %s: login cookie %s", redirect, login)
		}
	}
}

// TestHumanInGuards_GRD_8 is GRD-8: who is signed in is asked once, by the guard that wants
// to know; what cannot be found out refuses the request; and without Config.Human
// nobody is recognised.
func TestHumanInGuards_GRD_8(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessFull}, true)
	seen := ""
	inner := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen, _ = authagent.HumanFromContext(r.Context()) })
	act, read := s.RP.RequireAction("orders:create"), s.RP.RequireAccess(authagent.AccessRead)
	person := s.Browser()
	s.SignInPerson(person, "alice")
	for name, test := range map[string]struct {
		h     http.Handler
		asked int32
		human string
	}{
		"none":    {s.RP.Attach(s.RP.ForbidAgents(inner)), 0, ""},
		"inner":   {s.RP.Attach(s.RP.ForbidAgents(read(inner))), 1, "alice"},
		"several": {s.RP.Attach(act(read(s.RP.RequireHuman(s.RP.ForbidAgents(inner))))), 1, "alice"},
		"outer":   {s.RP.RequireHuman(s.RP.Attach(inner)), 1, "alice"},
	} {
		s.SetMux(name, http.NewServeMux())
		s.Mux(name).Handle("/", test.h)
		s.humans.Store(0)
		if seen = ""; s.Get(person, "/", "X-Instance", name).StatusCode != 200 || s.humans.Load() != test.asked || seen != test.human {
			t.Errorf("GRD-8 %s: asked %d times, want %d; human %q", name, s.humans.Load(), test.asked, seen)
		}
	}
	for name, human := range map[string]func(*http.Request) (string, error){
		"error": func(*http.Request) (string, error) { return "alice", errors.New("no database") },
		"panic": func(*http.Request) (string, error) { panic("no database") },
	} {
		broken := newGuardSite(t, authagent.Principal{}, true, func(_ *bench, c *authagent.Config) { c.Human = human })
		const all500 = "500 500 500 500"
		broken.expect("GRD-8 "+name, broken.Browser(), map[string]string{
			"attach": all200, "agent": all500, "access": all500, "action": all500, "approval": all500, "human": all500, "forbid": all200,
		})
		c := broken.Browser()
		broken.SignIn(c, broken.Agent)
		broken.RP.EndAllSessions(t.Context())
		broken.expect("GRD-8 ended, "+name, c, map[string]string{
			"attach": all500, "agent": all500, "access": all500, "action": all500, "approval": all500, "human": all500, "forbid": all500,
		})
	}
	unset := newCluster(t)
	person = unset.Browser()
	unset.SignInPerson(person, "alice")
	unset.handle("/act", unset.RP.RequireAction("orders:create"))
	for _, path := range []string{"/data", "/act", "/me"} {
		if got := unset.Get(person, path).StatusCode; got != 401 {
			t.Errorf("GRD-8 %s without Config.Human: %d", path, got)
		}
	}
}

// TestSignOutIsOffered_GRD_4 is GRD-4: only who has an agent to sign out is offered to, also
// by what the site itself refuses.
func TestSignOutIsOffered_GRD_4(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessRead}, true)
	s.Mux("").HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) { s.RP.ServeError(w, r, problem.AgentForbidden) })
	stranger, person, agent := s.Browser(), s.Browser(), s.Browser()
	s.SignInPerson(person, "alice")
	s.MustSignIn(agent, s.Agent)
	for name, test := range map[string]struct {
		c    *http.Client
		want bool
	}{"stranger": {stranger, false}, "person": {person, false}, "agent": {agent, true}} {
		page := s.Get(test.c, "/own", "Accept", "text/html")
		if page.StatusCode != 403 || strings.Contains(page.Text, `action="/auth/agent/logout?return_to=%2Fown"`) != test.want {
			t.Errorf("GRD-4 %s: %d %s", name, page.StatusCode, page.Text)
		}
	}
}

// TestPauseKeepsTokens_GRD_12 is GRD-12: a pause takes neither a session nor its tokens
// away, and who is signed in as an agent meanwhile can sign out.
func TestPauseKeepsTokens_GRD_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &memstore.Tokens{}
		s := newGuardSite(t, authagent.Principal{Access: authagent.AccessRead}, true, func(_ *bench, c *authagent.Config) { c.Tokens.Store = kept })
		c, leaving := s.Browser(), s.Browser()
		session := s.MustSignIn(c, s.Agent)
		time.Sleep(2 * time.Second)
		s.MustSignIn(leaving, s.Agent)
		s.scenario.paused.Store(true)
		for range 3 {
			s.expect("paused", c, pausedAgents)
			time.Sleep(time.Minute)
		}
		page := s.Get(c, "/forbid", "Accept", "text/html")
		if !strings.Contains(page.Text, `action="/auth/agent/logout?`) {
			t.Errorf("GRD-12: no form to sign out: %s", page.Text)
		}
		if resp := s.Do(leaving, "POST", "/auth/agent/logout"); resp.StatusCode != 303 {
			t.Errorf("GRD-12: logout while agents are paused: %d %s", resp.StatusCode, resp.Text)
		}
		s.scenario.paused.Store(false)
		if _, err := kept.LoadTokens(t.Context(), session.ID); err != nil {
			t.Errorf("GRD-12: tokens after the pause: %v", err)
		}
		if got := s.Me(c); got == nil || got.ID != session.ID {
			t.Errorf("GRD-12: session after the pause: %+v", got)
		}
		if s.Me(leaving) != nil {
			t.Error("GRD-12: who signed out is signed in")
		}
		if ended := s.Events.Named(audit.SessionEnded); len(ended) != 1 {
			t.Errorf("GRD-12: %+v", ended)
		}
	})
}

// TestFrozenSession is GRD-13: a session whose access is taken away, of an account that
// is frozen for example, has no actions left either.
func TestFrozenSession(t *testing.T) {
	l := &lowering{}
	l.to.Store(int32(authagent.AccessFull))
	k := newCluster(t, func(b *bench, c *authagent.Config) {
		l.Scenario = authagent.FullAccount(b.Users, linkAs{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"a:do"}})
		c.Scenario = l
	})
	c := k.Browser()
	if s := k.MustSignIn(c, k.Agent); !s.May("a:do") {
		t.Fatalf("session %+v", s)
	}
	l.to.Store(int32(authagent.AccessNone))
	if s := k.Me(c); s == nil || len(s.Actions) != 0 || s.May("a:do") {
		t.Errorf("GRD-13: session %+v", s)
	}
	if s := (&authagent.Session{UserID: k.AliceID, Actions: []string{"a:do"}}); s.May("a:do") {
		t.Error("GRD-13: a session without access may perform an action")
	}
}
