package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/authagent-go/authagent"
)

// querier is a *sql.DB, *sql.Conn or *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// query returns a statement of this package as the engine takes it, with the site's
// prefix.
func (s *Store) query(text string) string {
	if done, ok := s.queries.Load(text); ok {
		return done.(string)
	}
	done := s.engine.statement(strings.ReplaceAll(text, defaultPrefix, s.prefix))
	s.queries.Store(text, done)
	return done
}

// bind returns a statement of this package with its arguments as they are sent.
func (s *Store) bind(text string, args []any) (string, []any) {
	return s.engine.bind(s.query(text), args)
}

// exec runs one statement that is a transaction of its own, and returns how many
// rows it has changed.
func (s *Store) exec(ctx context.Context, step, query string, args ...any) (changed int64, err error) {
	query, args = s.bind(query, args)
	err = s.run(ctx, step, func(ctx context.Context, q querier) error {
		result, err := q.ExecContext(ctx, query, args...)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

// replace is exec for a statement that replaces the row of an ID and version. Without one, it
// returns authagent.ErrConflict.
func (s *Store) replace(ctx context.Context, step, query string, args ...any) error {
	changed, err := s.exec(ctx, step, query, args...)
	if err == nil && changed == 0 {
		return authagent.ErrConflict
	}
	return err
}

// row reads one row into dest, and reports whether there is one.
func (s *Store) row(ctx context.Context, step, query string, args []any, dest ...any) (found bool, err error) {
	query, args = s.bind(query, args)
	err = s.run(ctx, step, func(ctx context.Context, q querier) error {
		err := q.QueryRowContext(ctx, query, args...).Scan(dest...)
		found = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, err
}

// list reads all rows. dest returns where the columns of one go.
func list[T any](ctx context.Context, s *Store, step, query string, args []any, dest func(*T) []any) (all []T, err error) {
	query, args = s.bind(query, args)
	err = s.run(ctx, step, func(ctx context.Context, q querier) error {
		all = nil // of an attempt that was given up half-way
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var one T
			if err := rows.Scan(dest(&one)...); err != nil {
				return err
			}
			all = append(all, one)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// byID reads the row of an ID that comes from a client. An ID that could not be stored
// is not found.
func byID[T any](ctx context.Context, s *Store, step, query, id string, dest func(*T) []any) (T, error) {
	if checkFields(step, field{"ID", id, maxID}) != nil {
		var none T
		return none, authagent.ErrNotFound
	}
	return one(ctx, s, step, query, id, dest)
}

// one reads the row whose only condition is by, or returns authagent.ErrNotFound.
func one[T any](ctx context.Context, s *Store, step, query string, by any, dest func(*T) []any) (T, error) {
	var row, none T
	found, err := s.row(ctx, step, query, []any{by}, dest(&row)...)
	switch {
	case err != nil:
		return none, err
	case !found:
		return none, authagent.ErrNotFound
	}
	return row, nil
}

// create inserts want and returns it, or returns the row that find finds in its place.
// Of several that find nothing at the same time, a unique constraint lets one insert.
func create[T any](ctx context.Context, s *Store, step string, want T, find func() (T, error), insert string, args []any) (have T, created bool, err error) {
	for range 3 { // again if the row that kept want out was deleted in between
		if have, err = find(); !errors.Is(err, authagent.ErrNotFound) {
			return have, false, err
		}
		inserted, err := s.exec(ctx, step, s.engine.insertNew(insert), args...)
		switch {
		case err != nil:
			return have, false, err
		case inserted == 1:
			return want, true, nil
		}
	}
	return have, false, fmt.Errorf("sqlstore: %s: the ID is taken", step)
}

// insertInto returns the statement that inserts a row. columns are separated by
// commas.
func insertInto(table, columns string) string {
	return `INSERT INTO ` + table + ` (` + columns + `) VALUES (?` + strings.Repeat(`, ?`, strings.Count(columns, ",")) + `)`
}

// reading returns columns to SELECT, separated by commas. It marks those of these names
// as text, which some engines convert unless they are told not to.
func reading(columns string, text ...string) string {
	all := strings.Split(columns, ",")
	for i, column := range all {
		column = strings.TrimSpace(column)
		for _, name := range text {
			if column == name {
				column = "{" + name + "}"
			}
		}
		all[i] = column
	}
	return strings.Join(all, ", ")
}
