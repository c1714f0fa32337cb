package enginetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// wrong are set-ups that cannot work. set breaks a database with the tables and
// returns an instance's connection to it.
var wrong = []struct {
	name   string
	set    func(t *testing.T, d *database, db *sql.DB) *sql.DB
	is     error
	text   string // of the error, beside that of is
	server bool   // an engine that is a file cannot be set up like that
}{
	{
		"not migrated",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB { d.drop(t); return db },
		sqlstore.ErrNotMigrated, "version 0 of ", false,
	},
	{
		"migrated half-way",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB {
			d.must(t, db, `DELETE FROM authagent_migrations`)
			return db
		},
		sqlstore.ErrNotMigrated, "version 0 of ", false,
	},
	{
		"migrated by an older version",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB {
			d.must(t, db, `DELETE FROM authagent_migrations WHERE version > 1`)
			return db
		},
		sqlstore.ErrNotMigrated, "version 1 of ", false,
	},
	{
		"newer",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB {
			d.must(t, db, `INSERT INTO authagent_migrations (version, oldest) VALUES (1000, 1000)`)
			return db
		},
		sqlstore.ErrNewerSchema, "version 1000", false,
	},
	{
		"no connection left in the pool",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB {
			db.SetMaxOpenConns(1)
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return db
		},
		sqlstore.ErrNoConnection, "all 1 of the pool", false,
	},
	{
		"no connection left at the server",
		crowded,
		sqlstore.ErrNoConnection, "", true,
	},
	{
		"closed",
		func(t *testing.T, d *database, db *sql.DB) *sql.DB {
			db.Close()
			return db
		},
		nil, "database is closed", false,
	},
}

// crowded returns a connection as a user who may have one, and has it.
func crowded(t *testing.T, d *database, _ *sql.DB) *sql.DB {
	user := "u" + strings.ToLower(rand.Text()[:8])
	begin, finish := d.crowd(user)
	admin := d.connect(t)
	for _, statement := range begin {
		d.must(t, admin, statement)
	}
	as := *d
	at := strings.Index(d.dsn, "@")
	scheme, _, found := strings.Cut(d.dsn, "//")
	if as.dsn = user + d.dsn[at:]; found {
		as.dsn = scheme + "//" + as.dsn
	}
	holder, limited := as.connect(t), as.connect(t)
	conn, err := holder.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		holder.Close()
		limited.Close()
		for _, statement := range finish {
			if _, err := admin.Exec(statement); err != nil {
				t.Error(err)
			}
		}
	})
	return limited
}

// TestWrongSetUp: Check names what is wrong, each use does, and a relying party
// on such a database refuses, without a handler having run: MW-1.
func TestWrongSetUp(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, test := range wrong {
			if test.server && d.crowd == nil {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				d := newDatabase(t, d.engine)
				good, db := d.migrated(t)
				site := newSite(t, good)
				cookies := site.signIn(t, site.Browser())
				started := site.begin(t)

				broken := test.set(t, d, db)
				timeout := 5 * time.Second
				if test.text == "all 1 of the pool" { // each call waits until then
					timeout = 100 * time.Millisecond
				}
				s, err := sqlstore.New(broken, sqlstore.Config{
					Prefix: d.prefix, Dialect: d.dialect, Timeout: timeout, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					t.Fatal(err)
				}
				isWrong := func(what string, err error) {
					t.Helper()
					if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
						t.Errorf("%s: %v", what, err)
					}
				}
				isWrong("Check", s.Check(t.Context()))
				for what, use := range inOrder(uses(s)) {
					isWrong(what, use(t.Context()))
				}
				if test.is == sqlstore.ErrNewerSchema {
					isWrong("Migrate", s.Migrate(t.Context()))
				}
				site.use(t, s)
				site.refuses(t, cookies, started)
			})
		}
	})
}

// TestReadOnly is TestWrongSetUp for a database that can be read: sessions are
// loaded there, and nothing can be written.
func TestReadOnly(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		good, _ := d.migrated(t)
		site := newSite(t, good)
		cookies := site.signIn(t, site.Browser())
		started := site.begin(t)
		s := d.open(t, d.connect(t, d.readOnly))
		isReadOnly := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, sqlstore.ErrReadOnlyDatabase) || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("%s: %v", what, err)
			}
		}
		isReadOnly("Check", s.Check(t.Context()))
		for what, use := range inOrder(uses(s)) {
			switch err := use(t.Context()); {
			case slices.Contains(strings.Fields("LoadTokens Profiles.Get LinkedUser Marks Events Sessions.New "+grantReads), what):
				if err != nil && !errors.Is(err, authagent.ErrNotFound) {
					t.Errorf("%s: %v", what, err)
				}
			default:
				isReadOnly(what, err)
			}
		}
		site.use(t, s)
		if status := site.get(t, "/me", cookies).StatusCode; status != http.StatusOK {
			t.Errorf("/me: %d", status)
		}
		if resp := site.get(t, started.callback, started.cookies); resp.StatusCode < 500 || resp.Reason() != problem.StoreFailed {
			t.Errorf("callback: %d %s", resp.StatusCode, resp.Text)
		}
		if status := site.post(t, "/auth/agent/logout", cookies).StatusCode; status < 500 {
			t.Errorf("a logout that could not be recorded was answered with %d", status)
		}
	})
}

// uses are all calls of a store that go to the database, but Audit.
func uses(s *sqlstore.Store) map[string]func(context.Context) error {
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_" + rand.Text()}
	later := time.Now().Add(time.Hour)
	r := httptest.NewRequest(http.MethodGet, "https://site.example/", nil)
	r.Header.Set("Cookie", "name="+rand.Text())
	all := map[string]func(context.Context) error{
		"FindOrCreateProfile": func(ctx context.Context) error {
			_, err := s.Profiles().FindOrCreateProfile(ctx, authagent.Profile{Agent: agent, Scenario: "S"})
			return err
		},
		"Profiles.Get": func(ctx context.Context) error { _, err := s.Profiles().Get(ctx, "x"); return err },
		"LinkAgent":    func(ctx context.Context) error { _, err := s.Links().LinkAgent(ctx, agent, "u"); return err },
		"LinkedUser": func(ctx context.Context) error {
			_, err := s.Links().LinkedUser(ctx, authagent.Agent{Issuer: "https://as.example", ID: "nobody"})
			return err
		},
		"UseState": func(ctx context.Context) error { _, err := s.States().UseState(ctx, rand.Text(), later); return err },
		"Revoke":   func(ctx context.Context) error { return s.Revocations().Revoke(ctx, rand.Text(), rand.Text(), later) },
		"Marks": func(ctx context.Context) error {
			_, err := s.Revocations().Marks(ctx, []string{rand.Text()})
			return err
		},
		"SaveTokens": func(ctx context.Context) error {
			return s.Tokens().SaveTokens(ctx, rand.Text(), nil, []byte("x"), later)
		},
		"Limits.Take": func(ctx context.Context) error {
			_, err := s.Limits().Take(ctx, limits.Budget{Key: "a", Rate: limits.Rate{N: 1, Per: 1}}, limits.Budget{Key: "b", Rate: limits.Rate{N: 1, Per: 1}})
			return err
		},
		"Limits.Return": func(ctx context.Context) error {
			return s.Limits().Return(ctx, limits.Budget{Key: "a", Rate: limits.Rate{N: 1, Per: 1}})
		},
		"LoadTokens":    func(ctx context.Context) error { _, err := s.Tokens().LoadTokens(ctx, rand.Text()); return err },
		"DeleteTokens":  func(ctx context.Context) error { return s.Tokens().DeleteTokens(ctx, rand.Text()) },
		"Sessions.New":  func(ctx context.Context) error { _, err := s.Sessions().New(r.WithContext(ctx), "name"); return err },
		"Events":        func(ctx context.Context) error { _, _, err := s.Events(ctx, sqlstore.EventQuery{}); return err },
		"DeleteExpired": func(ctx context.Context) error { _, err := s.DeleteExpired(ctx, 0); return err },
		"DeleteEvents":  func(ctx context.Context) error { _, err := s.DeleteEvents(ctx, time.Now(), 0); return err },
		"Sessions.Save": func(ctx context.Context) error {
			gs := sessions.NewSession(s.Sessions(), "name")
			gs.Options = &sessions.Options{MaxAge: 60}
			return s.Sessions().Save(r.WithContext(ctx), httptest.NewRecorder(), gs)
		},
	}
	maps.Copy(all, grantUses(s))
	return all
}

// TestSchemaChangesUnderneath: an instance that runs when the tables go, or are
// migrated by a newer one, says so, and recovers by itself.
func TestSchemaChangesUnderneath(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		use := uses(s)
		if err := use["FindOrCreateProfile"](t.Context()); err != nil {
			t.Fatal(err)
		}
		d.drop(t)
		for what, use := range inOrder(use) {
			if err := use(t.Context()); !errors.Is(err, sqlstore.ErrNotMigrated) {
				t.Errorf("%s without tables: %v", what, err)
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := use["FindOrCreateProfile"](t.Context()); err != nil {
			t.Errorf("after Migrate: %v", err)
		}
		d.must(t, db, `INSERT INTO authagent_migrations (version, oldest) VALUES (1000, 1000)`)
		d.must(t, db, `ALTER TABLE authagent_profiles RENAME COLUMN model TO modell`)
		if err := use["Profiles.Get"](t.Context()); !errors.Is(err, sqlstore.ErrNewerSchema) {
			t.Errorf("with tables that are newer: %v", err)
		}
	})
}

// TestEveryDialect: each dialect has a row in engines.
func TestEveryDialect(t *testing.T) {
	var without []sqlstore.Dialect
	for d := sqlstore.Dialect(1); ; d++ {
		if _, err := sqlstore.Migrations(d, ""); err != nil {
			break
		}
		if !slices.ContainsFunc(engines, func(e engine) bool { return e.dialect == d }) {
			without = append(without, d)
		}
	}
	if len(without) > 0 {
		t.Errorf("%v is not tested", without)
	}
}

// TestWrongDialect: Check tells another engine from the one that was named.
func TestWrongDialect(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, db := d.migrated(t)
		for _, e := range engines {
			s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix, Dialect: e.dialect})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); (err == nil) != (e.dialect == d.dialect) || err != nil && !strings.Contains(err.Error(), e.name) {
				t.Errorf("as %s: %v", e.name, err)
			}
		}
	})
}

// TestCheckTables: a table that is missing, or may not be read, is named.
func TestCheckTables(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.must(t, db, `DROP TABLE authagent_tokens`)
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "tokens") {
			t.Errorf("err %v", err)
		}
	})
}
