// Package oidctest signs in at OpenID Connect providers that others wrote. It
// is a module of its own, so that the providers are no dependencies of authagent.
package oidctest

import (
	"bytes"
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
)

const (
	clientID = "site"
	secret   = "s3cret+/ %:&" // what has to be escaped in a form, and once more in Basic
	username = "test-user@127.0.0.1"
	password = "verysecure"
	email    = "test-user@zitadel.ch"
	subject  = "id1"
)

// A request is one that the provider got, with its body.
type request struct {
	*http.Request
	form url.Values // of the body
}

// server is a running provider and the requests it got.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

// newProvider runs the example server of zitadel/oidc. It offers both ways to
// show a client's secret, or HTTP Basic alone.
func newProvider(t *testing.T, redirectURL string, basicOnly bool) *server {
	t.Helper()
	return newProviderWith(t, redirectURL, basicOnly, &namesAgents{})
}

// newProviderWith is newProvider with a storage that names agents.
func newProviderWith(t *testing.T, redirectURL string, basicOnly bool, store *namesAgents) *server {
	t.Helper()
	p := &server{}
	var handler http.Handler
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		p.mu.Lock()
		p.requests = append(p.requests, request{r.Clone(r.Context()), form})
		p.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	store.Storage = storage.NewStorageWithClients(storage.NewUserStore(p.URL), map[string]*storage.Client{
		clientID:    storage.WebClient(clientID, secret, redirectURL),
		agentClient: storage.NativeClient(agentClient, agentRedirect),
	})
	if !basicOnly {
		handler = exampleop.SetupServer(p.URL, store, slog.New(slog.DiscardHandler), false)
		return p
	}
	// The same without AuthMethodPost, which the example always sets, and with a
	// login page that is posted to in the same way.
	own, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, CryptoKeyId: "1", CodeMethodS256: true}, store,
		op.StaticIssuer(p.URL), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", own)
	mux.HandleFunc("GET /login/username", func(http.ResponseWriter, *http.Request) {})
	issuer := op.NewIssuerInterceptor(own.IssuerFromRequest)
	mux.Handle("POST /login/username", issuer.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := store.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(own)(r.Context(), id), http.StatusFound)
	}))
	handler = mux
	return p
}

// got returns the requests for a path.
func (p *server) got(path string) (found []request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if r.URL.Path == path {
			found = append(found, r)
		}
	}
	return found
}

// site is a site on plain http, which is for development, and a browser.
type site struct {
	*testsite.Site
	provider *server
	userID   string
	browser  *http.Client
	username string // who signs in at zitadel's; empty for the usual user
}

func newSite(t *testing.T, basicOnly bool, change func(s *site, c *authagent.Config)) *site {
	t.Helper()
	return mount(t, func(s *site, redirectURL string) authagent.Config {
		s.provider = newProvider(t, redirectURL, basicOnly)
		config := authagent.Config{Issuer: s.provider.URL, ClientID: clientID, ClientSecret: secret, RedirectURL: redirectURL}
		change(s, &config)
		return config
	})
}

// mount starts a site whose settings depend on its address.
func mount(t *testing.T, configure func(s *site, redirectURL string) authagent.Config) *site {
	t.Helper()
	s := &site{}
	s.Site = testsite.NewPlain(t, nil, func(shared *testsite.Site, c *authagent.Config) {
		s.Site, s.userID = shared, shared.Users.Add(email, "Test User")
		config := configure(s, c.RedirectURL)
		config.SessionKeys, config.Logger = c.SessionKeys, slog.New(slog.NewTextHandler(t.Output(), nil))
		*c = config
	})
	s.browser = s.Browser()
	return s
}

// answered returns what a request was answered with and where that redirects to.
func (s *site) answered(resp *http.Response, err error) (status int, location, body string) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
	read := testsite.Read(s.T, resp)
	if u, err := resp.Location(); err == nil {
		location = u.String()
	}
	return resp.StatusCode, location, read.Text
}

// signIn signs the provider's user in through its login page and returns what
// the site's callback answers. change alters the authorization request on its way.
func (s *site) signIn(change func(q url.Values)) (status int, location, body string) {
	s.T.Helper()
	_, at, text := s.answered(s.browser.Get(s.URL + "/auth/agent/login"))
	u, err := url.Parse(at)
	if err != nil || at == "" {
		s.T.Fatalf("login: %q, %s", at, text)
	}
	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()
	return s.answered(s.browser.Get(s.throughZitadel(u.String(), s.URL+"/auth/agent/callback")))
}

// throughZitadel follows an authorization request through the provider's login page to the callback that it leads to.
func (s *site) throughZitadel(from, to string) (callback string) {
	s.T.Helper()
	_, page, text := s.answered(s.browser.Get(from))
	login, err := url.Parse(page)
	if err != nil || login.Path != "/login/username" {
		s.T.Fatalf("authorization endpoint: %q, %s", page, text)
	}
	s.answered(s.browser.Get(page))
	_, next, text := s.answered(s.browser.PostForm(s.provider.URL+login.Path, url.Values{
		"username": {cmp.Or(s.username, username)}, "password": {password}, "id": {login.Query().Get("authRequestID")},
	}))
	if next == "" {
		s.T.Fatalf("login page: %s", text)
	}
	_, callback, text = s.answered(s.browser.Get(next))
	if !strings.HasPrefix(callback, to+"?") {
		s.T.Fatalf("provider: %q, %s", callback, text)
	}
	return callback
}

func asItIs(url.Values) {}

func fullAccount(s *site, c *authagent.Config) {
	c.Scenario = authagent.FullAccount(s.Users, authagent.InsecureTrustEmail)
}

func TestSignIn(t *testing.T) {
	for _, test := range []struct {
		name      string
		basicOnly bool
		change    func(s *site, c *authagent.Config)
		authorize string // the provider's authorization endpoint
		full      bool
	}{
		{"FullAccount, client_secret_post", false, fullAccount, "/auth", true},
		{"FullAccount, client_secret_basic", true, fullAccount, "/authorize", true},
		{"FullAccount, asked about the token as well", false, func(s *site, c *authagent.Config) {
			fullAccount(s, c)
			c.Provider.Introspect = true
		}, "/auth", true},
		{"FreshProfile", false, func(s *site, c *authagent.Config) {
			c.Scenario, c.Provider.Scopes = authagent.FreshProfile(s.Profiles), []string{"openid"}
		}, "/auth", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.basicOnly, test.change)
			status, location, body := s.signIn(asItIs)
			if status != http.StatusSeeOther || location != s.URL+"/" {
				t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
			}
			session := s.Me(s.browser)
			if session == nil {
				t.Fatal("not signed in")
			}
			if session.Agent != (authagent.Agent{Issuer: s.provider.URL, ID: subject}) {
				t.Errorf("agent %+v", session.Agent)
			}
			if test.full && (session.UserID != s.userID || session.Access != authagent.AccessFull) {
				t.Errorf("session %+v", session)
			}
			if !test.full && (session.UserID != "" || session.ProfileID == "" || session.Access != authagent.AccessNone) {
				t.Errorf("session %+v", session)
			}
			if len(s.provider.got("/.well-known/openid-configuration")) == 0 || len(s.provider.got("/keys")) == 0 {
				t.Error("metadata or keys were not asked for")
			}
			q := s.provider.got(test.authorize)[0].URL.Query()
			if q.Get("nonce") == "" || q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" {
				t.Errorf("authorization request %v", q)
			}
			if !test.full && q.Get("scope") != "openid" {
				t.Errorf("scope %q", q.Get("scope"))
			}
			s.checkTokenRequests(test.basicOnly)
		})
	}
}

// checkTokenRequests checks that one code was redeemed, in a form, with one kind
// of client authentication.
func (s *site) checkTokenRequests(basicOnly bool) {
	s.T.Helper()
	redeemed := 0
	for _, r := range s.provider.got("/oauth/token") {
		if r.form.Get("grant_type") != "authorization_code" || strings.HasPrefix(r.form.Get("code"), "authagent-probe-") || !r.form.Has("code") {
			continue
		}
		redeemed++
		if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			s.T.Errorf("Content-Type %q", got)
		}
		if r.form.Get("code_verifier") == "" {
			s.T.Error("no code_verifier")
		}
		if _, _, basic := r.BasicAuth(); basic != basicOnly || r.form.Has("client_secret") == basicOnly {
			s.T.Errorf("HTTP Basic %v, client_secret in the form %v", basic, r.form.Has("client_secret"))
		}
	}
	if redeemed != 1 {
		s.T.Errorf("%d token requests, want 1", redeemed)
	}
}

// TestRefused: nonce and PKCE are really checked, the one here, the other there.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(q url.Values)
	}{
		{"nonce of another login", func(q url.Values) { q.Set("nonce", "else") }},
		{"no nonce", func(q url.Values) { q.Del("nonce") }},
		{"challenge of another login", func(q url.Values) { q.Set("code_challenge", strings.Repeat("A", 43)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, false, fullAccount)
			if status, location, body := s.signIn(test.change); status < 400 || status >= 500 {
				t.Errorf("status %d, Location %q, %s", status, location, body)
			}
			if s.Me(s.browser) != nil {
				t.Error("signed in")
			}
			if len(s.provider.got("/userinfo")) != 0 {
				t.Error("userinfo was asked for")
			}
		})
	}
}

// TestCheck: what is wrong is found at a server that others wrote, and nothing
// else is.
func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *site, c *authagent.Config)
		want   []string // the settings that are wrong
	}{
		{"healthy", func(*site, *authagent.Config) {}, nil},
		{"client", func(_ *site, c *authagent.Config) { c.ClientID = "stranger" }, []string{"ClientID"}},
		{"secret", func(_ *site, c *authagent.Config) { c.ClientSecret = "wrong" }, []string{"ClientSecret"}},
		{"redirect URL", func(_ *site, c *authagent.Config) { c.RedirectURL += "/" }, []string{"RedirectURL"}},
		{"issuer", func(_ *site, c *authagent.Config) { c.Issuer += "/" }, []string{"Issuer"}},
		{"encoding", func(_ *site, c *authagent.Config) { c.Provider.TokenEncoding = "application/json" }, []string{"Provider.TokenEncoding"}},
	} {
		for _, basicOnly := range []bool{false, true} {
			s := newSite(t, basicOnly, func(s *site, c *authagent.Config) {
				fullAccount(s, c)
				test.change(s, c)
			})
			var got []string
			findings := s.RP.Check(t.Context())
			for _, f := range findings {
				got = append(got, f.Setting)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s, Basic only %v: %v, want %v", test.name, basicOnly, findings, test.want)
			}
		}
	}
}
