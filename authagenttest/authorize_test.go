package authagenttest_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/authagenttest"
)

func TestAuthorizeFaults(t *testing.T) {
	const format = "Invalid redirect_uri format. HTTPS is required (HTTP allowed only for localhost)"
	const response = `Only "code" response type is supported`
	const method = "Invalid code_challenge_method. Only S256 is supported"
	const unregistered = "redirect_uri is not registered for this client"
	for _, tt := range []struct {
		name, code, text string
		change           []string
	}{
		{"no client_id", "invalid_request", "Missing client_id parameter", []string{"client_id", "-"}},
		{"empty client_id", "invalid_request", "Missing client_id parameter", []string{"client_id", ""}},
		{"no redirect_uri", "invalid_request", "Missing redirect_uri parameter", []string{"redirect_uri", "-"}},
		{"no state", "invalid_request", "Missing state parameter", []string{"state", "-"}},
		{"no challenge", "invalid_request", "Missing code_challenge parameter (PKCE required)", []string{"code_challenge", "-"}},
		{"no method", "invalid_request", "Missing code_challenge_method parameter", []string{"code_challenge_method", "-"}},
		{"no response_type", "unsupported_response_type", response, []string{"response_type", "-"}},
		{"CODE", "unsupported_response_type", response, []string{"response_type", "CODE"}},
		{"hybrid", "unsupported_response_type", response, []string{"response_type", "code id_token"}},
		{"short client_id", "invalid_request", "Invalid client_id format", []string{"client_id", "ab"}},
		{"dotted client_id", "invalid_request", "Invalid client_id format", []string{"client_id", "site.1"}},
		{"relative", "invalid_request", format, []string{"redirect_uri", "/cb"}},
		{"http", "invalid_request", format, []string{"redirect_uri", "http://shop.example/cb"}},
		{"sub.localhost", "invalid_request", format, []string{"redirect_uri", "http://sub.localhost/cb"}},
		{"custom scheme", "invalid_request", format, []string{"redirect_uri", "app:/cb"}},
		{"plain", "invalid_request", method, []string{"code_challenge_method", "plain"}},
		{"s256", "invalid_request", method, []string{"code_challenge_method", "s256"}},
		{"unknown client", "invalid_client", "Client not found", []string{"client_id", "nobody"}},
		{"other case", "invalid_client", "Client not found", []string{"client_id", "SITE_1"}},
		{"other port", "invalid_request", unregistered, []string{"redirect_uri", "http://127.0.0.1:8081/cb"}},
		{"trailing slash", "invalid_request", unregistered, []string{"redirect_uri", callback + "/"}},
		{"localhost", "invalid_request", unregistered, []string{"redirect_uri", "http://localhost:8080/cb"}},
		{"IPv6 loopback", "invalid_request", unregistered, []string{"redirect_uri", "http://[::1]:8080/cb"}},
		{"extra query", "invalid_request", unregistered, []string{"redirect_uri", callback + "?a=b"}},
		{"order", "invalid_request", "Missing state parameter", []string{"state", "", "response_type", "token", "client_id", "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			r := b.get(b.authorizationURL(tt.change...))
			page := strings.ReplaceAll(r.body, "&#34;", `"`)
			if r.status != 400 || !strings.Contains(page, "Error: "+tt.code+"<") || !strings.Contains(page, ">"+tt.text+"<") {
				t.Errorf("got %d\n%s", r.status, page)
			}
			if ct := r.header.Get("Content-Type"); ct != "text/html; charset=UTF-8" {
				t.Errorf("Content-Type %q", ct)
			}
		})
	}
}

// Without the quirk, what can be told to the site is told to it.
func TestAuthorizeErrorsReachTheSite(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change []string
		want   string // empty: a page
	}{
		{"unknown client", []string{"client_id", "nobody"}, ""},
		{"unregistered", []string{"redirect_uri", callback + "/"}, ""},
		{"both wrong", []string{"response_type", "token", "client_id", "nobody"}, ""},
		{"response_type", []string{"response_type", "token"},
			callback + "?error=unsupported_response_type&error_description=Only+%22code%22+response+type+is+supported&state=st"},
		{"no challenge, no state", []string{"code_challenge", "-", "state", "-"},
			callback + "?error=invalid_request&error_description=Missing+code_challenge+parameter+%28PKCE+required%29"},
		{"query", []string{"response_type", "token", "redirect_uri", callback + "?tenant=a&x=1"},
			callback + "?tenant=a&x=1&error=unsupported_response_type&error_description=Only+%22code%22+response+type+is+supported&state=st"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := standards(t)
			r := b.get(b.authorizationURL(tt.change...))
			if tt.want == "" {
				if r.status != 400 || r.header.Get("Location") != "" {
					t.Errorf("got %d to %q", r.status, r.header.Get("Location"))
				}
				return
			}
			if r.status != 302 || r.header.Get("Location") != tt.want {
				t.Errorf("got %d to %q", r.status, r.header.Get("Location"))
			}
			got, err := b.agent.Authorize(background(), b.s.Client(), b.authorizationURL(tt.change...))
			if err != nil || got != tt.want {
				t.Errorf("the agent got %q, %v", got, err)
			}
		})
	}
}

func TestAuthorizeAccepts(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("x", 8192)
	if got := b.status(b.requestIDOf(b.authorizationURL("state", long))).member("status"); got != "pending" {
		t.Errorf("long state: %s", got)
	}
	for name, tt := range map[string]struct{ query, state, scope string }{
		"invalid escape":    {"&state=%zz%41", "%zzA", "openid profile email"},
		"first wins":        {"&state=one&state=two", "one", "openid profile email"},
		"plus is a space":   {"&state=a+b", "a b", "openid profile email"},
		"semicolon":         {"&state=a;b", "a;b", "openid profile email"},
		"empty scope":       {"&state=s&scope=", "s", "openid profile email"},
		"any scope, spaces": {"&state=s&scope=x++openid", "s", "x  openid"},
		"unknown parameter": {"&state=s&prompt=none", "s", "openid profile email"},
	} {
		t.Run(name, func(t *testing.T) {
			base := b.authorization().with("state", "-", "scope", "-").query()
			id := b.requestIDOf("/authorize?" + base + tt.query)
			b.approve(id, b.agent)
			st := b.status(id)
			if st.member("state") != tt.state {
				t.Errorf("state %q", st.member("state"))
			}
			if got := b.token(b.redemption(st.member("code"))).member("scope"); got != tt.scope {
				t.Errorf("scope %q", got)
			}
		})
	}
	if r := b.get(b.authorizationURL("state", "a\x00b")); r.status != 500 || r.body != "Internal Server Error" {
		t.Errorf("NUL in the state: %d %s", r.status, r.body)
	}
}

func (b *bench) requestIDOf(target string) string {
	b.t.Helper()
	m := regexp.MustCompile(`request_id: '(req_[0-9a-f]{32})',\s+timestamp:\s+[0-9]{13}`).FindStringSubmatch(b.get(target).body)
	if m == nil {
		b.t.Fatal("no request in the page of " + target)
	}
	return m[1]
}

func TestWaitingPage(t *testing.T) {
	b := newBench(t)
	page := b.get(b.authorizationURL(), "Cookie", "a=b").body
	if strings.Contains(page, "<Shop>") || !strings.Contains(page, "&lt;Shop&gt;") {
		t.Error("the client's name is not escaped")
	}
	if strings.Contains(page, "Let agent_1") || strings.Contains(page, "/dev/answer") {
		t.Error("buttons on a page that nobody attends")
	}
	for _, external := range []string{"src=", "href=\"", "@import"} {
		if strings.Contains(page, external) {
			t.Errorf("the page has %s", external)
		}
	}
}

func TestHeadAuthorize(t *testing.T) {
	for name, quirk := range map[string]bool{"published": true, "standards": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.s.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.HeadAuthorizes = quirk })
			b.s.Outage(authagenttest.OutageInserts)
			want := 200
			if quirk {
				want = 500 // as it tried to store something
			}
			if r := b.do("HEAD", b.authorizationURL(), "", ""); r.status != want || r.body != "" {
				t.Errorf("got %d %q", r.status, r.body)
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	b := newBench(t)
	id := b.requestID()
	good := fields{"request_id": id, "agent_id": b.agent.ID, "agent_secret": b.agent.Secret, "model": "m"}
	const missing = "Missing required fields: request_id, agent_id, agent_secret, model"
	for _, tt := range []struct {
		name       string
		m          fields
		status     int
		code, text string
	}{
		{"no request", good.with("request_id", "-"), 400, "invalid_request", missing},
		{"no agent", good.with("agent_id", ""), 400, "invalid_request", missing},
		{"no secret", good.with("agent_secret", "-"), 400, "invalid_request", missing},
		{"no model", good.with("model", "-"), 400, "invalid_request", missing},
		{"unknown agent", good.with("agent_id", "x", "request_id", "x"), 401, "invalid_agent", "Agent not found"},
		{"wrong secret", good.with("agent_secret", "x", "request_id", "x"), 401, "invalid_credentials", "Invalid agent credentials"},
		{"unknown request", good.with("request_id", "x"), 404, "invalid_request", "Authorization request not found or expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.postJSON(authagenttest.PathAuthenticate, tt.m)
			wantError(t, r, tt.status, tt.code, tt.text)
			if r.member("success") != "false" {
				t.Error("success is not false")
			}
		})
	}
	const broken = `{"success":false,"error":"server_error","error_description":"Internal server error"}`
	wantBody(t, b.postForm(authagenttest.PathAuthenticate, good), 500, broken)
	wantBody(t, b.do("POST", authagenttest.PathAuthenticate, "", "{"), 500, broken)
	wantBody(t, b.status(id), 200, `{"status":"pending"}`)
	wantBody(t, b.postJSON(authagenttest.PathAuthenticate, good), 200, `{"success":true,"message":"Agent authenticated successfully"}`)
	code := b.status(id).member("code")
	if !regexp.MustCompile(`^ac_[0-9a-f]{64}$`).MatchString(code) {
		t.Errorf("code %q", code)
	}
	for range 2 { // before and after it is redeemed
		wantBody(t, b.status(id), 200, `{"status":"authenticated","code":"`+code+`","state":"st","redirect_uri":"`+callback+`"}`)
		b.token(b.redemption(code))
	}
}

func TestSecondApproval(t *testing.T) {
	b := newBench(t)
	id := b.requestID()
	b.approve(id, b.agent)
	first := b.status(id).member("code")
	b.approve(id, b.second)
	second := b.status(id).member("code")
	for code, sub := range map[string]string{first: "agent_1", second: "agent_2"} {
		access, _ := b.mustPair(b.token(b.redemption(code)))
		if got := b.userInfo(access).member("sub"); got != sub {
			t.Errorf("sub %q, want %q", got, sub)
		}
	}

	b = newBench(t)
	b.s.Quirks.MultipleApprovals = false
	id = b.requestID()
	b.approve(id, b.agent)
	wantError(t, b.approve(id, b.second), 409, "invalid_request", "Authorization request was approved already")
}

func TestCheckStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gone = `{"status":"error","error":"Request not found or expired"}`
		b := newBench(t)
		wantError(t, b.get(authagenttest.PathCheckStatus), 400, "invalid_request", "Missing request_id parameter")
		wantBody(t, b.status("req_x"), 200, gone)

		waiting, approved := b.requestID(), b.requestID()
		b.approve(approved, b.agent)
		code := b.status(approved).member("code")
		time.Sleep(120*time.Second - time.Nanosecond)
		wantBody(t, b.status(waiting), 200, `{"status":"pending"}`)
		b.s.Outage(authagenttest.OutageAll)
		wantBody(t, b.status(waiting), 200, gone)
		b.s.Outage(authagenttest.OutageNone)
		time.Sleep(time.Nanosecond)
		wantBody(t, b.status(waiting), 200, gone)
		wantBody(t, b.status(approved), 200, gone)
		wantError(t, b.approve(waiting, b.agent), 404, "invalid_request", "Authorization request not found or expired")
		if r := b.token(b.redemption(code)); r.status != 200 {
			t.Errorf("the code died with its request: %d %s", r.status, r.body)
		}
	})
}

// The published redirect is a concatenation, as a browser then requests it.
func TestRedirectBack(t *testing.T) {
	for _, tt := range []struct{ state, inURL, parsed string }{
		{"abc-._~", "abc-._~", "abc-._~"},
		{"a=b==", "a=b==", "a=b=="},
		{"a+b", "a+b", "a b"},
		{"a&b=c", "a&b=c", "a"},
		{"a%41b", "a%41b", "aAb"},
		{"%2B", "%2B", "+"},
		{"100%", "100%", ""}, // net/url drops what it cannot unescape
		{"a;b", "a;b", ""},
		{"a#frag", "a#frag", "a"},
		{"end ", "end", "end"},
		{"a\r\nb", "ab", "ab"},
		{"a b", "a%20b", "a b"},
		{"é", "%C3%A9", "é"},
		{`"q"<x>it's`, "%22q%22%3Cx%3Eit%27s", `"q"<x>it's`},
		{`a?b/c,{"k":"v"}`, "a?b/c,{%22k%22:%22v%22}", `a?b/c,{"k":"v"}`},
	} {
		t.Run(tt.state, func(t *testing.T) {
			b := newBench(t)
			got, err := b.agent.Authorize(background(), b.s.Client(), b.authorizationURL("state", tt.state))
			if err != nil {
				t.Fatal(err)
			}
			_, state, _ := strings.Cut(got, "&state=")
			if !strings.HasPrefix(got, callback+"?code=ac_") || state != tt.inURL {
				t.Errorf("URL %q", got)
			}
			if u, err := url.Parse(got); err != nil || u.Query().Get("state") != tt.parsed {
				t.Errorf("parsed %q, %v", u.Query().Get("state"), err)
			}

			b = standards(t)
			got, err = b.agent.Authorize(background(), b.s.Client(), b.authorizationURL("state", tt.state))
			if u, _ := url.Parse(got); err != nil || u.Query().Get("state") != tt.state {
				t.Errorf("without the quirk: %q, %v", got, err)
			}
		})
	}
}

func TestRedirectBackToURIWithQuery(t *testing.T) {
	for _, tt := range []struct{ uri, published, escaped string }{
		{callback + "?tenant=a&x=1", callback + "?tenant=a&x=1?code=C&state=st", callback + "?tenant=a&x=1&code=C&state=st"},
		{callback + "#frag", callback + "#frag?code=C&state=st", callback + "?code=C&state=st#frag"},
	} {
		for want, b := range map[string]*bench{tt.published: newBench(t), tt.escaped: standards(t)} {
			got, err := b.agent.Authorize(background(), b.s.Client(), b.authorizationURL("redirect_uri", tt.uri))
			if err != nil {
				t.Fatal(err)
			}
			got = regexp.MustCompile(`ac_[0-9a-f]{64}`).ReplaceAllString(got, "C")
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

func TestIssParameter(t *testing.T) {
	for name, b := range map[string]*bench{"published": newBench(t), "standards": standards(t)} {
		b.s.Features.IssParameter = true
		got, err := b.agent.Authorize(background(), b.s.Client(), b.authorizationURL())
		if err != nil {
			t.Fatal(err)
		}
		if u, _ := url.Parse(got); u.Query().Get("iss") != issuer || u.Query().Get("state") != "st" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
