package grants_test

import (
	"context"
	"errors"
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

const (
	underWay = problem.Reason("action_under_way")
	unknown  = problem.Reason("outcome_unknown")
	used     = problem.Reason("approval_used")
)

// A till is a store with allowances and a database that knows which reservations were used.
type till struct {
	*memstore.Grants
	mu   sync.Mutex
	used map[string]bool
	down atomic.Bool // Settle fails
	once func()      // is called when an allowance is read for the next time
	busy atomic.Bool // each change is a conflict
	lost string      // a method that reads, and fails
}

// Allowance calls once first.
func (t *till) Allowance(ctx context.Context, id string) (grants.Allowance, error) {
	if once := t.once; once != nil {
		t.once = nil
		once()
	}
	if t.lost == "Allowance" {
		return grants.Allowance{}, errDown
	}
	return t.Grants.Allowance(ctx, id)
}

// Grant fails while grants are lost.
func (t *till) Grant(ctx context.Context, id string) (grants.Grant, error) {
	if t.lost == "Grant" {
		return grants.Grant{}, errDown
	}
	return t.Grants.Grant(ctx, id)
}

// UpdateApproval never succeeds while the till is busy.
func (t *till) UpdateApproval(ctx context.Context, a grants.Approval) (grants.Approval, error) {
	if t.busy.Load() {
		return grants.Approval{}, authagent.ErrConflict
	}
	return t.Grants.UpdateApproval(ctx, a)
}

// Settle implements [grants.Settler].
func (t *till) Settle(_ context.Context, id string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down.Load() || t.lost == "Settle" {
		return false, errDown
	}
	if _, known := t.used[id]; !known {
		t.used[id] = false
	}
	return t.used[id], nil
}

// commit is a transaction of the site that performs an action.
func (t *till) commit(r *action.Reservation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.UseInTransaction()
	if _, known := t.used[r.ID]; known {
		return authagent.ErrConflict
	}
	t.used[r.ID] = true
	return nil
}

// UpdateAllowance fails while the till is down or busy.
func (t *till) UpdateAllowance(ctx context.Context, a grants.Allowance) (grants.Allowance, error) {
	switch {
	case t.down.Load():
		return grants.Allowance{}, errDown
	case t.busy.Load():
		return grants.Allowance{}, authagent.ErrConflict
	}
	return t.Grants.UpdateAllowance(ctx, a)
}

// newTill returns a desk with a till, where agent_1 acts for alice, and may ask to pay.
func newTill(t *testing.T, change ...func(*grants.Policy)) (*desk, *till) {
	t.Helper()
	box := &till{Grants: &memstore.Grants{}, used: make(map[string]bool)}
	d := newDesk(t)
	audit, logger := d.Audit, d.Logger
	d.store.Store = box
	d.Policy = grants.OwnerApproval(box)
	d.Audit, d.Logger = audit, logger
	d.Approvals = map[string]string{"pay": "Pay"}
	d.Amount = func(_ context.Context, r action.Request) (grants.Amount, error) { return amountIn(r), nil }
	d.Allowances = map[string][]grants.Currency{"pay": {{Code: "USD", Digits: 2}, {Code: "JPY"}}}
	for _, c := range change {
		c(d.Policy)
	}
	d.must(d.Check())
	letIn(d)
	return d, box
}

// start reserves an action.
func (d *desk) start(digest string) (*action.Reservation, error) {
	r, _, err := d.Policy.Approve(context.Background(), d.pays("agent_1", "alice", digest))
	return r, err
}

// approved asks for an action, and has its owner approve it.
func (d *desk) approved(digest string) {
	d.t.Helper()
	_, err := d.start(digest)
	d.must(as(err, problem.ApprovalPending))
	d.must(d.decideOnly(true))
}

func (d *desk) started(digest string) *action.Reservation {
	d.t.Helper()
	r, err := d.start(digest)
	d.must(err)
	return r
}

func (d *desk) end(r *action.Reservation) {
	d.t.Helper()
	d.must(r.End(context.Background()))
}

func (d *desk) wants(digest string, want error) {
	d.t.Helper()
	if _, err := d.start(digest); !errors.Is(err, want) {
		d.t.Errorf("%s: error %v, want %v", digest, err, want)
	}
}

// state is that of the one approval, as its owner sees it.
func (d *desk) state() grants.State {
	d.t.Helper()
	o, err := d.Overview(context.Background(), "alice")
	d.must(err)
	if len(o.Approvals) != 1 {
		d.t.Fatalf("approvals %+v", o.Approvals)
	}
	return o.Approvals[0].Now()
}

// TestReservation_RES_1 is RES-1: an approval is reserved before the action and used after it.
func TestReservation_RES_1(t *testing.T) {
	d, _ := newTill(t)
	d.approved("x")
	r := d.started("x")
	d.wants("x", underWay)
	if s := d.state(); s != grants.Reserved {
		t.Errorf("the approval is %s", s)
	}
	d.end(r)
	d.wants("x", used)
	r.NothingDone() // too late
	d.end(r)
	d.wants("x", used)
}

// TestNothingDone_RES_2 is RES-2: only what the handler says gives an approval back, for the
// time that it had.
func TestNothingDone_RES_2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.approved("x")
		for range 3 {
			time.Sleep(15 * time.Minute)
			r := d.started("x")
			r.NothingDone()
			d.end(r)
		}
		time.Sleep(15 * time.Minute) // an hour after it was approved
		d.wants("x", problem.ApprovalPending)
		if got := d.count(grants.EventGivenBack); got != 3 {
			t.Errorf("%d events", got)
		}
	})
}

// TestUnknown_RES_3 is RES-3: an action whose end nobody records is unknown, and not done again.
func TestUnknown_RES_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, forget := range map[string]func(*desk, *action.Reservation){
			"panics": func(d *desk, r *action.Reservation) { d.must(r.EndUnknown(context.Background())) },
			"ends":   func(*desk, *action.Reservation) { time.Sleep(16 * time.Minute) },
		} {
			d, _ := newTill(t)
			d.approved("x")
			r := d.started("x")
			forget(d, r)
			d.wants("x", unknown)
			if s := d.state(); s != grants.Unknown {
				t.Errorf("%s: the approval is %s", name, s)
			}
			time.Sleep(24 * time.Hour)
			d.wants("x", unknown)
			if got := d.count(grants.EventUnknown); got != 1 {
				t.Errorf("%s: %d events", name, got)
			}
		}
	})
}

// TestLateEnd_RES_3: an action that takes long is known after all when it has ended.
func TestLateEnd_RES_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newTill(t)
		d.approved("x")
		r := d.started("x")
		time.Sleep(time.Hour)
		d.wants("x", unknown)
		d.end(r)
		d.wants("x", used)
	})
}

// TestSettle_RES_4 is RES-4: the owner says what has become of an action, once.
func TestSettle_RES_4(t *testing.T) {
	for performed, want := range map[bool]error{true: used, false: problem.ApprovalPending} {
		d, _ := newTill(t)
		ctx := context.Background()
		d.approved("x")
		if _, err := d.SettleAction(ctx, "alice", d.only().ID, d.only().Version, performed); !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("settled before it was performed: %v", err)
		}
		d.must(d.started("x").EndUnknown(ctx))
		a := d.only()
		if _, err := d.SettleAction(ctx, "bob", a.ID, a.Version, performed); !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("settled by another: %v", err)
		}
		if _, err := d.SettleAction(ctx, "alice", a.ID, a.Version-1, performed); !errors.Is(err, authagent.ErrConflict) {
			t.Errorf("settled in another version: %v", err)
		}
		_, err := d.SettleAction(ctx, "alice", a.ID, a.Version, performed)
		d.must(err)
		d.wants("x", want)
	}
}

// TestInTransaction_RES_5 is RES-5: what the site's transaction says counts, also if the process
// ended in between, and a transaction that is still under way fails then.
func TestInTransaction_RES_5(t *testing.T) {
	inTransaction := func(p *grants.Policy) { p.InTransaction = []string{"pay"} }
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, inTransaction)
		d.approved("x")
		first := d.started("x")
		d.wants("x", underWay)
		time.Sleep(2 * time.Minute)
		second := d.started("x")
		d.must(as(box.commit(first), authagent.ErrConflict))
		d.must(first.End(context.Background()))
		d.must(box.commit(second)) // and the process ends
		d.wants("x", underWay)
		time.Sleep(2 * time.Minute)
		d.wants("x", used)
	})
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, inTransaction)
		d.approved("x")
		r := d.started("x")
		r.UseInTransaction() // rolled back
		d.end(r)
		r = d.started("x")
		d.must(box.commit(r))
		d.end(r)
		d.wants("x", used)
	})
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, inTransaction)
		d.approved("x")
		d.started("x")
		box.down.Store(true)
		time.Sleep(time.Hour)
		d.wants("x", errDown)
		box.down.Store(false)
		time.Sleep(40 * 24 * time.Hour) // longer than the database knows
		d.wants("x", unknown)
	})
}

// TestForgottenUse_RES_5: a handler that does not say so in its transaction has performed the
// action.
func TestForgottenUse_RES_5(t *testing.T) {
	d, _ := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
	d.approved("x")
	d.end(d.started("x"))
	d.wants("x", used)
}

// TestStoppedUnderWay_RES_6 is RES-6: an approval that is given back after its agent was stopped
// does not come back, not even when the agent is let in again.
func TestStoppedUnderWay_RES_6(t *testing.T) {
	for _, to := range []grants.State{grants.Suspended, grants.Revoked} {
		d, _ := newTill(t)
		d.approved("x")
		r := d.started("x")
		d.must(d.decideOn("agent_1", "alice", to))
		d.must(d.decideOn("agent_1", "alice", grants.Approved))
		r.NothingDone()
		d.end(r)
		d.wants("x", problem.ApprovalPending)
	}
}

// TestReservedOnce_RES_7 is RES-7: of many at once, one gets the approval.
func TestReservedOnce_RES_7(t *testing.T) {
	d, _ := newTill(t)
	d.approved("x")
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r, err := d.start("x"); err == nil {
				passed.Add(1)
				r.End(context.Background())
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1 {
		t.Errorf("%d passed", passed.Load())
	}
}

// count returns how many events of a kind there were.
func (d *desk) count(name audit.Name) (n int) {
	for _, e := range d.wait().events.take() {
		if e.Name == name {
			n++
		}
	}
	return n
}

// TestRecorded_JRN_4 is JRN-4: who records the end of an action in a transaction of the site learns what the transaction says.
func TestRecorded_JRN_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, box := newTill(t, func(p *grants.Policy) { p.InTransaction = []string{"pay"} })
		d.approved("x")
		rolledBack := d.started("x")
		if found, err := rolledBack.Record(t.Context(), action.InTransaction); err != nil || found != action.NothingDone {
			t.Errorf("JRN-4 rolled back: %q, %v", found, err)
		}
		committed := d.started("x")
		d.must(box.commit(committed))
		if found, err := committed.Record(t.Context(), action.InTransaction); err != nil || found != action.Performed {
			t.Errorf("JRN-4 committed: %q, %v", found, err)
		}
	})
}
