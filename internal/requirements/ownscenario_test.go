package requirements_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// checkedScenario is a scenario of a site's own, around another.
type checkedScenario struct {
	authagent.Scenario
	refuse, end error
}

func (s *checkedScenario) Name() string { return "Checked" + s.Scenario.Name() }

func (s *checkedScenario) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	if s.refuse != nil {
		return authagent.Principal{}, s.refuse
	}
	return s.Scenario.SignIn(ctx, in)
}

func (s *checkedScenario) CheckSession(ctx context.Context, session *authagent.Session) error {
	if s.end != nil {
		return s.end
	}
	return s.Scenario.CheckSession(ctx, session)
}

func TestWrappedScenario(t *testing.T) {
	own := &checkedScenario{}
	b := newScenarioBench(t, func(b *bench) authagent.Scenario {
		own.Scenario = authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)
		return own
	})
	c := b.Browser()
	if s := b.MustSignIn(c, b.Agent); s.Scenario != "CheckedFullAccount" || s.UserID != b.AliceID || s.Access != authagent.AccessFull {
		t.Errorf("session %+v", s)
	}
	own.refuse = problem.Reason("not_on_sundays")
	b.MustRefuseSignIn(b.Agent, 403, "not_on_sundays")
	own.refuse = fmt.Errorf("wrapped: %w", problem.Reason("not_on_sundays"))
	b.MustRefuseSignIn(b.Agent, 403, "not_on_sundays")
	own.refuse = errors.New("no idea")
	b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
	own.refuse = nil

	own.end = errors.New("no idea")
	if resp := b.Get(c, "/me"); resp.StatusCode != 500 {
		t.Errorf("status %d while the check fails", resp.StatusCode)
	}
	own.end = nil
	if b.Me(c) == nil {
		t.Error("a check that failed has ended the session")
	}
	account, _ := b.Users.Get(b.AliceID)
	account.Disabled = true
	b.Users.Put(account)
	if b.Me(c) != nil {
		t.Error("the wrapped scenario's check was not passed on")
	}
}

// ownScenario is one that is not made of another.
type ownScenario struct {
	scopes []string
	signIn func(context.Context, *authagent.SignIn) (authagent.Principal, error)
}

func (ownScenario) Name() string { return "Own" }

func (ownScenario) CheckSession(context.Context, *authagent.Session) error { return nil }

func (s ownScenario) Scopes() []string { return s.scopes }

func (s ownScenario) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	return s.signIn(ctx, in)
}

func TestOwnScenario(t *testing.T) {
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownScenario{[]string{"email"}, func(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
			first, err := in.UserInfo(ctx)
			if err != nil {
				return authagent.Principal{}, err
			}
			if second, err := in.UserInfo(ctx); err != nil || second != first {
				t.Errorf("second UserInfo: %v, %v", second, err)
			}
			want := authagent.UserInfo{Subject: "agent_alice", Email: "alice@example.com", Name: "Alice"}
			if diff := cmp.Diff(want, *first); diff != "" {
				t.Errorf("UserInfo (-want +got):\n%s", diff)
			}
			return authagent.Principal{UserID: "u", ProfileID: "p", Access: authagent.AccessRead}, nil
		}}
	})
	s := b.MustSignIn(b.Browser(), b.Agent)
	if s.Scenario != "Own" || s.UserID != "u" || s.ProfileID != "p" || s.Access != authagent.AccessRead {
		t.Errorf("session %+v", s)
	}
	if n := b.AS.Count(authagenttest.PathUserInfo); n != 1 {
		t.Errorf("%d userinfo requests, want 1", n)
	}
	b.userinfo(map[string]any{"sub": "agent_bob"})
	b.MustRefuseSignIn(b.Agent, 400, problem.Reason("identity_mismatch"))
}

// TestOwnScenarioAccess: what is no access is not taken for the highest, and
// there is none, and no action, where there is no user.
func TestOwnScenarioAccess(t *testing.T) {
	var who authagent.Principal
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownCheck{nil, ownScenario{[]string{"profile"}, func(context.Context, *authagent.SignIn) (authagent.Principal, error) { return who, nil }}}
	})
	for _, bad := range []authagent.Principal{
		{UserID: "u", Access: -1}, {UserID: "u", Access: 3}, {UserID: "u", Access: 100},
		{ProfileID: "p", Access: authagent.AccessRead}, {ProfileID: "p", Actions: []string{"a"}},
		{UserID: "u", Actions: []string{""}}, {UserID: "u", Actions: []string{"a b"}}, {UserID: "u", Actions: []string{"a\nb"}},
	} {
		who = bad
		b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
	}
	for _, access := range []authagent.Access{authagent.AccessNone, authagent.AccessRead, authagent.AccessFull} {
		who = authagent.Principal{UserID: "u", Access: access}
		if s := b.MustSignIn(b.Browser(), b.Agent); s.Access != access {
			t.Errorf("access %v, want %v", s.Access, access)
		}
	}
}

// ownCheck changes the session on each request.
type ownCheck struct {
	change func(s *authagent.Session)
	authagent.Scenario
}

func (c ownCheck) CheckSession(ctx context.Context, s *authagent.Session) error {
	if c.change != nil {
		c.change(s)
	}
	return c.Scenario.CheckSession(ctx, s)
}

// TestCheckRaises: a check may raise a session, which is how an owner's yes counts
// on the next request, but not above what the scenario gives, and not where there
// is no user.
func TestCheckRaises(t *testing.T) {
	for i, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			b, _ := newSpyBench(t, i, policy(func(r authagent.LinkRequest) (authagent.Principal, error) {
				return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead}, nil
			}), func(_ *bench, c *authagent.Config) {
				c.Scenario = ownCheck{func(s *authagent.Session) { s.Access, s.Actions = authagent.AccessFull, []string{"orders:create"} }, c.Scenario}
			})
			got := b.MustSignIn(b.Browser(), b.Agent)
			most := map[int]authagent.Access{full: authagent.AccessFull, contextual: authagent.AccessRead}[i]
			if got.Access != most || (len(got.Actions) > 0) != (got.UserID != "") {
				t.Errorf("session %+v, want access %v", got, most)
			}
		})
	}
}

func TestOwnScenarioPanics(t *testing.T) {
	b := newScenarioBench(t, func(*bench) authagent.Scenario {
		return ownScenario{[]string{"profile"}, func(context.Context, *authagent.SignIn) (authagent.Principal, error) { panic("secret") }}
	})
	b.MustRefuseSignIn(b.Agent, 500, problem.StoreFailed)
}

// TestNilParts: New refuses scenarios that would panic at the first sign-in.
func TestNilParts(t *testing.T) {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	for name, scenario := range map[string]authagent.Scenario{
		"Scenario: is required":              nil,
		"Scenario: its UserStore is nil":     authagent.FullAccount(nil, authagent.InsecureTrustEmail),
		"Scenario: its LinkPolicy is nil":    authagent.FullAccount(users, nil),
		"Scenario: its UserStore is nil ":    authagent.ContextualProfile(nil, profiles, authagent.InsecureTrustEmail),
		"Scenario: its ProfileStore is nil":  authagent.ContextualProfile(users, nil, authagent.InsecureTrustEmail),
		"Scenario: its LinkPolicy is nil ":   authagent.ContextualProfile(users, profiles, nil),
		"Scenario: its ProfileStore is nil ": authagent.FreshProfile(nil),
	} {
		_, err := authagent.New(authagent.Config{
			Issuer: "https://as.example", ClientID: "site", ClientSecret: "secret", RedirectURL: "https://shop.example/auth/agent/callback",
			SessionKeys: [][]byte{testsite.NewKey()}, Scenario: scenario,
		})
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("err %v, want %q", err, name)
		}
	}
}

// halfLinker has one of the two methods of an AgentLinker.
type halfLinker struct{ authagent.UserStore }

func (halfLinker) LinkAgent(_ context.Context, _ authagent.Agent, userID string) (string, error) {
	return userID, nil
}

// TestHalfLinker is LNK-30: a store that remembers agents, and cannot be asked which,
// is a mistake that New finds.
func TestHalfLinker(t *testing.T) {
	c := newBench(t).Config
	c.Scenario = authagent.FullAccount(halfLinker{&memstore.Users{}}, authagent.InsecureTrustEmail)
	if _, err := authagent.New(c); err == nil || !strings.Contains(err.Error(), "LinkedUser") {
		t.Errorf("LNK-30 New: %v", err)
	}
}
