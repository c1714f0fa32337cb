package grants_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/stores"
)

var errDown = errors.New("connection refused")

// A desk is a policy alone, without a site around it. Nothing goes on in the background
// after its methods have returned.
type desk struct {
	*grants.Policy
	t      *testing.T
	store  *broken
	events log[audit.Event]
}

func newDesk(t *testing.T, change ...func(*grants.Policy)) *desk {
	t.Helper()
	d := &desk{t: t, store: &broken{Store: &memstore.Grants{}}}
	d.Policy = grants.OwnerApproval(d.store)
	d.Logger = quiet
	d.Audit = func(_ context.Context, e audit.Event) { d.events.add(e) }
	for _, c := range change {
		c(d.Policy)
	}
	return d
}

// asks is the sign-in of an agent for this account.
func asks(agent, user string) authagent.LinkRequest {
	return authagent.LinkRequest{
		Agent: authagent.Agent{Issuer: "https://as.example", ID: agent}, Scenario: "FullAccount", Email: user + "@example.com",
		User: &authagent.User{ID: user, EmailVerified: true},
	}
}

// wait waits for the background.
func (d *desk) wait() *desk {
	d.Policy.Wait()
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// grant returns the one of an agent in an account.
func (d *desk) grant(agent, user string) grants.Grant {
	d.t.Helper()
	all, err := d.store.Store.OwnerGrants(context.Background(), user)
	d.must(err)
	i := slices.IndexFunc(all, func(g grants.Grant) bool { return g.Agent.ID == agent })
	if i < 0 {
		return grants.Grant{}
	}
	return all[i]
}

func (d *desk) decideOn(agent, user string, to grants.State) error {
	g := d.grant(agent, user)
	_, err := d.Decide(context.Background(), user, grants.Decision{GrantID: g.ID, Version: g.Version, State: to, Access: authagent.AccessRead})
	return err
}

// pays is a request for an action of an agent that was let in.
func (d *desk) pays(agent, user, digest string) action.Request {
	g := d.grant(agent, user)
	return action.Request{
		UserID: user, GrantID: g.ID, Agent: g.Agent, Action: "pay", Method: "POST", Target: "/pay", Digest: digest,
	}
}

func (d *desk) approve(digest string) error {
	return d.perform(d.pays("agent_1", "alice", digest))
}

// perform performs an action if it is approved.
func (d *desk) perform(r action.Request) error {
	reserved, _, err := d.Approve(context.Background(), r)
	if err != nil {
		return err
	}
	return reserved.End(context.Background())
}

// only returns the one approval of alice.
func (d *desk) only() grants.Approval {
	d.t.Helper()
	all, err := d.store.Store.OwnerApprovals(context.Background(), "alice")
	d.must(err)
	if len(all) != 1 {
		d.t.Fatalf("approvals %+v", all)
	}
	return all[0]
}

func (d *desk) decideOnly(yes bool) error {
	a := d.only()
	_, err := d.DecideAction(context.Background(), "alice", a.ID, a.Version, yes)
	return err
}

// as is nil for the error that is wanted.
func as(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return errors.Join(errors.New("not as wanted"), err)
}

// letIn lets agent_1 into the account of alice.
func letIn(d *desk) { d.must(d.LinkByOwner(context.Background(), asks("agent_1", "alice"))) }

// asked has agent_1 wait for alice.
func asked(d *desk) {
	_, err := d.Link(context.Background(), asks("agent_1", "alice"))
	d.wait().must(as(err, problem.ApprovalNeeded))
}

// paying has an action of agent_1 wait for alice.
func paying(d *desk) {
	letIn(d)
	d.must(as(d.approve("x"), problem.ApprovalPending))
}

// TestEachCallFails: whichever call of the store fails, the method says so. Excepted is
// what comes after the thing is done.
func TestEachCallFails(t *testing.T) {
	ctx := context.Background()
	byEmail := func(p *grants.Policy) {
		p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
	}
	for name, test := range map[string]struct {
		policy func(*grants.Policy)
		before func(*desk)
		do     func(*desk) error
		silent []string // methods that may fail
		calls  int      // that have to be tried, at least
	}{
		"approve":            {nil, asked, func(d *desk) error { return d.decideOn("agent_1", "alice", grants.Approved) }, nil, 6},
		"deny":               {nil, asked, func(d *desk) error { return d.decideOn("agent_1", "alice", grants.Denied) }, []string{"OwnerApprovals"}, 2},
		"approve anew":       {nil, func(d *desk) { paying(d); d.must(d.decideOn("agent_1", "alice", grants.Revoked)) }, func(d *desk) error { return d.decideOn("agent_1", "alice", grants.Approved) }, nil, 6},
		"connect":            {nil, func(*desk) {}, func(d *desk) error { return d.LinkByOwner(ctx, asks("agent_1", "alice")) }, nil, 5},
		"connect what waits": {nil, asked, func(d *desk) error { return d.LinkByOwner(ctx, asks("agent_1", "alice")) }, nil, 5},
		"enter":              {nil, letIn, func(d *desk) error { _, err := d.Link(ctx, asks("agent_1", "alice")); return err }, nil, 1},
		"enter with another address": {nil, letIn, func(d *desk) error {
			r := asks("agent_1", "alice")
			r.Email = "eve@example.com"
			_, err := d.Link(ctx, r)
			return as(err, problem.Suspended)
		}, []string{"OwnerApprovals"}, 2},
		"by e-mail":      {byEmail, func(*desk) {}, func(d *desk) error { _, err := d.Link(ctx, asks("agent_1", "alice")); return err }, nil, 6},
		"ask for action": {nil, letIn, func(d *desk) error { return as(d.approve("x"), problem.ApprovalPending) }, nil, 3},
		"perform":        {nil, func(d *desk) { paying(d); d.must(d.decideOnly(true)) }, func(d *desk) error { return d.approve("x") }, nil, 4},
		"perform for one that was stopped": {nil, func(d *desk) {
			paying(d)
			d.must(d.decideOnly(true))
			d.store.script = func(method string) error { // which has its approval stay
				if method == "OwnerApprovals" {
					return errDown
				}
				return nil
			}
			d.must(d.decideOn("agent_1", "alice", grants.Revoked))
		}, func(d *desk) error { return as(d.approve("x"), problem.NoSession) }, nil, 3},
		"approve an action": {nil, paying, func(d *desk) error { return d.decideOnly(true) }, nil, 3},
		"deny an action":    {nil, paying, func(d *desk) error { return d.decideOnly(false) }, nil, 2},
		"revoke all":        {nil, paying, func(d *desk) error { return d.RevokeAll(ctx, "alice") }, []string{"OwnerApprovals", "UpdateApproval"}, 2},
		"forget user":       {nil, paying, func(d *desk) error { return d.eraseWhatItCan("alice") }, []string{"OwnerApprovals", "UpdateApproval"}, 2},
		"forget agent": {nil, paying, func(d *desk) error { return d.ForgetAgent(ctx, "op", asks("agent_1", "").Agent) },
			[]string{"OwnerApprovals", "UpdateApproval"}, 2},
		"rules": {nil, func(*desk) {}, func(d *desk) error { return d.SetRules(ctx, "op", grants.Rules{Paused: true}) }, nil, 2},
		"admit": {nil, func(*desk) {}, func(d *desk) error { return d.Admit(ctx, asks("agent_1", "").Agent, nil) }, nil, 1},
	} {
		tried := 0
		for n := 0; n >= 0; n++ {
			d := newDesk(t, func(p *grants.Policy) {
				if test.policy != nil {
					test.policy(p)
				}
			})
			test.before(d)
			failed, calls := "", 0
			d.store.script = func(method string) error {
				if slices.Contains([]string{"AddDeed", "Touch"}, method) || calls > n || failed != "" {
					return nil
				}
				if calls++; calls > n {
					failed = method
					return errDown
				}
				return nil
			}
			err := test.do(d)
			if failed == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			tried++
			if silent := slices.Contains(test.silent, failed); !silent && !errors.Is(err, errDown) || silent && err != nil {
				t.Errorf("%s, where call %d (%s) fails: %v", name, n, failed, err)
			}
		}
		if tried < test.calls {
			t.Errorf("%s: %d calls", name, tried)
		}
	}
}

// eraseWhatItCan erases an account in a store that is no Eraser, which it has to say.
func (d *desk) eraseWhatItCan(userID string) error {
	err := d.EraseUser(context.Background(), erasure(userID))
	switch {
	case errors.Is(err, errDown):
		return err
	case !errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%v, want that the store is no Eraser", err)
	}
	return nil
}

// TestUnknownWhetherPrivileged: an account of which it is not known whether agents may
// act for it, lets none in.
func TestUnknownWhetherPrivileged(t *testing.T) {
	ctx := context.Background()
	for name, do := range map[string]func(d *desk) error{
		"approve": func(d *desk) error { return d.decideOn("agent_1", "alice", grants.Approved) },
		"connect": func(d *desk) error { return d.LinkByOwner(ctx, asks("agent_2", "alice")) },
		"enter":   func(d *desk) error { _, err := d.Link(ctx, asks("agent_3", "bob")); return err },
		"by e-mail": func(d *desk) error {
			d.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
			_, err := d.Link(ctx, asks("agent_2", "alice"))
			return err
		},
	} {
		var down error
		d := newDesk(t, func(p *grants.Policy) {
			p.Privileged = func(context.Context, string) (bool, error) { return false, down }
		})
		asked(d)
		d.must(d.LinkByOwner(ctx, asks("agent_3", "bob")))
		down = errDown
		if err := do(d); !errors.Is(err, errDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgottenClaim: an agent whose claim was taken back, and that never asked, is freed
// like one that was let in. What it asked for and its owner has denied stays denied.
func TestForgottenClaim(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	for name, test := range map[string]struct {
		state   grants.State
		decided time.Time
		want    grants.State
	}{
		"claim":   {grants.Denied, now, grants.Expired},
		"denied":  {grants.Denied, now.Add(time.Second), grants.Denied},
		"revoked": {grants.Revoked, now.Add(time.Second), grants.Expired},
	} {
		d := newDesk(t)
		r := asks("agent_1", "alice")
		_, _, err := d.store.CreateGrant(ctx, grants.Grant{
			ID: "g", Version: 1, Agent: r.Agent, Scenario: r.Scenario, UserID: "alice", State: test.state, Email: r.Email,
			RequestedAt: now, DecidedAt: test.decided, ExpiresAt: now.Add(time.Hour),
		})
		d.must(err)
		d.must(d.ForgetAgent(ctx, "op", r.Agent))
		if got := d.grant("agent_1", "alice").Now(); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestDeniedElsewhere: an address lets no agent in to which the account's owner has said
// no, in whatever scenario.
func TestDeniedElsewhere(t *testing.T) {
	ctx := context.Background()
	for _, no := range []grants.State{grants.Denied, grants.Revoked, grants.Suspended} {
		d := newDesk(t, func(p *grants.Policy) {
			p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"example.com"}}
		})
		now := time.Now()
		r := asks("agent_1", "alice")
		for user, state := range map[string]grants.State{"alice": no, "bob": grants.Denied} {
			_, _, err := d.store.CreateGrant(ctx, grants.Grant{
				ID: "g-" + user, Version: 1, Agent: r.Agent, Scenario: "ContextualProfile", UserID: user, State: state, Email: r.Email,
				RequestedAt: now.Add(-time.Minute), DecidedAt: now, ExpiresAt: now.Add(time.Hour),
			})
			d.must(err)
		}
		if _, err := d.Link(ctx, r); err != problem.ApprovalNeeded {
			t.Errorf("%s: %v", no, err)
		}
		r.User, r.Email = &authagent.User{ID: "carol", EmailVerified: true}, "carol@example.com"
		if _, err := d.Link(ctx, r); no == grants.Denied && err != nil {
			t.Errorf("%s elsewhere: %v", no, err)
		}
		d.wait()
	}
}

// TestRulesEvents: the kill switch is recorded when it is thrown, and not again when the
// rules change while it is.
func TestRulesEvents(t *testing.T) {
	d := newDesk(t)
	for _, r := range []grants.Rules{{Paused: true}, {Paused: true, AllowDomains: []string{"x.example"}}, {}, {AllowDomains: []string{"x.example"}}} {
		d.must(d.SetRules(context.Background(), "op", r))
	}
	d.wait()
	var names []audit.Name
	for _, e := range d.events.take() {
		names = append(names, e.Name)
	}
	if diff := cmp.Diff([]audit.Name{grants.EventPaused, grants.EventRules, grants.EventResumed, grants.EventRules}, names); diff != "" {
		t.Error(diff)
	}
}

// erasure is of an account, for "op".
func erasure(userID string) *authagent.Erasure {
	e, err := stores.NewErasure("op", userID)
	if err != nil {
		panic(err)
	}
	return e
}

// eraser is a store that could delete an account.
type eraser struct {
	*broken
	erased bool
}

func (e *eraser) EraseUser(context.Context, *authagent.Erasure) error {
	e.erased = true
	return nil
}

// TestErasedLast: what is known of an account is not deleted before all of it was ended.
func TestErasedLast(t *testing.T) {
	for _, fails := range []bool{true, false} {
		d := newDesk(t)
		letIn(d)
		e := &eraser{broken: d.store}
		d.store.script = func(method string) error {
			if fails && method == "UpdateGrant" {
				return errDown
			}
			return nil
		}
		p := grants.OwnerApproval(e)
		p.Logger = quiet
		if err := p.EraseUser(context.Background(), erasure("alice")); errors.Is(err, errDown) != fails || e.erased == fails {
			t.Errorf("fails %v: %v, erased %v", fails, err, e.erased)
		}
	}
}

// TestLeftActionsAreLogged: the owner's no counts, and an operator is told that actions
// of the agent are left.
func TestLeftActionsAreLogged(t *testing.T) {
	const left = "could not deny the actions"
	for _, fails := range []bool{true, false} {
		var lines bytes.Buffer
		d := newDesk(t, func(p *grants.Policy) { p.Logger = slog.New(slog.NewTextHandler(&lines, nil)) })
		paying(d)
		d.store.script = func(method string) error {
			if fails && method == "OwnerApprovals" {
				return errDown
			}
			return nil
		}
		d.must(d.decideOn("agent_1", "alice", grants.Revoked))
		d.wait()
		if strings.Contains(lines.String(), left) != fails {
			t.Errorf("fails %v: %s", fails, lines.String())
		}
	}
}

// TestLostEventsAreLogged: Wait does not wait for ever, and says what was lost.
func TestLostEventsAreLogged(t *testing.T) {
	const lost = "audit events lost"
	for _, blocks := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var lines bytes.Buffer
			free := make(chan struct{})
			d := newDesk(t, func(p *grants.Policy) {
				p.Logger = slog.New(slog.NewTextHandler(&lines, nil))
				p.Audit = func(context.Context, audit.Event) {
					if blocks {
						<-free
					}
				}
			})
			letIn(d)
			d.wait()
			if strings.Contains(lines.String(), lost) != blocks || !blocks && strings.Contains(lines.String(), "level=ERROR") {
				t.Errorf("blocks %v: %s", blocks, lines.String())
			}
			close(free)
			synctest.Wait()
		})
	}
}

// TestDeedsBounded_WEB_11: of equal deeds, changes are recorded more often than what
// reads, and what belongs to no grant is not recorded.
func TestDeedsBounded_WEB_11(t *testing.T) {
	e := func(name audit.Name, outcome, method, user, grant string) audit.Event {
		return audit.Event{Name: name, Outcome: outcome, Method: method, UserID: user, GrantID: grant, Action: "pay"}
	}
	for _, test := range []struct {
		event audit.Event
		want  int
	}{
		{e(audit.ActionPerformed, audit.OK, "POST", "alice", "g"), 20},
		{e(audit.ActionPerformed, audit.OK, "DELETE", "alice", "g"), 20},
		{e(audit.ActionPerformed, audit.OK, "GET", "alice", "g"), 5},
		{e(audit.ActionPerformed, audit.OK, "HEAD", "alice", "g"), 5},
		{e(audit.ActionPerformed, audit.Unknown, "POST", "alice", "g"), 20},
		{e(audit.ActionPerformed, audit.Failed, "POST", "alice", "g"), 5},
		{e(audit.LoginSucceeded, audit.OK, "POST", "alice", "g"), 5},
		{e(audit.PermissionDenied, audit.Refused, "POST", "alice", "g"), 5},
		{e(audit.ActionPerformed, audit.OK, "POST", "", "g"), 0},
		{e(audit.ActionPerformed, audit.OK, "POST", "alice", ""), 0},
	} {
		d := newDesk(t)
		n := 0
		d.store.script = func(method string) error {
			if method == "AddDeed" {
				n++
			}
			return nil
		}
		record := d.Observer(nil)
		for range 50 {
			record(t.Context(), test.event)
		}
		if n != test.want {
			t.Errorf("%+v: recorded %d times, want %d", test.event, n, test.want)
		}
		d.wait()
	}
}

// TestEndSessionFails: a session is not said to have ended while its owner still sees it.
func TestEndSessionFails(t *testing.T) {
	bubble(t, "MW-1", func(t *testing.T) {
		store := &broken{}
		s := newShop(t, options{store: func(in grants.Store) grants.Store { store.Store = in; return store }})
		_, c := s.approved("agent_1")
		s.want(c, "GET", "/me", 200, "")
		s.wait()
		id := s.overview(s.alice).Sessions[0].SessionID
		s.events.take()
		for _, method := range []string{"EndActivity", "OwnerActivity"} {
			store.script = func(called string) error {
				if called == method {
					return errDown
				}
				return nil
			}
			if err := s.owners.EndSession(t.Context(), s.instances[""].rp, s.alice, id); !errors.Is(err, errDown) {
				t.Errorf("%s: %v", method, err)
			}
		}
		store.script = nil
		if err := s.owners.EndSession(t.Context(), s.instances[""].rp, s.alice, "other"); !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("another session: %v", err)
		}
		s.wait()
		for _, e := range s.events.take() {
			if e.Name == audit.SessionEnded && e.HumanID == s.alice {
				t.Errorf("recorded %+v", e)
			}
		}
		s.want(c, "GET", "/me", 401, problem.NoSession)
	})
}

// TestAdmitBoth: an agent is held to the rules about agents and to those about addresses.
// Before it is known who asks, only the kill switch counts.
func TestAdmitBoth(t *testing.T) {
	ctx := context.Background()
	agent := asks("agent_1", "").Agent
	email := func(address string, err error) func() (string, error) {
		return func() (string, error) { return address, err }
	}
	for name, test := range map[string]struct {
		rules grants.Rules
		agent authagent.Agent
		email func() (string, error)
		want  error
	}{
		"no rules":                     {grants.Rules{}, agent, email("", errDown), nil}, // which then is not asked for
		"denied, with a good address":  {grants.Rules{DenyAgents: []authagent.Agent{agent}, AllowDomains: []string{"example.com"}}, agent, email("a@example.com", nil), problem.Blocked},
		"allowed, with a good address": {grants.Rules{AllowAgents: []authagent.Agent{agent}, AllowDomains: []string{"example.com"}}, agent, email("a@example.com", nil), nil},
		"allowed, with a bad address":  {grants.Rules{AllowAgents: []authagent.Agent{agent}, AllowDomains: []string{"example.com"}}, agent, email("a@evil.example", nil), problem.Blocked},
		"denied domain":                {grants.Rules{DenyDomains: []string{"evil.example"}}, agent, email("a@evil.example", nil), problem.Blocked},
		"no address to be had":         {grants.Rules{DenyDomains: []string{"evil.example"}}, agent, email("", errDown), errDown},
		"later":                        {grants.Rules{AllowDomains: []string{"example.com"}}, agent, nil, nil},
		"nobody yet":                   {grants.Rules{AllowIssuers: []string{"https://other.example"}}, authagent.Agent{}, nil, nil},
		"nobody, and paused":           {grants.Rules{Paused: true}, authagent.Agent{}, nil, problem.Paused},
	} {
		d := newDesk(t)
		d.must(d.store.SetRules(ctx, test.rules))
		if err := d.Admit(ctx, test.agent, test.email); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFiled: what an agent's request comes to when its owner is asked, or is not.
func TestFiled(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	for name, test := range map[string]struct {
		have  *grants.Grant // of the agent in the account
		fails string        // a method that fails
		files bool
	}{
		"new":              {nil, "", true},
		"waits":            {&grants.Grant{State: grants.Pending, ExpiresAt: now.Add(time.Hour)}, "", false},
		"ran out":          {&grants.Grant{State: grants.Pending, ExpiresAt: now.Add(-time.Hour)}, "", true},
		"denied":           {&grants.Grant{State: grants.Denied, DecidedAt: now, ExpiresAt: now.Add(time.Hour)}, "", false},
		"being let in":     {&grants.Grant{State: grants.Pending, DecidedAt: now, ExpiresAt: now.Add(-time.Second)}, "", false},
		"the look fails":   {nil, "OwnerGrants", false},
		"the write fails":  {nil, "CreateGrant", false},
		"the update fails": {&grants.Grant{State: grants.Pending, ExpiresAt: now.Add(-time.Hour)}, "UpdateGrant", false},
	} {
		d := newDesk(t)
		r := asks("agent_1", "alice")
		if test.have != nil {
			g := *test.have
			g.ID, g.Version, g.Agent, g.Scenario, g.UserID, g.Email, g.RequestedAt = "g", 1, r.Agent, r.Scenario, "alice", r.Email, now.Add(-2*time.Hour)
			_, _, err := d.store.CreateGrant(ctx, g)
			d.must(err)
		}
		d.store.script = func(method string) error {
			if method == test.fails {
				return errDown
			}
			return nil
		}
		_, err := d.Link(ctx, r)
		d.wait().must(as(err, problem.ApprovalNeeded))
		var names []audit.Name
		for _, e := range d.events.take() {
			names = append(names, e.Name)
		}
		want := grants.EventDropped
		if test.files {
			want = grants.EventPending
		}
		if !slices.Equal(names, []audit.Name{want}) {
			t.Errorf("%s: %q", name, names)
		}
		if g := d.grant("agent_1", "alice"); test.files && (g.Now() != grants.Pending || g.RequestedAt.Before(now)) {
			t.Errorf("%s: %+v", name, g)
		}
	}
}
