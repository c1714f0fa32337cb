package authagenttest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

const (
	issuer   = "http://127.0.0.1:9000"
	callback = "http://127.0.0.1:8080/cb"
)

// A bench is a server without a socket, with two clients and two agents.
type bench struct {
	t             *testing.T
	s             *authagenttest.Server
	client, other authagenttest.Client
	agent, second *authagenttest.Agent
}

func newBench(t *testing.T) *bench {
	s := authagenttest.NewUnstartedServer()
	s.URL = issuer
	return &bench{
		t: t,
		s: s,
		client: s.AddClient(authagenttest.Client{ID: "site_1", Name: `Tom & "Jo" <Shop>`,
			RedirectURIs: []string{callback, callback + "2", callback + "?tenant=a&x=1", callback + "#frag"}}),
		other:  s.AddClient(authagenttest.Client{ID: "site_2", RedirectURIs: []string{callback}}),
		agent:  s.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "Alice@Example.com", Name: "Alice", Model: "m1"}),
		second: s.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "bob@example.com", Model: "m1"}),
	}
}

// standards returns a bench whose server has no quirks.
func standards(t *testing.T) *bench {
	b := newBench(t)
	b.s.Quirks = authagenttest.Quirks{}
	return b
}

// A reply is a response with its body read.
type reply struct {
	status int
	header http.Header
	body   string
}

// member returns a member of a JSON body as text, or "" if it is not there.
func (r reply) member(name string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(r.body), &m) != nil {
		return ""
	}
	var s string
	if json.Unmarshal(m[name], &s) == nil {
		return s
	}
	return string(m[name])
}

func (b *bench) do(method, target, contentType, body string, header ...string) reply {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:9000"
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.s.ServeHTTP(w, r)
	return reply{w.Code, w.Result().Header, w.Body.String()}
}

func (b *bench) get(target string, header ...string) reply {
	b.t.Helper()
	return b.do("GET", target, "", "", header...)
}

func (b *bench) postJSON(path string, m fields) reply {
	b.t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do("POST", path, "application/json", string(body))
}

func (b *bench) postForm(path string, m fields, header ...string) reply {
	b.t.Helper()
	v := url.Values{}
	for name, value := range m {
		v.Set(name, value)
	}
	return b.do("POST", path, "application/x-www-form-urlencoded", v.Encode(), header...)
}

// fields are the parameters of a request.
type fields map[string]string

// with returns a copy with changes, given as name, value; "-" removes.
func (f fields) with(change ...string) fields {
	m := fields{}
	for name, value := range f {
		m[name] = value
	}
	for i := 0; i < len(change); i += 2 {
		if m[change[i]] = change[i+1]; change[i+1] == "-" {
			delete(m, change[i])
		}
	}
	return m
}

func (f fields) query() string {
	v := url.Values{}
	for name, value := range f {
		v.Set(name, value)
	}
	return v.Encode()
}

func (b *bench) authorization() fields {
	return fields{
		"response_type":         "code",
		"client_id":             b.client.ID,
		"redirect_uri":          callback,
		"state":                 "st",
		"code_challenge":        tinyChallenge,
		"code_challenge_method": "S256",
		"scope":                 "openid profile email",
	}
}

func (b *bench) authorizationURL(change ...string) string {
	return issuer + "/authorize?" + b.authorization().with(change...).query()
}

// requestID opens a waiting page and reads it as an agent does.
func (b *bench) requestID(change ...string) string {
	b.t.Helper()
	page := b.get(b.authorizationURL(change...))
	_, rest, ok := strings.Cut(page.body, "request_id: '")
	id, _, _ := strings.Cut(rest, "'")
	if page.status != 200 || !ok {
		b.t.Fatalf("authorize: %d %s", page.status, page.body)
	}
	return id
}

func (b *bench) approve(id string, a *authagenttest.Agent) reply {
	b.t.Helper()
	return b.postJSON(authagenttest.PathAuthenticate, fields{
		"request_id": id, "agent_id": a.ID, "agent_secret": a.Secret, "model": a.Model})
}

func (b *bench) status(id string) reply {
	b.t.Helper()
	return b.get(authagenttest.PathCheckStatus + "?request_id=" + url.QueryEscape(id))
}

// code has the agent approve a request and returns the code.
func (b *bench) code(change ...string) string {
	b.t.Helper()
	id := b.requestID(change...)
	if r := b.approve(id, b.agent); r.status != 200 {
		b.t.Fatalf("approve: %d %s", r.status, r.body)
	}
	return b.status(id).member("code")
}

func (b *bench) redemption(code string) fields {
	return fields{
		"grant_type":    "authorization_code",
		"code":          code,
		"code_verifier": tinyVerifier,
		"redirect_uri":  callback,
		"client_id":     b.client.ID,
		"client_secret": b.client.Secret,
	}
}

func (b *bench) refreshment(token string) fields {
	return fields{
		"grant_type":    "refresh_token",
		"refresh_token": token,
		"client_id":     b.client.ID,
		"client_secret": b.client.Secret,
	}
}

// post posts in the form that the server reads.
func (b *bench) post(path string, m fields) reply {
	b.t.Helper()
	if b.s.Quirks.JSONBodies {
		return b.postJSON(path, m)
	}
	return b.postForm(path, m)
}

func (b *bench) token(m fields) reply {
	b.t.Helper()
	return b.post(authagenttest.PathToken, m)
}

// pair signs in and returns an access token and a refresh token.
func (b *bench) pair(change ...string) (access, refresh string) {
	b.t.Helper()
	return b.mustPair(b.token(b.redemption(b.code(change...))))
}

func (b *bench) mustPair(r reply) (access, refresh string) {
	b.t.Helper()
	if r.status != 200 {
		b.t.Fatalf("token: %d %s", r.status, r.body)
	}
	return r.member("access_token"), r.member("refresh_token")
}

func (b *bench) userInfo(access string) reply {
	b.t.Helper()
	return b.get(authagenttest.PathUserInfo, "Authorization", "Bearer "+access)
}

// wantError compares with an OAuth error, or with a bare status if code is "".
func wantError(t *testing.T, r reply, status int, code, text string) {
	t.Helper()
	if r.status != status || r.member("error") != code || r.member("error_description") != text {
		t.Errorf("got %d %s\nwant %d %s %q", r.status, r.body, status, code, text)
	}
}

func wantBody(t *testing.T, r reply, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("got  %d %s\nwant %d %s", r.status, r.body, status, body)
	}
	if ct := r.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
}

func background() context.Context { return context.Background() }
