package enginetest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// A site is one address with two instances behind it, which share keys and a
// database and nothing else. The header X-Instance: 2 goes to the second. It has
// no TLS, which would take most of the tests' time.
type site struct {
	as      *authagenttest.Server
	server  *httptest.Server
	users   *memstore.Users
	agent   *authagenttest.Agent
	key     []byte
	client  authagenttest.Client
	first   atomic.Pointer[http.ServeMux]
	second  atomic.Pointer[http.ServeMux]
	handled atomic.Int64 // requests that reached a guarded handler
	rp      *authagent.RelyingParty
	change  func(*authagent.Config, *sqlstore.Store, *memstore.Users)
}

// users is a site's user store that remembers links in the database.
type users struct {
	*memstore.Users
	links *sqlstore.Links
}

func (u users) LinkAgent(ctx context.Context, agent authagent.Agent, userID string) (string, error) {
	return u.links.LinkAgent(ctx, agent, userID)
}

func (u users) LinkedUser(ctx context.Context, agent authagent.Agent) (string, error) {
	return u.links.LinkedUser(ctx, agent)
}

// newSite starts a site with FullAccount whose first instance has these stores;
// change alters the settings of all instances.
func newSite(t testing.TB, s *sqlstore.Store, change ...func(*authagent.Config, *sqlstore.Store, *memstore.Users)) *site {
	t.Helper()
	b := &site{as: authagenttest.NewServer(), users: &memstore.Users{}, key: make([]byte, 32)}
	rand.Read(b.key)
	t.Cleanup(b.as.Close)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Instance") == "2" {
			b.second.Load().ServeHTTP(w, r)
			return
		}
		b.first.Load().ServeHTTP(w, r)
	}))
	t.Cleanup(b.server.Close)
	b.as.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
	b.client = b.as.AddClient(authagenttest.Client{RedirectURIs: []string{b.server.URL + "/auth/agent/callback"}})
	b.agent = b.as.AddAgent(authagenttest.Agent{ID: "agent_alice", Email: "alice@example.com", Name: "Alice"})
	b.users.Add("alice@example.com", "Alice")
	for _, f := range change {
		b.change = f
	}
	b.use(t, s)
	return b
}

// use gives the first instance these stores, as after a restart.
func (b *site) use(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	mux, rp := b.instance(t, s)
	b.first.Store(mux)
	b.rp = rp
}

// alsoUse starts the second instance.
func (b *site) alsoUse(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	mux, _ := b.instance(t, s)
	b.second.Store(mux)
}

func (b *site) instance(t testing.TB, s *sqlstore.Store) (*http.ServeMux, *authagent.RelyingParty) {
	t.Helper()
	c := authagent.Config{
		Issuer: b.as.URL, ClientID: b.client.ID, ClientSecret: b.client.Secret,
		RedirectURL: b.server.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{b.key},
		Scenario:    authagent.FullAccount(users{b.users, s.Links()}, authagent.InsecureTrustEmail),
		Session:     authagent.SessionSettings{Store: s.Sessions()},
		Revocations: s.Revocations(),
		States:      s.States(),
		Tokens:      authagent.TokenSettings{Store: s.Tokens()},
		Audit:       s.Audit,
		Provider:    authagent.Provider{HTTPClient: b.as.Client()},
		Logger:      slog.New(slog.DiscardHandler),
	}
	if b.change != nil {
		b.change(&c, s, b.users)
	}
	rp, err := authagent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("/auth/agent/logout", rp.LogoutHandler())
	mux.Handle("/me", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.handled.Add(1)
		session, _ := authagent.FromContext(r.Context())
		json.NewEncoder(w).Encode(session)
	})))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "home") })
	return mux, rp
}

// browser returns a client with a cookie jar that follows no redirect.
func (b *site) browser(t testing.TB) *http.Client {
	c := b.as.NewBrowser()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// A callback is a sign-in that is finished but for the last step.
type callback struct {
	callback, cookies string
}

// begin brings a sign-in to where the browser comes back from the server.
func (b *site) begin(t testing.TB) callback {
	t.Helper()
	c := b.browser(t)
	resp := b.send(t, c, http.MethodGet, "/auth/agent/login")
	target, err := b.agent.Authorize(t.Context(), b.as.Client(), resp.Header.Get("Location"))
	if err != nil {
		t.Errorf("login: %d %s: %v", resp.StatusCode, resp.body, err)
	}
	return callback{target, b.cookies(t, c)}
}

// signIn signs the agent in and returns the browser's cookies.
func (b *site) signIn(t testing.TB, c *http.Client) string {
	t.Helper()
	resp, err := b.agent.SignIn(t.Context(), c, b.server.URL+"/auth/agent/login?return_to=/me")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("signing in ended with %d %s", resp.StatusCode, body)
	}
	return b.cookies(t, c)
}

func (b *site) cookies(t testing.TB, c *http.Client) string {
	t.Helper()
	u, err := url.Parse(b.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, cookie := range c.Jar.Cookies(u) {
		all = append(all, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(all, "; ")
}

type response struct {
	*http.Response
	body string
}

func (r *response) reason() problem.Reason {
	var p struct{ Error problem.Reason }
	json.Unmarshal([]byte(r.body), &p)
	return p.Error
}

// get requests a page with these cookies and no others.
func (b *site) get(t testing.TB, target, cookies string, header ...string) *response {
	t.Helper()
	return b.send(t, b.bare(), http.MethodGet, target, append(header, "Cookie", cookies)...)
}

func (b *site) post(t testing.TB, target, cookies string, header ...string) *response {
	t.Helper()
	return b.send(t, b.bare(), http.MethodPost, target, append(header, "Cookie", cookies)...)
}

func (b *site) bare() *http.Client {
	c := b.as.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

func (b *site) send(t testing.TB, c *http.Client, method, target string, header ...string) *response {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.server.URL + target
	}
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
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
	return &response{resp, string(body)}
}

// exchanges returns how many requests the token endpoint has had, those left out
// that only learn how it wants to be asked.
func (b *site) exchanges() (n int) {
	for _, r := range b.as.Requests(authagenttest.PathToken) {
		if !bytes.Contains(r.Body, []byte("-probe")) && string(r.Body) != `{"grant_type":"authorization_code"}` {
			n++
		}
	}
	return n
}

// refuses checks that nothing is served to a session, or half-served to a
// sign-in, while the database is out of order.
func (b *site) refuses(t testing.TB, cookies string, started callback) {
	t.Helper()
	handled := b.handled.Load()
	for what, resp := range map[string]*response{
		"/me":      b.get(t, "/me", cookies),
		"callback": b.get(t, started.callback, started.cookies),
		"logout":   b.post(t, "/auth/agent/logout", cookies),
	} {
		if resp.StatusCode < 500 || resp.reason() != problem.StoreFailed {
			t.Errorf("%s: %d %s", what, resp.StatusCode, resp.body)
		}
		for _, cookie := range resp.Cookies() {
			if cookie.MaxAge >= 0 {
				t.Errorf("%s sets cookie %s", what, cookie.Name)
			}
		}
	}
	if b.handled.Load() != handled {
		t.Error("a guarded handler ran")
	}
}
