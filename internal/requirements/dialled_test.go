package requirements_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestTLS_NET_11: NET-11. The chain, the name, the time and the version all count.
func TestTLS_NET_11(t *testing.T) {
	authority, stranger := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	for _, test := range []struct {
		name  string
		by    *certifier
		host  string
		until time.Time
		max   uint16
		own   bool // the client that authagent makes itself
		ok    bool
	}{
		{"good", authority, "127.0.0.1", time.Now().Add(time.Hour), 0, false, true},
		{"untrusted", stranger, "127.0.0.1", time.Now().Add(time.Hour), 0, false, false},
		{"another name", authority, "as.example", time.Now().Add(time.Hour), 0, false, false},
		{"another address", authority, "127.0.0.2", time.Now().Add(time.Hour), 0, false, false},
		{"expired", authority, "127.0.0.1", time.Now().Add(-time.Hour), 0, false, false},
		{"TLS 1.1", authority, "127.0.0.1", time.Now().Add(time.Hour), tls.VersionTLS11, false, false},
		{"TLS 1.2", authority, "127.0.0.1", time.Now().Add(time.Hour), tls.VersionTLS12, false, true},
		{"the default client", authority, "127.0.0.1", time.Now().Add(time.Hour), 0, true, false},
		{"the default client, TLS 1.1", authority, "127.0.0.1", time.Now().Add(time.Hour), tls.VersionTLS11, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			as := authagenttest.NewUnstartedServer()
			server := httptest.NewUnstartedServer(as)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{
				Certificates: []tls.Certificate{test.by.issue(t, test.host, test.until)}, MinVersion: tls.VersionTLS10, MaxVersion: test.max,
			}
			server.StartTLS()
			defer server.Close()
			as.URL = server.URL
			b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) {
				// So that the login succeeds, and the callback is where TLS is needed.
				c.Provider.Endpoints.Authorization, c.Provider.Endpoints.Token = as.URL+"/authorize", as.URL+"/token"
				c.Provider.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
				if test.own {
					c.Provider.HTTPClient = nil
				}
			})
			browser := b.HTTP.Client()
			browser.Jar, _ = cookiejar.New(nil)
			browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			state := mustParse(t, b.Begin(browser, "")).Query().Get("state")
			resp := b.Get(browser, "/auth/agent/callback?code=x&state="+state)
			if test.ok {
				if resp.Reason() != problem.Reason("code_refused") {
					t.Errorf("status %d %s %s", resp.StatusCode, resp.Text, b.Log)
				}
				return
			}
			if resp.StatusCode != 502 || resp.Reason() != problem.Reason("server_unavailable") || as.Count("") != 0 {
				t.Errorf("status %d %s, %d requests", resp.StatusCode, resp.Reason(), as.Count(""))
			}
			events := b.Events.Named(audit.LoginFailed)
			if len(events) != 1 || !strings.Contains(events[0].Detail, "tls") {
				t.Fatalf("events %+v", events)
			}
			if test.max == tls.VersionTLS11 && !strings.Contains(events[0].Detail, "version") { // before any certificate
				t.Errorf("refused for something else: %s", events[0].Detail)
			}
		})
	}
}

// certifier issues certificates.
type certifier struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *certifier {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a := &certifier{certificate: template}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.certificate, _ = x509.ParseCertificate(der)
	return a
}

func (a *certifier) issue(t testing.TB, host string, until time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: until.Add(-2 * time.Hour), NotAfter: until}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// outgoing records the requests that go through it.
type outgoing struct {
	next http.RoundTripper
	mu   sync.Mutex
	all  []*http.Request
}

func (o *outgoing) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.all = append(o.all, r.Clone(context.Background()))
	o.mu.Unlock()
	return o.next.RoundTrip(r)
}

// TestOnlyTheServerIsAsked_NET_12: NET-12. No claim is an address to fetch, and no
// secret is in an address.
func TestOnlyTheServerIsAsked_NET_12(t *testing.T) {
	evil, hits := newEvil(t)
	for _, features := range []authagenttest.Features{{}, {IDToken: true, SignedTokens: "ES256"}, {OpaqueTokens: true}} {
		as := quickServer(t)
		as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { *f = features })
		sent := &outgoing{next: as.Client().Transport}
		b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) {
			c.Provider.HTTPClient, c.Tokens.Store, c.Provider.Introspect = &http.Client{Transport: sent}, &memstore.Tokens{}, true
		})
		var mu sync.Mutex
		var values []string // what must be in no address
		keep := func(names ...string) wrapper {
			return authagenttest.Rewrite(func(body map[string]any) {
				mu.Lock()
				defer mu.Unlock()
				for _, name := range names {
					if s, ok := body[name].(string); ok {
						values = append(values, s)
					}
				}
			})
		}
		as.Wrap(authagenttest.PathToken, keep("access_token", "refresh_token", "id_token"))
		as.Wrap(authagenttest.PathUserInfo, authagenttest.Rewrite(func(body map[string]any) {
			for _, name := range []string{"picture", "profile", "website", "jwks_uri", "iss", "jku"} {
				body[name] = evil.URL + "/" + name
			}
			body["_claim_names"] = map[string]string{"email": "src1"}
			body["_claim_sources"] = map[string]any{"src1": map[string]string{"endpoint": evil.URL, "access_token": "x"}}
		}))
		c := b.Browser()
		callback := b.Authorize(b.Agent, b.Begin(c, ""))
		if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
		}
		b.Do(c, http.MethodPost, "/auth/agent/logout")
		values = append(values, b.Config.ClientSecret, mustParse(t, callback).Query().Get("code"))
		for _, r := range b.AS.Requests(authagenttest.PathToken) {
			var body struct {
				Verifier string `json:"code_verifier"`
			}
			if json.Unmarshal(r.Body, &body); body.Verifier != "" {
				values = append(values, body.Verifier)
			}
		}
		if len(values) < 5 || as.Count(authagenttest.PathRevoke) != 1 {
			t.Fatalf("the test has %d secrets, %d revocations", len(values), as.Count(authagenttest.PathRevoke))
		}
		for _, r := range sent.all {
			if r.URL.Host != mustParse(t, as.URL).Host || r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
				t.Errorf("request to %s, header %v", r.URL, r.Header)
			}
			for _, secret := range values {
				if strings.Contains(r.URL.String(), secret) {
					t.Errorf("a secret is in %s", r.URL)
				}
				if r.URL.Path != authagenttest.PathUserInfo && strings.Contains(fmt.Sprint(r.Header), secret) {
					t.Errorf("a secret is in a header to %s", r.URL)
				}
			}
		}
	}
	if n := hits.Count(); n != 0 {
		t.Errorf("%d requests to the address of a claim", n)
	}
}

// TestNothingIsShared_NET_13: NET-13. One sign-in leaves nothing at the client that
// another one sends, and many at once are not mixed up.
func TestNothingIsShared_NET_13(t *testing.T) {
	as := quickServer(t)
	jar, _ := cookiejar.New(nil)
	b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.HTTPClient.Jar = jar })
	as.Wrap("", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "as", Value: "1", Path: "/"})
			next.ServeHTTP(w, r)
		})
	})
	for range 2 {
		b.MustSignIn(b.Browser(), b.Agent)
	}
	for _, path := range []string{authagenttest.PathMetadata, authagenttest.PathToken, authagenttest.PathUserInfo} {
		for _, r := range as.Requests(path) {
			if r.Header.Get("Cookie") != "" {
				t.Errorf("%s got a cookie", path)
			}
		}
	}
	// Without sockets, as that many handshakes take longer than all the rest.
	b = newCluster(t, func(b *bench, _ *authagent.Config) { b.AS.Quirks.SameSecondTokens = false })
	b.Users.Add("bob@example.com", "Bob")
	bob := b.AS.AddAgent(authagenttest.Agent{ID: "agent_bob", Email: "bob@example.com"})
	const n = 500
	turns := make(chan *authagenttest.Agent, n)
	for i := range n {
		turns <- []*authagenttest.Agent{b.Agent, bob}[i%2]
	}
	close(turns)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for agent := range turns {
				s := b.MustSignIn(b.Browser(), agent)
				if account, _ := b.Users.Get(s.UserID); s.Agent.ID != agent.ID || account.Email != agent.Email {
					t.Errorf("%s got %+v", agent.ID, s)
				}
			}
		})
	}
	all.Wait()
}
