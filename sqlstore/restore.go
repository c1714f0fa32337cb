package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/memory"
)

// Restored says what [Store.AfterRestore] has ended, or what it would end ([Store.PreviewRestore]).
type Restored struct {
	Grants     int64 // that let agents in, and wait for their owners now
	Approvals  int64 // of single actions that waited or could have been performed
	Unknown    int64 // single actions that were being performed when the backup was made
	Allowances int64 // under which an agent could have acted without a question
	Activity   int64 // sessions that owners were shown
	Tokens     int64 // of sessions that were kept
}

const (
	stepRestore = "after restore"
	stepPreview = "preview restore"

	// restoreBatch is how many rows a statement changes.
	restoreBatch = 500

	// restoreKept is how long the end of all sessions is remembered: longer than any session lasts.
	restoreKept = 366 * 24 * time.Hour

	// restoreSkew is how far the clock of an instance may be behind this one's.
	restoreSkew = time.Hour
)

// What AfterRestore ends. It changes the rows so that these conditions no longer hold.
const (
	openGrants     = ` FROM authagent_grants WHERE state = 'approved' AND expires_at > ?`
	openApprovals  = ` FROM authagent_approvals WHERE state IN ('approved', 'pending') AND expires_at > ?`
	beingPerformed = ` FROM authagent_approvals WHERE state = 'reserved'`
	openAllowances = ` FROM authagent_allowances WHERE expires_at > ?`
	shownSessions  = ` FROM authagent_activity`
	keptTokens     = ` FROM authagent_tokens`

	suspendGrants = `UPDATE authagent_grants SET version = version + 1, state = 'suspended', cause = ?,
	cause_era = CASE WHEN sessions_from = ? THEN 0 ELSE sessions_from END WHERE state = 'approved' AND id IN (`
	endApprovals  = `UPDATE authagent_approvals SET version = version + 1, expires_at = ? WHERE state IN ('approved', 'pending') AND id IN (`
	leaveUnknown  = `UPDATE authagent_approvals SET version = version + 1, state = 'unknown' WHERE state = 'reserved' AND id IN (`
	endAllowances = `UPDATE authagent_allowances SET version = version + 1, expires_at = ? WHERE expires_at > ? AND id IN (`
)

var findOpenGrants = `SELECT ` + reading(grantColumns, "name", "model") + openGrants + ` ORDER BY state, expires_at LIMIT ?`

// PreviewRestore says how much [Store.AfterRestore] would end, and changes nothing.
func (s *Store) PreviewRestore(ctx context.Context) (Restored, error) {
	var would Restored
	was := nanos(time.Now().Add(-restoreSkew))
	for _, open := range []struct {
		count *int64
		from  string
		by    []any
	}{
		{&would.Grants, openGrants, []any{was}}, {&would.Approvals, openApprovals, []any{was}}, {&would.Unknown, beingPerformed, nil},
		{&would.Allowances, openAllowances, []any{was}}, {&would.Activity, shownSessions, nil}, {&would.Tokens, keptTokens, nil},
	} {
		if _, err := s.row(ctx, stepPreview, `SELECT COUNT(*)`+open.from, open.by, open.count); err != nil {
			return would, err
		}
	}
	return would, nil
}

// AfterRestore ends all that a backup brings back to life which was ended after it was made. Call it after the
// tables were restored and migrated, and before an instance of the site starts.
//
//   - All sessions end, and access tokens that were issued before are not taken any more: there is a new mark in
//     Revocations. If Config.Revocations of the site is another store, that has no effect: set a new
//     Config.Session.Epoch, which ends the sessions that the site itself has begun, and no access token.
//   - Each grant that lets an agent in is suspended, with the cause grants.CauseRestored, until its owner lets the
//     agent in again. Until then, the agent gets problem.Suspended.
//   - A single action that waits, or was approved and not yet performed, has expired: the agent has to ask again. One
//     that was being performed when the backup was made is unknown, until its owner says what became of it.
//   - Allowances have expired, since nobody knows what was taken of them.
//   - Tokens that are kept are deleted. They stay good at the server.
//
// The audit trail in the same tables gets an event for each grant that is suspended (grants.EventSuspended), with
// the grant or not at all, and one for the call (audit.Restored). No owner gets a notice.
//
// It only ever tightens, so it can be called again, such as after an error; but then it also suspends what owners
// have let in since. It does not repeat decisions about rules, links and accounts: see docs/backup.md.
func (s *Store) AfterRestore(ctx context.Context) (Restored, error) {
	done, err := s.afterRestore(ctx)
	e := restoreEvent(audit.Event{Name: audit.Restored, Detail: done.detail()})
	if err != nil {
		e.Outcome = audit.Failed
	}
	_, told := s.exec(context.WithoutCancel(ctx), stepRestore, insertEvent, eventValues(e)...)
	if err == nil {
		err = told
	}
	return done, err
}

// detail is what the event of a call says.
func (r Restored) detail() string {
	return fmt.Sprintf("grants: %d, approvals: %d, unknown: %d, allowances: %d, activity: %d, tokens: %d", r.Grants, r.Approvals, r.Unknown, r.Allowances, r.Activity, r.Tokens)
}

// restoreEvent completes an event of this call.
func restoreEvent(e audit.Event) audit.Event {
	e.Time, e.Count, e.Outcome = time.Now().UTC(), 1, audit.OK
	return e
}

func (s *Store) afterRestore(ctx context.Context) (Restored, error) {
	var done Restored
	now := time.Now()
	if err := s.Revocations().Revoke(ctx, memory.Site, memory.NewMark(now), now.Add(restoreKept)); err != nil {
		return done, err
	}
	was := nanos(now.Add(-restoreSkew)) // what was good until then is over by every clock
	if err := s.suspendAll(ctx, &done.Grants, was); err != nil {
		return done, err
	}
	for _, step := range []struct {
		count  *int64
		find   string
		by     []any
		change string
		with   []any
	}{
		{&done.Approvals, openApprovals, []any{was}, endApprovals, []any{was}},
		{&done.Unknown, beingPerformed, nil, leaveUnknown, nil},
		{&done.Allowances, openAllowances, []any{was}, endAllowances, []any{was, was}},
	} {
		if err := s.changeAll(ctx, step.count, `SELECT id`+step.find+` ORDER BY expires_at LIMIT ?`, step.by, step.change, step.with); err != nil {
			return done, err
		}
	}
	for _, table := range []struct {
		count *int64
		from  string
	}{
		{&done.Activity, shownSessions}, {&done.Tokens, keptTokens},
	} {
		if err := s.deleteAll(ctx, table.count, table.from); err != nil {
			return done, err
		}
	}
	return done, nil
}

// suspendAll suspends all grants that let agents in, in batches, and counts them.
func (s *Store) suspendAll(ctx context.Context, count *int64, was int64) error {
	for unchanged := ""; ; {
		batch, err := list(ctx, s, stepRestore, findOpenGrants, []any{was, restoreBatch}, grantDest)
		if err != nil || len(batch) == 0 {
			return err
		}
		changed, err := s.suspend(ctx, batch)
		if err == nil && !changed && batch[0].ID == unchanged { // and no other call has changed them
			err = fmt.Errorf("sqlstore: %s: the database has not changed all of %d rows, from %q on", stepRestore, len(batch), unchanged)
		}
		if err != nil {
			return err
		}
		if unchanged = batch[0].ID; changed {
			*count += int64(len(batch))
		}
	}
}

// suspend suspends grants and writes the event of each, in one transaction, so that no grant is suspended without
// an event, and none has a second one. If another call was faster at one of them, it changes none.
func (s *Store) suspend(ctx context.Context, batch []grants.Grant) (changed bool, err error) {
	ids, events := make([]any, len(batch)), []any(nil)
	for i, g := range batch {
		ids[i] = g.ID
		events = append(events, eventValues(restoreEvent(audit.Event{
			Name: grants.EventSuspended, Issuer: g.Agent.Issuer, Agent: g.Agent, UserID: g.UserID, GrantID: g.ID, Scenario: g.Scenario,
			Access: g.Access.String(), RemoteAddr: g.RequestedFrom, Detail: string(grants.CauseRestored), // as the Policy writes it
		}))...)
	}
	update, updateArgs := s.bind(in(suspendGrants, ids), append([]any{string(grants.CauseRestored), int64(math.MinInt64)}, ids...))
	insert, insertArgs := s.bind(insertMany(insertEvent, len(batch)), events)
	err = s.run(ctx, stepRestore, func(ctx context.Context, q querier) error {
		tx, err := s.begin(ctx, q)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		result, err := tx.ExecContext(ctx, update, updateArgs...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if changed = err == nil && n == int64(len(batch)); !changed {
			return err
		}
		if _, err := tx.ExecContext(ctx, insert, insertArgs...); err != nil {
			return err
		}
		return tx.Commit()
	})
	return changed, err
}

// insertMany returns an insertInto for several rows.
func insertMany(insert string, rows int) string {
	_, row, _ := strings.Cut(insert, " VALUES ")
	return insert + strings.Repeat(", "+row, rows-1)
}

// changeAll changes all rows that a query finds, in batches, and counts them.
func (s *Store) changeAll(ctx context.Context, count *int64, find string, by []any, change string, with []any) error {
	for unchanged := ""; ; {
		ids, err := list(ctx, s, stepRestore, find, append(by[:len(by):len(by)], restoreBatch), func(id *string) []any { return []any{id} })
		if err != nil || len(ids) == 0 {
			return err
		}
		all := anyOf(ids)
		n, err := s.exec(ctx, stepRestore, in(change, all), append(with[:len(with):len(with)], all...)...)
		*count += n
		if err == nil && n == 0 && ids[0] == unchanged { // and no other call has changed them: a trigger of the site, for instance
			err = fmt.Errorf("sqlstore: %s: the database has not changed row %q", stepRestore, ids[0])
		}
		if err != nil {
			return err
		}
		if unchanged = ""; n == 0 {
			unchanged = ids[0]
		}
	}
}

// deleteAll deletes all rows of a table of sessions, in batches, and counts them.
func (s *Store) deleteAll(ctx context.Context, count *int64, from string) error {
	for {
		ids, err := list(ctx, s, stepRestore, `SELECT session_id`+from+` LIMIT ?`, []any{restoreBatch}, func(id *string) []any { return []any{id} })
		if err != nil || len(ids) == 0 {
			return err
		}
		args := anyOf(ids)
		n, err := s.exec(ctx, stepRestore, in(`DELETE`+from+` WHERE session_id IN (`, args), args...)
		*count += n
		if err != nil {
			return err
		}
	}
}
