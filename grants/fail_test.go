package grants_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// broken is a store one method of which fails, once it is told to, or that does what a
// script says.
type broken struct {
	grants.Store
	script func(method string) error
	method string
	panics bool
	now    atomic.Bool
	hit    atomic.Bool
}

func (b *broken) at(method string) error {
	if b.script != nil {
		return b.script(method)
	}
	if method != b.method || !b.now.Load() {
		return nil
	}
	b.hit.Store(true)
	if b.panics {
		panic("nil map")
	}
	return errors.New("connection refused")
}

func (b *broken) Grant(ctx context.Context, id string) (grants.Grant, error) {
	if err := b.at("Grant"); err != nil {
		return grants.Grant{}, err
	}
	return b.Store.Grant(ctx, id)
}

func (b *broken) AgentGrants(ctx context.Context, a authagent.Agent) ([]grants.Grant, error) {
	if err := b.at("AgentGrants"); err != nil {
		return nil, err
	}
	return b.Store.AgentGrants(ctx, a)
}

func (b *broken) OwnerGrants(ctx context.Context, id string) ([]grants.Grant, error) {
	if err := b.at("OwnerGrants"); err != nil {
		return nil, err
	}
	return b.Store.OwnerGrants(ctx, id)
}

func (b *broken) CreateGrant(ctx context.Context, g grants.Grant) (grants.Grant, bool, error) {
	if err := b.at("CreateGrant"); err != nil {
		return grants.Grant{}, false, err
	}
	return b.Store.CreateGrant(ctx, g)
}

func (b *broken) UpdateGrant(ctx context.Context, g grants.Grant) (grants.Grant, error) {
	if err := b.at("UpdateGrant"); err != nil {
		return grants.Grant{}, err
	}
	return b.Store.UpdateGrant(ctx, g)
}

func (b *broken) Approval(ctx context.Context, id string) (grants.Approval, error) {
	if err := b.at("Approval"); err != nil {
		return grants.Approval{}, err
	}
	return b.Store.Approval(ctx, id)
}

func (b *broken) OwnerApprovals(ctx context.Context, id string) ([]grants.Approval, error) {
	if err := b.at("OwnerApprovals"); err != nil {
		return nil, err
	}
	return b.Store.OwnerApprovals(ctx, id)
}

func (b *broken) CreateApproval(ctx context.Context, a grants.Approval) (grants.Approval, bool, error) {
	if err := b.at("CreateApproval"); err != nil {
		return grants.Approval{}, false, err
	}
	return b.Store.CreateApproval(ctx, a)
}

func (b *broken) UpdateApproval(ctx context.Context, a grants.Approval) (grants.Approval, error) {
	if err := b.at("UpdateApproval"); err != nil {
		return grants.Approval{}, err
	}
	return b.Store.UpdateApproval(ctx, a)
}

func (b *broken) Touch(ctx context.Context, a grants.Activity) (grants.Use, error) {
	if err := b.at("Touch"); err != nil {
		return 0, err
	}
	return b.Store.Touch(ctx, a)
}

func (b *broken) EndActivity(ctx context.Context, id string) error {
	if err := b.at("EndActivity"); err != nil {
		return err
	}
	return b.Store.EndActivity(ctx, id)
}

func (b *broken) OwnerActivity(ctx context.Context, id string) ([]grants.Activity, error) {
	if err := b.at("OwnerActivity"); err != nil {
		return nil, err
	}
	return b.Store.OwnerActivity(ctx, id)
}

func (b *broken) OwnerUses(ctx context.Context, id string) ([]grants.LastUse, error) {
	if err := b.at("OwnerUses"); err != nil {
		return nil, err
	}
	return b.Store.OwnerUses(ctx, id)
}

func (b *broken) AddDeed(ctx context.Context, d grants.Deed) error {
	if err := b.at("AddDeed"); err != nil {
		return err
	}
	return b.Store.AddDeed(ctx, d)
}

func (b *broken) OwnerDeeds(ctx context.Context, id string, n int) ([]grants.Deed, error) {
	if err := b.at("OwnerDeeds"); err != nil {
		return nil, err
	}
	return b.Store.OwnerDeeds(ctx, id, n)
}

func (b *broken) Rules(ctx context.Context) (grants.Rules, error) {
	if err := b.at("Rules"); err != nil {
		return grants.Rules{}, err
	}
	return b.Store.Rules(ctx)
}

func (b *broken) SetRules(ctx context.Context, r grants.Rules) error {
	if err := b.at("SetRules"); err != nil {
		return err
	}
	return b.Store.SetRules(ctx, r)
}

// TestStoreFails is MW-1: whatever of the store fails, nobody gets in by it,
// nothing is half done, and all is well afterwards. What is only there for owners
// to see (Touch, AddDeed, EndActivity) stops nobody.
func TestStoreFails(t *testing.T) {
	const yes, no = true, false
	for _, test := range []struct {
		method string
		// The statuses of: a login, the sign-in of an agent that is approved, one that
		// an e-mail address approves, a request, a payout that is asked for, and one
		// that is approved.
		login, signIn, byEmail, request, ask, pay int
		decide, connect, decideAction             bool // whether the owner can
	}{
		{"Grant", 303, 303, 303, 500, 500, 500, no, yes, no},
		{"AgentGrants", 303, 500, 500, 200, 202, 200, no, no, yes},
		{"OwnerGrants", 303, 303, 500, 200, 202, 200, no, no, yes},
		{"CreateGrant", 303, 303, 500, 200, 202, 200, yes, no, yes},
		{"UpdateGrant", 303, 303, 500, 200, 202, 200, no, no, yes},
		{"Approval", 303, 303, 303, 200, 202, 200, yes, yes, no},
		{"OwnerApprovals", 303, 303, 303, 200, 500, 500, no, yes, yes},
		{"CreateApproval", 303, 303, 303, 200, 500, 200, yes, yes, yes},
		{"UpdateApproval", 303, 303, 303, 200, 202, 500, yes, yes, no},
		{"Touch", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"EndActivity", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"OwnerActivity", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"OwnerUses", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"AddDeed", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"OwnerDeeds", 303, 303, 303, 200, 202, 200, yes, yes, yes},
		{"Rules", 500, 500, 500, 500, 500, 500, yes, yes, yes},
		{"SetRules", 303, 303, 303, 200, 202, 200, yes, yes, yes},
	} {
		bubble(t, "MW-1 "+test.method, func(t *testing.T) {
			ctx := context.Background()
			store := &broken{method: test.method}
			s := newShop(t, options{
				store: func(in grants.Store) grants.Store { store.Store = in; return store },
				policy: func(p *grants.Policy) {
					p.DangerouslyApproveByEmail = &grants.EmailApproval{Issuers: []string{"https://as.example"}, Domains: []string{"trusted.example"}}
				},
			})
			s.users.Add("carol@trusted.example", "Carol")
			agent, in := s.approved("agent_1")
			s.pay(in, "amount=1")
			s.decideAction(s.alice, true)
			s.pay(in, "amount=2")
			s.wantSignIn(s.browser(), s.agent("waiting", "alice@example.com"), 403, problem.ApprovalNeeded)
			waiting, action := s.grants(s.alice)["waiting"], grants.Approval{}
			for _, a := range s.overview(s.alice).Approvals {
				if a.State == grants.Pending {
					action = a
				}
			}
			again, carol := s.browser(), s.browser()
			signIn, byEmail := s.callback(again, agent), s.callback(carol, s.agent("carols", "carol@trusted.example"))
			time.Sleep(time.Minute)
			before := s.ran.Load()

			store.now.Store(true)
			login := s.get(s.browser(), "/auth/agent/login")
			pay, request, ask := s.pay(in, "amount=1"), s.get(in, "/me"), s.pay(in, "amount=3")
			signedIn, approved := s.get(again, signIn), s.get(carol, byEmail)
			_, decided := s.owners.Decide(ctx, s.alice, grants.Decision{GrantID: waiting.ID, Version: waiting.Version, State: grants.Approved, Access: authagent.AccessRead})
			connected := s.owners.LinkByOwner(ctx, authagent.LinkRequest{Agent: s.named("new"), Scenario: "FullAccount", User: &authagent.User{ID: s.bob}})
			_, acted := s.owners.DecideAction(ctx, s.alice, action.ID, action.Version, true)
			_, overview := s.owners.Overview(ctx, s.alice)
			rules := s.owners.SetRules(ctx, "root", grants.Rules{})
			s.do(again, "POST", "/auth/agent/logout", "")
			s.wait()
			ran := s.ran.Load() - before
			store.now.Store(false)

			if !store.hit.Load() && test.method != "EndActivity" {
				t.Error("the method was not called")
			}
			for name, got := range map[string][2]int{
				"login": {login.StatusCode, test.login}, "sign-in": {signedIn.StatusCode, test.signIn}, "sign-in by address": {approved.StatusCode, test.byEmail},
				"request": {request.StatusCode, test.request}, "ask": {ask, test.ask}, "pay": {pay, test.pay},
			} {
				if got[0] != got[1] {
					t.Errorf("%s: %d, want %d", name, got[0], got[1])
				}
			}
			want := int32(0)
			for _, status := range []int{test.request, test.pay} {
				if status == 200 {
					want++
				}
			}
			if ran != want {
				t.Errorf("handlers ran %d times, want %d", ran, want)
			}
			for _, resp := range []*response{login, request, signedIn, approved} {
				if strings.Contains(resp.body, "connection refused") || resp.StatusCode >= 500 && resp.Header.Get("Retry-After") == "" {
					t.Errorf("%d %v %s", resp.StatusCode, resp.Header, resp.body)
				}
			}
			for name, got := range map[string]struct {
				err  error
				want bool
			}{"decide": {decided, test.decide}, "connect": {connected, test.connect}, "decide action": {acted, test.decideAction}} {
				if (got.err == nil) != got.want {
					t.Errorf("%s: %v, want it to succeed: %v", name, got.err, got.want)
				}
			}
			if wanted := strings.HasPrefix(test.method, "Owner"); (overview != nil) != wanted {
				t.Errorf("overview: %v, want an error: %v", overview, wanted)
			}
			if wanted := test.method == "Rules" || test.method == "SetRules"; (rules != nil) != wanted {
				t.Errorf("rules: %v, want an error: %v", rules, wanted)
			}
			// Nothing is half done, so that all of it can be done now.
			s.wantSignIn(s.browser(), agent, 303, "")
			s.wantSignIn(s.browser(), s.agent("carols", "carol@trusted.example"), 303, "")
			if !test.decide {
				s.decide(s.alice, "waiting", grants.Approved)
			}
			s.wantSignIn(s.browser(), s.agent("waiting", "alice@example.com"), 303, "")
			s.want(in, "GET", "/me", 200, "")
			if got := s.pay(in, "amount=1"); test.pay != 200 && got != 200 {
				t.Errorf("payout afterwards: %d", got)
			}
			if n := len(s.overview(s.alice).Grants); n != 2 {
				t.Errorf("%d grants", n)
			}
		})
	}
}

// TestStorePanics is MW-1: outside of a request, a panic ends nothing but the work
// that it happened in.
func TestStorePanics(t *testing.T) {
	for _, method := range []string{"Grant", "AgentGrants", "OwnerGrants", "CreateGrant", "Touch", "AddDeed", "Rules", "CreateApproval"} {
		bubble(t, "MW-1 "+method, func(t *testing.T) {
			store := &broken{method: method, panics: true}
			s := newShop(t, options{store: func(in grants.Store) grants.Store { store.Store = in; return store }})
			_, c := s.approved("agent_1")
			begun, callback := s.browser(), ""
			callback = s.callback(begun, s.agent("agent_2", "alice@example.com"))
			before := s.ran.Load()
			store.now.Store(true)
			request := s.get(c, "/me")
			s.get(begun, callback)
			s.pay(c, "amount=1")
			s.wait()
			store.now.Store(false)
			if !store.hit.Load() {
				t.Error("the method was not called")
			}
			if (s.ran.Load() > before) != (request.StatusCode == 200) || request.StatusCode != 200 && request.StatusCode != 500 {
				t.Errorf("request: %d, handlers ran %d times", request.StatusCode, s.ran.Load()-before)
			}
			s.want(c, "GET", "/me", 200, "")
			s.wantSignIn(s.browser(), s.agent("agent_2", "alice@example.com"), 403, problem.ApprovalNeeded)
			if g := s.grants(s.alice)["agent_2"]; g.State != grants.Pending {
				t.Errorf("afterwards the owner is not asked: %q", g.State)
			}
		})
	}
}

// TestHooksDoNotHoldUp is LOG-3: no Notify or Audit that blocks or panics holds up
// a sign-in, a request or a decision, and Wait waits for what is under way.
func TestHooksDoNotHoldUp(t *testing.T) {
	block := make(chan struct{})
	for name, hook := range map[string]func(){
		"blocks": func() { <-block },
		"panics": func() { panic("mail server") },
	} {
		for _, where := range []string{"Notify", "Audit"} {
			bubble(t, "LOG-3 "+where+" "+name, func(t *testing.T) {
				block = make(chan struct{}) // of this bubble
				s := newShop(t, options{policy: func(p *grants.Policy) {
					if where == "Notify" {
						p.Notify = func(context.Context, grants.Notice) { hook() }
					} else {
						p.Audit = func(context.Context, audit.Event) { hook() }
					}
				}})
				start := time.Now()
				for _, id := range []string{"agent_1", "agent_2"} {
					c := s.browser()
					if resp := s.get(c, s.callback(c, s.agent(id, "alice@example.com"))); resp.reason() != problem.ApprovalNeeded {
						t.Errorf("sign-in: %d %s", resp.StatusCode, resp.body)
					}
				}
				time.Sleep(time.Second)
				g := s.grants(s.alice)["agent_1"]
				if _, err := s.owners.Decide(context.Background(), s.alice, grants.Decision{GrantID: g.ID, Version: 1, State: grants.Approved, Access: authagent.AccessRead}); err != nil {
					t.Fatal(err)
				}
				c, agent := s.browser(), s.agent("agent_1", "alice@example.com")
				if resp := s.get(c, s.callback(c, agent)); resp.StatusCode != 303 {
					t.Errorf("sign-in: %d %s", resp.StatusCode, resp.body)
				}
				s.want(c, "GET", "/me", 200, "")
				c = s.browser()
				if resp := s.get(c, s.callback(c, s.agent("agent_1", "other@example.com"))); resp.reason() != problem.Suspended {
					t.Errorf("suspended: %d %s", resp.StatusCode, resp.body)
				}
				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("all of it took %v", took)
				}
				close(block)
				s.wait()
			})
		}
	}
}

// A panickyHandler is a log handler that panics.
type panickyHandler struct{ slog.Handler }

func (panickyHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickyHandler) Handle(context.Context, slog.Record) error { panic(http.ErrAbortHandler) }

// TestLoggerPanics is NET-16: a log handler that panics while a panic of Notify is
// being logged, in the background, ends nothing.
func TestLoggerPanics(t *testing.T) {
	bubble(t, "NET-16", func(t *testing.T) {
		told := 0
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.Logger = slog.New(panickyHandler{})
			p.Notify = func(context.Context, grants.Notice) { told++; panic("mail server") }
			p.Audit = func(context.Context, audit.Event) { panic("audit") }
		}})
		s.wantSignIn(s.browser(), s.agent("agent_1", "alice@example.com"), 403, problem.ApprovalNeeded)
		s.wait()
		if told != 1 || s.grants(s.alice)["agent_1"].State != grants.Pending {
			t.Errorf("NET-16: Notify was called %d times", told)
		}
	})
}

// TestWaitForAudit is LOG-3: what Audit is slow to take is not lost when the site
// stops, and an Audit that blocks does not keep it from stopping.
func TestWaitForAudit(t *testing.T) {
	bubble(t, "LOG-3 slow", func(t *testing.T) {
		var taken atomic.Int32
		p := grants.OwnerApproval(&memstore.Grants{})
		p.Logger, p.Audit = quiet, func(context.Context, audit.Event) {
			time.Sleep(time.Second)
			taken.Add(1)
		}
		for range 5 {
			p.Observer(nil)(t.Context(), audit.Event{Name: audit.LoginSucceeded})
		}
		p.Wait()
		if n := taken.Load(); n != 5 {
			t.Errorf("Audit has taken %d of 5 events", n)
		}
	})
	bubble(t, "LOG-3 blocks", func(t *testing.T) {
		block := make(chan struct{})
		defer close(block)
		p := grants.OwnerApproval(&memstore.Grants{})
		p.Logger, p.Audit = quiet, func(context.Context, audit.Event) { <-block }
		p.Observer(nil)(t.Context(), audit.Event{Name: audit.LoginSucceeded})
		start := time.Now()
		p.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("Wait took %v", took)
		}
	})
}

// TestNoticesInLine: each notice has its own time, however long the one before it
// took, and what nobody has room for does not push out requests to be filed.
func TestNoticesInLine(t *testing.T) {
	bubble(t, "time", func(t *testing.T) {
		var late atomic.Int32
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.Notify = func(ctx context.Context, _ grants.Notice) {
				if ctx.Err() != nil {
					late.Add(1)
				}
				time.Sleep(4 * time.Second)
			}
		}})
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			s.users.Add(id+"@example.com", "")
			c := s.browser()
			s.get(c, s.callback(c, s.agent(id, id+"@example.com")))
		}
		start := time.Now()
		s.wait()
		if late.Load() != 0 || time.Since(start) < 19*time.Second {
			t.Errorf("%d notices came with their time over; Wait took %v", late.Load(), time.Since(start))
		}
	})
	bubble(t, "LNK-14 room", func(t *testing.T) {
		block := make(chan struct{})
		s := newShop(t, options{policy: func(p *grants.Policy) { p.Notify = func(context.Context, grants.Notice) { <-block } }})
		for n := range 300 {
			id := s.users.Add(name(n)+"@example.com", "")
			c := s.browser()
			s.get(c, s.callback(c, s.agent(name(n), name(n)+"@example.com")))
			synctest.Wait()
			if len(s.overview(id).Grants) != 1 {
				t.Fatalf("request %d was not filed", n)
			}
		}
		close(block)
		s.wait()
	})
	bubble(t, "LNK-14 LNK-23 flood", func(t *testing.T) {
		block := make(chan struct{})
		s := newShop(t, options{policy: func(p *grants.Policy) {
			p.Privileged = func(context.Context, string) (bool, error) { <-block; return false, nil }
		}})
		ask := func(id, email string) {
			c := s.browser()
			s.get(c, s.callback(c, s.agent(id, email)))
		}
		for n := range 300 {
			ask(name(n), "alice@example.com")
		}
		synctest.Wait()
		dropped := 0
		for _, e := range s.events.take() {
			if e.Name == grants.EventDropped && e.Detail != "" && e.UserID == s.alice {
				dropped++
			}
		}
		if dropped != 300-17 { // one is being filed
			t.Errorf("%d requests dropped with an event, want %d", dropped, 300-17)
		}
		ask("bobs", "bob@example.com")
		close(block)
		s.wait()
		if _, asked := s.grants(s.bob)["bobs"]; !asked {
			t.Error("LNK-23: the flood of one account has kept another's request from being filed")
		}
	})
}

func name(n int) string { return "n" + string(rune('a'+n/26)) + string(rune('a'+n%26)) }

// TestEvents is LOG-3: each thing that happens to a grant is told to the audit
// trail once, with its names.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, options{})
		agent, c := s.approved("agent_1")
		s.want(c, "POST", "/orders", 403, problem.ActionNotGranted)
		s.decide(s.alice, "agent_1", grants.Approved, withFullAccess)
		s.want(c, "POST", "/orders", 200, "")
		s.pay(c, "amount=1")
		s.decide(s.alice, "agent_1", grants.Suspended)
		s.want(c, "GET", "/me", 401, problem.NoSession)
		s.wantSignIn(s.browser(), agent, 403, problem.Suspended)
		s.decide(s.alice, "agent_1", grants.Revoked)
		s.wantSignIn(s.browser(), s.agent("agent_2", "alice@example.com"), 403, problem.ApprovalNeeded)
		s.decide(s.alice, "agent_2", grants.Denied)
		g := s.grants(s.alice)["agent_1"]
		type line struct {
			Name                            audit.Name
			Agent, User, Human, Grant, What string
		}
		var got []line
		for _, e := range s.events.take() {
			if e.Time.IsZero() || e.Time.Location() != time.UTC || e.Issuer != s.as.URL || e.Outcome == "" {
				t.Errorf("incomplete: %+v", e)
			}
			grant := e.GrantID
			if grant == g.ID {
				grant = "first"
			} else if grant != "" {
				grant = "second"
			}
			if e.Name != audit.LoginStarted {
				got = append(got, line{e.Name, e.Agent.ID, e.UserID, e.HumanID, grant, strings.TrimSpace(e.Outcome + " " + e.Action + " " + string(e.Reason))})
			}
		}
		want := []line{
			{audit.LoginFailed, "agent_1", "", "", "", "refused  approval_needed"},
			{grants.EventPending, "agent_1", s.alice, "", "first", "ok"},
			{grants.EventApproved, "agent_1", s.alice, s.alice, "first", "ok"},
			{audit.LoginSucceeded, "agent_1", s.alice, "", "first", "ok"},
			{audit.PermissionDenied, "agent_1", s.alice, "", "first", "refused orders:create action_not_granted"},
			{grants.EventChanged, "agent_1", s.alice, s.alice, "first", "ok"},
			{audit.ActionPerformed, "agent_1", s.alice, "", "first", "ok orders:create"},
			{audit.ActionPending, "agent_1", s.alice, "", "first", "pending payouts:create approval_pending"},
			{grants.EventActionDenied, "agent_1", s.alice, s.alice, "first", "ok payouts:create"},
			{grants.EventSuspended, "agent_1", s.alice, s.alice, "first", "ok"},
			{audit.SessionEnded, "agent_1", s.alice, "", "first", "refused  link_suspended"},
			{audit.LoginFailed, "agent_1", "", "", "", "refused  link_suspended"},
			{grants.EventRevoked, "agent_1", s.alice, s.alice, "first", "ok"},
			{audit.LoginFailed, "agent_2", "", "", "", "refused  approval_needed"},
			{grants.EventPending, "agent_2", s.alice, "", "second", "ok"},
			{grants.EventDenied, "agent_2", s.alice, s.alice, "second", "ok"},
		}
		// A request is filed in the background, while the sign-in is answered.
		if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
			t.Errorf("LOG-3 (-want +got):\n%s", diff)
		}
		deeds := s.overview(s.alice).Deeds
		var did []string
		for _, d := range deeds {
			did = append(did, string(d.Event)+" "+d.Action+" "+d.Route)
		}
		if diff := cmp.Diff([]string{
			"session_ended  /me", "action_pending payouts:create /payouts", "action_performed orders:create /orders",
			"permission_denied orders:create /orders", "login_succeeded  /auth/agent/callback",
		}, did[:min(5, len(did))]); diff != "" {
			t.Errorf("deeds (-want +got):\n%s", diff)
		}
	})
}
