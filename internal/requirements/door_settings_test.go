package requirements_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/memstore"
)

// TestSettings_API_29: settings by which something else than an access token could open the door are refused, and those that
// have no effect.
func TestSettings_API_29(t *testing.T) {
	const resource = "https://rp.example/api"
	for what, test := range map[string]struct {
		api  api.Settings
		want string // of the error; empty for none
	}{
		"none":                  {api.Settings{}, ""},
		"a resource":            {api.Settings{Resource: resource}, ""},
		"a host":                {api.Settings{Resource: "https://rp.example"}, ""},
		"all":                   {api.Settings{Resource: resource, Scopes: map[string]string{"shop:read": "x"}, IntrospectEvery: time.Second, Own: func(*http.Request) bool { return false }}, ""},
		"the client ID":         {api.Settings{Resource: "https://rp.example/client"}, "API.Resource: is the client ID"},
		"http":                  {api.Settings{Resource: "http://rp.example/api"}, "API.Resource"},
		"no URL":                {api.Settings{Resource: "shop"}, "API.Resource"},
		"a URN":                 {api.Settings{Resource: "urn:shop:api"}, "API.Resource"},
		"query":                 {api.Settings{Resource: resource + "?x=1"}, "API.Resource: must not have a query"},
		"empty query":           {api.Settings{Resource: resource + "?"}, "API.Resource: must not have a query"},
		"fragment":              {api.Settings{Resource: resource + "#x"}, "API.Resource"},
		"empty fragment":        {api.Settings{Resource: resource + "#"}, "API.Resource"},
		"user":                  {api.Settings{Resource: "https://u@rp.example/api"}, "API.Resource"},
		"a scope of no use":     {api.Settings{Resource: resource, Scopes: map[string]string{"other": "x"}}, `API.Scopes: "other" is not in Config.Permissions`},
		"a scope that is none":  {api.Settings{Resource: resource, Scopes: map[string]string{"shop read": "x"}}, "API.Scopes"},
		"negative":              {api.Settings{Resource: resource, IntrospectEvery: -1}, "API.IntrospectEvery: must not be negative"},
		"no effect: Scopes":     {api.Settings{Scopes: map[string]string{"shop:read": "x"}}, "API.Resource: is required"},
		"no effect: Own":        {api.Settings{Own: func(*http.Request) bool { return true }}, "API.Resource: is required"},
		"no effect: Introspect": {api.Settings{IntrospectEvery: time.Second}, "API.Resource: is required"},
	} {
		c := validConfig()
		c.ClientID, c.API, c.Permissions = "https://rp.example/client", test.api, scopes
		c.Scenario = authagent.FullAccount(&memstore.SubjectUsers{}, letIn{})
		_, err := authagent.New(c)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", what, err, test.want)
		}
	}
	c := validConfig()
	c.RedirectURL, c.Issuer = devCallback, "http://127.0.0.1:9000"
	c.API.Resource = "http://127.0.0.1:8080/api"
	if _, err := authagent.New(c); err != nil {
		t.Errorf("in development: %v", err)
	}
}
