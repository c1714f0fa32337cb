package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Check reports everything that would keep the database from serving: it cannot
// be reached, is of another engine than Dialect says, lacks the migrations or
// has newer ones, cannot be read or written, or cannot hold every text. Call it when
// the site starts, and in its health check.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	steps := []struct {
		name  string
		check func(context.Context) error
	}{
		{"connect", s.db.PingContext},
		{"check that the engine is " + s.engine.name(), func(ctx context.Context) error { return s.engine.identify(ctx, s.db) }},
		{"check schema", func(ctx context.Context) error { return s.checkSchema(ctx, s.db) }},
		{"check that the database can be written", s.checkWritable},
		{"check that the database can hold every text", func(ctx context.Context) error { return s.engine.checkEncoding(ctx, s.db, s.prefix) }},
	}
	for _, step := range steps {
		if err := s.again(ctx, func() error { return step.check(ctx) }); err != nil {
			return s.failed(ctx, step.name, err)
		}
	}
	for _, table := range s.tables() {
		if err := s.again(ctx, func() error { return s.checkTable(ctx, table) }); err != nil {
			return s.failed(ctx, "check table "+s.prefix+table, err)
		}
	}
	return nil
}

// checkWritable sends a DELETE that finds nothing, since no ID is empty. A database that
// takes no writes refuses it all the same.
func (s *Store) checkWritable(ctx context.Context) error {
	return s.onPrimary(ctx, func(q querier) error {
		_, err := q.ExecContext(ctx, s.query(`DELETE FROM authagent_states WHERE id = ''`))
		return err
	})
}

// checkTable names no column: PostgreSQL would refuse a statement that a connection has
// prepared and whose columns change, when a newer version migrates beside this one.
func (s *Store) checkTable(ctx context.Context, table string) error {
	rows, err := s.db.QueryContext(ctx, s.query(`SELECT 1 FROM authagent_`+table+` WHERE 1 = 0`))
	if err != nil {
		return err
	}
	return errors.Join(rows.Err(), rows.Close())
}

// recheck is how long a schema that was found to be right is not looked at again.
const recheck = time.Minute

// ready refuses to use a database whose schema is not the one of this version.
func (s *Store) ready(ctx context.Context, q querier) error {
	if age := time.Now().UnixNano() - s.checked.Load(); age >= 0 && age < int64(recheck) {
		return nil
	}
	return s.checkSchema(ctx, q)
}

// checkSchema compares the migrations that the database has with those known here.
func (s *Store) checkSchema(ctx context.Context, q querier) error {
	have, err := s.version(ctx, q)
	switch {
	case err != nil:
		return err
	case have < s.newest():
		return fmt.Errorf("%w (it has version %d of %d, prefix %q)", ErrNotMigrated, have, s.newest(), s.prefix)
	case have > s.newest():
		if err := s.checkNewer(ctx, q, have); err != nil {
			return err
		}
	}
	s.checked.Store(time.Now().UnixNano())
	return nil
}

// checkNewer refuses a schema of version have, which is newer than this program, if a
// migration since has taken away what this program needs.
func (s *Store) checkNewer(ctx context.Context, q querier, have int) error {
	var oldest sql.NullInt64
	if err := q.QueryRowContext(ctx, s.query(`SELECT MAX(oldest) FROM authagent_migrations`)).Scan(&oldest); err != nil {
		return err
	}
	if oldest.Int64 > int64(s.newest()) {
		return fmt.Errorf("%w (it has version %d, which takes programs from version %d on; this one has %d)", ErrNewerSchema, have, oldest.Int64, s.newest())
	}
	return nil
}

// version returns the newest migration that the database has, 0 for none.
func (s *Store) version(ctx context.Context, q querier) (int, error) {
	var tables int
	err := q.QueryRowContext(ctx, s.engine.statement(s.engine.tableExists()), s.prefix+"migrations").Scan(&tables)
	if err != nil || tables == 0 {
		return 0, err
	}
	var newest sql.NullInt64
	err = q.QueryRowContext(ctx, s.query(`SELECT MAX(version) FROM authagent_migrations`)).Scan(&newest)
	return int(newest.Int64), err
}
