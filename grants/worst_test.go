package grants_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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
