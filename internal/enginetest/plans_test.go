package enginetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// A statement is one that was sent to PostgreSQL.
type statement struct {
	sql  string
	args []any
}

// recorder is a [pgx.QueryTracer] that remembers each statement once.
type recorder struct {
	mu  sync.Mutex
	all map[string]statement
}

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[data.SQL] = statement{data.SQL, data.Args}
	return ctx
}

func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// fill makes so many rows of each table of grants, with 100 to an account.
const fill = 20_000

var fills = []string{
	`INSERT INTO authagent_grants SELECT 'g' || i, sha256(('k' || i)::bytea), sha256(('a' || i / 100)::bytea), 1, 'i', 'a' || i, 'S', 'u' || i / 100,
		(ARRAY['approved', 'revoked', 'pending'])[i % 3 + 1], 'full', '[]', '', '', '', 0, '', 0, i FROM generate_series(1, $1::int) i`,
	`INSERT INTO authagent_approvals SELECT 'a' || i, sha256(('k' || i)::bytea), 1, 'u' || i / 100, 'd', 'g' || i, 'i', 'a', 'x', 'used', 'POST', '', '', '', 0,
		i FROM generate_series(1, $1::int) i`,
	`INSERT INTO authagent_activity SELECT 's' || i, 'g' || i, 'u' || i / 100, '', '', 0, 0, i FROM generate_series(1, $1::int) i`,
	`INSERT INTO authagent_uses SELECT sha256(('k' || i)::bytea), NULL, 'g' || i / 100, 'u' || i / 100, '', i FROM generate_series(1, $1::int) i`,
	`INSERT INTO authagent_deeds (user_id, grant_id, happened_at, event, action, route, outcome, reason)
		SELECT 'u' || i / 100, 'g' || i, i, '', '', '', '', '' FROM generate_series(1, $1::int) i`,
	`INSERT INTO authagent_rules SELECT i + 1, '{}' FROM generate_series(1, $1::int) i`, // there is one in fact, which needs no index
}

// TestGrantPlans: PostgreSQL needs to read no table from end to end for any call
// of the store of grants.
func TestGrantPlans(t *testing.T) {
	var d *database
	for _, e := range engines {
		if e.name == "PostgreSQL" {
			d = newDatabase(t, e)
		}
	}
	_, plain := d.migrated(t)
	for _, statement := range fills {
		d.must(t, plain, statement, fill)
	}
	for _, table := range []string{"grants", "approvals", "activity", "uses", "deeds", "rules"} {
		d.must(t, plain, `ANALYZE authagent_`+table)
	}
	config, err := pgx.ParseConfig(os.Getenv(d.variable))
	if err != nil {
		t.Fatal(err)
	}
	sent := &recorder{all: make(map[string]statement)}
	config.Tracer = sent
	db := stdlib.OpenDB(*config)
	defer db.Close()
	s := d.open(t, db)
	useAll(t, s.Grants())
	if _, err := s.DeleteExpired(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	explained := 0
	for _, st := range sent.all {
		if !strings.Contains(st.sql, d.prefix) || strings.Contains(st.sql, "migrations") {
			continue
		}
		explained++
		plan := explain(t, plain, st)
		if strings.Contains(plan, "Seq Scan on "+d.prefix) && !emptyTables(plan, d.prefix) {
			t.Errorf("%s\n%s", st.sql, plan)
		}
	}
	if explained < 25 {
		t.Errorf("only %d statements were explained", explained)
	}
}

// emptyTables reports whether a plan is for a table that this test leaves empty.
func emptyTables(plan, prefix string) bool {
	for _, table := range []string{"states", "revocations", "tokens", "sessions"} {
		if strings.Contains(plan, "Seq Scan on "+prefix+table) {
			return true
		}
	}
	return false
}

func explain(t *testing.T, db *sql.DB, st statement) (plan string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+st.sql, st.args...)
	if err != nil {
		t.Fatalf("%s: %v", st.sql, err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan += line + "\n"
	}
	return plan
}

// useAll calls every method of a store, so that each statement is sent.
func useAll(t *testing.T, s grants.Store) {
	t.Helper()
	ctx, later := t.Context(), time.Now().Add(time.Hour)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g := grants.Grant{ID: "new", Version: 1, Agent: authagent.Agent{Issuer: "i", ID: "new"}, Scenario: "S", UserID: "u1", State: grants.Approved, ExpiresAt: later}
	_, _, err := s.CreateGrant(ctx, g)
	check(err)
	_, err = s.UpdateGrant(ctx, g)
	check(err)
	_, err = s.Grant(ctx, g.ID)
	check(err)
	_, err = s.AgentGrants(ctx, g.Agent)
	check(err)
	_, err = s.OwnerGrants(ctx, "u1")
	check(err)
	a := grants.Approval{ID: "new", Version: 1, UserID: "u1", Digest: "new", ExpiresAt: later}
	_, _, err = s.CreateApproval(ctx, a)
	check(err)
	_, err = s.UpdateApproval(ctx, a)
	check(err)
	_, err = s.Approval(ctx, a.ID)
	check(err)
	_, err = s.OwnerApprovals(ctx, "u1")
	check(err)
	for network := range 2 {
		_, err = s.Touch(ctx, grants.Activity{SessionID: "new", GrantID: "new", UserID: "u1", Network: fmt.Sprint(network), SeenAt: time.Now(), ExpiresAt: later})
		check(err)
	}
	_, err = s.OwnerActivity(ctx, "u1")
	check(err)
	_, err = s.OwnerUses(ctx, "u1")
	check(err)
	check(s.EndActivity(ctx, "new"))
	check(s.AddDeed(ctx, grants.Deed{GrantID: "new", UserID: "u1", At: time.Now()}))
	_, err = s.OwnerDeeds(ctx, "u1", 50)
	check(err)
	check(s.SetRules(ctx, grants.Rules{}))
	_, err = s.Rules(ctx)
	check(err)
}
