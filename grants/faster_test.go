package grants_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// TestSomebodyWasFaster: what happens to a grant or an approval that has changed between
// the look and the write.
func TestSomebodyWasFaster(t *testing.T) {
	ctx := context.Background()
	agent := asks("agent_1", "").Agent
	conflict := func(method string, then error) func(d *desk) {
		return func(d *desk) {
			changed := false
			d.store.script = func(called string) error {
				switch {
				case called == method && !changed:
					changed = true
					return authagent.ErrConflict
				case called == "Grant" && changed:
					return then
				}
				return nil
			}
		}
	}
	eve := asks("agent_1", "alice")
	eve.Email = "eve@example.com"
	for name, test := range map[string]struct {
		before func(*desk)
		faster func(*desk)
		do     func(*desk) error
		want   error
		state  grants.State // of the grant afterwards
	}{
		"revoke":               {letIn, conflict("UpdateGrant", nil), func(d *desk) error { return d.RevokeAll(ctx, "alice") }, nil, grants.Revoked},
		"revoke what is gone":  {letIn, conflict("UpdateGrant", authagent.ErrNotFound), func(d *desk) error { return d.RevokeAll(ctx, "alice") }, nil, grants.Approved},
		"revoke, and it fails": {letIn, conflict("UpdateGrant", errDown), func(d *desk) error { return d.RevokeAll(ctx, "alice") }, errDown, grants.Approved},
		"forget":               {letIn, conflict("UpdateGrant", nil), func(d *desk) error { return d.ForgetAgent(ctx, "op", agent) }, nil, grants.Expired},
		// Nothing that the owner has seen has changed, so that the decision is made after all: NTC-14.
		"decide":  {asked, conflict("UpdateGrant", nil), func(d *desk) error { return d.decideOn("agent_1", "alice", grants.Denied) }, nil, grants.Denied},
		"connect": {asked, conflict("UpdateGrant", nil), func(d *desk) error { return d.LinkByOwner(ctx, asks("agent_1", "alice")) }, problem.Conflict, grants.Pending},
		"suspend": {letIn, conflict("UpdateGrant", nil), func(d *desk) error { _, err := d.Link(ctx, eve); return err }, problem.Suspended, grants.Approved},
		"use": {paying, conflict("UpdateApproval", nil), func(d *desk) error {
			d.must(as(d.decideOnly(true), authagent.ErrConflict))
			d.must(d.decideOnly(true))
			return d.approve("x")
		}, nil, grants.Approved},
		"perform, but stopped": {func(d *desk) { paying(d); d.must(d.decideOnly(true)) }, conflict("none", nil), func(d *desk) error { return d.gone() }, problem.NoSession, grants.Approved},
		"approve the action":   {paying, conflict("none", nil), func(d *desk) error { d.loseGrants(); return d.decideOnly(true) }, authagent.ErrConflict, grants.Approved},
		"stopped meanwhile":    {func(d *desk) { paying(d); d.must(d.decideOnly(true)) }, conflict("UpdateApproval", authagent.ErrNotFound), func(d *desk) error { return d.approve("x") }, problem.NoSession, grants.Approved},
		"denied by another": {func(d *desk) { paying(d); d.must(d.decideOnly(true)) }, func(d *desk) {
			d.store.script = func(method string) error {
				return map[string]error{"Grant": authagent.ErrNotFound, "UpdateApproval": authagent.ErrConflict}[method]
			}
		}, func(d *desk) error { return d.approve("x") }, problem.NoSession, grants.Approved},
	} {
		d := newDesk(t)
		test.before(d)
		test.faster(d)
		if err := test.do(d); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		d.store.script = nil
		if got := d.grant("agent_1", "alice").Now(); got != test.state {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestOverAlready: what is over already is not written again, whoever ends it once more.
func TestOverAlready(t *testing.T) {
	d := newDesk(t)
	letIn(d)
	for _, state := range []grants.State{grants.Denied, grants.Revoked} {
		g := d.grant("agent_1", "alice")
		g.State = state
		g, err := d.store.UpdateGrant(t.Context(), g)
		d.must(err)
		d.must(d.RevokeAll(t.Context(), "alice"))
		d.must(d.DenyWaiting(t.Context(), "alice"))
		if diff := cmp.Diff(g, d.grant("agent_1", "alice")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
	}
}

// TestStateOfLaterRelease: a grant in a state that only a later release knows stays as it is, and
// whoever revokes all is told.
func TestStateOfLaterRelease(t *testing.T) {
	d := newDesk(t)
	letIn(d)
	g := d.grant("agent_1", "alice")
	g.State = "resting"
	g, err := d.store.UpdateGrant(t.Context(), g)
	d.must(err)
	d.must(as(d.RevokeAll(t.Context(), "alice"), grants.ErrDecision))
	if diff := cmp.Diff(g, d.grant("agent_1", "alice")); diff != "" {
		t.Errorf("the grant (-want +got):\n%s", diff)
	}
}

// loseGrants has no grant be found any more.
func (d *desk) loseGrants() {
	d.store.script = func(method string) error {
		if method == "Grant" {
			return authagent.ErrNotFound
		}
		return nil
	}
}

// gone performs an action the grant of which is gone.
func (d *desk) gone() error {
	r := d.pays("agent_1", "alice", "x")
	d.loseGrants()
	err := d.perform(r)
	if a := d.only(); a.State != grants.Denied {
		d.t.Errorf("the approval is %s", a.State)
	}
	return err
}

// TestGrantOfAnother: an action rests on a grant of the same account.
func TestGrantOfAnother(t *testing.T) {
	d := newDesk(t)
	letIn(d)
	r := d.pays("agent_1", "alice", "x")
	r.UserID = "bob"
	if _, _, err := d.Approve(context.Background(), r); !errors.Is(err, problem.NoSession) {
		t.Error(err)
	}
}

// TestConnectInOneScenario: to connect an agent in one scenario leaves its grant in
// another one as it is.
func TestConnectInOneScenario(t *testing.T) {
	d := newDesk(t)
	letIn(d)
	before := d.grant("agent_1", "alice")
	r := asks("agent_1", "alice")
	r.Scenario = "ContextualProfile"
	d.must(d.LinkByOwner(context.Background(), r))
	all, err := d.store.OwnerGrants(context.Background(), "alice")
	d.must(err)
	kept, err := d.store.Store.Grant(context.Background(), before.ID)
	if diff := cmp.Diff(before, kept, cmpopts.EquateApproxTime(0)); diff != "" || err != nil || len(all) != 2 {
		t.Errorf("%d grants, %v\n%s", len(all), err, diff)
	}
}

// TestOtherInstanceByEmail: what another instance has stored between the look and the
// write of a sign-in that an address lets in.
func TestOtherInstanceByEmail(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	claim := func(change func(*grants.Grant)) grants.Grant {
		r := asks("agent_1", "alice")
		g := grants.Grant{
			ID: "g", Version: 1, Agent: r.Agent, Scenario: r.Scenario, UserID: "alice", State: grants.Pending, Email: r.Email,
			Access: authagent.AccessRead, RequestedAt: now, DecidedAt: now, ExpiresAt: now,
		}
		change(&g)
		return g
	}
	for name, test := range map[string]struct {
		stored grants.Grant
		fails  bool // to find out who else holds the agent
		want   error
	}{
		"let in": {claim(func(g *grants.Grant) { g.State, g.ExpiresAt = grants.Approved, now.Add(time.Hour) }), false, nil},
		"let in by another address": {claim(func(g *grants.Grant) {
			g.State, g.ExpiresAt, g.Email = grants.Approved, now.Add(time.Hour), "eve@example.com"
		}), false, problem.ApprovalNeeded},
		"let in, and over":       {claim(func(g *grants.Grant) { g.State = grants.Approved }), false, problem.ApprovalNeeded},
		"about to":               {claim(func(*grants.Grant) {}), false, nil},
		"about to, and it fails": {claim(func(*grants.Grant) {}), true, errDown},
		"about to anew":          {claim(func(g *grants.Grant) { g.Version = 2 }), false, problem.ApprovalNeeded},
		"about to by another":    {claim(func(g *grants.Grant) { g.Email = "eve@example.com" }), false, problem.ApprovalNeeded},
		"began long ago":         {claim(func(g *grants.Grant) { g.RequestedAt, g.DecidedAt = now.Add(-2*time.Hour), now.Add(-2*time.Hour) }), false, problem.ApprovalNeeded},
		"asked":                  {claim(func(g *grants.Grant) { g.DecidedAt, g.ExpiresAt = time.Time{}, now.Add(time.Hour) }), false, problem.ApprovalNeeded},
		"denied":                 {claim(func(g *grants.Grant) { g.State = grants.Denied }), false, problem.ApprovalNeeded},
	} {
		d := newDesk(t, func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		})
		stored := false
		d.store.script = func(method string) error {
			switch {
			case method == "CreateGrant" && !stored:
				stored = true
				_, _, err := d.store.Store.CreateGrant(ctx, test.stored)
				return err
			case method == "AgentGrants" && stored && test.fails:
				return errDown
			}
			return nil
		}
		link, err := d.Link(ctx, asks("agent_1", "alice"))
		if !errors.Is(err, test.want) || err == nil && (link.UserID != "alice" || link.GrantID != d.grant("agent_1", "alice").ID) {
			t.Errorf("%s: %+v, %v", name, link, err)
		}
		if g := d.wait().grant("agent_1", "alice"); err == nil && g.Now() != grants.Approved {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

// TestTurns: whatever has to come one after another waits for its turn, does nothing if
// its time is over before that, and is no later than it has to be.
func TestTurns(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	byEmail := func(p *grants.Policy) {
		p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
	}
	for name, test := range map[string]struct {
		held string // where whoever has the turn is
		hold func(*desk)
		do   func(*desk) error
	}{
		"connect":     {"CreateGrant", connects, func(d *desk) error { return d.LinkByOwner(gone, asks("agent_3", "alice")) }},
		"forget user": {"CreateGrant", connects, func(d *desk) error { return d.EraseUser(gone, erasure("alice")) }},
		"by e-mail":   {"CreateGrant", connects, func(d *desk) error { _, err := d.Link(gone, asks("agent_3", "alice")); return err }},
		"approve": {"CreateGrant", connects, func(d *desk) error {
			g := d.grant("agent_1", "bob")
			_, err := d.Decide(gone, "bob", grants.Decision{GrantID: g.ID, Version: g.Version, State: grants.Approved, Access: authagent.AccessRead})
			return err
		}},
		"ask for an action": {"CreateApproval", func(d *desk) { d.approve("x") }, func(d *desk) error {
			_, _, err := d.Approve(gone, d.pays("agent_1", "alice", "y"))
			return err
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, byEmail)
			letIn(d)
			r := asks("agent_1", "bob")
			_, _, err := d.store.CreateGrant(t.Context(), grants.Grant{
				ID: "b", Version: 1, Agent: r.Agent, Scenario: "other", UserID: "bob", State: grants.Pending, Email: r.Email,
				RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
			})
			d.must(err)
			free, inside := make(chan struct{}), false
			d.store.script = func(method string) error {
				if method == test.held && !inside {
					inside = true
					<-free
				}
				return nil
			}
			go test.hold(d)
			synctest.Wait()
			if err := test.do(d); !inside || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
			close(free)
			synctest.Wait()
			if g := d.grant("agent_3", "alice"); g.ID != "" || d.grant("agent_1", "alice").Now() != grants.Approved || d.grant("agent_1", "bob").Now() != grants.Pending {
				t.Errorf("%s: something was done", name)
			}
			d.wait()
		})
	}
}

// connects lets another agent in.
func connects(d *desk) { d.LinkByOwner(context.Background(), asks("agent_2", "alice")) }

// TestNoGap: to connect an agent that was let in leaves no moment in which it is not.
func TestNoGap(t *testing.T) {
	d := newDesk(t)
	letIn(d)
	d.store.script = func(method string) error {
		if g := d.grant("agent_1", "alice"); g.Now() != grants.Approved {
			t.Errorf("%s before %s", g.Now(), method)
		}
		return nil
	}
	letIn(d)
}

// TestClaimStays: a claim that could be neither made good nor taken back says both.
func TestClaimStays(t *testing.T) {
	d := newDesk(t)
	undo := errors.New("disk full")
	claimed := false
	d.store.script = func(method string) error {
		switch {
		case method == "CreateGrant":
			claimed = true
		case claimed && method == "AgentGrants":
			return errDown
		case claimed && method == "UpdateGrant":
			return undo
		}
		return nil
	}
	if err := d.LinkByOwner(context.Background(), asks("agent_1", "alice")); !errors.Is(err, errDown) || !errors.Is(err, undo) {
		t.Error(err)
	}
}

// TestCreatedMeanwhile: of two who connect an agent to an account at once, one is told to
// try again.
func TestCreatedMeanwhile(t *testing.T) {
	d := newDesk(t)
	other := grants.OwnerApproval(d.store.Store) // of another instance
	other.Logger = quiet
	d.store.script = func(method string) error {
		if method == "CreateGrant" {
			return other.LinkByOwner(context.Background(), asks("agent_1", "alice"))
		}
		return nil
	}
	if err := d.LinkByOwner(context.Background(), asks("agent_1", "alice")); !errors.Is(err, problem.Conflict) {
		t.Error(err)
	}
	if g := d.grant("agent_1", "alice"); g.Now() != grants.Approved {
		t.Errorf("%+v", g)
	}
}

// TestUnknownSubject: a grant from when the user at the server was not kept may be for
// any of them, and so keeps the agent from other accounts.
func TestUnknownSubject(t *testing.T) {
	for _, test := range []struct {
		had, asks string
		refused   bool
	}{{"u1", "u1", true}, {"", "u1", true}, {"u1", "", true}, {"", "", true}, {"u1", "u2", false}} {
		d := newDesk(t)
		r := asks("agent_1", "alice")
		r.Subject = test.had
		d.must(d.LinkByOwner(context.Background(), r))
		r = asks("agent_1", "bob")
		r.Subject = test.asks
		if err := d.LinkByOwner(context.Background(), r); errors.Is(err, problem.LinkRefused) != test.refused || !test.refused && err != nil {
			t.Errorf("%q, then %q: %v", test.had, test.asks, err)
		}
	}
}

// TestDenialsCountForAnHour: what was denied counts against what an agent may ask for,
// for an hour.
func TestDenialsCountForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(p *grants.Policy) { p.MaxActions = 1 })
		paying(d)
		d.must(d.decideOnly(false))
		time.Sleep(time.Hour - time.Second)
		if err := d.approve("y"); !errors.Is(err, problem.Limited) {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := d.approve("y"); !errors.Is(err, problem.ApprovalPending) {
			t.Error(err)
		}
		d.wait()
	})
}

// TestClaimSeen: what other instances see while an agent is being let in. It is in force
// nowhere, and a request that waits goes on waiting.
func TestClaimSeen(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	for name, test := range map[string]struct {
		grant grants.Grant
		seen  grants.State
	}{
		"waits":            {grants.Grant{State: grants.Pending, RequestedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour)}, grants.Pending},
		"denied":           {grants.Grant{State: grants.Denied, RequestedAt: now.Add(-time.Hour), DecidedAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour)}, grants.Expired},
		"by another clock": {grants.Grant{State: grants.Pending, RequestedAt: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour)}, grants.Pending},
	} {
		d := newDesk(t)
		r := asks("agent_1", "alice")
		g := test.grant
		g.ID, g.Version, g.Agent, g.Scenario, g.UserID, g.Email = "g", 1, r.Agent, r.Scenario, "alice", r.Email
		_, _, err := d.store.CreateGrant(ctx, g)
		d.must(err)
		claimed := false
		d.store.script = func(method string) error {
			if seen := d.grant("agent_1", "alice"); seen.Version == 2 {
				claimed = true
				if seen.Now() != test.seen || seen.RequestedAt.After(seen.DecidedAt) || seen.RequestedAt != g.RequestedAt && g.RequestedAt.Before(now) {
					t.Errorf("%s: %+v", name, seen)
				}
			}
			return nil
		}
		d.must(d.decideOn("agent_1", "alice", grants.Approved))
		if got := d.grant("agent_1", "alice"); !claimed || got.Now() != grants.Approved || got.RequestedAt != g.RequestedAt {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestWhoHolds: an agent that an owner has let in stays that owner's, also long after that
// has run out. One that was denied or revoked is free.
func TestWhoHolds(t *testing.T) {
	ctx := context.Background()
	year := 365 * 24 * time.Hour
	now := time.Now()
	for name, test := range map[string]struct {
		state            grants.State
		decided, expires time.Time
		held             bool
	}{
		"approved":              {grants.Approved, now.Add(-3 * year), now.Add(year), true},
		"ran out":               {grants.Approved, now.Add(-3 * year), now.Add(-2 * year), true},
		"suspended":             {grants.Suspended, now.Add(-3 * year), now.Add(-2 * year), true},
		"ran out, asks":         {grants.Pending, now.Add(-3 * year), now.Add(-year / 2), true},
		"ran out, asked":        {grants.Pending, now.Add(-3 * year), now.Add(-2 * year), false},
		"asks for the first":    {grants.Pending, time.Time{}, now.Add(time.Hour), false},
		"denied":                {grants.Denied, now, now.Add(time.Hour), false},
		"denied, asked anew":    {grants.Denied, now.Add(-3 * year), now.Add(time.Hour), false},
		"revoked, asked before": {grants.Revoked, now.Add(-3 * year), now.Add(time.Hour), false},
	} {
		d := newDesk(t)
		r := asks("agent_1", "bob")
		_, _, err := d.store.CreateGrant(ctx, grants.Grant{
			ID: "g", Version: 1, Agent: r.Agent, Scenario: r.Scenario, UserID: "alice", State: test.state, Email: "alice@example.com",
			RequestedAt: now.Add(-2 * year), DecidedAt: test.decided, ExpiresAt: test.expires,
		})
		d.must(err)
		if err := d.LinkByOwner(ctx, r); errors.Is(err, problem.LinkRefused) != test.held || !test.held && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldSessionStaysOver: an agent that was revoked, and was not let in again when its
// owner tried, has none of its old sessions when it is let in later.
func TestOldSessionStaysOver(t *testing.T) {
	ctx := context.Background()
	for _, stays := range []bool{false, true} { // whether the claim can be taken back
		d := newDesk(t)
		now, r := time.Now(), asks("agent_1", "alice")
		old := grants.Grant{
			ID: "g", Version: 1, Agent: r.Agent, Scenario: r.Scenario, UserID: "alice", State: grants.Revoked, Email: r.Email, Era: 7,
			RequestedAt: now.Add(-2 * time.Hour), DecidedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour),
		}
		_, _, err := d.store.CreateGrant(ctx, old)
		d.must(err)
		updates := 0
		d.store.script = func(method string) error {
			if method == "UpdateGrant" {
				updates++
			}
			if updates > 0 && method == "AgentGrants" || stays && updates > 1 {
				return errDown
			}
			return nil
		}
		if err := d.LinkByOwner(ctx, r); !errors.Is(err, errDown) || (d.grant("agent_1", "alice").State == grants.Denied) == stays {
			t.Fatalf("%v, %+v", err, d.grant("agent_1", "alice"))
		}
		d.store.script = nil
		d.must(d.LinkByOwner(ctx, r))
		if got := d.grant("agent_1", "alice"); got.Era <= old.Era || got.Now() != grants.Approved {
			t.Errorf("era %d after %d", got.Era, old.Era)
		}
	}
}

// TestConnectedOnly: where only owners may connect agents, no address lets one in.
func TestConnectedOnly(t *testing.T) {
	d := newDesk(t, func(p *grants.Policy) {
		p.OwnerStartedOnly = true
		p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
	})
	if _, err := d.Link(context.Background(), asks("agent_1", "alice")); err != problem.ApprovalNeeded || d.wait().grant("agent_1", "alice").ID != "" {
		t.Error(err)
	}
}
