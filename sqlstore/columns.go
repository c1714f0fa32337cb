package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
)

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

// byID is one for an ID that comes from a client. What cannot be stored is not
// there.
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

// create inserts want, unless find finds what stands in its way. A unique
// constraint decides between those that find nothing at once.
func create[T any](ctx context.Context, s *Store, step string, want T, find func() (T, error), insert string, args []any) (have T, created bool, err error) {
	for range 3 { // each further time because what stood in the way has been deleted in between
		if have, err = find(); !errors.Is(err, authagent.ErrNotFound) {
			return have, false, err
		}
		inserted, err := s.exec(ctx, step, s.dialect.insertNew(insert), args...)
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

// instant reads what nanos has made of a time.
type instant struct{ *time.Time }

// Scan implements [sql.Scanner].
func (i instant) Scan(src any) error {
	var n sql.NullInt64
	if err := n.Scan(src); err != nil {
		return err
	}
	if n.Int64 == math.MinInt64 { // the zero time, which is long before what can be stored
		*i.Time = time.Time{}
		return nil
	}
	*i.Time = time.Unix(0, n.Int64).UTC()
	return nil
}

// era reads the Era of a grant from the column of the time that older programs have
// in its place, where never is the least number.
type era struct{ *int64 }

// Scan implements [sql.Scanner].
func (e era) Scan(src any) error {
	var n sql.NullInt64
	err := n.Scan(src)
	if *e.int64 = n.Int64; n.Int64 == math.MinInt64 {
		*e.int64 = 0
	}
	return err
}

// storedEra is what era reads.
func storedEra(era int64) int64 {
	if era == 0 {
		return math.MinInt64
	}
	return era
}

// word reads an Access by its name. Any other name is an error, and lets nobody
// in.
type word struct{ *authagent.Access }

// Scan implements [sql.Scanner].
func (w word) Scan(src any) error {
	var name sql.NullString
	if err := name.Scan(src); err != nil {
		return err
	}
	return w.UnmarshalText([]byte(name.String))
}

// document reads JSON. A field that is not known is an error: it may have been
// written by a newer version of this package, and forbid something.
type document[T any] struct{ to *T }

// Scan implements [sql.Scanner].
func (d document[T]) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil {
		return err
	}
	var v T // a row that is read again must not be added to what was read before
	decoder := json.NewDecoder(strings.NewReader(text.String))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		return err
	}
	*d.to = v
	return nil
}

// bytesOf is s for a column that is not null: an empty slice that is nil is null
// to a driver.
func bytesOf(s string) []byte { return append([]byte{}, s...) }
