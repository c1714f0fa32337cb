package sqlstore

import (
	"context"
	"strings"
	"time"
)

// Revocations is an [authagent.RevocationStore]. Keys may be of any length.
// Times are kept to the nanosecond.
type Revocations struct{ s *Store }

// Revocations returns the store of what was ended before its time.
func (s *Store) Revocations() *Revocations { return &Revocations{s} }

const (
	insertRevocation = `INSERT INTO authagent_revocations (revocation_key, subject, revoked_at, expires_at) VALUES (?, ?, ?, ?)`
	countRevocations = `SELECT COUNT(*) FROM authagent_revocations WHERE revoked_at >= ? AND revocation_key IN (?`
)

// Revoke implements [authagent.RevocationStore]. Of several calls for one key
// the latest times count, whatever their order.
func (v *Revocations) Revoke(ctx context.Context, subject string, at, until time.Time) error {
	raise := v.s.dialect.raise(insertRevocation, "authagent_revocations", "revocation_key", "revoked_at", "expires_at")
	_, err := v.s.exec(ctx, "revoke", raise, key(subject), clean(subject, maxText), nanos(at), nanos(until))
	return err
}

// Revoked implements [authagent.RevocationStore].
func (v *Revocations) Revoked(ctx context.Context, subjects []string, started time.Time) (bool, error) {
	if len(subjects) == 0 {
		return false, nil
	}
	args := make([]any, 1, 1+len(subjects))
	args[0] = nanos(started)
	for _, subject := range subjects {
		args = append(args, key(subject))
	}
	var n int
	_, err := v.s.row(ctx, "look for revocations", countRevocations+strings.Repeat(", ?", len(subjects)-1)+")", args, &n)
	return n > 0, err
}
