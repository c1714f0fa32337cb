package requirements_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// A doorBench is a site whose API is open, at a server whose sub is the user and act.sub the agent.
type doorBench struct {
	*bench
	resource string
	agent    *authagenttest.Agent // alice's, at the server
	users    *memstore.SubjectUsers
	paths    map[string]int // see guardPathsOnce
}

func newDoorBench(t testing.TB, change ...func(*bench, *authagent.Config)) *doorBench {
	t.Helper()
	open := func(b *bench, c *authagent.Config) { c.API.Resource = b.URL + "/api" }
	b, users, _ := newSubjectBench(t, fullBySubject, append([]func(*bench, *authagent.Config){open}, change...)...)
	d := &doorBench{bench: b, resource: b.URL + "/api", agent: b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}), users: users}
	b.Mux("").Handle(api.MetadataPath(d.resource), b.RP.ResourceMetadataHandler())
	return d
}

// newDoorCluster is newDoorBench without sockets, for bubbles of testing/synctest too. instance starts another one.
func newDoorCluster(t testing.TB, change ...func(*bench, *authagent.Config)) *doorBench {
	t.Helper()
	return newDoorClusterOf(t, func(users *memstore.SubjectUsers, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(users, letIn{})
	}, change...)
}

// newDoorClusterOf is newDoorCluster with another scenario over the same users.
func newDoorClusterOf(t testing.TB, scenario func(*memstore.SubjectUsers, *authagent.Config), change ...func(*bench, *authagent.Config)) *doorBench {
	t.Helper()
	d := &doorBench{resource: "https://shop.example/api"}
	d.bench = newCluster(t, append([]func(*bench, *authagent.Config){func(b *bench, c *authagent.Config) {
		b.AS.Configure(func(q *authagenttest.Quirks, f *authagenttest.Features) {
			*q = authagenttest.Quirks{}
			*f = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
		})
		users := &memstore.SubjectUsers{}
		b.AliceID = users.Put(memstore.Account{User: authagent.User{Name: "Alice"}, Email: "alice@example.com"})
		users.AddSubject(c.Issuer, "user_a", b.AliceID)
		d.users = users
		scenario(users, c)
		c.Provider.SubjectIsUser, c.Human = true, testsite.Human
		c.API.Resource, c.Revocations, c.States = d.resource, &memstore.Revocations{}, &memstore.States{}
	}}, change...)...)
	d.agent = d.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
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

// apiToken is a good token's form, at any site whose API is open.
func apiToken(b *bench) authagenttest.APIToken {
	return authagenttest.APIToken{Audience: []string{b.Config.API.Resource}}
}

func opaque(t *authagenttest.APIToken) { t.Form = "opaque" }

// claiming is a token whose claims, or what introspection says, are changed.
func claiming(claims map[string]any) func(*authagenttest.APIToken) {
	return func(t *authagenttest.APIToken) { t.Claims = claims }
}

// typed is a JWT with another typ in its header.
func typed(typ any) func(*authagenttest.APIToken) {
	return func(t *authagenttest.APIToken) { t.Header = map[string]any{"typ": typ} }
}

// bad checks that a token is refused.
func (d *doorBench) bad(what, token string) {
	d.T.Helper()
	d.refused(what, "/me", token, 401, "invalid_token", `Bearer error="invalid_token", resource_metadata="`)
}

// good checks that a token is accepted, and returns its session.
func (d *doorBench) good(what, token string, header ...string) *authagent.Session {
	d.T.Helper()
	resp := d.Get(d.Bare(), "/me", append(header, "Authorization", "Bearer "+token)...)
	if resp.StatusCode != http.StatusOK {
		d.T.Errorf("%s: status %d, %s\n%s", what, resp.StatusCode, resp.Text, d.Log)
		return &authagent.Session{}
	}
	return resp.Session(d.T)
}

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
		default:
			d.refused(kind, "/me", token, 401, "invalid_token", `Bearer error="invalid_token", resource_metadata="`)
		}
	}
	if n := d.AS.Count(authagenttest.PathIntrospect); n != 1 { // of the one with HS256, for which no key is published
		t.Errorf("introspected %d times", n)
	}
}
