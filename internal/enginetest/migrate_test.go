package enginetest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestMigrateAtOnce: ten instances that start at once, each with a pool of its
// own, make one schema.
func TestMigrateAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, setting := range d.atOnce {
			t.Run(setting, func(t *testing.T) {
				d := newDatabase(t, d.engine)
				const instances = 10
				errs := make([]error, instances)
				stores := make([]*sqlstore.Store, instances)
				for i := range stores {
					stores[i] = d.open(t, d.connect(t, setting))
				}
				var group sync.WaitGroup
				for i, s := range stores {
					group.Go(func() { errs[i] = errors.Join(s.Migrate(t.Context()), s.Check(t.Context())) })
				}
				group.Wait()
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
				if err := stores[0].Migrate(t.Context()); err != nil {
					t.Errorf("once more: %v", err)
				}
				migrations, err := sqlstore.Migrations(d.dialect, d.prefix)
				if n := d.count(t, d.connect(t), `SELECT COUNT(*) FROM authagent_migrations`); err != nil || n != len(migrations) {
					t.Errorf("%d migrations on record", n)
				}
			})
		}
	})
}

// TestMigrateWaits: whoever cannot get the lock gives up when its context ends,
// and holds nothing afterwards.
func TestMigrateWaits(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		db := d.connect(t)
		s := d.open(t, db)
		release := holdMigrationLock(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := s.Migrate(ctx); err == nil {
			t.Error("migrated without the lock")
		}
		release()
		if err := s.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		if stats := db.Stats(); stats.InUse != 0 {
			t.Errorf("%d connections are still in use", stats.InUse)
		}
	})
}

// TestMigrateLocks: where migrations are no transactions, one instance works while the
// others wait for its lock.
func TestMigrateLocks(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		if d.waiting == "" {
			return // TestMigrateAtOnce fails there
		}
		db := d.connect(t)
		s := d.open(t, db)
		release := holdMigrationLock(t, d)
		errs := make(chan error, 2)
		for range cap(errs) {
			go func() { errs <- s.Migrate(t.Context()) }()
		}
		for start := time.Now(); d.count(t, db, d.waiting) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Error("nobody waits for the lock")
				break
			}
		}
		release()
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// holdMigrationLock keeps every migration waiting until release is called.
func holdMigrationLock(t *testing.T, d *database) (release func()) {
	t.Helper()
	db := d.connect(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(statements []string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := conn.ExecContext(context.Background(), d.sql(statement)); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	run(d.holdLock)
	return func() { run(d.letLockGo); conn.Close() }
}

// TestMigrateInterrupted: where migrations are no transactions, what was done of one stays
// when the instance is killed, and the next instance finishes it.
func TestMigrateInterrupted(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		if d.waiting == "" {
			return // undone as a whole
		}
		db := d.connect(t)
		migrations, err := sqlstore.Migrations(d.dialect, d.prefix)
		if err != nil {
			t.Fatal(err)
		}
		var statements []string
		for _, m := range migrations {
			statements = append(statements, strings.SplitAfter(strings.TrimSpace(m.SQL), ";\n")...)
		}
		for done := range statements {
			d.drop(t)
			for _, statement := range statements[:done] {
				if _, err := db.Exec(statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			s := d.open(t, db)
			if err := errors.Join(s.Migrate(t.Context()), s.Check(t.Context())); err != nil {
				t.Errorf("after %d statements: %v", done, err)
			}
		}
	})
}

// TestMigrations: what a site's own tool makes of the SQL is what Migrate makes.
func TestMigrations(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		db := d.connect(t, d.several...)
		migrations, err := sqlstore.Migrations(d.dialect, d.prefix)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range migrations {
			if m.Version != i+1 || m.Name == "" || strings.Contains(m.SQL, "authagent_") {
				t.Errorf("migration %d: %+v", i+1, m)
			}
			if _, err := db.ExecContext(t.Context(), m.SQL); err != nil {
				t.Fatal(err)
			}
		}
		own := d.open(t, db)
		if err := errors.Join(own.Check(t.Context()), own.Migrate(t.Context())); err != nil {
			t.Error(err)
		}
		other := newDatabase(t, d.engine)
		_, otherDB := other.migrated(t)
		if diff := cmp.Diff(describe(t, other, otherDB), describe(t, d, db)); diff != "" {
			t.Errorf("by Migrate (-), by hand (+):\n%s", diff)
		}
	})
}

// describe lists the columns of all tables.
func describe(t *testing.T, d *database, db *sql.DB) (columns []string) {
	t.Helper()
	rows, err := db.Query(d.sql(d.columns + ` ORDER BY 1, 2`))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		columns = append(columns, strings.TrimPrefix(table, d.prefix)+"."+column)
	}
	if len(columns) < 40 || rows.Err() != nil {
		t.Fatalf("columns %q, %v", columns, rows.Err())
	}
	return columns
}

// TestExpandedSchema_CMP_3 is CMP-3: an instance goes on with a schema to which a newer
// version has only added, and refuses one from which it has taken something away.
func TestExpandedSchema_CMP_3(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, db := d.migrated(t)
		migrations, err := sqlstore.Migrations(d.dialect, d.prefix)
		if err != nil {
			t.Fatal(err)
		}
		newest := len(migrations)
		d.must(t, db, `ALTER TABLE authagent_links ADD COLUMN later INTEGER NOT NULL DEFAULT 0`)
		d.must(t, db, fmt.Sprintf(`INSERT INTO authagent_migrations (version) VALUES (%d)`, newest+1))
		d.must(t, db, fmt.Sprintf(`INSERT INTO authagent_migrations (version, oldest) VALUES (%d, %d)`, newest+2, newest))
		s := d.open(t, db) // which has not looked at the schema yet
		if err := errors.Join(s.Check(t.Context()), s.Migrate(t.Context())); err != nil {
			t.Fatalf("CMP-3: expanded: %v", err)
		}
		for what, use := range inOrder(uses(s)) {
			if err := use(t.Context()); err != nil && !errors.Is(err, authagent.ErrNotFound) && !errors.Is(err, authagent.ErrConflict) {
				t.Errorf("CMP-3: expanded: %s: %v", what, err)
			}
		}
		d.must(t, db, fmt.Sprintf(`INSERT INTO authagent_migrations (version, oldest) VALUES (%d, %d)`, newest+3, newest+1))
		s = d.open(t, db)
		for what, err := range inOrder(map[string]error{"Check": s.Check(t.Context()), "Migrate": s.Migrate(t.Context())}) {
			if !errors.Is(err, sqlstore.ErrNewerSchema) {
				t.Errorf("CMP-3: contracted: %s: %v", what, err)
			}
		}
	})
}

// TestExpandedWhileInUse_CMP_3: an instance whose connections have been in use when a newer
// version adds columns goes on, and its health check does not fail once.
func TestExpandedWhileInUse_CMP_3(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		use := func(when string) {
			t.Helper()
			for range 3 {
				if err := s.Check(t.Context()); err != nil {
					t.Errorf("CMP-3: %s: Check: %v", when, err)
				}
				for what, use := range inOrder(uses(s)) {
					if err := use(t.Context()); err != nil && !errors.Is(err, authagent.ErrNotFound) && !errors.Is(err, authagent.ErrConflict) {
						t.Errorf("CMP-3: %s: %s: %v", when, what, err)
					}
				}
			}
		}
		db.SetMaxOpenConns(1) // so that it is the connection that has been in use
		use("before")
		other := d.connect(t)
		for _, table := range tables {
			if table != "migrations" {
				d.must(t, other, `ALTER TABLE authagent_`+table+` ADD COLUMN later INTEGER NOT NULL DEFAULT 0`)
			}
		}
		d.must(t, other, `INSERT INTO authagent_migrations (version) VALUES (1000)`)
		use("expanded")
	})
}
