// Package sqlstore has the stores of package authagent in a SQL database:
// PostgreSQL, MySQL, MariaDB or SQLite, through database/sql and whichever driver
// the site has. Instances that share the database share what is in it: a logout
// at one counts at all, and a state is used once everywhere.
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
//	if err != nil {
//		log.Fatal(err)
//	}
//	store, err := sqlstore.New(db, sqlstore.Config{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	if err := store.Migrate(ctx); err != nil {
//		log.Fatal(err)
//	}
//	rp, err := authagent.New(authagent.Config{
//		// Issuer, ClientID, ClientSecret, RedirectURL, SessionKeys …
//		Scenario:     authagent.FreshProfile(store.Profiles()),
//		Session:      authagent.SessionSettings{Store: store.Sessions()}, // or leave it out: sessions are in cookies then
//		Revocations:  store.Revocations(),
//		States:       store.States(),
//		Tokens:       tokens.Settings{Store: store.Tokens()},
//		Audit:        store.Audit,
//		Erasers:      []authagent.Eraser{store.Trail()}, // for EraseUser and ExportUser
//	})
//
// [Links] makes a site's UserStore an authagent.AgentLinker, for sites without owner
// approval. Call [Store.DeleteExpired] once in a while: it removes what nobody needs
// any more.
//
// Where owners approve agents, [Store.Grants] keeps what they decide:
//
//	owners := grants.OwnerApproval(store.Grants())
//	// ...
//	Scenario: authagent.FullAccount(users, owners),
//
// # The database
//
// [Store.Migrate] makes the tables; any number of instances may call it at once. A
// site's own tool can make them as well, from what [Migrations] returns. The tables are
// the same on all engines. [Store.Check] says what is wrong with a database.
//
// IDs are compared byte for byte, whatever the database's collation. Primary keys ensure
// that an agent has one profile and that a state is used once, for any number of
// instances. A call that has returned without an error has been committed.
//
// Times are whole nanoseconds since 1970 UTC, in BIGINT columns. No engine rounds them,
// so a session that started a moment after a revocation differs from one that started a
// moment before. The time in a row is that of the instance that wrote it. If the clocks
// of two instances are minutes apart, each expires the other's rows that much early or
// late.
//
// Every call fails if the database was not migrated ([ErrNotMigrated]), lacks what a
// newer version of this package has removed ([ErrNewerSchema]), or has no connection
// left ([ErrNoConnection]). Calls that write also fail if the database is read-only
// ([ErrReadOnlyDatabase]), does not let its user ([ErrNoRight]) or cannot hold the text ([ErrEncoding]). The request that
// needs the call is refused. A schema works if a newer version has only added to it.
// After a failover, connections to the former primary are closed, and the statement is
// sent again. The version of the schema is read before the first use and once a minute,
// so that a running instance does not go on with tables that it does not know.
//
// # Grants
//
// An owner's decision, and the kill switch, count on the next request at each
// instance: nothing is kept in memory, and each request of an agent reads its grant
// and the site's rules. With the session and what was revoked, that is one statement
// (stores.Expecter), provided that all of them are of one Store. About once a minute,
// each session writes two rows, for its owner to see when and from where it acts.
//
// Unique indexes ensure that an agent has one grant for an account, and an action one
// approval. A decision is one UPDATE of the version that was read, which changes nothing
// if another decision came first. So an approved action passes once, however many
// instances it is sent to at once. A rule or an access that this version of the package
// does not know is an error, and nobody is let in.
//
// An allowance that was changed in the meantime is not changed, so two instances never take
// the same amount. An allowance that this version does not know in full is an error, and
// gives nothing.
//
// [Grants.Use] records in a transaction of the site that an action was performed. With
// that record, nothing has to be guessed after a crash: whoever inserts the row decides, the
// transaction or [Grants.Settle], whatever the transaction's isolation level.
//
// [Store.DeleteExpired] says which of these rows it removes, and which stay forever.
//
// # What is left to the site
//
//   - SQLite: let writers wait for each other in the engine and not here. With
//     modernc.org/sqlite, that is "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)".
//     A database in memory belongs to one connection; use a file, or
//     db.SetMaxOpenConns(1).
//   - MySQL: "interpolateParams=true" saves two round trips of each call.
//   - Everywhere: use no proxy in between that answers from a replica. All instances
//     must see a row as soon as it is written.
package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/metrics"
)

// Config holds the settings of a [Store]. The zero value is a good one.
type Config struct {
	// Dialect is the kind of the database. The default follows from the driver. A
	// driver that wraps another one hides it; set Dialect then.
	Dialect Dialect

	// Prefix begins the names of all tables and indexes. It is made of a-z, 0-9
	// and _, does not begin with a digit, and has at most 32 characters. The
	// default is "authagent_".
	Prefix string

	// Timeout bounds each call, as its context does: the wait for a connection, the
	// statement, and its repetition if the engine asks for that. The default is 5
	// seconds. For Migrate, it bounds only the wait for a connection.
	Timeout time.Duration

	// Logger gets the audit events that could not be stored; nil means
	// slog.Default().
	Logger *slog.Logger

	// Metrics counts the audit events that could not be stored, as metrics.QueueLost of the queue
	// "events" with the cause "store". Set what authagent.Config.Metrics is. Nil means that nothing is counted.
	Metrics metrics.Recorder
}

// What is wrong with a database. Errors of this package wrap these, and the
// driver's own error where there is one.
var (
	ErrNotMigrated      = errors.New("the database lacks tables of this package: run Migrate, or apply what Migrations returns")
	ErrNewerSchema      = errors.New("the database was migrated by a newer version of this package, and lacks what this program needs")
	ErrReadOnlyDatabase = errors.New("the database is read-only: a replica, a read-only user or file, or a setting of the connection")
	ErrNoConnection     = errors.New("the database has no connection left")
	ErrNoRight          = errors.New("the database user lacks a right on the table")
	ErrEncoding         = errors.New("the database cannot hold every text: it needs the encoding UTF8, at MySQL and MariaDB utf8mb4")
)

// A Store is a database with the tables of this package. It is safe for
// concurrent use.
type Store struct {
	db         *sql.DB
	engine     engine
	prefix     string
	migrations []Migration
	timeout    time.Duration
	logger     *slog.Logger
	meter      *meter.Meter
	queries    *sync.Map // statements as they are written here -> as the engine takes them
	turn       *turn     // that all calls belong to; nil if each is a transaction of its own

	// Times, in nanoseconds since 1970, or 0.
	checked   atomic.Int64 // when the schema was last found to be right
	emptied   atomic.Int64 // when all connections of the pool were last found to be read-only
	awaySince atomic.Int64 // since when record has not reached the database; 0 if it has
}

// New returns a Store on db, which remains the caller's to close. It checks the
// settings and sends nothing to the database.
func New(db *sql.DB, c Config) (*Store, error) {
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	if err := checkPrefix(c.Prefix); err != nil {
		return nil, err
	}
	if c.Timeout < 0 {
		return nil, errors.New("sqlstore: Timeout must not be negative")
	}
	if c.Dialect == 0 {
		detected, err := detect(db)
		if err != nil {
			return nil, err
		}
		c.Dialect = detected
	}
	engine, err := c.Dialect.engine()
	if err != nil {
		return nil, err
	}
	migrations, err := migrationsOf(engine, c.Prefix)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, engine: engine, prefix: c.Prefix, migrations: migrations,
		timeout: cmp.Or(c.Timeout, 5*time.Second), logger: cmp.Or(c.Logger, slog.Default()), queries: new(sync.Map),
	}
	s.meter = meter.New(c.Metrics, func(value any, stack []byte) {
		s.logger.Error("sqlstore: Config.Metrics panicked", "panic", fmt.Sprintf("%T", value), "stack", string(stack))
	})
	return s, nil
}

const (
	// defaultPrefix is also what names begin with in the SQL of this package.
	defaultPrefix = "authagent_"

	// maxPrefix keeps the longest name within PostgreSQL's 63 bytes.
	maxPrefix = 32
)

func checkPrefix(prefix string) error {
	for i, c := range []byte(prefix) {
		if (c < 'a' || c > 'z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return fmt.Errorf("sqlstore: Prefix %q is not made of a-z, 0-9 and _, beginning with a letter or _", prefix)
		}
	}
	if len(prefix) > maxPrefix {
		return fmt.Errorf("sqlstore: Prefix %q has %d characters, at most %d are possible", prefix, len(prefix), maxPrefix)
	}
	return nil
}
