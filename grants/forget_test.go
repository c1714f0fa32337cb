package grants_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/stores"
)

// connect is a human who connects an agent, or has lured it into answering.
func (s *shop) connect(human string, agent *authagenttest.Agent, header ...string) *response {
	s.t.Helper()
	c := s.human(human)
	begun := s.do(c, "POST", "/connect", "", header...)
	callback, err := agent.Authorize(context.Background(), &http.Client{Transport: s.hosts}, begun.Header.Get("Location"))
	if err != nil {
		s.t.Fatalf("connect: %d %s: %v", begun.StatusCode, begun.body, err)
	}
	resp := s.get(c, callback, header...)
	s.wait()
	return resp
}

func (s *shop) wantConnect(human string, agent *authagenttest.Agent, status int, reason problem.Reason) {
	s.t.Helper()
	if resp := s.connect(human, agent); resp.StatusCode != status || resp.reason() != reason {
		s.t.Errorf("%s connects %s: %d %s, want %d %q", human, agent.ID, resp.StatusCode, resp.body, status, reason)
	}
}

// actsFor returns the account that an agent enters, and its profile.
func (s *shop) actsFor(agent *authagenttest.Agent, header ...string) (userID, profileID string) {
	s.t.Helper()
	c := s.browser()
	if resp := s.signIn(c, agent, header...); resp.StatusCode != http.StatusSeeOther {
		s.t.Errorf("sign-in of %s: %d %s", agent.ID, resp.StatusCode, resp.body)
	}
	var session authagent.Session
	json.Unmarshal([]byte(s.get(c, "/me", header...).body), &session)
	return session.UserID, session.ProfileID
}

// TestConnectMovesNobody is LNK-30: whoever connects an agent that acts in another
// account gets nothing, and changes nothing there.
func TestConnectMovesNobody(t *testing.T) {
	const email = "alice@example.com"
	for name, test := range map[string]struct {
		before func(s *shop) *authagenttest.Agent
		stays  bool // the agent still enters alice's account
	}{
		"approved": {func(s *shop) *authagenttest.Agent {
			agent, _ := s.approved("agent_1")
			return agent
		}, true},
		"connected": {func(s *shop) *authagenttest.Agent {
			agent := s.agent("agent_1", email)
			s.wantConnect(s.alice, agent, 303, "")
			return agent
		}, true},
		"suspended": {func(s *shop) *authagenttest.Agent {
			agent, _ := s.approved("agent_1")
			s.decide(s.alice, "agent_1", grants.Suspended)
			return agent
		}, false},
		"run out": {func(s *shop) *authagenttest.Agent {
			agent := s.agent("agent_1", email)
			s.wantConnect(s.alice, agent, 303, "") // it never signs in, so that nothing else holds it
			time.Sleep(90 * 24 * time.Hour)
			return agent
		}, false},
		"in another scenario": {func(s *shop) *authagenttest.Agent {
			s.options.scenario = "ContextualProfile"
			s.instance("contextual")
			agent := s.agent("agent_1", email)
			if resp := s.connect(s.alice, agent, "X-Instance", "contextual"); resp.StatusCode != 303 {
				t.Errorf("connect: %d %s", resp.StatusCode, resp.body)
			}
			return agent
		}, false},
		"revoked, and on record": {func(s *shop) *authagenttest.Agent {
			agent, _ := s.approved("agent_1")
			s.decide(s.alice, "agent_1", grants.Revoked)
			return agent
		}, false},
	} {
		bubble(t, "LNK-30 "+name, func(t *testing.T) {
			s := newShop(t, options{})
			agent := test.before(s)
			before := s.overview(s.alice).Grants
			s.told()
			s.happened()
			s.wantConnect(s.bob, agent, 403, problem.LinkRefused)
			if diff := cmp.Diff(before, s.overview(s.alice).Grants); diff != "" || len(before) != 1 {
				t.Errorf("alice's grant (-want +got):\n%s", diff)
			}
			if all := s.grants(s.bob); len(all) != 0 {
				t.Errorf("bob has %v", all)
			}
			if told := s.told(); len(told) != 0 {
				t.Errorf("told: %v", told)
			}
			if test.stays {
				if user, _ := s.actsFor(agent); user != s.alice {
					t.Errorf("the agent acts for %q", user)
				}
			}
		})
	}
}

// TestFirstCome is LNK-30 and LNK-31: an agent enters the account of whoever was
// first. Its owner, who was not, gets it back through an operator.
func TestFirstCome(t *testing.T) {
	bubble(t, "asked for, and connected by a stranger", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		s.wantConnect(s.bob, agent, 303, "")
		if user, _ := s.actsFor(agent); user != s.bob {
			t.Errorf("the agent acts for %q", user)
		}
		g := s.grants(s.alice)["agent_1"]
		d := grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}
		if _, err := s.owners.Decide(context.Background(), s.alice, d); !errors.Is(err, problem.LinkRefused) {
			t.Errorf("LNK-30 alice approves: %v", err)
		}
		if diff := cmp.Diff(g, s.grants(s.alice)["agent_1"]); diff != "" {
			t.Errorf("LNK-30 alice's request (-want +got):\n%s", diff)
		}
		if err := s.instances[""].rp.ForgetAgent(context.Background(), "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if now := s.grants(s.alice)["agent_1"].State; now != grants.Pending {
			t.Errorf("LNK-31 what waited is %s", now)
		}
		s.decide(s.alice, "agent_1", grants.Approved)
		if user, _ := s.actsFor(agent); user != s.alice {
			t.Errorf("LNK-31 the agent acts for %q", user)
		}
	})
	bubble(t, "approved, and connected by a stranger", func(t *testing.T) {
		s := newShop(t, options{})
		agent, c := s.approved("agent_1")
		s.wantConnect(s.bob, agent, 403, problem.LinkRefused)
		s.want(c, "GET", "/me", 200, "")
		if user, _ := s.actsFor(agent); user != s.alice {
			t.Errorf("LNK-30 the agent acts for %q", user)
		}
	})
}

// overtaking is a store in which somebody is faster: before its write of this number,
// from 0, other happens.
type overtaking struct {
	grants.Store
	before int
	other  func()
}

func (o *overtaking) overtake() {
	if o.before--; o.before == -1 {
		o.other()
	}
}

func (o *overtaking) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	o.overtake()
	return o.Store.CreateGrant(ctx, g)
}

func (o *overtaking) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	o.overtake()
	return o.Store.UpdateGrant(ctx, g)
}

// TestConnectedAtOnce is LNK-30 at two instances, whose clocks nothing rests on: of
// two owners who let an agent in at once, whichever is faster at whatever moment, one
// has it, and the other has been refused.
func TestConnectedAtOnce(t *testing.T) {
	ctx := context.Background()
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
	request := func(user string) authagent.LinkRequest {
		return authagent.LinkRequest{Agent: agent, Scenario: "S", Email: user + "@example.com", User: &authagent.User{ID: user}}
	}
	for _, test := range []struct {
		how    string
		before int // which write of bob's
		who    string
	}{{"connects", 0, "alice"}, {"connects", 1, "bob"}, {"approves", 0, "alice"}, {"approves", 1, "bob"}} {
		bubble(t, fmt.Sprint("LNK-30 bob ", test.how, ", before write ", test.before), func(t *testing.T) {
			memory := &memstore.Grants{}
			slow := &overtaking{Store: memory, before: test.before}
			bobs, alices := grants.OwnerApproval(slow), grants.OwnerApproval(memory)
			bobs.Logger, alices.Logger = quiet, quiet
			var faster, slower error
			slow.other = func() {
				time.Sleep(time.Second) // so that bob's is the earlier one, by the clock
				faster = alices.LinkByOwner(ctx, request("alice"))
			}
			if test.how == "connects" {
				slower = bobs.LinkByOwner(ctx, request("bob"))
			} else {
				slow.before += 2 // of the request
				bobs.Link(ctx, request("bob"))
				bobs.Wait()
				all, _ := memory.OwnerGrants(ctx, "bob")
				_, slower = bobs.Decide(ctx, "bob", grants.Decision{GrantID: all[0].ID, Version: all[0].Version, State: grants.Approved, Access: authagent.AccessRead})
			}
			has, refused := faster, slower
			if test.who == "bob" {
				has, refused = slower, faster
			}
			if has != nil || !errors.Is(refused, problem.LinkRefused) {
				t.Errorf("alice: %v; bob: %v", faster, slower)
			}
			if link, err := alices.Link(ctx, request(test.who)); err != nil || link.UserID != test.who {
				t.Errorf("the agent enters %q, %v", link.UserID, err)
			}
			bobs.Wait()
			alices.Wait()
		})
	}
}

// cutOff is a store that is out of reach as soon as a grant has been written; before
// that, somebody else is faster.
type cutOff struct {
	grants.Store
	faster func()
	away   bool
}

func (c *cutOff) overtake() {
	if !c.away {
		c.faster()
	}
}

func (c *cutOff) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	c.overtake()
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
	c.overtake()
	c.away = true
	return c.Store.UpdateGrant(ctx, g)
}

// TestRefusedWhenCutOff_LNK_43: an agent that is let in while the store goes away is in
// no account by it, whoever has let it in and however.
func TestRefusedWhenCutOff_LNK_43(t *testing.T) {
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
	request := func(user string) authagent.LinkRequest {
		return authagent.LinkRequest{Agent: agent, Scenario: "S", Email: user + "@example.com", User: &authagent.User{ID: user, EmailVerified: true}}
	}
	for how, letIn := range map[string]func(ctx context.Context, p *grants.Policy) error{
		"LNK-43 connects": func(ctx context.Context, p *grants.Policy) error { return p.LinkByOwner(ctx, request("bob")) },
		"LNK-43 approves": func(ctx context.Context, p *grants.Policy) error {
			o, err := p.Overview(ctx, "bob")
			if err != nil {
				return nil
			}
			_, err = p.Decide(ctx, "bob", grants.Decision{GrantID: o.Grants[0].ID, Version: o.Grants[0].Version, State: grants.Approved, Access: authagent.AccessRead})
			return err
		},
		"LNK-43 by address": func(ctx context.Context, p *grants.Policy) error {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{agent.Issuer}, Domains: []string{"example.com"}}
			_, err := p.Link(ctx, request("bob"))
			return err
		},
	} {
		for _, alice := range []bool{true, false} { // connects it at the same time
			bubble(t, fmt.Sprint(how, ", alice as well: ", alice), func(t *testing.T) {
				ctx := context.Background()
				memory := &memstore.Grants{}
				alices := grants.OwnerApproval(memory)
				alices.Logger = quiet
				if how == "LNK-43 approves" {
					alices.Link(ctx, request("bob")) // asks bob
					alices.Wait()
				}
				bobs := grants.OwnerApproval(&cutOff{Store: memory, faster: func() {
					if !alice {
						return
					}
					time.Sleep(time.Second)
					if err := alices.LinkByOwner(ctx, request("alice")); err != nil {
						t.Fatal(err)
					}
				}})
				bobs.Logger = quiet
				bobs.Audit = func(_ context.Context, e audit.Event) { t.Errorf("event %+v", e) }
				if err := letIn(ctx, bobs); err == nil {
					t.Fatal("no error")
				}
				bobs.Wait()
				want, user, reason := "", "bob", error(problem.ApprovalNeeded)
				if alice {
					want, user, reason = "alice", "alice", nil
				}
				if link, err := alices.Link(ctx, request(user)); link.UserID != want || !errors.Is(err, reason) {
					t.Errorf("the agent enters %q, %v", link.UserID, err)
				}
				alices.Wait()
			})
		}
	}
}

// TestClaimIsForgotten_LNK_43: what is left of a connection that the store cut off
// keeps the agent's owner out for an hour, and for no longer.
func TestClaimIsForgotten_LNK_43(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		request := func(user string) authagent.LinkRequest {
			return authagent.LinkRequest{Agent: authagent.Agent{Issuer: "i", ID: "agent_1"}, Scenario: "S", User: &authagent.User{ID: user}}
		}
		memory := &memstore.Grants{}
		bobs, alices := grants.OwnerApproval(&cutOff{Store: memory, faster: func() {}}), grants.OwnerApproval(memory)
		bobs.Logger, alices.Logger = quiet, quiet
		if err := bobs.LinkByOwner(ctx, request("bob")); err == nil {
			t.Fatal("no error")
		}
		if err := alices.LinkByOwner(ctx, request("alice")); !errors.Is(err, problem.LinkRefused) {
			t.Errorf("at once: %v", err)
		}
		g := overviewOf(t, alices, "bob").Grants[0]
		if _, err := alices.Decide(ctx, "bob", grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead}); !errors.Is(err, grants.ErrExpired) {
			t.Errorf("bob approves what was cut off: %v", err)
		}
		time.Sleep(time.Hour)
		if err := alices.LinkByOwner(ctx, request("alice")); err != nil {
			t.Errorf("an hour later: %v", err)
		}
		alices.Wait()
	})
}

func overviewOf(t *testing.T, p *grants.Policy, user string) grants.Overview {
	t.Helper()
	o, err := p.Overview(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// usersWithoutLinks is a UserStore and UserFinder, and no AgentLinker.
type usersWithoutLinks struct {
	authagent.UserStore
	authagent.UserFinder
}

// TestHeldAfterRenewal_LNK_42: an approval that has run out holds its agent, also once
// the agent asks anew, for a year. Its owner can let go of it.
func TestHeldAfterRenewal_LNK_42(t *testing.T) {
	for name, used := range map[string]bool{"LNK-42 connected, never used": false, "LNK-42 acted for alice": true} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{users: func(s *shop) authagent.UserStore { return usersWithoutLinks{s.users, s.users} }})
			agent := s.agent("agent_1", "alice@example.com")
			if used {
				agent, _ = s.approved("agent_1")
			} else {
				s.wantConnect(s.alice, agent, 303, "")
			}
			wantHeld := func(when string) {
				t.Helper()
				s.wantConnect(s.bob, agent, 403, problem.LinkRefused)
				if all := s.grants(s.bob); len(all) != 0 {
					t.Errorf("%s: bob has alice's agent: %+v", when, all)
				}
			}
			wantHeld("approved")
			time.Sleep(90 * 24 * time.Hour)
			wantHeld("run out")
			for range 2 { // the second request is in the place of the first
				s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
				wantHeld("asked for anew")
				if g := s.grants(s.alice)["agent_1"]; g.State != grants.Pending || !g.DecidedAt.IsZero() {
					t.Errorf("alice sees %+v", g)
				}
				time.Sleep(25 * time.Hour)
				wantHeld("not decided")
			}
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			s.decide(s.alice, "agent_1", grants.Approved)
			time.Sleep(90 * 24 * time.Hour)
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			time.Sleep(364 * 24 * time.Hour)
			wantHeld("not decided for a year")
			time.Sleep(2 * 24 * time.Hour)
			s.wantConnect(s.bob, agent, 303, "")
		})
	}
	for name, let := range map[string]func(s *shop) error{
		"LNK-42 denied": func(s *shop) error { s.decide(s.alice, "agent_1", grants.Denied); return nil },
		"LNK-42 revoked when it is over": func(s *shop) error {
			time.Sleep(25 * time.Hour)
			s.decide(s.alice, "agent_1", grants.Revoked)
			return nil
		},
		"LNK-42 all revoked when it is over": func(s *shop) error {
			time.Sleep(25 * time.Hour)
			return s.owners.RevokeAll(context.Background(), s.alice)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{})
			agent := s.agent("agent_1", "alice@example.com")
			s.wantConnect(s.alice, agent, 303, "")
			time.Sleep(90 * 24 * time.Hour)
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			if err := let(s); err != nil {
				t.Fatal(err)
			}
			s.wantConnect(s.bob, agent, 303, "")
		})
	}
}

// TestForgetAgent is LNK-31: an operator frees an agent that a stranger has
// connected. Its sessions end, and its owner can connect it.
func TestForgetAgent(t *testing.T) {
	ctx := context.Background()
	for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
		bubble(t, "LNK-31 "+scenario, func(t *testing.T) {
			s := newShop(t, options{scenario: scenario})
			agent, c := s.agent("agent_1", "alice@example.com"), s.browser()
			s.wantConnect(s.bob, agent, 303, "")
			s.wantSignIn(c, agent, 303, "")
			_, squatted := s.actsFor(agent)
			s.wantConnect(s.alice, agent, 403, problem.LinkRefused)
			_, other := s.approved("agent_2")
			s.events.take()
			rp := s.instances[""].rp
			if err := rp.ForgetAgent(ctx, "op", s.named("agent_1")); err != nil {
				t.Fatal(err)
			}
			s.wait()
			var names []audit.Name
			for _, e := range s.events.take() {
				names = append(names, e.Name)
				if e.HumanID != "op" || e.Agent != s.named("agent_1") {
					t.Errorf("event %+v", e)
				}
			}
			slices.Sort(names)
			if diff := cmp.Diff([]audit.Name{audit.AgentForgotten, grants.EventRevoked}, names); diff != "" {
				t.Errorf("LOG-3 events (-want +got):\n%s", diff)
			}
			if g := s.grants(s.bob)["agent_1"]; g.State != grants.Expired {
				t.Errorf("bob's grant: %+v", g)
			}
			s.want(c, "GET", "/me", 401, problem.NoSession)
			s.want(other, "GET", "/me", 200, "")
			time.Sleep(time.Second)
			s.wantConnect(s.alice, agent, 303, "")
			user, profile := s.actsFor(agent)
			if user != s.alice || scenario == "ContextualProfile" && (profile == squatted || profile == "") {
				t.Errorf("the agent acts for %q as %q", user, profile)
			}
			if err := rp.ForgetAgent(ctx, "op", s.named("agent_3")); err != nil {
				t.Errorf("an agent that nobody knows: %v", err)
			}
		})
	}
}

// TestForgottenAsksAnew_LNK_41: what ForgetAgent leaves to a stranger lets nobody in.
// The agent has to ask anew, or be connected.
func TestForgottenAsksAnew_LNK_41(t *testing.T) {
	ctx := context.Background()
	for name, stranger := range map[string]func(s *shop){ // who has connected the agent
		"LNK-41 connected": func(*shop) {},
		"LNK-41 suspended": func(s *shop) { s.decide(s.bob, "agent_1", grants.Suspended) },
		"LNK-41 revoked":   func(s *shop) { s.decide(s.bob, "agent_1", grants.Revoked) },
		"LNK-41 run out":   func(*shop) { time.Sleep(90 * 24 * time.Hour) },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{users: func(s *shop) authagent.UserStore { return usersWithoutLinks{s.users, s.users} }})
			agent := s.agent("agent_1", "alice@example.com")
			s.wantConnect(s.bob, agent, 303, "")
			c := s.browser()
			s.wantSignIn(c, agent, 303, "")
			stranger(s)
			s.wantSignIn(s.browser(), s.agent("agent_2", "alice@example.com"), 403, problem.ApprovalNeeded)
			wantShutOut := func(when string) {
				t.Helper()
				for _, state := range []grants.State{grants.Approved, grants.Revoked, grants.Denied, grants.Suspended} {
					g := s.grants(s.bob)["agent_1"]
					d := grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessFull}
					if _, err := s.owners.Decide(ctx, s.bob, d); !errors.Is(err, grants.ErrExpired) {
						t.Errorf("%s: bob decides %s: %v", when, state, err)
					}
				}
			}
			if err := s.owners.ForgetAgent(ctx, "op", s.named("agent_1")); err != nil {
				t.Fatal(err)
			}
			wantShutOut("at once")
			s.want(c, "GET", "/me", 401, problem.NoSession)
			s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
			s.decide(s.alice, "agent_1", grants.Approved)
			if user, _ := s.actsFor(agent); user != s.alice {
				t.Errorf("the agent acts for %q", user)
			}
			wantShutOut("while alice has it")
			time.Sleep(90 * 24 * time.Hour)
			wantShutOut("when alice's approval has run out")
			s.decide(s.alice, "agent_1", grants.Revoked)
			wantShutOut("when alice has let go of it")
			agent.Email = "bob@example.com" // it is his, after all
			agent = s.as.AddAgent(*agent)
			s.wantSignIn(c, agent, 403, problem.ApprovalNeeded)
			s.decide(s.bob, "agent_1", grants.Approved)
			s.want(c, "GET", "/me", 401, problem.NoSession) // the session from before stays ended
			if user, _ := s.actsFor(agent); user != s.bob {
				t.Errorf("the agent acts for %q", user)
			}
		})
	}
	bubble(t, "LNK-41 renewed", func(t *testing.T) { // the agent gives bob's address, and bob has it
		s := newShop(t, options{})
		agent := s.agent("agent_1", "bob@example.com")
		s.wantConnect(s.bob, agent, 303, "")
		time.Sleep(90 * 24 * time.Hour)
		s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		s.wantConnect(s.alice, agent, 403, problem.LinkRefused)
		if err := s.instances[""].rp.ForgetAgent(ctx, "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		s.wantConnect(s.alice, agent, 303, "")
	})
	bubble(t, "LNK-41 a no stays", func(t *testing.T) {
		s := newShop(t, options{})
		agent := s.agent("agent_1", "alice@example.com")
		s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
		time.Sleep(time.Second)
		s.decide(s.alice, "agent_1", grants.Denied)
		if err := s.owners.ForgetAgent(ctx, "op", s.named("agent_1")); err != nil {
			t.Fatal(err)
		}
		if g := s.grants(s.alice)["agent_1"]; g.State != grants.Denied {
			t.Errorf("what alice has denied is %s", g.State)
		}
	})
}

// TestConnectNeedsAgent is LNK-32: what comes back and names no agent, or the person
// as the agent, is not connected.
func TestConnectNeedsAgent(t *testing.T) {
	for name, test := range map[string]struct {
		user        bool // Config.Provider.SubjectIsUser
		introspects bool
		agent       authagenttest.Agent
		reason      problem.Reason
	}{
		"an agent in act":               {true, false, authagenttest.Agent{ID: "agent_1", UserID: "alice"}, ""},
		"a person":                      {true, false, authagenttest.Agent{ID: "alice"}, problem.Reason("identity_mismatch")},
		"a person, by introspection":    {true, true, authagenttest.Agent{ID: "alice"}, problem.Reason("identity_mismatch")},
		"acting for itself":             {true, false, authagenttest.Agent{ID: "alice", UserID: "alice"}, problem.Reason("identity_mismatch")},
		"acting for itself, asked":      {true, true, authagenttest.Agent{ID: "alice", UserID: "alice"}, problem.Reason("identity_mismatch")},
		"a person of an agents' issuer": {false, false, authagenttest.Agent{ID: "agent_1", UserID: "alice"}, problem.Reason("identity_mismatch")},
	} {
		bubble(t, "LNK-32 "+name, func(t *testing.T) {
			s := newShop(t, options{config: func(_ *shop, c *authagent.Config) {
				c.Provider.SubjectIsUser, c.Provider.Introspect = test.user, test.introspects
			}})
			s.as.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) {
				f.ActorClaim, f.OpaqueTokens = test.agent.UserID != "", test.introspects
			})
			test.agent.Email = "x@example.com"
			resp := s.connect(s.alice, s.as.AddAgent(test.agent))
			if resp.reason() != test.reason {
				t.Errorf("%d %s, want %q", resp.StatusCode, resp.body, test.reason)
			}
			if n := len(s.grants(s.alice)); (n == 1) != (test.reason == "") {
				t.Errorf("%d grants", n)
			}
		})
	}
}

// plain is a store that cannot erase.
type plain struct{ grants.Store }

// TestEraseUser is LNK-34: nothing of an account that is gone lets an agent into
// another one of its ID, and the agent is free.
func TestEraseUser(t *testing.T) {
	ctx := context.Background()
	for name, store := range map[string]func(grants.Store) grants.Store{
		"erased":  func(s grants.Store) grants.Store { return s },
		"revoked": func(s grants.Store) grants.Store { return plain{s} },
	} {
		for _, scenario := range []string{"FullAccount", "ContextualProfile"} {
			bubble(t, "LNK-34 "+scenario+" "+name, func(t *testing.T) {
				s := newShop(t, options{scenario: scenario, store: store})
				agent, c := s.approved("agent_1")
				s.pay(c, "amount=1")
				s.wantSignIn(s.browser(), s.agent("agent_2", "alice@example.com"), 403, problem.ApprovalNeeded)
				bobs, bob := s.agent("agent_b", "bob@example.com"), s.browser()
				s.wantConnect(s.bob, bobs, 303, "")
				s.wantSignIn(bob, bobs, 303, "")
				s.users.Remove(s.alice)
				s.told()
				s.events.take()
				rp := s.instances[""].rp
				var pseudonym string
				for i := range 2 { // the second time there is nothing to do
					receipt, err := rp.EraseUser(ctx, "op", s.alice)
					if name == "erased" && err != nil || name == "revoked" && !errors.Is(err, errors.ErrUnsupported) {
						t.Fatal(err)
					}
					if i == 0 {
						pseudonym = receipt.Pseudonym
					}
					deleted := fmt.Sprint(receipt.Stores[0].Rows)
					if want := "map[activity:1 allowances:0 approvals:1 deeds:2 grants:2 uses:1]"; i == 0 && name == "erased" && deleted != want {
						t.Errorf("ERA-2: deleted %s, want %s", deleted, want)
					}
				}
				if told := s.told(); len(told) != 0 {
					t.Errorf("an owner who is gone is told: %v", told)
				}
				ended := 0
				for _, e := range s.events.take() {
					if e.HumanID != "op" || e.UserID != pseudonym && e.Name != audit.UserErased || strings.Contains(fmt.Sprint(e), s.alice) || e.RemoteAddr != "" {
						t.Errorf("ERA-4: event %+v", e)
					}
					if e.Name == grants.EventRevoked || e.Name == grants.EventDenied {
						ended++
					}
				}
				if ended != 2 {
					t.Errorf("LOG-3 %d grants were ended, want 2", ended)
				}
				o := s.overview(s.alice)
				if name == "erased" && len(o.Grants)+len(o.Approvals)+len(o.Sessions)+len(o.Uses)+len(o.Deeds) > 0 {
					t.Errorf("left over: %+v", o)
				}
				for _, a := range o.Approvals {
					if a.Now() == grants.Pending {
						t.Errorf("it still waits: %+v", a)
					}
				}
				s.users.Put(memberOf(s.alice, "alice@example.com")) // as no site must
				s.want(c, "GET", "/me", 401, problem.NoSession)
				s.wantSignIn(s.browser(), agent, 403, problem.ApprovalNeeded)
				s.want(bob, "GET", "/me", 200, "")
				s.wantConnect(s.bob, agent, 303, "")
				if user, profile := s.actsFor(agent); user != s.bob || (scenario == "ContextualProfile") != (profile != "") {
					t.Errorf("the agent acts for %q as %q", user, profile)
				}
			})
		}
	}
}

// stubborn is a store that fails to erase.
type stubborn struct {
	*memstore.Grants
	fail bool
}

func (s *stubborn) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if s.fail {
		return errors.New("connection refused by " + e.UserID)
	}
	return s.Grants.EraseUser(ctx, e)
}

// noForgetter hides that a store can forget.
type noForgetter struct{ authagent.ProfileStore }

// TestForgetFails is LNK-34: what fails is said, the rest is done, and a further call
// finishes it.
func TestForgetFails(t *testing.T) {
	ctx := context.Background()
	bubble(t, "LNK-34 a store fails", func(t *testing.T) {
		store := &stubborn{&memstore.Grants{}, true}
		s := newShop(t, options{scenario: "ContextualProfile", store: func(grants.Store) grants.Store { return store }})
		agent, c := s.approved("agent_1")
		s.users.Remove(s.alice)
		s.events.take()
		rp := s.instances[""].rp
		receipt, err := rp.EraseUser(ctx, "op", s.alice)
		if err == nil || !strings.Contains(err.Error(), "erase user: connection refused") || !strings.Contains(receipt.Stores[0].Error, "refused") {
			t.Errorf("error %v, receipt %+v", err, receipt)
		}
		s.wait()
		said := slices.ContainsFunc(s.events.take(), func(e audit.Event) bool {
			return e.Name == audit.UserErased && e.Outcome == audit.Failed && e.UserID == receipt.Pseudonym && !strings.Contains(e.Detail, s.alice)
		})
		if !said {
			t.Error("LOG-3: no event says that it has failed")
		}
		if g := s.grants(s.alice)["agent_1"]; g.State != grants.Revoked || len(s.profiles.All()) != 0 {
			t.Errorf("grant %+v, profiles %v", g, s.profiles.All())
		}
		s.want(c, "GET", "/me", 401, problem.NoSession)
		store.fail = false
		if _, err := rp.EraseUser(ctx, "op", s.alice); err != nil || len(s.overview(s.alice).Grants) != 0 {
			t.Errorf("once more: %v, %v", err, s.overview(s.alice).Grants)
		}
		s.wantConnect(s.bob, agent, 303, "")
	})
	bubble(t, "LNK-34 a store cannot", func(t *testing.T) {
		s := newShop(t, options{config: func(s *shop, c *authagent.Config) {
			c.Scenario = authagent.ContextualProfile(s.users, noForgetter{s.profiles}, grants.OwnerApproval(s.store))
		}})
		rp := s.instances[""].rp
		receipt, wrong := rp.EraseUser(ctx, "op", s.alice)
		named := slices.ContainsFunc(receipt.Stores, func(e stores.Erased) bool { return e.Store == "ProfileStore" && len(e.Left) == 1 && e.Error != "" })
		if !named {
			t.Errorf("ERA-3: the receipt does not name the store: %+v", receipt)
		}
		for what, err := range map[string]error{"user": wrong, "agent": rp.ForgetAgent(ctx, "op", s.named("agent_1"))} {
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "ProfileStore") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	bubble(t, "LNK-34 nobody", func(t *testing.T) {
		s := newShop(t, options{scenario: "ContextualProfile"})
		s.profiles.FindOrCreateProfile(ctx, authagent.Profile{Agent: s.named("agent_1"), Scenario: "FreshProfile"})
		rp := s.instances[""].rp
		for what, forget := range map[string]func() error{
			"relying party": func() error { _, err := rp.EraseUser(ctx, "op", ""); return err },
			"policy":        func() error { return s.owners.EraseUser(ctx, &authagent.Erasure{}) },
			"users":         func() error { return s.users.EraseUser(ctx, &authagent.Erasure{}) },
			"profiles":      func() error { return s.profiles.EraseUser(ctx, &authagent.Erasure{}) },
		} {
			if forget() == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if err := rp.ForgetAgent(ctx, "op", s.named("agent_1")); err != nil || len(s.profiles.All()) != 1 {
			t.Errorf("%v; profiles that are linked to nobody: %v", err, s.profiles.All())
		}
	})
}

// memberOf is an account of this ID.
func memberOf(id, email string) memstore.Account {
	return memstore.Account{User: authagent.User{ID: id, EmailVerified: true}, Email: email}
}
