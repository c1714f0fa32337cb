package sqlstore

import (
	"context"
	"time"
)

// States is an [authagent.StateStore]. An ID has at most 255 bytes. A state
// stays used until DeleteExpired removes its record.
type States struct{ s *Store }

// States returns the store of used states.
func (s *Store) States() *States { return &States{s} }

const insertState = `INSERT INTO authagent_states (id, expires_at) VALUES (?, ?)`

// UseState implements [authagent.StateStore].
func (t *States) UseState(ctx context.Context, id string, until time.Time) (first bool, err error) {
	const step = "use state"
	if err := checkFields(step, field{"state ID", id, maxID}); err != nil {
		return false, err
	}
	inserted, err := t.s.exec(ctx, step, t.s.engine.insertNew(insertState), id, nanos(until))
	return inserted == 1, err
}
