// Command authagent-restore is run after a database with the tables of package sqlstore was restored from a
// backup, and before the site starts again. What was revoked after the backup was made would live again; the
// command ends all sessions, suspends every grant until its owner lets the agent in again, and takes back what was
// approved and not used. See sqlstore.Store.AfterRestore and docs/backup.md.
//
//	DATABASE_URL=postgres://... authagent-restore -yes
//
// The DSN is that of the driver: of github.com/jackc/pgx, github.com/go-sql-driver/mysql or modernc.org/sqlite.
// Without -yes, the command only looks, and says how much it would end. It can be run again, such as after an error.
// The exit status is 0 if all is done, 1 if something could not be done or looked at, 2 if the command line could not
// be used, and 3 if all could be done and nothing was, since -yes is missing: so a script does not start the site.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/authagent-go/authagent/sqlstore"
)

// The exit statuses.
const (
	exitOK    = 0
	exitWrong = 1
	exitUsage = 2
	exitAsked = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// settings are what the command line says.
type settings struct {
	driver, dsn, prefix string
	from                string // what has named the DSN, for errors
	migrate, yes        bool
}

func run(ctx context.Context, args []string, getenv func(string) string, out, errs io.Writer) int {
	s, err := parse(args, getenv, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(errs, "authagent-restore:", err)
		return exitUsage
	}
	done, err := restore(ctx, s)
	switch {
	case err != nil && s.yes:
		fmt.Fprintf(errs, "authagent-restore: %v\nIt is safe to run the command again.\n", err)
		return exitWrong
	case err != nil:
		fmt.Fprintf(errs, "authagent-restore: %v\nNothing was changed.\n", err)
		return exitWrong
	case !s.yes:
		fmt.Fprintf(out, would, done.Grants, done.Approvals, done.Unknown, done.Allowances, done.Tokens, done.Activity)
		return exitAsked
	}
	fmt.Fprintf(out, report, done.Grants, done.Approvals, done.Unknown, done.Allowances, done.Tokens, done.Activity)
	return exitOK
}

func parse(args []string, getenv func(string) string, errs io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("authagent-restore", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&s.driver, "driver", "", "pgx, mysql or sqlite; by default what the DSN looks like")
	flags.StringVar(&s.dsn, "dsn", "", "the DSN of the restored database; by default $DATABASE_URL, which no other user of the machine can read")
	flags.StringVar(&s.prefix, "prefix", "", "what the names of the tables begin with, if it is not authagent_")
	flags.BoolVar(&s.migrate, "migrate", false, "bring the tables up to this version first")
	flags.BoolVar(&s.yes, "yes", false, "do it; otherwise the command only looks, and says what it would do")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.from = "-dsn"; s.dsn == "" {
		s.from, s.dsn = "DATABASE_URL", getenv("DATABASE_URL")
	}
	if s.dsn == "" {
		return s, errors.New("neither -dsn nor DATABASE_URL says which database")
	}
	s.driver = cmp.Or(s.driver, driverOf(s.dsn))
	switch s.driver {
	case "pgx", "mysql", "sqlite":
		return s, nil
	}
	return s, fmt.Errorf("-driver: %q is none of pgx, mysql and sqlite", s.driver)
}

// driverOf guesses the driver that a DSN is for.
func driverOf(dsn string) string {
	switch {
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"), strings.HasPrefix(dsn, "host="):
		return "pgx"
	case strings.HasPrefix(dsn, "file:"), strings.HasSuffix(dsn, ".db"), strings.HasSuffix(dsn, ".sqlite"):
		return "sqlite"
	}
	return "mysql"
}

// isRestored refuses a database without any table of package sqlstore: it is not the one that was restored.
func isRestored(ctx context.Context, db *sql.DB, prefix string) error {
	var versions int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+prefix+"migrations").Scan(&versions); err != nil || versions == 0 {
		return fmt.Errorf("there is no table %smigrations with a version: is this the restored database, and is -prefix right? (%v)", prefix, err)
	}
	return nil
}

// restore does what the command is for; without -yes, it says how much that would be.
func restore(ctx context.Context, s settings) (done sqlstore.Restored, err error) {
	db, err := open(ctx, s)
	if err != nil {
		return done, err
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.Config{Prefix: s.prefix, Timeout: time.Minute})
	if err != nil {
		return done, fmt.Errorf("-prefix: %w", err)
	}
	if s.migrate && s.yes {
		if err := isRestored(ctx, db, cmp.Or(s.prefix, "authagent_")); err != nil {
			return done, fmt.Errorf("-migrate: %w", err)
		}
		if err := store.Migrate(ctx); err != nil {
			return done, fmt.Errorf("-migrate: %w", err)
		}
	}
	switch err := store.Check(ctx); {
	case errors.Is(err, sqlstore.ErrNotMigrated) && s.migrate && !s.yes:
		return done, fmt.Errorf("-migrate changes nothing without -yes, and then this can be said only after it: %w", err)
	case errors.Is(err, sqlstore.ErrNotMigrated):
		return done, fmt.Errorf("%w (another -prefix? an older version, which -migrate brings up to date?)", err)
	case err != nil:
		return done, err
	case !s.yes:
		return store.PreviewRestore(ctx)
	}
	return store.AfterRestore(ctx)
}

// open connects to the database. It makes none: at SQLite, a path with a mistake would be a new one.
func open(ctx context.Context, s settings) (*sql.DB, error) {
	named := func(err error) error { return fmt.Errorf("%s, with the driver %s: %w", s.from, s.driver, err) }
	if s.driver == "sqlite" {
		if _, err := os.Stat(pathOf(s.dsn)); err != nil {
			return nil, named(err)
		}
	}
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		return nil, named(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, named(err)
	}
	return db, nil
}

// pathOf returns the path of the file that a DSN of SQLite names.
func pathOf(dsn string) string {
	path, _, _ := strings.Cut(dsn, "?")
	u, err := url.Parse(path)
	if !strings.HasPrefix(path, "file:") || err != nil {
		return path
	}
	if relative, err := url.PathUnescape(u.Opaque); err == nil && relative != "" {
		return relative
	}
	return u.Path
}

const would = `Nothing was changed. With -yes, authagent-restore
- ends all sessions of agents, and all access tokens that were issued until then;
- suspends %d grants, until their owners let the agents in again;
- takes back %d single actions that wait or were approved; of %d that were being performed, owners have to say what became of them;
- ends %d allowances;
- deletes %d tokens that are kept, and no longer shows %d sessions.
Nothing of it can be undone but by the owners. It is for a database that was restored from a backup.
`

const report = `All sessions have ended, and access tokens that were issued until now are not taken any more.
%d grants are suspended until their owners let the agents in again.
%d single actions that waited or were approved have expired; %d were being performed, and nobody knows what became of them.
%d allowances have ended.
%d kept tokens are deleted, and %d sessions are not shown any more.

What is left to you:
- If Config.Revocations is not that of this database but in Redis or in memory, the sessions have NOT ended: set
  a new Config.Session.Epoch at all instances. It does not end access tokens: call EndAllSessions for them.
- Repeat what was decided about rules and the kill switch, which agents were freed, and which accounts were erased,
  since the backup was made: docs/backup.md.
`
