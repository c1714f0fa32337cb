package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
)

// A Dialect is a kind of SQL database.
type Dialect int8

const (
	Postgres Dialect = iota + 1 // PostgreSQL 10 or newer
	MySQL                       // MySQL 5.7 or newer, MariaDB 10.2 or newer, with InnoDB
	SQLite                      // SQLite 3.24 or newer
)

// String returns the engine's name.
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	case SQLite:
		return "SQLite"
	}
	return "dialect(" + strconv.Itoa(int(d)) + ")"
}

func (d Dialect) check() error {
	switch d {
	case Postgres, MySQL, SQLite:
		return nil
	}
	return fmt.Errorf("sqlstore: unknown engine: Dialect %d is none of Postgres, MySQL and SQLite", int(d))
}

// directory is the one of the dialect's migrations.
func (d Dialect) directory() string {
	switch d {
	case Postgres:
		return "postgres"
	case MySQL:
		return "mysql"
	}
	return "sqlite"
}

// detect knows the engine by the package of the driver's type.
func detect(db *sql.DB) (Dialect, error) {
	t := reflect.TypeOf(db.Driver())
	name := t.String()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for _, known := range [...]struct {
		path    string
		dialect Dialect
	}{
		{"github.com/jackc/pgx", Postgres}, {"github.com/lib/pq", Postgres},
		{"github.com/go-sql-driver/mysql", MySQL},
		{"modernc.org/sqlite", SQLite}, {"github.com/mattn/go-sqlite3", SQLite}, {"github.com/ncruces/go-sqlite3", SQLite},
	} {
		if strings.Contains(t.PkgPath(), known.path) {
			return known.dialect, nil
		}
	}
	return 0, fmt.Errorf("sqlstore: unknown engine: the driver is %s of %s; set Config.Dialect if it speaks to PostgreSQL, MySQL, MariaDB or SQLite",
		name, t.PkgPath())
}

// rebind writes the placeholders, each a question mark, as the engine wants them.
func (d Dialect) rebind(query string) string {
	if d != Postgres {
		return query
	}
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

// versionQuery is one that other engines do not understand, or answer otherwise.
func (d Dialect) versionQuery() string {
	switch d {
	case Postgres:
		return `SELECT version()`
	case MySQL:
		return `SELECT @@version`
	}
	return `SELECT sqlite_version()`
}

// existsQuery counts the tables of a name.
func (d Dialect) existsQuery() string {
	switch d {
	case Postgres:
		return `SELECT COUNT(to_regclass(?))`
	case MySQL:
		return `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`
	}
	return `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`
}

// insertNew turns an INSERT into one that leaves an existing row alone; how many
// rows it has changed says which of both happened.
//
// MySQL's ON DUPLICATE KEY UPDATE would not do: a client that asks for found
// instead of changed rows (clientFoundRows) gets 1 in either case. With IGNORE,
// values that do not fit would be cut; checkFields lets none through.
func (d Dialect) insertNew(insert string) string {
	if d == MySQL {
		return strings.Replace(insert, "INSERT", "INSERT IGNORE", 1)
	}
	return insert + ` ON CONFLICT DO NOTHING`
}

// upsert turns an INSERT into one that replaces columns of the row that has its
// key already.
func (d Dialect) upsert(insert, key string, columns ...string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = " + d.proposed(c)
	}
	return insert + d.onConflict(key) + strings.Join(sets, ", ")
}

// raise is upsert that leaves the greater of both values of each column.
func (d Dialect) raise(insert, table, key string, columns ...string) string {
	greatest := "GREATEST"
	if d == SQLite {
		greatest = "MAX"
	}
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = " + greatest + "(" + table + "." + c + ", " + d.proposed(c) + ")"
	}
	return insert + d.onConflict(key) + strings.Join(sets, ", ")
}

func (d Dialect) onConflict(key string) string {
	if d == MySQL {
		return ` ON DUPLICATE KEY UPDATE `
	}
	return ` ON CONFLICT (` + key + `) DO UPDATE SET `
}

// proposed is the value of a column that the INSERT brings.
func (d Dialect) proposed(column string) string {
	if d == MySQL {
		return "VALUES(" + column + ")"
	}
	return "excluded." + column
}

// deleteBatch deletes rows before a time, the oldest first, at most so many. If
// state is not empty, only those in that state, and with a condition, those for which
// it holds.
func (d Dialect) deleteBatch(table, key, state, time, and string) string {
	where, order := time+` < ?`, time
	if state != "" { // in the order of the index, or MySQL sorts
		where, order = `state = '`+state+`' AND `+where, `state, `+order
	}
	if and != "" {
		where += ` AND ` + and
	}
	oldest := ` WHERE ` + where + ` ORDER BY ` + order + ` LIMIT ?`
	chosen := `(SELECT ` + key + ` FROM ` + table + oldest
	switch d {
	case MySQL:
		return `DELETE FROM ` + table + oldest
	case Postgres: // two instances that clean up at once share the work; an array is made once, whatever the plan
		return `DELETE FROM ` + table + ` WHERE ` + key + ` = ANY (ARRAY` + chosen + ` FOR UPDATE SKIP LOCKED))`
	}
	return `DELETE FROM ` + table + ` WHERE ` + key + ` IN ` + chosen + `)`
}

// meaning returns which of the errors of this package an error of the engine is,
// or nil.
func (d Dialect) meaning(err error) error {
	switch code := d.code(err); d {
	case Postgres:
		switch code {
		case "25006": // read_only_sql_transaction
			return ErrReadOnlyDatabase
		case "53300": // too_many_connections
			return ErrNoConnection
		case "22P05": // untranslatable_character
			return ErrEncoding
		}
	case MySQL:
		switch code {
		case "1290", "1792", "1836": // --read-only, read-only transaction, read-only mode
			return ErrReadOnlyDatabase
		case "1040", "1203", "1226": // too many: of all, of the user, by the user's limit
			return ErrNoConnection
		case "1366", "3854", "1300": // incorrect string value, cannot convert string, invalid character string
			return ErrEncoding
		}
	case SQLite:
		if code == "8" { // SQLITE_READONLY
			return ErrReadOnlyDatabase
		}
	}
	return nil
}

// unreached reports whether an error says for certain that no statement was sent:
// there was no connection to send it on.
func (d Dialect) unreached(err error) bool {
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" || d.meaning(err) == ErrNoConnection {
		return true
	}
	return d == Postgres && d.code(err) == "57P03" // cannot_connect_now: it starts, stops or recovers
}

// passes reports whether the engine gave a statement up, undone, in favour of
// another one, so that it is to be sent again.
func (d Dialect) passes(err error) bool {
	switch code := d.code(err); d {
	case Postgres: // serialization_failure, deadlock_detected
		return code == "40001" || code == "40P01"
	case MySQL: // ER_LOCK_DEADLOCK, and MariaDB's ER_CHECKREAD with innodb_snapshot_isolation
		return code == "1213" || code == "1020"
	default: // SQLITE_BUSY, SQLITE_LOCKED
		return code == "5" || code == "6"
	}
}

// code returns the engine's own number of an error, or "". No driver is imported
// here, so it is taken from what their error types have in common: PostgreSQL's
// have a method SQLState; SQLite's a method or field Code, whose lowest byte is
// the primary code; and MySQL's a field Number.
func (d Dialect) code(err error) string {
	if d == Postgres {
		var e interface{ SQLState() string }
		if errors.As(err, &e) {
			return e.SQLState()
		}
		return ""
	}
	if d == MySQL {
		return number(err, "Number", -1)
	}
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return strconv.Itoa(e.Code() & 0xff)
	}
	return number(err, "Code", 0xff)
}

// number returns the masked value of an integer field of the first error in the
// chain that has it.
func number(err error, field string, mask int64) string {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		switch f := v.FieldByName(field); {
		case f.IsValid() && f.CanInt():
			return strconv.FormatInt(f.Int()&mask, 10)
		case f.IsValid() && f.CanUint():
			return strconv.FormatInt(int64(f.Uint())&mask, 10)
		}
	}
	return ""
}
