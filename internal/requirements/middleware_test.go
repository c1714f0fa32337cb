package requirements_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// scenariosOn returns the three scenarios, on the stores of b.
func scenariosOn(b *bench) map[string]authagent.Scenario {
	return map[string]authagent.Scenario{
		"FullAccount":       authagent.FullAccount(b.Users, authagent.InsecureTrustEmail),
		"ContextualProfile": authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail),
		"FreshProfile":      authagent.FreshProfile(b.Profiles),
	}
}

// TestAccessMatrix is MW-3 and MW-4: who gets in where, with which method. The
// statuses are in the order of the columns
//
//	GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT-like GET+Upgrade POST+override POST+_method
func TestAccessMatrix(t *testing.T) {
	type request struct {
		method, query string
		header        []string
	}
	requests := []request{
		{"GET", "", nil}, {"HEAD", "", nil}, {"POST", "", nil}, {"PUT", "", nil}, {"PATCH", "", nil}, {"DELETE", "", nil}, {"OPTIONS", "", nil},
		{"PROPFIND", "", nil}, {"GET", "", []string{"Upgrade", "websocket", "Connection", "Upgrade"}},
		{"POST", "", []string{"X-HTTP-Method-Override", "GET", "X-Method-Override", "GET"}}, {"POST", "?_method=GET", nil},
	}
	for _, test := range []struct {
		scenario, path string
		want           [11]int
	}{
		{"FullAccount", "/me", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FullAccount", "/data", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FullAccount", "/full", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FullAccount", "/open", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FullAccount", "/humans", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"ContextualProfile", "/me", [...]int{200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"ContextualProfile", "/data", [...]int{200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"ContextualProfile", "/full", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"ContextualProfile", "/open", [...]int{200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"ContextualProfile", "/humans", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"FreshProfile", "/me", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FreshProfile", "/data", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"FreshProfile", "/full", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"FreshProfile", "/open", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"FreshProfile", "/humans", [...]int{403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403}},
		{"nobody", "/me", [...]int{401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401}},
		{"nobody", "/data", [...]int{401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401}},
		{"nobody", "/full", [...]int{401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401}},
		{"nobody", "/open", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
		{"nobody", "/humans", [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200}},
	} {
		t.Run("MW-3 MW-4 "+test.scenario+test.path, func(t *testing.T) {
			k := newCluster(t, func(b *bench, c *authagent.Config) {
				if s, ok := scenariosOn(b)[test.scenario]; ok {
					c.Scenario = s
				}
			})
			c := k.Browser()
			if test.scenario != "nobody" {
				k.MustSignIn(c, k.Agent)
			}
			for i, r := range requests {
				before := k.Handled.Count()
				resp := k.Do(c, r.method, test.path+r.query, r.header...)
				if resp.StatusCode != test.want[i] {
					t.Errorf("%s%s %v: status %d, want %d", r.method, r.query, r.header, resp.StatusCode, test.want[i])
				}
				if ran := k.Handled.Count() > before; ran != (test.want[i] == 200) {
					t.Errorf("%s%s %v: handler ran: %v", r.method, r.query, r.header, ran)
				}
				if test.want[i] >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s%s %v: Content-Type %q", r.method, r.query, r.header, resp.Header.Get("Content-Type"))
				}
			}
		})
	}
}

// TestUpgradeInPieces is MW-4: libraries that upgrade a connection read all the
// lines of the header, so one that says nothing must not hide the next.
func TestUpgradeInPieces(t *testing.T) {
	k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = scenariosOn(b)["ContextualProfile"] })
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for _, upgrade := range [][]string{
		{"websocket"}, {"", "websocket"}, {"websocket", ""}, {"", "", "h2c, websocket"}, {""}, {" "},
	} {
		header := []string{"Connection", "Upgrade"}
		for _, line := range upgrade {
			header = append(header, "Upgrade", line)
		}
		for _, path := range []string{"/me", "/data", "/open"} {
			before := k.Handled.Count()
			if resp := k.Get(c, path, header...); resp.StatusCode != http.StatusForbidden || k.Handled.Count() != before {
				t.Errorf("MW-4 %s, Upgrade %q: status %d, handler ran: %v", path, upgrade, resp.StatusCode, k.Handled.Count() > before)
			}
		}
	}
}

// hooks are a site's parts, each of which can be made to fail.
type hooks struct {
	*memstore.Users
	sessions    authagent.Sessions
	revocations memstore.Revocations
	fail        atomic.Pointer[func() error]
	where       string
}

func (h *hooks) at(where string) error {
	if f := h.fail.Load(); f != nil && where == h.where {
		return (*f)()
	}
	return nil
}

func (h *hooks) UserByEmail(ctx context.Context, email string) (authagent.User, error) {
	if err := h.at("UserByEmail"); err != nil {
		return authagent.User{}, err
	}
	return h.Users.UserByEmail(ctx, email)
}

func (h *hooks) LinkAgent(ctx context.Context, a authagent.Agent, id string) (string, error) {
	if err := h.at("LinkAgent"); err != nil {
		return "", err
	}
	return h.Users.LinkAgent(ctx, a, id)
}

func (h *hooks) Link(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if err := h.at("Link"); err != nil {
		return authagent.Principal{}, err
	}
	return authagent.InsecureTrustEmail.Link(ctx, r)
}

func (h *hooks) CheckSession(ctx context.Context, s *authagent.Session) error {
	if err := h.at("CheckSession"); err != nil {
		return err
	}
	return h.Users.CheckSession(ctx, s)
}

func (h *hooks) Start(w http.ResponseWriter, r *http.Request, s *authagent.Session) error {
	if err := h.at("Start"); err != nil {
		return err
	}
	return h.sessions.Start(w, r, s)
}

func (h *hooks) Load(w http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	if err := h.at("Load"); err != nil {
		return nil, err
	}
	return h.sessions.Load(w, r)
}

func (h *hooks) End(w http.ResponseWriter, r *http.Request) error {
	if err := h.at("End"); err != nil {
		return err
	}
	return h.sessions.End(w, r)
}

func (h *hooks) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	if err := h.at("Revoke"); err != nil {
		return err
	}
	return h.revocations.Revoke(ctx, key, mark, until)
}

func (h *hooks) Marks(ctx context.Context, keys []string) ([]string, error) {
	if err := h.at("Marks"); err != nil {
		return nil, err
	}
	return h.revocations.Marks(ctx, keys)
}

func (h *hooks) UseState(context.Context, string, time.Time) (bool, error) {
	return true, h.at("UseState")
}

func (h *hooks) SaveTokens(context.Context, string, []byte, []byte, time.Time) error {
	return h.at("SaveTokens")
}

func (h *hooks) LoadTokens(context.Context, string) ([]byte, error) {
	if err := h.at("LoadTokens"); err != nil {
		return nil, err
	}
	return nil, authagent.ErrNotFound
}

func (h *hooks) DeleteTokens(context.Context, string) error { return h.at("DeleteTokens") }

// TestHooksFail is MW-1: whatever of the site's fails or panics, nobody gets in by it.
func TestHooksFail(t *testing.T) {
	failures := map[string]func() error{
		"error": func() error { return errors.New("connection refused") },
		"panic": func() error { panic("nil map") },
	}
	for _, test := range []struct {
		where                   string
		request, logout, signIn int // expected status
	}{
		{"UserByEmail", 200, 303, 500},
		{"LinkAgent", 200, 303, 500},
		{"Link", 200, 303, 500},
		{"CheckSession", 500, 500, 303},
		{"Start", 200, 303, 500},
		{"Load", 500, 500, 500},
		{"End", 200, 500, 303},
		{"Revoke", 200, 500, 303},
		{"Marks", 500, 500, 500},
		{"UseState", 200, 303, 500},
		{"SaveTokens", 200, 303, 500},
		{"LoadTokens", 200, 303, 303},
		{"DeleteTokens", 200, 303, 303},
	} {
		for how, f := range failures {
			t.Run("MW-1 "+how+" in "+test.where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &hooks{where: test.where, sessions: &mapSessions{}}
					k := newCluster(t, func(b *bench, c *authagent.Config) {
						h.Users = b.Users
						c.Scenario = authagent.FullAccount(h, h)
						c.Session.Own, c.Revocations, c.States, c.Tokens.Store = h, h, h, h
					})
					in := k.Browser()
					k.MustSignIn(in, k.Agent)
					time.Sleep(2 * time.Second)
					fresh := k.Browser()
					callback := k.Authorize(k.Agent, k.Begin(fresh, ""))
					h.fail.Store(&f)
					for _, path := range []string{"/me", "/data", "/full", "/open"} {
						before := k.Handled.Count()
						if resp := k.Get(in, path); resp.StatusCode != test.request {
							t.Errorf("%s: status %d, want %d", path, resp.StatusCode, test.request)
						}
						if ran := k.Handled.Count() > before; ran != (test.request == 200) {
							t.Errorf("%s: handler ran: %v", path, ran)
						}
					}
					resp := k.Get(fresh, callback)
					if resp.StatusCode != test.signIn {
						t.Errorf("callback: status %d, want %d: %s", resp.StatusCode, test.signIn, resp.Text)
					}
					if resp.StatusCode >= 500 && (resp.Header.Get("Retry-After") == "" || strings.Contains(resp.Text, "connection refused")) {
						t.Errorf("callback: Retry-After %q, body %s", resp.Header.Get("Retry-After"), resp.Text)
					}
					if strings.Contains(k.Cookies(fresh), "sid=") != (test.signIn == 303) {
						t.Errorf("callback: cookies %q", k.Cookies(fresh))
					}
					if resp := k.Do(in, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != test.logout {
						t.Errorf("logout: status %d, want %d", resp.StatusCode, test.logout)
					}
					h.fail.Store(nil)
					time.Sleep(2 * time.Second)
					k.MustSignIn(k.Browser(), k.Agent) // all is well afterwards
				})
			})
		}
	}
}

// TestIdentityOnlyFromSession_MW_2_MW_7 is MW-2 and MW-7: no header makes an agent.
func TestIdentityOnlyFromSession_MW_2_MW_7(t *testing.T) {
	k := newCluster(t)
	issued := k.watchTokens()
	k.MustSignIn(k.Browser(), k.Agent)
	before := k.BackChannel()
	for _, header := range [][2]string{
		{"X-Agent-Id", "agent_alice"}, {"x_agent_id", "agent_alice"}, {"X-Forwarded-User", "alice"}, {"X_Forwarded_User", "alice"},
		{"X-Forwarded-Email", "alice@example.com"}, {"X-Forwarded-Uri", "/public"}, {"X-Original-Url", "/public"}, {"X-Rewrite-Url", "/public"},
		{"User-Agent", "health"}, {"X-Forwarded-For", "127.0.0.1"}, {"X-Real-Ip", "127.0.0.1"}, {"Forwarded", "for=127.0.0.1"},
		{"Authorization", "Bearer " + (*issued)[0]}, {"Authorization", "bearer " + (*issued)[0]}, {"Authorization", "Basic YWxpY2U6eA=="},
		{"X-Auth-Request-Access-Token", (*issued)[0]}, {"Cookie", "session=alice"}, {"Cookie", "access_token=" + (*issued)[0]},
	} {
		for _, path := range []string{"/me", "/data", "/full", "/me?access_token=" + (*issued)[0]} {
			if resp := k.Get(k.Bare(), path, header[0], header[1]); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("MW-2 MW-7 %s: %s on %s: status %d", header[0], header[1], path, resp.StatusCode)
			}
		}
	}
	if n := k.BackChannel() - before; n != 0 {
		t.Errorf("MW-7: %d requests to the server", n)
	}
}

// TestFromContextWithoutMiddleware_MW_2 is MW-2.
func TestFromContextWithoutMiddleware_MW_2(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	if s, ok := authagent.FromContext(context.Background()); ok || s != nil {
		t.Errorf("MW-2: %+v", s)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", k.Cookies(c))
	if s, ok := authagent.FromContext(r.Context()); ok || s != nil {
		t.Errorf("MW-2: %+v", s)
	}
}

// TestPathRules_MW_5 is MW-5: a guard around a subtree of a mux sees what the mux serves.
func TestPathRules_MW_5(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	var admin atomic.Int32
	mux := k.Mux("")
	deny := k.RP.ForbidAgents(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { admin.Add(1) }))
	mux.Handle("/admin", deny)
	mux.Handle("/admin/", deny)
	for _, path := range []string{
		"/admin", "/admin/", "//admin/x", "/admin//x", "/x/../admin/x", "/./admin/x", "/%61dmin/x", "/admin%2fx", "/admin/x?y", "/admin/x%23y",
		"/admin/..;/x", "/admin/%2e%2e/admin/x", "/admin;a=b/x",
	} {
		resp := k.Get(c, path)
		for range 3 {
			if location := resp.Header.Get("Location"); strings.HasPrefix(location, "/") {
				resp = k.Get(c, location) // the mux's own cleaning
			}
		}
		if admin.Load() != 0 {
			t.Fatalf("MW-5: the admin handler ran for %s", path)
		}
	}
	if resp := k.Get(k.Browser(), "/admin/x"); resp.StatusCode != 200 || admin.Load() != 1 {
		t.Errorf("MW-5: a human gets %d", resp.StatusCode)
	}
}

// countingSessions counts how often a session is loaded.
type countingSessions struct {
	mapSessions
	loads atomic.Int32
}

func (s *countingSessions) Load(w http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	s.loads.Add(1)
	return s.mapSessions.Load(w, r)
}

// TestOneLoadPerRequest: however many middlewares are in the way, and whoever
// else put one there, for the signed-in and for others.
func TestOneLoadPerRequest(t *testing.T) {
	own := &countingSessions{}
	k := newCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Own = own })
	other := k.Instance("other", func(c *authagent.Config) { c.Session.Own = &mapSessions{} })
	leaf := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {})
	k.Mux("").Handle("/stack", k.RP.Attach(other.Attach(k.RP.Attach(k.RP.RequireAgent(k.RP.RequireAccess(authagent.AccessRead)(leaf))))))
	k.Mux("").Handle("/anyone", k.RP.Attach(k.RP.Attach(k.RP.ForbidAgents(leaf))))
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for path, client := range map[string]*http.Client{"/stack": c, "/anyone": k.Browser()} {
		before := own.loads.Load()
		if resp := k.Get(client, path); resp.StatusCode != 200 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
		if n := own.loads.Load() - before; n != 1 {
			t.Errorf("%s: %d loads", path, n)
		}
	}
}

// TestTwoRelyingParties_REL_7 is REL-7: two on one site, each with its own issuer,
// keys and scenario. Neither's sessions pass at the other, and neither hides
// the other's from a handler behind both.
func TestTwoRelyingParties_REL_7(t *testing.T) {
	one := newCluster(t, func(_ *bench, c *authagent.Config) { c.Human = testsite.Human })
	two := newCluster(t, func(b *bench, c *authagent.Config) {
		b.AS.URL = "https://as2.example"
		c.Issuer = b.AS.URL
		c.Provider.HTTPClient = b.AS.Client()
		c.Scenario = authagent.FreshProfile(b.Profiles)
	})
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := authagent.FromContext(r.Context())
		if !ok {
			io.WriteString(w, "null")
			return
		}
		json.NewEncoder(w).Encode(s)
	})
	one.Hosts["as2.example"] = two.AS
	mux := one.Mux("")
	mux.Handle("/two/login", two.RP.LoginHandler())
	mux.Handle("/two/me", two.RP.RequireAgent(who))
	mux.Handle("/one-two", one.RP.Attach(two.RP.Attach(who)))
	mux.Handle("/two-one", two.RP.Attach(one.RP.Attach(who)))
	mux.Handle("/two-human", two.RP.Attach(one.RP.RequireHuman(who)))
	mux.Handle("/two-connect", two.RP.Attach(one.RP.ConnectHandler()))
	c1, c2 := one.Browser(), two.Browser()
	one.MustSignIn(c1, one.Agent)
	two.MustSignIn(c2, two.Agent)
	for _, test := range []struct {
		path, cookies, want string
	}{
		{"/me", one.Cookies(c1), "FullAccount"},
		{"/me", two.Cookies(c2), "401"},
		{"/two/me", one.Cookies(c1), "401"},
		{"/two/me", two.Cookies(c2), "FreshProfile"},
		{"/one-two", one.Cookies(c1), "FullAccount"},
		{"/one-two", two.Cookies(c2), "FreshProfile"},
		{"/two-one", one.Cookies(c1), "FullAccount"},
		{"/two-one", two.Cookies(c2), "FreshProfile"},
		{"/one-two", one.Cookies(c1) + "; " + two.Cookies(c2), "FreshProfile"},
		{"/two-one", one.Cookies(c1) + "; " + two.Cookies(c2), "FullAccount"},
		{"/one-two", "", "null"},
	} {
		resp := one.Get(one.Bare(), test.path, "Cookie", test.cookies)
		got := fmt.Sprint(resp.StatusCode)
		if resp.StatusCode == http.StatusOK {
			got = "null"
			if resp.Text != "null" {
				got = resp.Session(t).Scenario
			}
		}
		if got != test.want {
			t.Errorf("REL-7 %s with %q: %s, want %s", test.path, test.cookies, got, test.want)
		}
	}
	for cookies, want := range map[string][2]int{
		"human=alice": {200, 303}, "human=alice; " + one.Cookies(c1): {403, 403}, "human=alice; " + two.Cookies(c2): {403, 403}, two.Cookies(c2): {403, 403},
	} {
		page, connect := one.Get(one.Bare(), "/two-human", "Cookie", cookies), one.Do(one.Bare(), "POST", "/two-connect", "Cookie", cookies)
		if got := [2]int{page.StatusCode, connect.StatusCode}; got != want {
			t.Errorf("MW-3, LNK-3: a human's page, and connecting an agent, with %q: %d, want %d", cookies, got, want)
		}
	}
}

// TestGuardsServeLogout is GRD-7: a guard that meets a POST to the logout's path, as
// the browser sent it, signs the agent out itself. Nothing else gets through by that
// path, whatever prefix a router has taken off, and whatever is mounted inside.
func TestGuardsServeLogout(t *testing.T) {
	for name, guard := range map[string]func(*authagent.RelyingParty) func(http.Handler) http.Handler{
		"Attach":       func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.Attach },
		"RequireAgent": func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.RequireAgent },
		"ForbidAgents": func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.ForbidAgents },
		"RequireHuman": func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.RequireHuman },
		"RequireAccess": func(rp *authagent.RelyingParty) func(http.Handler) http.Handler {
			return rp.RequireAccess(authagent.AccessFull)
		},
		"RequireAction":  func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.RequireAction("a:do") },
		"around a mux":   func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.Attach },
		"below a prefix": func(rp *authagent.RelyingParty) func(http.Handler) http.Handler { return rp.Attach },
	} {
		t.Run("GRD-7 "+name, func(t *testing.T) {
			b := newBench(t, func(b *bench, c *authagent.Config) {
				c.Human = testsite.Human
				c.Scenario = authagent.FullAccount(b.Users, linkAs{UserID: b.AliceID, Access: authagent.AccessRead})
			})
			c := b.Browser()
			b.MustSignIn(c, b.Agent)
			ran := 0
			all := guard(b.RP)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran++ }))
			logout, other := "/auth/agent/logout", "/x/auth/agent/logout"
			if name == "below a prefix" { // where "/auth/agent/logout" is another handler's address
				all = http.StripPrefix("/x", all)
				logout, other = "/x/auth/agent/logout", "/x/auth/agent/logout"
			}
			for _, test := range []struct {
				method, target string
			}{{"PUT", logout}, {"DELETE", logout}, {"POST", other}} {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(test.method, test.target, nil)
				r.Header.Set("Cookie", b.Cookies(c))
				if all.ServeHTTP(w, r); w.Code != 403 || ran != 0 {
					t.Errorf("%s %s: %d, the handler ran %d times", test.method, test.target, w.Code, ran)
				}
			}
			if name == "below a prefix" {
				return
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", logout+"?return_to=/bye", nil)
			r.Header.Set("Cookie", b.Cookies(c))
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			if all.ServeHTTP(w, r); w.Code != 403 || ran != 0 {
				t.Errorf("from another site: %d", w.Code)
			}
			r.Header.Del("Sec-Fetch-Site")
			w = httptest.NewRecorder()
			if all.ServeHTTP(w, r); w.Code != 303 || w.Header().Get("Location") != "/bye" || ran != 0 {
				t.Errorf("logout: %d %v, the handler ran %d times", w.Code, w.Header(), ran)
			}
			if b.Me(c) != nil {
				t.Error("the session goes on")
			}
		})
	}
}

// TestSessionChecker is MW-1 and SES-11: an account that is disabled or gone
// ends its agents' sessions on the next request.
func TestSessionChecker(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(u *memstore.Users, id string)
	}{
		{"SES-11 disabled", func(u *memstore.Users, id string) {
			a, _ := u.Get(id)
			a.Disabled = true
			u.Put(a)
		}},
		{"SES-11 removed", func(u *memstore.Users, id string) { u.Remove(id) }},
	} {
		for name := range scenariosOn(&bench{&testsite.Site{}}) {
			t.Run(test.name+" "+name, func(t *testing.T) {
				k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = scenariosOn(b)[name] })
				c := k.Browser()
				s := k.MustSignIn(c, k.Agent)
				test.change(k.Users, k.AliceID)
				resp := k.Get(c, "/me")
				if s.UserID == "" { // FreshProfile acts for no account
					if resp.StatusCode != http.StatusOK {
						t.Errorf("status %d", resp.StatusCode)
					}
					return
				}
				if resp.StatusCode != http.StatusUnauthorized || resp.Reason() != problem.NoSession {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
				if set := sessionCookies(resp); len(set) != 0 {
					t.Errorf("SES-6 cookies %v", set)
				}
				if again := k.Get(c, "/me"); again.StatusCode != http.StatusUnauthorized {
					t.Errorf("the next request: %d", again.StatusCode)
				}
				if ended := k.Events.Named(audit.SessionEnded); len(ended) != 1 || ended[0].Reason != problem.NoAccount {
					t.Errorf("events %+v", ended)
				}
			})
		}
	}
}

// lowering is a scenario that a site wrote, with a checker.
type lowering struct {
	authagent.Scenario
	to atomic.Int32
}

func (l *lowering) CheckSession(_ context.Context, s *authagent.Session) error {
	if to := authagent.Access(l.to.Load()); to < s.Access {
		s.Access = to
	}
	return nil
}

// TestCheckerLowersAccess is MW-6 for one session: it is lowered on the next
// request, and rises again when the site lifts that.
func TestCheckerLowersAccess(t *testing.T) {
	l := &lowering{}
	l.to.Store(int32(authagent.AccessFull))
	k := newCluster(t, func(_ *bench, c *authagent.Config) { l.Scenario, c.Scenario = c.Scenario, l })
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	for _, test := range []struct {
		access           authagent.Access
		get, post, rests int
	}{
		{authagent.AccessFull, 200, 200, 200},
		{authagent.AccessRead, 200, 403, 403},
		{authagent.AccessNone, 403, 403, 403},
		{authagent.AccessFull, 200, 200, 200},
	} {
		l.to.Store(int32(test.access))
		if got := k.Get(c, "/data").StatusCode; got != test.get {
			t.Errorf("MW-6 %v: GET /data %d, want %d", test.access, got, test.get)
		}
		if got := k.Do(c, http.MethodPost, "/data").StatusCode; got != test.post {
			t.Errorf("MW-6 %v: POST /data %d, want %d", test.access, got, test.post)
		}
		if got := k.Do(c, http.MethodPost, "/me").StatusCode; got != test.rests {
			t.Errorf("MW-6 %v: POST /me %d, want %d", test.access, got, test.rests)
		}
	}
}

// TestPanicOfHandlerPasses: a panic of the site's own handler is the site's.
func TestPanicOfHandlerPasses(t *testing.T) {
	k := newCluster(t)
	h := k.RP.Attach(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("own") }))
	defer func() {
		if p := recover(); p != "own" {
			t.Errorf("panic %v", p)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// TestNoHeadersDownstream_MW_2 is MW-2: the library sets no header
// downstream, so there is none to strip; what the request has stays as it was.
func TestNoHeadersDownstream_MW_2(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	k.MustSignIn(c, k.Agent)
	var got http.Header
	k.Mux("").Handle("/headers", k.RP.RequireAgent(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header })))
	k.Get(c, "/headers")
	for name, values := range got {
		if name != "Cookie" && strings.Contains(strings.Join(values, " "), "agent_alice") {
			t.Errorf("MW-2: header %s: %q", name, values)
		}
	}
}

// TestSenselessAccess_MW_6 is MW-6: no guard is made that asks for no access, or for one that there is not.
func TestSenselessAccess_MW_6(t *testing.T) {
	k := newCluster(t)
	for access, want := range map[authagent.Access]string{
		authagent.AccessNone: `authagent: RequireAccess needs AccessRead or AccessFull, and not "none"`,
		-1:                   `authagent: RequireAccess needs AccessRead or AccessFull, and not "access(-1)"`,
		3:                    `authagent: RequireAccess needs AccessRead or AccessFull, and not "access(3)"`,
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("MW-6 %v: %v, want %s", access, got, want)
				}
			}()
			k.RP.RequireAccess(access)
		}()
	}
}

// TestNoAccessAtAll is MW-6: a user's agent that has no access passes no guard of access.
func TestNoAccessAtAll(t *testing.T) {
	l := &lowering{}
	k := newCluster(t, func(_ *bench, c *authagent.Config) { l.Scenario, c.Scenario = c.Scenario, l })
	k.Mux("").Handle("/any", k.RP.RequireAccess(authagent.AccessRead)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	c := k.Browser()
	for access, want := range map[authagent.Access]int{authagent.AccessNone: 403, authagent.AccessRead: 200, authagent.AccessFull: 200, -1: 403} {
		l.to.Store(int32(authagent.AccessFull))
		k.MustSignIn(c, k.Agent)
		l.to.Store(int32(access))
		if got := k.Get(c, "/any").StatusCode; got != want {
			t.Errorf("MW-6 %v: %d, want %d", access, got, want)
		}
	}
}
