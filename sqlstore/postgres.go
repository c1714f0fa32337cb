package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// postgres is PostgreSQL.
type postgres struct{}

func (postgres) name() string      { return "PostgreSQL" }
func (postgres) drivers() []string { return []string{"github.com/jackc/pgx", "github.com/lib/pq"} }
func (postgres) directory() string { return "postgres" }

func (postgres) identify(ctx context.Context, q querier) error {
	v, err := versionBy(ctx, q, `SELECT version()`)
	if err == nil && !strings.HasPrefix(v, "PostgreSQL ") { // MySQL answers it too
		err = fmt.Errorf("it calls itself %q", v)
	}
	return err
}

func (postgres) checkEncoding(ctx context.Context, q querier, _ string) error {
	var server, client string
	err := q.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('client_encoding')`).Scan(&server, &client)
	switch {
	case err != nil:
		return err
	case server == "SQL_ASCII": // keeps bytes as they are
		return nil
	case server != "UTF8":
		return fmt.Errorf("%w (server_encoding is %s)", ErrEncoding, server)
	case client != "UTF8":
		return fmt.Errorf("%w (client_encoding, a setting of the connection, is %s)", ErrEncoding, client)
	}
	return nil
}

// underLock holds an advisory lock, which is the database's own, as long as its
// transaction lasts. The transaction is read committed: a stricter one would see the
// tables as they were before it waited for the lock.
func (postgres) underLock(ctx context.Context, conn *sql.Conn, prefix string, migrate func(querier) error) error {
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(('x' || $1)::bit(64)::bigint)`, migrationLock("", prefix, 8)); err != nil {
		return err
	}
	if err := migrate(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (postgres) statement(query string) string {
	query = plainText(query)
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

func (postgres) bind(query string, args []any) (string, []any) { return query, args }

func (postgres) tableExists() string            { return `SELECT COUNT(to_regclass(?))` }
func (postgres) insertNew(insert string) string { return insert + ` ON CONFLICT DO NOTHING` }
func (postgres) onConflict(key string) string   { return ` ON CONFLICT (` + key + `) DO UPDATE SET ` }
func (postgres) proposed(column string) string  { return "excluded." + column }
func (postgres) greatest() string               { return "GREATEST" }

func (postgres) now() string {
	return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT) * 1000"
}

// take locks the rows in the order of their keys and reads what they have by then, so that no two
// statements wait for each other. Its transaction does not wait for the disk, which would take ten times as long: if the
// server crashes, the last events are not counted.
func (e postgres) take(all []taking) (statement string, args []any) {
	fits, first := byKey(all, func(t taking) string { return t.fits(e, "whole_at") })
	next, second := byKey(all, func(t taking) string { return t.next(e, "whole_at") })
	statement = `WITH held AS (SELECT limit_key, whole_at FROM authagent_limits WHERE ` + these(len(all)) + ` ORDER BY limit_key FOR UPDATE),
		changed AS (SELECT limit_key AS changed_key, ` + fits + ` AS fits, ` + next + ` AS next FROM held)
		UPDATE authagent_limits SET whole_at = next FROM changed
		WHERE limit_key = changed_key AND (SELECT COUNT(*) FROM changed WHERE fits) = ` + strconv.Itoa(len(all)) + `
			AND set_config('synchronous_commit', 'off', true) = 'off'`
	return statement, slices.Concat(keysOf(all), first, second)
}

func (postgres) turnIsolation() sql.IsolationLevel { return sql.LevelReadCommitted }

// lockTurn has the server end the turn of a host that stands still or has lost its network: it would
// hold the lock until TCP gives up, after hours. In the same statement, that costs no round trip.
func (postgres) lockTurn(upsert string) string {
	return strings.Replace(upsert, "VALUES (?)", "SELECT CAST(? AS BYTEA) FROM set_config('idle_in_transaction_session_timeout', '"+turnIdle+"', true)", 1)
}

// turnIdle is how long nothing may be heard of a turn, in milliseconds.
const turnIdle = "10000"

// deleteOldest skips rows that are locked, so that instances that clean up at the same
// time share the work. An array is made once, whatever the plan.
func (postgres) deleteOldest(table, key, clause string) string {
	return `DELETE FROM ` + table + ` WHERE ` + key + ` = ANY (ARRAY(SELECT ` + key + ` FROM ` + table + clause + ` FOR UPDATE SKIP LOCKED))`
}

func (postgres) oneWriter() bool { return false }

func (postgres) fault(err error) fault {
	var e interface{ SQLState() string }
	if !errors.As(err, &e) {
		return unknown
	}
	switch e.SQLState() {
	case "25006": // read_only_sql_transaction
		return readOnly
	case "53300": // too_many_connections
		return noConnection
	case "22P05": // untranslatable_character
		return untranslated
	case "42501": // insufficient_privilege
		return forbidden
	case "57P03": // cannot_connect_now
		return starting
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return gaveWay
	}
	return unknown
}
