package enginetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
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
		for name, call := range inOrder(plannedCalls(spiedStore)) {
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
					if plan := d.explain(t, db, q); !d.byIndex(plan, d.prefix) || !strings.Contains(plan, plannedIndexes[name]) {
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
	calls["Expect"] = func(ctx context.Context) error {
		ctx, done := s.Revocations().Expect(ctx, stores.Expected{Keys: []string{"session:x", "agent:y", "all", "user:z"}, GrantID: "name 7"})
		defer done()
		_, err := s.Grants().Rules(ctx)
		return err
	}
	calls["Expect, a sign-in"] = func(ctx context.Context) error {
		ctx, done := s.Revocations().Expect(ctx, stores.Expected{Keys: []string{"agent:y", "all", "users"}, Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_7"}})
		defer done()
		_, err := s.Grants().Rules(ctx)
		return err
	}
	calls["Expect, a session"] = func(ctx context.Context) error {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		saving, saved := s.Sessions().Expect(ctx, stores.Expected{Keys: []string{"session:x", "agent:y", "all", "user:z"}, GrantID: "name 7"})
		defer saved()
		gs := sessions.NewSession(s.Sessions(), "name")
		gs.Options = &sessions.Options{MaxAge: 3600}
		w := httptest.NewRecorder()
		if err := s.Sessions().Save(r.WithContext(saving), w, gs); err != nil {
			return err
		}
		r.AddCookie(w.Result().Cookies()[0])
		ctx, done := s.Sessions().Expect(ctx, stores.Expected{})
		defer done()
		_, err := s.Sessions().New(r.WithContext(ctx), "name")
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

// explain returns the plan of a statement, a row per line.
func (d *database) explain(t *testing.T, db *sql.DB, q statement) (plan string) {
	t.Helper()
	args := make([]any, len(q.args))
	for i, a := range q.args {
		args[i] = a.Value
	}
	rows, err := db.Query(d.engine.explain+q.text, args...)
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
