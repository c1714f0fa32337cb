package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// An expiry names rows of a table that are deleted some time after the one in a column.
type expiry struct {
	table, key string
	state      string        // only rows in this state; empty for any
	time       string        // the column
	kept       time.Duration // after the time in it
	and        string        // only rows for which this holds; empty for all
}

var expiries = [...]expiry{
	{table: "authagent_states", key: "id", time: "expires_at"},
	{table: "authagent_revocations", key: "revocation_key", time: "expires_at"},
	{table: "authagent_tokens", key: "session_id", time: "expires_at"},
	{table: "authagent_sessions", key: "session_key", time: "expires_at"},
	{table: "authagent_approvals", key: "id", time: "expires_at"},
	{table: "authagent_allowances", key: "id", time: "expires_at", kept: 90 * 24 * time.Hour},
	{table: "authagent_reservations", key: "id", time: "expires_at"},
	{table: "authagent_limits", key: "limit_key", time: "whole_at", kept: time.Hour}, // whose time is the database's, not this clock's
	{table: "authagent_activity", key: "session_id", time: "expires_at"},
	{table: "authagent_deeds", key: "id", time: "happened_at", kept: 90 * 24 * time.Hour},
	// Requests that were never decided, and those that followed a decision.
	{table: "authagent_grants", key: "id", state: string(grants.Pending), time: "expires_at", kept: 24 * time.Hour, and: "decided_at < 0"},
	{table: "authagent_grants", key: "id", state: string(grants.Pending), time: "expires_at", kept: 366 * 24 * time.Hour},
}

// where is the condition of rows whose time is not before one argument and before another one, in the order of their time.
func (e expiry) where() string {
	where, order := e.time+` >= ? AND `+e.time+` < ?`, e.time
	if e.state != "" { // in the order of the index, or MySQL sorts
		where, order = `state = '`+e.state+`' AND `+where, `state, `+order
	}
	if e.and != "" {
		where += ` AND ` + e.and
	}
	return ` WHERE ` + where + ` ORDER BY ` + order + ` LIMIT `
}

// deleteBatch returns the statement that deletes the oldest of these rows, and at most as many as its third argument.
func (e expiry) deleteBatch(on engine) string {
	return on.deleteOldest(e.table, e.key, e.where()+`?`)
}

// oldest returns the query for the time of the oldest of these rows.
func (e expiry) oldest() string { return `SELECT ` + e.time + ` FROM ` + e.table + e.where() + `1` }

// DeleteExpired removes rows that have expired, and returns how many:
//
//   - used states, revocations, tokens, sessions, approvals of single actions, and the
//     activity of agents' sessions;
//   - deeds after 90 days, and allowances 90 days after they have expired;
//   - what is known of a reservation, after 60 days;
//   - budgets of limits, an hour after they are whole again;
//   - a request for a grant that its owner has not decided, one day after it has expired.
//     Until then it counts against the limits on requests;
//   - such a request for a grant that its owner has decided before, 366 days after it has
//     expired. For a year, it keeps its agent from other accounts.
//
// A grant that its owner has decided stays, in every state: if a denied or revoked grant
// were forgotten, its agent would ask again, and owners see which of their approvals have
// expired. The networks that a grant was used from stay; without them, the next use would
// be reported as the first. Rules stay.
//
// It removes at most batch rows in one statement, so that requests are never held
// up for long; 0 means 1000. Call it every few minutes, at one instance or at all.
func (s *Store) DeleteExpired(ctx context.Context, batch int) (deleted int64, err error) {
	for _, e := range expiries {
		n, err := s.deleteBefore(ctx, e, time.Now().Add(-e.kept), batch)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// DeleteEvents removes the events of the audit trail that happened before a time, in
// batches as DeleteExpired does. It is for a site that may not keep them forever.
func (s *Store) DeleteEvents(ctx context.Context, before time.Time, batch int) (deleted int64, err error) {
	events := expiry{table: "authagent_events", key: "id", time: "happened_at"}
	return s.deleteBefore(ctx, events, before, batch)
}

// deleteBefore begins each batch where the one before has ended. The index still leads to rows that were deleted, at
// PostgreSQL as long as a backup or another long transaction runs. To pass over all of them in each batch would take longer
// and longer.
//
// Where one statement writes at a time, it then waits as long as the batch took. Others who look from time to time whether
// they may write would else find each time that the next batch is under way.
func (s *Store) deleteBefore(ctx context.Context, e expiry, before time.Time, batch int) (deleted int64, err error) {
	const step = "delete expired rows"
	if batch < 0 {
		return 0, fmt.Errorf("sqlstore: %s: batch %d is negative", step, batch)
	}
	batch = cmp.Or(batch, 1000)
	from, until := int64(math.MinInt64), nanos(before)
	for more := true; more; {
		start := time.Now()
		n, err := s.exec(ctx, step, e.deleteBatch(s.engine), from, until, batch)
		deleted += n
		if err != nil || n < int64(batch) {
			return deleted, err
		}
		if s.engine.oneWriter() {
			select {
			case <-ctx.Done(): // the next statement says so
			case <-time.After(time.Since(start)):
			}
		}
		if more, err = s.row(ctx, step, e.oldest(), []any{from, until}, &from); err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}
