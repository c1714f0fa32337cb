package requirements_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
)

// noLogin checks that a response began no login.
func noLogin(t *testing.T, resp *response) {
	t.Helper()
	if got := resp.Header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("Set-Cookie %q", got)
	}
	if got := resp.Header.Get("Location"); got != "" {
		t.Errorf("Location %q", got)
	}
	if resp.StatusCode < 400 {
		t.Errorf("status %d, want a refusal", resp.StatusCode)
	}
}

// checkAuthorization checks an authorization request against the settings, and
// returns its query without what checkAuthorization knows.
func (b *bench) checkAuthorization(t *testing.T, location, scope string) url.Values {
	t.Helper()
	u := mustParse(t, location)
	if got, want := u.Scheme+"://"+u.Host+u.Path, b.AS.URL+authagenttest.PathAuthorize; got != want {
		t.Errorf("endpoint %q, want %q", got, want)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatalf("query %q: %v", u.RawQuery, err)
	}
	for name, want := range map[string]string{
		"response_type": "code", "client_id": b.Config.ClientID, "redirect_uri": b.Config.RedirectURL,
		"scope": scope, "code_challenge_method": "S256",
	} {
		if got := q[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s = %q, want %q once", name, got, want)
		}
		q.Del(name)
	}
	if got := q["state"]; len(got) != 1 || !stateShape.MatchString(got[0]) {
		t.Errorf("state = %q", got)
	}
	if got := q["code_challenge"]; len(got) != 1 || !challengeShape.MatchString(got[0]) {
		t.Errorf("code_challenge = %q", got)
	}
	if got := q["nonce"]; strings.Contains(scope, "openid") && (len(got) != 1 || !stateShape.MatchString(got[0])) {
		t.Errorf("nonce = %q", got)
	} else if strings.Contains(scope, "openid") {
		q.Del("nonce")
	}
	q.Del("state")
	q.Del("code_challenge")
	if strings.Contains(location, b.Config.ClientSecret) {
		t.Error("the client secret is in the URL")
	}
	for _, name := range []string{"client_secret", "code_verifier", "access_token", "id_token"} {
		if q.Has(name) {
			t.Errorf("%s is in the URL", name)
		}
	}
	return q
}

var (
	stateShape     = regexp.MustCompile(`^[A-Za-z0-9_-]{22,128}$`)
	challengeShape = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	verifierShape  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
)

// TestAuthorizationRequest: REQ-1.
func TestAuthorizationRequest(t *testing.T) {
	for _, test := range []struct {
		name, method, query string
		rest                url.Values
	}{
		{"REQ-1 GET", http.MethodGet, "", url.Values{}},
		{"REQ-1 POST", http.MethodPost, "", url.Values{}},
		{"REQ-1 endpoint with query", http.MethodGet, "?x=1", url.Values{"x": {"1"}}},
		{"REQ-1 endpoint with query, POST", http.MethodPost, "?x=1&y=a+b", url.Values{"x": {"1"}, "y": {"a b"}}},
		{"REQ-1 endpoint with our parameters", http.MethodGet, "?x=1&state=s&client_id=c&code_challenge=d&redirect_uri=r&scope=z",
			url.Values{"x": {"1"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.WithMember("authorization_endpoint", b.AS.URL+authagenttest.PathAuthorize+test.query))
			resp := b.Do(b.Browser(), test.method, "/auth/agent/login")
			if resp.StatusCode != http.StatusSeeOther && (resp.StatusCode != http.StatusFound || test.method == http.MethodPost) {
				t.Fatalf("status %d %s", resp.StatusCode, resp.Text)
			}
			if got := b.checkAuthorization(t, resp.Header.Get("Location"), "openid profile email"); got.Encode() != test.rest.Encode() {
				t.Errorf("further parameters %v, want %v", got, test.rest)
			}
			if got := resp.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
}

// TestState_REQ_2: REQ-2.
func TestState_REQ_2(t *testing.T) {
	b := newBench(t)
	login := b.RP.LoginHandler()
	const returnTo = "/orders-of-today"
	seen := make(map[string]bool)
	var set, clear [32]byte // bits that were ever set, and ever clear
	for range 10_000 {
		w := httptest.NewRecorder()
		login.ServeHTTP(w, httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/login?return_to="+returnTo, nil))
		state := mustParse(t, w.Header().Get("Location")).Query().Get("state")
		decoded, err := base64.RawURLEncoding.DecodeString(state)
		if !stateShape.MatchString(state) || err != nil || len(decoded) < 16 {
			t.Fatalf("state %q", state)
		}
		if seen[state] {
			t.Fatalf("state %q twice", state)
		}
		seen[state] = true
		for _, readable := range []string{state, string(decoded)} {
			if strings.Contains(readable, "orders") {
				t.Fatalf("state %q can be read", state)
			}
		}
		for i := range set {
			set[i] |= decoded[i]
			clear[i] |= ^decoded[i]
		}
	}
	for i := range set {
		if set[i] != 0xff || clear[i] != 0xff {
			t.Errorf("byte %d of the state has constant bits", i)
		}
	}
}

// TestVerifier: REQ-3. The server computes the challenge itself.
func TestVerifier(t *testing.T) {
	b := newBench(t)
	t.Run("REQ-3 at the server", func(t *testing.T) {
		n := 1000
		if testing.Short() {
			n = 50
		}
		challenges := make(map[string]bool)
		for i := range n {
			c := b.Browser()
			agent := b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"}) // so that no two tokens are alike
			location := b.Begin(c, "")
			callback := b.Authorize(agent, location)
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("login %d: status %d %s", i, resp.StatusCode, resp.Text)
			}
			challenges[mustParse(t, location).Query().Get("code_challenge")] = true
			c.CloseIdleConnections()
		}
		verifiers := make(map[string]bool)
		for _, r := range b.AS.Requests(authagenttest.PathToken) {
			var body map[string]string
			if json.Unmarshal(r.Body, &body); body["code_verifier"] == "" {
				continue
			}
			verifier := body["code_verifier"]
			sum := sha256.Sum256([]byte(verifier))
			if !verifierShape.MatchString(verifier) || verifiers[verifier] || !challenges[base64.RawURLEncoding.EncodeToString(sum[:])] {
				t.Fatalf("verifier %q", verifier)
			}
			verifiers[verifier] = true
		}
		if len(verifiers) != n || len(challenges) != n {
			t.Errorf("%d verifiers and %d challenges in %d logins", len(verifiers), len(challenges), n)
		}
	})
}

// TestLoginIgnoresRequest: REQ-4. Nothing of the request gets into the
// authorization request.
func TestLoginIgnoresRequest(t *testing.T) {
	const evil = "?state=fixed&code_challenge=x&code_challenge_method=plain&redirect_uri=https://evil.example/cb" +
		"&client_id=x&scope=admin&issuer=https://evil.example&response_type=token&nonce=n&prompt=none"
	for _, test := range []struct {
		name, query string
		header      []string
	}{
		{"REQ-4 query", evil, nil},
		{"REQ-4 Host", "", []string{"Host", "evil.example"}},
		{"REQ-4 X-Forwarded-Host", "", []string{"X-Forwarded-Host", "evil.example"}},
		{"REQ-4 X-Forwarded-Proto", "", []string{"X-Forwarded-Proto", "http"}},
		{"REQ-4 X-Forwarded-Prefix", "", []string{"X-Forwarded-Prefix", "/evil"}},
		{"REQ-4 Forwarded", "", []string{"Forwarded", "host=evil.example;proto=http"}},
		{"REQ-4 all", evil, []string{
			"Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http",
			"Forwarded", "host=evil.example;proto=http", "X-Original-URL", "/evil",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			r := httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/login"+test.query, nil)
			for i := 0; i < len(test.header); i += 2 {
				if test.header[i] == "Host" {
					r.Host = test.header[i+1]
				}
				r.Header.Set(test.header[i], test.header[i+1])
			}
			w := httptest.NewRecorder()
			b.RP.LoginHandler().ServeHTTP(w, r)
			if w.Code != http.StatusSeeOther {
				t.Fatalf("status %d %s", w.Code, w.Body)
			}
			location := w.Header().Get("Location")
			if rest := b.checkAuthorization(t, location, "openid profile email"); len(rest) != 0 {
				t.Errorf("further parameters %v", rest)
			}
			if strings.Contains(location, "evil") || strings.Contains(mustParse(t, location).Query().Get("state"), "fixed") {
				t.Errorf("Location %q", location)
			}
			cookies := w.Result().Cookies()
			if len(cookies) != 1 {
				t.Fatalf("cookies %v", cookies)
			}
			if c := cookies[0]; !c.Secure || !c.HttpOnly || c.Domain != "" || c.Path != "/" || !strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("cookie %v", c)
			}
		})
	}
}

// TestScopes: REQ-5.
func TestScopes(t *testing.T) {
	for _, test := range []struct {
		name     string
		scenario func(b *bench) authagent.Scenario
		scopes   []string
		want     string
	}{
		{"REQ-5 FullAccount", func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) }, nil, "openid profile email"},
		{"REQ-5 ContextualProfile", func(b *bench) authagent.Scenario {
			return authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
		}, nil, "openid profile email"},
		{"REQ-5 FreshProfile", func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) }, nil, "profile"},
		{"REQ-5 set by hand", func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) }, []string{"profile", "orders:read"}, "profile orders:read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(b *bench, c *authagent.Config) { c.Scenario, c.Provider.Scopes = test.scenario(b), test.scopes })
			if rest := b.checkAuthorization(t, b.Begin(b.Browser(), ""), test.want); len(rest) != 0 {
				t.Errorf("further parameters %v", rest)
			}
		})
	}
}

// TestLoginMethods: REQ-6 and the methods of REQ-7.
func TestLoginMethods(t *testing.T) {
	for _, test := range []struct {
		name, method string
		post         bool // Config.RequirePOST
		header       []string
		want         int
		allow        string
	}{
		{"REQ-6 GET", http.MethodGet, false, nil, 303, ""},
		{"REQ-6 POST", http.MethodPost, false, nil, 303, ""},
		{"REQ-6 HEAD", http.MethodHead, false, nil, 405, "GET, POST"},
		{"REQ-6 OPTIONS", http.MethodOptions, false, nil, 405, "GET, POST"},
		{"REQ-6 PUT", http.MethodPut, false, nil, 405, "GET, POST"},
		{"REQ-6 DELETE", http.MethodDelete, false, nil, 405, "GET, POST"},
		{"REQ-6 PATCH", http.MethodPatch, false, nil, 405, "GET, POST"},
		{"REQ-6 TRACE", http.MethodTrace, false, nil, 405, "GET, POST"},
		{"REQ-6 unknown", "BREW", false, nil, 405, "GET, POST"},
		{"REQ-6 lower case", "get", false, nil, 405, "GET, POST"},
		{"REQ-6 overridden", http.MethodPut, false, []string{"X-HTTP-Method-Override", "GET"}, 405, "GET, POST"},
		{"REQ-7 cross-site POST", http.MethodPost, false, []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"REQ-7 RequirePOST GET", http.MethodGet, true, nil, 405, "POST"},
		{"REQ-7 RequirePOST HEAD", http.MethodHead, true, nil, 405, "POST"},
		{"REQ-7 RequirePOST POST by a program", http.MethodPost, true, nil, 303, ""},
		{"REQ-7 RequirePOST POST same-origin", http.MethodPost, true, []string{"Sec-Fetch-Site", "same-origin"}, 303, ""},
		{"REQ-7 RequirePOST POST cross-site", http.MethodPost, true, []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"REQ-7 RequirePOST POST same-site", http.MethodPost, true, []string{"Sec-Fetch-Site", "same-site"}, 403, ""},
		{"REQ-7 RequirePOST POST foreign Origin", http.MethodPost, true, []string{"Origin", "https://evil.example"}, 403, ""},
		{"REQ-7 RequirePOST POST null Origin", http.MethodPost, true, []string{"Origin", "null"}, 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(_ *bench, c *authagent.Config) { c.RequirePOST = test.post })
			resp := b.Do(b.Browser(), test.method, "/auth/agent/login", test.header...)
			if resp.StatusCode != test.want || resp.Header.Get("Allow") != test.allow {
				t.Errorf("status %d, Allow %q, want %d and %q", resp.StatusCode, resp.Header.Get("Allow"), test.want, test.allow)
			}
			if test.want >= 400 {
				noLogin(t, resp)
				if got := b.AS.Count(""); got != 0 {
					t.Errorf("%d requests to the server", got)
				}
			}
		})
	}
}

// TestSpeculativeLogin: REQ-7.
func TestSpeculativeLogin(t *testing.T) {
	for _, test := range []struct {
		name   string
		header []string
		starts bool
	}{
		{"REQ-7 Sec-Purpose prefetch", []string{"Sec-Purpose", "prefetch"}, false},
		{"REQ-7 Sec-Purpose prerender", []string{"Sec-Purpose", "prefetch;prerender"}, false},
		{"REQ-7 Purpose prefetch", []string{"Purpose", "prefetch"}, false},
		{"REQ-7 prefetch same-origin", []string{"Sec-Purpose", "prefetch", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"}, false},
		{"REQ-7 image", []string{"Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, false},
		{"REQ-7 iframe", []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, false},
		{"REQ-7 fetch", []string{"Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, false},
		{"REQ-7 script", []string{"Sec-Fetch-Dest", "script", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, false},
		{"REQ-7 no Fetch Metadata", nil, true},
		{"REQ-7 typed address", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, true},
		{"REQ-7 fetch by a page of the site", []string{"Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, true},
		{"REQ-7 fetch by a neighbour", []string{"Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, false},
		{"REQ-7 link here", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"}, true},
		{"REQ-7 link elsewhere", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			resp := b.Get(b.Browser(), "/auth/agent/login", test.header...)
			if test.starts {
				if resp.StatusCode != http.StatusSeeOther {
					t.Errorf("status %d %s", resp.StatusCode, resp.Text)
				}
				return
			}
			noLogin(t, resp)
			if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("status %d", resp.StatusCode)
			}
			if len(b.Events.Named(audit.LoginStarted)) != 0 {
				t.Error("the login started")
			}
		})
	}
}

// TestPendingLogins: REQ-8. What one browser has under way fits into a header,
// and the newest login goes on.
func TestPendingLogins(t *testing.T) {
	for _, test := range []struct{ name, query string }{
		{"REQ-8 plain", ""},
		{"REQ-8 long return_to", "?return_to=/" + strings.Repeat("a", 1000)},
		{"REQ-8 longest return_to", "?return_to=/" + strings.Repeat("a", 3000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			c := b.Browser()
			var location string
			for range 60 {
				resp := b.Get(c, "/auth/agent/login"+test.query)
				for _, cookie := range resp.Header.Values("Set-Cookie") {
					if len(cookie) > 4096 {
						t.Fatalf("Set-Cookie of %d bytes", len(cookie))
					}
				}
				location = resp.Header.Get("Location")
				size := 0
				cookies := c.Jar.Cookies(mustParse(t, b.URL+"/auth/agent/callback"))
				if len(cookies) > 10 {
					t.Fatalf("%d logins under way", len(cookies))
				}
				for _, cookie := range cookies {
					size += len(cookie.Name) + len(cookie.Value) + len("=; ")
				}
				if size > 8<<10 {
					t.Fatalf("Cookie header of %d bytes", size)
				}
			}
			if resp := b.Get(c, b.Authorize(b.Agent, location)); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("the newest login: status %d %s", resp.StatusCode, resp.Text)
			}
			if b.Me(c) == nil {
				t.Error("not signed in")
			}
		})
	}
}

// TestOldestLoginGoes: REQ-8. Room is made by dropping the logins that began
// first, wherever in the header their cookies stand.
func TestOldestLoginGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t)
		for _, reversed := range []bool{false, true} {
			c, held := k.Bare(), map[string]string{}
			var names, locations []string // in the order of their logins
			for range 8 {
				var header []string
				for _, name := range names {
					if value := held[name]; value != "" {
						header = append(header, name+"="+value)
					}
				}
				if reversed {
					slices.Reverse(header)
				}
				resp := k.Get(c, "/auth/agent/login", "Cookie", strings.Join(header, "; "))
				for _, cookie := range resp.Cookies() {
					if held[cookie.Name] = cookie.Value; cookie.Value != "" {
						names = append(names, cookie.Name)
					}
				}
				locations = append(locations, resp.Header.Get("Location"))
				time.Sleep(2 * time.Second)
			}
			for i, name := range names {
				if kept := held[name] != ""; kept != (i >= 3) {
					t.Errorf("reversed %v, login %d: kept %v", reversed, i, kept)
				}
			}
			callback := k.Authorize(k.Agent, locations[3])
			if resp := k.Get(c, callback, "Cookie", names[3]+"="+held[names[3]]); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("the oldest one kept: status %d %s", resp.StatusCode, resp.Text)
			}
		}
	})
}

// TestCookieFlood: REQ-8. Making room among the cookies of a header as long as
// net/http takes is as quick as reading it, and answered with no more lines than
// a browser can have cookies.
func TestCookieFlood(t *testing.T) {
	b := newBench(t)
	name := ""
	for _, cookie := range b.Get(b.Browser(), "/auth/agent/login").Cookies() {
		name = cookie.Name[:len(cookie.Name)-8]
	}
	var header strings.Builder
	for i := 0; header.Len() < http.DefaultMaxHeaderBytes; i++ {
		fmt.Fprintf(&header, "%s%08d=; ", name, i)
	}
	r := httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/login", nil)
	r.Header.Set("Cookie", header.String())
	w, start := httptest.NewRecorder(), time.Now()
	b.RP.LoginHandler().ServeHTTP(w, r)
	if took := time.Since(start); took > 3*time.Second { // in square time it takes much longer
		t.Errorf("took %v", took)
	}
	if n := len(w.Header().Values("Set-Cookie")); w.Code != http.StatusSeeOther || n > 200 {
		t.Errorf("status %d, %d cookies set", w.Code, n)
	}
}

// TestPendingLoginsInMemory: REQ-8. A login that is never finished costs the
// site nothing, and its cookie expires by itself.
func TestPendingLoginsInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 logins")
	}
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Audit, c.Logger = nil, discardLog() })
	login := b.RP.LoginHandler()
	start := func() *http.Response {
		w := httptest.NewRecorder()
		login.ServeHTTP(w, httptest.NewRequest(http.MethodGet, b.URL+"/auth/agent/login", nil))
		return w.Result()
	}
	for _, cookie := range start().Cookies() {
		if cookie.MaxAge <= 0 || cookie.MaxAge > 3600 {
			t.Errorf("Max-Age %d", cookie.MaxAge)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range 100_000 {
		if resp := start(); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	if after := heap(); after > before+50<<20 {
		t.Errorf("the heap grew by %d MB", (after-before)>>20)
	}
	if got := b.AS.Count(""); got > 3 { // metadata, and the probe
		t.Errorf("%d requests to the server", got)
	}
}

// TestTwoTabs: REQ-9.
func TestTwoTabs(t *testing.T) {
	for _, test := range []struct {
		name  string
		order []int
	}{
		{"REQ-9 first to last", []int{0, 1}},
		{"REQ-9 last to first", []int{1, 0}},
		{"REQ-9 three, middle first", []int{1, 2, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			c := b.Browser()
			var locations, callbacks []string
			for i := range test.order {
				location := b.Begin(c, "?return_to=/tab"+string(rune('0'+i)))
				// An agent of its own, since the tokens of one are alike within a second.
				agent := b.AS.AddAgent(authagenttest.Agent{Email: "alice@example.com"})
				callback, err := agent.Authorize(context.Background(), b.AS.Client(), location)
				if err != nil {
					t.Fatal(err)
				}
				locations, callbacks = append(locations, location), append(callbacks, callback)
			}
			for _, i := range test.order {
				b.AS.Reset()
				resp := b.Get(c, callbacks[i])
				if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/tab"+string(rune('0'+i)) {
					t.Fatalf("callback %d: status %d, Location %q %s", i, resp.StatusCode, resp.Header.Get("Location"), resp.Text)
				}
				if b.Me(c) == nil {
					t.Errorf("callback %d: not signed in", i)
				}
				used := ""
				for _, r := range b.AS.Requests(authagenttest.PathToken) {
					var body map[string]string
					if json.Unmarshal(r.Body, &body); body["code_verifier"] != "" {
						used = body["code_verifier"]
					}
				}
				sum := sha256.Sum256([]byte(used))
				if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != mustParse(t, locations[i]).Query().Get("code_challenge") {
					t.Errorf("callback %d used another login's verifier", i)
				}
			}
		})
	}
}

// TestLoginIsFast: a login does not wait for what is learned meanwhile.
func TestLoginIsFast(t *testing.T) {
	b := newBench(t)
	b.AS.Wrap(authagenttest.PathToken, authagenttest.Hang()) // where the encoding is learned
	start := time.Now()
	b.Begin(b.Browser(), "")
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}
