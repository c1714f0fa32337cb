package requirements_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
)

// TestSeveralResources_API_44 is API-44: of two relying parties with a resource each, each takes the tokens for its own
// alone, and has metadata of its own.
func TestSeveralResources_API_44(t *testing.T) {
	d := newDoorBench(t)
	other := d.URL + "/partners"
	rp := d.Instance("other", func(c *authagent.Config) { c.API.Resource = other })
	d.Mux("other").Handle(api.MetadataPath(other), rp.ResourceMetadataHandler())
	tokens := map[string]string{"": d.token(), "other": d.token(func(like *authagenttest.APIToken) { like.Audience = []string{other} })}
	for name, resource := range map[string]string{"": d.resource, "other": other} {
		for of, token := range tokens {
			want := http.StatusUnauthorized
			if of == name {
				want = http.StatusOK
			}
			if resp := d.Get(d.Bare(), "/me", "X-Instance", name, "Authorization", "Bearer "+token); resp.StatusCode != want {
				t.Errorf("a token of %q at %q: %d, want %d", of, name, resp.StatusCode, want)
			}
		}
		if resp := d.Get(d.Bare(), api.MetadataPath(resource), "X-Instance", name); !strings.Contains(resp.Text, `"resource":"`+resource+`"`) {
			t.Errorf("metadata at %q: %s", name, resp.Text)
		}
		if resp := d.Get(d.Bare(), "/me", "X-Instance", name); !strings.Contains(strings.Join(resp.Header["Www-Authenticate"], ", "), `resource_metadata="`+api.MetadataURL(resource)+`"`) {
			t.Errorf("challenge at %q: %q", name, resp.Header["Www-Authenticate"])
		}
	}
}

// TestWhatAgentsSee_API_45 is API-45: the table of docs/api.md. Only what another token could help against has a Bearer
// challenge, and only with credentials that has an error.
func TestWhatAgentsSee_API_45(t *testing.T) {
	d := newDoorBench(t, func(_ *bench, c *authagent.Config) {
		c.Permissions = map[string]authagent.Permission{"orders:read": {Access: authagent.AccessRead}, "orders:write": {Access: authagent.AccessFull}}
	})
	d.Mux("").Handle("/people-only", d.RP.RequireHuman(http.NotFoundHandler()))
	reads := func(like *authagenttest.APIToken) { like.Scopes = []string{"orders:read"} }
	stranger := d.AS.AccessToken(d.AS.AddAgent(authagenttest.Agent{UserID: "nobody"}), authagenttest.APIToken{Audience: []string{d.resource}, Scopes: []string{"orders:read"}})
	metadata := `resource_metadata="` + api.MetadataURL(d.resource) + `"`
	for _, test := range []struct {
		name, path, authorization string
		status                    int
		code, challenge           string // challenge is that of Bearer, empty for none
	}{
		{"nothing", "/me", "", 401, "no_session", "Bearer " + metadata},
		{"Basic", "/me", "Basic YTpi", 401, "no_session", "Bearer " + metadata},
		{"good", "/me", "Bearer " + d.token(reads), 200, "", ""},
		{"lower case", "/me", "bearer " + d.token(reads), 200, "", ""},
		{"forged", "/me", "Bearer x.y.z", 401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		{"expired", "/me", "Bearer " + d.token(reads, func(like *authagenttest.APIToken) { like.Age = 2 * time.Hour }), 401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		{"bound", "/me", "Bearer " + d.token(reads, func(like *authagenttest.APIToken) { like.Claims = map[string]any{"cnf": map[string]any{"jkt": "x"}} }),
			401, "invalid_token", `Bearer error="invalid_token", ` + metadata},
		{"malformed", "/me", "Bearer a b", 400, "invalid_credentials", `Bearer error="invalid_request", ` + metadata},
		{"empty", "/me", "Bearer ", 400, "invalid_credentials", `Bearer error="invalid_request", ` + metadata},
		{"long", "/me", "Bearer " + strings.Repeat("a", 16<<10+1), 400, "invalid_credentials", `Bearer error="invalid_request", ` + metadata},
		{"no scope", "/me", "Bearer " + d.token(), 403, "insufficient_scope", `Bearer error="insufficient_scope", scope="orders:read", ` + metadata},
		{"too few scopes", "/full", "Bearer " + d.token(reads), 403, "insufficient_scope", `Bearer error="insufficient_scope", scope="orders:read orders:write", ` + metadata},
		{"for people", "/people-only", "Bearer " + d.token(reads), 403, "agent_forbidden", ""},
		{"no account", "/me", "Bearer " + stranger, 403, "no_account", ""},
	} {
		var header []string
		if test.authorization != "" {
			header = []string{"Authorization", test.authorization}
		}
		resp := d.Get(d.Bare(), test.path, header...)
		challenge := ""
		for _, line := range resp.Header["Www-Authenticate"] {
			if strings.HasPrefix(line, "Bearer") {
				challenge = line
			}
		}
		if resp.StatusCode != test.status || test.status >= 400 && string(resp.Reason()) != test.code || challenge != test.challenge {
			t.Errorf("%s: %d, %q, %s, want %d, %q, %s", test.name, resp.StatusCode, challenge, resp.Text, test.status, test.challenge, test.code)
		}
	}
}
