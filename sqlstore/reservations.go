package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
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

// Use records in tx, a transaction of the site, that the action of r is performed. The record
// and all else in tx are committed together, or neither is. So even if the process ends in
// between, it is known whether the action was performed. A handler finds r with
// [action.ReservationFrom]. If r is nil, no agent acts, and Use does nothing. Call NothingDone of
// r before: then what was reserved is given back if the handler returns before Use. Once Use was
// called, the transaction decides.
//
// If Use returns an error, roll tx back, and do not perform the action. The error is
// authagent.ErrConflict if r was used before, or was found to be unused: then nobody can use
// it any more. If tx is REPEATABLE READ or SERIALIZABLE, the engine may end it with an error
// of its own instead.
//
// tx must be in the database of the Store; it may be of another pool. Call Use before the
// rest of the action, and do not roll back to a savepoint from before that call: such a
// rollback removes the record, and tx can still be committed. Keep tx short: until it ends,
// nobody is told whether the action was performed. Config.Timeout bounds the call.
func (t *Grants) Use(ctx context.Context, tx *sql.Tx, r *action.Reservation) error {
	if r == nil {
		return nil
	}
	r.UseInTransaction() // also if it fails: then the transaction is rolled back, and so it is settled
	const step = "use reservation"
	if err := checkReservation(step, r.ID); err != nil {
		return err
	}
	if tx == nil {
		return fmt.Errorf("sqlstore: %s: there is no transaction", step)
	}
	s := t.s
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.ready(ctx, tx); err != nil { // by the same connection: the pool may have no other
		return s.named(step, err)
	}
	query, args := s.bind(s.engine.insertNew(insertReservation), reservationRow(r.ID, 1))
	result, err := tx.ExecContext(ctx, query, args...) // not again: most engines end the transaction when it fails
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
// neither committed nor rolled back, it waits, at most Config.Timeout. After an error, ask
// again: it may have settled the reservation all the same.
//
// How a reservation has ended is known for 60 days. An unused one that is older could be
// used again, by a process that has kept it so long.
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
