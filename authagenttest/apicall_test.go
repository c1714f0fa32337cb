package authagenttest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/authagenttest"
)

const metadataPath = "/.well-known/oauth-protected-resource/api"

// A tinyAPI is an API at resource that lets in whom introspection knows with its audience.
type tinyAPI struct {
	b           *bench
	challenge   []string // WWW-Authenticate
	metadata    string
	contentType string // of the metadata
	status      int    // of a request without a token
}

func newTinyAPI(b *bench) *tinyAPI {
	return &tinyAPI{
		b:           b,
		challenge:   []string{`Bearer resource_metadata="https://shop.example` + metadataPath + `"`},
		metadata:    `{"resource":"` + resource + `","authorization_servers":["` + issuer + `"],"scopes_supported":["read","write"]}`,
		contentType: "application/json",
		status:      http.StatusUnauthorized,
	}
}

func (a *tinyAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.URL.Path == metadataPath:
		w.Header().Set("Content-Type", a.contentType)
		io.WriteString(w, a.metadata)
	case r.URL.Path == "/moved":
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
	case !ok:
		w.Header()["Www-Authenticate"] = a.challenge
		w.WriteHeader(a.status)
	default:
		says := a.b.introspection(a.b.t, token, a.b.client)
		if says["active"] != true || says["aud"] != resource {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%v may %v", says["sub"], says["scope"])
	}
}

func (a *tinyAPI) client() *http.Client {
	return &http.Client{Transport: authagenttest.Hosts{"127.0.0.1:9000": a.b.s, "shop.example": a}}
}

func TestSignInToAPI(t *testing.T) {
	const quoted = `"https://shop.example` + metadataPath + `"`
	for _, test := range []struct {
		name   string
		change func(*tinyAPI)
		want   string // what the API says, or the error
	}{
		{"plain", func(*tinyAPI) {}, "agent_1 may read write"},
		{"published server", func(a *tinyAPI) { a.b.s.Quirks = authagenttest.PublishedQuirks() }, "agent_1 may read write"},
		{"opaque tokens", func(a *tinyAPI) { a.b.s.Features.OpaqueTokens = true }, "agent_1 may read write"},
		{"by Basic", func(a *tinyAPI) { a.b.s.Features.AuthMethods = []string{"client_secret_basic"} }, "agent_1 may read write"},
		{"scope of the challenge", func(a *tinyAPI) { a.challenge[0] += `, scope="read more"` }, "agent_1 may read more"},
		{"other challenges", func(a *tinyAPI) {
			a.challenge = []string{`Negotiate YWJj==, Basic realm="a, Bearer resource_metadata=\"x\"", DPoP algs="ES256", resource_metadata="y"`, `bearer Realm="shop" ,  Resource_Metadata = ` + quoted}
		}, "agent_1 may read write"},
		{"unquoted, and one after it", func(a *tinyAPI) {
			a.challenge = []string{"Bearer resource_metadata=" + strings.Trim(quoted, `"`) + `, DPoP resource_metadata="y"`}
		}, "agent_1 may read write"},

		{"open", func(a *tinyAPI) { a.status = 200 }, "discovery: 200 OK at https://shop.example/api/orders, where 401 was expected"},
		{"no challenge", func(a *tinyAPI) { a.challenge = []string{`Basic realm="Bearer"`} }, "discovery: no Bearer challenge"},
		{"no metadata named", func(a *tinyAPI) { a.challenge = []string{"Bearer"} }, "discovery: the challenge has no resource_metadata"},
		{"no metadata there", func(a *tinyAPI) { a.challenge = []string{`Bearer resource_metadata="https://shop.example/x"`} }, `discovery: https://shop.example/x: 401 Unauthorized`},
		{"metadata moved", func(a *tinyAPI) { a.challenge = []string{`Bearer resource_metadata="https://shop.example/moved"`} }, `discovery: https://shop.example/moved: 307`},
		{"another resource", func(a *tinyAPI) { a.metadata = strings.Replace(a.metadata, resource, resource+"/order", 1) }, `discovery: https://shop.example` + metadataPath + `: its resource is "https://shop.example/api/order", which is not`},
		{"another host", func(a *tinyAPI) { a.metadata = strings.Replace(a.metadata, "shop", "evil", 1) }, `discovery: https://shop.example` + metadataPath + `: its resource is "https://evil.example/api"`},
		{"no resource", func(a *tinyAPI) { a.metadata = `{}` }, `discovery: https://shop.example` + metadataPath + `: its resource is ""`},
		{"metadata of the host", func(a *tinyAPI) { a.metadata = strings.Replace(a.metadata, "/api", "", 1) }, "discovery: https://shop.example" + metadataPath + ": the metadata of https://shop.example belongs at https://shop.example/.well-known/oauth-protected-resource"},
		{"no server", func(a *tinyAPI) { a.metadata = `{"resource":"` + resource + `"}` }, "discovery: https://shop.example" + metadataPath + ": no authorization_servers"},
		{"another server", func(a *tinyAPI) { a.metadata = strings.Replace(a.metadata, issuer, "https://evil.example", 1) }, "discovery: https://evil.example is not the server the agent is registered at"},
		{"sibling", func(a *tinyAPI) { a.metadata = strings.Replace(a.metadata, resource, resource[:len(resource)-1], 1) }, `discovery: https://shop.example` + metadataPath + `: its resource is "https://shop.example/ap", which is not`},
		{"another type", func(a *tinyAPI) { a.contentType = "text/html" }, "discovery: https://shop.example" + metadataPath + `: 200 OK, Content-Type "text/html"`},
		{"no JSON", func(a *tinyAPI) { a.metadata = "x" }, "discovery: https://shop.example" + metadataPath + ": invalid character"},
		{"no resources", func(a *tinyAPI) { a.b.s.Features.Resources = false }, "token: the server takes no resource parameter"},
		{"refused", func(a *tinyAPI) { a.b.s.Wrap(authagenttest.PathToken, authagenttest.Reply(400, "", "{}")) }, "token: 400 Bad Request: {}"},
		{"sent back", func(a *tinyAPI) {
			a.b.s.Wrap(authagenttest.PathAuthorize, authagenttest.RedirectTo(302, "http://127.0.0.1/callback?error=invalid_target"))
		}, "callback: invalid_target"},
		{"another state", func(a *tinyAPI) {
			a.b.s.Wrap(authagenttest.PathAuthorize, authagenttest.RedirectTo(302, "http://127.0.0.1/callback?code=x&state=y"))
		}, "callback: no code, or another state"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := standards(t)
			b.s.Features.Resources = true
			api := newTinyAPI(b)
			test.change(api)
			got := ""
			token, err := b.agent.SignInToAPI(t.Context(), api.client(), resource+"/orders")
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "authagenttest: agent agent_1: ")
			} else if resp, err := authagenttest.Bearer(api.client(), token).Get(resource + "/orders"); err != nil {
				t.Fatal(err)
			} else {
				got = body(t, resp)
			}
			if !strings.HasPrefix(got, test.want) || token != "" != (err == nil) {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestBearer: the token is in each request, and goes to nobody else.
func TestBearer(t *testing.T) {
	b := standards(t)
	api := newTinyAPI(b)
	token := b.s.AccessToken(b.agent, authagenttest.APIToken{Audience: []string{resource}, Scopes: []string{"read"}})
	client := authagenttest.Bearer(api.client(), token)
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", resource, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, resp); got != "agent_1 may read" || req.Header.Get("Authorization") != "" {
			t.Errorf("%d %s, the caller's request has %v", resp.StatusCode, got, req.Header)
		}
	}
	resp, err := client.Get("https://shop.example/moved")
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("a redirect was followed: %v", err)
	}
	// The client that it was made of has no token.
	plain := api.client()
	authagenttest.Bearer(plain, token)
	if resp, err := plain.Get(resource); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the first client: %v", err)
	}
	if got := authagenttest.Bearer(&http.Client{}, token).Transport; got == nil {
		t.Error("no transport")
	}
}
