package enginetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

// A far database is one whose every round trip takes a fixed time more, as over a network. How long somebody waits for
// it says how many round trips come one after the other. What goes on beside them, nobody waits for.
type far struct {
	on   driver.Driver
	dsn  string
	trip atomic.Int64 // nanoseconds
}

// trip is much longer than all else that a request takes, also on a busy machine.
const trip = 200 * time.Millisecond

// waited returns how many round trips do waits for. A machine that is busy can only make it look longer, so the least of
// some attempts counts, or the first that is not more than most.
func (f *far) waited(most int, do func()) int {
	least := 1 << 30
	for range 4 {
		f.trip.Store(int64(trip))
		began := time.Now()
		do()
		took := time.Since(began)
		f.trip.Store(0)
		if least = min(least, int(took/trip)); least <= most {
			break
		}
	}
	return least
}

func (f *far) wait() {
	time.Sleep(time.Duration(f.trip.Load()))
}

// Connect and Driver make a driver.Connector of far.
func (f *far) Connect(context.Context) (driver.Conn, error) {
	c, err := f.on.Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return farConn{c, f}, nil
}

func (f *far) Driver() driver.Driver { return f.on }

type farConn struct {
	driver.Conn
	far *far
}

func (c farConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.far.wait()
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c farConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.far.wait()
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c farConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	panic("a statement is prepared, which is not counted: " + query)
}

func (c farConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.far.wait()
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return farTx{tx, c.far}, err
}

func (c farConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type farTx struct {
	driver.Tx
	far *far
}

func (t farTx) Commit() error {
	t.far.wait()
	return t.Tx.Commit()
}

// roundSite is a site with everything on that can be kept in the database.
type roundSite struct {
	*site
	far    *far
	store  *sqlstore.Store
	owners *grants.Policy
	act    http.Handler
}

func newRoundSite(t *testing.T, d *database, change func(*authagent.Config, *sqlstore.Store)) *roundSite {
	t.Helper()
	d.migrated(t)
	b := &roundSite{far: &far{on: d.connect(t).Driver(), dsn: d.with(slices.Concat(d.usual, d.prepares)...)}}
	db := sql.OpenDB(b.far)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect, Timeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.site = newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, users *memstore.Users) {
		b.owners = grants.OwnerApproval(s.Grants())
		b.owners.Logger = slog.New(slog.DiscardHandler)
		b.owners.Actions = map[string]string{"a:do": "Do"}
		c.Scenario = authagent.FullAccount(users, b.owners)
		change(c, s)
	})
	b.store = s
	b.act = b.RP.RequireAction("a:do")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	letIn(t, b.site, s, b.owners, authagent.AccessFull)
	return b
}

// request sends one to a handler of the site, with these cookies, and waits for its answer.
func (b *roundSite) request(t *testing.T, h http.Handler, method, target, cookies string, want int) {
	t.Helper()
	r := httptest.NewRequest(method, b.URL+target, nil)
	r.Header.Set("Cookie", cookies)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != want {
		t.Fatalf("%s: status %d, want %d: %s", target, w.Code, want, w.Body)
	}
}

// TestRounds_RTT_1_RTT_2_RTT_4 counts the round trips to the database that come one after the other while a client waits, with all that a site
// can keep in the database: sessions, tokens, revocations, states, grants, rules and events. It is RTT-1 and RTT-2. A decision
// counts on the next request all the same (RTT-4).
func TestRounds_RTT_1_RTT_2_RTT_4(t *testing.T) {
	type change = func(*authagent.Config, *sqlstore.Store)
	for name, test := range inOrder(map[string]struct {
		change            change
		get, act, signsIn int
	}{
		"sessions in the database": {change: func(*authagent.Config, *sqlstore.Store) {}, get: 1, act: 1, signsIn: 5},
		"sessions in cookies":      {change: func(c *authagent.Config, _ *sqlstore.Store) { c.Session.Store = nil }, get: 1, act: 1, signsIn: 5},
		"revocations in memory":    {change: func(c *authagent.Config, _ *sqlstore.Store) { c.Revocations = nil }, get: 1, act: 1, signsIn: 5},
		"journal":                  {change: func(c *authagent.Config, s *sqlstore.Store) { c.Journal = s.Journal() }, get: 1, act: 2, signsIn: 5},
		"shared limits": {change: func(c *authagent.Config, s *sqlstore.Store) {
			c.Limits.Store, c.Limits.Agent = s.Limits(), limits.Rate{N: 1000, Per: time.Minute}
		}, get: 2, act: 2, signsIn: 5},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEngines(t, func(t *testing.T, d *database) {
				t.Parallel()
				b := newRoundSite(t, d, test.change)
				b.warmUp(t)
				cookies := b.signIn(t, b.Browser())
				get := func() { b.request(t, b.Mux(""), http.MethodGet, "/me", cookies, http.StatusOK) }
				act := func() { b.request(t, b.act, http.MethodPost, "/act", cookies, http.StatusNoContent) }
				if n := b.far.waited(test.get, get); n != test.get {
					t.Errorf("RTT-1: a guarded GET waits for %d round trips, want %d", n, test.get)
				}
				if n := b.far.waited(test.act, act); n != test.act {
					t.Errorf("RTT-1: a named action waits for %d round trips, want %d", n, test.act)
				}
				if login, callback := b.signInWaits(t, test.signsIn); login+callback > test.signsIn {
					t.Errorf("RTT-2: a sign-in waits for %d + %d round trips, want at most %d", login, callback, test.signsIn)
				}
				b.decide(t, cookies)
			})
		})
	}
}

// warmUp lets the site find out how slow its database is, as it does within the first requests.
func (b *roundSite) warmUp(t *testing.T) {
	b.far.trip.Store(int64(time.Millisecond))
	defer b.far.trip.Store(0)
	for range 10 {
		cookies := b.signIn(t, b.Browser())
		b.request(t, b.Mux(""), http.MethodGet, "/me", cookies, http.StatusOK)
		b.request(t, b.act, http.MethodPost, "/act", cookies, http.StatusNoContent)
	}
}

// signInWaits returns how many round trips a login and a callback wait for.
func (b *roundSite) signInWaits(t *testing.T, most int) (login, callback int) {
	login = b.far.waited(1, func() { b.For(t).Begin(b.Browser(), "") })
	callback = 1 << 30
	for range 4 {
		begun := b.begin(t)
		n := b.far.waited(1<<20, func() {
			if resp := b.get(t, begun.callback, begun.cookies); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("callback: %d %s", resp.StatusCode, resp.Text)
			}
		})
		if callback = min(callback, n); login+callback <= most {
			break
		}
	}
	return login, callback
}

// decide checks that each decision counts on the next request.
func (b *roundSite) decide(t *testing.T, cookies string) {
	t.Helper()
	ctx, me := t.Context(), b.Mux("")
	store := b.store.Grants()
	get := func(what string, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, b.URL+"/me", nil)
		r.Header.Set("Cookie", cookies)
		w := httptest.NewRecorder()
		if me.ServeHTTP(w, r); w.Code != want {
			t.Errorf("RTT-4: after %s: status %d, want %d: %s", what, w.Code, want, w.Body)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	get("nothing", http.StatusOK)
	must(b.owners.SetRules(ctx, "", grants.Rules{Paused: true}))
	get("a pause", http.StatusServiceUnavailable)
	must(b.owners.SetRules(ctx, "", grants.Rules{}))
	get("the end of the pause", http.StatusOK)
	must(b.owners.SetRules(ctx, "", grants.Rules{DenyAgents: []authagent.Agent{{Issuer: "https://other.example", ID: b.Agent.ID}}}))
	get("another agent was denied", http.StatusOK)
	all, err := store.OwnerGrants(ctx, b.Users.All()[0].ID)
	must(err)
	lowered := all[0]
	lowered.Access = authagent.AccessRead
	lowered, err = store.UpdateGrant(ctx, lowered)
	must(err)
	b.request(t, b.act, http.MethodPost, "/act", cookies, http.StatusForbidden)
	lowered.State = grants.Suspended
	_, err = store.UpdateGrant(ctx, lowered)
	must(err)
	get("a suspension", http.StatusUnauthorized)
}
