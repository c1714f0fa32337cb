package requirements_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestConnect is LNK-15: what a human begins ends with that human, whatever the
// agent's address, and signs nobody in.
func TestConnect(t *testing.T) {
	for _, scenario := range emailScenarios {
		t.Run("LNK-15 "+scenario.name, func(t *testing.T) {
			store := &memstore.Grants{}
			owners := grants.OwnerApproval(store)
			owners.Logger = discardLog()
			var human func(*http.Request) (string, error)
			b := newScenarioBench(t, func(b *bench) authagent.Scenario { return scenario.make(b.Users, b.Profiles, owners) },
				func(_ *bench, c *authagent.Config) {
					c.Human = func(r *http.Request) (string, error) { return human(r) }
				})
			human = testsite.Human
			b.Mux("").Handle("/connect", b.RP.ConnectHandler())
			bob := b.Users.Add("bob@example.com", "Bob")
			agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "nobody@example.com"})
			of := func(id string) []grants.Grant {
				all, _ := store.OwnerGrants(context.Background(), id)
				return all
			}
			alice := b.Browser()
			refused := func(c *http.Client, method string, status int, reason problem.Reason, header ...string) {
				t.Helper()
				if resp := b.Do(c, method, "/connect", header...); resp.StatusCode != status || resp.Reason() != reason {
					t.Errorf("%s: %d %q, want %d %q", method, resp.StatusCode, resp.Reason(), status, reason)
				}
			}
			refused(alice, "POST", 401, problem.HumanRequired)
			b.SignInPerson(alice, b.AliceID)
			refused(alice, "GET", 405, problem.Reason("method_not_allowed"))
			refused(alice, "POST", 403, problem.Reason("cross_origin"), "Sec-Fetch-Site", "cross-site")
			refused(alice, "POST", 403, problem.Reason("cross_origin"), "Origin", "https://evil.example")
			human = func(*http.Request) (string, error) { return "", errors.New("connection refused") }
			refused(alice, "POST", 500, problem.StoreFailed)
			human = func(*http.Request) (string, error) { panic("nil map") }
			refused(alice, "POST", 500, problem.StoreFailed)
			human = testsite.Human
			if n := len(b.AS.Requests(authagenttest.PathAuthorize)); n != 0 {
				t.Errorf("%d logins began", n)
			}

			begun := b.Do(alice, "POST", "/connect?return_to=/agents")
			callback := b.Authorize(agent, begun.Header.Get("Location"))
			before := b.BackChannel()
			for name, set := range map[string]string{"bob": bob, "nobody": ""} {
				b.SignInPerson(alice, set)
				resp := b.Get(alice, callback)
				if resp.StatusCode != 401 || resp.Reason() != problem.HumanRequired || b.BackChannel() != before {
					t.Errorf("finished by %s: %d %s", name, resp.StatusCode, resp.Text)
				}
			}
			other := b.Browser()
			b.SignInPerson(other, b.AliceID)
			if resp := b.Get(other, callback); resp.Reason() != problem.Reason("state_mismatch") {
				t.Errorf("finished in another browser: %d %s", resp.StatusCode, resp.Text)
			}
			if len(of(b.AliceID))+len(of(bob)) != 0 {
				t.Fatal("connected by somebody else")
			}
			b.SignInPerson(alice, b.AliceID)
			if resp := b.Get(alice, callback); resp.StatusCode != 303 || resp.Header.Get("Location") != "/agents" || len(sessionCookies(resp)) != 0 {
				t.Errorf("finished by alice: %d %v %s", resp.StatusCode, resp.Header, resp.Text)
			}
			if b.Me(alice) != nil {
				t.Error("an agent is signed in in the human's browser")
			}
			if resp := b.Get(alice, callback); resp.StatusCode < 400 {
				t.Errorf("finished twice: %d", resp.StatusCode)
			}
			all := of(b.AliceID)
			if len(all) != 1 || all[0].State != grants.Approved || all[0].Access != authagent.AccessRead || all[0].Agent.ID != "agent_1" || len(of(bob)) != 0 {
				t.Errorf("grants: %+v, bob's: %v", all, of(bob))
			}
			c := b.Browser()
			if s := b.MustSignIn(c, agent); s.UserID != b.AliceID || s.GrantID != all[0].ID {
				t.Errorf("session: %+v", s)
			}
			// Where an agent is signed in, no human is.
			b.SignInPerson(c, b.AliceID)
			refused(c, "POST", 403, problem.AgentForbidden)

			second := b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", Email: "alice@example.com"})
			begun = b.Do(alice, "POST", "/connect")
			callback = b.Authorize(second, begun.Header.Get("Location"))
			a, _ := b.Users.Get(b.AliceID)
			a.Disabled = true
			b.Users.Put(a)
			if resp := b.Get(alice, callback); resp.StatusCode != 403 || resp.Reason() != problem.NoAccount {
				t.Errorf("a disabled account connects: %d %s", resp.StatusCode, resp.Text)
			}
			if events := b.Events.Named(audit.LoginFailed); events[len(events)-1].Agent.ID != "agent_2" {
				t.Errorf("LOG-3: %+v", events[len(events)-1])
			}
		})
	}
	t.Run("LNK-15 without a Connector", func(t *testing.T) {
		for name, make := range map[string]func(b *bench) authagent.Scenario{
			"InsecureTrustEmail": func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) },
			"FreshProfile":       func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
			"rules":              func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
		} {
			b := newScenarioBench(t, make, func(_ *bench, c *authagent.Config) {
				c.Human = testsite.Human
				if name == "rules" {
					c.Rules = grants.OwnerApproval(&memstore.Grants{})
				}
			})
			b.Mux("").Handle("/connect", b.RP.ConnectHandler())
			c := b.Browser()
			b.SignInPerson(c, b.AliceID)
			resp := b.Do(c, "POST", "/connect")
			if resp.StatusCode == 303 {
				resp = b.Get(c, b.Authorize(b.Agent, resp.Header.Get("Location")))
			}
			if resp.StatusCode != 500 || b.Me(c) != nil {
				t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
			}
		}
	})
}

// finder is a UserStore that finds by ID as it is told.
type finder struct {
	authagent.UserStore
	find func() (authagent.User, error)
}

func (f finder) UserByID(context.Context, string) (authagent.User, error) { return f.find() }

// TestAnotherAccount is LNK-9: an account that a link policy names is looked at
// before an agent enters it, or not entered.
func TestAnotherAccount(t *testing.T) {
	for _, test := range []struct {
		name   string
		users  func(b *bench) authagent.UserStore
		status int
		reason problem.Reason
	}{
		{"found", func(b *bench) authagent.UserStore { return b.Users }, 303, ""},
		{"no UserFinder", func(b *bench) authagent.UserStore { return struct{ authagent.UserStore }{b.Users} }, 500, problem.StoreFailed},
		{"gone", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{}, authagent.ErrNotFound }}
		}, 403, problem.NoAccount},
		{"disabled", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{ID: "user_9", Disabled: true}, nil }}
		}, 403, problem.NoAccount},
		{"error", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { return authagent.User{}, errors.New("connection refused") }}
		}, 500, problem.StoreFailed},
		{"panic", func(b *bench) authagent.UserStore {
			return finder{b.Users, func() (authagent.User, error) { panic("nil map") }}
		}, 500, problem.StoreFailed},
	} {
		for _, scenario := range emailScenarios {
			t.Run("LNK-9 "+test.name+" "+scenario.name, func(t *testing.T) {
				b := newScenarioBench(t, func(b *bench) authagent.Scenario {
					id := b.Users.Put(memstore.Account{User: authagent.User{ID: "user_9", EmailVerified: true}, Email: "other@example.com"})
					return scenario.make(test.users(b), b.Profiles, linkAs{UserID: id, Access: authagent.AccessRead})
				})
				c := b.Browser()
				resp := b.SignIn(c, b.Agent)
				if resp.StatusCode != test.status || resp.Reason() != test.reason {
					t.Errorf("%d %s", resp.StatusCode, resp.Text)
				}
				if s := b.Me(c); (s != nil) != (test.status == 303) || s != nil && s.UserID != "user_9" {
					t.Errorf("session: %+v", s)
				}
			})
		}
	}
	users := struct{ authagent.UserStore }{&memstore.Users{}}
	_, err := authagent.New(authagent.Config{Scenario: authagent.FullAccount(users, grants.OwnerApproval(&memstore.Grants{}))})
	if err == nil || !strings.Contains(err.Error(), "UserFinder") {
		t.Errorf("LNK-9: New with an OwnerLinker and no UserFinder: %v", err)
	}
}

// fixed is a scenario that lets everybody in as the same.
type fixed struct {
	authagent.Scenario
	who authagent.Principal
}

func (f fixed) SignIn(context.Context, *authagent.SignIn) (authagent.Principal, error) {
	return f.who, nil
}
