package routers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/v2"
	scsmemstore "github.com/alexedwards/scs/v2/memstore"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v5"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/routers"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/storetest"
)

// orders says who asks.
type orders struct{ placed atomic.Int32 }

func (o *orders) List(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "orders, "+by(r)) }

func (o *orders) Place(w http.ResponseWriter, r *http.Request) {
	o.placed.Add(1)
	fmt.Fprint(w, "placed, "+by(r))
}

func by(r *http.Request) string {
	s, ok := authagent.FromContext(r.Context())
	if !ok {
		return "by nobody"
	}
	return s.Byline("Alice")
}

// policy lets agents read, and agent_buyer order. A site asks the owner, see
// package grants.
type policy struct{}

func (policy) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if r.User == nil {
		return authagent.Principal{}, problem.NoAccount
	}
	link := authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead}
	if r.Agent.ID == "agent_buyer" {
		link.Actions = []string{"orders:create"}
	}
	return link, nil
}

func TestRouters(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	manager := scs.New()
	manager.Cookie.Secure = false // the test is on loopback, without TLS
	for _, router := range []struct {
		name     string
		mount    func(*authagent.RelyingParty, routers.Orders) http.Handler
		sessions authagent.Sessions
	}{
		{"chi", routers.Chi, nil},
		{"gin", routers.Gin, nil},
		{"echo", routers.Echo, nil},
		{"scs", func(rp *authagent.RelyingParty, o routers.Orders) http.Handler {
			return routers.WithSCS(rp, o, manager)
		}, routers.SCS{Manager: manager}},
	} {
		t.Run(router.name, func(t *testing.T) {
			as := authagenttest.NewServer()
			defer as.Close()
			var site http.Handler
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.ServeHTTP(w, r) }))
			defer web.Close()
			client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{web.URL + "/auth/agent/callback"}})
			users := &memstore.Users{}
			users.Add("alice@example.com", "Alice")
			rp, err := authagent.New(authagent.Config{
				Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: web.URL + "/auth/agent/callback",
				SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, Session: authagent.SessionSettings{Own: router.sessions},
				Scenario: authagent.FullAccount(users, policy{}), Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			o := &orders{}
			site = router.mount(rp, o)

			reader, buyer := as.NewBrowser(), as.NewBrowser()
			got := []string{do(t, reader, "GET", web.URL+"/orders"), do(t, reader, "POST", web.URL+"/orders")}
			for id, browser := range map[string]*http.Client{"agent_reader": reader, "agent_buyer": buyer} {
				agent := as.AddAgent(authagenttest.Agent{ID: id, Email: "alice@example.com"})
				resp, err := agent.SignIn(t.Context(), browser, web.URL+"/auth/agent/login?return_to=/orders")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/orders" {
					t.Errorf("%s lands at %s: %s", id, resp.Request.URL, resp.Status)
				}
			}
			for _, browser := range []*http.Client{reader, buyer} {
				got = append(got, do(t, browser, "GET", web.URL+"/orders"), do(t, browser, "POST", web.URL+"/orders"))
			}
			do(t, buyer, "POST", web.URL+"/auth/agent/logout?return_to=/orders")
			got = append(got, do(t, buyer, "GET", web.URL+"/orders"), do(t, reader, "GET", web.URL+"/orders"))
			want := []string{
				"401 no_session", "401 no_session",
				"200 orders, by agent_reader for Alice", "403 action_not_granted",
				"200 orders, by agent_buyer for Alice", "200 placed, by agent_buyer for Alice",
				"401 no_session", "200 orders, by agent_reader for Alice",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := o.placed.Load(); n != 1 {
				t.Errorf("%d orders were placed", n)
			}
		})
	}
}

// TestOrder_GRD_10 is GRD-10: with Attach around the whole router, what a route's
// RequireAction would allow is refused, and the log says by whom and what to do.
func TestOrder_GRD_10(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, mount := range map[string]func(*authagent.RelyingParty, routers.Orders) http.Handler{
		"chi": routers.Chi, "gin": routers.Gin, "echo": routers.Echo,
		"chi, Use": func(rp *authagent.RelyingParty, o routers.Orders) http.Handler {
			r := chi.NewRouter()
			r.Use(rp.Attach)
			r.With(rp.RequireAction("orders:create")).Post("/orders", o.Place)
			return r
		},
		"echo, Use": func(rp *authagent.RelyingParty, o routers.Orders) http.Handler {
			e := echo.New()
			e.Use(echo.WrapMiddleware(rp.Attach))
			e.POST("/orders", echo.WrapHandler(http.HandlerFunc(o.Place)), echo.WrapMiddleware(rp.RequireAction("orders:create")))
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			as := authagenttest.NewServer()
			defer as.Close()
			var site, inner http.Handler
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.ServeHTTP(w, r) }))
			defer web.Close()
			client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{web.URL + "/auth/agent/callback"}})
			users := &memstore.Users{}
			users.Add("alice@example.com", "Alice")
			var log strings.Builder
			rp, err := authagent.New(authagent.Config{
				Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: web.URL + "/auth/agent/callback",
				SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")},
				Scenario:    authagent.FullAccount(users, policy{}), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			site = routers.Chi(rp, &orders{}) // to sign in
			browser := as.NewBrowser()
			agent := as.AddAgent(authagenttest.Agent{ID: "agent_buyer", Email: "alice@example.com"})
			resp, err := agent.SignIn(t.Context(), browser, web.URL+"/auth/agent/login?return_to=/orders")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()

			inner = mount(rp, &orders{})
			site = rp.Attach(inner)
			if got := do(t, browser, "POST", web.URL+"/orders"); got != "403 agent_read_only" {
				t.Errorf("GRD-10: %s", got)
			}
			if !strings.Contains(log.String(), "Attach refused") || !strings.Contains(log.String(), "RequireAction or RequireApproval, put that outside of Attach") {
				t.Errorf("GRD-10: the log has %s", log.String())
			}
			if strings.Contains(name, "Use") {
				site = inner
				if got := do(t, browser, "POST", web.URL+"/orders"); got != "403 agent_read_only" {
					t.Errorf("GRD-10 %s", got)
				}
				return
			}
			site = inner // the guards of the route alone, in their order
			if got := do(t, browser, "POST", web.URL+"/orders"); got != "200 placed, by agent_buyer for Alice" {
				t.Errorf("GRD-10 without Attach around it: %s", got)
			}
		})
	}
}

// do returns the status, and the body or the reason of a refusal.
func do(t *testing.T, c *http.Client, method, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct{ Error string }
	if json.Unmarshal(body, &problem) == nil {
		return fmt.Sprint(resp.StatusCode, " ", problem.Error)
	}
	return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body)))
}

// TestSCSOldToken: the token from before the sign-in opens nothing after it, and
// the human who was signed in with it is not signed in any more.
func TestSCSOldToken(t *testing.T) {
	manager := scs.New()
	manager.Cookie.Secure = false
	sessions := routers.SCS{Manager: manager}
	var step func(http.ResponseWriter, *http.Request)
	handler := manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { step(w, r) }))
	visit := func(cookie *http.Cookie, do func(http.ResponseWriter, *http.Request)) *http.Cookie {
		t.Helper()
		step = do
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if set := w.Result().Cookies(); len(set) > 0 {
			return set[0]
		}
		return cookie
	}
	load := func(cookie *http.Cookie) (s *authagent.Session, human string, err error) {
		visit(cookie, func(w http.ResponseWriter, r *http.Request) {
			s, err = sessions.Load(w, r)
			human = manager.GetString(r.Context(), "user")
		})
		return s, human, err
	}
	before := visit(nil, func(_ http.ResponseWriter, r *http.Request) { manager.Put(r.Context(), "user", "u_1") })
	after := visit(before, func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Start(w, r, &authagent.Session{ID: "s_1", UserID: "u_2"}); err != nil {
			t.Error(err)
		}
	})
	if s, human, err := load(after); err != nil || s.UserID != "u_2" || human != "" {
		t.Errorf("after the sign-in: %+v, human %q, %v", s, human, err)
	}
	if _, human, err := load(before); err != authagent.ErrNoSession || human != "" {
		t.Errorf("the old token: human %q, %v", human, err)
	}
	visit(after, func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := load(after); err != authagent.ErrNoSession {
		t.Errorf("after the end: %v", err)
	}
	human := visit(nil, func(_ http.ResponseWriter, r *http.Request) { manager.Put(r.Context(), "user", "u_1") })
	visit(human, func(w http.ResponseWriter, r *http.Request) { sessions.End(w, r) })
	if _, user, _ := load(human); user != "u_1" {
		t.Error("where no agent was signed in, the human was signed out")
	}
}

// aroundSCS are SCS inside the middleware that they need, for the kit.
type aroundSCS struct{ routers.SCS }

func (s aroundSCS) Middleware(next http.Handler) http.Handler { return s.Manager.LoadAndSave(next) }

// TestSCS holds the sessions in scs to what authagent asks of any, at instances
// that share a store.
func TestSCS(t *testing.T) {
	store := scsmemstore.New()
	storetest.Sessions(t, func() authagent.Sessions {
		manager := scs.New()
		manager.Store = store
		return aroundSCS{routers.SCS{Manager: manager}}
	})
}
