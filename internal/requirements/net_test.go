package requirements_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

type wrapper = func(http.Handler) http.Handler

// onCode has mw answer the requests that carry a code, and no others.
func onCode(mw wrapper) wrapper { return onGrant("authorization_code", mw) }

func onGrant(grant string, mw wrapper) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte(grant)) && !testsite.AsksForEncoding(body) && !testsite.AsksForAuth(body) {
				mw(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// grants counts the token requests of one grant type.
func (b *bench) grants(grant string) (n int) {
	for _, r := range b.AS.Requests(authagenttest.PathToken) {
		if bytes.Contains(r.Body, []byte(grant)) && !testsite.IsProbe(r) {
			n++
		}
	}
	return n
}

// abort takes the request and closes the connection without a word.
func abort(http.Handler) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// newEvil is a server that must not be asked anything. It answers every
// request with whatever may be wanted.
func newEvil(t testing.TB) (*httptest.Server, *testsite.Counter) {
	hits := &testsite.Counter{}
	evil := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"evil","token_type":"Bearer","sub":"agent_alice","email":"alice@example.com",`+
			`"active":true,"client_id":"site","keys":[]}`)
	}))
	t.Cleanup(evil.Close)
	return evil, hits
}

// TestBackChannelRequests_NET_1: NET-1. Credentials go into the body, once, and
// nothing goes into the address.
func TestBackChannelRequests_NET_1(t *testing.T) {
	endpoints := map[string][]string{
		authagenttest.PathToken:      {"client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri"},
		authagenttest.PathIntrospect: {"client_id", "client_secret", "token", "token_type_hint"},
		authagenttest.PathRevoke:     {"client_id", "client_secret", "token", "token_type_hint"},
	}
	for _, test := range []struct {
		name        string
		server      func(testing.TB) *authagenttest.Server
		methods     []string
		contentType string
		basic       bool
	}{
		{"JSON", quickServer, nil, "application/json", false},
		{"form", rfcServer, []string{"client_secret_post"}, "application/x-www-form-urlencoded", false},
		{"form, both methods", rfcServer, []string{"client_secret_basic", "client_secret_post"}, "application/x-www-form-urlencoded", false},
		{"form, basic", rfcServer, []string{"client_secret_basic"}, "application/x-www-form-urlencoded", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			as := test.server(t)
			as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.AuthMethods = test.methods })
			b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.Introspect, c.Tokens.Store = true, &memstore.Tokens{} })
			c := b.Browser()
			b.MustSignIn(c, b.Agent)
			b.Do(c, http.MethodPost, "/auth/agent/logout")
			for path, keys := range endpoints {
				requests := slices.DeleteFunc(b.AS.Requests(path), testsite.IsProbe)
				if len(requests) != 1 {
					t.Fatalf("%s: %d requests, want 1", path, len(requests))
				}
				r := requests[0]
				if test.basic {
					keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return strings.HasPrefix(k, "client_") })
				}
				if got := bodyKeys(t, r.Body); !slices.Equal(got, keys) {
					t.Errorf("%s: members %q, want %q", path, got, keys)
				}
				if got := r.Header.Get("Content-Type"); r.Method != http.MethodPost || got != test.contentType || r.URL.RawQuery != "" {
					t.Errorf("%s: %s, Content-Type %q, query %q", path, r.Method, got, r.URL.RawQuery)
				}
				if got := r.Header.Get("Authorization"); (got != "") != test.basic {
					t.Errorf("%s: Authorization %q", path, got)
				}
			}
		})
	}
}

// TestAuthenticationPerEndpoint_NET_1: NET-1. What the metadata says of one endpoint
// holds there, and at an endpoint of which it says nothing, what holds at the
// token endpoint does.
func TestAuthenticationPerEndpoint_NET_1(t *testing.T) {
	as := rfcServer(t)
	as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
		f.AuthMethods = []string{"client_secret_post", "client_secret_basic"}
	})
	as.Wrap(authagenttest.PathMetadata, rewrite(members{
		"token_endpoint_auth_methods_supported":         []string{"client_secret_post"},
		"introspection_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		"revocation_endpoint_auth_methods_supported":    nil,
	}))
	b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.Introspect, c.Tokens.Store = true, &memstore.Tokens{} })
	c := b.Browser()
	b.MustSignIn(c, b.Agent)
	b.Do(c, http.MethodPost, "/auth/agent/logout")
	for path, basic := range map[string]bool{
		authagenttest.PathToken: false, authagenttest.PathIntrospect: true, authagenttest.PathRevoke: false,
	} {
		requests := b.AS.Requests(path)
		last := requests[len(requests)-1]
		if got := last.Header.Get("Authorization") != ""; got != basic || bytes.Contains(last.Body, []byte("client_secret")) == basic {
			t.Errorf("%s: HTTP Basic %v, want %v; body %s", path, got, basic, last.Body)
		}
	}
}

func bodyKeys(t testing.TB, body []byte) (keys []string) {
	t.Helper()
	members := map[string]any{}
	if json.Unmarshal(body, &members) != nil {
		values, err := url.ParseQuery(string(body))
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			members[name] = nil
		}
	}
	for name := range members {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}

// TestCodeIsSentOnce_NET_2: NET-2. Whatever the answer, a code is sent once, and a
// later sign-in is not affected.
func TestCodeIsSentOnce_NET_2(t *testing.T) {
	oauthError := func(status int, code string) wrapper {
		return authagenttest.Reply(status, "application/json", `{"error":"`+code+`"}`)
	}
	for _, server := range []struct {
		name  string
		start func(testing.TB) *authagenttest.Server
	}{{"JSON", quickServer}, {"form", rfcServer}} {
		b := newBenchOn(t, server.start(t), func(_ *bench, c *authagent.Config) { c.Provider.HTTPClient.Timeout = time.Second })
		for _, test := range []struct {
			name   string
			mw     wrapper
			status int
			reason problem.Reason
		}{
			{"401", oauthError(401, "invalid_client"), 502, problem.Reason("client_refused")},
			{"400 invalid_grant", oauthError(400, "invalid_grant"), 400, problem.Reason("code_refused")},
			{"400 invalid_request", oauthError(400, "invalid_request"), 400, problem.Reason("token_refused")},
			{"400 unsupported_grant_type", oauthError(400, "unsupported_grant_type"), 400, problem.Reason("token_refused")},
			{"415", authagenttest.Reply(415, "text/plain", ""), 400, problem.Reason("token_refused")},
			{"429", oauthError(429, "temporarily_unavailable"), 502, problem.Reason("server_unavailable")},
			{"500", oauthError(500, "server_error"), 502, problem.Reason("server_unavailable")},
			{"503", authagenttest.Reply(503, "text/html", "<p>"), 502, problem.Reason("server_unavailable")},
			{"200 HTML", authagenttest.Reply(200, "text/html", "<p>"), 502, problem.Reason("invalid_response")},
			{"307", authagenttest.RedirectTo(307, b.AS.URL+authagenttest.PathToken), 502, problem.Reason("invalid_response")},
			{"closed", abort, 502, problem.Reason("server_unavailable")},
			{"cut after the code was used", authagenttest.Cut(), 502, problem.Reason("server_unavailable")},
			{"hang", authagenttest.Hang(), 504, problem.Reason("server_timeout")},
		} {
			t.Run(server.name+"/"+test.name, func(t *testing.T) {
				b.T = t
				b.MustSignIn(b.Browser(), b.Agent) // so that a connection waits to be used again
				b.AS.Wrap(authagenttest.PathToken, onCode(test.mw))
				defer b.AS.Wrap(authagenttest.PathToken, nil)
				c := b.Browser()
				callback := b.Authorize(b.Agent, b.Begin(c, ""))
				before := b.grants("authorization_code")
				resp := b.Get(c, callback)
				if resp.StatusCode != test.status || resp.Reason() != test.reason {
					t.Errorf("status %d %s, want %d %s", resp.StatusCode, resp.Reason(), test.status, test.reason)
				}
				b.Get(c, callback)
				if n := b.grants("authorization_code") - before; n != 1 || b.Me(c) != nil {
					t.Errorf("%d requests with the code, session %v", n, b.Me(c))
				}
			})
		}
	}
}

// TestRedirectsAreNotFollowed_NET_3: NET-3, on every endpoint, with a client that
// would follow, and that is not changed.
func TestRedirectsAreNotFollowed_NET_3(t *testing.T) {
	evil, hits := newEvil(t)
	for _, endpoint := range []struct {
		name, path string
		mw         func(wrapper) wrapper
	}{
		{"token", authagenttest.PathToken, onCode},
		{"probe", authagenttest.PathToken, func(mw wrapper) wrapper { return mw }},
		{"userinfo", authagenttest.PathUserInfo, func(mw wrapper) wrapper { return mw }},
		{"introspect", authagenttest.PathIntrospect, func(mw wrapper) wrapper { return mw }},
		{"keys", authagenttest.PathJWKS, func(mw wrapper) wrapper { return mw }},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(endpoint.name, status), func(t *testing.T) {
				as := quickServer(t)
				as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens = "ES256" })
				jar, _ := cookiejar.New(nil)
				follow := func(*http.Request, []*http.Request) error { hits.Add(); return nil }
				client := &http.Client{Transport: as.Client().Transport, Jar: jar, CheckRedirect: follow, Timeout: time.Minute}
				b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.HTTPClient, c.Provider.Introspect = client, true })
				as.Wrap(endpoint.path, endpoint.mw(authagenttest.RedirectTo(status, evil.URL+"/x")))
				if resp := b.RefusedSignIn(b.Browser(), b.Agent); resp.StatusCode != 502 {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
				if client.Jar != jar || client.Timeout != time.Minute || client.CheckRedirect == nil || client.Transport != as.Client().Transport {
					t.Errorf("the site's client was changed: %+v", client)
				}
			})
		}
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("metadata", status), func(t *testing.T) {
			client := &http.Client{}
			b := newBench(t, func(b *bench, c *authagent.Config) {
				client.Transport, c.Provider.HTTPClient = c.Provider.HTTPClient.Transport, client
			})
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.RedirectTo(status, evil.URL+"/x"))
			resp := b.Get(b.Browser(), "/auth/agent/login")
			if resp.StatusCode < 500 || resp.Header.Get("Location") != "" {
				t.Errorf("status %d, Location %q", resp.StatusCode, resp.Header.Get("Location"))
			}
			if client.Jar != nil || client.Timeout != 0 || client.CheckRedirect != nil {
				t.Errorf("the site's client was changed: %+v", client)
			}
		})
		t.Run(fmt.Sprint("revoke", status), func(t *testing.T) {
			b := newBenchOn(t, quickServer(t), func(_ *bench, c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
			b.AS.Wrap(authagenttest.PathRevoke, authagenttest.RedirectTo(status, evil.URL+"/x"))
			c := b.Browser()
			b.MustSignIn(c, b.Agent)
			if resp := b.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther || b.Me(c) != nil {
				t.Errorf("logout: status %d", resp.StatusCode)
			}
			if b.AS.Count(authagenttest.PathRevoke) != 1 || !strings.Contains(b.Log.String(), `outcome="still live"`) {
				t.Errorf("%d revocations, log: %s", b.AS.Count(authagenttest.PathRevoke), b.Log)
			}
		})
	}
	if n := hits.Count(); n != 0 {
		t.Errorf("%d redirects followed", n)
	}
}

// TestServersWordsStayOut: what a server writes outside of JSON, into a Location
// or in the place of HTTP, is in no answer, event or log: it may repeat the code.
func TestServersWordsStayOut(t *testing.T) {
	raw := func(text string) wrapper {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				io.WriteString(conn, text)
				conn.Close()
			})
		}
	}
	for name, mw := range map[string]wrapper{
		"location":           authagenttest.RedirectTo(302, "https://%zz/?call555"),
		"status line":        raw("HTTP/1.1 call555\r\n\r\n"),
		"protocol":           raw("call555 call555 call555\r\n\r\n"),
		"header":             raw("HTTP/1.1 200 OK\r\ncall555\r\n\r\n"),
		"header name":        raw("HTTP/1.1 200 OK\r\nca ll555: x\r\n\r\n"),
		"length":             raw("HTTP/1.1 200 OK\r\nContent-Length: call555\r\n\r\n"),
		"transfer":           raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: call555\r\n\r\n"),
		"content type":       authagenttest.Reply(200, "call555", "{}"),
		"body":               authagenttest.Reply(200, "application/json", `{"call555":1,"call555":2}`),
		"error":              authagenttest.Reply(400, "application/json", `{"error":"call555","error_description":"call555"}`),
		"member of the type": authagenttest.Reply(200, "application/json", `{"access_token":["call555"]}`),
	} {
		for _, path := range []string{authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathJWKS} {
			t.Run(name+path, func(t *testing.T) {
				as := quickServer(t)
				as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens = "ES256" })
				b := newBenchOn(t, as)
				as.Wrap(path, mw)
				if path == authagenttest.PathToken {
					as.Wrap(path, onCode(mw))
				}
				resp := b.RefusedSignIn(b.Browser(), b.Agent)
				if all := resp.Text + fmt.Sprint(b.Events.Named(audit.LoginFailed)) + b.Log.String(); strings.Contains(all, "ll555") {
					t.Errorf("the server's words got through: %s", all)
				}
			})
		}
	}
}

// pipeNet is a network inside a bubble: addresses are served by whatever takes
// the other end of the connection.
type pipeNet map[string]func(net.Conn)

func (n pipeNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	accept := n[address]
	if accept == nil { // a host that swallows packets
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	go accept(there)
	return here, nil
}

// pipeListener is the listening end.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

// take has a connection accepted, or refuses it once the listener is closed.
func (l *pipeListener) take(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		c.Close()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// swallow takes what is sent and says nothing.
func swallow(c net.Conn) { io.Copy(io.Discard, c); c.Close() }

// TestDeadlines_NET_4: NET-4. However a server is slow, an answer is there within ten
// seconds and a bit, and nothing is left behind: a goroutine that stayed would
// make the bubble fail.
func TestDeadlines_NET_4(t *testing.T) {
	hang, trickle := authagenttest.Hang(), authagenttest.Trickle(time.Second)
	for _, test := range []struct {
		name   string
		path   string
		mw     wrapper
		change func(n pipeNet, e *provider.Endpoints)
	}{
		{"token hangs", authagenttest.PathToken, onCode(hang), nil},
		{"token trickles", authagenttest.PathToken, onCode(trickle), nil},
		{"userinfo hangs", authagenttest.PathUserInfo, hang, nil},
		{"userinfo trickles", authagenttest.PathUserInfo, trickle, nil},
		{"introspection hangs", authagenttest.PathIntrospect, hang, nil},
		{"introspection trickles", authagenttest.PathIntrospect, trickle, nil},
		{"keys hang", authagenttest.PathJWKS, hang, nil},
		{"keys trickle", authagenttest.PathJWKS, trickle, nil},
		{"probe hangs", authagenttest.PathToken, hang, nil},
		{"probe trickles", authagenttest.PathToken, trickle, nil},
		{"metadata hangs", authagenttest.PathMetadata, hang, nil},
		{"metadata trickles", authagenttest.PathMetadata, trickle, nil},
		{"userinfo never finishes TLS", "", nil, func(n pipeNet, e *provider.Endpoints) {
			e.UserInfo, n["tls.example:443"] = "https://tls.example/userinfo", swallow
		}},
		{"userinfo cannot be connected", "", nil, func(_ pipeNet, e *provider.Endpoints) { e.UserInfo = "https://dead.example/" }},
		{"token endpoint never finishes TLS", "", nil, func(n pipeNet, e *provider.Endpoints) {
			e.Token, n["tls.example:443"] = "https://tls.example/token", swallow
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener, network, transport := newPipeListener(), pipeNet{}, &http.Transport{}
				transport.DialContext = network.dial
				network["127.0.0.1:9000"] = listener.take
				b := newCluster(t, func(b *bench, c *authagent.Config) {
					c.Provider.HTTPClient.Transport = transport
					c.Provider.Introspect = true
					b.AS.Quirks.SameSecondTokens = false
					b.AS.Features.SignedTokens = "ES256"
					if test.change != nil {
						test.change(network, &c.Provider.Endpoints)
					}
				})
				served := http.Server{Handler: b.AS, ErrorLog: log.New(io.Discard, "", 0)}
				go served.Serve(listener)
				defer func() {
					b.RP.Shutdown(t.Context()) // waits for what the refused sign-in has revoked
					transport.CloseIdleConnections()
					served.Close()
				}()
				b.AS.Wrap(test.path, test.mw)
				c, start := b.Browser(), time.Now()
				resp := b.Get(c, "/auth/agent/login")
				if resp.StatusCode == http.StatusSeeOther {
					callback := b.Authorize(b.Agent, resp.Header.Get("Location"))
					start = time.Now()
					resp = b.Get(c, callback)
				}
				if took := time.Since(start); took > 11*time.Second {
					t.Errorf("took %v", took)
				}
				if resp.StatusCode != 502 && resp.StatusCode != 504 && resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || b.Me(c) != nil {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
			})
		})
	}
}

// TestDeadlinesAtOnce: a server that hangs holds each of many up as long as one.
func TestDeadlinesAtOnce(t *testing.T) {
	for _, path := range []string{authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathMetadata} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t)
				b.AS.Wrap(path, authagenttest.Hang())
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						c, start := b.Browser(), time.Now()
						resp := b.Get(c, "/auth/agent/login")
						if resp.StatusCode == http.StatusSeeOther {
							callback := b.Authorize(b.Agent, resp.Header.Get("Location"))
							start = time.Now()
							resp = b.Get(c, callback)
						}
						if took := time.Since(start); took > 11*time.Second || resp.StatusCode < 500 {
							t.Errorf("status %d after %v", resp.StatusCode, took)
						}
					})
				}
				all.Wait()
			})
		})
	}
}
