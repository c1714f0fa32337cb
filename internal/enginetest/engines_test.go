package enginetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/authagent-go/authagent/sqlstore"
)

// An engine is a kind of database that the tests run on.
type engine struct {
	name     string
	driver   string
	dialect  sqlstore.Dialect
	variable string   // the environment's, with the DSN; empty for SQLite
	readOnly string   // what makes a DSN one that cannot write
	several  []string // what makes a DSN take several statements at once
	prepares []string // what makes it send a statement with its arguments, and prepare none
	usual    []string // settings where a test has none of its own
}

// wal is what the package's documentation recommends.
const wal = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"

var engines = []engine{
	{name: "SQLite", driver: "sqlite", dialect: sqlstore.SQLite, readOnly: "mode=ro", usual: []string{wal}},
	{name: "PostgreSQL", driver: "pgx", dialect: sqlstore.Postgres, variable: "AUTHAGENT_POSTGRES", readOnly: "default_transaction_read_only=on"},
	{
		name: "MySQL", driver: "mysql", dialect: sqlstore.MySQL, variable: "AUTHAGENT_MYSQL",
		readOnly: "tx_read_only=1", several: []string{"multiStatements=true"}, prepares: []string{"interpolateParams=true"},
	},
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

var tables = []string{
	"activity", "approvals", "deeds", "events", "grants", "links", "migrations", "profiles", "revocations", "rules", "sessions", "states", "tokens", "uses",
}

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
