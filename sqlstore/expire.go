package sqlstore

import (
	"context"
	"fmt"
	"time"
)

// expiring are the tables that have an expires_at, and their keys.
var expiring = [...]struct{ table, key string }{
	{"authagent_states", "id"},
	{"authagent_revocations", "revocation_key"},
	{"authagent_tokens", "session_id"},
	{"authagent_sessions", "session_key"},
}

// DeleteExpired removes used states, revocations, tokens and sessions that have
// expired, and returns how many rows that were. It removes at most batch rows in
// one statement, so that requests are never held up for long; 0 means 1000. Call
// it every few minutes, at one instance or at all.
func (s *Store) DeleteExpired(ctx context.Context, batch int) (deleted int64, err error) {
	for _, e := range expiring {
		n, err := s.deleteBefore(ctx, s.dialect.deleteBatch(e.table, e.key, "expires_at"), time.Now(), batch)
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
	return s.deleteBefore(ctx, s.dialect.deleteBatch("authagent_events", "id", "happened_at"), before, batch)
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
