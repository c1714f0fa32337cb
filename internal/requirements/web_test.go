package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
)

const page = "text/html,application/xhtml+xml,*/*;q=0.8" // what a browser accepts

// TestLogoutIsProtected is WEB-1.
func TestLogoutIsProtected(t *testing.T) {
	const own = "https://shop.example"
	for _, test := range []struct {
		name, method string
		header       []string
		want         int
	}{
		{"GET", "GET", nil, 405},
		{"HEAD", "HEAD", nil, 405},
		{"PUT", "PUT", nil, 405},
		{"DELETE", "DELETE", nil, 405},
		{"OPTIONS", "OPTIONS", nil, 405},
		{"GET with override", "GET", []string{"X-HTTP-Method-Override", "POST"}, 405},
		{"GET of a page", "GET", []string{"Accept", page, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin"}, 405},
		{"cross-site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", "POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"foreign Origin", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"null Origin", "POST", []string{"Origin", "null"}, 403},
		{"Origin with prefix", "POST", []string{"Origin", own + ".evil.example"}, 403},
		{"cross-site with foreign Origin", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"same-origin", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 303},
		{"typed", "POST", []string{"Sec-Fetch-Site", "none"}, 303},
		{"own Origin", "POST", []string{"Origin", own}, 303},
		{"program", "POST", nil, 303},
	} {
		t.Run("WEB-1 "+test.name, func(t *testing.T) {
			k := newCluster(t)
			c := k.Browser()
			k.MustSignIn(c, k.Agent)
			saved := k.Cookies(c)
			resp := k.Do(c, test.method, "/auth/agent/logout", test.header...)
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d", resp.StatusCode, test.want)
			}
			if test.want == 405 && resp.Header.Get("Allow") != "POST" {
				t.Errorf("Allow %q", resp.Header.Get("Allow"))
			}
			if ended := k.Get(k.Bare(), "/me", "Cookie", saved).StatusCode == 401; ended != (test.want == 303) {
				t.Errorf("session ended: %v", ended)
			}
		})
	}
}

// originRows are what a browser or a program may send with a POST, and whether it
// is taken, whatever Host a proxy has put in. own is the site's origin.
func originRows(own string) []struct {
	id     string
	header []string
	passes bool
} {
	host := strings.TrimPrefix(own, "https://")
	return []struct {
		id     string
		header []string
		passes bool
	}{
		{"WEB-7 program", nil, true},
		{"WEB-7 own", []string{"Origin", own}, true},
		{"WEB-7 own, default port", []string{"Origin", own + ":443"}, true},
		{"WEB-7 own, capitals", []string{"Origin", strings.ToUpper(own)}, true},
		{"WEB-7 same-origin", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, true},
		{"WEB-7 same-origin, another name of the site", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://www.shop.example"}, true},
		{"WEB-7 typed", []string{"Sec-Fetch-Site", "none"}, true},
		{"WEB-8 Origin is the rewritten Host", []string{"Origin", "https://backend.internal"}, false},
		{"WEB-8 Origin is the rewritten Host, http", []string{"Origin", "http://backend.internal:8080"}, false},
		{"WEB-8 http", []string{"Origin", "http://" + host}, false},
		{"WEB-8 another port", []string{"Origin", own + ":8443"}, false},
		{"WEB-8 null", []string{"Origin", "null"}, false},
		{"WEB-8 empty", []string{"Origin", ""}, false},
		{"WEB-8 evil", []string{"Origin", "https://evil.example"}, false},
		{"WEB-8 prefix", []string{"Origin", own + ".evil.example"}, false},
		{"WEB-8 user name", []string{"Origin", "https://" + host + "@evil.example"}, false},
		{"WEB-8 two, own first", []string{"Origin", own, "Origin", "https://evil.example"}, false},
		{"WEB-8 two, own last", []string{"Origin", "https://evil.example", "Origin", own}, false},
		{"WEB-8 cross-site", []string{"Sec-Fetch-Site", "cross-site", "Origin", own}, false},
		{"WEB-8 same-site", []string{"Sec-Fetch-Site", "same-site", "Origin", own}, false},
		{"WEB-8 unknown", []string{"Sec-Fetch-Site", "x", "Origin", own}, false},
		{"WEB-8 two sites", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site", "Origin", own}, false},
	}
}

// TestOriginBehindProxy is WEB-7 and WEB-8: whether a POST comes from the site's own
// page is told by RedirectURL and never by Host, wherever this package takes one.
func TestOriginBehindProxy(t *testing.T) {
	for _, host := range []string{"", "backend.internal", "backend.internal:8080", "evil.example", "shop.example.evil.example", "null"} {
		for _, row := range originRows("https://shop.example") {
			t.Run(row.id+" at "+host, func(t *testing.T) {
				k := newCluster(t, func(_ *bench, c *authagent.Config) {
					c.RequirePOST = true
					c.Human = func(*http.Request) (string, error) { return "user_1", nil }
				})
				for what, test := range map[string]struct {
					handler http.Handler
					status  int
				}{
					"logout": {k.RP.LogoutHandler(), 303}, "login": {k.RP.LoginHandler(), 303}, "connect": {k.RP.ConnectHandler(), 303},
				} {
					r := httptest.NewRequest(http.MethodPost, "https://shop.example/x", nil)
					if host != "" {
						r.Host = host
					}
					for i := 0; i < len(row.header); i += 2 {
						r.Header.Add(row.header[i], row.header[i+1])
					}
					w := httptest.NewRecorder()
					test.handler.ServeHTTP(w, r)
					if (w.Code == test.status) != row.passes || !row.passes && !strings.Contains(w.Body.String(), `"cross_origin"`) {
						t.Errorf("%s: status %d %s", what, w.Code, w.Body)
					}
				}
			})
		}
	}
}

// TestLogoutOfNobody is WEB-1: without a session it does nothing, and says the same.
func TestLogoutOfNobody(t *testing.T) {
	k := newCluster(t)
	resp := k.Do(k.Browser(), http.MethodPost, "/auth/agent/logout")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" || len(resp.Cookies()) != 0 {
		t.Errorf("status %d, Location %q, cookies %v", resp.StatusCode, resp.Header.Get("Location"), resp.Cookies())
	}
	if n := len(k.Events.Named(audit.SessionEnded)); n != 0 {
		t.Errorf("%d events", n)
	}
}

// TestHeaders_WEB_2_WEB_3_WEB_5 is WEB-2, WEB-3 and WEB-5, on every kind of answer.
func TestHeaders_WEB_2_WEB_3_WEB_5(t *testing.T) {
	k := newCluster(t)
	signedIn := k.Browser()
	k.MustSignIn(signedIn, k.Agent)
	for _, test := range []struct {
		name, method, path string
		signedIn           bool
		guarded            bool // behind the middleware
		want               int
	}{
		{"login", "GET", "/auth/agent/login", false, false, 303},
		{"login refused", "PUT", "/auth/agent/login", false, false, 405},
		{"callback refused", "GET", "/auth/agent/callback?code=a&state=b", false, false, 400},
		{"callback without anything", "GET", "/auth/agent/callback", false, false, 400},
		{"logout", "POST", "/auth/agent/logout", false, false, 303},
		{"logout refused", "GET", "/auth/agent/logout", false, false, 405},
		{"preflight of login", "OPTIONS", "/auth/agent/login", false, false, 405},
		{"preflight of callback", "OPTIONS", "/auth/agent/callback", false, false, 405},
		{"preflight of logout", "OPTIONS", "/auth/agent/logout", false, false, 405},
		{"me", "GET", "/me", true, true, 200},
		{"me of nobody", "GET", "/me", false, true, 401},
		{"open", "GET", "/open", false, true, 200},
		{"humans", "GET", "/humans", true, true, 403},
		{"humans of nobody", "GET", "/humans", false, true, 200},
	} {
		for _, accept := range []string{"", "application/json", page} {
			c := k.Browser()
			if test.signedIn {
				c = signedIn
			}
			resp := k.Do(c, test.method, test.path, "Accept", accept, "Origin", "https://shop.example",
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "X-Any")
			want := test.want
			if accept == page && want == 401 {
				want = 303 // WEB-6
			}
			h := resp.Header
			if resp.StatusCode != want {
				t.Errorf("%s: status %d, want %d", test.name, resp.StatusCode, want)
			}
			if h.Get("Cache-Control") != "no-store" {
				t.Errorf("WEB-2 %s: Cache-Control %q", test.name, h.Get("Cache-Control"))
			}
			if test.guarded && !strings.Contains(strings.Join(h["Vary"], ","), "Cookie") {
				t.Errorf("WEB-2 %s: Vary %q", test.name, h["Vary"])
			}
			for name := range h {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("WEB-5 %s: %s: %s", test.name, name, h.Get(name))
				}
			}
			if !test.guarded && (h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer") {
				t.Errorf("WEB-3 %s: headers %v", test.name, h)
			}
			if want >= 400 {
				checkRefusal(t, test.name, resp, accept == page)
			}
		}
	}
	foreign := k.Get(k.Browser(), "/auth/agent/login", "Origin", "https://evil.example")
	for name := range foreign.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("WEB-5: %s", name)
		}
	}
}

// checkRefusal is WEB-3 for the body and its headers.
func checkRefusal(t *testing.T, name string, resp *response, html bool) {
	t.Helper()
	h := resp.Header
	if !html {
		if h.Get("Content-Type") != "application/problem+json" || resp.Reason() == "" {
			t.Errorf("WEB-3 %s: %s %s", name, h.Get("Content-Type"), resp.Text)
		}
		return
	}
	if h.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("WEB-3 %s: Content-Type %q", name, h.Get("Content-Type"))
	}
	for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(h.Get("Content-Security-Policy"), directive) {
			t.Errorf("WEB-3 %s: policy %q lacks %s", name, h.Get("Content-Security-Policy"), directive)
		}
	}
	if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
		t.Errorf("WEB-3 %s: policy %q", name, h.Get("Content-Security-Policy"))
	}
	body := strings.ReplaceAll(resp.Text, "https://shop.example/auth/agent/login", "")
	for _, resource := range []string{"http://", "https://", "//", "<script", "<img", "<link", "@import", "url("} {
		if strings.Contains(body, resource) {
			t.Errorf("WEB-3 %s: the page has %s", name, resource)
		}
	}
}

// TestHandlerSetsCacheControl_WEB_2 is WEB-2: a site's handler has the last word.
func TestHandlerSetsCacheControl_WEB_2(t *testing.T) {
	k := newCluster(t)
	k.Mux("").Handle("/cached", k.RP.Attach(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
	})))
	if got := k.Get(k.Browser(), "/cached").Header.Get("Cache-Control"); got != "private, max-age=60" {
		t.Errorf("WEB-2: Cache-Control %q", got)
	}
}

// TestHostileTextIsEscaped_WEB_4 is WEB-4, for everything that somebody else writes.
func TestHostileTextIsEscaped_WEB_4(t *testing.T) {
	const hostile = `"><script>alert(1)</script>`
	escaped := url.QueryEscape(hostile)
	check := func(step string, resp *response) {
		t.Helper()
		if strings.Contains(resp.Text, hostile) || strings.Contains(resp.Text, "<script>") {
			t.Errorf("WEB-4 %s: body %s", step, resp.Text)
		}
		for name, values := range resp.Header {
			for _, v := range values {
				if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(v, "<script") {
					t.Errorf("WEB-4 %s: header %s: %q", step, name, v)
				}
			}
		}
	}
	for _, accept := range []string{"", page} {
		for _, path := range []string{
			"/auth/agent/login?return_to=" + escaped,
			"/auth/agent/login?return_to=/%0d%0aSet-Cookie:x=y" + escaped,
			"/auth/agent/login?return_to=/" + escaped,
			"/auth/agent/callback?code=a&state=" + escaped,
			"/auth/agent/callback?code=" + escaped + "&state=a",
			"/auth/agent/callback?error=" + escaped + "&state=a",
			"/auth/agent/callback?error=access_denied&error_description=" + escaped + "&state=" + escaped,
			"/auth/agent/callback?" + escaped + "=" + escaped,
			"/me?x=" + escaped,
			"/me/" + escaped,
		} {
			k := newCluster(t)
			check(path, k.Get(k.Browser(), path, "Accept", accept))
		}
		for name := range scenariosOn(&bench{&testsite.Site{}}) {
			k := newCluster(t, func(b *bench, c *authagent.Config) { c.Scenario = scenariosOn(b)[name] })
			c := k.Browser()
			hostileAgent := k.AS.AddAgent(authagenttest.Agent{ID: "agent_" + hostile, Email: "alice@example.com", Name: hostile, Model: hostile})
			check(name, k.SignIn(c, hostileAgent))
			for _, p := range []string{"/me", "/humans", "/full", "/data"} {
				check(name+p, k.Get(c, p, "Accept", accept))
			}
			check(name, k.Do(c, http.MethodPost, "/data", "Accept", accept))
			agent := k.AS.AddAgent(authagenttest.Agent{ID: "agent_3", Email: hostile + "@example.com"})
			check(name, k.SignIn(k.Browser(), agent))
		}
	}
}

// TestUnauthenticated is WEB-6: only a page that is being opened is sent to sign in.
func TestUnauthenticated(t *testing.T) {
	const login = "/auth/agent/login"
	for _, test := range []struct {
		name, method, path string
		header             []string
		location           string // none means 401
	}{
		{"page", "GET", "/me", []string{"Accept", page}, login + "?return_to=%2Fme"},
		{"page, navigated to", "GET", "/me?a=b&c=d", []string{"Accept", page, "Sec-Fetch-Mode", "navigate"}, login + "?return_to=%2Fme%3Fa%3Db%26c%3Dd"},
		{"page at the default place", "GET", "/root", []string{"Accept", page}, login},
		{"no Accept", "GET", "/me", nil, ""},
		{"any", "GET", "/me", []string{"Accept", "*/*"}, ""},
		{"JSON", "GET", "/me", []string{"Accept", "application/json"}, ""},
		{"no HTML", "GET", "/me", []string{"Accept", "text/html;q=0, application/json"}, ""},
		{"fetch", "GET", "/me", []string{"Accept", page, "Sec-Fetch-Mode", "cors"}, ""},
		{"no-cors", "GET", "/me", []string{"Accept", page, "Sec-Fetch-Mode", "no-cors"}, ""},
		{"HEAD", "HEAD", "/me", []string{"Accept", page}, ""},
		{"POST", "POST", "/me", []string{"Accept", page}, ""},
		{"WebSocket", "GET", "/me", []string{"Accept", page, "Upgrade", "websocket", "Connection", "Upgrade", "Sec-Fetch-Mode", "websocket"}, ""},
		{"Upgrade", "GET", "/me", []string{"Accept", page, "Upgrade", "h2c"}, ""},
	} {
		t.Run("WEB-6 "+test.name, func(t *testing.T) {
			k := newCluster(t, func(_ *bench, c *authagent.Config) { c.ReturnTo = "/root" })
			k.Mux("").Handle("/root", k.RP.RequireAgent(http.NotFoundHandler()))
			resp := k.Do(k.Browser(), test.method, test.path, test.header...)
			if got := resp.Header.Get("Location"); got != test.location {
				t.Errorf("Location %q, want %q", got, test.location)
			}
			if test.location != "" {
				if resp.StatusCode != http.StatusSeeOther {
					t.Errorf("status %d", resp.StatusCode)
				}
				return
			}
			if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("status %d, WWW-Authenticate %q", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

// TestBackToThePage is WEB-6: after signing in, the agent is where it wanted to be.
func TestBackToThePage(t *testing.T) {
	k := newCluster(t)
	c := k.Browser()
	sent := k.Get(c, "/me?a=b", "Accept", page)
	resp := k.Get(c, k.Authorize(k.Agent, k.Get(c, sent.Header.Get("Location")).Header.Get("Location")))
	if resp.Header.Get("Location") != "/me?a=b" {
		t.Errorf("Location %q", resp.Header.Get("Location"))
	}
}
