package enginetest_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/tokens"
)

// A site is one address with two instances behind it, which share keys and a
// database and nothing else. The header X-Instance: 2 goes to the second. It has
// no TLS, which would take most of the tests' time.
type site struct {
	*testsite.Site
	change func(*authagent.Config, *sqlstore.Store, *memstore.Users)
}

type response = testsite.Response

// users is a site's user store that remembers links in the database.
type users struct {
	*memstore.Users
	links *sqlstore.Links
}

func (u users) LinkAgent(ctx context.Context, agent authagent.Agent, userID string) (string, error) {
	return u.links.LinkAgent(ctx, agent, userID)
}

func (u users) LinkedUser(ctx context.Context, agent authagent.Agent) (string, error) {
	return u.links.LinkedUser(ctx, agent)
}

// newSite starts a site with FullAccount whose first instance has these stores;
// change alters the settings of all instances.
func newSite(t testing.TB, s *sqlstore.Store, change ...func(*authagent.Config, *sqlstore.Store, *memstore.Users)) *site {
	t.Helper()
	as := authagenttest.NewServer()
	t.Cleanup(as.Close)
	as.Configure(func(q *authagenttest.Quirks, _ *authagenttest.Features) { q.SameSecondTokens = false })
	b := &site{}
	for _, f := range change {
		b.change = f
	}
	b.Site = testsite.NewPlain(t, as, func(shared *testsite.Site, c *authagent.Config) {
		b.Site = shared
		b.on(s)(c)
	})
	return b
}

// on returns the settings of an instance with these stores.
func (b *site) on(s *sqlstore.Store) func(*authagent.Config) {
	return func(c *authagent.Config) {
		c.Scenario = authagent.FullAccount(users{b.Users, s.Links()}, authagent.InsecureTrustEmail)
		c.Session = authagent.SessionSettings{Store: s.Sessions()}
		c.Revocations, c.States, c.Tokens = s.Revocations(), s.States(), tokens.Settings{Store: s.Tokens()}
		c.Audit, c.Logger = s.Audit, slog.New(slog.DiscardHandler)
		if b.change != nil {
			b.change(c, s, b.Users)
		}
	}
}

// letIn lets the site's agent into its owner's account, with this access and these actions.
func letIn(t testing.TB, b *site, s *sqlstore.Store, owners *grants.Policy, access authagent.Access, actions ...string) {
	t.Helper()
	agent := authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID}
	r := authagent.LinkRequest{Agent: agent, Email: b.Agent.Email, Scenario: "FullAccount", User: &authagent.User{ID: b.AliceID, EmailVerified: true}}
	if err := owners.LinkByOwner(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	all, err := s.Grants().AgentGrants(t.Context(), agent)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	d := grants.Decision{GrantID: all[0].ID, Version: all[0].Version, State: grants.Approved, Access: access, Actions: actions}
	if _, err := owners.Decide(t.Context(), b.AliceID, d); err != nil {
		t.Fatal(err)
	}
}

// use gives the first instance these stores, as after a restart.
func (b *site) use(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	b.RP = b.For(t).Instance("", b.on(s))
}

// alsoUse starts the second instance.
func (b *site) alsoUse(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	b.For(t).Instance("2", b.on(s))
}

// A callback is a sign-in that is finished but for the last step.
type callback struct {
	callback, cookies string
}

// begin brings a sign-in to where the browser comes back from the server.
func (b *site) begin(t testing.TB) callback {
	t.Helper()
	c, at := b.Browser(), b.For(t)
	return callback{at.Authorize(b.Agent, at.Begin(c, "")), b.Cookies(c)}
}

// signIn signs the agent in and returns the browser's cookies.
func (b *site) signIn(t testing.TB, c *http.Client) string {
	t.Helper()
	b.For(t).MustSignIn(c, b.Agent)
	return b.Cookies(c)
}

// get requests a page with these cookies and no others.
func (b *site) get(t testing.TB, target, cookies string, header ...string) *response {
	t.Helper()
	return b.For(t).Get(b.Bare(), target, append(header, "Cookie", cookies)...)
}

func (b *site) post(t testing.TB, target, cookies string, header ...string) *response {
	t.Helper()
	return b.For(t).Do(b.Bare(), http.MethodPost, target, append(header, "Cookie", cookies)...)
}

// exchanges returns how many requests the token endpoint has had, those left out
// that only learn how it wants to be asked.
func (b *site) exchanges() (n int) {
	for _, r := range b.AS.Requests(authagenttest.PathToken) {
		if !testsite.IsProbe(r) {
			n++
		}
	}
	return n
}

// refuses checks that nothing is served to a session, or half-served to a
// sign-in, while the database is out of order.
func (b *site) refuses(t testing.TB, cookies string, started callback) {
	t.Helper()
	handled := b.Handled.Count()
	for what, resp := range map[string]*response{
		"/me":      b.get(t, "/me", cookies),
		"callback": b.get(t, started.callback, started.cookies),
		"logout":   b.post(t, "/auth/agent/logout", cookies),
	} {
		if resp.StatusCode < 500 || resp.Reason() != problem.StoreFailed {
			t.Errorf("%s: %d %s", what, resp.StatusCode, resp.Text)
		}
		for _, cookie := range resp.Cookies() {
			if cookie.MaxAge >= 0 {
				t.Errorf("%s sets cookie %s", what, cookie.Name)
			}
		}
	}
	if b.Handled.Count() != handled {
		t.Error("a guarded handler ran")
	}
}
