package requirements_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
)

// permitted opens the API with these scopes.
func permitted(_ *bench, c *authagent.Config) {
	c.Permissions = scopes
	c.API.Scopes = map[string]string{"shop:read": "See orders", "orders:write": "Order"}
}

const doorMetadata = `resource_metadata="https://shop.example/.well-known/oauth-protected-resource/api"`

// TestChallenge_API_11: an agent without credentials learns where to get some, and no error. One with credentials learns
// what is wrong with them, in constant texts.
func TestChallenge_API_11(t *testing.T) {
	d := newDoorCluster(t, permitted)
	d.guardPaths()
	for _, path := range []string{"/me", "/data", "/g/action", "/g/approval"} {
		lines := d.Get(d.Bare(), path).Header["Www-Authenticate"]
		if len(lines) != 2 || lines[0] != "Bearer "+doorMetadata || !strings.HasPrefix(lines[1], "AuthAgent ") {
			t.Errorf("%s: challenges %q", path, lines)
		}
	}
	if got := d.Get(d.Bare(), "/g/human").Header["Www-Authenticate"]; !slices.Equal(got, []string{"Human"}) {
		t.Errorf("people's: %q", got)
	}
	for what, test := range map[string]struct {
		line   string
		status int
		want   string
	}{
		"malformed": {"Bearer a b", 400, `Bearer error="invalid_request", ` + doorMetadata},
		"bad":       {"Bearer stolen-from-somebody", 401, `Bearer error="invalid_token", ` + doorMetadata},
	} {
		for _, path := range []string{"/me", "/open", "/g/human"} {
			resp := d.Get(d.Bare(), path, "Authorization", test.line)
			if got := resp.Header["Www-Authenticate"]; resp.StatusCode != test.status || !slices.Equal(got, []string{test.want}) {
				t.Errorf("%s at %s: %d %q", what, path, resp.StatusCode, got)
			}
			if strings.Contains(resp.Text, "stolen") || strings.Contains(resp.Text, "sign_in") {
				t.Errorf("%s at %s: %s", what, path, resp.Text)
			}
		}
	}
	if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer bad", "Accept", "text/html"); resp.StatusCode != 401 || resp.Header.Get("Location") != "" {
		t.Errorf("a browser: %d %v", resp.StatusCode, resp.Header)
	}
}

// names reports whether a challenge names these scopes and no others, in any order.
func names(challenge, scopes string) bool {
	_, rest, _ := strings.Cut(challenge, `scope="`)
	named, _, _ := strings.Cut(rest, `"`)
	want, have := strings.Fields(scopes), strings.Fields(named)
	slices.Sort(want)
	slices.Sort(have)
	return slices.Equal(have, want)
}

// TestInsufficientScope_API_12: who lacks a scope learns all that are needed: those it has, and of the others the ones that
// allow least.
func TestInsufficientScope_API_12(t *testing.T) {
	d := newDoorCluster(t, permitted)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for path, guarded := range map[string]http.Handler{
		"/read": d.RP.RequireAccess(authagent.AccessRead)(ok), "/all": d.RP.RequireAccess(authagent.AccessFull)(ok),
		"/create": d.RP.RequireAction("orders:create")(ok), "/delete": d.RP.RequireApproval("orders:delete", approverFunc(approveAll))(ok),
		"/unknown": d.RP.RequireAction("orders:unknown")(ok),
	} {
		d.Mux("").Handle(path, guarded)
	}
	for _, test := range []struct{ has, path, needs string }{ // who has none is told of what it needs to come in
		{"", "/read", "shop:read"}, {"shop:read", "/read", "-"}, {"nothing", "/read", "nothing shop:read"},
		{"", "/all", "shop:read"}, {"shop:read", "/all", "shop:read shop:all"},
		{"shop:read", "/create", "shop:read orders:write"}, {"shop:read orders:write", "/create", "-"},
		{"", "/create", "orders:write shop:read"}, {"nothing", "/create", "nothing orders:write shop:read"}, {"orders:write", "/create", "orders:write shop:read"},
		{"", "/delete", "shop:read orders:end"}, {"shop:read", "/delete", "shop:read orders:end"}, {"orders:end", "/delete", "-"},
		{"shop:read other:scope", "/unknown", "shop:read shop:all"},
	} {
		for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
			resp := d.call(test.path, d.token(as, func(t *authagenttest.APIToken) { t.Scopes = strings.Fields(test.has) }))
			got := resp.Header.Get("WWW-Authenticate")
			if test.needs == "-" {
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%q at %s, %s: %d %s", test.has, test.path, form, resp.StatusCode, resp.Text)
				}
				continue
			}
			if resp.StatusCode != 403 || resp.Reason() != "insufficient_scope" || !strings.HasPrefix(got, `Bearer error="insufficient_scope", scope="`) || !names(got, test.needs) ||
				!strings.HasSuffix(got, doorMetadata) {
				t.Errorf("%q at %s, %s: %d %q, want %q", test.has, test.path, form, resp.StatusCode, got, test.needs)
			}
		}
	}
	for _, header := range [][]string{{}, {"Authorization", "Basic YTpi"}} { // a browser is asked for no token
		c := d.Browser()
		d.grantsScope("openid shop:read")
		if resp := d.SignIn(c, d.agent); resp.StatusCode != 303 {
			t.Fatalf("%d %s", resp.StatusCode, resp.Text)
		}
		if resp := d.Get(c, "/all", header...); resp.StatusCode != 403 || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("a browser: %d %q", resp.StatusCode, resp.Header["Www-Authenticate"])
		}
	}
}

// TestResourceMetadata_API_15: the metadata of RFC 9728 is where a client looks for it, and the discovery document names it.
func TestResourceMetadata_API_15(t *testing.T) {
	for resource, path := range map[string]string{
		"https://shop.example/api": "/.well-known/oauth-protected-resource/api", "https://shop.example": "/.well-known/oauth-protected-resource",
		"https://shop.example/": "/.well-known/oauth-protected-resource", "https://shop.example/a%2Fb/c/": "/.well-known/oauth-protected-resource/a%2Fb/c",
	} {
		d := newDoorCluster(t, permitted, func(_ *bench, c *authagent.Config) {
			c.API.Resource, c.Paths.Discovery = resource, "/auth.md"
		})
		if got := api.MetadataPath(resource); got != path {
			t.Fatalf("%s: path %s", resource, got)
		}
		get := func(method string) *response {
			w := d.Mux("")
			w.Handle("/metadata"+method, d.RP.ResourceMetadataHandler())
			return d.Do(d.Bare(), method, "/metadata"+method)
		}
		resp := get("GET")
		var got map[string]any
		if err := json.Unmarshal([]byte(resp.Text), &got); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s", resource, resp.StatusCode, resp.Text)
		}
		want := map[string]any{
			"resource": resource, "authorization_servers": []any{d.AS.URL}, "scopes_supported": []any{"orders:write", "shop:read"},
			"bearer_methods_supported": []any{"header"}, "resource_name": "shop.example", "resource_documentation": "https://shop.example/auth.md",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", resource, diff)
		}
		if resp := get("HEAD"); resp.StatusCode != 200 || resp.Header.Get("Content-Length") == "" {
			t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
		}
		if resp := get("POST"); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("POST: %d %v", resp.StatusCode, resp.Header)
		}
		d.Mux("").Handle("/auth.md", d.RP.DiscoveryHandler())
		d.Mux("").Handle("/auth.json", d.RP.DiscoveryHandler())
		for _, document := range []string{"/auth.md", "/auth.json"} {
			text := d.Get(d.Bare(), document).Text
			for _, name := range []string{resource, api.MetadataURL(resource), "See orders"} {
				if !strings.Contains(text, name) {
					t.Errorf("%s does not name %s:\n%s", document, name, text)
				}
			}
		}
	}
	for _, none := range []string{"", "api", "urn:api", "https://"} {
		if api.MetadataPath(none) != "" || api.MetadataURL(none) != "" {
			t.Errorf("%q has metadata at %q", none, api.MetadataURL(none))
		}
	}
}

// TestScopesTakenAway_API_12: a session whose token has lost its scopes since is told what it needs, at each guard.
func TestScopesTakenAway_API_12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t, permitted)
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		d.Mux("").Handle("/create", d.RP.RequireAction("orders:create")(ok))
		d.Mux("").Handle("/delete", d.RP.RequireApproval("orders:delete", approverFunc(approveAll))(ok))
		token := d.token(opaque, func(t *authagenttest.APIToken) { t.Scopes = []string{"shop:all"} })
		d.good("with all", token)
		d.AS.Wrap(authagenttest.PathIntrospect, rewrite(map[string]any{"scope": "nothing"}))
		time.Sleep(30 * time.Second)
		for path, needs := range map[string]string{"/data": "nothing shop:read", "/full": "nothing shop:all", "/create": "nothing orders:write shop:read", "/delete": "nothing orders:end"} {
			resp := d.call(path, token)
			if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 403 || resp.Reason() != "insufficient_scope" || !names(got, needs) {
				t.Errorf("%s: %d %s %q, want %q", path, resp.StatusCode, resp.Reason(), got, needs)
			}
		}
	})
}
