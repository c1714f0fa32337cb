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
//		Tokens:       authagent.TokenSettings{Store: store.Tokens()},
//		Audit:        store.Audit,
//	})
//
// [Links] makes a site's UserStore an authagent.AgentLinker. Once in a while,
// [Store.DeleteExpired] removes what nobody needs any more.
//
// Where owners approve agents, [Store.Grants] keeps what they decide:
//
//	owners := grants.OwnerApproval(store.Grants())
//	// ...
//	Scenario: authagent.FullAccount(users, owners),
//
// # The database
//
// The tables are made by [Store.Migrate], which any number of instances may call
// at once, or by a site's own tool from what [Migrations] returns. They are the
// same on all engines. [Store.Check] says what is wrong with a database.
//
// IDs are compared byte for byte, whatever the database's collation. That an
// agent has one profile, and that a state is used once, is a primary key's
// doing, and holds for any number of instances. A call that has returned
// without an error has been committed.
//
// Times are whole nanoseconds since 1970 UTC, in BIGINT columns: no engine
// rounds them, so that a session which started a moment after a revocation is
// told from one that started a moment before. They are the times of the instance
// that writes; instances whose clocks are apart by minutes expire each other's
// rows early or late by as much.
//
// A database that was not migrated ([ErrNotMigrated]), lacks what a newer version of
// this package has taken away ([ErrNewerSchema]), is read-only
// ([ErrReadOnlyDatabase]), cannot hold a text ([ErrEncoding]) or has no connection left
// ([ErrNoConnection]) refuses each request that needs it. After a failover,
// connections to what is no primary any more are closed, and the statement is sent
// again. One to which a newer version has only added goes on. The version is looked at before the first use and
// once a minute, so that a running instance does not go on with tables that it
// does not know.
//
// # Grants
//
// An owner's decision, and the kill switch, count on the next request at each
// instance: nothing is kept in memory, and each request of an agent reads two
// rows by primary key, its grant and the site's rules. About once a minute,
// each session writes two more, for its owner to see when and from where it acts.
//
// That an agent has one grant for an account, and an action one approval, are
// unique indexes; and a decision is one UPDATE of the version that was seen, which
// changes nothing if another came first. So an approved action passes once,
// however many instances it is sent to at once. Rules, or an access, that this
// version of the package does not know are an error, and let nobody in.
//
// [Store.DeleteExpired] says what of it is removed, and what is kept for good.
//
// # What is left to the site
//
// On SQLite, to let writers wait for each other in the engine and not here: with
// modernc.org/sqlite, "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)".
// A SQLite database in memory is one per connection; use a file, or
// db.SetMaxOpenConns(1). On MySQL, "interpolateParams=true" saves two round trips
// of each call. Everywhere, to have no proxy in between that answers from a
// replica: what was written a moment ago must be seen by all.
package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
)

// Config holds the settings of a [Store]. The zero value is a good one.
type Config struct {
	// Dialect is the kind of the database. By default it is known from the
	// driver; a driver that is wrapped in another one hides it.
	Dialect Dialect

	// Prefix begins the names of all tables and indexes. It is made of a-z, 0-9
	// and _, does not begin with a digit, and has at most 32 characters. The
	// default is "authagent_".
	Prefix string

	// Timeout bounds each call beside its context: the wait for a connection,
	// the statement, and its repetition where the engine asks for that. The
	// default is 5 seconds. Of Migrate it bounds the wait for a connection; the
	// rest has no bound but the context.
	Timeout time.Duration

	// Logger gets the audit events that could not be stored; nil means
	// slog.Default().
	Logger *slog.Logger
}

// What is wrong with a database. Errors of this package wrap these, and the
// driver's own error where there is one.
var (
	ErrNotMigrated      = errors.New("the database lacks tables of this package: run Migrate, or apply what Migrations returns")
	ErrNewerSchema      = errors.New("the database was migrated by a newer version of this package, and lacks what this program needs")
	ErrReadOnlyDatabase = errors.New("the database is read-only: a replica, a read-only user or file, or a setting of the connection")
	ErrNoConnection     = errors.New("the database has no connection left")
	ErrEncoding         = errors.New("the database cannot hold every text: it needs the encoding UTF8, at MySQL and MariaDB utf8mb4")
)

// A Store is a database with the tables of this package. It is safe for
// concurrent use.
type Store struct {
	db      *sql.DB
	dialect Dialect
	prefix  string
	timeout time.Duration
	logger  *slog.Logger
	queries sync.Map     // text as it is written here -> as the engine gets it
	checked atomic.Int64 // when the schema was last found to be right, in nanoseconds

	emptied   atomic.Int64 // when all connections of the pool were last found to be read-only, in nanoseconds
	awaySince atomic.Int64 // when the database began to be out of reach of record, in nanoseconds; 0 if it is not
}

// New returns a Store on db, which remains the caller's to close. It checks the
// settings and sends nothing to the database.
func New(db *sql.DB, c Config) (*Store, error) {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
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
	if err := c.Dialect.check(); err != nil {
		return nil, err
	}
	return &Store{db: db, dialect: c.Dialect, prefix: c.Prefix, timeout: c.Timeout, logger: c.Logger}, nil
}

const (
	// defaultPrefix is also what names begin with in the SQL of this package.
	defaultPrefix = "authagent_"

	// maxPrefix leaves the longest name within PostgreSQL's 63 bytes.
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

// Check reports everything that would keep the database from serving: it cannot
// be reached, is of another engine than Dialect says, lacks the migrations or
// has newer ones, cannot be read or written, or cannot hold every text. Call it when the site starts,
// and behind its health check.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	steps := []struct {
		name  string
		check func(context.Context) error
	}{
		{"connect", s.db.PingContext},
		{"check that the engine is " + s.dialect.String(), s.checkEngine},
		{"check schema", s.checkSchema},
		{"check that the database can be written", s.checkWritable},
		{"check that the database can hold every text", s.checkEncoding},
	}
	for _, step := range steps {
		if err := s.again(ctx, func() error { return step.check(ctx) }); err != nil {
			return s.failed(ctx, step.name, err)
		}
	}
	for _, table := range tables {
		if err := s.again(ctx, func() error { return s.checkTable(ctx, table) }); err != nil {
			return s.failed(ctx, "check table "+s.prefix+table, err)
		}
	}
	return nil
}

// tables are those of the newest migration.
var tables = [...]string{
	"activity", "approvals", "deeds", "events", "grants", "links", "profiles", "revocations", "rules", "sessions", "states", "tokens", "uses",
}

func (s *Store) checkEngine(ctx context.Context) error {
	var version string
	if err := s.db.QueryRowContext(ctx, s.dialect.versionQuery()).Scan(&version); err != nil {
		return err
	}
	if s.dialect == Postgres && !strings.HasPrefix(version, "PostgreSQL ") {
		return fmt.Errorf("it calls itself %q", version)
	}
	return nil
}

// checkWritable deletes nothing, since nothing has an empty ID. An engine that
// takes no writes refuses this one too.
func (s *Store) checkWritable(ctx context.Context) error {
	return s.onPrimary(ctx, func(q querier) error {
		_, err := q.ExecContext(ctx, s.query(`DELETE FROM authagent_states WHERE id = ''`))
		return err
	})
}

func (s *Store) checkTable(ctx context.Context, table string) error {
	rows, err := s.db.QueryContext(ctx, s.query(`SELECT * FROM authagent_`+table+` WHERE 1 = 0`))
	if err != nil {
		return err
	}
	return errors.Join(rows.Err(), rows.Close())
}

// recheck is how long the schema is taken to be what it was.
const recheck = time.Minute

// ready refuses to use a database whose schema is not the one of this version.
func (s *Store) ready(ctx context.Context) error {
	if age := time.Now().UnixNano() - s.checked.Load(); age >= 0 && age < int64(recheck) {
		return nil
	}
	return s.checkSchema(ctx)
}

// checkSchema compares the migrations that the database has with those known here.
func (s *Store) checkSchema(ctx context.Context) error {
	have, err := s.version(ctx, s.db)
	switch {
	case err != nil:
		return err
	case have < newest:
		return fmt.Errorf("%w (it has version %d of %d, prefix %q)", ErrNotMigrated, have, newest, s.prefix)
	case have > newest:
		if err := s.checkNewer(ctx, s.db, have); err != nil {
			return err
		}
	}
	s.checked.Store(time.Now().UnixNano())
	return nil
}

// checkNewer refuses a schema of version have, which is newer than this program,
// unless all that was done to it since is expanding.
func (s *Store) checkNewer(ctx context.Context, q querier, have int) error {
	var oldest sql.NullInt64
	if err := q.QueryRowContext(ctx, s.query(`SELECT MAX(oldest) FROM authagent_migrations`)).Scan(&oldest); err != nil {
		return err
	}
	if oldest.Int64 > newest {
		return fmt.Errorf("%w (it has version %d, which takes programs from version %d on; this one has %d)", ErrNewerSchema, have, oldest.Int64, newest)
	}
	return nil
}

// querier is a *sql.DB, *sql.Conn or *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// version returns the newest migration that the database has, 0 for none.
func (s *Store) version(ctx context.Context, q querier) (int, error) {
	var tables int
	err := q.QueryRowContext(ctx, s.dialect.rebind(s.dialect.existsQuery()), s.prefix+"migrations").Scan(&tables)
	if err != nil || tables == 0 {
		return 0, err
	}
	var version sql.NullInt64
	err = q.QueryRowContext(ctx, s.query(`SELECT MAX(version) FROM authagent_migrations`)).Scan(&version)
	return int(version.Int64), err
}

// exec runs one statement that is a transaction of its own, and returns how many
// rows it has changed.
func (s *Store) exec(ctx context.Context, step, query string, args ...any) (changed int64, err error) {
	query, args = s.bind(query, args)
	err = s.run(ctx, step, func(ctx context.Context, q querier) error {
		result, err := q.ExecContext(ctx, query, args...)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

// row reads one row into dest, and reports whether there is one.
func (s *Store) row(ctx context.Context, step, query string, args []any, dest ...any) (found bool, err error) {
	query, args = s.bind(query, args)
	err = s.run(ctx, step, func(ctx context.Context, q querier) error {
		err := q.QueryRowContext(ctx, query, args...).Scan(dest...)
		found = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, err
}

// run runs one statement within the time it may take, again where the engine
// has given it up in favour of another.
func (s *Store) run(ctx context.Context, step string, statement func(context.Context, querier) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.again(ctx, func() error {
		if err := s.ready(ctx); err != nil {
			return err
		}
		return s.onPrimary(ctx, func(q querier) error { return statement(ctx, q) })
	})
	if err != nil {
		return s.failed(ctx, step, s.suspect(ctx, err))
	}
	return nil
}

// again calls f until it does not fail for a reason that passes, or time is up.
func (s *Store) again(ctx context.Context, f func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 64*time.Millisecond) {
		err := f()
		if err == nil || !s.dialect.passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + jitter(pause)):
		}
	}
}

// jitter keeps those that wait for each other from coming back together.
func jitter(most time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.NativeEndian.Uint64(b[:]) % uint64(most))
}

// suspect looks at the schema again after an error that the engine has no
// number of its own for: tables may have changed since they were last looked at.
func (s *Store) suspect(ctx context.Context, err error) error {
	if ctx.Err() != nil || s.dialect.meaning(err) != nil || isSchema(err) {
		return err
	}
	if schema := s.checkSchema(ctx); isSchema(schema) {
		return fmt.Errorf("%w: %w", schema, err)
	}
	return err
}

func isSchema(err error) bool {
	return errors.Is(err, ErrNotMigrated) || errors.Is(err, ErrNewerSchema)
}

// failed says what an error of the database means.
func (s *Store) failed(ctx context.Context, step string, err error) error {
	stats := s.db.Stats()
	switch meaning := s.dialect.meaning(err); {
	case meaning != nil:
		err = fmt.Errorf("%w: %w", meaning, err)
	case ctx.Err() != nil && stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections:
		err = fmt.Errorf("%w: all %d of the pool are in use: %w", ErrNoConnection, stats.MaxOpenConnections, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", step, err)
}

// query returns a statement of this package as the engine gets it: with the
// site's prefix, and with the engine's placeholders.
func (s *Store) query(text string) string {
	if done, ok := s.queries.Load(text); ok {
		return done.(string)
	}
	done := s.dialect.rebind(s.dialect.readText(strings.ReplaceAll(text, defaultPrefix, s.prefix)))
	s.queries.Store(text, done)
	return done
}

// newID makes an opaque ID of 130 random bits.
func newID() string { return rand.Text() }

// key is the SHA-256 of parts, each with its length before it so that no two
// lists of parts are alike. Keys stand for what is too long for an index.
func key(parts ...string) []byte {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// The lengths of columns, in bytes.
const (
	maxID     = 255 // also OpenID Connect Core section 2: sub has at most 255
	maxIssuer = 2048
	maxText   = 4096
	maxBlob   = 1 << 20
)

// field is a value on its way into a column.
type field struct {
	name, value string
	most        int
}

// checkFields refuses values that some engine would cut or alter: a name that is
// stored as another one could be somebody else's.
func checkFields(step string, fields ...field) error {
	for _, f := range fields {
		switch {
		case len(f.value) > f.most:
			return fmt.Errorf("sqlstore: %s: %s has %d bytes, at most %d can be stored", step, f.name, len(f.value), f.most)
		case !utf8.ValidString(f.value) || strings.Contains(f.value, "\x00"):
			return fmt.Errorf("sqlstore: %s: %s %q is not text", step, f.name, f.value)
		}
	}
	return nil
}

func agentFields(a authagent.Agent) []field {
	return []field{{"issuer", a.Issuer, maxIssuer}, {"agent ID", a.ID, maxID}}
}

// clean makes text of whatever s is, of at most so many bytes. It is for what
// people read, and must not be lost because of a character.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// nanos is t as it is stored. What does not fit is as far away as possible.
func nanos(t time.Time) int64 {
	switch {
	case t.Unix() <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}
