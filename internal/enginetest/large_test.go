package enginetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
)

// TestManyEvents_ERA_1_ERA_7 is ERA-1 and ERA-7 for an account of which there are more events than a page and a batch have, of its own
// and of what its holder did to others, several of them at one time: each is exported once, and none is left.
func TestManyEvents_ERA_1_ERA_7(t *testing.T) {
	const own, others = 2100, 2300
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		d.fill(t, db, own+others, "events")
		d.must(t, db, `UPDATE authagent_events SET remote_addr = '198.51.100.7', detail = agent_id, happened_at = happened_at - happened_at % 30000000000`)
		for column, n := range map[string]string{"user_id": fmt.Sprint("<= ", own), "human_id": fmt.Sprint("> ", own)} {
			d.must(t, db, `UPDATE authagent_events SET `+column+` = 'alice' WHERE id `+n)
		}
		d.must(t, db, `UPDATE authagent_events SET human_id = 'alice' WHERE id <= 10`) // what she did to herself
		var document bytes.Buffer
		x, err := stores.NewExport(&document, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Trail().ExportUser(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		var exported struct {
			Data []struct{ Records []struct{ Detail string } }
		}
		if err := json.Unmarshal(document.Bytes(), &exported); err != nil || len(exported.Data) != 1 {
			t.Fatalf("%v: %.200s", err, document.Bytes())
		}
		seen := make(map[string]bool)
		for _, r := range exported.Data[0].Records {
			seen[r.Detail] = true
		}
		if n := len(exported.Data[0].Records); n != own+others || len(seen) != n {
			t.Errorf("ERA-7: %d events are exported, %d of them different, want %d", n, len(seen), own+others)
		}
		e, err := stores.NewErasure("", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Trail().EraseUser(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{`user_id = 'alice'`, `human_id = 'alice'`, `remote_addr <> ''`} {
			if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_events WHERE `+left); n != 0 {
				t.Errorf("ERA-1: %d events are left with %s", n, left)
			}
		}
	})
}

// TestErasedMeanwhile_ERA_1: an event that is stored while its account is erased, with an earlier time than the last one that
// was found, is erased too. A trigger stores it, as the last batch is erased.
func TestErasedMeanwhile_ERA_1(t *testing.T) {
	d := newDatabase(t, sqlite)
	s, db := d.migrated(t)
	const many = 1200
	d.fill(t, db, many, "events")
	d.must(t, db, `UPDATE authagent_events SET user_id = 'alice'`)
	d.must(t, db, fmt.Sprintf(`CREATE TRIGGER authagent_late AFTER UPDATE ON authagent_events WHEN OLD.id = %d BEGIN
		INSERT INTO authagent_events (happened_at, name, request_id, method, route, remote_addr, issuer, session_id, agent_issuer, agent_id,
			user_id, human_id, scenario, profile_id, grant_id, access, action, outcome, reason, detail)
		VALUES (1, 'late', '', '', '', '', '', '', '', '', 'alice', '', '', '', '', '', '', '', '', ''); END`, many))
	e, err := stores.NewErasure("", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Trail().EraseUser(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_events WHERE user_id = 'alice'`); n != 0 {
		t.Errorf("ERA-1: %d events are left that were stored meanwhile", n)
	}
	if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_events`); n != many+1 {
		t.Errorf("there are %d events, want %d", n, many+1)
	}
}

// TestCleanUpLetsWrite: at SQLite, where those who write look only from time to time whether they may, a clean-up lets them.
func TestCleanUpLetsWrite(t *testing.T) {
	const batches, batch = 30, 1000
	d := newDatabase(t, sqlite)
	s, db := d.migrated(t)
	d.fill(t, db, batches*batch, "sessions")
	d.must(t, db, `UPDATE authagent_sessions SET expires_at = 1`)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			if _, err := s.States().UseState(t.Context(), fmt.Sprint("state ", n), time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			n++
			time.Sleep(2 * time.Millisecond)
		}
		written <- n
	}()
	start := time.Now()
	deleted, err := s.DeleteExpired(t.Context(), batch)
	took := time.Since(start)
	cancel()
	n := <-written
	if err != nil || deleted != batches*batch || n < 2*batches {
		t.Errorf("%d rows deleted in %v, and %d others written meanwhile: %v", deleted, took, n, err)
	}
}

// TestIndexBuiltBefore: a site with a long trail builds the index of migration 16 as it likes, and Migrate leaves it as it is.
func TestIndexBuiltBefore(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		db := d.connect(t)
		migrations, err := sqlstore.Migrations(d.dialect, d.prefix)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range migrations[:slices.IndexFunc(migrations, func(m sqlstore.Migration) bool { return m.Name == "whose" })] {
			for _, statement := range strings.SplitAfter(strings.TrimSpace(m.SQL), ";\n") {
				d.must(t, db, statement)
			}
		}
		index := map[string]string{
			postgres.name: `CREATE INDEX CONCURRENTLY authagent_events_human ON authagent_events (human_id, id) WHERE human_id <> ''`, // of docs/database.md
			sqlite.name:   `CREATE INDEX authagent_events_human ON authagent_events (human_id, id) WHERE human_id <> ''`,
			mysql.name:    `CREATE INDEX authagent_events_human ON authagent_events (human_id, id)`,
		}
		d.must(t, db, index[d.name])
		s := d.open(t, db)
		if err := errors.Join(s.Migrate(t.Context()), s.Check(t.Context())); err != nil {
			t.Error(err)
		}
	})
}
