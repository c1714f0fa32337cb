package requirements_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// An ownedDoor is a cluster whose API is open, where owners decide about agents.
type ownedDoor struct {
	*doorBench
	owners *grants.Policy
	store  *memstore.Grants

	lastToken string
}

func newOwnedDoor(t testing.TB, change ...func(*bench, *authagent.Config)) *ownedDoor {
	t.Helper()
	d := &ownedDoor{store: &memstore.Grants{}}
	d.owners = grants.OwnerApproval(d.store)
	d.owners.Logger = discardLog()
	d.owners.Approvals = map[string]string{"orders:pay": "Pay"}
	open := func(users *memstore.SubjectUsers, c *authagent.Config) {
		c.Scenario = authagent.FullAccount(users, d.owners)
	}
	d.doorBench = newDoorClusterOf(t, open, change...)
	return d
}

// grant returns the newest grant of the agent in Alice's account.
func (d *ownedDoor) grant() grants.Grant {
	d.T.Helper()
	d.owners.Wait()
	all, err := d.store.OwnerGrants(context.Background(), d.AliceID)
	if err != nil || len(all) != 1 {
		d.T.Fatalf("grants %+v, %v", all, err)
	}
	return all[0]
}

// decide is what Alice decides about the agent.
func (d *ownedDoor) decide(state grants.State) {
	d.T.Helper()
	g := d.grant()
	_, err := d.owners.Decide(context.Background(), d.AliceID, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessFull})
	if err != nil {
		d.T.Fatal(err)
	}
}

// letIn has Alice let the agent in, which asks with a token.
func (d *ownedDoor) letIn(token string) {
	d.T.Helper()
	d.refused("before Alice has decided", "/me", token, 403, problem.ApprovalNeeded, "")
	d.decide(grants.Approved)
}

// logout has the server say that a session, or all of a subject, have ended there.
func (d *ownedDoor) logout(subject, sid string) {
	d.T.Helper()
	d.AS.AddClient(authagenttest.Client{ID: "site", Secret: d.Config.ClientSecret, RedirectURIs: []string{d.Config.RedirectURL}, LogoutURL: d.URL + logoutPath})
	d.Mux("").Handle(logoutPath, d.RP.BackChannelLogoutHandler())
	if err := d.AS.Logout(context.Background(), &http.Client{Transport: d.Hosts}, "site", subject, sid); err != nil {
		d.T.Fatal(err)
	}
}

// TestEnded_API_21: what ends sessions ends that of a token, at the instance that remembers it and at one that sees it for
// the first time. It stays ended when the reason is gone.
func TestEnded_API_21(t *testing.T) {
	const ended = problem.Reason("invalid_token")
	type does = func(d *ownedDoor, s *authagent.Session)
	rules := func(r grants.Rules) does {
		return func(d *ownedDoor, _ *authagent.Session) { d.owners.SetRules(context.Background(), "root", r) }
	}
	account := func(disabled bool) does {
		return func(d *ownedDoor, _ *authagent.Session) {
			d.users.Put(memstore.Account{User: authagent.User{ID: d.AliceID, Disabled: disabled}, Email: "alice@example.com"})
		}
	}
	must := func(f func(ctx context.Context, d *ownedDoor, s *authagent.Session) error) does {
		return func(d *ownedDoor, s *authagent.Session) {
			if err := f(context.Background(), d, s); err != nil {
				d.T.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		end    does
		second problem.Reason // what the other instance answers; as at a sign-in, where nothing of the agent's has ended
		undo   does           // nil if nothing can
	}{
		"EndSession": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error { return d.RP.EndSession(ctx, s.ID) }), ended, nil},
		"EndAgentSessions": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error {
			return d.RP.EndAgentSessions(ctx, s.Agent)
		}), ended, nil},
		"EndUserSessions": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error {
			return d.RP.EndUserSessions(ctx, s.UserID)
		}), ended, nil},
		"EndAllSessions": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error { return d.RP.EndAllSessions(ctx) }), ended, nil},
		"ForgetAgent": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error {
			return d.RP.ForgetAgent(ctx, "root", s.Agent)
		}), problem.ApprovalNeeded, nil},
		"the owner ends the session": {must(func(ctx context.Context, d *ownedDoor, s *authagent.Session) error {
			return d.owners.EndSession(ctx, d.RP, d.AliceID, s.ID)
		}), ended, nil},
		"sign-out":          {func(d *ownedDoor, _ *authagent.Session) { d.signOut() }, ended, nil},
		"revoked":           {func(d *ownedDoor, _ *authagent.Session) { d.decide(grants.Revoked) }, ended, nil},
		"suspended":         {func(d *ownedDoor, _ *authagent.Session) { d.decide(grants.Suspended) }, problem.Suspended, func(d *ownedDoor, _ *authagent.Session) { d.decide(grants.Approved) }},
		"disabled":          {account(true), problem.NoAccount, account(false)},
		"blocked":           {rules(grants.Rules{DenyAgents: []authagent.Agent{{Issuer: "https://as.example", ID: "agent_1"}}}), problem.Blocked, rules(grants.Rules{})},
		"logged out by sid": {func(d *ownedDoor, _ *authagent.Session) { d.logout("", "sid_1") }, ended, nil},
		"logged out by sub": {func(d *ownedDoor, _ *authagent.Session) { d.logout("user_a", "") }, ended, nil},
	} {
		for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
			t.Run(name+", "+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newOwnedDoor(t)
					d.Instance("b")
					token := d.token(as, claiming(map[string]any{"sid": "sid_1"}))
					d.lastToken = token
					d.letIn(token)
					s := d.good("before", token)
					time.Sleep(time.Second)
					test.end(d, s)
					time.Sleep(time.Second)
					d.bad("at the instance that remembers it", token)
					resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", "b")
					if resp.Reason() != test.second {
						t.Errorf("at an instance that has not seen it: %d %s, want %s", resp.StatusCode, resp.Text, test.second)
					}
					if test.undo != nil {
						test.undo(d, s)
					}
					time.Sleep(time.Minute) // until everything is read again
					for _, instance := range []string{"", "b"} {
						resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", instance)
						if resp.Reason() != ended && (test.undo != nil || instance == "" || resp.Reason() != test.second) {
							t.Errorf("later, at instance %q: %d %s", instance, resp.StatusCode, resp.Text)
						}
					}
				})
			})
		}
	}
}

// signOut is what a program does that has had enough.
func (d *ownedDoor) signOut() {
	d.T.Helper()
	if resp := d.Do(d.Bare(), "POST", "/auth/agent/logout", "Authorization", "Bearer "+d.lastToken); resp.StatusCode != http.StatusSeeOther {
		d.T.Fatalf("sign-out: %d %s", resp.StatusCode, resp.Text)
	}
}

// TestEndedUnseen_API_21: an instance that has never seen a token before refuses it, although no other has refused it since.
func TestEndedUnseen_API_21(t *testing.T) {
	for name, end := range map[string]func(d *ownedDoor, s *authagent.Session){
		"EndAgentSessions":  func(d *ownedDoor, s *authagent.Session) { d.RP.EndAgentSessions(context.Background(), s.Agent) },
		"EndUserSessions":   func(d *ownedDoor, s *authagent.Session) { d.RP.EndUserSessions(context.Background(), s.UserID) },
		"EndAllSessions":    func(d *ownedDoor, s *authagent.Session) { d.RP.EndAllSessions(context.Background()) },
		"logged out by sub": func(d *ownedDoor, _ *authagent.Session) { d.logout("user_a", "") },
		"logged out by sid": func(d *ownedDoor, _ *authagent.Session) { d.logout("", "sid_1") },
		"revoked":           func(d *ownedDoor, _ *authagent.Session) { d.decide(grants.Revoked) },
	} {
		for form, claims := range map[string]map[string]any{"": {"sid": "sid_1"}} {
			t.Run(name+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newOwnedDoor(t)
					d.Instance("b")
					token, unseen := d.token(claiming(claims)), d.token(claiming(claims))
					d.letIn(token)
					s := d.good("before", token)
					time.Sleep(time.Second)
					end(d, s)
					time.Sleep(2 * time.Minute)
					if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+unseen, "X-Instance", "b"); resp.Reason() != "invalid_token" {
						t.Errorf("a token that nobody has seen: %d %s", resp.StatusCode, resp.Text)
					}
					fresh := d.token(claiming(map[string]any{"sid": "sid_2"}))
					want := 200
					if name == "revoked" {
						want = 403
					}
					if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+fresh, "X-Instance", "b"); resp.StatusCode != want {
						t.Errorf("a token that was issued later: %d %s", resp.StatusCode, resp.Text)
					}
				})
			})
		}
	}
}

// TestPaused_API_21: a pause stops a token's session for so long, and does not end it.
func TestPaused_API_21(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOwnedDoor(t)
		d.Instance("b")
		token := d.token()
		d.letIn(token)
		d.good("before", token)
		d.owners.SetRules(t.Context(), "root", grants.Rules{Paused: true})
		time.Sleep(time.Minute)
		for _, instance := range []string{"", "b"} {
			resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", instance)
			if resp.StatusCode != 503 || resp.Reason() != problem.Paused || resp.Header.Get("Retry-After") == "" {
				t.Errorf("paused, at instance %q: %d %s", instance, resp.StatusCode, resp.Text)
			}
		}
		d.owners.SetRules(t.Context(), "root", grants.Rules{})
		time.Sleep(time.Minute)
		d.good("after the pause", token)
		d.good("after the pause, at another instance", token, "X-Instance", "b")
	})
}

// TestGrantAnew_API_22: an agent that is let in anew needs another token than from before its owner has stopped it.
func TestGrantAnew_API_22(t *testing.T) {
	for form, as := range map[string]func(*authagenttest.APIToken){
		"JWT": typed("at+jwt"), "opaque": opaque,
	} {
		t.Run(form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newOwnedDoor(t)
				d.Instance("b")
				old, unseen := d.token(as), d.token(as)
				d.letIn(old)
				d.good("before", old)
				time.Sleep(time.Minute)
				d.decide(grants.Revoked)
				time.Sleep(5 * time.Minute)
				asks := d.token()
				d.letIn(asks)
				time.Sleep(2 * time.Minute)
				d.good("a token that was issued since", d.token())
				for _, instance := range []string{"", "b"} {
					for what, token := range map[string]string{"the old token": old, "one that was not used": unseen} {
						if resp := d.Get(d.Bare(), "/me", "Authorization", "Bearer "+token, "X-Instance", instance); resp.Reason() != "invalid_token" {
							t.Errorf("%s, at instance %q: %d %s", what, instance, resp.StatusCode, resp.Text)
						}
					}
				}
			})
		})
	}
}

// TestAge_API_23: no token is good for longer than Session.Lifetime, whatever it says, nor after it has expired.
func TestAge_API_23(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoorCluster(t, func(_ *bench, c *authagent.Config) { c.Session.Lifetime = 10 * time.Minute })
		aged := func(age, lifetime time.Duration) func(*authagenttest.APIToken) {
			return func(t *authagenttest.APIToken) { t.Age, t.Lifetime = age, lifetime }
		}
		noTimes := claiming(map[string]any{"iat": nil, "exp": nil})
		for form, as := range map[string]func(*authagenttest.APIToken){"JWT": typed("at+jwt"), "opaque": opaque} {
			for what, test := range map[string]struct {
				change func(*authagenttest.APIToken)
				for_   time.Duration // it is good; 0 for not at all
			}{
				"longer than a session": {aged(0, time.Hour), 10 * time.Minute},
				"half of that":          {aged(5*time.Minute, time.Hour), 5 * time.Minute},
				"too old":               {aged(10*time.Minute, time.Hour), 0},
				"shorter":               {aged(0, 2*time.Minute), 2 * time.Minute},
				"no iat":                {claiming(map[string]any{"iat": nil}), 0},
				"no times":              {noTimes, 0},
			} {
				before := len(d.Events.Named(audit.TokenAccepted))
				token := d.token(as, test.change)
				if test.for_ == 0 {
					d.bad(what+", "+form, token)
					if len(d.Events.Named(audit.TokenAccepted)) != before {
						t.Errorf("%s, %s: there is an event that it was accepted", what, form)
					}
					continue
				}
				begun := time.Now()
				d.good(what+", "+form, token)
				time.Sleep(test.for_ - time.Second)
				d.good(what+", at its end, "+form, token)
				time.Sleep(time.Until(begun.Add(test.for_ + time.Second)))
				d.bad(what+", after it, "+form, token)
			}
		}
		if !strings.Contains(d.Log.String(), "Session.Lifetime") {
			t.Error("the operator is not told why")
		}
	})
}
