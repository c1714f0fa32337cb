// Package database keeps what the shop knows, in SQLite or PostgreSQL. What the
// shop knows about agents is kept beside it, by package sqlstore.
package database

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// ErrNotFound says that there is no such thing, or that it is somebody else's.
var ErrNotFound = errors.New("database: not found")

// A DB is the shop's database. It is safe for concurrent use.
type DB struct {
	*sql.DB
	postgres bool
}

// OpenSQLite opens the database in a file, which is created if it is not there.
func OpenSQLite(ctx context.Context, file string) (*DB, error) {
	// Writers wait for each other, from the beginning of a transaction on.
	return open(ctx, "sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
}

// OpenPostgres opens a database of a PostgreSQL server.
func OpenPostgres(ctx context.Context, dsn string) (*DB, error) { return open(ctx, "pgx", dsn) }

//go:embed schema.sql
var schema string

func open(ctx context.Context, driver, dsn string) (*DB, error) {
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(10)
	db := &DB{pool, driver == "pgx"}
	for statement := range strings.SplitSeq(schema, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			pool.Close()
			return nil, fmt.Errorf("make the shop's tables: %w", err)
		}
	}
	return db, nil
}

// sql writes the placeholders of a statement as the engine has them.
func (db *DB) sql(statement string) string {
	if !db.postgres {
		return statement
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}

// exec runs a statement and returns how many rows it has changed.
func (db *DB) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := db.ExecContext(ctx, db.sql(statement), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// one reads one row into dest, or returns ErrNotFound.
func (db *DB) one(ctx context.Context, statement string, args []any, dest ...any) error {
	err := db.QueryRowContext(ctx, db.sql(statement), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// A querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// all reads all rows. dest returns where the columns of one go.
func all[T any](ctx context.Context, q querier, statement string, args []any, dest func(*T) []any) ([]T, error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		var one T
		if err := rows.Scan(dest(&one)...); err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// atomically runs f in a transaction, of which nothing remains if f fails.
func (db *DB) atomically(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// hash is what of a token is kept: who reads the database can use none.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
