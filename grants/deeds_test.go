package grants_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// TestRefusalsHideNothing: an agent cannot push what it did out of its owner's
// sight by asking for what it is refused. LOG-3
func TestRefusalsHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := grants.OwnerApproval(grants.NewMemory())
		record := p.Observer(nil)
		event := func(name authagent.EventName, action, outcome string) {
			record(t.Context(), authagent.Event{
				Name: name, Time: time.Now(), UserID: "alice", GrantID: "g", Action: action, Outcome: outcome,
			})
		}
		event(authagent.EventActionPerformed, "orders:create", authagent.OutcomeOK)
		for range 1000 {
			event(authagent.EventPermissionDenied, "orders:cancel", authagent.OutcomeRefused)
			event(authagent.EventActionPending, "payouts:create", authagent.OutcomePending)
		}
		o, err := p.Overview(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(o.Deeds); n < 2 || n > 30 || o.Deeds[n-1].Action != "orders:create" {
			t.Errorf("%d deeds, the oldest %+v", n, o.Deeds[n-1])
		}
		time.Sleep(time.Hour)
		event(authagent.EventPermissionDenied, "later", authagent.OutcomeRefused)
		if o, _ := p.Overview(t.Context(), "alice"); o.Deeds[0].Action != "later" {
			t.Errorf("the latest deed is %+v", o.Deeds[0])
		}
	})
}

// TestConnectedAgain: to connect an agent that is approved changes nothing that
// its owner has chosen.
func TestConnectedAgain(t *testing.T) {
	p := grants.OwnerApproval(grants.NewMemory())
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
