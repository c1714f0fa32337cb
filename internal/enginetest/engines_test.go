package enginetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/sqlstore"
)

// An engine is a kind of database that the tests run on. All that the tests ask of one
// is here; each engine has a file that answers. In statements, authagent_ stands for the
// prefix of the tables.
type engine struct {
	name     string
	driver   string
	dialect  sqlstore.Dialect
	variable string // the environment's, with the DSN; empty for an engine that is a file

	// Settings in the DSN.
	usual    []string // where a test has none of its own
	readOnly string   // cannot write
	several  []string // takes several statements at once
	prepares []string // sends a statement with its arguments, and prepares none
	settings []string // those that the kits for stores run with
	atOnce   []string // those that TestMigrateAtOnce runs with
	hostile  []string // those that TestHostileEvents runs with
	fast     []string // does not wait for the disk, which would hide what else takes time

	transactions []transaction // as sites begin theirs

	// Statements of the tests.
	demote     string   // makes a connection one that takes no writes
	columns    string   // lists table and column
	holdLock   []string // keep every migration waiting
	letLockGo  []string // end that
	waiting    string   // counts who waits for the lock; empty if migrations are transactions
	series     string   // a table s of the numbers n from 1 to %d
	hash       string   // 32 bytes that depend on n
	blob       string   // 400 bytes
	numberedBy string   // the text %s with n behind it
	analyze    string   // before the name of a table: updates what the planner knows of it
	explain    string   // before a statement

	// byIndex reports whether a plan reads no table from one end to the other. prefix
	// begins the names of indexes.
	byIndex func(plan, prefix string) bool

	// crowd returns what makes and removes a user who may have one connection; nil for
	// an engine that has no users.
	crowd func(user string) (begin, finish []string)

	// A site's table of accounts.
	accountColumns []string // types of the address's column, as sites have them
	accountOptions string   // of CREATE TABLE
	documented     string   // the condition that docs/database.md gives
	dollars        bool     // placeholders are $1, $2, ... and not ?
}

// A transaction is one of the site, in which a reservation is used.
type transaction struct {
	name      string
	setting   string // in the DSN of the site; empty for the usual ones
	isolation sql.IsolationLevel
	own       bool // the engine may refuse what came too late by an error of its own
	alone     bool // nobody else writes while it is open and has read something
}

var engines = []engine{sqlite, postgres, mysql}

func engineNamed(name string) engine {
	return engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == name })]
}

// onEngines runs a test on each engine that is there.
func onEngines(t *testing.T, test func(t *testing.T, d *database)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, newDatabase(t, e)) })
	}
}

// A database is one that a test has to itself: on a server, by the prefix of its tables.
type database struct {
	engine
	dsn    string
	prefix string
}

func newDatabase(t testing.TB, e engine) *database {
	t.Helper()
	d := &database{engine: e, prefix: "t" + strings.ToLower(rand.Text()[:10]) + "_"}
	if e.variable == "" {
		d.dsn = "file:" + filepath.Join(t.TempDir(), "test.db")
		return d
	}
	d.dsn = os.Getenv(e.variable)
	if d.dsn == "" {
		t.Skipf("%s is not tested: set %s to the DSN of a database for tests", e.name, e.variable)
	}
	t.Cleanup(func() { d.drop(t) })
	return d
}

// tables are those that the migrations make, without the prefix.
var tables = func() (names []string) {
	migrations, err := sqlstore.Migrations(sqlstore.SQLite, "p_")
	if err != nil {
		panic(err)
	}
	for _, m := range migrations {
		for _, created := range regexp.MustCompile(`(?m)^CREATE TABLE p_(\w+)`).FindAllStringSubmatch(m.SQL, -1) {
			names = append(names, created[1])
		}
	}
	return names
}()

func (d *database) drop(t testing.TB) {
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range tables {
		if _, err := db.Exec("DROP TABLE IF EXISTS " + d.prefix + table); err != nil {
			t.Error(err)
		}
	}
}

// with returns the DSN with these settings.
func (d *database) with(settings ...string) string {
	dsn := d.dsn
	for _, s := range settings {
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		dsn += separator + s
	}
	return dsn
}

// connect opens the database as one more instance of a site would.
func (d *database) connect(t testing.TB, settings ...string) *sql.DB {
	t.Helper()
	if len(settings) == 0 {
		settings = d.usual
	}
	db, err := sql.Open(d.driver, d.with(settings...))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20) // the server's limit is for all that are tested at once
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { db.Close() })
	return db
}

// open returns the stores of one more instance.
func (d *database) open(t testing.TB, db *sql.DB) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix, Timeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// migrated returns the stores of an instance after Migrate, and its database.
func (d *database) migrated(t testing.TB, settings ...string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := d.connect(t, settings...)
	s := d.open(t, db)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, db
}

// must runs a statement, in which authagent_ stands for the test's prefix.
func (d *database) must(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), d.sql(statement), args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (d *database) sql(statement string) string {
	return strings.ReplaceAll(statement, "authagent_", d.prefix)
}

// count returns how many rows a query of the form SELECT COUNT(*) finds.
func (d *database) count(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(context.Background(), d.sql(query)).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// placeholder returns that of the nth argument, from 1.
func (d *database) placeholder(n int) string {
	if d.dollars {
		return fmt.Sprint("$", n)
	}
	return "?"
}

// inOrder goes through a map by its keys, so that each run reports in the same order.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
