package grants_test

import (
	"context"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
)

// usersWithoutLinks is a UserStore and UserFinder, and no AgentLinker.
type usersWithoutLinks struct {
	authagent.UserStore
	authagent.UserFinder
}

// TestAttackTakenAfterRenewal: an approval that has run out holds the agent, so that
// no stranger can take it at that moment (LinkByOwner, heldElsewhere, LNK-30). The
// agent's own next sign-in makes a Pending request of it, in the same row, and then a
// stranger can.
func TestAttackTakenAfterRenewal(t *testing.T) {
	bubble(t, "connected, never used", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantConnect(s.alice, agent, 303, "")
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // holds
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // and does not any more
		if all := s.grants(s.bob); len(all) != 0 {
			t.Errorf("bob has alice's agent: %+v", all)
		}
	})
	bubble(t, "acted for alice for 90 days", func(t *testing.T) {
		s := newShop(t, options{
			users: func(s *shop) authagent.UserStore { return usersWithoutLinks{s.users, s.users} },
		})
		agent, _ := s.approved("agent_1")
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink)
		if all := s.grants(s.bob); len(all) != 0 {
			t.Errorf("bob has alice's agent")
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
			g := s.grants(s.alice)["agent_1"]
			_, err := s.owners.Decide(context.Background(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			t.Errorf("alice approves it anew: %v", err)
		}
	})
}

// TestAttackForgetUndone: an operator frees an agent that a stranger has connected
// (ForgetAgent). The stranger has a Revoked grant left, and approves it on their own page:
// the agent is theirs again, without the agent's doing anything, and its owner is shut out.
func TestAttackForgetUndone(t *testing.T) {
	bubble(t, "at once", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval) // alice is asked
		s.wantConnect(s.bob, agent, 303, "")                         // the stranger
		if err := s.instances[""].rp.ForgetAgent(context.Background(), "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		g := s.grants(s.bob)["agent_1"]
		if _, err := s.owners.Decide(context.Background(), s.bob, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessFull}); err == nil {
			t.Error("bob has approved the agent that the operator has freed from him")
			g := s.grants(s.alice)["agent_1"]
			_, err := s.owners.Decide(context.Background(), s.alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			t.Errorf("alice approves her own agent: %v", err)
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
		}
	})
	bubble(t, "when its owner's approval runs out", func(t *testing.T) {
		s := newShop(t, options{
			users: func(s *shop) authagent.UserStore { return usersWithoutLinks{s.users, s.users} },
		})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
		s.wantConnect(s.bob, agent, 303, "")
		if err := s.owners.ForgetAgent(context.Background(), "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		s.decide(s.alice, "agent_1", grants.Approved)
		if user, _ := s.actsFor(agent); user != s.alice {
			t.Fatal("not alice's")
		}
		g := s.grants(s.bob)["agent_1"]
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}
		if _, err := s.owners.Decide(context.Background(), s.bob, d); err == nil {
			t.Error("approved while alice has it")
		}
		time.Sleep(90 * 24 * time.Hour)
		s.wantConnect(s.bob, agent, 403, authagent.ErrLink) // to connect it is refused
		if _, err := s.owners.Decide(context.Background(), s.bob, d); err == nil {
			t.Error("and to approve it is not: bob has the agent the moment alice's approval has run out")
			user, _ := s.actsFor(agent)
			t.Errorf("it acts for bob: %v", user == s.bob)
		}
	})
}

// TestAttackAnotherUsersAgent: with Config.SubjectIsUser, a token says for which user of
// the server an agent acts (sub) beside which agent it is (act.sub). A grant keeps the
// agent alone, so that what one user's owner has approved is open to every user of the
// same agent who claims the address, and any other one stops it.
func TestAttackAnotherUsersAgent(t *testing.T) {
	bubble(t, "enters", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved, withFullAccess)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		mallory, thief := s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "alice@example.com"}), s.browser()
		if resp := s.signIn(thief, mallory); resp.StatusCode == 303 {
			t.Errorf("another user (sub) of the server is in alice's account, unasked: GET /full is %d", s.get(thief, "/full").StatusCode)
		}
	})
	bubble(t, "stops", func(t *testing.T) {
		s := newShop(t, options{config: func(_ *shop, c *authagent.Config) { c.SubjectIsUser = true }})
		s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = true })
		alices := authagenttest.Agent{ID: "assistant", UserID: "as-user-1", Email: "alice@example.com"}
		c := s.browser()
		s.wantSignIn(c, s.as.AddAgent(alices), 403, authagent.ErrApproval)
		s.decide(s.alice, "assistant", grants.Approved)
		s.wantSignIn(c, s.as.AddAgent(alices), 303, "")
		s.signIn(s.browser(), s.as.AddAgent(authagenttest.Agent{ID: "assistant", UserID: "as-user-2", Email: "mallory@evil.example"}))
		if state := s.grants(s.alice)["assistant"].State; state != grants.Approved {
			t.Errorf("a sign-in for another user has made alice's grant %s", state)
		}
	})
}

// TestAttackDeniedDomain: DenyDomains keeps out the agents whose owner has an address of
// that domain. One whose address is not written plainly has none, to the rules, and is
// connected and let in.
func TestAttackDeniedDomain(t *testing.T) {
	for _, email := range []string{"eve@evil.example", "eve@evil.example.", "Eve <eve@evil.example>", `"eve"@evil.example`} {
		bubble(t, email, func(t *testing.T) {
			s := newShop(t, options{})
			s.setRules(grants.Rules{DenyDomains: []string{"evil.example"}})
			agent := s.agent("agent_1", email)
			connected := s.connect(s.bob, agent)
			c := s.browser()
			if in := s.signIn(c, agent); in.StatusCode == 303 {
				t.Errorf("connect: %d; an agent of a domain that is denied is in: GET /me is %d", connected.StatusCode, s.get(c, "/me").StatusCode)
			}
		})
	}
}

// cutOff is a store that is out of reach as soon as a grant has been created; before that,
// somebody else is faster.
type cutOff struct {
	grants.Store
	faster func()
	away   bool
}

func (c *cutOff) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	c.faster()
	c.away = true
	return c.Store.CreateGrant(ctx, g)
}

func (c *cutOff) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	if c.away {
		return nil, context.DeadlineExceeded
	}
	return c.Store.AgentGrants(ctx, a)
}

func (c *cutOff) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	if c.away {
		return grants.Grant{}, context.DeadlineExceeded
	}
	return c.Store.UpdateGrant(ctx, g)
}

// TestAttackConnectFailsOpen: a connection is written as approved, and looked at after
// that. Where the store is gone in between it stays, though it was refused: the agent has
// two accounts, enters the stranger's, and neither an event nor a notice says so.
func TestAttackConnectFailsOpen(t *testing.T) {
	bubble(t, "cut off", func(t *testing.T) {
		ctx := context.Background()
		agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
		request := func(user string) authagent.LinkRequest {
			return authagent.LinkRequest{Agent: agent, Scenario: "S", Email: "alice@example.com", User: &authagent.User{ID: user}}
		}
		memory := grants.NewMemory()
		alices := grants.OwnerApproval(memory)
		alices.Logger = quiet
		broken := &cutOff{Store: memory, faster: func() {
			time.Sleep(time.Second)
			if err := alices.LinkByOwner(ctx, request("alice")); err != nil {
				t.Fatal(err)
			}
		}}
		bobs := grants.OwnerApproval(broken)
		bobs.Logger = quiet
		var events, notices int
		bobs.Audit = func(context.Context, authagent.Event) { events++ }
		bobs.Notify = func(context.Context, grants.Notice) { notices++ }
		if err := bobs.LinkByOwner(ctx, request("bob")); err == nil {
			t.Fatal("no error")
		}
		bobs.Wait()
		if link, err := alices.Link(ctx, request("alice")); err != nil || link.UserID != "alice" {
			t.Errorf("bob's connection was refused, and alice's agent enters %q (%v); %d events, %d notices", link.UserID, err, events, notices)
		}
		alices.Wait()
	})
}

// rowCost is a store for which each row that it reads takes its time, as for a database.
type rowCost struct{ grants.Store }

func (r rowCost) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	all, err := r.Store.AgentGrants(ctx, a)
	time.Sleep(time.Duration(len(all)) * time.Millisecond)
	return all, err
}

// TestAttackRowOracle: an agent is told the same whether there is an account or not, and
// "not even the time of this answer or of the next one tells" (Policy.Link). The request
// that was filed is a row of the agent's, which each further sign-in of it reads before it
// is answered; where there is no account, there is none.
func TestAttackRowOracle(t *testing.T) {
	bubble(t, "the next answer", func(t *testing.T) {
		s := newShop(t, options{store: func(in grants.Store) grants.Store { return rowCost{in} }})
		next := func(id, email string) time.Duration {
			agent := s.agent(id, email)
			s.wantSignIn(s.browser(), agent, 403, authagent.ErrApproval)
			c := s.browser()
			callback := s.callback(c, agent)
			start := time.Now()
			s.get(c, callback)
			took := time.Since(start)
			s.wait()
			return took
		}
		if there, not := next("agent_1", "alice@example.com"), next("agent_2", "nobody@example.com"); there != not {
			t.Errorf("the second answer takes %v where there is an account, and %v where there is none", there, not)
		}
	})
}
