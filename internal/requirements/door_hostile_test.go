package requirements_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
)

// TestAudience_API_3: a token counts for the API that it names byte for byte, and for no other.
func TestAudience_API_3(t *testing.T) {
	d := newDoorCluster(t)
	for what, test := range map[string]struct {
		audience    []string
		jwt, opaque bool // it is accepted
		anyJWT      bool // also with typ JWT
	}{
		"ours":                         {[]string{d.resource}, true, true, true},
		"several with ours":            {[]string{"https://other.example/api", d.resource}, true, true, true},
		"our client ID beside ours":    {[]string{"site", d.resource}, true, true, false},
		"another":                      {[]string{"https://other.example/api"}, false, false, false},
		"none":                         {nil, false, false, false},
		"our client ID":                {[]string{"site"}, false, false, false},
		"the site":                     {[]string{d.URL}, false, false, false},
		"with a slash at the end":      {[]string{d.resource + "/"}, false, false, false},
		"in another case":              {[]string{"https://SHOP.example/api"}, false, false, false},
		"what ours begins with":        {[]string{strings.TrimSuffix(d.resource, "i")}, false, false, false},
		"ours and another in one text": {[]string{d.resource + " https://other.example/api"}, false, false, false},
	} {
		aud := func(t *authagenttest.APIToken) { t.Audience = test.audience }
		for form, change := range map[string]struct {
			as       func(*authagenttest.APIToken)
			accepted bool
		}{
			"JWT": {func(*authagenttest.APIToken) {}, test.jwt}, "typ JWT": {typed("JWT"), test.anyJWT},
			"no typ": {typed(nil), test.anyJWT}, "opaque": {opaque, test.opaque},
		} {
			if token := d.token(aud, change.as); change.accepted {
				d.good(what+", "+form, token)
			} else {
				d.bad(what+", "+form, token)
			}
		}
	}
	for what, aud := range map[string]string{"null": "null", "no text": "1", "an empty list": "[]", "a list in a list": `[["` + d.resource + `"]]`} {
		for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
			d.bad("aud is "+what+", "+form, d.token(as, claiming(map[string]any{"aud": json.RawMessage(aud)})))
		}
	}
}

// TestOtherKinds_API_4: what the server has issued for something else than calls to an API is none of its access tokens.
func TestOtherKinds_API_4(t *testing.T) {
	d := newDoorCluster(t)
	for what, typ := range map[string]any{
		"at+jwt": "at+jwt", "application/at+jwt": "application/at+jwt", "AT+JWT": "AT+JWT", "JWT": "JWT", "none": nil,
	} {
		d.good("typ "+what, d.token(typed(typ)))
	}
	for _, typ := range []string{"logout+jwt", "dpop+jwt", "secevent+jwt", "oauth-id-jag+jwt", "token-introspection+jwt", "id_token", "at+jwt+x"} {
		d.bad("typ "+typ, d.token(typed(typ)))
	}
	for _, typ := range []any{"JWT", nil} {
		d.bad("at_hash", d.token(typed(typ), claiming(map[string]any{"at_hash": "x"})))
		d.bad("c_hash", d.token(typed(typ), claiming(map[string]any{"c_hash": "x"})))
	}
	for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("JWT"), "at+jwt": typed("at+jwt"), "opaque": opaque} {
		for _, good := range []map[string]any{{"typ": "Bearer"}, {"token_use": "access"}, {"token_use": "access_token"}, {"token_type": "bearer"}} {
			d.good(form, d.token(as, claiming(good)))
		}
		for _, other := range []map[string]any{
			{"typ": "ID"}, {"typ": "Refresh"}, {"typ": "Offline"}, {"typ": "Logout"}, {"token_use": "id"}, {"token_use": "refresh_token"},
			{"token_type": "refresh_token"}, {"token_type": "DPoP"}, {"typ": 1}, {"token_use": []string{"access"}},
		} {
			d.bad(form, d.token(as, claiming(other)))
		}
		for what, claims := range map[string]map[string]any{
			"issuer with a slash":  {"iss": d.AS.URL + "/"},
			"issuer in other case": {"iss": strings.ToUpper(d.AS.URL)},
			"nbf ahead":            {"nbf": 1 << 40},
			"iat ahead":            {"iat": 1 << 40},
			"no subject":           {"sub": nil},
			"no agent":             {"act": nil},
			"a person as actor":    {"act": map[string]any{"sub": "agent_1", "sub_profile": "user"}},
			"actor elsewhere":      {"act": map[string]any{"sub": "agent_1", "iss": "https://other.example"}},
			"agent is the user":    {"act": map[string]any{"sub": "user_a"}},
		} {
			d.bad(what+", "+form, d.token(as, claiming(claims)))
		}
	}
	for what, claims := range map[string]map[string]any{"iss": {"iss": []string{d.AS.URL}}, "exp": {"exp": "tomorrow"}} {
		d.bad(what+" of another type", d.token(claiming(claims)))
		d.refused(what+" of another type in introspection", "/me", d.token(opaque, claiming(claims)), 502, "invalid_response", "")
	}
	d.bad("exp null", d.token(claiming(map[string]any{"exp": json.RawMessage("null")})))
	d.AS.Wrap(authagenttest.PathIntrospect, authagenttest.Reply(200, "application/json",
		`{"active":false,"active":true,"iss":"`+d.AS.URL+`","aud":"`+d.resource+`","sub":"user_a","act":{"sub":"agent_1"},"exp":4000000000}`))
	if resp := d.call("/me", "opaque"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("members twice in introspection: %d %s", resp.StatusCode, resp.Text)
	}
}

// TestBound_API_5: a token that is bound to a key does not open the door alone.
func TestBound_API_5(t *testing.T) {
	d := newDoorCluster(t)
	for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
		for _, cnf := range []string{`{"jkt":"x"}`, `{"x5t#S256":"x"}`, `{}`, `""`, `false`} {
			d.bad(form+" "+cnf, d.token(as, claiming(map[string]any{"cnf": json.RawMessage(cnf)})))
		}
		d.good(form+" null", d.token(as, claiming(map[string]any{"cnf": json.RawMessage("null")})))
	}
}

// TestHeader_API_6: a token comes in one header, well written, and a request with one is not a person's.
func TestHeader_API_6(t *testing.T) {
	asked := &testsite.Counter{}
	d := newDoorCluster(t, func(_ *bench, c *authagent.Config) {
		c.Human = func(r *http.Request) (string, error) { asked.Add(); return testsite.Human(r) }
	})
	token := d.token()
	get := func(path string, lines ...string) *response {
		var header []string
		for _, line := range lines {
			header = append(header, "Authorization", line)
		}
		return d.Get(d.Bare(), path, append(header, "Cookie", "human="+d.AliceID)...)
	}
	for _, line := range []string{"Bearer " + token, "bearer " + token, "BEARER " + token, "Bearer   " + token, "Bearer " + token + " "} {
		if resp := get("/me", line); resp.StatusCode != http.StatusOK {
			t.Errorf("%.10q: %d %s", line, resp.StatusCode, resp.Text)
		}
	}
	for what, lines := range map[string][]string{
		"twice": {"Bearer " + token, "Bearer " + token}, "another before": {"Basic YTpi", "Bearer " + token}, "another after": {"Bearer " + token, "Basic YTpi"},
		"empty": {"Bearer"}, "blank": {"Bearer  "}, "a comma": {"Bearer " + token + ",Bearer " + token}, "another before a comma": {"Basic YTpi, bearer " + token},
		"a tab": {"Bearer\t" + token}, "two words": {"Bearer " + token + " x"}, "no letter of b64token": {"Bearer " + token + "\""}, "not ASCII": {"Bearer é"},
		"a percent": {"Bearer a%20b"}, "too long": {"Bearer " + strings.Repeat("a", 16<<10+1)},
	} {
		for _, path := range []string{"/me", "/data", "/open", "/humans"} {
			resp := get(path, lines...)
			if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 400 || resp.Reason() != "invalid_credentials" ||
				!strings.HasPrefix(challenge, `Bearer error="invalid_request", resource_metadata="`) {
				t.Errorf("%s at %s: %d %s %q", what, path, resp.StatusCode, resp.Text, challenge)
			}
		}
	}
	if n := asked.Count(); n != 0 {
		t.Errorf("Human was asked %d times about requests with a token", n)
	}
	for _, line := range []string{"Basic YTpi", "DPoP " + token, "Bearers " + token, token} {
		if resp := get("/data", line); resp.StatusCode != http.StatusOK || strings.Contains(resp.Text, "agent_1") {
			t.Errorf("%.10q is no person's: %d %s", line, resp.StatusCode, resp.Text)
		}
	}
	if n := asked.Count(); n != 4 {
		t.Errorf("Human was asked %d times, want 4", n)
	}
	for _, path := range []string{"/me?access_token=" + token, "/me?bearer_token=" + token} {
		if resp := d.Get(d.Bare(), path); resp.StatusCode != 401 || resp.Reason() != "no_session" {
			t.Errorf("a token in the address: %d %s", resp.StatusCode, resp.Text)
		}
	}
	if resp := d.Send(d.Bare(), "POST", "/me", "access_token="+token, "Content-Type", formType); resp.StatusCode != 401 || resp.Reason() != "no_session" {
		t.Errorf("a token in a form: %d %s", resp.StatusCode, resp.Text)
	}
	if n := len(d.Events.Named(audit.TokenAccepted)); n != 1 {
		t.Errorf("accepted %d times", n)
	}
}
