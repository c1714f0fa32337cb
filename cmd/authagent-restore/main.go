// Command authagent-restore is run after a database with the tables of package sqlstore was restored from a
// backup, and before the site starts again. What was revoked after the backup was made would live again; the
// command ends all sessions, suspends every grant until its owner lets the agent in again, and takes back what was
// approved and not used. See sqlstore.Store.AfterRestore and docs/backup.md.
//
//	DATABASE_URL=postgres://... authagent-restore -yes
//
// The DSN is that of the driver: of github.com/jackc/pgx, github.com/go-sql-driver/mysql or modernc.org/sqlite.
// Without -yes, the command only says what it would do. It can be run again, such as after an error. The exit
// status is 0 if all is done, 1 if something could not be done, and 2 if the command line could not be used.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// settings are what the command line says.
type settings struct {
	driver, dsn, prefix string
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
	case !s.yes:
		fmt.Fprint(out, would)
		return exitUsage
	}
	done, err := restore(ctx, s)
	if err != nil {
		fmt.Fprintf(errs, "authagent-restore: %v\nIt is safe to run the command again.\n", err)
		return exitWrong
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
	flags.BoolVar(&s.yes, "yes", false, "do it; otherwise the command says what it would do")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.dsn = cmp.Or(s.dsn, getenv("DATABASE_URL")); s.dsn == "" && s.yes {
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

func restore(ctx context.Context, s settings) (done sqlstore.Restored, err error) {
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		return done, err
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.Config{Prefix: s.prefix, Timeout: time.Minute})
	if err != nil {
		return done, err
	}
	if s.migrate {
		if err := store.Migrate(ctx); err != nil {
			return done, err
		}
	}
	if err := store.Check(ctx); err != nil {
		return done, err
	}
	return store.AfterRestore(ctx)
}

const would = `authagent-restore is for a database that was restored from a backup. With -yes, it
- ends all sessions of agents, and all access tokens that were issued until now;
- suspends every grant, until its owner lets the agent in again;
- takes back single actions that wait or were approved, and ends all allowances;
- deletes the tokens that are kept.
Nothing of it can be undone but by the owners.
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
