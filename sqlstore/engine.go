package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"net"
	"reflect"
	"strconv"
	"strings"
)

// An engine is all that differs between the kinds of SQL databases. No driver is
// imported here, so what an engine needs of its driver's types it takes from their
// shape.
type engine interface {
	// name returns what errors call the engine.
	name() string

	// drivers returns the import paths of the drivers that are known to speak to it.
	drivers() []string

	// directory returns the directory of its migrations, below schema.
	directory() string

	// identify fails if the database is of another engine.
	identify(context.Context, querier) error

	// checkEncoding returns ErrEncoding if the database cannot store some text, or if
	// programs that connect in another way would read another text. prefix begins the
	// names of the tables.
	checkEncoding(ctx context.Context, q querier, prefix string) error

	// underLock calls migrate while no other instance migrates the tables of a prefix.
	// If the engine can, it makes one transaction of it.
	underLock(ctx context.Context, conn *sql.Conn, prefix string, migrate func(querier) error) error

	// statement returns a statement of this package as the engine takes it. The
	// placeholder of an argument is a question mark, and text to read is a {column}.
	statement(query string) string

	// bind returns a statement with its arguments as they are sent.
	bind(query string, args []any) (string, []any)

	// tableExists returns the query that counts the tables of a name.
	tableExists() string

	// insertNew turns an INSERT into one that leaves an existing row alone. The number
	// of changed rows tells whether the row is new.
	insertNew(insert string) string

	// onConflict returns what follows an INSERT, up to the columns that are to be set
	// in the row that has its key already.
	onConflict(key string) string

	// proposed returns the value that the INSERT before onConflict has for a column.
	proposed(column string) string

	// greatest returns the function for the greatest of its arguments.
	greatest() string

	// now returns the database's clock, in nanoseconds since 1970. It is one time throughout
	// a statement.
	now() string

	// take returns the statement that takes one event from each of these budgets, or changes no
	// row: also not if one of them has none yet. Whatever happens at the same time, each row is
	// changed only if that fits into its budget. The keys are in their order.
	take(all []taking) (statement string, args []any)
	// turnIsolation returns the isolation level of a turn. After it has waited for the lock, each
	// statement has to see what the turn before has committed.
	turnIsolation() sql.IsolationLevel

	// lockTurn returns the statement that locks the row of a turn, from the upsert of that row. If
	// the engine can, it also has the server end a turn of which nothing more is heard.
	lockTurn(upsert string) string

	// deleteOldest returns the statement that deletes the rows that a clause finds, WHERE
	// to LIMIT.
	deleteOldest(table, key, clause string) string

	// oneWriter reports whether one statement at a time writes, and others look only from time to time whether they may.
	oneWriter() bool

	// fault returns what an error of the driver means to this package.
	fault(err error) fault
}

// A fault is what an error of an engine means.
type fault int8

const (
	unknown      fault = iota // not one of those below
	readOnly                  // the database takes no writes
	noConnection              // the database takes no connection more
	untranslated              // the database cannot store the text
	forbidden                 // the database user lacks a right
	starting                  // the database starts, stops or recovers, and takes no connection
	gaveWay                   // the engine undid the statement in favour of another; it can be sent again
)

// sentinel returns the error of this package for a fault, or nil if it has none.
func (f fault) sentinel() error {
	switch f {
	case readOnly:
		return ErrReadOnlyDatabase
	case noConnection:
		return ErrNoConnection
	case untranslated:
		return ErrEncoding
	case forbidden:
		return ErrNoRight
	}
	return nil
}

// unreached reports whether an error says for certain that no statement was sent,
// since there was no connection to send it on.
func unreached(e engine, err error) bool {
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return true
	}
	f := e.fault(err)
	return f == noConnection || f == starting
}

// upsert turns an INSERT into one that replaces columns of the row that has its
// key already.
func upsert(e engine, insert, key string, columns ...string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = " + e.proposed(c)
	}
	return insert + e.onConflict(key) + strings.Join(sets, ", ")
}

// raise is upsert that leaves the greater of both values in each column.
func raise(e engine, insert, table, key string, columns ...string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = " + e.greatest() + "(" + table + "." + c + ", " + e.proposed(c) + ")"
	}
	return insert + e.onConflict(key) + strings.Join(sets, ", ")
}

// plainText removes the braces around columns, for engines that return text as it was
// stored whatever the settings of the connection.
func plainText(query string) string {
	return strings.NewReplacer("{", "", "}", "").Replace(query)
}

// versionBy returns the answer to a query for the engine's version. Other engines do not
// understand the query, or answer in another form.
func versionBy(ctx context.Context, q querier, query string) (version string, err error) {
	err = q.QueryRowContext(ctx, query).Scan(&version)
	return version, err
}

// migrationLock returns the name of the lock for the tables of a prefix: so many bytes, in
// hexadecimal.
func migrationLock(database, prefix string, length int) string {
	return hex.EncodeToString(key("authagent", database, prefix)[:length])
}

// number returns the masked value of an integer field of the first error in the
// chain that has it, or "".
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
