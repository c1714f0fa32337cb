package requirements_test

import (
	"bytes"
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
	"net/url"
	"runtime"
	"runtime/debug"
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
		change func(n pipeNet, e *authagent.Endpoints)
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
		{"userinfo never finishes TLS", "", nil, func(n pipeNet, e *authagent.Endpoints) {
			e.UserInfo, n["tls.example:443"] = "https://tls.example/userinfo", swallow
		}},
		{"userinfo cannot be connected", "", nil, func(_ pipeNet, e *authagent.Endpoints) { e.UserInfo = "https://dead.example/" }},
		{"token endpoint never finishes TLS", "", nil, func(n pipeNet, e *authagent.Endpoints) {
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

// TestLongAnswers_NET_5: NET-5. An answer may have 1 MiB when it is unpacked, and one
// that is longer is refused, not cut, and costs no memory.
func TestLongAnswers_NET_5(t *testing.T) {
	padded := func(size int) wrapper {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				own := httptest.NewRecorder()
				next.ServeHTTP(own, r)
				w.Header().Set("Content-Type", "application/json")
				n, _ := own.Body.WriteTo(w)
				io.WriteString(w, strings.Repeat(" ", size-int(n)))
			})
		}
	}
	for _, test := range []struct {
		name string
		mw   wrapper
		ok   bool
	}{
		{"endless", authagenttest.Endless(), false},
		{"gzip, 10 GiB", authagenttest.GzipBomb(10 << 30), false},
		{"gzip, 1 MiB and a byte", authagenttest.GzipBomb(1<<20 + 1), false},
		{"1 MiB", padded(1 << 20), true},
		{"1 MiB and a byte", padded(1<<20 + 1), false},
		{"100 MB", padded(100e6), false},
	} {
		for _, path := range []string{authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathJWKS, authagenttest.PathMetadata} {
			if test.name == "100 MB" && path != authagenttest.PathUserInfo {
				continue // it is the server here that takes the memory
			}
			t.Run(test.name+path, func(t *testing.T) {
				as := quickServer(t)
				as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.SignedTokens = "ES256" })
				b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
				mw := test.mw
				if path == authagenttest.PathToken {
					mw = onCode(mw)
				}
				as.Wrap(path, mw)
				c := b.Browser()
				grown := heapGrowth(func() {
					resp := b.Get(c, "/auth/agent/login")
					if resp.StatusCode == http.StatusSeeOther {
						resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
					}
					if (resp.StatusCode == http.StatusSeeOther) != test.ok {
						t.Errorf("status %d %s", resp.StatusCode, resp.Text)
					}
				})
				if grown > 16<<20 && test.name != "100 MB" {
					t.Errorf("the heap grew by %d bytes", grown)
				}
			})
		}
	}
}

// heapGrowth returns by how much the heap grew, at its largest, during f.
func heapGrowth(f func()) int64 {
	// What other tests hold must not let garbage count: by default as much of it may lie about.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-watched
	return int64(most) - int64(before)
}

// TestStrictAnswers_NET_7: NET-6 and NET-7, at each endpoint that says who somebody is.
func TestStrictAnswers_NET_7(t *testing.T) {
	b, s := newSpyBench(t, full, authagent.InsecureTrustEmail, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
	b.Users.Add("victim@example.com", "Victim")
	good := map[string]string{
		authagenttest.PathToken:      `"access_token":"x","token_type":"Bearer"`,
		authagenttest.PathUserInfo:   `"sub":"agent_alice","email":"alice@example.com"`,
		authagenttest.PathIntrospect: `"active":true,"client_id":"site","sub":"agent_alice"`,
	}
	for path, members := range good {
		for _, test := range []struct{ name, contentType, body string }{
			{"HTML", "text/html", "{" + members + "}"},
			{"no type", "", "{" + members + "}"},
			{"JavaScript", "application/javascript", "{" + members + "}"},
			{"array", "application/json", "[{" + members + "}]"},
			{"null", "application/json", "null"},
			{"string", "application/json", `"x"`},
			{"empty", "application/json", ""},
			{"two objects", "application/json", "{" + members + "}{}"},
			{"something after it", "application/json", "{" + members + "}x"},
			{"byte order mark", "application/json", "\ufeff{" + members + "}"},
			{"comma", "application/json", "{" + members + ",}"},
			{"invalid UTF-8", "application/json", "{" + members + ",\"x\":\"\xff\"}"},
			{"half a surrogate", "application/json", "{" + members + `,"x":"\ud800"}`},
			{"depth", "application/json", "{" + members + `,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}"},
			{"error", "application/json", "{" + members + `,"error":"invalid_grant"}`},
			{"error null", "application/json", "{" + members + `,"error":null}`},
			{"repeated member", "application/json", "{" + members + `,"sub":"victim","sub":"victim"}`},
			{"repeated by an escape", "application/json", "{" + members + `,"\u0061":1,"a":2}`},
			{"repeated inside", "application/json", "{" + members + `,"x":{"a":1,"a":2}}`},
		} {
			t.Run(test.name+path, func(t *testing.T) {
				b.T = t
				mw := authagenttest.Reply(200, test.contentType, test.body)
				if path == authagenttest.PathToken {
					mw = onCode(mw)
				}
				b.AS.Wrap(path, mw)
				defer b.AS.Wrap(path, nil)
				s.lookups = nil
				if resp := b.RefusedSignIn(b.Browser(), b.Agent); resp.StatusCode >= 500 && resp.StatusCode != 502 || len(s.lookups) != 0 {
					t.Errorf("status %d, looked up %q", resp.StatusCode, s.lookups)
				}
			})
		}
	}
	for _, contentType := range []string{"application/json; charset=utf-8", "Application/JSON", "application/json;charset=\"UTF-8\""} {
		b.T = t
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, contentType, "{"+good[authagenttest.PathUserInfo]+"}"))
		b.MustSignIn(b.Browser(), b.Agent)
	}
	for _, status := range []int{201, 203, 204, 206, 400, 403, 404} { // the right answer with the wrong status
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(status, "application/json", "{"+good[authagenttest.PathUserInfo]+"}"))
		b.RefusedSignIn(b.Browser(), b.Agent)
	}
	for _, body := range []string{ // NET-7: never the victim
		`{"sub":"agent_alice","Sub":"victim","email":"alice@example.com","Email":"victim@example.com","EMAIL":"victim@example.com"}`,
		`{"Sub":"victim","sub":"agent_alice","Email":"victim@example.com","email":"alice@example.com"}`,
		`{"sub":"agent_alice","email":"alice@example.com","e\u006dail ":"victim@example.com","ſub":"victim"}`,
	} {
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, "application/json", body))
		if got := b.MustSignIn(b.Browser(), b.Agent); got.UserID != b.AliceID || got.Agent.ID != "agent_alice" {
			t.Errorf("%s: %+v", body, got)
		}
	}
	for _, body := range []string{
		`{"sub":"agent_alice","email":"alice@example.com","email":"victim@example.com"}`,
		`{"sub":"agent_alice","email":"alice@example.com","\u0065mail":"victim@example.com"}`,
		`{"sub":"victim","sub":"agent_alice","email":"victim@example.com"}`,
		`{"Sub":"agent_alice","Email":"victim@example.com"}`,
	} {
		b.AS.Wrap(authagenttest.PathUserInfo, authagenttest.Reply(200, "application/json", body))
		b.RefusedSignIn(b.Browser(), b.Agent)
	}
}

// TestTokenAnswers_NET_8_NET_26: NET-8, NET-9, and NET-26, what a refresh token may have.
func TestTokenAnswers_NET_8_NET_26(t *testing.T) {
	b := newBenchOn(t, quickServer(t))
	try := func(name string, value any, ok bool) {
		t.Helper()
		mw := authagenttest.WithMember(name, value)
		if value == "absent" {
			mw = authagenttest.WithoutMember(name)
		}
		b.AS.Wrap(authagenttest.PathToken, onCode(mw))
		if ok {
			s := b.MustSignIn(b.Browser(), b.Agent)
			if left := time.Until(s.ExpiresAt); left > 12*time.Hour || left < 11*time.Hour {
				t.Errorf("%s %v: the session lasts %v", name, value, left)
			}
			return
		}
		before := b.AS.Count(authagenttest.PathUserInfo)
		b.RefusedSignIn(b.Browser(), b.Agent)
		if n := b.AS.Count(authagenttest.PathUserInfo) - before; n != 0 {
			t.Errorf("%s %.40v: %d userinfo requests", name, value, n)
		}
	}
	for _, token := range []any{
		"absent", nil, "", 1, true, []string{"x"}, "a\r\nX-Evil: 1", "a b", "a\tb", "ä", "a,b", `a"b`, "\x00", "a!b", strings.Repeat("a", 16<<10+1),
	} {
		try("access_token", token, false)
	}
	for _, refresh := range []any{"a b", "a\n", "a\x7f", "\u00e4", 1, strings.Repeat("a", 16<<10+1)} {
		try("refresh_token", refresh, false)
	}
	// NET-26, NET-27: what some servers do give.
	visible := ""
	for c := byte('!'); c <= '~'; c++ {
		visible += string(c)
	}
	for _, refresh := range []string{"1//!*$", visible, strings.Repeat("!", 5000), strings.Repeat("~", 16<<10)} {
		try("refresh_token", refresh, true)
	}
	try("refresh_token", "absent", true)
	for _, kind := range []any{"absent", nil, "", "DPoP", "mac", "Bearer ", "Bearer,mac", 1, []string{"Bearer"}} {
		try("token_type", kind, false)
	}
	for _, kind := range []any{"bEARER", "bearer", "BEARER"} {
		before := len(b.AS.Requests(authagenttest.PathUserInfo))
		try("token_type", kind, true)
		for _, r := range b.AS.Requests(authagenttest.PathUserInfo)[before:] {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
				t.Errorf("%v: %q", kind, r.Header.Get("Authorization"))
			}
		}
	}
	for _, lifetime := range []any{
		"absent", nil, "3600", 3600.5, 0, -1, "-1", json.Number("1e30"), json.Number("1e999"), json.Number("-1e999"),
		json.Number("9223372036854775807"), json.Number("9223372036854775808"), json.Number("1e-9"),
	} {
		try("expires_in", lifetime, true)
	}
	for _, lifetime := range []any{"", "soon", "1h", " 1", true, []int{1}} {
		try("expires_in", lifetime, false)
	}
	try("anything_else", map[string]any{"access_token": "x"}, true)
}

// TestLongAccessToken_NET_27: NET-27. An access token of 16 KiB, full of roles, signs in, is
// kept, refreshed and sent on.
func TestLongAccessToken_NET_27(t *testing.T) {
	roles := make([]string, 900)
	for i := range roles {
		roles[i] = fmt.Sprintf("role-%05d", i)
	}
	as := quickServer(t)
	b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Tokens.Store = &memstore.Tokens{} })
	long := signedHS256(testsite.NewKey(), nil, with(b.accessClaims(), members{"roles": roles}))
	long = long[:strings.LastIndexByte(long, '.')+1] + strings.Repeat("A", 16<<10-strings.LastIndexByte(long, '.')-1)
	if len(long) != 16<<10 {
		t.Fatalf("the token has %d bytes", len(long))
	}
	b.says(members{"sub": "agent_alice", "email": "alice@example.com"})
	b.gives(members{"access_token": long, "refresh_token": strings.Repeat("!", 16<<10)})
	s := b.MustSignIn(b.Browser(), b.Agent)
	token, err := b.RP.TokenSource(t.Context(), s).Token()
	if err != nil || token.AccessToken != long {
		t.Errorf("kept: %v", err)
	}
	for _, r := range as.Requests(authagenttest.PathUserInfo) {
		if r.Header.Get("Authorization") != "Bearer "+long {
			t.Error("userinfo was asked with another token")
		}
	}
}

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
