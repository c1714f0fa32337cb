package authagent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// A benchSite is a relying party in front of an authorization server that costs
// next to nothing: what is measured is the relying party. Package benchmarks
// compares it with its peers.
type benchSite struct {
	rp       *authagent.RelyingParty
	login    http.Handler
	callback http.Handler
	guarded  http.Handler // RequireAgent; answers 204
}

const benchOrigin = "http://127.0.0.1:8080"

// benchConfig is a site's settings for the given server and transport.
func benchConfig(issuer string, transport http.RoundTripper, scenario authagent.Scenario, keys [][]byte) authagent.Config {
	return authagent.Config{
		Issuer: issuer, ClientID: "site", ClientSecret: "secret", RedirectURL: benchOrigin + "/auth/agent/callback",
		SessionKeys: keys, Scenario: scenario, Logger: discardLog(), Provider: provider.Settings{HTTPClient: &http.Client{Transport: transport}},
	}
}

func newBenchSite(b testing.TB, c authagent.Config) *benchSite {
	b.Helper()
	rp, err := authagent.New(c)
	if err != nil {
		b.Fatal(err)
	}
	return &benchSite{
		rp: rp, login: rp.LoginHandler(), callback: rp.CallbackHandler(),
		guarded: rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, ok := authagent.FromContext(r.Context()); ok {
				w.WriteHeader(http.StatusNoContent)
			}
		})),
	}
}

// benchServer answers every sign-in with the same agent.
func benchServer(issuer string) http.Handler {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	token := part(`{"alg":"HS256"}`) + "." + part(fmt.Sprintf(`{"iss":%q,"client_id":"site","sub":"agent_1","model":"model-1","exp":%d}`,
		issuer, time.Now().Add(24*time.Hour).Unix())) + "." + part("signature")
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		})
	}
	answer("/.well-known/oauth-authorization-server", fmt.Sprintf(
		`{"issuer":%q,"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","userinfo_endpoint":"%[1]s/userinfo"}`, issuer))
	answer("/token", fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":3600,"refresh_token":"refresh"}`, token))
	answer("/userinfo", `{"sub":"agent_1","email":"alice@example.com","name":"Alice"}`)
	return mux
}

// loopbackSite is a site whose server is on a loopback socket.
func loopbackSite(b *testing.B, scenario authagent.Scenario) *benchSite {
	b.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	server.Config.Handler = benchServer(issuer)
	server.Start()
	b.Cleanup(server.Close)
	c := benchConfig(issuer, nil, scenario, [][]byte{testsite.NewKey()})
	c.Provider.HTTPClient, c.Provider.TokenEncoding = nil, "application/json"
	return newBenchSite(b, c)
}

// directSite is a site whose server is called without a socket.
func directSite(b testing.TB, keys [][]byte, change ...func(*authagent.Config)) *benchSite {
	b.Helper()
	const issuer = "https://as.example"
	c := benchConfig(issuer, direct{benchServer(issuer)}, authagent.FreshProfile(&memstore.Profiles{}), keys)
	c.Provider.TokenEncoding = "application/json"
	for _, f := range change {
		f(&c)
	}
	return newBenchSite(b, c)
}

type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// reusedWriter is a ResponseWriter that costs nothing.
type reusedWriter struct {
	header http.Header
	status int
}

func (w *reusedWriter) Header() http.Header         { return w.header }
func (w *reusedWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *reusedWriter) WriteHeader(status int)      { w.status = status }

func (w *reusedWriter) serve(h http.Handler, r *http.Request) {
	clear(w.header)
	w.status = http.StatusOK
	h.ServeHTTP(w, r)
}

// cookie is what the answer sets last, as a browser sends it back.
func (w *reusedWriter) cookie() string {
	lines := w.header["Set-Cookie"]
	pair, _, _ := strings.Cut(lines[len(lines)-1], ";")
	return pair
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newWriter() *reusedWriter { return &reusedWriter{header: http.Header{}} }

// serving measures a handler that answers like with status.
func serving(b *testing.B, h http.Handler, like *http.Request, status int) {
	b.Helper()
	w := newWriter()
	b.ReportAllocs()
	for b.Loop() {
		if w.serve(h, like); w.status != status {
			b.Fatal("status", w.status)
		}
	}
}

// begin starts a login and returns the request that comes back from it.
func (s *benchSite) begin(w *reusedWriter) *http.Request {
	w.serve(s.login, httptest.NewRequest(http.MethodGet, benchOrigin+"/auth/agent/login", nil))
	_, rest, _ := strings.Cut(w.header.Get("Location"), "&state=")
	state, _, _ := strings.Cut(rest, "&")
	r := httptest.NewRequest(http.MethodGet, benchOrigin+"/auth/agent/callback?code=code-0123456789&state="+state, nil)
	r.Header.Set("Cookie", w.cookie())
	return r
}

// signIn returns the cookie of a new session.
func (s *benchSite) signIn(tb testing.TB, w *reusedWriter) string {
	tb.Helper()
	if w.serve(s.callback, s.begin(w)); w.status != http.StatusSeeOther {
		tb.Fatal("callback: status", w.status)
	}
	return w.cookie()
}

func orders(cookie string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, benchOrigin+"/orders", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

// benchScenarios are the three strategies, over stores in memory.
func benchScenarios() map[string]authagent.Scenario {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	users.Add("alice@example.com", "Alice")
	return map[string]authagent.Scenario{
		"FullAccount":       authagent.FullAccount(users, authagent.InsecureTrustEmail),
		"ContextualProfile": authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail),
		"FreshProfile":      authagent.FreshProfile(profiles),
	}
}

func BenchmarkLogin(b *testing.B) {
	s := directSite(b, [][]byte{testsite.NewKey()})
	for _, test := range []struct{ name, query string }{{"plain", ""}, {"return_to", "?return_to=/orders"}} {
		b.Run(test.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, benchOrigin+"/auth/agent/login"+test.query, nil)
			serving(b, s.login, r, http.StatusSeeOther)
		})
	}
}

// BenchmarkCallback finishes sign-ins at a server on a loopback socket: two
// round trips, and one for FreshProfile.
func BenchmarkCallback(b *testing.B) {
	all := benchScenarios()
	for _, name := range [...]string{"FullAccount", "ContextualProfile", "FreshProfile"} {
		b.Run(name, func(b *testing.B) {
			s, w := loopbackSite(b, all[name]), newWriter()
			s.signIn(b, w) // connections are warm
			var begun []*http.Request
			b.ReportAllocs()
			for b.Loop() {
				if len(begun) == 0 {
					b.StopTimer()
					for range 64 {
						begun = append(begun, s.begin(w))
					}
					b.StartTimer()
				}
				w.serve(s.callback, begun[0])
				if begun = begun[1:]; w.status != http.StatusSeeOther {
					b.Fatal("status", w.status)
				}
			}
		})
	}
}

// BenchmarkAccountCheck is what it costs on each request to ask whether the account is
// still there: by UserByID, and not at all. The store is as fast as one can be, so that
// the difference is what the package adds to a site's own query.
func BenchmarkAccountCheck(b *testing.B) {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	for _, test := range []struct {
		name  string
		users authagent.UserStore
	}{
		{"not asked", struct{ authagent.UserStore }{users}},
		{"UserByID", struct {
			authagent.UserStore
			authagent.UserFinder
		}{users, users}},
	} {
		b.Run(test.name, func(b *testing.B) {
			s := directSite(b, [][]byte{testsite.NewKey()}, func(c *authagent.Config) {
				c.Scenario = authagent.FullAccount(test.users, authagent.InsecureTrustEmail)
			})
			serving(b, s.guarded, orders(s.signIn(b, newWriter())), http.StatusNoContent)
		})
	}
}

func BenchmarkSession(b *testing.B) {
	keys := [][]byte{testsite.NewKey()}
	s := directSite(b, keys)
	expiring := directSite(b, keys, func(c *authagent.Config) { c.Session.Idle = 1 })
	cookie := s.signIn(b, newWriter())
	page := orders("")
	page.Header.Set("Accept", "text/html")
	forged := []byte(cookie)
	forged[len(forged)/2] ^= 1
	for _, test := range []struct {
		name   string
		site   *benchSite
		r      *http.Request
		status int
	}{
		{"valid", s, orders(cookie), http.StatusNoContent},
		{"absent", s, orders(""), http.StatusUnauthorized},
		{"absent_page", s, page, http.StatusSeeOther},
		{"forged", s, orders(string(forged)), http.StatusUnauthorized},
		{"expired", expiring, orders(cookie), http.StatusUnauthorized},
	} {
		b.Run(test.name, func(b *testing.B) { serving(b, test.site.guarded, test.r, test.status) })
	}
}

// TestSessionAllocations: the check of a session in a cookie allocates five things: what the cookie holds, the session, the
// values of two headers, what is attached to the request's context, and the request with that context.
func TestSessionAllocations(t *testing.T) {
	for name, scenario := range benchScenarios() {
		s, w := directSite(t, [][]byte{testsite.NewKey()}, func(c *authagent.Config) { c.Scenario = scenario }), newWriter()
		r := orders(s.signIn(t, w))
		n := testing.AllocsPerRun(1_000, func() { w.serve(s.guarded, r) })
		if n != 5 || w.status != http.StatusNoContent {
			t.Errorf("%s: %v allocations, want 5; status %d", name, n, w.status)
		}
	}
}

// An apiSite is a site whose API is open, and tokens for it.
type apiSite struct {
	*benchSite
	as    *authagenttest.Server
	agent *authagenttest.Agent
	form  string
}

const benchAPI = benchOrigin + "/api"

func newAPISite(b testing.TB, form string, keys [][]byte, transport http.RoundTripper) *apiSite {
	b.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Quirks, as.Features = authagenttest.Quirks{}, authagenttest.Features{SignedTokens: "ES256", IDToken: true, Resources: true}
	as.URL = "https://as.example"
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{benchOrigin + "/auth/agent/callback"}})
	if transport == nil {
		transport = direct{as}
	}
	c := benchConfig(as.URL, transport, authagent.FreshProfile(&memstore.Profiles{}), keys)
	c.ClientID, c.ClientSecret, c.API.Resource = client.ID, client.Secret, benchAPI
	return &apiSite{newBenchSite(b, c), as, as.AddAgent(authagenttest.Agent{ID: "agent_1"}), form}
}

// call returns a request with a token that was not there before.
func (s *apiSite) call() *http.Request {
	return bearing(s.as.AccessToken(s.agent, authagenttest.APIToken{Audience: []string{benchAPI}, Form: s.form}))
}

func bearing(token string) *http.Request {
	r := orders("")
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// BenchmarkAPI checks access tokens beside a session's cookie, and what is at least needed for a token that
// is new: the verification of a signature, and a round trip to the server, which here costs no network.
func BenchmarkAPI(b *testing.B) {
	keys := [][]byte{testsite.NewKey()}
	s := newAPISite(b, "JWT", keys, nil)
	cookie := directSite(b, keys)
	b.Run("cookie", func(b *testing.B) {
		serving(b, cookie.guarded, orders(cookie.signIn(b, newWriter())), http.StatusNoContent)
	})
	b.Run("remembered", func(b *testing.B) { serving(b, s.guarded, s.call(), http.StatusNoContent) })
	b.Run("refused_before", func(b *testing.B) {
		serving(b, s.guarded, bearing(s.as.ForgedToken(s.agent, authagenttest.APIToken{Audience: []string{benchAPI}}, "another audience")), http.StatusUnauthorized)
	})
	b.Run("verify_ES256_alone", func(b *testing.B) { // as go-oidc does it
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		token, keys := signedES256(b, key), &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{&key.PublicKey}}
		for b.Loop() {
			if _, err := keys.VerifySignature(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first_JWT", func(b *testing.B) { s.first(b, http.StatusNoContent, s.call) })
	b.Run("first_refused", func(b *testing.B) {
		s.first(b, http.StatusUnauthorized, func() *http.Request {
			return bearing(s.as.ForgedToken(s.agent, authagenttest.APIToken{Audience: []string{benchAPI}, Claims: map[string]any{"jti": rand.Text()}}, "another audience"))
		})
	})
}

// signedES256 returns a JWT with as many claims as those of apiSite.
func signedES256(b *testing.B, key *ecdsa.PrivateKey) string {
	part := base64.RawURLEncoding.EncodeToString
	input := part([]byte(`{"alg":"ES256","kid":"key","typ":"at+jwt"}`)) + "." + part([]byte(strings.Repeat(`{"claim":"value"}`, 20)))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	return input + "." + part(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// first measures requests whose tokens are new.
func (s *apiSite) first(b *testing.B, status int, make func() *http.Request) {
	w, requests := newWriter(), []*http.Request{}
	w.serve(s.guarded, s.call()) // reads metadata and keys
	b.ReportAllocs()
	for b.Loop() {
		if len(requests) == 0 {
			b.StopTimer()
			for range 1024 {
				requests = append(requests, make())
			}
			b.StartTimer()
		}
		r := requests[len(requests)-1]
		requests = requests[:len(requests)-1]
		if w.serve(s.guarded, r); w.status != status {
			b.Fatal("status", w.status)
		}
	}
}

// BenchmarkAPIFlood reports what is kept of tokens that were refused: it does not grow with their number.
func BenchmarkAPIFlood(b *testing.B) {
	for _, n := range [...]int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			quick(b, n)
			s, w := newAPISite(b, "JWT", [][]byte{testsite.NewKey()}, nil), newWriter()
			like := s.as.ForgedToken(s.agent, authagenttest.APIToken{Audience: []string{benchAPI}}, "key of another server, our kid")
			w.serve(s.guarded, bearing(like))
			kept := retained(func() {
				for i := range n {
					w.serve(s.guarded, bearing(like[:len(like)-8]+fmt.Sprintf("%08d", i)))
				}
			})
			b.ReportMetric(float64(kept), "B")
		})
	}
}

// BenchmarkSessionGrowth checks sessions that are some of many, and with many
// entries in the default RevocationStore: neither may matter.
func BenchmarkSessionGrowth(b *testing.B) {
	for _, n := range [...]int{1, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			quick(b, n)
			keys := [][]byte{testsite.NewKey()}
			cookies := manySessions(b, keys, n)
			s, w := directSite(b, keys), newWriter()
			r := orders("none")
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				r.Header["Cookie"][0] = cookies[i]
				if w.serve(s.guarded, r); w.status != http.StatusNoContent {
					b.Fatal("status", w.status)
				}
				i = (i + 7919) % n // not in the order in which they lie in memory
			}
		})
	}
	for _, n := range [...]int{1, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("revocations=%d", n), func(b *testing.B) {
			quick(b, n)
			s := directSite(b, [][]byte{testsite.NewKey()})
			for i := range n {
				if err := s.rp.EndSession(context.Background(), fmt.Sprint("session-", i)); err != nil {
					b.Fatal(err)
				}
			}
			serving(b, s.guarded, orders(s.signIn(b, newWriter())), http.StatusNoContent)
		})
	}
}

// BenchmarkSignInGrowth signs in at an instance that has had many sign-ins a moment
// ago, whose sessions all live and whose states it remembers: it may not matter.
func BenchmarkSignInGrowth(b *testing.B) {
	for _, n := range [...]int{1, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			quick(b, n)
			s, w := directSite(b, [][]byte{testsite.NewKey()}), newWriter()
			for range n {
				s.signIn(b, w)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.signIn(b, w)
			}
		})
	}
}

// quick leaves out what takes long to set up from a quick run.
func quick(b *testing.B, n int) {
	b.Helper()
	if testing.Short() && n > 1_000 {
		b.Skip("not in a short run")
	}
}

// manySessions signs in n times and returns the cookies. Several instances of
// the site share the work, as one takes a million sign-ins in ten minutes and no more.
func manySessions(b *testing.B, keys [][]byte, n int) []string {
	b.Helper()
	cookies := make([]string, n)
	w := newWriter()
	var s *benchSite
	for i := range cookies {
		if i%200_000 == 0 {
			s = directSite(b, keys)
		}
		cookies[i] = s.signIn(b, w)
	}
	return cookies
}

// TestAbandonedLogins (REQ-8): a login that is begun and left costs the site no
// memory, however many there are.
func TestAbandonedLogins(t *testing.T) {
	const logins = 20_000
	s, w := directSite(t, [][]byte{testsite.NewKey()}), newWriter()
	if grown := retained(func() { s.abandon(w, logins) }); grown > logins {
		t.Errorf("the heap has grown by %d bytes with %d logins", grown, logins)
	}
}

// BenchmarkAbandonedLogins is a flood of a million logins that nobody finishes.
func BenchmarkAbandonedLogins(b *testing.B) {
	logins := 1_000_000
	if testing.Short() {
		logins = 1_000
	}
	s, w := directSite(b, [][]byte{testsite.NewKey()}), newWriter()
	var grown int64
	for b.Loop() {
		grown = retained(func() { s.abandon(w, logins) })
	}
	b.ReportMetric(float64(max(grown, 0)), "heap-bytes")
	b.ReportMetric(float64(logins), "logins/op")
}

func (s *benchSite) abandon(w *reusedWriter, logins int) {
	r := httptest.NewRequest(http.MethodGet, benchOrigin+"/auth/agent/login", nil)
	for range logins {
		w.serve(s.login, r)
	}
}

// retained returns how many bytes more are live after f.
func retained(f func()) int64 {
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	f()
	return live() - before
}
