package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mysql is MySQL or MariaDB.
//
// Text goes there and comes back as bytes. As text, the server would convert it to the
// charset of the connection, and replace what that lacks by question marks: an emoji
// with charset=utf8, which has three bytes at most.
type mysql struct{}

func (mysql) name() string      { return "MySQL" }
func (mysql) drivers() []string { return []string{"github.com/go-sql-driver/mysql"} }
func (mysql) directory() string { return "mysql" }

func (mysql) identify(ctx context.Context, q querier) error {
	_, err := versionBy(ctx, q, `SELECT @@version`)
	return err
}

func (mysql) checkEncoding(ctx context.Context, q querier, prefix string) error {
	var wrong int
	err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
			AND LEFT(table_name, CHAR_LENGTH(?)) = ? AND character_set_name <> 'utf8mb4'`, prefix, prefix).Scan(&wrong)
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%w (%d columns have another CHARACTER SET)", ErrEncoding, wrong)
	}
	return err
}

// underLock holds a named lock. Such locks are the server's, so the name has the
// database in it.
func (mysql) underLock(ctx context.Context, conn *sql.Conn, prefix string, migrate func(querier) error) error {
	var database sql.NullString
	if err := conn.QueryRowContext(ctx, `SELECT DATABASE()`).Scan(&database); err != nil {
		return err
	}
	name := migrationLock(database.String, prefix, 24)
	for locked := false; !locked; {
		var answer sql.NullInt64 // 1 got it, 0 timed out, null failed
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(?, 5)`, name).Scan(&answer); err != nil {
			return err
		}
		if !answer.Valid {
			return errors.New("GET_LOCK failed")
		}
		locked = answer.Int64 == 1
	}
	defer finish(ctx, conn, `SELECT RELEASE_LOCK('`+name+`')`)
	return migrate(conn)
}

func (mysql) statement(query string) string {
	return strings.NewReplacer("{", "CAST(", "}", " AS BINARY)").Replace(query)
}

// bind has the server cast text, since a driver may send bytes as it sends text.
func (mysql) bind(query string, args []any) (string, []any) {
	var b strings.Builder
	bound := make([]any, len(args))
	for i, arg := range args {
		before, after, _ := strings.Cut(query, "?")
		b.WriteString(before)
		if text, ok := arg.(string); ok {
			b.WriteString("CAST(? AS BINARY)")
			arg = bytesOf(text)
		} else {
			b.WriteString("?")
		}
		bound[i], query = arg, after
	}
	b.WriteString(query)
	return b.String(), bound
}

func (mysql) tableExists() string {
	return `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`
}

// insertNew does not use ON DUPLICATE KEY UPDATE: a client that asks for found instead
// of changed rows (clientFoundRows) would get 1 in either case. IGNORE also cuts values
// that do not fit; checkFields lets none through.
func (mysql) insertNew(insert string) string {
	return strings.Replace(insert, "INSERT", "INSERT IGNORE", 1)
}

func (mysql) onConflict(string) string      { return ` ON DUPLICATE KEY UPDATE ` }
func (mysql) proposed(column string) string { return "VALUES(" + column + ")" }
func (mysql) greatest() string              { return "GREATEST" }

// now is of UTC, in which no hour comes twice.
func (mysql) now() string {
	return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 1000"
}

// take has one row of each key in one row of a join, of which the server locks all and changes
// all or none. They are locked in the order of their keys. A subquery would lock them twice, first for others to
// read, and two statements would wait for each other.
func (e mysql) take(all []taking) (statement string, args []any) {
	var tables, sets, conditions []string
	for i, t := range all {
		one := "l" + strconv.Itoa(i)
		tables = append(tables, "authagent_limits "+one)
		sets = append(sets, one+".whole_at = "+t.next(e, one+".whole_at"))
		conditions = append(conditions, one+".limit_key = ? AND "+t.fits(e, one+".whole_at"))
	}
	statement = `UPDATE ` + strings.Join(tables, " STRAIGHT_JOIN ") + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + strings.Join(conditions, " AND ")
	return statement, keysOf(all)
}

// turnIsolation also keeps the engine from locking the gaps in which it has found nothing.
func (mysql) turnIsolation() sql.IsolationLevel { return sql.LevelReadCommitted }
func (mysql) lockTurn(upsert string) string     { return upsert }

func (mysql) deleteOldest(table, _, clause string) string { return `DELETE FROM ` + table + clause }

func (mysql) oneWriter() bool { return false }

func (mysql) fault(err error) fault {
	switch number(err, "Number", -1) {
	case "1290", "1792", "1836", "1874", "3989": // --read-only, read-only transaction, read-only mode, of InnoDB, of a schema (MySQL 8)
		return readOnly
	case "1040", "1203", "1226": // too many: of all, of the user, by the user's limit
		return noConnection
	case "1366", "3854", "1300": // incorrect string value, cannot convert string, invalid character string
		return untranslated
	case "1142", "1143": // ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR
		return forbidden
	case "1213", "1020": // ER_LOCK_DEADLOCK, and MariaDB's ER_CHECKREAD with innodb_snapshot_isolation
		return gaveWay
	}
	return unknown
}
