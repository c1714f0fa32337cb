package routers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/examples/routers"
	"github.com/authagent-go/authagent/memstore"
)

// person is the site's own sign-in of people, for Config.Human.
func person(r *http.Request) (string, error) {
	if c, err := r.Cookie("person"); err == nil {
		return c.Value, nil
	}
	return "", nil
}

// TestPeopleBelowPrefix_WIR_15 is WIR-15: behind each router, also where it is mounted below a
// prefix, people and agents get what their guards let them, and whatever leads back leads to the
// address that the browser asked for.
func TestPeopleBelowPrefix_WIR_15(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, mount := range map[string]func(*authagent.RelyingParty, routers.Orders) http.Handler{"chi": routers.Chi, "gin": routers.Gin, "echo": routers.Echo} {
		for _, prefix := range []string{"", "/app"} {
			t.Run("WIR-15 "+name+" below "+prefix, func(t *testing.T) {
				as := authagenttest.NewServer()
				defer as.Close()
				var site http.Handler
				web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { site.ServeHTTP(w, r) }))
				defer web.Close()
				callback := web.URL + prefix + "/auth/agent/callback"
				client := as.AddClient(authagenttest.Client{ID: "site", RedirectURIs: []string{callback}})
				users := &memstore.Users{}
				alice := users.Add("alice@example.com", "Alice")
				rp, err := authagent.New(authagent.Config{
					Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: callback, // as browsers ask for it
					SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789ABCDEF")}, Human: person, SignInPath: prefix + "/sign-in",
					Scenario: authagent.FullAccount(users, policy{}), Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					t.Fatal(err)
				}
				site = http.StripPrefix(prefix, mount(rp, &orders{}))
				asBrowser(t, as, web.URL, prefix, alice)
			})
		}
	}
}

// asBrowser visits the site as a stranger, a person, an agent, and both in one browser.
func asBrowser(t *testing.T, as *authagenttest.Server, origin, prefix, alice string) {
	t.Helper()
	base := origin + prefix
	visit := func(c *http.Client, method, path, want string, cookies ...*http.Cookie) {
		t.Helper()
		if got := do(t, withCookies(c, cookies), method, base+path); got != want {
			t.Errorf("WIR-15 %s %s: %s, want %s", method, path, got, want)
		}
	}
	signedIn := &http.Cookie{Name: "person", Value: alice}
	visit(as.NewBrowser(), "GET", "/orders", "401 no_session")
	visit(as.NewBrowser(), "GET", "/me", "200 person "+alice, signedIn)
	visit(as.NewBrowser(), "POST", "/orders", "200 placed, by nobody", signedIn) // by no agent

	browser := as.NewBrowser()
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_reader", Email: "alice@example.com"})
	resp, err := agent.SignIn(t.Context(), browser, base+"/auth/agent/login?return_to="+prefix+"/orders")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != prefix+"/orders" {
		t.Errorf("WIR-15 lands at %s: %s", resp.Request.URL, resp.Status)
	}
	visit(browser, "GET", "/me", "200 agent agent_reader")
	visit(browser, "GET", "/me", "200 agent agent_reader", signedIn) // a person beside it
	visit(browser, "POST", "/orders", "403 action_not_granted", signedIn)
	if to := sentTo(t, as.NewBrowser(), base+"/orders"); to != prefix+"/sign-in?return_to="+url.QueryEscape(prefix+"/orders") {
		t.Errorf("WIR-15 a stranger is sent to %q", to)
	}
	do(t, browser, "POST", base+"/auth/agent/logout?return_to="+prefix+"/orders")
	visit(browser, "GET", "/me", "401 no_session")
	visit(browser, "GET", "/me", "200 person "+alice, signedIn)
}

// withCookies returns a client that sends these cookies beside its own.
func withCookies(c *http.Client, cookies []*http.Cookie) *http.Client {
	sends := *c
	sends.Transport = addsCookies{c.Transport, cookies}
	return &sends
}

type addsCookies struct {
	next    http.RoundTripper
	cookies []*http.Cookie
}

func (a addsCookies) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for _, c := range a.cookies {
		r.AddCookie(c)
	}
	if a.next == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	return a.next.RoundTrip(r)
}

// sentTo opens a page in a browser, and returns where it is sent.
func sentTo(t *testing.T, c *http.Client, address string) string {
	t.Helper()
	stays := *c
	stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := stays.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Location")
}

// TestGinContext_WIR_15 is WIR-15: in gin, what a guard has put into the request's context is not in
// gin's own.
func TestGinContext_WIR_15(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	type key struct{}
	r := gin.New()
	r.GET("/", func(c *gin.Context) {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), key{}, "agent"))
		if c.Value(key{}) != nil || c.Request.Context().Value(key{}) != "agent" {
			t.Errorf("WIR-15 gin's context has %v", c.Value(key{}))
		}
	})
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
