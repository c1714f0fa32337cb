package requirements_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// subjectServer is a server whose sub is the user and whose act.sub is the agent.
func subjectServer(t testing.TB) *authagenttest.Server {
	t.Helper()
	as := authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{IDToken: true, SignedTokens: "ES256", ActorClaim: true}
	as.StartTLS()
	t.Cleanup(as.Close)
	return as
}

// newSubjectBench is a site that knows Alice as user_a and Bob as user_b of the server.
func newSubjectBench(t testing.TB, make func(authagent.UserStore, *bench) authagent.Scenario, change ...func(*bench, *authagent.Config)) (*bench, *memstore.SubjectUsers, string) {
	t.Helper()
	users := &memstore.SubjectUsers{}
	alice := users.Put(memstore.Account{Email: "alice@example.com"}) // whose address nobody has verified
	bob := users.Add("bob@example.com", "Bob")
	b := newBenchOn(t, subjectServer(t), append([]func(*bench, *authagent.Config){func(b *bench, c *authagent.Config) {
		c.Provider.SubjectIsUser, c.Scenario, c.Human = true, make(users, b), testsite.Human
		users.AddSubject(c.Issuer, "user_a", alice)
		users.AddSubject(c.Issuer, "user_b", bob)
	}}, change...)...)
	b.AliceID = alice
	return b, users, bob
}

func fullBySubject(users authagent.UserStore, _ *bench) authagent.Scenario {
	return authagent.FullAccount(users, letIn{})
}

// letIn is a policy that lets every agent into the account of its owner, with full access or less, or
// into another account.
type letIn struct{ into, actions string }

func (l letIn) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	switch {
	case l.into != "":
		return authagent.Principal{UserID: l.into, Access: r.Access}, nil
	case r.User == nil:
		return authagent.Principal{}, problem.NoAccount
	case l.actions != "":
		return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead, Actions: strings.Fields(l.actions)}, nil
	}
	return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessFull}, nil
}

func (letIn) LinkByOwner(context.Context, authagent.LinkRequest) error { return nil }

// TestOwnerBySubject_SUB_1: an account is found by issuer and subject. No address is asked for, or seen.
func TestOwnerBySubject_SUB_1(t *testing.T) {
	b, users, bob := newSubjectBench(t, fullBySubject)
	agent := func(id, user, email string) *authagenttest.Agent {
		return b.AS.AddAgent(authagenttest.Agent{ID: id, UserID: user, Email: email})
	}
	if got := b.MustSignIn(b.Browser(), agent("agent_1", "user_a", "bob@example.com")); got.UserID != b.AliceID || got.Subject != "user_a" {
		t.Errorf("session %+v, want Alice's", got)
	}
	if got := b.MustSignIn(b.Browser(), agent("agent_2", "user_b", "")); got.UserID != bob {
		t.Errorf("session %+v, want Bob's", got)
	}
	for what, unknown := range map[string]string{"another user": "user_c", "in another case": "USER_A", "a prefix": "user", "an account's ID": bob} {
		b.MustRefuseSignIn(agent("agent of "+what, unknown, "alice@example.com"), 403, problem.NoAccount)
	}
	users.Put(memstore.Account{User: authagent.User{ID: b.AliceID, Disabled: true}})
	b.MustRefuseSignIn(agent("agent_4", "user_a", ""), 403, problem.NoAccount)

	if n := b.AS.Count(authagenttest.PathUserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times", n)
	}
	for _, r := range b.AS.Requests(authagenttest.PathAuthorize) {
		if scope := r.URL.Query().Get("scope"); scope != "openid" {
			t.Errorf("scope %q was asked for", scope)
		}
	}
}

// TestPolicyNamesAnother_SUB_2: no policy leads an agent into another account than that of its user, if
// that one has any.
func TestPolicyNamesAnother_SUB_2(t *testing.T) {
	policy := &letIn{}
	b, _, bob := newSubjectBench(t, func(users authagent.UserStore, _ *bench) authagent.Scenario {
		return authagent.FullAccount(users, policy)
	})
	policy.into = bob
	b.MustRefuseSignIn(b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"}), 403, problem.LinkRefused)
	if got := b.MustSignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_c"})); got.UserID != bob {
		t.Errorf("session %+v: the policy decides for a user without an account", got)
	}
}

// TestCreatedBySubject_SUB_3: an account that is created is the user's, whatever agent acts for them.
func TestCreatedBySubject_SUB_3(t *testing.T) {
	b, users, _ := newSubjectBench(t, fullBySubject, func(_ *bench, c *authagent.Config) { c.CreateUsers = true })
	first := b.MustSignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_new", Email: "alice@example.com"}))
	again := b.MustSignIn(b.Browser(), b.AS.AddAgent(authagenttest.Agent{ID: "agent_2", UserID: "user_new"}))
	if first.UserID == b.AliceID || first.UserID != again.UserID {
		t.Errorf("accounts %q and %q", first.UserID, again.UserID)
	}
	if made, _ := users.Get(first.UserID); made.Email != "" || made.EmailVerified || made.CreatedBy != first.Agent {
		t.Errorf("created %+v", made)
	}
}

// TestSameAgentOfTwoUsers_SUB_4_SUB_6: an agent that acts for two users of the server acts in two accounts, under
// two profiles, with a budget for each.
func TestSameAgentOfTwoUsers_SUB_4_SUB_6(t *testing.T) {
	b, _, bob := newSubjectBench(t, func(users authagent.UserStore, b *bench) authagent.Scenario {
		return authagent.ContextualProfile(users, b.Profiles, letIn{})
	}, func(_ *bench, c *authagent.Config) { c.Limits.Agent.N = 3 })
	of := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	alices := b.Browser()
	one := b.MustSignIn(alices, of)
	other := b.Browser()
	two := b.MustSignIn(other, b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_b"}))
	if one.UserID != b.AliceID || two.UserID != bob || one.ProfileID == two.ProfileID || one.Agent != two.Agent {
		t.Fatalf("sessions %+v and %+v", one, two)
	}
	for range 2 {
		b.Me(alices)
	}
	if b.Me(alices) != nil {
		t.Error("the agent is not limited in Alice's account")
	}
	if b.Me(other) == nil {
		t.Error("what it does for Alice uses up what it may do for Bob")
	}
}

// TestConnectAnothers_SUB_5: a human connects no agent that acts for another user of the server, whether
// or not that one has an account.
func TestConnectAnothers_SUB_5(t *testing.T) {
	b, _, bob := newSubjectBench(t, fullBySubject)
	b.Mux("").Handle("/connect", b.RP.ConnectHandler())
	for user, want := range map[string]int{"user_a": http.StatusForbidden, "user_b": http.StatusSeeOther, "user_c": http.StatusForbidden} {
		c := b.Browser()
		b.SignInPerson(c, bob)
		begun := b.Do(c, http.MethodPost, "/connect", "Sec-Fetch-Site", "same-origin")
		agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent of " + user, UserID: user})
		resp := b.Get(c, b.Authorize(agent, begun.Header.Get("Location")))
		if resp.StatusCode != want || want == http.StatusForbidden && resp.Reason() != problem.LinkRefused {
			t.Errorf("%s: status %d %s, want %d", user, resp.StatusCode, resp.Text, want)
		}
	}
}
