package enginetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/sqlstore"
)

// demote makes every connection that the pool has, and so many, one that takes no
// writes, as one to a primary that has become a replica.
func (d *database) demote(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	var held []*sql.Conn
	for range n {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), d.engine.demote); err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Close()
	}
}

// TestDemoted_DB_1: DB-1. A pool full of connections to what is no primary any more
// serves the first call that comes, whichever it is.
func TestDemoted_DB_1(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		for what, use := range inOrder(uses(s)) {
			d.demote(t, db, 5)
			err := use(t.Context())
			if err != nil && !errors.Is(err, authagent.ErrNotFound) && !errors.Is(err, authagent.ErrConflict) {
				t.Errorf("%s: %v", what, err)
			}
		}
		d.demote(t, db, 5)
		s.Audit(t.Context(), audit.Event{Name: "x", Time: time.Now(), RequestID: "demoted"})
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_events WHERE request_id = 'demoted'`); n != 1 {
			t.Errorf("the event was stored %d times", n)
		}
		d.demote(t, db, 5)
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("Check: %v", err)
		}
		d.drop(t)
		d.demote(t, db, 5)
		if err := s.Migrate(t.Context()); err != nil {
			t.Errorf("Migrate: %v", err)
		}
		site := newSite(t, s)
		d.demote(t, db, 5)
		site.signIn(t, site.Browser())
	})
}

// dialer counts the connections that a pool makes.
type dialer struct {
	on   driver.Driver
	dsn  string
	made atomic.Int64
}

func (c *dialer) Driver() driver.Driver { return c.on }

func (c *dialer) Connect(ctx context.Context) (driver.Conn, error) {
	c.made.Add(1)
	with, ok := c.on.(driver.DriverContext)
	if !ok {
		return c.on.Open(c.dsn)
	}
	connector, err := with.OpenConnector(c.dsn)
	if err != nil {
		return nil, err
	}
	return connector.Connect(ctx)
}

// TestReadOnlyForGood_DB_1: DB-1. A database that is read-only by any connection says
// so, and is not connected to anew by each call.
func TestReadOnlyForGood_DB_1(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, good := d.migrated(t)
		c := &dialer{on: good.Driver(), dsn: d.with(d.readOnly)}
		db := sql.OpenDB(c)
		t.Cleanup(func() { db.Close() })
		s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		const calls = 100
		began := time.Now()
		for range calls {
			if _, err := s.States().UseState(t.Context(), "x", time.Now()); !errors.Is(err, sqlstore.ErrReadOnlyDatabase) {
				t.Fatal(err)
			}
		}
		seconds := int64(time.Since(began)/time.Second) + 1
		if most := 4 * seconds; c.made.Load() > most || most >= calls {
			t.Errorf("%d connections were made in %d s, at most %d are expected of %d calls", c.made.Load(), seconds, most, calls)
		}
	})
}
