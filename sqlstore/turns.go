package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent/grants"
)

const (
	insertTurn = `INSERT INTO authagent_turns (turn_key) VALUES (?)`

	// deleteTurn removes what is left of an account's turns: turnKey of its ID. It waits for a
	// turn that is under way.
	deleteTurn = `DELETE FROM authagent_turns WHERE turn_key = ?`
)

// turnKey is what the turns of an account are locked by.
func turnKey(userID string) []byte { return key("turn", userID) }

// A turn is a transaction that all calls of a Store belong to.
type turn struct {
	tx     *sql.Tx
	failed error // the first that a statement returned
}

// send sends one statement, once: most engines end a transaction in which one has failed.
func (t *turn) send(ctx context.Context, statement func(context.Context, querier) error) error {
	if t.failed != nil {
		return fmt.Errorf("an earlier statement of the transaction has failed: %w", t.failed)
	}
	t.failed = statement(ctx, t.tx)
	return t.failed
}

// InTurn implements [grants.TurnTaker]. The turn is a transaction that holds the lock of the
// account's row in the table authagent_turns. If the process ends, its connection ends, and with it the turn.
//
// If do or a call of its store returns an error, nothing of the turn is left. If the engine undoes the
// transaction in favour of another one, do is called again. Config.Timeout bounds all of it, with the wait for
// the turn. At SQLite, nobody else can write during a turn.
func (t *Grants) InTurn(ctx context.Context, userID string, do func(context.Context, grants.Store) error) error {
	const step = "take turn"
	s := t.s
	if s.turn != nil {
		return fmt.Errorf("sqlstore: %s: %w", step, errors.New("there is a turn within a turn"))
	}
	var refused error // by do
	err := s.run(ctx, step, func(ctx context.Context, q querier) (err error) {
		refused, err = s.inTurn(ctx, q, userID, do)
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

// inTurn calls do in one transaction. refused is do's own error; err is one of the database.
func (s *Store) inTurn(ctx context.Context, q querier, userID string, do func(context.Context, grants.Store) error) (refused, err error) {
	tx, err := s.begin(ctx, q)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // also if do panics
	t := &turn{tx: tx}
	lock, args := s.bind(s.engine.lockTurn(upsert(s.engine, insertTurn, "turn_key", "turn_key")), []any{turnKey(userID)})
	if _, err := tx.ExecContext(ctx, lock, args...); err != nil {
		return nil, err
	}
	refused = do(ctx, &Grants{s.within(t)})
	switch {
	case t.failed != nil: // whatever do has made of it
		return nil, t.failed
	case refused != nil:
		return refused, nil
	}
	return nil, tx.Commit()
}

// begin begins a transaction by what run has passed on.
func (s *Store) begin(ctx context.Context, q querier) (*sql.Tx, error) {
	return q.(interface {
		BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
	}).BeginTx(ctx, &sql.TxOptions{Isolation: s.engine.turnIsolation()})
}

// within returns a Store whose calls belong to a turn.
func (s *Store) within(t *turn) *Store {
	return &Store{
		db: s.db, engine: s.engine, prefix: s.prefix, migrations: s.migrations, timeout: s.timeout, logger: s.logger, queries: s.queries, turn: t,
	}
}
