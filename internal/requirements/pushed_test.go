package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// pushes makes the server one that takes pushed requests: "offered" or "required".
func pushes(mode string) checkChange {
	return feature(func(f *authagenttest.Features) { f.PushedRequests = mode })
}

func setPush(_ *bench, c *authagent.Config) { c.Provider.PushRequests = true }

// pushedForms are the authorization requests that were pushed.
func (b *bench) pushedForms() (forms []url.Values) {
	for _, r := range b.AS.Requests(authagenttest.PathPushed) {
		form, _ := url.ParseQuery(string(r.Body))
		forms = append(forms, form)
	}
	return forms
}

// TestPushed_PAR_1 is PAR-1: where the setting or the metadata says so, the authorization request is
// pushed with all that it has, by POST and with the proof of the client, once for each login. The
// browser gets what stands for it, and nothing else. Otherwise nothing is pushed.
func TestPushed_PAR_1(t *testing.T) {
	for name, test := range map[string]struct {
		changes []checkChange
		pushed  bool
	}{
		"demanded":              {[]checkChange{quirksOff, pushes("required")}, true},
		"set":                   {[]checkChange{quirksOff, pushes("offered"), setPush}, true},
		"demanded, with a key":  {[]checkChange{withKeys(newKey(t)), pushes("required")}, true},
		"demanded, by Basic":    {[]checkChange{quirksOff, pushes("required"), func(_ *bench, c *authagent.Config) { c.Provider.ClientAuth = "client_secret_basic" }}, true},
		"demanded, JSON bodies": {[]checkChange{pushes("required")}, true},
		"offered and not set":   {[]checkChange{quirksOff, pushes("offered")}, false},
		"published":             {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, append(test.changes, func(b *bench, c *authagent.Config) { c.Provider.Scopes = []string{"openid", "email"} })...)
			b.mountKeys()
			c := b.Browser()
			address := mustParse(t, b.Begin(c, ""))
			var callback string
			if test.pushed {
				query := address.Query()
				uri := query.Get("request_uri")
				if diff := cmp.Diff(url.Values{"client_id": {"site"}, "request_uri": {uri}}, query); diff != "" || !strings.HasPrefix(uri, "urn:ietf:") {
					t.Errorf("the browser gets %s", address)
				}
			}
			callback = b.Authorize(b.Agent, address.String())
			if resp := b.Get(c, callback); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("callback: %d %s", resp.StatusCode, resp.Text)
			}
			got := b.AS.Requests(authagenttest.PathPushed)
			if !test.pushed {
				if len(got) != 0 {
					t.Errorf("%d requests were pushed", len(got))
				}
				return
			}
			if len(got) != 1 || got[0].Method != http.MethodPost {
				t.Fatalf("pushed %v", got)
			}
			for _, name := range []string{"state", "nonce", "code_challenge", "code_challenge_method", "scope", "redirect_uri", "response_type", "client_id"} {
				if !strings.Contains(string(got[0].Body), name) {
					t.Errorf("%s was not pushed", name)
				}
			}
			if strings.Contains(string(got[0].Body), "code_verifier") {
				t.Error("the verifier was pushed")
			}
		})
	}
}

// TestPushedOrNothing_PAR_2 is PAR-2: a request that has to be pushed and cannot be is not sent in a URL.
// The login is refused before the browser has a cookie, for a reason that says whose fault it is,
// and the log names the setting.
func TestPushedOrNothing_PAR_2(t *testing.T) {
	answers := func(status int, body string) checkChange {
		return wrapped(authagenttest.PathPushed, authagenttest.Reply(status, "application/json", body))
	}
	for name, test := range map[string]struct {
		changes []checkChange
		reason  problem.Reason
		log     string
	}{
		"no endpoint": {[]checkChange{quirksOff, setPush}, "server_not_ready", "Provider.PushRequests is set"},
		"demanded, no endpoint": {[]checkChange{quirksOff, wrapped(authagenttest.PathMetadata, authagenttest.WithMember("require_pushed_authorization_requests", true))},
			"server_not_ready", "Provider.Endpoints.PushedAuthorization"},
		"an endpoint elsewhere": {[]checkChange{quirksOff, setPush, wrapped(authagenttest.PathMetadata, authagenttest.WithMember("pushed_authorization_request_endpoint", "https://other.example/par"))},
			"server_not_ready", "pushed_authorization_request_endpoint"},
		"the request is refused": {[]checkChange{quirksOff, pushes("required"), answers(400, `{"error":"invalid_request"}`)}, "client_refused", "invalid_request"},
		"the scope is refused":   {[]checkChange{quirksOff, pushes("required"), answers(400, `{"error":"invalid_scope"}`)}, "client_refused", "invalid_scope"},
		"the client is refused":  {[]checkChange{quirksOff, pushes("required"), answers(401, `{"error":"invalid_client"}`)}, "client_refused", "invalid_client"},
		"the server is away":     {[]checkChange{quirksOff, pushes("required"), answers(503, ``)}, "server_unavailable", "503"},
		"another answer":         {[]checkChange{quirksOff, pushes("required"), answers(201, `{"request_uri":""}`)}, "invalid_response", "request_uri"},
		"a long request_uri":     {[]checkChange{quirksOff, pushes("required"), answers(201, `{"request_uri":"`+strings.Repeat("u", 513)+`"}`)}, "invalid_response", "request_uri"},
		"a redirect":             {[]checkChange{quirksOff, pushes("required"), answers(307, ``)}, "invalid_response", "307"},
		"no secret":              {[]checkChange{quirksOff, pushes("required"), func(_ *bench, c *authagent.Config) { c.ClientSecret, c.Provider.ClientSecretFunc = "", noSecretToday }}, "store_failed", "no client secret"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, append([]checkChange{func(_ *bench, c *authagent.Config) { c.Provider.ClientAuth = "client_secret_post" }}, test.changes...)...)
			resp := b.Get(b.Browser(), "/auth/agent/login")
			if resp.Reason() != test.reason || resp.Header.Get("Location") != "" || len(resp.Cookies()) != 0 {
				t.Errorf("%d %s %v", resp.StatusCode, resp.Text, resp.Header)
			}
			if log := b.Log.String(); !strings.Contains(log, test.log) {
				t.Errorf("the log lacks %q:\n%s", test.log, log)
			}
			if n := len(b.AS.Requests(authagenttest.PathAuthorize)); n != 0 {
				t.Errorf("%d authorization requests", n)
			}
			if n := len(b.AS.Requests(authagenttest.PathPushed)); n > 1 {
				t.Errorf("pushed %d times", n)
			}
		})
	}
}

// TestPushedLimit_PAR_3 is PAR-3: Limits.Logins bounds what is pushed.
func TestPushedLimit_PAR_3(t *testing.T) {
	b := newBench(t, quirksOff, pushes("required"), func(_ *bench, c *authagent.Config) {
		c.Limits.Logins.N, c.Limits.Logins.Per = 2, time.Hour
		c.ClientAddr = func(*http.Request) string { return "203.0.113.7" }
	})
	for range 5 {
		b.Get(b.Browser(), "/auth/agent/login")
	}
	if n := len(b.pushedForms()); n != 2 {
		t.Errorf("pushed %d times, want 2", n)
	}
}

// TestPushedCheck_PAR_4 is PAR-4: Check pushes its own request, and says what keeps requests from
// being pushed, by the setting that mends it.
func TestPushedCheck_PAR_4(t *testing.T) {
	openID := func(_ *bench, c *authagent.Config) { c.Provider.Scopes = []string{"openid", "email"} }
	for name, test := range map[string]struct {
		changes []checkChange
		want    []string
		pushed  int
	}{
		"demanded":         {[]checkChange{quirksOff, pushes("required")}, nil, 1},
		"set, openid":      {[]checkChange{quirksOff, pushes("offered"), setPush, openID}, nil, 1},
		"offered":          {[]checkChange{quirksOff, pushes("offered")}, nil, 0},
		"set, no endpoint": {[]checkChange{quirksOff, setPush}, []string{"ERROR Provider.PushRequests: Provider.PushRequests is set, and the server has no endpoint"}, 0},
		"of this client":   {[]checkChange{quirksOff, pushes("required"), wrapped(authagenttest.PathMetadata, authagenttest.WithMember("require_pushed_authorization_requests", false))}, []string{"ERROR Provider.PushRequests: The server takes pushed"}, 0},
		"another redirect": {[]checkChange{quirksOff, pushes("required"), func(_ *bench, c *authagent.Config) { c.RedirectURL += "/2" }}, []string{"ERROR RedirectURL: The server refuses the pushed"}, 1},
		"another secret": {[]checkChange{quirksOff, pushes("required"), func(_ *bench, c *authagent.Config) {
			c.ClientSecret, c.Provider.ClientAuth = "cs_wrong", "client_secret_post"
		}}, []string{"ERROR ClientSecret: The server does not accept the secret"}, 1},
		"scope":  {[]checkChange{quirksOff, pushes("required"), wrapped(authagenttest.PathPushed, authagenttest.Reply(400, "application/json", `{"error":"invalid_scope"}`))}, []string{"ERROR Provider.Scopes: The server does not know the scopes"}, 1},
		"broken": {[]checkChange{quirksOff, pushes("required"), wrapped(authagenttest.PathPushed, authagenttest.Reply(500, "text/plain", ""))}, []string{"ERROR Issuer: The endpoint for pushed authorization requests does not work"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.changes...)
			findingsAre(t, b, b.RP.Check(t.Context()), test.want)
			forms := b.pushedForms()
			if len(forms) != test.pushed {
				t.Errorf("pushed %d times, want %d", len(forms), test.pushed)
			}
			if name == "set, openid" && forms[0].Get("prompt") != "none" {
				t.Errorf("pushed %v", forms[0])
			}
		})
	}
}

// params are what a site adds to authorization requests.
func params(_ *bench, c *authagent.Config) {
	c.Provider.AuthorizationParams = url.Values{"acr_values": {"high"}, "resource": {"https://api.example/v1?x=1", "urn:example:files"}}
}

// TestParams_AUTHZ_1 is AUTHZ-1: the site's parameters are in each authorization request, pushed or
// not, beside the protocol's. A later change of the map changes nothing.
func TestParams_AUTHZ_1(t *testing.T) {
	for name, changes := range map[string][]checkChange{"in the URL": {quirksOff}, "pushed": {quirksOff, pushes("required")}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, append(changes, params)...)
			b.Config.Provider.AuthorizationParams["acr_values"][0] = "low"
			b.Config.Provider.AuthorizationParams.Set("state", "x")
			sent := mustParse(t, b.Begin(b.Browser(), "")).Query()
			if forms := b.pushedForms(); len(forms) > 0 {
				sent = forms[0]
			}
			for name, want := range map[string]string{
				"acr_values": "high", "resource": "https://api.example/v1?x=1 urn:example:files", "response_type": "code", "client_id": "site",
				"redirect_uri": b.Config.RedirectURL,
			} {
				if got := strings.Join(sent[name], " "); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if len(sent["state"]) != 1 || sent.Get("state") == "x" {
				t.Errorf("state %q", sent["state"])
			}
			b.MustSignIn(b.Browser(), b.Agent)
		})
	}
}

// TestParamsReserved_AUTHZ_2 is AUTHZ-2: no parameter of the protocol's can be set, in any spelling,
// and a resource is an absolute URI without a fragment.
func TestParamsReserved_AUTHZ_2(t *testing.T) {
	wrong := map[string]url.Values{}
	for _, name := range []string{
		"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
		"request", "request_uri", "client_secret", "client_assertion", "client_assertion_type", "code_verifier", "State", "REDIRECT_URI",
	} {
		wrong[fmt.Sprintf("%q is the protocol's own", name)] = url.Values{name: {"x"}}
	}
	for _, resource := range []string{"api", "/api", "//api.example", "https://api.example/#x", "https://api.example/#", ":"} {
		wrong[fmt.Sprintf("resource %q", resource)] = url.Values{"resource": {"urn:a", resource}}
	}
	wrong["a parameter without a name"] = url.Values{"": {"x"}}
	for want, values := range wrong {
		c := validConfig()
		c.Provider.AuthorizationParams = values
		if _, err := authagent.New(c); err == nil || !strings.HasPrefix(err.Error(), "authagent: Provider.AuthorizationParams: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v", values, err)
		}
	}
	c := validConfig()
	c.Provider = provider.Settings{AuthorizationParams: url.Values{"audience": {"a", "b"}, "prompt": {"login"}, "resource": {"urn:a"}, "ui_locales": nil}}
	if _, err := authagent.New(c); err != nil {
		t.Error(err)
	}
}

// TestResource_AUTHZ_3 is AUTHZ-3: a resource is sent with the code and with each refresh (RFC 8707
// section 2.2), by a form and in JSON.
func TestResource_AUTHZ_3(t *testing.T) {
	for name, test := range map[string]struct {
		changes []checkChange
		want    string
	}{
		"form": {[]checkChange{quirksOff}, "resource=https%3A%2F%2Fapi.example%2Fv1%3Fx%3D1&resource=urn%3Aexample%3Afiles"},
		"JSON": {nil, `"resource":["https://api.example/v1?x=1","urn:example:files"]`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCluster(t, append(test.changes, params, func(_ *bench, c *authagent.Config) {
					c.Tokens.Store, c.Session.Idle = &memstore.Tokens{}, 24*time.Hour
				})...)
				session := b.MustSignIn(b.Browser(), b.Agent)
				time.Sleep(2 * time.Hour)
				if _, err := b.RP.TokenSource(t.Context(), session).Token(); err != nil {
					t.Fatal(err)
				}
				asked := map[string]int{}
				for _, r := range b.AS.Requests(authagenttest.PathToken) {
					if testsite.IsProbe(r) {
						continue
					}
					for _, grant := range []string{"authorization_code", "refresh_token"} {
						if strings.Contains(string(r.Body), grant) {
							asked[grant]++
						}
					}
					if !strings.Contains(string(r.Body), test.want) {
						t.Errorf("%s lacks %s", r.Body, test.want)
					}
				}
				if asked["authorization_code"] != 1 || asked["refresh_token"] != 1 {
					t.Errorf("tokens were asked for %v times", asked)
				}
			})
		})
	}
}

// TestButtonLabel_WEB_16 is WEB-16: what the button says is the site's to set, and the same
// everywhere that agents are told of it. Nothing invisible gets in.
func TestButtonLabel_WEB_16(t *testing.T) {
	const label = `Continue with "Ex&mple"`
	b := newBench(t, func(_ *bench, c *authagent.Config) { c.Provider.ButtonLabel, c.Paths.Discovery = label, "/auth.md" })
	b.Mux("").Handle("/auth.md", b.RP.DiscoveryHandler())
	b.Mux("").Handle("/agents.json", b.RP.DiscoveryHandler())
	if button := string(b.RP.Button("")); !strings.Contains(button, ">Continue with &#34;Ex&amp;mple&#34;</a>") || !strings.Contains(button, `class="auth-agent-button"`) {
		t.Errorf("button %s", button)
	}
	text, object := b.Get(b.Bare(), "/auth.md"), b.Get(b.Bare(), "/agents.json")
	if !strings.Contains(text.Text, `the button "`+label+`"`) || strings.Contains(text.Text, "Auth Agent") {
		t.Errorf("text %s", text.Text)
	}
	if !strings.Contains(object.Text, `"label": "Continue with \"Ex\u0026mple\""`) {
		t.Errorf("JSON %s", object.Text)
	}
	if links := text.Header["Link"]; len(links) == 0 || !strings.HasSuffix(links[0], `title="Continue with \"Ex&mple\""`) {
		t.Errorf("Link %q", links)
	}
	b = newBench(t, func(_ *bench, c *authagent.Config) { c.Provider.ButtonLabel = "Mit Ämtern" })
	if got := b.Get(b.Bare(), "/me").Header["Link"]; len(got) == 0 || !strings.HasSuffix(got[0], `title*=UTF-8''Mit%20%C3%84mtern`) {
		t.Errorf("Link %q", got)
	}
	for _, bad := range []string{" x", "x\ny", "x\u200by", "\u202ex", "x  y", strings.Repeat("x", 61), "\xff"} {
		c := validConfig()
		c.Provider.ButtonLabel = bad
		if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "Provider.ButtonLabel") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func noSecretToday(context.Context) (string, error) { return "", errors.New("vault is sealed") }

// TestPushedRelearned_PAR_5 is PAR-5: how the client proves itself where requests are pushed is
// learned as at the token endpoint, and a client that is registered anew costs one login.
func TestPushedRelearned_PAR_5(t *testing.T) {
	g := &registrar{method: "client_secret_basic"}
	as := rfcServer(t)
	g.guard(as)
	as.Wrap(authagenttest.PathPushed, g.wrap)
	b := newBenchOn(t, as, pushes("required"))
	b.MustSignIn(b.Browser(), b.Agent)
	g.method = "client_secret_post"
	if resp := b.Get(b.Browser(), "/auth/agent/login"); resp.Reason() != "client_refused" {
		t.Errorf("%d %s", resp.StatusCode, resp.Text)
	}
	b.MustSignIn(b.Browser(), b.Agent)
}
