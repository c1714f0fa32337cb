package requirements_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/problem"
)

// notReady checks that a login was refused because the server is not known.
func (b *bench) notReady(resp *response) {
	b.T.Helper()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Location") != "" {
		b.T.Errorf("status %d, Retry-After %q, Location %q, want 503", resp.StatusCode, resp.Header.Get("Retry-After"), resp.Header.Get("Location"))
	}
	if got := resp.Header.Values("Set-Cookie"); len(got) != 0 {
		b.T.Errorf("Set-Cookie %q", got)
	}
	if got := b.AS.Count(authagenttest.PathToken) + b.BackChannel(); got != 0 {
		b.T.Errorf("%d back-channel requests, want none", got)
	}
}

// TestMetadataRefused: metadata that is not the issuer's, that points elsewhere
// or that rules PKCE out starts no login.
func TestMetadataRefused(t *testing.T) {
	evil := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("EVIL was asked for %s", r.URL)
	}))
	defer evil.Close()
	type body = map[string]any
	set := func(name string, value any) func(b *bench, m body) {
		return func(_ *bench, m body) { m[name] = value }
	}
	for _, test := range []struct {
		name   string
		change func(b *bench, m body)
	}{
		{"CFG-4 trailing slash", func(b *bench, m body) { m["issuer"] = b.AS.URL + "/" }},
		{"CFG-4 upper case", func(b *bench, m body) { m["issuer"] = strings.ToUpper(b.AS.URL) }},
		{"CFG-4 default port and path", func(b *bench, m body) { m["issuer"] = b.AS.URL + "/." }},
		{"CFG-4 other host", set("issuer", "https://evil.example")},
		{"CFG-4 missing", func(_ *bench, m body) { delete(m, "issuer") }},
		{"CFG-4 empty", set("issuer", "")},
		{"CFG-4 null", set("issuer", nil)},
		{"CFG-4 list", func(b *bench, m body) { m["issuer"] = []string{b.AS.URL} }},

		{"CFG-6 token other host", set("token_endpoint", evil.URL+"/token")},
		{"CFG-6 token plain http", func(b *bench, m body) {
			m["token_endpoint"] = "http" + strings.TrimPrefix(b.AS.URL, "https") + "/token"
		}},
		{"CFG-6 token other port", func(b *bench, m body) { m["token_endpoint"] = "https://127.0.0.1:1/token" }},
		{"CFG-6 token metadata service", set("token_endpoint", "https://169.254.169.254/")},
		{"CFG-6 token file", set("token_endpoint", "file:///etc/passwd")},
		{"CFG-6 token script", set("token_endpoint", "javascript:1")},
		{"CFG-6 token empty", set("token_endpoint", "")},
		{"CFG-6 token missing", func(_ *bench, m body) { delete(m, "token_endpoint") }},
		{"CFG-6 token number", set("token_endpoint", 1)},
		{"CFG-6 token with user", func(b *bench, m body) {
			m["token_endpoint"] = strings.Replace(b.AS.URL, "https://", "https://u:p@", 1) + "/token"
		}},
		{"CFG-6 token issuer as user", func(b *bench, m body) { m["token_endpoint"] = b.AS.URL + "@evil.example/token" }},
		{"CFG-6 token issuer as prefix", func(b *bench, m body) { m["token_endpoint"] = b.AS.URL + ".evil.example/token" }},
		{"CFG-6 token relative", set("token_endpoint", "/token")},
		{"CFG-6 authorization missing", func(_ *bench, m body) { delete(m, "authorization_endpoint") }},
		{"CFG-6 authorization other host", set("authorization_endpoint", evil.URL+"/authorize")},
		{"CFG-6 authorization script", set("authorization_endpoint", "javascript:1")},
		{"CFG-6 userinfo other host", set("userinfo_endpoint", evil.URL+"/userinfo")},
		{"CFG-6 introspection other host", set("introspection_endpoint", evil.URL+"/introspect")},
		{"CFG-6 revocation other host", set("revocation_endpoint", evil.URL+"/revoke")},
		{"CFG-6 jwks other host", set("jwks_uri", evil.URL+"/jwks")},

		{"CFG-7 plain only", set("code_challenge_methods_supported", []string{"plain"})},
		{"CFG-7 none", set("code_challenge_methods_supported", []string{})},
		{"CFG-7 other case", set("code_challenge_methods_supported", []string{"s256"})},
		{"CFG-7 text", set("code_challenge_methods_supported", "S256")},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.Rewrite(func(m body) { test.change(b, m) }))
			b.notReady(b.Get(b.Browser(), "/auth/agent/login"))
		})
	}
}

// TestMetadataTaken are the counterparts of TestMetadataRefused.
func TestMetadataTaken(t *testing.T) {
	type body = map[string]any
	for _, test := range []struct {
		name   string
		change func(m body)
	}{
		{"CFG-7 methods absent", func(m body) { delete(m, "code_challenge_methods_supported") }},
		{"CFG-7 S256 among others", func(m body) { m["code_challenge_methods_supported"] = []string{"plain", "S256"} }},
		{"CFG-6 no optional endpoint", func(m body) {
			delete(m, "revocation_endpoint")
			delete(m, "introspection_endpoint")
			delete(m, "jwks_uri")
		}},
		{"CFG-4 further members", func(m body) { m["issuer_of_old"] = "https://evil.example" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.Rewrite(test.change))
			c := b.Browser()
			location := b.Begin(c, "")
			q := mustParse(t, location).Query()
			if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 {
				t.Errorf("Location %q", location)
			}
			b.MustSignIn(c, b.Agent)
		})
	}
}

// TestEndpointOrigins: CFG-6. An origin that the site allows is used, and no other.
func TestEndpointOrigins(t *testing.T) {
	var as *authagenttest.Server
	hits := &testsite.Counter{}
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add()
		as.ServeHTTP(w, r)
	}))
	defer other.Close()
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint("CFG-6 allowed ", allowed), func(t *testing.T) {
			before := hits.Count()
			b := newBench(t, func(b *bench, c *authagent.Config) {
				as = b.AS
				if allowed {
					c.Provider.EndpointOrigins = []string{other.URL}
				} else {
					c.Provider.EndpointOrigins = []string{"https://login.example"}
				}
			})
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint", other.URL+authagenttest.PathToken))
			if !allowed {
				b.notReady(b.Get(b.Browser(), "/auth/agent/login"))
			} else {
				b.MustSignIn(b.Browser(), b.Agent)
			}
			if got := hits.Count() - before; (got > 0) != allowed {
				t.Errorf("%d requests to the other origin", got)
			}
		})
	}
}

// recordingTransport answers everything by next, and remembers the addresses.
type recordingTransport struct {
	mu   sync.Mutex
	urls []string
	next http.RoundTripper
}

func (r *recordingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.urls = append(r.urls, req.Method+" "+req.URL.String())
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// TestWellKnown: CFG-5.
func TestWellKnown(t *testing.T) {
	for _, test := range []struct{ issuer, oauth, openID string }{
		{"https://as.example", "https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"},
		{"https://as.example/", "https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"},
		{"https://as.example/tenant1", "https://as.example/.well-known/oauth-authorization-server/tenant1", "https://as.example/tenant1/.well-known/openid-configuration"},
		{"https://as.example/a/b", "https://as.example/.well-known/oauth-authorization-server/a/b", "https://as.example/a/b/.well-known/openid-configuration"},
		{"https://as.example/a%2Fb", "https://as.example/.well-known/oauth-authorization-server/a%2Fb", "https://as.example/a%2Fb/.well-known/openid-configuration"},
		{"https://as.example:8443/t", "https://as.example:8443/.well-known/oauth-authorization-server/t", "https://as.example:8443/t/.well-known/openid-configuration"},
	} {
		for _, which := range []string{"oauth", "openID", "neither"} {
			t.Run("CFG-5 "+test.issuer+" "+which, func(t *testing.T) {
				host := mustParse(t, test.issuer).Host
				document := fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"https://%s/x/authorize","token_endpoint":"https://%s/x/token"}`,
					test.issuer, host, host)
				transport := &recordingTransport{next: authagenttest.Hosts{
					host: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						at := "https://" + host + r.URL.EscapedPath()
						if which == "oauth" && at == test.oauth || which == "openID" && at == test.openID {
							w.Header().Set("Content-Type", "application/json")
							fmt.Fprint(w, document)
							return
						}
						http.NotFound(w, r)
					}),
				}}
				c := validConfig()
				c.Issuer, c.Provider.TokenEncoding, c.Provider.HTTPClient = test.issuer, "application/json", &http.Client{Transport: transport}
				rp, err := authagent.New(c)
				if err != nil {
					t.Fatal(err)
				}
				location, err := authorizationURL(context.Background(), rp)
				if err != nil {
					t.Fatal(err)
				}
				want := []string{"GET " + test.oauth}
				if which != "oauth" {
					want = append(want, "GET "+test.openID)
				}
				if !slices.Equal(transport.urls, want) {
					t.Errorf("requests %q, want %q", transport.urls, want)
				}
				prefix := "https://" + host + "/x/authorize?"
				if which == "neither" {
					prefix = strings.TrimSuffix(test.issuer, "/") + "/authorize?"
				}
				if !strings.HasPrefix(location, prefix) {
					t.Errorf("Location %q, want %s", location, prefix)
				}
			})
		}
	}
}

// TestServerDown: REL-1. The site starts without its server, says so quickly,
// and recovers by itself.
func TestServerDown(t *testing.T) {
	t.Run("REL-1 New needs no network", func(t *testing.T) {
		c := validConfig()
		c.Provider.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			t.Errorf("New requests %s", r.URL)
			return nil, errors.New("down")
		})}
		if _, err := authagent.New(c); err != nil {
			t.Error(err)
		}
	})
	down := map[string]func(http.Handler) http.Handler{
		"cut": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		"500":  authagenttest.Reply(500, "application/json", `{"error":"server_error"}`),
		"503":  authagenttest.Reply(503, "text/html", `<h1>Service Unavailable</h1>`),
		"429":  authagenttest.Reply(429, "", ""),
		"junk": authagenttest.Reply(200, "application/json", `{`),
		"hang": authagenttest.Hang(),
	}
	for name, wrapper := range down {
		t.Run("REL-1 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				b.AS.Wrap(authagenttest.PathMetadata, wrapper)
				c := b.Browser()
				start := time.Now()
				b.notReady(b.Get(c, "/auth/agent/login"))
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("the first answer took %v", took)
				}
				synctest.Wait() // the look at the second address goes on without the agent
				asked := b.AS.Count("")
				start = time.Now()
				for range 100 {
					b.notReady(b.Get(c, "/auth/agent/login"))
				}
				if took := time.Since(start); took >= time.Second {
					t.Errorf("100 further answers took %v", took)
				}
				if got := b.AS.Count("") - asked; got != 0 {
					t.Errorf("%d requests while the failure was known", got)
				}
				if resp := b.Get(c, "/"); resp.StatusCode != http.StatusOK {
					t.Errorf("other page: status %d", resp.StatusCode)
				}
				b.AS.Wrap(authagenttest.PathMetadata, nil)
				time.Sleep(5 * time.Second)
				b.MustSignIn(c, b.Agent)
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestServerComesUp is REL-1 with sockets: nobody listens at first.
func TestServerComesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	as := authagenttest.NewUnstartedServer()
	as.URL = "https://" + address
	t.Cleanup(as.Close)
	b := newBenchOn(t, as, func(b *bench, c *authagent.Config) { c.Provider.HTTPClient = b.HTTP.Client() }) // it trusts both
	c := b.Browser()
	c.Transport = b.HTTP.Client().Transport
	start := time.Now()
	b.notReady(b.Get(c, "/auth/agent/login"))
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	if as.Listener, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port was taken:", err)
	}
	as.StartTLS()
	for time.Since(start) < 10*time.Second {
		if resp := b.Get(c, "/auth/agent/login"); resp.StatusCode == http.StatusSeeOther {
			b.MustSignIn(c, b.Agent)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("not recovered after ten seconds")
}

// TestMetadataOnce: REL-2. Many cold logins are one request.
func TestMetadataOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		wrapper func(http.Handler) http.Handler
		status  int
	}{
		{"REL-2 answer", func(next http.Handler) http.Handler { return slow(next) }, http.StatusSeeOther},
		{"REL-2 failure", func(http.Handler) http.Handler {
			return slow(authagenttest.Reply(500, "", "")(nil))
		}, http.StatusServiceUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Wrap(authagenttest.PathMetadata, test.wrapper)
			login := b.RP.LoginHandler()
			var all sync.WaitGroup
			for range 500 {
				all.Go(func() {
					w := httptest.NewRecorder()
					login.ServeHTTP(w, httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/login", nil))
					if w.Code != test.status {
						t.Errorf("status %d", w.Code)
					}
				})
			}
			all.Wait()
			if got := b.AS.Count(authagenttest.PathMetadata); got != 1 {
				t.Errorf("%d metadata requests, want 1", got)
			}
		})
	}
}

// slow answers late enough for all callers to meet.
func slow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond)
		next.ServeHTTP(w, r)
	})
}

// TestMetadataWaiterLeaves: REL-2. One caller that gives up takes the answer from nobody.
func TestMetadataWaiterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t)
		b.AS.Wrap(authagenttest.PathMetadata, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(2 * time.Second)
				next.ServeHTTP(w, r)
			})
		})
		impatient, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := authorizationURL(impatient, b.RP); err == nil {
				t.Error("the caller that left got an answer")
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := authorizationURL(context.Background(), b.RP); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if got := b.AS.Count(authagenttest.PathMetadata); got != 1 {
			t.Errorf("%d metadata requests, want 1", got)
		}
	})
}

// TestMetadataRefresh: REL-2. Metadata is renewed after an hour, in the
// background, and the old copy survives a renewal that fails.
func TestMetadataRefresh(t *testing.T) {
	for _, test := range []struct {
		name    string
		wrapper func(http.Handler) http.Handler
		changed bool
	}{
		{"REL-2 changed", authagenttest.Rewrite(func(m map[string]any) {
			m["authorization_endpoint"] = m["authorization_endpoint"].(string) + "?new=1"
		}), true},
		{"REL-2 500", authagenttest.Reply(500, "", ""), false},
		{"REL-2 wrong issuer", authagenttest.WithMember("issuer", "https://evil.example"), false},
		{"REL-2 other host", authagenttest.WithMember("token_endpoint", "https://evil.example/token"), false},
		{"REL-2 no S256", authagenttest.WithMember("code_challenge_methods_supported", []string{"plain"}), false},
		{"REL-2 hang", authagenttest.Hang(), false},
		{"REL-2 junk", authagenttest.Reply(200, "application/json", "[]"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				c := b.Browser()
				b.MustSignIn(c, b.Agent)
				time.Sleep(59 * time.Minute)
				b.Begin(c, "")
				if got := b.AS.Count(authagenttest.PathMetadata); got != 1 {
					t.Fatalf("%d metadata requests within an hour", got)
				}
				b.AS.Wrap(authagenttest.PathMetadata, test.wrapper)
				time.Sleep(2 * time.Minute)
				start := time.Now()
				b.Begin(c, "")
				if took := time.Since(start); took != 0 {
					t.Errorf("the login waited %v for the renewal", took)
				}
				time.Sleep(30 * time.Second) // however long it takes to fail
				if got := b.AS.Count(authagenttest.PathMetadata); got != 2 {
					t.Errorf("%d metadata requests after an hour, want 2", got)
				}
				location := b.Begin(c, "")
				if got := strings.Contains(location, "new=1"); got != test.changed {
					t.Errorf("Location %q", location)
				}
				for range 100 {
					b.Begin(c, "")
				}
				synctest.Wait()
				if got := b.AS.Count(authagenttest.PathMetadata); got > 3 {
					t.Errorf("%d metadata requests, want no more than 3", got)
				}
				b.MustSignIn(c, b.Agent)
				b.AS.Wrap(authagenttest.PathMetadata, nil)
				time.Sleep(2 * time.Hour)
				b.Begin(c, "")
				synctest.Wait()
				if got := b.Begin(c, ""); strings.Contains(got, "new=1") {
					t.Error("not renewed once the server was well")
				}
			})
		})
	}
}

// TestUnauthenticatedTraffic: REL-3.
func TestUnauthenticatedTraffic(t *testing.T) {
	for _, warm := range []bool{false, true} {
		t.Run(fmt.Sprint("REL-3 warm ", warm), func(t *testing.T) {
			b := newBench(t)
			var name string
			if warm {
				c := b.Browser()
				b.Begin(c, "")
				name = c.Jar.Cookies(mustParse(t, b.URL))[0].Name
				b.MustSignIn(c, b.Agent)
			} else {
				name = "__Host-authagent-AAAAAAAA-login-"
			}
			b.AS.Reset()
			callback := b.RP.CallbackHandler()
			for i := range 1000 {
				state := (rand.Text() + rand.Text())[:43]
				q := url.Values{"code": {rand.Text()}, "state": {state}}
				if i%5 == 0 {
					q.Set("iss", b.AS.URL)
				}
				r := httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/callback?"+q.Encode(), nil)
				if i%2 == 0 {
					prefix := name[:strings.LastIndex(name, "-login-")+len("-login-")]
					r.AddCookie(&http.Cookie{Name: prefix + state[:8], Value: rand.Text() + rand.Text() + rand.Text()})
				}
				w := httptest.NewRecorder()
				callback.ServeHTTP(w, r)
				if w.Code < 400 {
					t.Fatalf("status %d", w.Code)
				}
			}
			for _, path := range []string{"/me", "/data", "/full", "/open", "/humans"} {
				b.Get(b.Browser(), path, "Cookie", strings.TrimSuffix(name, "-login-")+"="+rand.Text())
			}
			if got := b.AS.Count(""); got != 0 {
				t.Errorf("%d requests to the server, want none", got)
			}
		})
	}
}

// TestKeysRenewed: REL-2. Published keys are renewed with the metadata, in the
// background: no sign-in waits for them, a key that was withdrawn is good for an
// hour at most, and the old ones survive a renewal that fails.
func TestKeysRenewed(t *testing.T) {
	used, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, test := range []struct {
		name    string
		renewal func(b *bench) // what the server does to its keys before the renewal
		want    problem.Reason
	}{
		{"REL-2 same keys", func(*bench) {}, ""},
		{"REL-2 key withdrawn", func(b *bench) { b.publish(other) }, problem.Reason("identity_mismatch")},
		{"REL-2 keys fail", func(b *bench) { b.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(500, "", "")) }, ""},
		{"REL-2 keys are junk", func(b *bench) {
			b.AS.Wrap(authagenttest.PathJWKS, authagenttest.Reply(200, "application/json", `{"keys":1}`))
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				b.publish(used)
				b.gives(members{"access_token": signedES256(used, nil, with(b.accessClaims(), members{"exp": time.Now().Add(24 * time.Hour).Unix()}))})
				b.MustSignIn(b.Browser(), b.Agent)
				test.renewal(b)
				time.Sleep(61 * time.Minute)
				b.Begin(b.Browser(), "")
				synctest.Wait()
				if got := b.AS.Count(authagenttest.PathJWKS); got != 2 {
					t.Errorf("%d requests for keys by the renewal, want 2", got)
				}
				resp := b.SignIn(b.Browser(), b.Agent)
				if got := resp.Reason(); got != test.want || (resp.StatusCode < 400) != (test.want == "") {
					t.Errorf("signing in ends with %d %q, want %q", resp.StatusCode, got, test.want)
				}
				if got := b.AS.Count(authagenttest.PathJWKS); test.want == "" && got != 2 {
					t.Errorf("a sign-in asked for keys")
				}
			})
		})
	}
}
