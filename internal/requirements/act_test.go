package requirements_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/problem"
)

// newDelegated makes a site whose server names the user in sub and the agent in act, and that agent.
func newDelegated(t testing.TB, change ...func(b *bench, c *authagent.Config)) (*bench, *authagenttest.Agent) {
	t.Helper()
	b := newCluster(t, append([]func(*bench, *authagent.Config){delegated, func(b *bench, _ *authagent.Config) { delegating(b.AS) }}, change...)...)
	return b, b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "u-alice", Email: "alice@example.com"})
}

// TestWhereActIs_ACT_2: the agent is the one in act, wherever the server puts it, also where people come in by the
// same callback.
func TestWhereActIs_ACT_2(t *testing.T) {
	for _, in := range [][]string{
		nil, {"id_token"}, {"access_token"}, {"introspection"}, {"id_token", "access_token"}, {"access_token", "introspection"}, {"id_token", "introspection"},
	} {
		for _, opaque := range []bool{false, true} {
			if opaque && slices.Equal(in, []string{"access_token"}) {
				continue // nothing that can be read names an agent
			}
			synctest.Test(t, func(t *testing.T) {
				d := newSharedDoor(t)
				d.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorIn, f.OpaqueTokens = in, opaque })
				for name, people := range map[string]bool{"": true, "agents": false} {
					d.Instance(name, func(c *authagent.Config) {
						if !people {
							c.Provider.OnPerson = nil
						}
					})
					c := d.Browser()
					begun := d.Get(c, "/auth/agent/login", "X-Instance", name)
					resp := d.Get(c, d.Authorize(d.agent, begun.Header.Get("Location")), "X-Instance", name)
					if resp.StatusCode != 303 || d.handed() != 0 {
						t.Fatalf("%q, opaque %v, people %v: %d %s, %d people\n%s", in, opaque, people, resp.StatusCode, resp.Text, d.handed(), d.Log)
					}
					s := d.Get(c, "/me", "X-Instance", name).Session(t)
					if s.Agent.ID != "agent_1" || s.Subject != "u-alice" || s.UserID != d.AliceID {
						t.Errorf("%q, opaque %v: session %+v", in, opaque, s)
					}
				}
			})
		}
	}
}

// TestActsDisagree_ACT_3_ACT_4_ACT_5: what contradicts itself, is for other settings, or is too deep or too long, signs
// nobody in, neither as an agent nor as a person.
func TestActsDisagree_ACT_3_ACT_4_ACT_5(t *testing.T) {
	for name, test := range map[string]struct {
		place string
		says  members
	}{
		"another agent in the id_token":        {"id_token", members{"act": members{"sub": "agent_2"}}},
		"another agent in the access token":    {"access_token", members{"act": members{"sub": "agent_2"}}},
		"another agent in the introspection":   {"introspection", members{"act": members{"sub": "agent_2"}}},
		"another user in the access token":     {"access_token", members{"sub": "u-bob"}},
		"another user in the introspection":    {"introspection", members{"sub": "u-bob"}},
		"an agent of another issuer":           {"id_token", members{"act": members{"sub": "agent_1", "iss": "https://evil.example"}}},
		"the user is an agent":                 {"access_token", members{"sub_profile": "ai_agent"}},
		"a person acts":                        {"id_token", members{"act": members{"sub": "agent_1", "sub_profile": "user"}}},
		"the user acts":                        {"id_token", members{"act": members{"sub": "u-alice"}}},
		"too deep":                             {"id_token", members{"act": nestedActs(5)}},
		"too deep in the access token":         {"access_token", members{"act": nestedActs(5)}},
		"too long":                             {"introspection", members{"act": members{"sub": "agent_1", "note": strings.Repeat("x", 4096)}}},
		"a list":                               {"access_token", members{"act": []string{"agent_1"}}},
		"a person's client that is an agent's": {"id_token", members{"act": nil, "client_profile": "ai_agent"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newSharedDoor(t, func(_ *bench, c *authagent.Config) { c.Provider.Introspect = true })
			d.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
				if test.says["client_profile"] != nil {
					f.ActorIn = []string{}
				}
				f.Claims = func(place string, _ authagenttest.Agent) map[string]any {
					if place == test.place {
						return test.says
					}
					return nil
				}
			})
			c := d.Browser()
			resp := d.SignIn(c, d.agent)
			if resp.StatusCode < 400 || len(sessionCookies(resp)) != 0 || d.handed() != 0 || d.Me(c) != nil {
				t.Errorf("%s: %d %s, %d people", name, resp.StatusCode, resp.Text, d.handed())
			}
		})
	}
}

// nestedActs is an act with so many levels, of agent_1 and those before it.
func nestedActs(levels int) members {
	act := members{"sub": fmt.Sprint("agent_", levels)}
	for i := levels - 1; i > 0; i-- {
		act = members{"sub": fmt.Sprint("agent_", i), "act": act}
	}
	return act
}

// TestActForOtherSettings_ACT_4_ACT_5: four levels are not too deep, and any act is refused where sub is the agent.
func TestActForOtherSettings_ACT_4_ACT_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, agent := newDelegated(t)
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
			f.Claims = func(string, authagenttest.Agent) map[string]any { return members{"act": nestedActs(4)} }
		})
		if s := b.MustSignIn(b.Browser(), agent); s.Agent.ID != "agent_1" {
			t.Errorf("four levels: %+v", s)
		}
		b.Instance("", func(c *authagent.Config) { c.Provider.SubjectIsUser = false })
		if resp := b.SignIn(b.Browser(), agent); resp.Reason() != problem.Reason("identity_mismatch") {
			t.Errorf("ACT-4 under the other settings: %d %s", resp.StatusCode, resp.Text)
		}
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
			f.ActorIn, f.Claims = []string{"access_token"}, nil
		})
		if resp := b.SignIn(b.Browser(), agent); resp.Reason() != problem.Reason("identity_mismatch") {
			t.Errorf("ACT-4 under the other settings, in the access token: %d %s", resp.StatusCode, resp.Text)
		}
	})
}

// TestHistory_ACT_6: who acted before is in the event of the sign-in, and decides nothing: it is in no session, no other
// event and nothing that the site is asked.
func TestHistory_ACT_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, agent := newDelegated(t)
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
			f.Claims = func(string, authagenttest.Agent) map[string]any {
				return members{"act": members{"sub": "agent_1", "act": members{"sub": "earlier_agent", "iss": "https://other.example", "act": members{"sub": "first\nagent"}}}}
			}
		})
		c := b.Browser()
		s := b.MustSignIn(c, agent)
		b.Get(c, "/data")
		b.Do(c, "POST", "/auth/agent/logout")
		if s.Agent.ID != "agent_1" || strings.Contains(fmt.Sprintf("%+v", *s), "earlier") || strings.Contains(b.Cookies(c), "earlier") {
			t.Errorf("session %+v", s)
		}
		told := 0
		for _, e := range b.Events.All() {
			in := strings.Contains(fmt.Sprintf("%+v", e), "earlier_agent")
			if in != (e.Name == audit.LoginSucceeded) || in && e.Detail != `passed on by "earlier_agent" https://other.example` || in && e.Agent.ID != "agent_1" {
				t.Errorf("event %+v", e)
			}
			if in {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%d events tell", told)
		}
	})
}

// TestGuestsAtASite_ACT_7: an agent that acts for nobody has a profile of its own, and no account.
func TestGuestsAtASite_ACT_7(t *testing.T) {
	for _, people := range []bool{false, true} {
		for name, scenario := range map[string]func(b *bench) authagent.Scenario{
			"fresh": func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.Profiles) },
			"full":  func(b *bench) authagent.Scenario { return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail) },
			"contextual": func(b *bench) authagent.Scenario {
				return authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				d := newSharedDoor(t, func(b *bench, c *authagent.Config) {
					c.Scenario, c.CreateUsers = scenario(b), name != "fresh"
					if !people {
						c.Provider.OnPerson = nil
					}
				})
				guest := d.AS.AddAgent(authagenttest.Agent{ID: "guest_1", UserID: "u-alice", Email: "alice@example.com", Guest: true})
				c := d.Browser()
				resp := d.SignIn(c, guest)
				if d.handed() != 0 {
					t.Errorf("%s: a guest is a person", name)
				}
				if name != "fresh" {
					if resp.StatusCode != 403 || resp.Reason() != problem.NoAccount || d.Me(c) != nil {
						t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Text)
					}
					return
				}
				if s := d.Me(c); s == nil || s.Agent.ID != "guest_1" || s.Subject != "" || s.UserID != "" || s.ProfileID == "" {
					t.Errorf("%s: %d %s, session %+v", name, resp.StatusCode, resp.Text, s)
				}
			})
		}
	}
}

// TestGrantedScopes_ACT_13: an agent has what all that say something grant, and no more than was granted.
func TestGrantedScopes_ACT_13(t *testing.T) {
	for name, test := range map[string]struct {
		granted []string
		says    members // of scopes, in the introspection
		want    []string
	}{
		"all":                  {nil, nil, []string{"openid", "profile", "email", "orders", "refunds"}},
		"less":                 {[]string{"openid", "email", "orders"}, nil, []string{"openid", "email", "orders"}},
		"the server says less": {nil, members{"scope": "openid email refunds"}, []string{"openid", "email", "refunds"}},
		"the server says more": {[]string{"openid", "email"}, members{"scope": "openid email orders admin"}, []string{"openid", "email"}},
		"a list":               {nil, members{"scope": []string{"email", "orders"}}, []string{"email", "orders"}},
		"nothing to be read":   {nil, members{"scope": 1}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			b, agent := newDelegated(t, func(b *bench, c *authagent.Config) {
				c.Provider.Introspect = true
				c.Provider.Scopes = []string{"openid", "profile", "email", "orders", "refunds"}
				c.Scenario = authagent.FullAccount(b.Users, linkScopes{&got})
			})
			agent.Scopes = test.granted
			agent = b.AS.AddAgent(*agent)
			b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
				f.Claims = func(place string, _ authagenttest.Agent) map[string]any {
					if place == "introspection" {
						return test.says
					}
					return nil
				}
			})
			if resp := b.SignIn(b.Browser(), agent); resp.StatusCode != 303 || !slices.Equal(got, test.want) {
				t.Errorf("%s: %d %s, scopes %q, want %q", name, resp.StatusCode, resp.Text, got, test.want)
			}
		})
	}
}

// linkScopes is a LinkPolicy that notes the scopes that it is asked with.
type linkScopes struct{ got *[]string }

func (l linkScopes) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	*l.got = r.Scopes
	return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead}, nil
}
