package sqlstore

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/stores"
)

// Revocations is an [authagent.RevocationStore]. Keys may be of any length.
type Revocations struct{ s *Store }

// Revocations returns the store of sessions that were ended before they expired.
func (s *Store) Revocations() *Revocations { return &Revocations{s} }

const (
	insertRevocation  = `INSERT INTO authagent_revocations (revocation_key, subject, revoked_at, expires_at, mark) VALUES (?, ?, ?, ?, ?)`
	selectRevocations = `SELECT revocation_key, mark, revoked_at FROM authagent_revocations WHERE revocation_key IN (?`
)

// Revoke implements [authagent.RevocationStore].
func (v *Revocations) Revoke(ctx context.Context, subject, mark string, until time.Time) error {
	const step = "revoke"
	if err := checkFields(step, field{"mark", mark, maxMark}); err != nil {
		return err
	}
	// Programs before version 4 of the schema decide by the time alone.
	replace := raise(v.s.engine, insertRevocation, "authagent_revocations", "revocation_key", "revoked_at", "expires_at") + ", mark = " + v.s.engine.proposed("mark")
	_, err := v.s.exec(ctx, step, replace, key(subject), clean(marks.Shown(subject), maxText), nanos(time.Now()), nanos(until), mark)
	return err
}

// maxMark is the length of a mark's column, in bytes.
const maxMark = 64

// A revocation is a row of the table.
type revocation struct {
	key  []byte
	mark string
	at   int64
}

// Marks implements [authagent.RevocationStore]. The time of the row is part of each
// mark that it returns, because a program from before version 4 of the schema changes
// only that time.
func (v *Revocations) Marks(ctx context.Context, subjects []string) ([]string, error) {
	found := make([]string, len(subjects))
	if len(subjects) == 0 {
		return found, nil
	}
	args := make([]any, len(subjects))
	for i, subject := range subjects {
		args[i] = key(subject)
	}
	rows, err := v.rows(ctx, subjects, args)
	for _, r := range rows {
		for i := range subjects {
			if bytes.Equal(args[i].([]byte), r.key) {
				found[i] = r.mark + "." + strconv.FormatInt(r.at, 36)
			}
		}
	}
	return found, err
}

func (v *Revocations) rows(ctx context.Context, subjects []string, keys []any) ([]revocation, error) {
	ahead, err := take(ctx, v.s, func(e stores.Expected) bool { return slices.Equal(e.Keys, subjects) }, func(f *foundAhead) **[]revocation { return &f.revoked })
	switch {
	case err != nil:
		return nil, err
	case ahead != nil:
		return *ahead, nil
	}
	return list(ctx, v.s, "look for revocations", selectRevocations+strings.Repeat(", ?", len(keys)-1)+")", keys,
		func(r *revocation) []any { return []any{&r.key, &r.mark, &r.at} })
}
