package grants_test

import (
	"context"
	"fmt"
	"net/http"
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

// TestRefusalsHideNothing: an agent cannot push what it did out of its owner's
// sight by asking for what it is refused. LOG-3
func TestRefusalsHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := grants.OwnerApproval(&memstore.Grants{})
		record := p.Observer(nil)
		event := func(name audit.Name, action, outcome string) {
			record(t.Context(), audit.Event{
				Name: name, Time: time.Now(), UserID: "alice", GrantID: "g", Action: action, Outcome: outcome,
			})
		}
		event(audit.ActionPerformed, "orders:create", audit.OK)
		for range 1000 {
			event(audit.PermissionDenied, "orders:cancel", audit.Refused)
			event(audit.ActionPending, "payouts:create", audit.Pending)
		}
		o, err := p.Overview(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(o.Deeds); n < 2 || n > 30 || o.Deeds[n-1].Action != "orders:create" {
			t.Errorf("%d deeds, the oldest %+v", n, o.Deeds[n-1])
		}
		time.Sleep(time.Hour)
		event(audit.PermissionDenied, "later", audit.Refused)
		if o, _ := p.Overview(t.Context(), "alice"); o.Deeds[0].Action != "later" {
			t.Errorf("the latest deed is %+v", o.Deeds[0])
		}
	})
}

// TestNothingHidesChanges_WEB_11: no agent pushes a change out of its owner's sight by what
// it does often, nor what another agent did.
func TestNothingHidesChanges_WEB_11(t *testing.T) {
	for name, flood := range map[string]func(s *shop, agent *authagenttest.Agent, c *http.Client){
		"by sign-ins": func(s *shop, agent *authagenttest.Agent, _ *http.Client) { s.signIn(s.browser(), agent) },
		"by reading":  func(s *shop, _ *authagenttest.Agent, c *http.Client) { s.want(c, "GET", "/orders", 200, "") },
		"by changes":  func(s *shop, _ *authagenttest.Agent, c *http.Client) { s.want(c, "POST", "/orders", 200, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newShop(t, options{})
			agent, c := s.approved("agent_1", func(d *grants.Decision) { d.Actions = []string{"orders:create", "orders:delete"} })
			s.want(c, "DELETE", "/orders/1", 200, "")
			did := func() bool {
				for _, d := range s.overview(s.alice).Deeds {
					if d.Action == "orders:delete" {
						return true
					}
				}
				return false
			}
			if !did() {
				t.Fatal("it is not shown at all")
			}
			for range 24 {
				for range 10 {
					flood(s, agent, c)
				}
				time.Sleep(time.Hour)
				c = s.browser()
				s.wantSignIn(c, agent, 303, "")
			}
			if !did() {
				t.Error("the owner is not shown any more that the agent has deleted an order")
			}
			if n := len(s.overview(s.alice).Deeds); n > 30 {
				t.Errorf("%d deeds", n)
			}
		})
	}
}

// TestDeedsOfEach_WEB_11: an owner is shown what each agent did lately, however much another
// one does, and all kinds of it.
func TestDeedsOfEach_WEB_11(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := grants.OwnerApproval(&memstore.Grants{})
		record := p.Observer(nil)
		event := func(grant, action string) {
			record(t.Context(), audit.Event{
				Name: audit.ActionPerformed, Time: time.Now(), UserID: "alice", GrantID: grant, Action: action, Method: "POST", Outcome: audit.OK,
			})
		}
		event("quiet", "orders:delete")
		event("loud", "orders:delete")
		for hour := range 24 {
			for i := range 120 {
				event("loud", "orders:"+string(rune('a'+i%30)))
			}
			event("loud", "hour:"+string(rune('A'+hour)))
			time.Sleep(time.Hour)
		}
		o, err := p.Overview(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		deletes := 0
		for _, d := range o.Deeds {
			if d.Action == "orders:delete" {
				deletes++
			}
		}
		if n := len(o.Deeds); n > 100 || deletes == 0 {
			t.Errorf("%d deeds, %d times orders:delete", n, deletes)
		}
	})
}

// TestConnectedAgain: to connect an agent that is approved changes nothing that
// its owner has chosen.
func TestConnectedAgain(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	request := authagent.LinkRequest{
		Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent"}, Scenario: "FullAccount", User: &authagent.User{ID: "alice"},
	}
	connect := func() grants.Grant {
		t.Helper()
		if err := p.LinkByOwner(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		o, err := p.Overview(t.Context(), "alice")
		if err != nil || len(o.Grants) != 1 {
			t.Fatal(o, err)
		}
		return o.Grants[0]
	}
	first := connect()
	chosen, err := p.Decide(t.Context(), "alice", grants.Decision{
		GrantID: first.ID, Version: first.Version, State: grants.Approved, Access: authagent.AccessFull, For: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if again := connect(); !again.ExpiresAt.Equal(chosen.ExpiresAt) || again.Access != authagent.AccessFull {
		t.Errorf("connected again: %v until %v, want %v until %v", again.Access, again.ExpiresAt, chosen.Access, chosen.ExpiresAt)
	}
}

// TestSuspendedHasNoEnd_LNK_40: a suspension does not run out with the grant.
func TestSuspendedHasNoEnd_LNK_40(t *testing.T) {
	for _, end := range []time.Duration{time.Hour, -time.Second} {
		g := grants.Grant{State: grants.Suspended, ExpiresAt: time.Now().Add(end)}
		if got := g.Now(); got != grants.Suspended {
			t.Errorf("%v from the end of its time: %s", end, got)
		}
	}
}

// TestDeedsSayWhy: a deed that was refused says why, as far as that is worth telling. What
// has no text is told by its name.
func TestDeedsSayWhy(t *testing.T) {
	s := newSite(t)
	s.grant(nil)
	for i, d := range []grants.Deed{
		{Event: audit.ActionPerformed, Action: "n:1"},
		{Event: audit.PermissionDenied, Action: "n:2", Reason: problem.ActionDenied},
		{Event: audit.ActionPending, Action: "n:3", Reason: problem.ApprovalPending},
		{Event: audit.PermissionDenied, Action: "n:4", Reason: "made_up_reason"},
		{Event: "made_up_event"},
	} {
		d.GrantID, d.UserID, d.At = "g1", s.alice, time.Now().Add(time.Duration(i-10)*time.Minute)
		s.store.AddDeed(t.Context(), d)
	}
	has(t, s.at(s.human(s.alice), "agents/g1"),
		"Did this: n: 1<", "Was refused: n: 2. You have denied it.<", "Asked you: n: 3<", "Was refused: n: 4. made_up_reason<", "made_up_event<")
}

// TestDeedsAreNoRefusals: what an agent has done is not counted with what it was refused.
func TestDeedsAreNoRefusals(t *testing.T) {
	p := grants.OwnerApproval(&memstore.Grants{})
	record := p.Observer(nil)
	for i := range 2 * 15 {
		record(t.Context(), audit.Event{
			Name: audit.ActionPerformed, Time: time.Now(), UserID: "alice", GrantID: fmt.Sprint("g", i%2), Action: fmt.Sprint("orders:", i), Outcome: audit.OK,
		})
	}
	for range 30 {
		record(t.Context(), audit.Event{Name: audit.PermissionDenied, Time: time.Now(), UserID: "alice", GrantID: "g0", Action: "no", Outcome: audit.Refused})
	}
	record(t.Context(), audit.Event{Name: audit.ActionPerformed, Time: time.Now(), UserID: "alice", GrantID: "g0", Action: "last", Outcome: audit.OK})
	o, err := p.Overview(t.Context(), "alice")
	if err != nil || len(o.Deeds) == 0 || o.Deeds[0].Action != "last" {
		t.Errorf("%v: the latest of %d deeds is not the last that was done", err, len(o.Deeds))
	}
}

// TestNicknameOfOneUser_SUB_4: what an owner calls an agent is not what it is called for another user of
// the server in the same account.
func TestNicknameOfOneUser_SUB_4(t *testing.T) {
	of := grants.Grant{Agent: authagent.Agent{Issuer: "i", ID: "a"}, UserID: "alice", Subject: "user_a", Nickname: "Robot"}
	for subject, want := range map[string]string{"user_a": "Robot", "user_b": "", "": ""} {
		g := of
		g.Subject, g.Nickname = subject, ""
		if got := grants.NicknameOf([]grants.Grant{of}, g); got != want {
			t.Errorf("for %q: %q, want %q", subject, got, want)
		}
	}
}

// TestDeedsOfAJournal_JRN_7: the owner is shown each deed, however it has ended, and whatever was refused before. No audit
// function hears of it.
func TestDeedsOfAJournal_JRN_7(t *testing.T) {
	for name, site := range map[string]bool{"Policy.Audit alone": false, "both": true} {
		p := grants.OwnerApproval(&memstore.Grants{})
		var heard []audit.Event
		p.Audit = func(_ context.Context, e audit.Event) { heard = append(heard, e) }
		var toSite func(context.Context, audit.Event)
		if site {
			toSite = func(context.Context, audit.Event) {}
		}
		record := p.Observer(toSite)
		event := audit.Event{Time: time.Now(), UserID: "alice", GrantID: "g", Method: "POST"}
		for range 100 {
			event.Name, event.Outcome = audit.PermissionDenied, audit.Refused
			record(t.Context(), event)
		}
		denied := len(heard)
		event.Name, event.Deed = audit.ActionPerformed, "d"
		for i, outcome := range []string{audit.OK, audit.Unknown, audit.NothingDone, audit.Refused, audit.Failed} {
			event.Action, event.Outcome = fmt.Sprint("a:", i), outcome
			record(t.Context(), event)
		}
		o, err := p.Overview(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		performed := 0
		for _, d := range o.Deeds {
			if d.Event == audit.ActionPerformed {
				performed++
			}
		}
		if performed != 5 || len(heard) != denied || (denied > 0) == site {
			t.Errorf("JRN-7 %s: the owner is shown %d of 5; %d events heard, %d of them refusals", name, performed, len(heard), denied)
		}
	}
}
