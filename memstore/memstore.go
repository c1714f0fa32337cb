// Package memstore has the stores of package authagent in the memory of one
// process: for examples, tests and development. What they hold is gone when the
// process ends, and other instances of the site do not see it. Those of grants, profiles,
// tokens and users have no bound.
//
// All types are ready as their zero value and safe for concurrent use.
package memstore

import (
	"context"
	"time"

	"github.com/authagent-go/authagent/internal/memory"
)

// States is an [authagent.StateStore].
type States struct{ states memory.States }

// UseState implements [authagent.StateStore].
func (s *States) UseState(ctx context.Context, id string, until time.Time) (first bool, err error) {
	return s.states.UseState(ctx, id, until)
}

// Revocations is an [authagent.RevocationStore].
type Revocations struct{ revocations memory.Revocations }

// Revoke implements [authagent.RevocationStore].
func (s *Revocations) Revoke(ctx context.Context, key, mark string, until time.Time) error {
	return s.revocations.Revoke(ctx, key, mark, until)
}

// Marks implements [authagent.RevocationStore].
func (s *Revocations) Marks(ctx context.Context, keys []string) ([]string, error) {
	return s.revocations.Marks(ctx, keys)
}
