package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"
)

// newest is the number of the last migration.
const newest = 7

// schema has a directory per dialect, and in each a file per migration,
// NNNN_name.sql: the same numbers and names in all. A statement ends with a
// semicolon at the end of a line. Names begin with defaultPrefix, which is
// replaced by the site's. The last statement records the migration. Those of
// MySQL can be run again, as it does not undo them when a later one fails.
//
// Old and new instances run side by side while a site is deployed. So a migration
// expands: it adds tables, and columns that have a default, and the program that
// brings it still writes what older ones read. What no program needs any more is
// taken away by a migration of a later release, which contracts. That one records
// in oldest the newest migration of the oldest program that goes on with what is
// left; to the others the schema is ErrNewerSchema. A migration that only expands
// leaves oldest at 0.
//
//go:embed schema
var schema embed.FS

// A Migration is one step of the schema.
type Migration struct {
	Version int
	Name    string
	SQL     string // ends by recording the migration in the table of migrations
}

// Migrations returns all migrations, in order, for a site that runs them with a
// tool of its own. prefix is as in Config; empty means its default.
func Migrations(d Dialect, prefix string) ([]Migration, error) {
	if prefix == "" {
		prefix = defaultPrefix
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	directory := path.Join("schema", d.directory())
	entries, err := schema.ReadDir(directory) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("sqlstore: read migrations: %w", err)
	}
	migrations := make([]Migration, len(entries))
	for i, entry := range entries {
		text, err := schema.ReadFile(path.Join(directory, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("sqlstore: read migrations: %w", err)
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(entry.Name(), ".sql"), "_")
		migrations[i] = Migration{Version: i + 1, Name: name, SQL: strings.ReplaceAll(string(text), defaultPrefix, prefix)}
	}
	return migrations, nil
}

// statements are those of the migration, one by one: not every driver takes
// several at once.
func (m Migration) statements() []string {
	all := strings.SplitAfter(m.SQL, ";\n")
	if last := len(all) - 1; strings.TrimSpace(all[last]) == "" {
		all = all[:last]
	}
	return all
}

// Migrate brings the database up to the newest migration. Any number of
// instances may call it at once: the database's own lock lets one work and the
// others wait, until ctx ends. A database that is newer than this package is left
// alone; if this version cannot use it, ErrNewerSchema is returned.
//
// What fails half-way is undone on PostgreSQL and SQLite. On MySQL it is not,
// and finished by the next call.
func (s *Store) Migrate(ctx context.Context) error {
	for left := s.db.Stats().OpenConnections; ; left-- {
		conn, err := s.connect(ctx)
		if err != nil {
			return err
		}
		err = s.migrateOn(ctx, conn)
		if left > 0 && s.demoted(err) {
			discard(conn)
			continue
		}
		conn.Close()
		if err != nil {
			return s.failed(ctx, "migrate", err)
		}
		return nil
	}
}

func (s *Store) migrateOn(ctx context.Context, conn *sql.Conn) error {
	switch s.dialect {
	case Postgres:
		return s.migratePostgres(ctx, conn)
	case MySQL:
		return s.migrateMySQL(ctx, conn)
	}
	return s.migrateSQLite(ctx, conn)
}

// connect takes a connection out of the pool.
func (s *Store) connect(ctx context.Context) (conn *sql.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = s.again(ctx, func() (err error) {
		conn, err = s.db.Conn(ctx)
		return err
	})
	if err != nil {
		return nil, s.failed(ctx, "connect to migrate", err)
	}
	return conn, nil
}

// migrate runs what is missing. The caller holds the lock.
func (s *Store) migrate(ctx context.Context, q querier) error {
	have, err := s.version(ctx, q)
	if err != nil {
		return err
	}
	if have > newest {
		return s.checkNewer(ctx, q, have)
	}
	migrations, err := Migrations(s.dialect, s.prefix)
	if err != nil {
		return err
	}
	for _, m := range migrations[have:] {
		for _, statement := range m.statements() {
			if _, err := q.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("migration %d, %s: %w", m.Version, m.Name, err)
			}
		}
	}
	return nil
}

// lockName names the lock of these tables.
func (s *Store) lockName(database string) []byte { return key("authagent", database, s.prefix) }

// migratePostgres holds an advisory lock as long as its transaction lasts. Read
// committed, since with a stricter default the snapshot would be of before the
// wait.
func (s *Store) migratePostgres(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	name := s.lockName("") // such locks are the database's own
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(('x' || $1)::bit(64)::bigint)`, hex.EncodeToString(name[:8])); err != nil {
		return err
	}
	if err := s.migrate(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// migrateMySQL holds a named lock, which is the server's and so named after the
// database too.
func (s *Store) migrateMySQL(ctx context.Context, conn *sql.Conn) error {
	var database sql.NullString
	if err := conn.QueryRowContext(ctx, `SELECT DATABASE()`).Scan(&database); err != nil {
		return err
	}
	name := hex.EncodeToString(s.lockName(database.String)[:24])
	for locked := false; !locked; {
		var answer sql.NullInt64 // 1 got it, 0 timed out, null failed
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(?, 5)`, name).Scan(&answer); err != nil {
			return err
		}
		if !answer.Valid {
			return fmt.Errorf("GET_LOCK failed")
		}
		locked = answer.Int64 == 1
	}
	defer finish(ctx, conn, `SELECT RELEASE_LOCK('`+name+`')`)
	return s.migrate(ctx, conn)
}

// migrateSQLite holds the lock of all writers. database/sql cannot begin a
// transaction with it.
func (s *Store) migrateSQLite(ctx context.Context, conn *sql.Conn) error {
	begin := func() error {
		_, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
		return err
	}
	if err := s.again(ctx, begin); err != nil {
		return err
	}
	if err := s.migrate(ctx, conn); err != nil {
		finish(ctx, conn, `ROLLBACK`)
		return err
	}
	commit := func() error { // waits for readers
		_, err := conn.ExecContext(ctx, `COMMIT`)
		return err
	}
	if err := s.again(ctx, commit); err != nil {
		finish(ctx, conn, `ROLLBACK`)
		return err
	}
	return nil
}

// finish runs the statement that gives a lock back, whatever has become of ctx.
// A connection on which that fails is not used again.
func finish(ctx context.Context, conn *sql.Conn, statement string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		discard(conn)
	}
}
