package requirements_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// canaries are secrets, and everything that a site let out.
type canaries struct {
	mu   sync.Mutex
	all  map[string]string // value to what it is
	text strings.Builder
}

func (c *canaries) add(what, value string) {
	if len(value) < 12 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[value] = what
	c.all[hex.EncodeToString([]byte(value))] = what + " in hex"
	c.all[base64.RawURLEncoding.EncodeToString([]byte(value))] = what + " in base64"
}

// words adds the long words of a body: tokens, code, verifier.
func (c *canaries) words(what, text string) {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune("\"{}:,&= ", r) }) {
		if len(word) >= 30 && !strings.Contains(word, "/") && !strings.Contains(word, "encoding-probe") {
			c.add(what, word)
		}
	}
}

// url adds what an address carries.
func (c *canaries) url(address string) {
	if u, err := url.Parse(address); err == nil {
		for _, name := range []string{"code", "state", "nonce"} {
			c.add(name, u.Query().Get(name))
		}
	}
}

func (c *canaries) saw(where, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.text, "\n[%s] %s", where, text)
}

// answer notes an answer of the site. Cookies may be in Set-Cookie, and state
// and nonce in the Location of the server, and nowhere else.
func (c *canaries) answer(where string, resp *response) *response {
	header := resp.Header.Clone()
	for _, cookie := range resp.Cookies() {
		c.add("cookie "+cookie.Name, cookie.Value)
	}
	header.Del("Set-Cookie")
	c.url(header.Get("Location"))
	if strings.HasPrefix(header.Get("Location"), "https://") {
		header.Del("Location")
	}
	c.saw(where, fmt.Sprint(resp.Text, header))
	return resp
}

// tap notes the secrets that go over the back channel.
func (c *canaries) tap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathRevoke:
		default:
			next.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		c.words("sent to "+r.URL.Path, string(body))
		c.words("sent to "+r.URL.Path, r.Header.Get("Authorization"))
		next.ServeHTTP(w, r)
	})
}

const internal = "SECRET-INTERNAL-0123456789"

// badAnswers are what a server answers that fails, with text that is nobody's
// business and a token that it gives away by mistake.
var badAnswers = map[string]http.HandlerFunc{
	"500 JSON": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(500)
		io.WriteString(w, `{"error":"`+internal+`","error_description":"`+internal+`","error_uri":"https://x/`+internal+`"}`)
	},
	"400 known code": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant","error_description":"`+internal+`"}`)
	},
	"401": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="`+internal+`"`)
		w.WriteHeader(401)
		io.WriteString(w, internal)
	},
	"200 HTML":          func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>"+internal) },
	"200 bad JSON":      jsonAnswer(`{"access_token":"` + internal + `",` + internal),
	"200 repeated":      jsonAnswer(`{"` + internal + `":1,"` + internal + `":2}`),
	"200 odd types":     jsonAnswer(`{"access_token":{"` + internal + `":1},"sub":["` + internal + `"],"active":"` + internal + `","token_type":"` + internal + `"}`),
	"200 odd values":    jsonAnswer(`{"access_token":"` + internal + ` \u0000","token_type":"` + internal + `","expires_in":"` + internal + `","sub":"` + internal + `\u0000","active":true}`),
	"200 another agent": jsonAnswer(`{"access_token":"` + internal + `","token_type":"Bearer","sub":"` + internal + `","active":true,"client_id":"` + internal + `"}`),
	"200 error":         jsonAnswer(`{"error":"` + internal + `"}`),
	"302": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://evil.example/"+internal)
		w.WriteHeader(302)
	},
	"malformed status": raw("HTTP/1.1 " + internal + "\r\n\r\n"),
	"malformed header": raw("HTTP/1.1 200 OK\r\n" + `{"access_token" "` + internal + `"}` + "\r\n\r\n"),
	"malformed length": raw("HTTP/1.1 200 OK\r\nContent-Length: " + internal + "\r\n\r\n"),
	"odd encoding":     raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + internal + "\r\n\r\n"),
	"not HTTP":         raw(internal + "\r\n"),
	"malformed trailer": raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\n{}\r\n0\r\n" +
		internal + "\r\n\r\n"),
	"cut": raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"access_token\":\"" + internal),
}

func jsonAnswer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}
}

// raw writes to the connection what net/http would not.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, text)
		conn.Close()
	}
}

// TestNoSecretGetsOut_LOG_4 is LOG-1 and LOG-4: through every success and failure that
// can be had from outside, no secret is in the log at debug level, in an event,
// in an error, in a body, or in a header but the one that it is for.
func TestNoSecretGetsOut_LOG_4(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(b *bench, c *authagent.Config)
	}{
		{"FullAccount", func(*bench, *authagent.Config) {}},
		{"FreshProfile", func(b *bench, c *authagent.Config) { c.Scenario = authagent.FreshProfile(b.Profiles) }},
		{"introspection", func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true }},
		{"token key", func(b *bench, c *authagent.Config) { c.Provider.TokenKey = b.AS.JWTSecret }},
		{"OpenID Connect", func(b *bench, _ *authagent.Config) {
			b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
				*q = authagenttest.Quirks{}
				f.IDToken, f.SignedTokens, f.IssParameter = true, "RS256", true
			})
		}},
	} {
		t.Run("LOG-1 "+test.name, func(t *testing.T) {
			t.Parallel()
			c := &canaries{all: make(map[string]string)}
			c.add("the server's words", internal)
			b := newBench(t, func(b *bench, config *authagent.Config) {
				config.Tokens.Store, config.States, config.Revocations = &memstore.Tokens{}, &memstore.States{}, &memstore.Revocations{}
				if strings.HasPrefix(test.name, "F") { // the others give the package's own answers
					config.ErrorHandler = func(w http.ResponseWriter, r *http.Request, e *problem.Error) bool {
						c.saw("error", fmt.Sprintf("%v %+v %#v", e, e, e.Err))
						w.WriteHeader(e.Status())
						return true
					}
				}
				test.change(b, config)
				c.add("client secret", config.ClientSecret)
				c.add("session key", string(config.SessionKeys[0]))
				c.add("token key", string(config.Provider.TokenKey))
			})
			b.AS.Wrap("", c.tap)
			c.everything(b)
			plain := b.Config
			plain.ErrorHandler = nil
			rp, err := authagent.New(plain)
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			b.Mount(mux, rp)
			site := httptest.NewRecorder() // the pages and problems, without a socket of their own
			mux.ServeHTTP(site, httptest.NewRequest(http.MethodGet, "/auth/agent/callback?code="+internal+"&state="+internal, nil))
			c.saw("problem", fmt.Sprint(site.Body.String(), site.Header()))

			c.saw("log", b.Log.String())
			c.saw("events", fmt.Sprintf("%+v %#v", b.Events.All(), b.Events.All()))
			kinds := make(map[string]bool)
			for value, what := range c.all {
				kinds[strings.Fields(what)[0]] = true
				if i := strings.Index(c.text.String(), value); i >= 0 {
					t.Errorf("%s gets out: %s", what, c.text.String()[max(0, i-300):i+len(value)+20])
				}
			}
			if len(c.all) < 100 || !kinds["state"] || !kinds["cookie"] || !kinds["sent"] {
				t.Errorf("only %d canaries of %v", len(c.all), kinds)
			}
		})
	}
}

// everything goes through what can happen, and notes what comes of it.
func (c *canaries) everything(b *bench) {
	signIn := func(where string, agent *authagenttest.Agent) *http.Client {
		browser := b.Browser()
		begun := c.answer(where+" login", b.Get(browser, "/auth/agent/login"))
		if begun.StatusCode != http.StatusSeeOther {
			return browser
		}
		callback := b.Authorize(agent, begun.Header.Get("Location"))
		c.url(callback)
		c.answer(where+" callback", b.Get(browser, callback))
		c.answer(where+" callback again", b.Get(browser, callback))
		c.answer(where+" callback elsewhere", b.Get(b.Browser(), callback))
		return browser
	}
	n := 0
	fresh := func() *authagenttest.Agent { // another agent each time, so that no two tokens are the same
		n++
		return b.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprintf("agent_%d", n), Email: "alice@example.com"})
	}
	in := signIn("success", fresh())
	for _, path := range []string{"/me", "/data", "/full", "/open", "/humans"} {
		c.answer(path, b.Get(in, path))
		c.answer(path, b.Do(in, http.MethodPost, path))
		c.answer(path, b.Get(b.Browser(), path, "Accept", page))
	}
	c.answer("logout", b.Do(in, http.MethodPost, "/auth/agent/logout"))
	signIn("no account", b.AS.AddAgent(authagenttest.Agent{Email: "nobody@example.com"}))

	for _, query := range []string{"", "?code=" + internal, "?state=" + internal + "&code=" + internal, "?error=" + internal + "&state=" + internal, "?code=a&code=" + internal} {
		c.answer("callback"+query[:min(1, len(query))], b.Get(b.Browser(), "/auth/agent/callback"+query))
	}
	c.answer("bearer", b.Get(b.Browser(), "/me", "Authorization", "Bearer "+internal))
	c.answer("bad cookie", b.Get(b.Browser(), "/me", "Cookie", "__Host-authagent-x="+internal))
	for _, outage := range []authagenttest.Outage{authagenttest.OutageAll, authagenttest.OutageInserts, authagenttest.OutageUpdates} {
		browser, agent := b.Browser(), fresh()
		callback := b.Authorize(agent, b.Begin(browser, ""))
		c.url(callback)
		b.AS.Outage(outage)
		c.answer("outage", b.Get(browser, callback))
		b.AS.Outage(authagenttest.OutageNone)
	}
	for name, bad := range badAnswers {
		for _, path := range []string{
			authagenttest.PathToken, authagenttest.PathUserInfo, authagenttest.PathIntrospect, authagenttest.PathRevoke,
			authagenttest.PathJWKS, authagenttest.PathMetadata,
		} {
			if path == authagenttest.PathMetadata || path == authagenttest.PathJWKS { // they are kept: ask anew
				b.Instance("")
			}
			in := signIn("before", fresh())
			b.AS.Wrap(path, func(http.Handler) http.Handler { return bad })
			if path == authagenttest.PathMetadata {
				b.Instance("")
			}
			signIn(name+" at "+path, fresh())
			c.answer(name+" at "+path, b.Do(in, http.MethodPost, "/auth/agent/logout"))
			b.AS.Wrap(path, nil)
			if path == authagenttest.PathMetadata {
				b.Instance("")
			}
		}
	}
}
