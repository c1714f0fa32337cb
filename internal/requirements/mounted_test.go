package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// pageLoad are the headers of a browser that shows a page.
var pageLoad = []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}

// TestSignInPath_GRD_9 is GRD-9: a stranger's browser is sent to the site's own sign-in
// page, which knows where to lead back; nobody else is redirected, and never in a loop.
func TestSignInPath_GRD_9(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessRead}, true)
	for _, test := range []struct{ method, target, want string }{
		{"GET", "/access?a=1&b=%2F", "/access?a=1&b=%2F"},
		{"GET", "/human", "/human"},
		{"GET", "/access/../human", "/"}, // not a path that a browser is sent to
		{"GET", "//evil.example/x", "/"},
		{"GET", "/sign-in/", "/"},
		{"GET", "/auth/agent/logout", "/"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(test.method, "/", nil)
		r.RequestURI = test.target
		r.Header.Set("Accept", "text/html")
		s.RP.RequireHuman(http.NotFoundHandler()).ServeHTTP(w, r)
		to := mustParse(t, w.Header().Get("Location"))
		if w.Code != 303 || to.Path != "/sign-in" || to.Query().Get("return_to") != test.want {
			t.Errorf("GRD-9 %s: %d %q", test.target, w.Code, w.Header().Get("Location"))
		}
		if back := s.RP.ReturnTo(httptest.NewRequest("GET", w.Header().Get("Location"), nil)); back != test.want {
			t.Errorf("GRD-9 %s: ReturnTo %q", test.target, back)
		}
	}
	for query, want := range map[string]string{
		"": "/", "?return_to=/orders%3Fa": "/orders?a", "?return_to=https://evil.example": "/", "?return_to=//evil.example": "/",
		"?return_to=/sign-in": "/", "?return_to=/Sign-In/%3Freturn_to=/": "/", "?return_to=/a&return_to=/b": "/", "?return_to=/auth/agent/login": "/",
	} {
		if got := s.RP.ReturnTo(httptest.NewRequest("GET", "/sign-in"+query, nil)); got != want {
			t.Errorf("RET-6 GRD-9 ReturnTo of %s: %q, want %q", query, got, want)
		}
	}
	// The sign-in page behind a guard is not sent to itself.
	s.Mux("").Handle("/sign-in", s.RP.RequireAccess(authagent.AccessRead)(http.NotFoundHandler()))
	if resp := s.Get(s.Browser(), "/sign-in", pageLoad...); resp.StatusCode != 401 {
		t.Errorf("GRD-9 the sign-in page itself: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	// A form of somebody who is signed out meanwhile gets a page that leads there.
	s.Mux("").Handle("/connect", s.RP.ConnectHandler())
	for _, path := range []string{"/connect", "/human", "/action"} {
		if resp := s.Do(s.Browser(), "POST", path, pageLoad...); resp.StatusCode != 401 || !strings.Contains(resp.Text, `href="/sign-in?return_to=%2F"`) {
			t.Errorf("GRD-9 POST %s: %d %s", path, resp.StatusCode, resp.Text)
		}
	}
	// A person is told that this is for agents, and where agents sign in.
	person := s.Browser()
	s.SignInPerson(person, "alice")
	if resp := s.Get(person, "/agent", pageLoad...); resp.StatusCode != 403 || !strings.Contains(resp.Text, `href="/auth/agent/login?return_to=%2Fagent"`) {
		t.Errorf("GRD-9 a person at RequireAgent: %d %s", resp.StatusCode, resp.Text)
	}
	if resp := s.Get(person, "/agent"); resp.Reason() != problem.Reason("agent_required") || !strings.Contains(resp.Text, `"sign_in":"https://shop.example/auth/agent/login"`) {
		t.Errorf("GRD-9 a person's program at RequireAgent: %s", resp.Text)
	}
	s.Mux("").HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {})
	s.Mux("").Handle("/served", s.RP.RequireHuman(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.RP.ServeError(w, r, problem.NoSession)
	})))
	if resp := s.Get(person, "/served", pageLoad...); resp.StatusCode != 401 || resp.Header.Get("Location") != "" {
		t.Errorf("GRD-9 a person at ServeError: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	// Without the setting agents are sent to LoginHandler, and nobody from RequireHuman.
	old := newGuardSite(t, authagent.Principal{}, true, func(_ *bench, c *authagent.Config) { c.SignInPath = "" })
	if resp := old.Get(old.Browser(), "/access", pageLoad...); resp.StatusCode != 303 || resp.Header.Get("Location") != "/auth/agent/login?return_to=%2Faccess" {
		t.Errorf("WEB-6: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp := old.Get(old.Browser(), "/human", pageLoad...); resp.StatusCode != 401 {
		t.Errorf("WEB-6: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	for path, want := range map[string]string{
		"sign-in": "SignInPath", "/auth/agent/login": "SignInPath", "/sign-in?x": "SignInPath", "https://shop.example/sign-in": "SignInPath", "/": "ReturnTo",
	} {
		c := s.Config
		c.SignInPath = path
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("GRD-9 SignInPath %q: %v", path, err)
		}
	}
}

// TestMiddlewareOrder_GRD_10 is GRD-10: around a mux that has a guard for the route, Attach
// leaves the decision to it. Anything else that refuses says to the operator who it
// was, and in which order the middlewares go.
func TestMiddlewareOrder_GRD_10(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessRead, Actions: []string{"orders:create"}}, true)
	stranger, c := s.Browser(), s.Browser()
	s.SignIn(c, s.Agent)
	mux := http.NewServeMux()
	inner := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.Handled.Add() })
	mux.Handle("POST /orders", s.RP.RequireAction("orders:create")(inner))
	mux.Handle("POST /other", s.RP.RequireAction("other")(inner))
	mux.Handle("/forbid", s.RP.ForbidAgents(inner))
	mux.Handle("/read", s.RP.RequireAccess(authagent.AccessRead)(inner))
	mux.Handle("/plain", inner)
	mux.Handle("/wrapped", http.MaxBytesHandler(s.RP.RequireAction("orders:create")(inner), 1))
	other := s.Instance("other", func(c *authagent.Config) { c.ClientID = "other" })
	mux.Handle("/another", other.RequireAction("orders:create")(inner))
	s.SetMux("mux", http.NewServeMux())
	s.Mux("mux").Handle("/", s.RP.Attach(mux))
	s.SetMux("around", http.NewServeMux())
	s.Mux("around").Handle("/", s.RP.Attach(http.HandlerFunc(mux.ServeHTTP)))
	s.SetMux("read", http.NewServeMux())
	s.Mux("read").Handle("/", s.RP.RequireAccess(authagent.AccessRead)(mux))
	for _, test := range []struct {
		instance, method, path string
		c                      *http.Client
		want                   int
		guard                  string // that refused as read-only
	}{
		{"mux", "POST", "/orders", c, 200, ""},
		{"mux", "POST", "/other", c, 403, ""},
		{"mux", "POST", "/orders", stranger, 401, ""},
		{"mux", "GET", "/forbid", c, 403, ""},
		{"mux", "POST", "/forbid", c, 403, ""},
		{"mux", "POST", "/read", c, 403, "RequireAccess"},
		{"mux", "GET", "/plain", c, 200, ""},
		{"mux", "POST", "/plain", c, 403, "Attach"},
		{"mux", "POST", "/wrapped", c, 403, "Attach"},
		{"mux", "POST", "/another", c, 403, "Attach"},
		{"mux", "POST", "/nothing", c, 403, "Attach"},
		{"around", "POST", "/orders", c, 403, "Attach"},
		{"read", "POST", "/orders", c, 403, "RequireAccess"},
	} {
		before, events := s.Handled.Count(), len(s.Logged(audit.PermissionDenied))
		resp := s.Do(test.c, test.method, test.path, "X-Instance", test.instance)
		if ran := s.Handled.Count() > before; resp.StatusCode != test.want || ran != (test.want == 200) {
			t.Errorf("GRD-10 %s %s at %s: %d, handler ran: %v", test.method, test.path, test.instance, resp.StatusCode, ran)
		}
		if test.guard == "" {
			if resp.Reason() == problem.ReadOnly {
				t.Errorf("GRD-10 %s %s at %s: %s", test.method, test.path, test.instance, resp.Text)
			}
			continue
		}
		denied := s.Logged(audit.PermissionDenied)
		if len(denied) != events+1 {
			t.Errorf("GRD-10 %s: %d events", test.path, len(denied)-events)
			continue
		}
		detail := denied[events].Detail
		if denied[events].Reason != problem.ReadOnly || !strings.Contains(detail, test.guard+" refused") || !strings.Contains(detail, "put that outside of "+test.guard) {
			t.Errorf("GRD-10 %s %s: %s", test.path, test.instance, detail)
		}
		if !strings.Contains(s.Log.String(), "put that outside of "+test.guard) || strings.Contains(resp.Text, "outside") {
			t.Errorf("GRD-10 %s %s: log or answer", test.path, test.instance)
		}
	}
	// Whose session has ended beside a person can sign in anew.
	mux.Handle("/auth/agent/login", s.RP.LoginHandler())
	mux.Handle("/auth/agent/callback", s.RP.CallbackHandler())
	again := s.Browser()
	s.SignIn(again, s.Agent)
	s.SignInPerson(again, "alice")
	s.RP.EndAllSessions(t.Context())
	if got := s.Get(again, "/auth/agent/login", "X-Instance", "mux"); got.StatusCode != 303 || s.Get(again, "/plain", "X-Instance", "mux").StatusCode != 403 {
		t.Errorf("GRD-10 GRD-3 login inside Attach: %d", got.StatusCode)
	} else if back := s.Get(again, s.Authorize(s.Agent, got.Header.Get("Location")), "X-Instance", "mux"); back.StatusCode != 303 {
		t.Errorf("GRD-10 GRD-3 callback inside Attach: %d %s", back.StatusCode, back.Text)
	}
	c = again
	// What else Attach would refuse is the inner guard's to say, too.
	s.scenario.paused.Store(true)
	for path, want := range map[string]int{"/forbid": 403, "/read": 503, "/plain": 503} {
		if got := s.Get(c, path, "X-Instance", "mux").StatusCode; got != want {
			t.Errorf("GRD-10 GRD-12 %s: %d, want %d", path, got, want)
		}
	}
	s.scenario.paused.Store(false)
	s.RP.EndAllSessions(t.Context())
	s.SignInPerson(c, "alice")
	for path, want := range map[string]int{"/forbid": 403, "/read": 403, "/plain": 403} {
		s.humans.Store(0)
		if got := s.Get(c, path, "X-Instance", "mux").StatusCode; got != want || s.humans.Load() != 1 {
			t.Errorf("GRD-10 GRD-4 %s: %d, want %d; Human was asked %d times", path, got, want, s.humans.Load())
		}
	}
}

// TestMountedBelowPrefix_GRD_11 is GRD-11: below a prefix that a router takes off, whatever
// leads back leads to the address that the browser asked for.
func TestMountedBelowPrefix_GRD_11(t *testing.T) {
	s := newGuardSite(t, authagent.Principal{Access: authagent.AccessRead}, true, func(_ *bench, c *authagent.Config) {
		c.RedirectURL = "https://shop.example/app/auth/agent/callback"
		c.SignInPath = "/app/sign-in"
	})
	app := http.NewServeMux()
	app.Handle("/orders", s.RP.RequireAccess(authagent.AccessRead)(http.NotFoundHandler()))
	app.Handle("/human", s.RP.RequireHuman(http.NotFoundHandler()))
	app.Handle("/agent", s.RP.RequireAgent(http.NotFoundHandler()))
	app.Handle("/bye", s.RP.SignedOutHandler())
	s.Mux("").Handle("/app/", http.StripPrefix("/app", app))
	ask := func(c *http.Client, path string) *response { return s.Get(c, path, pageLoad...) }
	if got := ask(s.Browser(), "/app/orders?a=b").Header.Get("Location"); got != "/app/sign-in?return_to="+url.QueryEscape("/app/orders?a=b") {
		t.Errorf("GRD-11 sign-in: %q", got)
	}
	person := s.Browser()
	s.SignInPerson(person, "alice")
	if resp := ask(person, "/app/agent"); !strings.Contains(resp.Text, `href="/app/auth/agent/login?return_to=%2Fapp%2Fagent"`) {
		t.Errorf("GRD-11 the agents' button: %s", resp.Text)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/app/human", nil)
	r.Header.Set("Accept", "text/html")
	r.AddCookie(&http.Cookie{Name: "human", Value: "alice"})
	r.AddCookie(&http.Cookie{Name: "__Host-authagent-AAAAAAAA", Value: "x"})
	s.Mux("").ServeHTTP(w, r)
	if w.Code != 403 || !strings.Contains(w.Body.String(), `action="/app/auth/agent/logout?return_to=%2Fapp%2Fhuman"`) {
		t.Errorf("GRD-11 the sign-out form: %d %s", w.Code, w.Body)
	}
}
