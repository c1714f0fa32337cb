package enginetest_test

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// backUp copies all tables, and returns what puts the copies in their place.
func (d *database) backUp(t *testing.T, db *sql.DB) (restore func()) {
	t.Helper()
	for _, table := range tables {
		d.must(t, db, `CREATE TABLE `+d.prefix+`b_`+table+` AS SELECT * FROM authagent_`+table)
	}
	t.Cleanup(func() {
		for _, table := range tables {
			if _, err := db.Exec(`DROP TABLE ` + d.prefix + `b_` + table); err != nil {
				t.Error(err)
			}
		}
	})
	overriding := ""
	if d.name == postgres.name {
		overriding = ` OVERRIDING SYSTEM VALUE`
	}
	return func() {
		for _, table := range tables {
			d.must(t, db, `DELETE FROM authagent_`+table)
			d.must(t, db, `INSERT INTO authagent_`+table+overriding+` SELECT * FROM `+d.prefix+`b_`+table)
		}
	}
}

// TestAfterRestore_RST_1_RST_2_RST_3: after a backup was restored and AfterRestore was called, nothing lives that was revoked, ended
// or used since the backup was made, and what an owner lets in again is good: RST-1, RST-2, RST-3.
func TestAfterRestore_RST_1_RST_2_RST_3(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		f := newFilledSite(t, s)
		ctx, store := t.Context(), s.Grants()
		alices, bobs := f.fill(t, aliceID, aliceMail), f.fill(t, bobID, bobMail)
		of := func(userID string) grants.Grant {
			t.Helper()
			all, err := store.OwnerGrants(ctx, userID)
			if err != nil || len(all) != 1 {
				t.Fatalf("grants %+v, %v", all, err)
			}
			return all[0]
		}
		approval := func(id string) grants.Approval {
			t.Helper()
			a, err := store.Approval(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		reserved := approval("approval of " + bobID)
		reserved.State, reserved.Reservation, reserved.ReservedAt = grants.Reserved, "r-t", time.Now()
		if _, err := store.UpdateApproval(ctx, reserved); err != nil {
			t.Fatal(err)
		}
		restore := d.backUp(t, db)

		f.decide(t, of(aliceID), grants.Revoked)
		used := approval("approval of " + aliceID)
		used.State = grants.Used
		if _, err := store.UpdateApproval(ctx, used); err != nil {
			t.Fatal(err)
		}
		if err := f.RP.EndUserSessions(ctx, bobID); err != nil {
			t.Fatal(err)
		}
		restore()
		for _, cookies := range []string{alices, bobs} { // or the rest would prove nothing
			if resp := f.get(t, "/me", cookies); resp.StatusCode != 200 {
				t.Fatalf("the restored session: %d", resp.StatusCode)
			}
		}

		would, err := s.PreviewRestore(ctx)
		if g := of(bobID); err != nil || g.State != grants.Approved {
			t.Errorf("RST-5: the preview: %v, grant %+v", err, g)
		}
		for i := range 2 { // again, as after an error
			done, err := s.AfterRestore(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 && done != would {
				t.Errorf("RST-5: the preview said %+v, and it was %+v", would, done)
			}
			if i == 0 && (done.Grants != 2 || done.Approvals != 1 || done.Unknown != 1 || done.Allowances != 2 || done.Tokens != 2 || done.Activity != 2) ||
				i == 1 && done.Grants+done.Approvals+done.Unknown+done.Allowances+done.Tokens+done.Activity != 0 {
				t.Errorf("RST-1: call %d: %+v", i+1, done)
			}
		}
		d.wantRestoreEvents(t, s, of(aliceID), of(bobID))
		for what, cookies := range map[string]string{"revoked": alices, "ended": bobs} {
			if resp := f.get(t, "/me", cookies); resp.StatusCode != 401 {
				t.Errorf("RST-1: a session that was %s since the backup: %d", what, resp.StatusCode)
			}
		}
		agents := map[string]*authagenttest.Agent{}
		for userID, mail := range map[string]string{aliceID: aliceMail, bobID: bobMail} {
			agents[userID] = f.AS.AddAgent(authagenttest.Agent{ID: "agent-of-" + userID[:3], Email: mail})
			if reason := f.refused(t, agents[userID]); reason != string(problem.Suspended) {
				t.Errorf("RST-2: the agent of %s is refused for %s", userID, reason)
			}
			if g := of(userID); g.State != grants.Suspended || g.Cause != grants.CauseRestored {
				t.Errorf("RST-2: grant %+v", g)
			}
		}
		if a := approval("approval of " + aliceID); a.Now() != grants.Expired {
			t.Errorf("RST-3: the action that was performed since is %s", a.Now())
		}
		if a := approval("approval of " + bobID); a.State != grants.Unknown {
			t.Errorf("RST-3: the action that was being performed is %s", a.State)
		}
		for _, userID := range []string{aliceID, bobID} {
			if all, err := store.OwnerAllowances(ctx, userID); err != nil || len(all) != 1 || all[0].ExpiresAt.After(time.Now()) {
				t.Errorf("RST-3: allowances %+v, %v", all, err)
			}
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_tokens`); n != 0 {
			t.Errorf("RST-1: %d tokens are kept", n)
		}

		f.decide(t, of(bobID), grants.Approved)
		c := f.Browser()
		f.For(t).MustSignIn(c, agents[bobID])
		if resp := f.get(t, "/me", f.Cookies(c)); resp.StatusCode != 200 {
			t.Errorf("RST-2: the agent that its owner has let in again: %d", resp.StatusCode)
		}
		if resp := f.get(t, "/me", bobs); resp.StatusCode != 401 {
			t.Errorf("RST-2: its session from before: %d", resp.StatusCode)
		}
		if reason := f.refused(t, agents[aliceID]); reason != string(problem.Suspended) {
			t.Errorf("RST-2: the other agent is refused for %s", reason)
		}
	})
}

// wantRestoreEvents checks that the trail has one event for each grant that was suspended, and one for each of two calls: RST-6.
func (d *database) wantRestoreEvents(t *testing.T, s *sqlstore.Store, suspended ...grants.Grant) {
	t.Helper()
	events, _, err := s.Events(t.Context(), sqlstore.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	of := make(map[string][]audit.Event)
	for _, e := range events {
		switch e.Name {
		case audit.Restored:
			calls = append(calls, e.Outcome+" "+e.Detail)
		case grants.EventSuspended:
			of[e.GrantID] = append(of[e.GrantID], e)
		}
	}
	want := []string{ // the latest first
		"ok grants: 0, approvals: 0, unknown: 0, allowances: 0, activity: 0, tokens: 0", "ok grants: 2, approvals: 1, unknown: 1, allowances: 2, activity: 2, tokens: 2",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("RST-6: the events of the calls: %q", calls)
	}
	for _, g := range suspended {
		all := of[g.ID]
		if len(all) != 1 {
			t.Errorf("RST-6: %d events of a grant that was suspended", len(all))
			continue
		}
		got := all[0]
		if time.Since(got.Time) > time.Minute {
			t.Errorf("RST-6: the event is of %v", got.Time)
		}
		got.Time = time.Time{}
		if want := (audit.Event{
			Name: grants.EventSuspended, Issuer: g.Agent.Issuer, Agent: g.Agent, UserID: g.UserID, GrantID: g.ID, Scenario: g.Scenario,
			Access: g.Access.String(), RemoteAddr: g.RequestedFrom, Detail: string(grants.CauseRestored), Outcome: audit.OK, Count: 1,
		}); got != want {
			t.Errorf("RST-6: event %+v, want %+v", got, want)
		}
	}
	byAgent, _, err := s.Events(t.Context(), sqlstore.EventQuery{Agent: suspended[0].Agent, Limit: 1000})
	if err != nil || !slices.ContainsFunc(byAgent, func(e audit.Event) bool { return e.Name == grants.EventSuspended }) {
		t.Errorf("RST-6: the events of the agent: %v, %+v", err, byAgent)
	}
}

// TestAfterRestoreMany_RST_4_RST_6: many rows are changed in batches, and an interruption leaves nothing that another call does
// not finish.
func TestAfterRestoreMany_RST_4_RST_6(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		d.fill(t, db, 1300, "grants", "approvals", "allowances", "activity", "tokens")
		d.must(t, db, `UPDATE authagent_approvals SET state = 'approved'`)
		later := time.Now().Add(time.Hour).UnixNano()
		for _, table := range []string{"grants", "approvals", "allowances"} {
			d.must(t, db, `UPDATE authagent_`+table+` SET expires_at = `+d.placeholder(1), later)
		}
		until := strconv.FormatInt(later, 10)
		interrupted, stop := context.WithTimeout(t.Context(), 15*time.Millisecond)
		defer stop()
		if _, err := s.AfterRestore(interrupted); err != nil && d.count(t, db, `SELECT COUNT(*) FROM authagent_events WHERE name = 'restored' AND outcome = 'failed'`) != 1 {
			t.Error("RST-6: the trail does not have the call that was interrupted")
		}
		if _, err := s.AfterRestore(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{
			`authagent_grants WHERE state = 'approved'`, `authagent_approvals WHERE expires_at >= ` + until,
			`authagent_allowances WHERE expires_at >= ` + until, `authagent_activity`, `authagent_tokens`,
		} {
			if n := d.count(t, db, `SELECT COUNT(*) FROM `+query); n != 0 {
				t.Errorf("RST-4: %d rows in %s", n, query)
			}
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_grants WHERE state = 'suspended' AND version = 2`); n != 867 {
			t.Errorf("RST-4: %d grants were suspended once, want 867", n)
		}
		of := `SELECT COUNT(DISTINCT grant_id) FROM authagent_events WHERE name = 'link_suspended' AND detail = 'restored'`
		if n, ids := d.count(t, db, strings.Replace(of, "DISTINCT grant_id", "*", 1)), d.count(t, db, of); n != 867 || ids != 867 {
			t.Errorf("RST-6: %d events of %d grants, want 867", n, ids)
		}
	})
}
