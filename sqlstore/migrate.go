package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// schema has a directory per engine, and in each a file per migration, NNNN_name.sql:
// the same numbers and names in all. What a newer version of this package needs is a
// file more in each; the number of the newest migration and the list of tables follow
// from the files.
//
//   - A statement ends with a semicolon at the end of a line.
//   - Names begin with defaultPrefix, which is replaced by the site's.
//   - CREATE TABLE begins a line.
//   - The last statement records the migration.
//   - Those of MySQL can be run again, since MySQL does not undo the first statements of
//     a migration when a later one fails.
//
// Old and new instances run side by side while a site is deployed. So a migration
// expands: it adds tables, and columns that have a default, and the program that comes
// with it still writes what older programs read. A migration of a later release may
// contract: it removes what only older programs need, and records in the column oldest
// the newest migration of the oldest program that still works. Older programs then
// refuse the schema with ErrNewerSchema. A migration that only expands leaves oldest
// at 0.
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
	e, err := d.engine()
	if err != nil {
		return nil, err
	}
	return migrationsOf(e, cmp.Or(prefix, defaultPrefix))
}

func migrationsOf(e engine, prefix string) ([]Migration, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	directory := path.Join("schema", e.directory())
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

// newest returns the number of the newest migration that is known here.
func (s *Store) newest() int { return len(s.migrations) }

// tables returns the names, without prefix and sorted, of the tables that the migrations
// create, but for the one that records migrations.
func (s *Store) tables() (names []string) {
	for _, m := range s.migrations {
		for line := range strings.Lines(m.SQL) {
			table, creates := strings.CutPrefix(line, "CREATE TABLE ")
			if !creates {
				continue
			}
			table, _, _ = strings.Cut(strings.TrimPrefix(table, "IF NOT EXISTS "), " ")
			if name := strings.TrimPrefix(table, s.prefix); name != "migrations" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// statements returns the statements of the migration one by one, since not every driver
// takes several at once.
func (m Migration) statements() []string {
	all := strings.SplitAfter(m.SQL, ";\n")
	if last := len(all) - 1; strings.TrimSpace(all[last]) == "" {
		all = all[:last]
	}
	return all
}

// Migrate brings the database up to the newest migration. Any number of
// instances may call it at once: one works under a lock of the database, and the others
// wait until ctx ends. Migrate changes nothing in a database that is newer than this
// package; if this version cannot use it, it returns ErrNewerSchema.
//
// PostgreSQL and SQLite undo a migration that fails. MySQL does not, and the next call
// finishes it.
func (s *Store) Migrate(ctx context.Context) error {
	for left := s.db.Stats().OpenConnections; ; left-- {
		conn, err := s.connect(ctx)
		if err != nil {
			return err
		}
		err = s.engine.underLock(ctx, conn, s.prefix, func(q querier) error { return s.migrate(ctx, q) })
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

// migrate runs the migrations that the database lacks. The caller holds the lock.
func (s *Store) migrate(ctx context.Context, q querier) error {
	have, err := s.version(ctx, q)
	if err != nil {
		return err
	}
	if have > s.newest() {
		return s.checkNewer(ctx, q, have)
	}
	for _, m := range s.migrations[have:] {
		for _, statement := range m.statements() {
			if _, err := q.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("migration %d, %s: %w", m.Version, m.Name, err)
			}
		}
	}
	return nil
}

// finish runs the statement that releases a lock, even if ctx has ended. If that fails,
// the connection is not used again.
func finish(ctx context.Context, conn *sql.Conn, statement string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		discard(conn)
	}
}
