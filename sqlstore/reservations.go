package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
)

// A row says how a reservation has ended. Nothing changes a row, so whoever inserts it
// decides: a transaction of the site, or Settle.
const settledReservation = `SELECT used FROM authagent_reservations WHERE id = ?`

var insertReservation = insertInto("authagent_reservations", "id, used, expires_at")

// keptReservation is how long it is known how a reservation has ended.
const keptReservation = 60 * 24 * time.Hour

func reservationRow(id string, used int) []any {
	return []any{id, used, nanos(time.Now().Add(keptReservation))}
}

func checkReservation(step, id string) error {
	if id == "" {
		return fmt.Errorf("sqlstore: %s: the reservation has no ID", step)
	}
	return checkFields(step, field{"reservation ID", id, maxID})
}

// Use records in a transaction of the site that the reservation with this ID is used.
// The record and all else in the transaction are committed together, or neither is. So
// even if the process ends in between, the package knows whether the action was
// performed.
//
// If Use returns an error, roll the transaction back. The error is authagent.ErrConflict
// if the reservation was used before, or was found to be unused and can never be used
// again. A transaction that is REPEATABLE READ or SERIALIZABLE can fail with the
// engine's own error for such transactions instead.
//
// tx must be a transaction in the Store's own database, of any pool. Call Use first in
// it, and do not roll back to a savepoint from before: what such a rollback leaves would
// be committed without the record. Until tx ends, nobody else learns how the reservation
// has ended; keep it short.
func (t *Grants) Use(ctx context.Context, tx *sql.Tx, id string) error {
	const step = "use reservation"
	if err := checkReservation(step, id); err != nil {
		return err
	}
	if tx == nil {
		return fmt.Errorf("sqlstore: %s: there is no transaction", step)
	}
	s := t.s
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	query, args := s.bind(s.engine.insertNew(insertReservation), reservationRow(id, 1))
	err := s.ready(ctx, tx) // by the same connection: the pool may have no other
	if err != nil {
		return s.named(step, err)
	}
	result, err := tx.ExecContext(ctx, query, args...) // once: most engines end the transaction when it fails
	if err != nil {
		return s.named(step, err)
	}
	inserted, err := result.RowsAffected()
	if err == nil && inserted != 1 {
		err = fmt.Errorf("it was used or settled before: %w", authagent.ErrConflict)
	}
	if err != nil {
		return s.named(step, err)
	}
	return nil
}

// Settle implements [grants.Settler]. While a transaction that has used the reservation is
// neither committed nor rolled back, it waits, at most Config.Timeout.
func (t *Grants) Settle(ctx context.Context, id string) (used bool, err error) {
	const step = "settle reservation"
	if err := checkReservation(step, id); err != nil {
		return false, err
	}
	// The INSERT comes first. It waits for a transaction that has inserted the row. A
	// SELECT does not, and may read what is not committed (READ UNCOMMITTED).
	inserted, err := t.s.exec(ctx, step, t.s.engine.insertNew(insertReservation), reservationRow(id, 0)...)
	if err != nil || inserted == 1 {
		return false, err
	}
	found, err := t.s.row(ctx, step, settledReservation, []any{id}, &used)
	if err == nil && !found {
		err = fmt.Errorf("sqlstore: %s: %w", step, errors.New("its row was deleted in between"))
	}
	if err != nil {
		return false, err
	}
	return used, nil
}
