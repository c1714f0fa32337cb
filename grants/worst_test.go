package grants_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// What these tests do happens at the worst moment, or between two releases or clocks.

// TestStoppedWhileUnknown_RES_6: an action that was unknown when its agent was stopped, and then
// ends as not done, gives nothing back either.
func TestStoppedWhileUnknown_RES_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.approved("x")
		r := d.started("x")
		time.Sleep(16 * time.Minute)
		d.wants("x", unknown)
		d.must(d.decideOn("agent_1", "alice", grants.Suspended))
		d.must(d.decideOn("agent_1", "alice", grants.Approved))
		r.NothingDone()
		d.end(r)
		d.wants("x", problem.ApprovalPending)
	})
}

// TestStoppedByAnotherClock_RES_6: the instance that stops an agent may have a clock that is ahead of
// the one at which the action ends. So no time is left that an approval could come back for.
func TestStoppedByAnotherClock_RES_6(t *testing.T) {
	d, box := newTill(t)
	d.approved("x")
	r := d.started("x")
	d.must(d.decideOn("agent_1", "alice", grants.Suspended))
	all, err := box.OwnerApprovals(context.Background(), "alice")
	d.must(err)
	if len(all) != 1 || all[0].Reservation != r.ID || !all[0].Until.IsZero() {
		t.Errorf("approvals %+v", all)
	}
}

// TestSettingChanges_RES_5: what was reserved under another InTransaction, by an earlier release,
// ends by the setting that its handler had.
func TestSettingChanges_RES_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.approved("x")
		d.started("x") // without a transaction, and the process ends
		d.InTransaction = []string{"pay"}
		time.Sleep(2 * time.Minute)
		d.wants("x", underWay)
		time.Sleep(15 * time.Minute)
		d.wants("x", unknown)
	})
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
		d.allow(10)
		used, lost := d.started("6 USD a"), d.started("4 USD b")
		d.must(box.commit(used)) // and the process ends
		d.InTransaction = nil
		time.Sleep(2 * time.Minute)
		d.hasTaken(6)
		d.must(as(box.commit(lost), authagent.ErrConflict))
	})
}

// TestTransactionAfterTheEnd_RES_5: a handler may go on after it was given up, as one in an
// http.TimeoutHandler does. Its transaction fails if what was reserved for it was given back.
func TestTransactionAfterTheEnd_RES_5(t *testing.T) {
	inTransaction := func(p *grants.Policy) { p.InTransaction = []string{"pay"} }
	d, box := newTill(t, inTransaction)
	d.approved("x")
	late := d.started("x")
	late.NothingDone()
	d.end(late)
	again := d.started("x")
	d.must(as(box.commit(late), authagent.ErrConflict))
	d.must(box.commit(again))
	d.end(again)
	d.wants("x", used)

	d, box = newTill(t, inTransaction)
	d.allow(10)
	late = d.started("6 USD a")
	d.must(late.EndUnknown(context.Background())) // it has panicked before its transaction
	d.hasTaken(0)
	d.must(as(box.commit(late), authagent.ErrConflict))
}

// TestTakenInBetween_ALW_3: an amount that was taken of another currency, while the owner changed
// the currency, is not given back to the new one.
func TestTakenInBetween_ALW_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t)
		d.allow(10)
		inYen := func(t *grants.Terms) { t.Limit.Currency = "JPY" }
		var r interface {
			NothingDone()
			End(context.Context) error
		}
		id, seen := d.grant("agent_1", "alice").ID, d.allowance().Terms
		box.once = func() {
			time.Sleep(time.Second)
			r = d.started("6 USD a")
		}
		terms := grants.Terms{GrantID: id, Action: "pay", Limit: grants.Amount{Value: 7, Currency: "JPY"}, Seen: seen}
		inYen(&terms)
		_, err := d.Allow(context.Background(), "alice", terms)
		d.must(err)
		r.NothingDone()
		d.must(r.End(context.Background()))
		d.hasTaken(0)
		d.wants("8 JPY b", problem.ApprovalPending)
	})
}

// TestOpenCurrency_ALW_3: what is open keeps the currency that it was taken in.
func TestOpenCurrency_ALW_3(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	r := d.started("6 USD a")
	d.must(r.EndUnknown(context.Background()))
	d.allow(7, func(t *grants.Terms) { t.Limit.Currency = "JPY" })
	d.wait().events.take()
	a := d.allowance()
	d.must(d.SettleTaking(context.Background(), "alice", a.GrantID, "pay", r.ID, false))
	d.hasTaken(0)
	for _, e := range d.wait().events.take() {
		if e.Name == grants.EventSettled && e.Amount != (grants.Amount{Value: 6, Currency: "USD"}) {
			t.Errorf("settled %v", e.Amount)
		}
	}
}

// TestClockAhead_ALW_5: another instance, whose clock is ahead, has begun the next period. What is
// taken in it by a clock that is behind comes back to it.
func TestClockAhead_ALW_5(t *testing.T) {
	d, box := newTill(t)
	a := d.allow(10, func(t *grants.Terms) { t.Days = 1 })
	a.Since = time.Now().Add(5 * time.Minute)
	_, err := box.UpdateAllowance(context.Background(), a)
	d.must(err)
	r := d.started("6 USD a")
	d.hasTaken(6)
	r.NothingDone()
	d.end(r)
	d.hasTaken(0)
}

// TestAlwaysConflict_RES_9: a store in which no change ever succeeds holds up nobody for ever.
func TestAlwaysConflict_RES_9(t *testing.T) {
	d, box := newTill(t)
	d.approved("x")
	r := d.started("x")
	d.allow(10)
	taken := d.started("1 USD a")
	box.busy.Store(true)
	for name, f := range map[string]func() error{
		"end":        func() error { return r.End(context.Background()) },
		"end taking": func() error { return taken.End(context.Background()) },
		"take":       func() error { _, err := d.start("2 USD b"); return err },
		"change":     func() error { _, err := d.tryAllow(5); return err },
		"stop": func() error {
			_, err := d.StopAllowance(context.Background(), "alice", d.grant("agent_1", "alice").ID, "pay")
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if !errors.Is(err, problem.Conflict) && !errors.Is(err, authagent.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(3 * time.Second):
			t.Errorf("%s does not end", name)
		}
	}
}

// TestStoppedByOlderRelease_ALW_8: an older release stops an agent and lets it in again without a
// look at allowances, which it does not know. They do not come back all the same.
func TestStoppedByOlderRelease_ALW_8(t *testing.T) {
	d, box := newTill(t)
	d.allow(10)
	g := d.grant("agent_1", "alice")
	g.State, g.Era = grants.Approved, max(g.Era+1, time.Now().UnixNano())
	_, err := box.UpdateGrant(context.Background(), g)
	d.must(err)
	d.wants("1 USD a", problem.ApprovalPending)
	d.hasTaken(0)
	d.allow(10)
	d.end(d.started("1 USD b"))
}

// TestAllowedInBetween_ALW_8: what an owner allows an agent that is stopped and let in again in that
// moment is not for the agent that was let in.
func TestAllowedInBetween_ALW_8(t *testing.T) {
	d, box := newTill(t)
	box.once = func() {
		d.must(d.decideOn("agent_1", "alice", grants.Suspended))
		d.must(d.decideOn("agent_1", "alice", grants.Approved))
	}
	terms := grants.Terms{GrantID: d.grant("agent_1", "alice").ID, Action: "pay", Limit: grants.Amount{Value: 10, Currency: "USD"}}
	_, err := d.Allow(context.Background(), "alice", terms)
	d.must(as(err, authagent.ErrConflict))
	d.wants("1 USD a", problem.ApprovalPending)
}

// TestCurrencyIsGone_ALW_1: what the site does not offer any more is not allowed any more.
func TestCurrencyIsGone_ALW_1(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	d.Allowances = map[string][]grants.Currency{"pay": {{Code: "JPY"}}}
	d.wants("1 USD a", problem.ApprovalPending)
	d.hasTaken(0)
}
