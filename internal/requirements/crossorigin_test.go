package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// forFrontEnd lets scripts of a front end on another origin call an API and read its answers. It is
// the outermost middleware: a preflight has no cookies, and a guard would take it for a stranger's.
func forFrontEnd(frontEnd string, api http.Handler) (http.Handler, error) {
	csrf := http.NewCrossOriginProtection()
	if err := csrf.AddTrustedOrigin(frontEnd); err != nil {
		return nil, err
	}
	api = csrf.Handler(api)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if r.Header.Get("Origin") != frontEnd {
			api.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", frontEnd) // never "*": with cookies browsers do not take it
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "Location, Retry-After")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", "Content-Type, Idempotency-Key")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		api.ServeHTTP(w, r)
	}), nil
}

// toFrontEnd leads browsers that land on /app/… after a sign-in to the front end.
func toFrontEnd(frontEnd string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, frontEnd+strings.TrimPrefix(r.URL.RequestURI(), "/app"), http.StatusSeeOther)
	})
}

// A page on another origin calls https://shop.example by fetch, with credentials: "include".
type callingPage struct {
	origin string
	site   string // what a browser says of origin in Sec-Fetch-Site
}

var (
	frontEnd  = callingPage{"https://app.shop.example", "same-site"}
	neighbour = callingPage{"https://blog.shop.example", "same-site"}
	elsewhere = callingPage{"https://shop-app.example", "cross-site"}
)

// headers are what a browser sends by itself. Fetch Metadata defines the Sec-Fetch headers ("same-site"
// is the same registrable domain and scheme, whatever the port), the Fetch Standard Origin ("append
// a request Origin header": in the mode "cors" with every method) and Accept.
func (p callingPage) headers(more ...string) []string {
	return append([]string{
		"Origin", p.origin, "Accept", "*/*", "Sec-Fetch-Site", p.site, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty",
	}, more...)
}

// call is such a call of JSON. A browser asks first where the method or the Content-Type demands it
// (Fetch Standard, "CORS-preflight fetch"), without cookies, and sends what it may. From another
// site it sends no cookie that is SameSite=Lax (RFC 6265bis section 5.2). The answer is nil where the
// browser sends nothing after the preflight. reads says whether the script gets the answer.
func (p callingPage) call(s *shopBench, c *http.Client, method, path string) (resp *response, reads bool) {
	s.T.Helper()
	more := []string{}
	if method != http.MethodGet {
		asked := s.Do(s.Bare(), http.MethodOptions, path, p.headers("Access-Control-Request-Method", method, "Access-Control-Request-Headers", "content-type")...)
		if asked.StatusCode != http.StatusNoContent || !p.mayRead(asked) || !strings.Contains(asked.Header.Get("Access-Control-Allow-Methods"), method) {
			return nil, false
		}
		more = []string{"Content-Type", "application/json"}
	}
	if p.site == "cross-site" {
		c = s.Bare()
	}
	resp = s.Send(c, method, path, "", p.headers(more...)...)
	return resp, p.mayRead(resp)
}

// mayRead is the CORS check of the Fetch Standard, with credentials.
func (p callingPage) mayRead(r *response) bool {
	return r.Header.Get("Access-Control-Allow-Origin") == p.origin && r.Header.Get("Access-Control-Allow-Credentials") == "true"
}

// newAPI starts a shop whose front end has another origin.
func newAPI(t *testing.T) *shopBench {
	t.Helper()
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, func(_ *bench, c *authagent.Config) { c.SignInPath, c.ReturnTo = "", "/app/" })
	api := s.Mux("")
	api.Handle("GET /app/", toFrontEnd(frontEnd.origin))
	api.Handle("GET /agent", s.rp.SignedOutHandler())
	handler, err := forFrontEnd(frontEnd.origin, api)
	if err != nil {
		t.Fatal(err)
	}
	outer := http.NewServeMux()
	outer.Handle("/", handler)
	s.SetMux("", outer)
	return s
}

// TestFrontEndElsewhere_WIR_13 is WIR-13: the front end of an API on another origin of the same
// site. People and agents are served, refusals can be read, and other pages get nothing.
func TestFrontEndElsewhere_WIR_13(t *testing.T) {
	s := newAPI(t)
	person, agent := s.personBrowser(), s.Browser()
	// The front end's link to the login is a navigation; the agent lands on the front end.
	begun := s.Get(agent, "/auth/agent/login?return_to=/app/orders/7%3Ftab=a", "Accept", page, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	landed := s.Get(agent, s.Authorize(s.Agent, begun.Header.Get("Location")))
	if len(landed.Cookies()) == 0 {
		t.Errorf("WIR-13 no cookie: %d %s", landed.StatusCode, landed.Text)
	}
	for _, cookie := range landed.Cookies() { // what a browser sends from which page hangs on these
		if cookie.SameSite != http.SameSiteLaxMode || cookie.Domain != "" {
			t.Errorf("WIR-13 a cookie that call does not treat as a browser would: %s", cookie.Raw)
		}
	}
	if to := s.Get(agent, landed.Header.Get("Location")).Header.Get("Location"); to != "https://app.shop.example/orders/7?tab=a" {
		t.Errorf("WIR-13 lands on %q", to)
	}
	for _, test := range []struct {
		name   string
		from   callingPage
		c      *http.Client
		method string
		path   string
		want   int
		reads  bool
		reason problem.Reason
	}{
		{"WIR-13 person", frontEnd, person, "GET", "/orders", 200, true, ""},
		{"WIR-13 person orders", frontEnd, person, "POST", "/orders", 303, true, ""},
		{"WIR-13 agent", frontEnd, agent, "GET", "/orders", 200, true, ""},
		{"WIR-13 agent orders", frontEnd, agent, "POST", "/orders", 403, true, "action_not_granted"},
		{"WIR-13 agent at what is for people", frontEnd, agent, "PUT", "/account/password", 403, true, problem.AgentForbidden},
		{"WIR-13 stranger", frontEnd, s.Browser(), "GET", "/orders", 401, true, problem.NoSession},
		{"WIR-13 stranger orders", frontEnd, s.Browser(), "POST", "/orders", 401, true, problem.NoSession},
		{"WIR-13 another origin of the site", neighbour, person, "GET", "/orders", 200, false, ""}, // it is sent, and nobody reads it
		{"WIR-13 another origin orders", neighbour, person, "POST", "/orders", 0, false, ""},
		{"WIR-13 another site", elsewhere, person, "GET", "/orders", 401, false, problem.NoSession},
		{"WIR-13 another site orders", elsewhere, agent, "POST", "/orders", 0, false, ""},
		{"WIR-13 front end signs out", frontEnd, agent, "POST", "/auth/agent/logout", 403, true, "cross_origin"},
		{"WIR-13 front end starts a login by fetch", frontEnd, s.Browser(), "GET", "/auth/agent/login", 403, true, "not_a_navigation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(s.of(s.AliceID))
			resp, reads := test.from.call(s, test.c, test.method, test.path)
			if resp == nil {
				if test.want != 0 || len(s.of(s.AliceID)) > before {
					t.Error("the browser does not send it")
				}
				return
			}
			if resp.StatusCode != test.want || reads != test.reads || resp.Reason() != test.reason {
				t.Errorf("%d, the page reads it: %t, %s", resp.StatusCode, reads, resp.Text)
			}
			if !slices.Contains(resp.Header.Values("Vary"), "Origin") {
				t.Errorf("Vary %v", resp.Header.Values("Vary"))
			}
			if ran := len(s.of(s.AliceID)) > before; ran != (resp.StatusCode == 303) {
				t.Errorf("an order was placed: %t", ran)
			}
		})
	}
	// A form of another page needs no preflight: the browser sends it with the cookies of the site.
	if resp := s.Send(person, "POST", "/orders", "", neighbour.headers("Content-Type", "text/plain")...); resp.StatusCode != 403 {
		t.Errorf("WIR-13 a simple POST of another origin: %d", resp.StatusCode)
	}
	// The page for signing out is on the API's own origin.
	if resp := s.Get(agent, "/agent", pageLoad...); !strings.Contains(resp.Text, `action="/auth/agent/logout`) {
		t.Errorf("WIR-13 the page for signing out: %s", resp.Text)
	}
	if resp := s.Do(agent, "POST", "/auth/agent/logout", "Origin", s.URL, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 303 || s.Me(agent) != nil {
		t.Errorf("WIR-13 sign-out: %d", resp.StatusCode)
	}
}

// TestPreflightInside_WIR_13 is WIR-13: what becomes of a preflight that meets a guard.
func TestPreflightInside_WIR_13(t *testing.T) {
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true)
	handler, err := forFrontEnd(frontEnd.origin, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodOptions, "/orders", nil)
	r.Header.Set("Origin", frontEnd.origin)
	if s.rp.RequireAccess(authagent.AccessRead)(handler).ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("WIR-13 a preflight passes a guard: %d", w.Code)
	}
}

// TestLoginFromFrontEnd_WIR_13 is WIR-13: with RequirePOST the form has to be on a page of the
// backend's own origin.
func TestLoginFromFrontEnd_WIR_13(t *testing.T) {
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, func(_ *bench, c *authagent.Config) { c.RequirePOST = true })
	for site, want := range map[string]int{"same-origin": 303, "same-site": 403, "cross-site": 403} {
		resp := s.Do(s.Browser(), "POST", "/auth/agent/login", "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
		if resp.StatusCode != want || want == 403 && resp.Reason() != problem.Reason("cross_origin") {
			t.Errorf("WIR-13 a form of a page that is %s: %d %s", site, resp.StatusCode, resp.Text)
		}
	}
}

// TestPeopleWithTokens_WIR_13 is WIR-13: where people have a token in the front end, a browser that
// sends the cookie of an agent's session is the agent's all the same.
func TestPeopleWithTokens_WIR_13(t *testing.T) {
	s := newShop(t, authagent.Principal{Access: authagent.AccessRead}, true, func(b *bench, c *authagent.Config) {
		c.Human = func(r *http.Request) (string, error) {
			if r.Header.Get("Authorization") == "Bearer of Alice" {
				return b.AliceID, nil
			}
			return "", nil
		}
	})
	agent := s.agentBrowser()
	for _, test := range []struct {
		name string
		c    *http.Client
		want int
	}{{"with credentials", agent, 403}, {"without credentials", s.Bare(), 200}} {
		resp := s.Get(test.c, "/account/password", frontEnd.headers("Authorization", "Bearer of Alice")...)
		if resp.StatusCode != test.want {
			t.Errorf("WIR-13 %s: %d, want %d", test.name, resp.StatusCode, test.want)
		}
	}
}
