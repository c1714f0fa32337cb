package grants_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// amountIn is the amount of a request in these tests: that in its digest, as in "7 USD to bob".
func amountIn(r action.Request) grants.Amount {
	parts := strings.Fields(r.Digest)
	if len(parts) < 2 {
		return grants.Amount{}
	}
	value, _ := strconv.ParseInt(parts[0], 10, 64)
	return grants.Amount{Value: value, Currency: parts[1]}
}

// allow lets agent_1 pay up to an amount of dollars.
func (d *desk) allow(limit int64, change ...func(*grants.Terms)) grants.Allowance {
	d.t.Helper()
	a, err := d.tryAllow(limit, change...)
	d.must(err)
	return a
}

func (d *desk) tryAllow(limit int64, change ...func(*grants.Terms)) (grants.Allowance, error) {
	d.t.Helper()
	terms := grants.Terms{GrantID: d.grant("agent_1", "alice").ID, Action: "pay", Limit: grants.Amount{Value: limit, Currency: "USD"}}
	if have := d.allowance(); have != nil {
		terms.Seen = have.Terms
	}
	for _, c := range change {
		c(&terms)
	}
	return d.Allow(context.Background(), "alice", terms)
}

// allowance returns the one of alice, as she sees it.
func (d *desk) allowance() *grants.Allowance {
	d.t.Helper()
	o, err := d.Overview(context.Background(), "alice")
	d.must(err)
	if len(o.Allowances) == 0 {
		return nil
	}
	return &o.Allowances[0]
}

func (d *desk) hasTaken(want int64) {
	d.t.Helper()
	if a := d.allowance(); a == nil || a.Taken != want {
		d.t.Errorf("allowance %+v, want %d taken", a, want)
	}
}

// TestAllowance_ALW_1 is ALW-1: what is within an allowance passes at once, and the rest waits.
func TestAllowance_ALW_1(t *testing.T) {
	d, _ := newTill(t)
	d.wants("7 USD a", problem.ApprovalPending)
	d.allow(10)
	d.wants("7 USD a", problem.ApprovalPending) // it was asked about
	r := d.started("7 USD b")
	if r.Amount != (grants.Amount{Value: 7, Currency: "USD"}) {
		t.Errorf("amount %v", r.Amount)
	}
	d.end(r)
	for _, over := range []string{"4 USD c", "-1 USD", "0 USD", "3 EUR", "3 JPY", "3 usd", "9223372036854775807 USD", "9007199254740993 USD", "nothing"} {
		d.wants(over, problem.ApprovalPending)
	}
	d.end(d.started("3 USD d"))
	d.wants("1 USD e", problem.ApprovalPending)
	d.hasTaken(10)
	if left := d.allowance().Left(); left != 0 {
		t.Errorf("%d is left", left)
	}
}

// TestAllowanceAgain_ALW_2 is ALW-2: what the owner has said about a request counts, whatever an
// allowance covers.
func TestAllowanceAgain_ALW_2(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*desk)
		want   error
	}{
		"denied": {func(d *desk) { d.must(d.decideOnly(false)) }, problem.ActionDenied},
		"used":   {func(d *desk) { d.must(d.decideOnly(true)); d.end(d.started("5 USD")) }, used},
		"unknown": {func(d *desk) {
			d.must(d.decideOnly(true))
			d.must(d.started("5 USD").EndUnknown(context.Background()))
		}, unknown},
	} {
		d, _ := newTill(t)
		d.wants("5 USD", problem.ApprovalPending)
		test.before(d)
		d.allow(100)
		d.wants("5 USD", test.want)
		d.hasTaken(0)
		_ = name
	}
}

// TestAllowanceEnds_ALW_3 is ALW-3: only what is known not to have happened is given back.
func TestAllowanceEnds_ALW_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.allow(10)
		r := d.started("6 USD a")
		d.hasTaken(6)
		r.NothingDone()
		d.end(r)
		d.end(r)
		d.hasTaken(0)
		d.must(d.started("6 USD b").EndUnknown(context.Background()))
		d.started("1 USD c") // and the process ends
		time.Sleep(16 * time.Minute)
		d.hasTaken(7)
		a := d.allowance()
		if len(a.Open) != 2 || !a.Open[0].Unknown || !a.Open[1].Unknown {
			t.Fatalf("open %+v", a.Open)
		}
		settle := func(user string, i int, performed bool) error {
			return d.SettleTaking(context.Background(), user, a.GrantID, "pay", a.Open[i].ID, performed)
		}
		d.must(as(settle("bob", 0, false), authagent.ErrNotFound))
		d.must(settle("alice", 0, false))
		d.hasTaken(1)
		d.must(settle("alice", 1, true))
		d.hasTaken(1)
		d.must(as(settle("alice", 0, false), authagent.ErrNotFound))
		d.hasTaken(1)
		if n := len(d.allowance().Open); n != 0 {
			t.Errorf("%d are open", n)
		}
	})
}

// TestAllowanceInTransaction_ALW_4 is RES-5 for allowances.
func TestAllowanceInTransaction_ALW_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
		d.allow(10)
		first, second := d.started("5 USD a"), d.started("5 USD b")
		d.must(box.commit(second)) // and the process ends
		d.wants("5 USD c", problem.ApprovalPending)
		time.Sleep(2 * time.Minute)
		d.end(d.started("5 USD d"))
		d.must(as(box.commit(first), authagent.ErrConflict))
		d.end(first)
		d.hasTaken(10)
	})
}

// TestAllowancePeriod_ALW_5 is ALW-5: an amount is for each period, and what comes back does so in
// the period that it was taken in.
func TestAllowancePeriod_ALW_5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.allow(10, func(t *grants.Terms) { t.Days = 7 })
		late := d.started("4 USD a")
		d.end(d.started("6 USD b"))
		time.Sleep(6 * 24 * time.Hour)
		d.wants("1 USD c", problem.ApprovalPending)
		time.Sleep(24 * time.Hour)
		d.end(d.started("9 USD d"))
		late.NothingDone()
		d.end(late)
		d.hasTaken(9)
		time.Sleep(15 * 24 * time.Hour)
		d.hasTaken(0)
		d.end(d.started("10 USD e"))
		time.Sleep(100 * 24 * time.Hour)
		d.wants("1 USD f", problem.NoSession) // the grant is over as well
	})
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.allow(10, func(t *grants.Terms) { t.For = time.Hour })
		d.end(d.started("1 USD a"))
		time.Sleep(time.Hour)
		d.wants("1 USD b", problem.ApprovalPending)
	})
}

// TestChangedAllowance_ALW_6 is ALW-6: the owner changes what they have seen, and what was taken
// still counts.
func TestChangedAllowance_ALW_6(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	d.end(d.started("8 USD a"))
	d.allow(5)
	d.hasTaken(8)
	d.wants("1 USD b", problem.ApprovalPending)
	d.allow(9)
	d.end(d.started("1 USD c"))
	for _, seen := range []int64{0, 1, 2, 4} {
		_, err := d.tryAllow(100, func(t *grants.Terms) { t.Seen = seen })
		d.must(as(err, authagent.ErrConflict))
	}
	_, err := d.StopAllowance(context.Background(), "alice", d.grant("agent_1", "alice").ID, "pay")
	d.must(err)
	if left := d.allowance().Left(); left != 0 {
		t.Errorf("%d is left of one that was stopped", left)
	}
	d.wants("1 USD d", problem.ApprovalPending)
	d.allow(3)
	d.hasTaken(0)
	d.end(d.started("3 USD e"))
	d.allow(7, func(t *grants.Terms) { t.Limit.Currency = "JPY" })
	d.hasTaken(0)
	d.wants("1 USD f", problem.ApprovalPending)
	d.end(d.started("7 JPY g"))
}

// TestRefusedTerms_ALW_7 is ALW-7: terms that make no sense are refused, and change nothing.
func TestRefusedTerms_ALW_7(t *testing.T) {
	d, _ := newTill(t)
	for name, change := range map[string]func(*grants.Terms){
		"no amount":        func(t *grants.Terms) { t.Limit.Value = 0 },
		"negative":         func(t *grants.Terms) { t.Limit.Value = -1 },
		"too much":         func(t *grants.Terms) { t.Limit.Value = 1<<53 + 1 },
		"another currency": func(t *grants.Terms) { t.Limit.Currency = "EUR" },
		"another action":   func(t *grants.Terms) { t.Action = "order" },
		"negative days":    func(t *grants.Terms) { t.Days = -1 },
		"too many days":    func(t *grants.Terms) { t.Days = 367 },
		"negative time":    func(t *grants.Terms) { t.For = -1 },
		"too long":         func(t *grants.Terms) { t.For = 367 * 24 * time.Hour },
	} {
		if _, err := d.tryAllow(10, change); !errors.Is(err, grants.ErrDecision) || d.allowance() != nil {
			t.Errorf("%s: %v, allowance %+v", name, err, d.allowance())
		}
	}
	g := d.grant("agent_1", "alice")
	_, err := d.Allow(context.Background(), "bob", grants.Terms{GrantID: g.ID, Action: "pay", Limit: grants.Amount{Value: 1, Currency: "USD"}})
	d.must(as(err, authagent.ErrNotFound))
	d.allow(10)
	_, err = d.StopAllowance(context.Background(), "bob", g.ID, "pay")
	d.must(as(err, authagent.ErrNotFound))
	d.end(d.started("1 USD a"))
}

// TestStoppedAgent_ALW_8 is ALW-8: an allowance ends with its grant, and does not come back.
func TestStoppedAgent_ALW_8(t *testing.T) {
	for _, to := range []grants.State{grants.Suspended, grants.Revoked} {
		d, _ := newTill(t)
		d.allow(10)
		d.must(d.decideOn("agent_1", "alice", to))
		if a := d.allowance(); !a.Stopped {
			t.Errorf("%s: %+v", to, a)
		}
		if _, err := d.tryAllow(10); !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("allowed while %s: %v", to, err)
		}
		d.must(d.decideOn("agent_1", "alice", grants.Approved))
		d.wants("1 USD a", problem.ApprovalPending)
		d.hasTaken(0)
	}
}

// TestTakeOfStopped_ALW_8: nothing is taken for an agent that is stopped, also where the instance
// that stopped it has yet to stop its allowances.
func TestTakeOfStopped_ALW_8(t *testing.T) {
	for _, to := range []grants.State{grants.Suspended, grants.Revoked} {
		d, box := newTill(t)
		d.allow(10)
		g := d.grant("agent_1", "alice")
		g.State = to
		_, err := box.UpdateGrant(t.Context(), g)
		d.must(err)
		d.wants("1 USD", problem.NoSession)
		d.hasTaken(0)
	}
}

// TestOthersAllowance_ALW_9 is ALW-9: an allowance is for one agent, account and grant.
func TestOthersAllowance_ALW_9(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	g := d.grant("agent_1", "alice")
	for name, change := range map[string]func(*action.Request){
		"another account": func(r *action.Request) { r.UserID = "bob" },
		"another agent":   func(r *action.Request) { r.Agent.ID = "agent_2" },
		"another issuer":  func(r *action.Request) { r.Agent.Issuer = "https://evil.example" },
		"another grant":   func(r *action.Request) { r.GrantID = "g" },
		"no grant":        func(r *action.Request) { r.GrantID = "" },
		"another action":  func(r *action.Request) { r.Action = "order" },
	} {
		r := d.pays("agent_1", "alice", "1 USD "+name)
		change(&r)
		if reserved, _, err := d.Policy.Approve(context.Background(), r); reserved != nil || err == nil {
			t.Errorf("%s passed", name)
		}
	}
	if a := d.allowance(); a.Taken != 0 || a.GrantID != g.ID {
		t.Errorf("allowance %+v", a)
	}
}

// TestStrangeAllowance_ALW_9: an allowance that a store has under the grant, and that names another
// account or agent, covers nothing.
func TestStrangeAllowance_ALW_9(t *testing.T) {
	for name, change := range map[string]func(*grants.Allowance){
		"another account": func(a *grants.Allowance) { a.UserID = "bob" },
		"another agent":   func(a *grants.Allowance) { a.Agent.ID = "agent_2" },
	} {
		d, box := newTill(t)
		a := d.allow(10)
		change(&a)
		a, err := box.UpdateAllowance(t.Context(), a)
		d.must(err)
		if _, err := d.start("1 USD"); !errors.Is(err, problem.ApprovalPending) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := box.Allowance(t.Context(), a.ID); err != nil || got.Taken != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestNeverMore_ALW_10 is ALW-10: many at once take no more than there is.
func TestNeverMore_ALW_10(t *testing.T) {
	d, _ := newTill(t)
	d.allow(100)
	var taken, back atomic.Int64
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			r, err := d.start(fmt.Sprintf("7 USD %d", n))
			if err != nil {
				if !errors.Is(err, problem.ApprovalPending) && !errors.Is(err, problem.Limited) {
					t.Error(err)
				}
				return
			}
			if n%5 == 0 {
				r.NothingDone()
				back.Add(7)
			} else {
				taken.Add(7)
			}
			if err := r.End(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if taken.Load() > 100 || taken.Load()+back.Load() < 98 {
		t.Errorf("%d taken, %d given back", taken.Load(), back.Load())
	}
	d.hasTaken(taken.Load())
}

// TestAmountChanges_ALW_11 is ALW-11: an owner approves an amount, and no other.
func TestAmountChanges_ALW_11(t *testing.T) {
	price := int64(5)
	d, _ := newTill(t, func(p *grants.Policy) {
		p.Amount = func(context.Context, action.Request) (grants.Amount, error) {
			return grants.Amount{Value: price, Currency: "USD"}, nil
		}
	})
	d.approved("x")
	price = 6
	d.wants("x", problem.ApprovalPending)
	price = 5
	d.end(d.started("x"))
}

// TestAmountFails_ALW_12 is ALW-12: without an answer about the amount, nothing passes.
func TestAmountFails_ALW_12(t *testing.T) {
	d, box := newTill(t)
	d.allow(10)
	d.Amount = func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, errDown }
	d.wants("1 USD", errDown)
	d.Amount = func(context.Context, action.Request) (grants.Amount, error) { panic("nil map") }
	if _, err := d.start("1 USD"); err == nil {
		t.Error("passed")
	}
	d.Amount = func(_ context.Context, r action.Request) (grants.Amount, error) { return amountIn(r), nil }
	box.down.Store(true)
	d.wants("1 USD", errDown)
	box.down.Store(false)
	d.hasTaken(0)
}

// TestNoAllowanceStore: in a store that keeps no allowances there is none to be found, given or stopped.
func TestNoAllowanceStore(t *testing.T) {
	d := newDesk(t, func(p *grants.Policy) { // which Check refuses
		p.Approvals, p.Allowances = map[string]string{"pay": "Pay"}, map[string][]grants.Currency{"pay": {{Code: "USD"}}}
		p.Amount = func(_ context.Context, r action.Request) (grants.Amount, error) { return amountIn(r), nil }
	})
	letIn(d)
	d.wants("1 USD", problem.ApprovalPending)
	_, err := d.tryAllow(10)
	d.must(as(err, grants.ErrDecision))
	id := d.grant("agent_1", "alice").ID
	_, err = d.StopAllowance(t.Context(), "alice", id, "pay")
	d.must(as(err, authagent.ErrNotFound))
	d.must(as(d.SettleTaking(t.Context(), "alice", id, "pay", "t", false), authagent.ErrNotFound))
}

// TestNotOfferedAnyMore: of an action that the site has taken out of its allowances, nothing can be
// settled, since the page does not show it either. It can still be stopped.
func TestNotOfferedAnyMore(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	d.must(d.started("7 USD").EndUnknown(t.Context()))
	a := d.allowance()
	delete(d.Allowances, "pay")
	d.must(as(d.SettleTaking(t.Context(), "alice", a.GrantID, "pay", a.Open[0].ID, false), authagent.ErrNotFound))
	d.hasTaken(7)
	_, err := d.StopAllowance(t.Context(), "alice", a.GrantID, "pay")
	d.must(err)
	if !d.allowance().Stopped {
		t.Error("it goes on")
	}
}

// TestTakeFails_ALW_12: nothing is taken, and nobody is asked, while it cannot be told what is allowed
// or whether the agent may act, and when it has done too much.
func TestTakeFails_ALW_12(t *testing.T) {
	d, box := newTill(t)
	d.allow(10)
	for _, lost := range []string{"Allowance", "Grant"} {
		box.lost = lost
		d.wants("1 USD", errDown)
	}
	box.lost = ""
	r := d.pays("agent_1", "alice", "1 USD")
	r.CountPerforming = func() error { return problem.Limited }
	if _, _, err := d.Approve(t.Context(), r); !errors.Is(err, problem.Limited) {
		t.Errorf("too much: %v", err)
	}
	d.hasTaken(0)
	if all, err := box.OwnerApprovals(t.Context(), "alice"); err != nil || len(all) > 0 {
		t.Errorf("asked: %+v, %v", all, err)
	}
}

// TestTakeCutOff_ALW_10: whoever gives up while others take does not try again.
func TestTakeCutOff_ALW_10(t *testing.T) {
	d, box := newTill(t)
	d.allow(10)
	ctx, cancel := context.WithCancel(t.Context())
	box.once = cancel
	box.busy.Store(true)
	if _, _, err := d.Approve(ctx, d.pays("agent_1", "alice", "1 USD")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestTakenIsTold_ALW_3: there is one event for what was given back, and one for what nobody knows, and
// none while it could not be recorded.
func TestTakenIsTold_ALW_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			event audit.Name
			end   func(*desk, *action.Reservation) error
		}{
			"nothing done": {grants.EventGivenBack, func(_ *desk, r *action.Reservation) error {
				_, err := r.Record(t.Context(), action.NothingDone)
				return err
			}},
			"unknown": {grants.EventUnknown, func(_ *desk, r *action.Reservation) error {
				_, err := r.Record(t.Context(), action.Unknown)
				return err
			}},
			"overdue": {grants.EventUnknown, func(d *desk, _ *action.Reservation) error { _, err := d.Overview(t.Context(), "alice"); return err }},
		} {
			d, box := newTill(t)
			d.allow(10)
			r := d.started("6 USD")
			if name == "overdue" {
				time.Sleep(16 * time.Minute)
			}
			box.down.Store(true)
			if err := test.end(d, r); err == nil && name != "overdue" {
				t.Errorf("%s: it is recorded", name)
			}
			if n := d.count(test.event); n != 0 {
				t.Errorf("%s: %d events before it was recorded", name, n)
			}
			box.down.Store(false)
			for range 2 {
				d.must(test.end(d, r))
			}
			if n := d.count(test.event); n != 1 {
				t.Errorf("%s: %d events", name, n)
			}
		}
	})
}

// TestNotSettled_ALW_4: what was taken for an action in a transaction stays taken while the database
// cannot be asked.
func TestNotSettled_ALW_4(t *testing.T) {
	d, box := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
	d.allow(10)
	r := d.started("6 USD")
	box.lost = "Settle"
	r.UseInTransaction()
	d.must(as(r.End(t.Context()), errDown))
	if a := d.allowance(); a.Taken != 6 || len(a.Open) != 1 {
		t.Errorf("%+v", a)
	}
	box.lost = ""
	d.end(r)
	if a := d.allowance(); a.Taken != 0 || len(a.Open) != 0 {
		t.Errorf("%+v", a)
	}
}

// TestManyOpen_ALW_3: what is under way or unknown within one allowance is bounded.
func TestManyOpen_ALW_3(t *testing.T) {
	d, box := newTill(t)
	a := d.allow(1000)
	for i := range 99 {
		a.Open = append(a.Open, grants.Taking{ID: strconv.Itoa(i), Value: 1, At: time.Now(), Unknown: i%2 == 0})
	}
	_, err := box.UpdateAllowance(t.Context(), a)
	d.must(err)
	r := d.started("1 USD a")
	d.wants("1 USD b", problem.ApprovalPending)
	d.end(r)
	d.end(d.started("1 USD c"))
}

// TestSettleUnderWay_ALW_3: what is still being done can be settled by nobody.
func TestSettleUnderWay_ALW_3(t *testing.T) {
	d, _ := newTill(t)
	d.allow(10)
	r := d.started("6 USD")
	a := d.allowance()
	d.must(as(d.SettleTaking(t.Context(), "alice", a.GrantID, "pay", r.ID, false), authagent.ErrNotFound))
	d.hasTaken(6)
	d.end(r)
}

// TestSettledAside: how an action has ended is found out when somebody looks, and where that fails a
// warning says so. Nothing is asked of what is unknown already, or of what may be under way.
func TestSettledAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			change func(*desk, *till)
			warns  bool
		}{
			"the database is lost":       {func(_ *desk, box *till) { box.lost = "Settle"; time.Sleep(2 * time.Minute) }, true},
			"and it is too early":        {func(_ *desk, box *till) { box.lost = "Settle" }, false},
			"the store is down":          {func(_ *desk, box *till) { box.down.Store(true); time.Sleep(40 * 24 * time.Hour) }, true},
			"it is lost, and not needed": {func(_ *desk, box *till) { box.lost = "Allowance" }, false},
			"unknown already": {func(d *desk, box *till) {
				time.Sleep(40 * 24 * time.Hour) // longer than the database knows
				d.allowance()
				box.lost = "Allowance"
			}, false},
			"not offered any more": {func(d *desk, _ *till) { delete(d.Allowances, "pay") }, false},
		} {
			d, box := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
			d.allow(10)
			d.started("6 USD")
			var logged strings.Builder
			d.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			test.change(d, box)
			if a := d.allowance(); a.Taken != 6 || len(a.Open) != 1 {
				t.Errorf("%s: %+v", name, a)
			}
			if got := strings.Contains(logged.String(), "could not find out how an action within an allowance has ended"); got != test.warns {
				t.Errorf("%s: logged %q", name, &logged)
			}
			if box.lost == "Settle" && test.warns {
				d.wants("1 USD", errDown)
			}
		}
	})
}

// TestAllowanceSettings: what cannot take effect is refused.
func TestAllowanceSettings(t *testing.T) {
	d, _ := newTill(t)
	d.Amount, d.InTransaction = nil, []string{"order"}
	d.Allowances = map[string][]grants.Currency{"order": nil, "pay": {{Code: "U$"}, {Code: "USD", Digits: 9}, {Code: "JPY"}, {Code: "JPY"}}}
	err := d.Check()
	for _, want := range []string{"need Policy.Amount", `"order" is not in Approvals`, `"order" has no currency`, `"U$"`, `"USD"`, `"JPY"`, `InTransaction: "order"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %s", err, want)
		}
	}
	p := grants.OwnerApproval(struct{ grants.Store }{&memstore.Grants{}})
	p.Approvals = map[string]string{"pay": "Pay"}
	p.InTransaction, p.Allowances, p.Amount = []string{"pay"}, d.Allowances, func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, nil }
	err = p.Check()
	for _, want := range []string{"InTransaction: it needs a Store that is a Settler", "a Store that is an AllowanceStore"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %s", err, want)
		}
	}
}
