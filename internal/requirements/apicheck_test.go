package requirements_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// TestCheckAPI_CHK_10 is CHK-10: Check says what would keep agents from the API, as far as the server's
// metadata tells, and nothing where it does not tell.
func TestCheckAPI_CHK_10(t *testing.T) {
	const resource = "https://shop.example/api"
	// metadata changes what the server says of itself, which is nothing of scopes unless a test has it.
	metadata := func(change func(m map[string]any)) checkChange {
		return func(b *bench, _ *authagent.Config) {
			b.AS.Wrap(authagenttest.PathMetadata, authagenttest.Rewrite(func(m map[string]any) {
				delete(m, "scopes_supported")
				change(m)
			}))
		}
	}
	says := func(name string, value any) checkChange { return metadata(func(m map[string]any) { m[name] = value }) }
	noIntrospection := metadata(func(m map[string]any) { delete(m, "introspection_endpoint") })
	open := func(_ *bench, c *authagent.Config) {
		c.API = api.Settings{Resource: resource, Scopes: map[string]string{"orders:read": "See orders", "orders:write": "Order"}}
		c.Permissions = map[string]authagent.Permission{"orders:read": {Access: authagent.AccessRead}, "orders:write": {Access: authagent.AccessFull}}
	}
	keys := feature(func(f *authagenttest.Features) { f.Resources = true })
	noAPI := func(_ *bench, c *authagent.Config) { c.API = api.Settings{} }
	for _, test := range []struct {
		name   string
		change []checkChange
		want   []string
	}{
		{"nothing said of resources and scopes", []checkChange{metadata(func(map[string]any) {})}, nil},
		{"all said", []checkChange{metadata(func(m map[string]any) {
			m["protected_resources"], m["scopes_supported"] = []string{"https://other.example/", resource}, []string{"openid", "orders:read", "orders:write"}
		})}, nil},
		{"no keys, no introspection", []checkChange{noIntrospection}, []string{"ERROR API.Resource: The server publishes no keys and has no introspection"}},
		{"keys, no introspection", []checkChange{noIntrospection, keys}, nil},
		{"a shared key, no introspection", []checkChange{noIntrospection, func(_ *bench, c *authagent.Config) {
			c.Provider.TokenKey = []byte("0123456789abcdef0123456789abcdef")
		}}, nil},
		{"introspection is pinned", []checkChange{noIntrospection, func(b *bench, c *authagent.Config) {
			c.Provider.Endpoints.Introspection = b.AS.URL + authagenttest.PathIntrospect
		}}, nil},
		{"another resource", []checkChange{says("protected_resources", []string{resource + "/"})},
			[]string{`WARN API.Resource: The server's metadata lists the APIs that it issues access tokens for (protected_resources), and "https://shop.example/api" is not among them`}},
		{"no resource", []checkChange{says("protected_resources", []string{})}, []string{"WARN API.Resource: "}},
		{"a scope is not listed", []checkChange{says("scopes_supported", []string{"openid", "orders:read"})},
			[]string{`WARN API.Scopes: The server's metadata (scopes_supported) does not list ["orders:write"]`}},
		{"no API", []checkChange{noAPI, metadata(func(m map[string]any) {
			delete(m, "introspection_endpoint")
			m["protected_resources"] = []string{}
		})}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, append([]checkChange{open}, test.change...)...)
			findingsAre(t, b, b.RP.Check(t.Context()), test.want)
		})
	}
}

// TestCheckSiteAPI_CHK_11 is CHK-11: CheckSite says where the metadata of the API is not there, or is another's. It looks
// at the site's address, which may be behind a proxy, or at the host of a resource that is elsewhere.
func TestCheckSiteAPI_CHK_11(t *testing.T) {
	const path = "/.well-known/oauth-protected-resource/api"
	reply := func(contentType, body string) http.Handler {
		return authagenttest.Reply(200, contentType, body)(nil)
	}
	good := `{"resource":"https://shop.example/api","authorization_servers":["ISSUER"]}`
	elsewhere := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close) // after the parallel tests
	for _, test := range []struct {
		name     string
		metadata func(b *bench) http.Handler // nil is ResourceMetadataHandler
		change   func(*authagent.Config)
		want     []string
	}{
		{name: "mounted"},
		{name: "not mounted", metadata: func(*bench) http.Handler { return http.NotFoundHandler() },
			want: []string{"ERROR API.Resource: ResourceMetadataHandler is not mounted at " + path + ": the site answers with status 404"}},
		{name: "behind a guard", metadata: func(b *bench) http.Handler { return b.RP.RequireAgent(b.RP.ResourceMetadataHandler()) },
			want: []string{"WARN API.Resource: Whether ResourceMetadataHandler is mounted at " + path + " cannot be told: the site answers with status 401"}},
		{name: "a page for everything", metadata: func(*bench) http.Handler { return reply("text/html", "<p>Welcome") },
			want: []string{"ERROR API.Resource: Something else than ResourceMetadataHandler answers at " + path}},
		{name: "good, and not sent as JSON", metadata: func(b *bench) http.Handler {
			return reply("text/plain", strings.ReplaceAll(good, "ISSUER", b.AS.URL))
		}, want: []string{"ERROR API.Resource: Something else"}},
		{name: "JSON of another kind", metadata: func(*bench) http.Handler { return reply("application/json", `{"hello":"\u001b"}`) },
			want: []string{"ERROR API.Resource: Something else"}},
		{name: "made by hand, and good", metadata: func(b *bench) http.Handler {
			return reply("application/json; charset=utf-8", strings.ReplaceAll(good, "ISSUER", b.AS.URL))
		}},
		{name: "another resource", metadata: func(b *bench) http.Handler {
			return reply("application/json", strings.ReplaceAll(strings.ReplaceAll(good, "ISSUER", b.AS.URL), "/api", "/ignore all"))
		}, want: []string{`ERROR API.Resource: The metadata at ` + path + ` is of another resource than "https://shop.example/api"`}},
		{name: "another server", metadata: func(b *bench) http.Handler {
			return reply("application/json", strings.ReplaceAll(good, "ISSUER", b.AS.URL+"/"))
		}, want: []string{"ERROR API.Resource: The metadata at " + path + " names another authorization server than"}},
		{name: "a second server", metadata: func(b *bench) http.Handler {
			return reply("application/json", strings.ReplaceAll(good, "ISSUER", b.AS.URL+`","https://other.example`))
		}, want: []string{"ERROR API.Resource: The metadata at " + path + " names another authorization server than"}},
		{name: "no server", metadata: func(*bench) http.Handler {
			return reply("application/json", `{"resource":"https://shop.example/api"}`)
		}, want: []string{"ERROR API.Resource: The metadata at " + path + " names another authorization server than"}},
		{name: "the resource is on another host", change: func(c *authagent.Config) { c.API.Resource = elsewhere.URL + "/api" },
			want: []string{"ERROR API.Resource: ResourceMetadataHandler is not mounted at " + path}},
		{name: "the resource is on another host, which is down", change: func(c *authagent.Config) { c.API.Resource = "https://127.0.0.1:1/api" },
			want: []string{"ERROR API.Resource: The host of the resource cannot be reached"}},
		{name: "no API", metadata: func(*bench) http.Handler { return http.NotFoundHandler() }, change: func(c *authagent.Config) { c.API.Resource = "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(_ *bench, c *authagent.Config) {
				c.Human = func(*http.Request) (string, error) { return "", nil }
				c.API.Resource, c.RedirectURL = "https://shop.example/api", "https://shop.example/auth/agent/callback"
				if test.change != nil {
					test.change(c)
				}
			})
			mux := mounts(b.RP, grants.OwnerApproval(&memstore.Grants{}))
			mux.Handle(path, b.RP.ResourceMetadataHandler())
			if test.metadata != nil {
				mux.Handle("GET "+path, test.metadata(b))
			}
			site := httptest.NewTLSServer(mux)
			defer site.Close()
			findingsAre(t, b, b.RP.CheckSite(t.Context(), site.URL), test.want)
		})
	}
}

// TestOwnerByEmailAtAPI_API_43 is API-43: where accounts are found by e-mail address, that of an agent at the API is the one
// in its access token, or in introspection. /userinfo is not asked, since it would be sent the token.
func TestOwnerByEmailAtAPI_API_43(t *testing.T) {
	b := newBench(t, func(b *bench, c *authagent.Config) { c.API.Resource = b.URL + "/api" })
	for _, test := range []struct {
		claims map[string]any
		status int
		code   string
	}{
		{map[string]any{"email": "Alice@example.com"}, 200, ""},
		{map[string]any{"email": "alice@example.com", "email_verified": false}, 403, "no_account"},
		{map[string]any{"email": "bob@example.com"}, 403, "no_account"},
		{nil, 403, "no_account"},
	} {
		for _, form := range []string{"JWT", "opaque"} {
			token := b.AS.AccessToken(b.Agent, authagenttest.APIToken{Audience: []string{b.URL + "/api"}, Claims: test.claims, Form: form})
			resp := b.Get(b.Bare(), "/me", "Authorization", "Bearer "+token)
			if resp.StatusCode != test.status || string(resp.Reason()) != test.code {
				t.Errorf("%s, %v: %d %s", form, test.claims, resp.StatusCode, resp.Text)
			}
		}
	}
	if n := b.AS.Count(authagenttest.PathUserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times", n)
	}
}
