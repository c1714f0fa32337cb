package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
)

// sqlite is SQLite. It stores every text as it is.
type sqlite struct{}

func (sqlite) name() string { return "SQLite" }

func (sqlite) drivers() []string {
	return []string{"modernc.org/sqlite", "github.com/mattn/go-sqlite3", "github.com/ncruces/go-sqlite3"}
}

func (sqlite) directory() string { return "sqlite" }

func (sqlite) identify(ctx context.Context, q querier) error {
	_, err := versionBy(ctx, q, `SELECT sqlite_version()`)
	return err
}

func (sqlite) checkEncoding(context.Context, querier, string) error { return nil }

// underLock holds the lock of all writers. database/sql cannot begin a transaction
// with it, so the statements are sent as such.
func (e sqlite) underLock(ctx context.Context, conn *sql.Conn, _ string, migrate func(querier) error) error {
	send := func(statement string) error {
		return again(ctx, e, func() error {
			_, err := conn.ExecContext(ctx, statement)
			return err
		})
	}
	if err := send(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := migrate(conn)
	if err == nil {
		err = send(`COMMIT`) // waits for readers
	}
	if err != nil {
		finish(ctx, conn, `ROLLBACK`)
	}
	return err
}

func (sqlite) statement(query string) string                 { return plainText(query) }
func (sqlite) bind(query string, args []any) (string, []any) { return query, args }

func (sqlite) tableExists() string {
	return `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`
}

func (sqlite) insertNew(insert string) string { return insert + ` ON CONFLICT DO NOTHING` }
func (sqlite) onConflict(key string) string   { return ` ON CONFLICT (` + key + `) DO UPDATE SET ` }
func (sqlite) proposed(column string) string  { return "excluded." + column }
func (sqlite) greatest() string               { return "MAX" }

// now has milliseconds.
func (sqlite) now() string {
	return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000"
}

// take needs no more than conditions: one statement writes at a time.
func (e sqlite) take(all []taking) (statement string, args []any) {
	next, first := byKey(all, func(t taking) string { return t.next(e, "whole_at") })
	fits, second := byKey(all, func(t taking) string { return t.fits(e, "whole_at") })
	statement = `UPDATE authagent_limits SET whole_at = ` + next + ` WHERE ` + these(len(all)) +
		` AND (SELECT COUNT(*) FROM authagent_limits WHERE ` + these(len(all)) + ` AND ` + fits + `) = ` + strconv.Itoa(len(all))
	return statement, slices.Concat(first, keysOf(all), keysOf(all), second)
}

// turnIsolation is serializable at SQLite, whatever is asked for, and not every driver takes
// another level. Since the first statement of a turn writes, it sees what was committed until then.
func (sqlite) turnIsolation() sql.IsolationLevel { return sql.LevelDefault }
func (sqlite) lockTurn(upsert string) string     { return upsert }

func (sqlite) deleteOldest(table, key, clause string) string {
	return `DELETE FROM ` + table + ` WHERE ` + key + ` IN (SELECT ` + key + ` FROM ` + table + clause + `)`
}

func (sqlite) oneWriter() bool { return true }

// fault goes by a method or field Code, whose lowest byte is the primary code.
func (sqlite) fault(err error) fault {
	var code string
	var e interface{ Code() int }
	if errors.As(err, &e) {
		code = strconv.Itoa(e.Code() & 0xff)
	} else {
		code = number(err, "Code", 0xff)
	}
	switch code {
	case "8": // SQLITE_READONLY
		return readOnly
	case "5", "6": // SQLITE_BUSY, SQLITE_LOCKED
		return gaveWay
	}
	return unknown
}
