package enginetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestPlans: with many rows in every table, what a request needs is found by an
// index. What is explained is what the stores send, taken down on its way.
func TestPlans(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		_, db := d.migrated(t)
		d.fill(t, db, 20_000, tables...)
		spied := &spy{on: db.Driver(), dsn: d.with(d.prepares...)}
		observed := sql.OpenDB(spied)
		t.Cleanup(func() { observed.Close() })
		spiedStore, err := sqlstore.New(observed, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := spiedStore.Check(t.Context()); err != nil { // which is not repeated for a minute
			t.Fatal(err)
		}
		spied.take()
		for name, call := range plannedCalls(spiedStore) {
			t.Run(name, func(t *testing.T) {
				if err := call(t.Context()); err != nil {
					t.Fatal(err)
				}
				explained := 0
				for _, q := range spied.take() {
					if !searches.MatchString(q.text) {
						continue
					}
					explained++
					if plan := d.explain(t, db, q); !d.byIndex(plan) || !strings.Contains(plan, plannedIndexes[name]) {
						t.Errorf("%s\n%s", q.text, plan)
					}
				}
				if explained == 0 {
					t.Error("no statement was seen")
				}
			})
		}
	})
}

// searches are the statements that look for rows; an INSERT goes by the key.
var searches = regexp.MustCompile(`(?i)^(SELECT|UPDATE|DELETE)`)

// plannedCalls are all that the stores do for a request, and what owners and
// cleaners do beside.
func plannedCalls(s *sqlstore.Store) map[string]func(context.Context) error {
	calls := make(map[string]func(context.Context) error)
	for name, use := range uses(s) {
		switch name {
		case "UseState", "Revoke", "SaveTokens", "Sessions.Save", "AddDeed", "SetRules": // inserts
		default:
			calls[name] = use
		}
	}
	calls["LoadTokens"] = func(ctx context.Context) error {
		_, _ = s.Tokens().LoadTokens(ctx, "name 7")
		return nil
	}
	calls["Profiles.Get"] = func(ctx context.Context) error {
		_, _ = s.Profiles().Get(ctx, "name 7")
		return nil
	}
	calls["LinkedUser"] = func(ctx context.Context) error {
		_, _ = s.Links().LinkedUser(ctx, authagent.Agent{Issuer: "https://as.example", ID: "agent_7"})
		return nil
	}
	calls["SaveTokens again"] = func(ctx context.Context) error {
		_ = s.Tokens().SaveTokens(ctx, "name 7", []byte("old"), []byte("new"), time.Now())
		return nil
	}
	calls["Marks"] = func(ctx context.Context) error {
		_, err := s.Revocations().Marks(ctx, []string{"session:x", "agent:y", "all", "user:z"})
		return err
	}
	for name, q := range map[string]sqlstore.EventQuery{
		"Events":          {},
		"Events of user":  {UserID: "user 7"},
		"Events of agent": {Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_7"}},
		"Events of hour":  {From: time.Unix(5000, 0), To: time.Unix(5100, 0)},
		"Events, page 2":  {UserID: "user 7", From: time.Unix(1, 0), After: cursor},
	} {
		calls[name] = func(ctx context.Context) error { _, _, err := s.Events(ctx, q); return err }
	}
	delete(calls, "DeleteEvents")
	maps.Copy(calls, plannedGrantCalls(s))
	return calls
}

// plannedIndexes are those that have to be used where another would do as well,
// and read the trail of everybody.
var plannedIndexes = map[string]string{
	"Events of user": "events_user", "Events, page 2": "events_user", "Events of agent": "events_agent", "Events of hour": "events_time",
}

// cursor is one of Events, somewhere in the middle.
const cursor = "2dkr5fd7k1s.5k"

// fill writes n rows into each of these tables, most of which have not expired.
func (d *database) fill(t testing.TB, db *sql.DB, n int, into ...string) {
	t.Helper()
	series := map[sqlstore.Dialect]string{
		sqlstore.Postgres: `(SELECT n::bigint FROM generate_series(1, %d) n) s`,
		sqlstore.MySQL:    `(SELECT seq AS n FROM seq_1_to_%d) s`,
		sqlstore.SQLite:   `(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c) s`,
	}[d.dialect]
	hash := map[sqlstore.Dialect]string{
		sqlstore.Postgres: `sha256(('x' || n)::bytea)`,
		sqlstore.MySQL:    `UNHEX(SHA2(CONCAT('x', n), 256))`,
		sqlstore.SQLite:   `randomblob(32)`,
	}[d.dialect]
	text := func(prefix string) string {
		if d.dialect == sqlstore.MySQL {
			return `CONCAT('` + prefix + `', n)`
		}
		return `('` + prefix + `' || n)`
	}
	blob := map[sqlstore.Dialect]string{sqlstore.Postgres: `convert_to(repeat('x', 400), 'UTF8')`, sqlstore.MySQL: `REPEAT('x', 400)`, sqlstore.SQLite: `randomblob(400)`}[d.dialect]
	until := fmt.Sprintf(`%d + n * 1000000000`, time.Now().Add(-time.Minute).UnixNano())
	inserts := []string{
		`authagent_sessions (session_key, data, expires_at) SELECT ` + hash + `, ` + blob + `, ` + until,
		`authagent_states (id, expires_at) SELECT ` + text("name ") + `, ` + until,
		`authagent_revocations (revocation_key, subject, revoked_at, expires_at) SELECT ` + hash + `, ` + text("name ") + `, 1, ` + until,
		`authagent_tokens (session_id, sealed, expires_at) SELECT ` + text("name ") + `, ` + blob + `, ` + until,
		`authagent_profiles (profile_key, id, issuer, agent_id, scenario, user_id, model, name, created_at)
			SELECT ` + hash + `, ` + text("name ") + `, 'https://as.example', ` + text("agent_") + `, 'S', '', '', '', 1`,
		`authagent_links (agent_key, issuer, agent_id, user_id, linked_at) SELECT ` + hash + `, 'https://as.example', ` + text("agent_") + `, 'u', 1`,
		`authagent_events (happened_at, name, request_id, method, route, remote_addr, issuer, session_id, agent_key, agent_issuer, agent_id,
			user_id, human_id, scenario, profile_id, grant_id, access, action, outcome, reason, detail)
			SELECT n * 1000000000, 'e', '', '', '', '', '', '', ` + hash + `, 'https://as.example', ` + text("agent_") + `, ` + text("user ") + `,
			'', '', '', '', 'none', '', '', '', ''`,
		`authagent_grants (id, grant_key, agent_key, version, issuer, agent_id, scenario, user_id, state, access, actions, name, model, email,
			requested_at, requested_from, decided_at, expires_at, sessions_from)
			SELECT ` + text("name ") + `, ` + hash + `, ` + hash + `, 1, 'https://as.example', ` + text("agent_") + `, 'S', ` + text("user ") + `,
			CASE n % 3 WHEN 0 THEN 'pending' ELSE 'approved' END, 'read', '[]', '', '', '', 1, '', 1, ` + until + `, 1`,
		`authagent_approvals (id, approval_key, version, user_id, digest, grant_id, issuer, agent_id, action, state, method, target,
			content_type, requested_at, expires_at)
			SELECT ` + text("name ") + `, ` + hash + `, 1, ` + text("user ") + `, 'd', 'g', 'https://as.example', 'a', 'x', 'used', 'POST', '', '',
			1, ` + until,
		`authagent_activity (session_id, grant_id, user_id, remote_addr, network, started_at, seen_at, expires_at)
			SELECT ` + text("name ") + `, ` + text("name ") + `, ` + text("user ") + `, '', '', 1, 1, ` + until,
		`authagent_uses (use_key, first_of, grant_id, user_id, remote_addr, seen_at)
			SELECT ` + hash + `, ` + text("name ") + `, ` + text("name ") + `, ` + text("user ") + `, '', n`,
		`authagent_deeds (user_id, grant_id, happened_at, event, action, route, outcome, reason)
			SELECT ` + text("user ") + `, ` + text("name ") + `, ` + until + `, '', '', '', '', ''`,
		`authagent_rules (id, rules) SELECT n, '{}'`, // there is one in fact, which needs no index
	}
	analyze := map[sqlstore.Dialect]string{
		sqlstore.Postgres: `VACUUM ANALYZE authagent_`, sqlstore.MySQL: `ANALYZE TABLE authagent_`, sqlstore.SQLite: `ANALYZE authagent_`,
	}[d.dialect]
	for _, insert := range inserts {
		table, _, _ := strings.Cut(strings.TrimPrefix(insert, "authagent_"), " ")
		if slices.Contains(into, table) {
			d.must(t, db, `INSERT INTO `+insert+` FROM `+fmt.Sprintf(series, n))
			d.must(t, db, analyze+table)
		}
	}
}

func (d *database) explain(t *testing.T, db *sql.DB, q statement) (plan string) {
	t.Helper()
	explain := `EXPLAIN `
	if d.dialect == sqlstore.SQLite {
		explain = `EXPLAIN QUERY PLAN `
	}
	args := make([]any, len(q.args))
	for i, a := range q.args {
		args[i] = a.Value
	}
	rows, err := db.Query(explain+q.text, args...)
	if err != nil {
		t.Fatalf("%s: %v", q.text, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			plan += columns[i] + "=" + v.(*sql.NullString).String + " "
		}
		plan += "\n"
	}
	return plan
}

// byIndex reports whether a plan reads no table from one end to the other.
func (d *database) byIndex(plan string) bool {
	switch d.dialect {
	case sqlstore.Postgres:
		return strings.Contains(plan, "Index") && !strings.Contains(plan, "Seq Scan") && !strings.Contains(plan, "Sort")
	case sqlstore.MySQL: // one table each: a key, and nothing sorted; type const has "no matching row" as well
		return (strings.Contains(plan, "key=PRIMARY") || strings.Contains(plan, "key="+d.prefix) || strings.Contains(plan, "no matching row") || strings.Contains(plan, "Impossible WHERE")) &&
			!strings.Contains(plan, "type=ALL") && !strings.Contains(plan, "filesort")
	}
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "SCAN ") && !strings.Contains(line, "INDEX") {
			return false
		}
	}
	return !strings.Contains(plan, "TEMP B-TREE")
}

// A spy is a driver that writes down what it passes on.
type spy struct {
	on  driver.Driver
	dsn string

	mu   sync.Mutex
	seen []statement
}

type statement struct {
	text string
	args []driver.NamedValue
}

func (s *spy) take() []statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func (s *spy) note(text string, args []driver.NamedValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, statement{text, args})
}

// Connect and Driver make a driver.Connector of the spy.
func (s *spy) Connect(context.Context) (driver.Conn, error) {
	c, err := s.on.Open(s.dsn)
	if err != nil {
		return nil, err
	}
	return spiedConn{c, s}, nil
}

func (s *spy) Driver() driver.Driver { return s.on }

type spiedConn struct {
	driver.Conn
	spy *spy
}

func (c spiedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.spy.note(query, args)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c spiedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.spy.note(query, args)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}
