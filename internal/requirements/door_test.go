package requirements_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// A doorBench is a site whose API is open, at a server whose sub is the user and act.sub the agent.
type doorBench struct {
	*bench
	resource string
	agent    *authagenttest.Agent // alice's, at the server
}

func newDoorBench(t testing.TB, change ...func(*bench, *authagent.Config)) *doorBench {
	t.Helper()
	open := func(b *bench, c *authagent.Config) { c.API.Resource = b.URL + "/api" }
	b, _, _ := newSubjectBench(t, fullBySubject, append([]func(*bench, *authagent.Config){open}, change...)...)
	d := &doorBench{bench: b, resource: b.URL + "/api", agent: b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})}
	b.Mux("").Handle(api.MetadataPath(d.resource), b.RP.ResourceMetadataHandler())
	return d
}

// token returns a good token, or one that is changed in one respect.
func (d *doorBench) token(change ...func(*authagenttest.APIToken)) string {
	like := authagenttest.APIToken{Audience: []string{d.resource}}
	for _, f := range change {
		f(&like)
	}
	return d.AS.AccessToken(d.agent, like)
}

func opaque(t *authagenttest.APIToken) { t.Form = "opaque" }

// call sends a request with a token, and no cookie.
func (d *doorBench) call(path, token string) *response {
	d.T.Helper()
	return d.Get(d.Bare(), path, "Authorization", "Bearer "+token)
}

// refused checks how a request with a token is refused.
func (d *doorBench) refused(what, path, token string, status int, code problem.Reason, challenge string) {
	d.T.Helper()
	resp := d.call(path, token)
	if resp.StatusCode != status || resp.Reason() != code || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), challenge) {
		d.T.Errorf("%s: status %d, %s, challenge %q", what, resp.StatusCode, resp.Text, resp.Header["Www-Authenticate"])
	}
}

// TestSamePrincipal_API_1: an agent that comes with an access token is in the context like one with a cookie.
func TestSamePrincipal_API_1(t *testing.T) {
	for name, form := range map[string]func(*authagenttest.APIToken){"JWT": func(*authagenttest.APIToken) {}, "opaque": opaque} {
		d := newDoorBench(t)
		token := d.token(form)
		for range 2 {
			resp := d.call("/me", token)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: status %d, %s\n%s", name, resp.StatusCode, resp.Text, d.Log)
			}
			if s := resp.Session(t); s.UserID != d.AliceID || s.Agent != (authagent.Agent{Issuer: d.AS.URL, ID: "agent_1"}) || s.Access != authagent.AccessFull {
				t.Errorf("%s: session %+v", name, s)
			}
		}
		if events := d.Events.Named(audit.TokenAccepted); len(events) != 1 || events[0].Door != audit.API {
			t.Errorf("%s: events %+v", name, events)
		}
		if n := d.AS.Count(authagenttest.PathUserInfo); n != 0 {
			t.Errorf("%s: userinfo was asked %d times", name, n)
		}
	}
}

// TestForgeries_API_2: whatever is wrong with a token, it is refused, and the server is not asked.
func TestForgeries_API_2(t *testing.T) {
	d := newDoorBench(t)
	for _, kind := range authagenttest.Forgeries() {
		token := d.AS.ForgedToken(d.agent, authagenttest.APIToken{Audience: []string{d.resource}}, kind)
		switch kind {
		case "huge":
			d.refused(kind, "/me", token, 400, "invalid_credentials", `Bearer error="invalid_request", resource_metadata="`)
		case "no iat": // allowed, for as long as a session can last
			if resp := d.call("/me", token); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s\n%s", kind, resp.Text, d.Log)
			}
		default:
			d.refused(kind, "/me", token, 401, "invalid_token", `Bearer error="invalid_token", resource_metadata="`)
		}
	}
	if n := d.AS.Count(authagenttest.PathIntrospect); n != 1 { // of the one with HS256, for which no key is published
		t.Errorf("introspected %d times", n)
	}
}
