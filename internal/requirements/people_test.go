package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// A sharedDoor is a site at which people and agents come through one callback.
type sharedDoor struct {
	*bench
	alice *authagenttest.Agent // the person
	agent *authagenttest.Agent // hers

	mu     sync.Mutex
	people []provider.Person // whom the site was handed
	before func() error      // what OnPerson does first; nil for nothing
	after  func() error      // what it does when the cookie is set
}

// delegating makes a server one whose tokens name the user, and the agent in act. It keeps to the RFCs.
func delegating(as *authagenttest.Server) {
	as.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
		*q, *f = authagenttest.Quirks{}, authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
	})
}

// delegated are the settings for such a server.
func delegated(_ *bench, c *authagent.Config) {
	c.Provider.SubjectIsUser, c.Provider.Scopes = true, []string{"openid", "profile", "email"}
}

func newSharedDoor(t testing.TB, change ...func(b *bench, c *authagent.Config)) *sharedDoor {
	t.Helper()
	d := &sharedDoor{}
	d.bench = newCluster(t, append([]func(*bench, *authagent.Config){delegated, func(b *bench, c *authagent.Config) {
		delegating(b.AS)
		c.Provider.OnPerson, c.Human = d.onPerson, testsite.Human
	}}, change...)...)
	d.alice = d.AS.AddAgent(authagenttest.Agent{ID: "person_alice", UserID: "u-alice", Email: "alice@example.com", Person: true})
	d.agent = d.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "u-alice", Email: "alice@example.com"})
	return d
}

// onPerson starts the session that testsite.Human finds.
func (d *sharedDoor) onPerson(w http.ResponseWriter, _ *http.Request, p provider.Person) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.before != nil {
		if err := d.before(); err != nil {
			return err
		}
	}
	d.people = append(d.people, p)
	http.SetCookie(w, &http.Cookie{Name: "human", Value: p.Subject, Path: "/", Secure: true, HttpOnly: true})
	if d.after != nil {
		return d.after()
	}
	return nil
}

// handed returns how many people the site was handed.
func (d *sharedDoor) handed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.people)
}

// refused checks that a sign-in was refused, and that nobody is signed in by it.
func (d *sharedDoor) refused(c *http.Client, resp *response, status int, reason problem.Reason) {
	d.T.Helper()
	if resp.StatusCode != status || resp.Reason() != reason {
		d.T.Errorf("refused with %d %q, want %d %q: %s\n%s", resp.StatusCode, resp.Reason(), status, reason, resp.Text, d.Log)
	}
	for _, cookie := range resp.Cookies() {
		if cookie.MaxAge >= 0 {
			d.T.Errorf("a refusal sets cookie %s", cookie.Name)
		}
	}
	if strings.Contains(d.Cookies(c), "human=") {
		d.T.Errorf("signed in: %s", d.Cookies(c))
	}
}

// TestPersonComesIn_ACT_10_ACT_18: one callback is for both. A person is handed to the site with all it has to know,
// and has no agent's session; an agent has one.
func TestPersonComesIn_ACT_10_ACT_18(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSharedDoor(t)
		c := d.Browser()
		resp := d.Get(c, d.Authorize(d.alice, d.Begin(c, "?return_to=/humans")))
		if resp.StatusCode != 303 || resp.Header.Get("Location") != "/humans" || len(sessionCookies(resp)) != 0 {
			t.Fatalf("callback: %d %v %s\n%s", resp.StatusCode, resp.Header, resp.Text, d.Log)
		}
		if d.handed() != 1 {
			t.Fatalf("handed over %d times", d.handed())
		}
		p := d.people[0]
		var claims struct{ Iss, Sub, Aud string }
		if err := json.Unmarshal(p.Claims, &claims); err != nil || claims.Iss != d.AS.URL || claims.Sub != "u-alice" || claims.Aud != "site" {
			t.Errorf("claims %s", p.Claims)
		}
		if p.Issuer != d.AS.URL || p.Subject != "u-alice" || p.ReturnTo != "/humans" {
			t.Errorf("handed over %+v", p)
		}
		if got := len(d.Events.Named(audit.PersonSignedIn)); got != 1 || len(d.Events.Named(audit.LoginSucceeded)) != 0 {
			t.Errorf("events %+v", d.Events.All())
		}
		for _, e := range d.Events.All() {
			if e.Agent != (audit.Agent{}) || e.SessionID != "" || strings.Contains(e.Detail, "u-alice") {
				t.Errorf("the trail has %+v", e)
			}
		}
		if strings.Contains(d.Log.String(), "u-alice") || strings.Contains(d.Log.String(), "alice@example.com") {
			t.Errorf("the log names the person: %s", d.Log)
		}
		for path, want := range map[string]int{"/humans": 200, "/data": 200, "/open": 200, "/me": 403} {
			if resp := d.Get(c, path); resp.StatusCode != want {
				t.Errorf("a person at %s: %d %s", path, resp.StatusCode, resp.Text)
			}
		}
		if d.Me(c) != nil {
			t.Error("a person has an agent's session")
		}

		agent := d.Browser()
		s := d.MustSignIn(agent, d.agent)
		if s.Agent.ID != "agent_1" || s.Subject != "u-alice" || s.UserID != d.AliceID || d.handed() != 1 {
			t.Errorf("session %+v, %d people", s, d.handed())
		}
		if resp := d.Get(agent, "/humans"); resp.StatusCode != 403 {
			t.Errorf("an agent at /humans: %d", resp.StatusCode)
		}
		if len(d.Events.Named(audit.PersonSignedIn)) != 1 || len(d.Events.Named(audit.LoginSucceeded)) != 1 {
			t.Errorf("events %+v", d.Events.All())
		}
	})
}

// TestPersonInAnAgentsBrowser_ACT_11: where a browser has the cookie of an agent's session, be it over, paused or
// at another relying party of the site, nobody is a person until the agent is signed out.
func TestPersonInAnAgentsBrowser_ACT_11(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSharedDoor(t)
		d.Instance("other", func(c *authagent.Config) {
			client := d.AS.AddClient(authagenttest.Client{ID: "other", RedirectURIs: []string{c.RedirectURL}})
			c.ClientID, c.ClientSecret = client.ID, client.Secret
		})
		for name, sign := range map[string]func(c *http.Client){
			"live":       func(c *http.Client) { d.MustSignIn(c, d.agent) },
			"ended":      func(c *http.Client) { d.RP.EndSession(t.Context(), d.MustSignIn(c, d.agent).ID) },
			"unreadable": func(c *http.Client) { d.MustSignIn(c, d.agent); d.spoil(c) },
			"elsewhere": func(c *http.Client) {
				begun := d.Get(c, "/auth/agent/login", "X-Instance", "other")
				if resp := d.Get(c, d.Authorize(d.agent, begun.Header.Get("Location")), "X-Instance", "other"); resp.StatusCode != 303 {
					t.Fatalf("at the other: %d %s", resp.StatusCode, resp.Text)
				}
			},
		} {
			c := d.Browser()
			sign(c)
			before := d.handed()
			callback := d.Authorize(d.alice, d.Begin(c, ""))
			resp := d.Get(c, callback, "Accept", "text/html")
			if resp.StatusCode != 403 || d.handed() != before || len(sessionCookies(resp)) != 0 {
				t.Errorf("%s: %d, %d people", name, resp.StatusCode, d.handed()-before)
			}
			if !strings.Contains(resp.Text, `action="/auth/agent/logout`) {
				t.Errorf("%s: the page offers no sign-out: %s", name, resp.Text)
			}
			d.refused(c, d.Get(c, d.Authorize(d.alice, d.Begin(c, ""))), 403, reasons.AgentInBrowser)
			if resp := d.Do(c, "POST", "/auth/agent/logout"); resp.StatusCode != 303 {
				t.Fatalf("%s: sign-out: %d %s", name, resp.StatusCode, resp.Text)
			}
			if resp := d.SignIn(c, d.alice); resp.StatusCode != 303 || d.handed() != before+1 {
				t.Errorf("%s: after the sign-out: %d %s", name, resp.StatusCode, resp.Text)
			}
		}
	})
}

// spoil replaces the values of the browser's session cookies by ones that no key opens.
func (d *sharedDoor) spoil(c *http.Client) {
	for pair := range strings.SplitSeq(d.Cookies(c), "; ") {
		if name, value, _ := strings.Cut(pair, "="); isSessionCookie(name) {
			d.SetCookie(c, name, value[:len(value)/2])
		}
	}
}

// TestConnectByAPerson_ACT_12: a human who connects an agent gets nothing connected if a person answers.
func TestConnectByAPerson_ACT_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memstore.Grants{}
		owners := grants.OwnerApproval(store)
		owners.Logger = discardLog()
		d := newSharedDoor(t, func(b *bench, c *authagent.Config) { c.Scenario = authagent.FullAccount(b.Users, owners) })
		d.Mux("").Handle("/connect", d.RP.ConnectHandler())
		c := d.Browser()
		d.SignInPerson(c, d.AliceID)
		begun := d.Do(c, "POST", "/connect")
		resp := d.Get(c, d.Authorize(d.alice, begun.Header.Get("Location")))
		if resp.StatusCode != 403 || resp.Reason() != problem.Reason("agent_required") || d.handed() != 0 {
			t.Errorf("%d %s, %d people", resp.StatusCode, resp.Text, d.handed())
		}
		if all, _ := store.OwnerGrants(context.Background(), d.AliceID); len(all) != 0 || len(d.Events.Named(audit.PersonSignedIn)) != 0 {
			t.Errorf("connected %+v, events %+v", all, d.Events.All())
		}
		begun = d.Do(c, "POST", "/connect")
		if resp := d.Get(c, d.Authorize(d.agent, begun.Header.Get("Location"))); resp.StatusCode != 303 {
			t.Errorf("an agent: %d %s", resp.StatusCode, resp.Text)
		}
	})
}

// TestPauseIsForAgents_ACT_14: while agents are paused, none comes in, and people do.
func TestPauseIsForAgents_ACT_14(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owners := grants.OwnerApproval(&memstore.Grants{})
		owners.Logger = discardLog()
		d := newSharedDoor(t, func(_ *bench, c *authagent.Config) { c.Rules = owners })
		d.Mux("").Handle("/connect", d.RP.ConnectHandler())
		if err := owners.SetRules(t.Context(), "root", grants.Rules{Paused: true}); err != nil {
			t.Fatal(err)
		}
		c := d.Browser()
		if resp := d.SignIn(c, d.alice); resp.StatusCode != 303 || d.handed() != 1 {
			t.Errorf("a person: %d %s", resp.StatusCode, resp.Text)
		}
		if resp := d.Get(c, "/humans"); resp.StatusCode != 200 {
			t.Errorf("a person at /humans: %d", resp.StatusCode)
		}
		if resp := d.Do(c, "POST", "/connect"); resp.StatusCode != 503 || resp.Reason() != problem.Paused {
			t.Errorf("a person who connects an agent: %d %s", resp.StatusCode, resp.Text)
		}
		agent := d.Browser()
		d.refused(agent, d.SignIn(agent, d.agent), 503, problem.Paused)
		if d.Me(agent) != nil {
			t.Error("an agent is signed in")
		}
		owners.SetRules(t.Context(), "root", grants.Rules{})
		time.Sleep(time.Minute) // until the rules are read again
		d.MustSignIn(d.Browser(), d.agent)
	})
	synctest.Test(t, func(t *testing.T) { // also where only CheckLogin of the site's own scenario says so
		d := newSharedDoor(t, func(_ *bench, c *authagent.Config) { c.Scenario = closedForNow{c.Scenario} })
		c, agent := d.Browser(), d.Browser()
		if resp := d.SignIn(c, d.alice); resp.StatusCode != 303 || d.handed() != 1 {
			t.Errorf("a person: %d %s", resp.StatusCode, resp.Text)
		}
		d.refused(agent, d.SignIn(agent, d.agent), 503, problem.Paused)
	})
}

// closedForNow is a scenario that lets no login begin.
type closedForNow struct{ authagent.Scenario }

func (closedForNow) CheckLogin(context.Context) error { return problem.Paused }

// TestSiteRefusesAPerson_ACT_15: the site's word counts, and its panic is a fault. Whoever is refused has no cookie of
// the site's session either.
func TestSiteRefusesAPerson_ACT_15(t *testing.T) {
	for name, test := range map[string]struct {
		do     func() error
		status int
		reason problem.Reason
	}{
		"error":  {func() error { return errors.New("connection refused") }, 500, problem.StoreFailed},
		"reason": {func() error { return problem.Blocked }, 403, problem.Blocked},
		"panic":  {func() error { panic("nil map") }, 500, problem.StoreFailed},
		"nobody": {func() error { return problem.NoAccount }, 403, problem.NoAccount},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newSharedDoor(t)
			for _, late := range []bool{false, true} {
				d.before, d.after = test.do, nil
				if late {
					d.before, d.after = nil, test.do
				}
				c, events := d.Browser(), len(d.Logged(audit.LoginFailed))
				d.refused(c, d.SignIn(c, d.alice), test.status, test.reason)
				failed := d.Logged(audit.LoginFailed)[events:]
				if len(failed) != 1 || failed[0].Reason != test.reason || len(d.Events.Named(audit.PersonSignedIn)) != 0 {
					t.Errorf("%s, late %v: logged %+v, events %+v", name, late, failed, d.Events.All())
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		d := newSharedDoor(t, func(_ *bench, c *authagent.Config) { c.RegistrationURL = "/register" })
		d.after = func() error { return problem.NoAccount }
		c := d.Browser()
		resp := d.SignIn(c, d.alice)
		if resp.StatusCode != 303 || resp.Header.Get("Location") != "/register" || strings.Contains(d.Cookies(c), "human=") {
			t.Errorf("%d %v, cookies %s", resp.StatusCode, resp.Header, d.Cookies(c))
		}
	})
}

// TestPersonAgain_ACT_15: a browser that repeats its request within a minute, as when the answer was lost, is answered
// again, unless an agent has come in meanwhile. Later and elsewhere nobody is.
func TestPersonAgain_ACT_15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSharedDoor(t)
		c := d.Browser()
		callback := d.Authorize(d.alice, d.Begin(c, "?return_to=/humans"))
		cookies := d.Cookies(c)
		repeat := func(with string) *response { return d.Get(d.Bare(), callback, "Cookie", with) }
		if resp := repeat(cookies); resp.StatusCode != 303 {
			t.Fatalf("%d %s", resp.StatusCode, resp.Text)
		}
		exchanged := d.BackChannel()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				resp := repeat(cookies)
				if resp.StatusCode != 303 || resp.Header.Get("Location") != "/humans" || !strings.Contains(strings.Join(resp.Header["Set-Cookie"], "\n"), "human=u-alice") {
					t.Errorf("again: %d %v", resp.StatusCode, resp.Header)
				}
			})
		}
		wg.Wait()
		d.people[0].Claims[0] = 'x' // the site's own copy
		if d.handed() != 5 || d.people[1].Claims[0] != '{' || d.people[4].ReturnTo != "/humans" {
			t.Errorf("handed over %d times, %s", d.handed(), d.people[1].Claims)
		}
		if resp := d.Get(d.Bare(), callback); resp.StatusCode < 400 {
			t.Errorf("in another browser: %d", resp.StatusCode)
		}
		agent := d.Browser()
		d.MustSignIn(agent, d.agent)
		if resp := repeat(cookies + "; " + d.Cookies(agent)); resp.StatusCode != 403 || resp.Reason() != reasons.AgentInBrowser {
			t.Errorf("beside an agent: %d %s", resp.StatusCode, resp.Text)
		}
		time.Sleep(2 * time.Minute)
		if resp := repeat(cookies); resp.StatusCode < 400 || d.handed() != 5 {
			t.Errorf("later: %d, handed over %d times", resp.StatusCode, d.handed())
		}
		if got := d.BackChannel() - exchanged; got > 4 { // those of the agent
			t.Errorf("%d requests to the server", got)
		}
	})
}

// TestAskedAboutPeople_ACT_16: a person is one only once the server has been asked, if it can be.
func TestAskedAboutPeople_ACT_16(t *testing.T) {
	for name, test := range map[string]struct {
		wrap   wrapper
		status int
		reason problem.Reason
		retry  bool
	}{
		"down":     {authagenttest.Reply(503, "text/plain", "down"), 502, problem.Reason("server_unavailable"), true},
		"refuses":  {authagenttest.Reply(401, "application/json", `{"error":"invalid_client"}`), 502, problem.Reason("client_refused"), true},
		"inactive": {authagenttest.Reply(200, "application/json", `{"active":false}`), 400, problem.Reason("token_refused"), true},
		"nonsense": {authagenttest.Reply(200, "text/html", `<p>`), 502, problem.Reason("invalid_response"), false},
		"no more":  {authagenttest.Reply(200, "application/json", `{"active":true,"client_id":"site"}`), 400, problem.Reason("identity_mismatch"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newSharedDoor(t)
			d.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.OpaqueTokens = name == "no more" })
			c := d.Browser()
			d.AS.Wrap(authagenttest.PathIntrospect, test.wrap)
			resp := d.SignIn(c, d.alice)
			if resp.StatusCode < 400 || resp.Reason() != test.reason || d.handed() != 0 || strings.Contains(d.Cookies(c), "human=") {
				t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
			}
			if got := resp.Header.Get("Retry-After") != ""; got != test.retry {
				t.Errorf("%s: Retry-After %q", name, resp.Header.Get("Retry-After"))
			}
			d.AS.Wrap(authagenttest.PathIntrospect, nil)
			if resp := d.SignIn(c, d.alice); resp.StatusCode != 303 || d.handed() != 1 {
				t.Errorf("%s: afterwards: %d %s", name, resp.StatusCode, resp.Text)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // without introspection, the token has to speak for itself
		d := newSharedDoor(t)
		d.AS.Wrap(authagenttest.PathMetadata, rewrite(members{"introspection_endpoint": nil}))
		d.Instance("")
		c := d.Browser()
		if resp := d.SignIn(c, d.alice); resp.StatusCode != 303 || d.handed() != 1 || len(d.AS.Requests(authagenttest.PathIntrospect)) != 0 {
			t.Errorf("a JWT: %d %s", resp.StatusCode, resp.Text)
		}
		d.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.OpaqueTokens = true })
		c = d.Browser()
		d.refused(c, d.SignIn(c, d.alice), 400, problem.Reason("identity_mismatch"))
		d.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorIn = []string{"access_token"} })
		c = d.Browser() // and an agent whose token nobody can read is no person
		d.refused(c, d.SignIn(c, d.agent), 400, problem.Reason("identity_mismatch"))
		if d.handed() != 1 {
			t.Errorf("handed over %d times", d.handed())
		}
	})
}

// TestPeopleSettings_ACT_17: settings by which an agent could pass for a person are refused.
func TestPeopleSettings_ACT_17(t *testing.T) {
	onPerson := func(http.ResponseWriter, *http.Request, provider.Person) error { return nil }
	ended := func(context.Context, provider.Person) error { return nil }
	for name, test := range map[string]struct {
		settings provider.Settings
		says     string // in the error; empty for none
	}{
		"good":                      {provider.Settings{SubjectIsUser: true, OnPerson: onPerson}, ""},
		"scopes with openid":        {provider.Settings{SubjectIsUser: true, OnPerson: onPerson, Scopes: []string{"openid", "email"}}, ""},
		"told of ends":              {provider.Settings{SubjectIsUser: true, OnPerson: onPerson, OnPersonEnded: ended}, ""},
		"sub is the agent":          {provider.Settings{OnPerson: onPerson}, "Provider.OnPerson"},
		"scopes without openid":     {provider.Settings{SubjectIsUser: true, OnPerson: onPerson, Scopes: []string{"email"}}, "Provider.Scopes"},
		"told of ends, of nobody's": {provider.Settings{SubjectIsUser: true, OnPersonEnded: ended}, "Provider.OnPersonEnded"},
	} {
		_, err := authagent.New(authagent.Config{
			Issuer: "https://as.example", ClientID: "site", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
			SessionKeys: [][]byte{testsite.NewKey()}, Scenario: authagent.FullAccount(&memstore.Users{}, authagent.InsecureTrustEmail), Provider: test.settings,
		})
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
