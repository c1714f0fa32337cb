package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/authagent-go/authagent/grants"
)

// expiring are the tables whose rows go some time after the one in a column, those of a
// state and for which a condition holds.
var expiring = [...]struct {
	table, key, state, time string
	kept                    time.Duration
	and                     string
}{
	{"authagent_states", "id", "", "expires_at", 0, ""},
	{"authagent_revocations", "revocation_key", "", "expires_at", 0, ""},
	{"authagent_tokens", "session_id", "", "expires_at", 0, ""},
	{"authagent_sessions", "session_key", "", "expires_at", 0, ""},
	{"authagent_approvals", "id", "", "expires_at", 0, ""},
	{"authagent_activity", "session_id", "", "expires_at", 0, ""},
	{"authagent_deeds", "id", "", "happened_at", 90 * 24 * time.Hour, ""},
	{"authagent_grants", "id", string(grants.Pending), "expires_at", 24 * time.Hour, "decided_at < 0"}, // never
	{"authagent_grants", "id", string(grants.Pending), "expires_at", 366 * 24 * time.Hour, ""},
}

// DeleteExpired removes what has expired: used states, revocations, tokens,
// sessions, approvals of single actions, and what was recorded of agents'
// sessions; also deeds after 90 days, and requests for a grant that nobody has
// decided a day after they have expired, which is when no limit counts them any
// more. It returns how many rows that were.
//
// A grant that an owner has decided about stays, in whatever state and however
// old: one that was denied or revoked would be asked for anew if it were
// forgotten, and which approval has run out is for its owner to see. One that the agent
// has asked for anew since stays for 366 days more: for a year it keeps its agent from
// other accounts. The networks that a grant was used from stay, without which the next
// use would seem to be its first. Rules stay as well.
//
// It removes at most batch rows in one statement, so that requests are never held
// up for long; 0 means 1000. Call it every few minutes, at one instance or at all.
func (s *Store) DeleteExpired(ctx context.Context, batch int) (deleted int64, err error) {
	for _, e := range expiring {
		n, err := s.deleteBefore(ctx, s.dialect.deleteBatch(e.table, e.key, e.state, e.time, e.and), time.Now().Add(-e.kept), batch)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// DeleteEvents removes the events of the audit trail that happened before a
// time, for a site that may not keep them for ever, as DeleteExpired does.
func (s *Store) DeleteEvents(ctx context.Context, before time.Time, batch int) (deleted int64, err error) {
	return s.deleteBefore(ctx, s.dialect.deleteBatch("authagent_events", "id", "", "happened_at", ""), before, batch)
}

func (s *Store) deleteBefore(ctx context.Context, query string, before time.Time, batch int) (deleted int64, err error) {
	if batch < 0 {
		return 0, fmt.Errorf("sqlstore: delete expired rows: batch %d is negative", batch)
	}
	if batch == 0 {
		batch = 1000
	}
	for {
		n, err := s.exec(ctx, "delete expired rows", query, nanos(before), batch)
		deleted += n
		if err != nil || n < int64(batch) {
			return deleted, err
		}
	}
}
