package requirements_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
)

// A registrar stands in front of a token endpoint that reads forms, and refuses
// clients that prove themselves in another way than they are registered for.
type registrar struct {
	method    string // "client_secret_basic" or "client_secret_post"
	refusal   string // the error code; the default is invalid_client
	codeFirst bool   // looks at a code before the client, as zitadel's library does
	noRefresh bool   // and has no refresh tokens

	refused atomic.Int32
	broken  atomic.Bool
}

func (g *registrar) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		method := "client_secret_post"
		if _, _, ok := r.BasicAuth(); ok {
			method = "client_secret_basic"
		}
		say := func(status int, code string) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":%q}`, code)
		}
		madeUp := strings.HasPrefix(form.Get("code"), "authagent-")
		switch {
		case testsite.AsksForEncoding(body):
			next.ServeHTTP(w, r)
		case g.broken.Load():
			g.refused.Add(1)
			say(401, "invalid_client") // as a server without its database
		case g.codeFirst && madeUp:
			say(400, "invalid_grant")
		case g.noRefresh && form.Get("grant_type") == "refresh_token":
			say(400, "unsupported_grant_type")
		case method != g.method:
			g.refused.Add(1)
			if g.refusal == "" {
				say(401, "invalid_client")
			} else {
				say(400, g.refusal)
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// guard puts the registrar in front of the endpoints that know clients.
func (g *registrar) guard(as *authagenttest.Server) {
	for _, path := range []string{authagenttest.PathToken, authagenttest.PathRevoke, authagenttest.PathIntrospect} {
		as.Wrap(path, g.wrap)
	}
}

// codesSent counts the real codes that were sent, by code.
func (b *bench) codesSent() map[string]int {
	sent := map[string]int{}
	for _, r := range b.AS.Requests(authagenttest.PathToken) {
		if form, _ := url.ParseQuery(string(r.Body)); form.Has("code") && !testsite.IsProbe(r) {
			sent[form.Get("code")]++
		}
	}
	return sent
}

// TestClientAuthLearned: CAUTH-1. Where metadata offers both ways, the one that the
// client is registered for is learned with the secret and things that were made up,
// once, before a code is at stake, and holds for every endpoint.
func TestClientAuthLearned(t *testing.T) {
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		for _, test := range []struct {
			name                 string
			refusal              string
			codeFirst, noRefresh bool
		}{
			{"client first", "", false, false},
			{"unauthorized_client", "unauthorized_client", false, false},
			{"code first", "", true, false},
			{"code first, no refresh tokens", "", true, true},
		} {
			t.Run("CAUTH-1 "+method+" "+test.name, func(t *testing.T) {
				g := &registrar{method: method, refusal: test.refusal, codeFirst: test.codeFirst, noRefresh: test.noRefresh}
				as := rfcServer(t)
				g.guard(as)
				b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
				for range 3 {
					b.MustSignIn(b.Browser(), b.Agent)
				}
				refused := g.refused.Load()
				if refused > 1 {
					t.Errorf("the client was refused %d times", refused)
				}
				if sent := b.codesSent(); len(sent) != 3 || sent[""] != 0 {
					t.Errorf("codes sent: %v", sent)
				}
				for _, r := range b.AS.Requests(authagenttest.PathToken) {
					if !testsite.AsksForAuth(r.Body) {
						continue
					}
					form, _ := url.ParseQuery(string(r.Body))
					for _, name := range []string{"code", "refresh_token", "token"} {
						if v := form.Get(name); v != "" && !strings.HasPrefix(v, "authagent-probe-") {
							t.Errorf("a probe has a real %s", name)
						}
					}
					if (r.Header.Get("Authorization") != "") == form.Has("client_secret") {
						t.Errorf("a probe proves the client twice, or not at all: %s", r.Body)
					}
				}
			})
		}
	}
}

// TestClientAuthOutage: CAUTH-2. What a server answers while it is not well teaches
// nothing, and spends no code: the same callback works when it is well.
func TestClientAuthOutage(t *testing.T) {
	for name, outage := range map[string]wrapper{
		"503":              authagenttest.Reply(503, "text/html", "later"),
		"500":              authagenttest.Reply(500, "application/json", `{"error":"server_error"}`),
		"429":              authagenttest.Reply(429, "application/json", `{"error":"invalid_client"}`),
		"cut":              abort,
		"hang":             authagenttest.Hang(),
		"looks like a no":  nil,
		"503 for Basic":    onBasic(true, authagenttest.Reply(503, "", "")),
		"503 for the body": onBasic(false, authagenttest.Reply(503, "", "")),
	} {
		t.Run("CAUTH-2 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &registrar{method: "client_secret_basic"}
				b := newCluster(t, func(_ *bench, c *authagent.Config) { c.Provider.TokenEncoding = "application/x-www-form-urlencoded" })
				b.AS.Quirks = authagenttest.Quirks{}
				if g.broken.Store(outage == nil); outage == nil {
					b.AS.Wrap(authagenttest.PathToken, g.wrap)
				} else {
					b.AS.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler { return outage(g.wrap(next)) })
				}
				c := b.Browser()
				callback := b.Authorize(b.Agent, b.Begin(c, ""))
				if resp := b.Get(c, callback); resp.StatusCode < 500 || b.Me(c) != nil {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
				if sent := b.codesSent(); len(sent) != 0 {
					t.Errorf("codes sent: %v", sent)
				}
				g.broken.Store(false)
				b.AS.Wrap(authagenttest.PathToken, g.wrap)
				time.Sleep(30 * time.Second)
				if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther || b.Me(c) == nil {
					t.Errorf("the same callback later: status %d %s", resp.StatusCode, resp.Text)
				}
			})
		})
	}
}

// onBasic has mw answer the requests that prove the client by HTTP Basic, or the others.
func onBasic(basic bool, mw wrapper) wrapper {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); ok == basic {
				mw(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestClientAuthPinned: CAUTH-3. A setting pins it, whatever the metadata says, and
// nothing is asked.
func TestClientAuthPinned(t *testing.T) {
	for _, test := range []struct {
		pin    string
		says   []string
		method string
		ok     bool
	}{
		{"client_secret_basic", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic", true},
		{"client_secret_basic", []string{"client_secret_post"}, "client_secret_basic", true},
		{"client_secret_basic", []string{"private_key_jwt"}, "client_secret_basic", true},
		{"client_secret_post", []string{"client_secret_basic"}, "client_secret_post", true},
		{"client_secret_post", nil, "client_secret_post", true},
		{"client_secret_post", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic", false},
		{"", []string{"client_secret_post"}, "client_secret_post", true},
		{"", nil, "client_secret_basic", true}, // RFC 8414 section 2
	} {
		t.Run(fmt.Sprint("CAUTH-3 ", test.pin, test.says, test.method), func(t *testing.T) {
			g := &registrar{method: test.method}
			as := rfcServer(t)
			g.guard(as)
			as.Wrap(authagenttest.PathMetadata, authagenttest.Rewrite(func(m members) {
				for _, endpoint := range []string{"token", "introspection", "revocation"} {
					m[endpoint+"_endpoint_auth_methods_supported"] = test.says
				}
			}))
			b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.ClientAuth, c.Provider.Introspect = test.pin, true })
			resp := b.SignIn(b.Browser(), b.Agent)
			if (resp.StatusCode == http.StatusSeeOther) != test.ok {
				t.Errorf("status %d %s", resp.StatusCode, resp.Text)
			}
			for _, r := range b.AS.Requests(authagenttest.PathToken) {
				if testsite.AsksForAuth(r.Body) {
					t.Error("the server was asked")
				}
			}
		})
	}
	for _, bad := range []func(*authagent.Config){
		func(c *authagent.Config) { c.Provider.ClientAuth = "CLIENT_SECRET_POST" },
		func(c *authagent.Config) { c.Provider.ClientAuth = "private_key_jwt" },
		func(c *authagent.Config) {
			c.Provider.ClientAuth, c.Provider.TokenEncoding = "client_secret_basic", "application/json"
		},
	} {
		c := validConfig()
		bad(&c)
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "ClientAuth") {
			t.Errorf("CAUTH-3 %v %v: error %v", c.Provider.ClientAuth, c.Provider.TokenEncoding, err)
		}
	}
}

// TestClientAuthCheck: CAUTH-4. Check names the setting that helps where the server's
// metadata is wrong about the client, or the pin is.
func TestClientAuthCheck(t *testing.T) {
	for _, test := range []struct {
		pin    string
		says   []string
		method string
		want   string // a part of the only finding
	}{
		{"", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic", ""},
		{"", []string{"client_secret_post"}, "client_secret_basic", "Set Provider.ClientAuth to client_secret_basic"},
		{"", nil, "client_secret_post", "Set Provider.ClientAuth to client_secret_post"},
		{"client_secret_post", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic", "Set Provider.ClientAuth to client_secret_basic"},
		{"client_secret_basic", []string{"client_secret_post"}, "client_secret_basic", ""},
		{"", []string{"client_secret_post", "client_secret_basic"}, "neither", "ERROR ClientSecret"},
	} {
		t.Run(fmt.Sprint("CAUTH-4 ", test.pin, test.says, test.method), func(t *testing.T) {
			g := &registrar{method: test.method}
			as := rfcServer(t)
			g.guard(as)
			as.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("token_endpoint_auth_methods_supported", test.says))
			b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.ClientAuth = test.pin })
			findings := b.RP.Check(t.Context())
			if test.want == "" && len(findings) > 0 || test.want != "" && (len(findings) != 1 || !strings.Contains(lineOf(findings[0]), test.want)) {
				t.Errorf("findings %v, want %q", findings, test.want)
			}
		})
	}
}

// TestClientAuthRelearned_CAUTH_5: CAUTH-5. A client that is registered anew for the other
// way costs one sign-in at most; and many first sign-ins at once learn once.
func TestClientAuthRelearned_CAUTH_5(t *testing.T) {
	g := &registrar{method: "client_secret_basic"}
	as := rfcServer(t)
	g.guard(as)
	b := newBenchOn(t, as)
	var all sync.WaitGroup
	for range 10 {
		c := b.Browser()
		callback := b.Authorize(b.Agent, b.Begin(c, ""))
		all.Go(func() {
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("CAUTH-5 status %d %s", resp.StatusCode, resp.Text)
			}
		})
	}
	all.Wait()
	if n := g.refused.Load(); n != 1 {
		t.Errorf("CAUTH-5 the client was refused %d times by ten sign-ins, want 1", n)
	}
	g.method = "client_secret_post"
	b.SignIn(b.Browser(), b.Agent)
	b.MustSignIn(b.Browser(), b.Agent)
	for code, n := range b.codesSent() {
		if n != 1 {
			t.Errorf("CAUTH-5 code %s was sent %d times", code, n)
		}
	}
}

// TestBlindServer: NET-25. Servers that complain of the grant type of any request in
// which they find none are told apart from those that read JSON.
func TestBlindServer(t *testing.T) {
	isForm := func(r *http.Request) bool {
		return r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
	}
	for _, test := range []struct {
		name   string
		answer wrapper // to what is no form
		chokes bool    // on a form with a grant type that it does not know
	}{
		{"unsupported_grant_type for anything else", authagenttest.Reply(400, "application/json", `{"error":"unsupported_grant_type"}`), false},
		{"invalid_request for anything else", authagenttest.Reply(400, "application/json", `{"error":"invalid_request"}`), false},
		{"415 for anything else", authagenttest.Reply(415, "text/plain", ""), false},
		{"415 for anything else, 500 for an unknown grant type", authagenttest.Reply(415, "text/plain", ""), true},
		{"500 for anything else", authagenttest.Reply(500, "text/plain", ""), false},
		{"invalid_client for anything else", authagenttest.Reply(401, "application/json", `{"error":"invalid_client"}`), false},
	} {
		t.Run("NET-25 "+test.name, func(t *testing.T) {
			as := rfcServer(t)
			as.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					switch {
					case !isForm(r):
						test.answer(next).ServeHTTP(w, r)
					case test.chokes && bytes.Contains(body, []byte("encoding-probe")):
						w.WriteHeader(http.StatusInternalServerError)
					default:
						next.ServeHTTP(w, r)
					}
				})
			})
			b := newBenchOn(t, as, func(_ *bench, c *authagent.Config) { c.Provider.TokenEncoding = "application/x-www-form-urlencoded" })
			if findings := b.RP.Check(t.Context()); len(findings) > 0 {
				t.Errorf("findings where EncodingForm is set: %v", findings)
			}
			b = newBenchOn(t, as)
			b.MustSignIn(b.Browser(), b.Agent)
			if findings := b.RP.Check(t.Context()); len(findings) > 0 {
				t.Errorf("findings: %v", findings)
			}
		})
	}
	// The other way about: a server that reads JSON, and finds no grant type in a form.
	as := quickServer(t)
	as.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isForm(r) {
				authagenttest.Reply(400, "application/json", `{"error":"unsupported_grant_type"}`)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	b := newBenchOn(t, as)
	b.MustSignIn(b.Browser(), b.Agent)
}
