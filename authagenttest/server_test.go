package authagenttest_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

func TestMetadata(t *testing.T) {
	b := newBench(t)
	wantBody(t, b.get(authagenttest.PathMetadata), 200, `{"issuer":"http://127.0.0.1:9000",`+
		`"authorization_endpoint":"http://127.0.0.1:9000/authorize","token_endpoint":"http://127.0.0.1:9000/token",`+
		`"introspection_endpoint":"http://127.0.0.1:9000/introspect","revocation_endpoint":"http://127.0.0.1:9000/revoke",`+
		`"userinfo_endpoint":"http://127.0.0.1:9000/userinfo","jwks_uri":"http://127.0.0.1:9000/.well-known/jwks.json",`+
		`"response_types_supported":["code"],"grant_types_supported":["authorization_code","refresh_token"],`+
		`"code_challenge_methods_supported":["S256"],"token_endpoint_auth_methods_supported":["client_secret_post"],`+
		`"introspection_endpoint_auth_methods_supported":["client_secret_post"],"revocation_endpoint_auth_methods_supported":["client_secret_post"],`+
		`"scopes_supported":["openid","profile","email"],"service_documentation":"https://github.com/auth-agent"}`)
	wantBody(t, b.get(authagenttest.PathJWKS), 200, `{"keys":[]}`)

	b.s.URL = "" // then the issuer is the host that was asked
	if got := b.get(authagenttest.PathMetadata).member("issuer"); got != issuer {
		t.Errorf("issuer %q", got)
	}
	if got := b.get("https://as.example/x").status; got != 404 {
		t.Errorf("status %d", got)
	}
}

func TestPaths(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		method, path string
		status       int
		contentType  string
		body         string // a regular expression
	}{
		{"GET", "/", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", "/token/", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"POST", "/TOKEN", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", authagenttest.PathDiscovery, 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", "/token", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", "/introspect", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", "/revoke", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"POST", "/userinfo", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"POST", "/authorize", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"POST", "/api/check-status", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"PUT", "/token", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"DELETE", "/token", 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"HEAD", "/token", 404, "text/plain; charset=UTF-8", `^$`},
		{"HEAD", "/authorize", 400, "text/html; charset=UTF-8", `^$`},
		{"HEAD", "/userinfo", 401, "application/json", `^$`},
		{"POST", authagenttest.PathDevAnswer, 404, "text/plain; charset=UTF-8", `^404 Not Found$`},
		{"GET", "/api/health", 200, "application/json", `^\{"status":"ok","timestamp":\d{13},"version":"1.0.0"\}$`},
		{"GET", "/error", 400, "text/html; charset=UTF-8", `Error: error<(.|\n)*>An error occurred<`},
		{"GET", "/error?message=%3Cb%3E", 400, "text/html; charset=UTF-8", `>&lt;b&gt;<`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			r := b.do(tt.method, tt.path, "", "", "Origin", "https://x.example")
			if r.status != tt.status || r.header.Get("Content-Type") != tt.contentType ||
				!regexp.MustCompile(tt.body).MatchString(r.body) {
				t.Errorf("got %d %s %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			if len(r.header) != 2 || r.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers %v", r.header)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"/token", "/nowhere"} {
		r := b.do("OPTIONS", path, "", "", "Access-Control-Request-Headers", "content-type, x-y")
		want := map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Methods": "GET,HEAD,PUT,POST,DELETE,PATCH",
			"Access-Control-Allow-Headers": "content-type,x-y",
			"Vary":                         "Access-Control-Request-Headers",
		}
		if r.status != 204 || len(r.header) != len(want) {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
		for name, value := range want {
			if r.header.Get(name) != value {
				t.Errorf("%s: %s: %q", path, name, r.header.Get(name))
			}
		}
	}
}

func TestAdmin(t *testing.T) {
	b := newBench(t)
	create := func(path, body string) reply { return b.do("POST", path, "application/json", body) }

	r := create(authagenttest.PathAdminClients, `{"client_id":"c3","client_name":"C","redirect_uris":["`+callback+`"]}`)
	if r.status != 201 || !regexp.MustCompile(`^\{"client_id":"c3","client_secret":"cs_[0-9a-f]{64}","client_name":"C",`+
		`"allowed_redirect_uris":\["[^"]*"\],"allowed_grant_types":\["authorization_code","refresh_token"\],"created_at":"[^"]+","warning":"[^"]+"\}$`).MatchString(r.body) {
		t.Errorf("got %d %s", r.status, r.body)
	}
	for body, status := range map[string]int{
		`{"client_id":"c4"}`: 400,
		`{"client_id":"c3","client_name":"C","redirect_uris":[]}`:  500,
		`{"client_id":"c5","client_name":"C","redirect_uris":"x"}`: 500,
	} {
		if r := create(authagenttest.PathAdminClients, body); r.status != status {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	wantBody(t, create(authagenttest.PathAdminClientsUpdate, `{"client_id":"c3","redirect_uris":["https://x.example/cb"]}`),
		200, `{"success":true,"message":"Client updated successfully"}`)
	wantBody(t, create(authagenttest.PathAdminClientsUpdate, `{"client_id":"nobody"}`), 500, serverErrorBody)
	if r := b.get(authagenttest.PathAdminClients); !strings.HasPrefix(r.body, `[{"client_id":"c3","client_name":"C","allowed_redirect_uris":["https://x.example/cb"],"created_at":"`) || strings.Contains(r.body, "cs_") {
		t.Errorf("list: %s", r.body)
	}

	r = create(authagenttest.PathAdminAgents, `{"agent_id":"a3","user_email":"not an address"}`)
	if r.status != 201 || r.member("user_name") != "" || !strings.HasPrefix(r.member("agent_secret"), "ags_") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	for body, status := range map[string]int{`{"agent_id":"a4"}`: 400, `{"agent_id":"a3","user_email":"x"}`: 500, `{`: 500} {
		if r := create(authagenttest.PathAdminAgents, body); r.status != status {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	if r := b.get(authagenttest.PathAdminAgents); !strings.HasPrefix(r.body, `[{"agent_id":"a3","user_email":"not an address","user_name":null,"created_at":"`) {
		t.Errorf("list: %s", r.body)
	}
}

func TestRequests(t *testing.T) {
	b := newBench(t)
	b.postJSON(authagenttest.PathToken, fields{"grant_type": "x"})
	b.get("/nowhere?a=b", "X-Y", "z")
	got := b.s.Requests(authagenttest.PathToken)
	if len(got) != 1 || got[0].Method != "POST" || string(got[0].Body) != `{"grant_type":"x"}` || got[0].Time.IsZero() {
		t.Errorf("got %+v", got)
	}
	all := b.s.Requests("")
	if len(all) != 2 || all[1].Path != "/nowhere" || all[1].URL.RawQuery != "a=b" || all[1].Header.Get("X-Y") != "z" {
		t.Errorf("got %+v", all)
	}
	if b.s.Count(authagenttest.PathToken) != 1 || b.s.Count("") != 2 || b.s.Count("/x") != 0 {
		t.Error("counts")
	}
	b.s.Reset()
	if b.s.Count("") != 0 || b.s.Requests("") != nil {
		t.Error("not reset")
	}
}

func TestWrap(t *testing.T) {
	b := newBench(t)
	b.s.Wrap("", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-All", "1")
			next.ServeHTTP(w, r)
		})
	})
	b.s.Wrap(authagenttest.PathToken, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), "nobody", b.client.ID)))
			next.ServeHTTP(w, r)
		})
	})
	m := b.redemption("ac_x").with("client_id", "nobody")
	r := b.token(m)
	wantError(t, r, 400, "invalid_grant", "Invalid or expired authorization code")
	if r.header.Get("X-All") != "1" {
		t.Error("the wrapper of all paths was not called")
	}
	b.s.Wrap(authagenttest.PathToken, nil)
	wantError(t, b.token(m), 401, "invalid_client", "Client not found")
}

func TestServers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := authagenttest.NewUnstartedServer()
	own.Listener = listener
	own.Start()
	for name, s := range map[string]*authagenttest.Server{
		"http": authagenttest.NewServer(), "https": authagenttest.NewTLSServer(), "listener": own,
	} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			resp, err := s.Client().Get(s.URL + authagenttest.PathMetadata)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var m struct{ Issuer string }
			if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m.Issuer != s.URL {
				t.Errorf("issuer %q at %q, %v", m.Issuer, s.URL, err)
			}
			if s.Client().Jar != nil || s.NewBrowser().Jar == nil {
				t.Error("jars")
			}
		})
	}
	if own.URL != "http://"+listener.Addr().String() {
		t.Errorf("URL %s", own.URL)
	}
	authagenttest.NewUnstartedServer().Close()
}

// One server may be used and changed from all sides at once.
func TestConcurrentUse(t *testing.T) {
	b := standards(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			agent := b.s.AddAgent(authagenttest.Agent{})
			if _, err := agent.Authorize(background(), b.s.Client(), b.authorizationURL()); err != nil {
				t.Error(err)
			}
			b.s.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
				q.SlackRefresh = !q.SlackRefresh
				f.IssParameter = !f.IssParameter
			})
			b.s.Wrap(authagenttest.PathUserInfo, nil)
			b.s.Requests("")
			b.s.RotateKeys()
		})
	}
	wg.Wait()
}
