package sqlstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/memory"
)

// Restored says what [Store.AfterRestore] has ended.
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

	// restoreBatch is how many rows a statement changes.
	restoreBatch = 500

	// restoreKept is how long the end of all sessions is remembered: longer than any session lasts.
	restoreKept = 366 * 24 * time.Hour

	// restoreSkew is how far the clock of an instance may be behind this one's.
	restoreSkew = time.Hour
)

// Each statement changes rows so that the query before it does not find them again.
const (
	openGrants    = `SELECT id FROM authagent_grants WHERE state = 'approved' AND expires_at > ? ORDER BY state, expires_at LIMIT ?`
	suspendGrants = `UPDATE authagent_grants SET version = version + 1, state = 'suspended', cause = ?,
	cause_era = CASE WHEN sessions_from = ? THEN 0 ELSE sessions_from END WHERE state = 'approved' AND id IN (`
	openApprovals  = `SELECT id FROM authagent_approvals WHERE state IN ('approved', 'pending') AND expires_at > ? ORDER BY expires_at LIMIT ?`
	endApprovals   = `UPDATE authagent_approvals SET version = version + 1, expires_at = ? WHERE state IN ('approved', 'pending') AND id IN (`
	beingPerformed = `SELECT id FROM authagent_approvals WHERE state = 'reserved' ORDER BY expires_at LIMIT ?`
	leaveUnknown   = `UPDATE authagent_approvals SET version = version + 1, state = 'unknown' WHERE state = 'reserved' AND id IN (`
	openAllowances = `SELECT id FROM authagent_allowances WHERE expires_at > ? ORDER BY expires_at LIMIT ?`
	endAllowances  = `UPDATE authagent_allowances SET version = version + 1, expires_at = ? WHERE expires_at > ? AND id IN (`
)

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
// It only ever tightens, so it can be called again, such as after an error; but then it also suspends what owners
// have let in since. It does not repeat decisions about rules, links and accounts: see docs/backup.md.
func (s *Store) AfterRestore(ctx context.Context) (Restored, error) {
	var done Restored
	now := time.Now()
	if err := s.Revocations().Revoke(ctx, memory.Site, memory.NewMark(now), now.Add(restoreKept)); err != nil {
		return done, err
	}
	was, over := nanos(now.Add(-restoreSkew)), nanos(now.Add(-restoreSkew))
	for _, step := range []struct {
		count  *int64
		find   string
		by     []any
		change string
		with   []any
	}{
		{&done.Grants, openGrants, []any{was}, suspendGrants, []any{string(grants.CauseRestored), int64(math.MinInt64)}},
		{&done.Approvals, openApprovals, []any{was}, endApprovals, []any{over}},
		{&done.Unknown, beingPerformed, nil, leaveUnknown, nil},
		{&done.Allowances, openAllowances, []any{was}, endAllowances, []any{over, was}},
	} {
		if err := s.changeAll(ctx, step.count, step.find, step.by, step.change, step.with); err != nil {
			return done, err
		}
	}
	for _, table := range []struct {
		count     *int64
		name, key string
	}{
		{&done.Activity, "authagent_activity", "session_id"},
		{&done.Tokens, "authagent_tokens", "session_id"},
	} {
		if err := s.deleteAll(ctx, table.count, table.name, table.key); err != nil {
			return done, err
		}
	}
	return done, nil
}

// changeAll changes all rows that a query finds, in batches, and counts them.
func (s *Store) changeAll(ctx context.Context, count *int64, find string, by []any, change string, with []any) error {
	for unchanged := ""; ; {
		ids, err := list(ctx, s, stepRestore, find, append(by[:len(by):len(by)], restoreBatch), func(id *string) []any { return []any{id} })
		if err != nil || len(ids) == 0 {
			return err
		}
		args := with[:len(with):len(with)]
		for _, id := range ids {
			args = append(args, id)
		}
		n, err := s.exec(ctx, stepRestore, in(change, args[len(with):]), args...)
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

// deleteAll deletes all rows of a table, in batches, and counts them.
func (s *Store) deleteAll(ctx context.Context, count *int64, table, key string) error {
	for {
		ids, err := list(ctx, s, stepRestore, `SELECT `+key+` FROM `+table+` LIMIT ?`, []any{restoreBatch}, func(id *string) []any { return []any{id} })
		if err != nil || len(ids) == 0 {
			return err
		}
		args := make([]any, len(ids))
		for i, id := range ids {
			args[i] = id
		}
		n, err := s.exec(ctx, stepRestore, in(`DELETE FROM `+table+` WHERE `+key+` IN (`, args), args...)
		*count += n
		if err != nil {
			return err
		}
	}
}
