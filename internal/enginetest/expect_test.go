package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
)

// answers are what the stores say to all that a request is checked against.
type answers struct {
	Marks   []string
	Rules   grants.Rules
	Grant   grants.Grant
	Entries []grants.Grant
	Errs    []string
}

// ask asks for all of it. Nobody is asked for an entry without an agent, nor for a grant without an ID.
func ask(ctx context.Context, s *sqlstore.Store, e stores.Expected) (a answers) {
	note := func(err error) {
		if err != nil {
			a.Errs = append(a.Errs, err.Error())
		}
	}
	var err error
	a.Marks, err = s.Revocations().Marks(ctx, e.Keys)
	note(err)
	a.Rules, err = s.Grants().Rules(ctx)
	note(err)
	if e.Agent != (authagent.Agent{}) {
		a.Entries, err = s.Grants().Entries(ctx, e.Agent)
		note(err)
		slices.SortFunc(a.Entries, func(a, b grants.Grant) int { return strings.Compare(a.ID, b.ID) })
	}
	if e.GrantID != "" {
		a.Grant, err = s.Grants().Grant(ctx, e.GrantID)
		note(err)
	}
	return a
}

// expectAgent is the agent of the grants that fillExpected makes.
var expectAgent = authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}

// fillExpected makes grants in each state, marks, and rules.
func fillExpected(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	ctx := t.Context()
	for i, state := range []grants.State{grants.Pending, grants.Approved, grants.Suspended, grants.Revoked} {
		g := grants.Grant{
			ID: fmt.Sprint("g", i), Version: 1, Agent: expectAgent, Scenario: "FullAccount", UserID: fmt.Sprint("u", i), State: state, Access: authagent.AccessRead,
			Actions: []string{"a:do"}, Name: "Näme", Model: "m", Email: "a@b.example", RequestedAt: time.Unix(1, 5).UTC(), DecidedAt: time.Unix(2, 6).UTC(),
			ExpiresAt: time.Unix(3, 7).UTC(), RequestedFrom: "192.0.2.1", Era: 7, Nickname: "nick", Hidden: i == 1, AskedBefore: []time.Time{time.Unix(9, 9).UTC()},
		}
		if _, _, err := s.Grants().CreateGrant(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		if err := s.Revocations().Revoke(ctx, fmt.Sprint("key", 2*i), fmt.Sprint("mark", i), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Grants().SetRules(ctx, grants.Rules{DenyDomains: []string{"bad.example"}}); err != nil {
		t.Fatal(err)
	}
}

func keysUpTo(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("key", i))
	}
	return keys
}

// TestExpect_RTT_5: what was expected is answered as it would be otherwise, by whichever store was told.
func TestExpect_RTT_5(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		compare := func(t *testing.T) {
			t.Helper()
			for name, e := range map[string]stores.Expected{
				"nothing": {}, "marks": {Keys: keysUpTo(8)}, "more marks than a session has": {Keys: keysUpTo(12)}, "a mark": {Keys: keysUpTo(1)},
				"grant": {Keys: keysUpTo(3), GrantID: "g1"}, "no grant": {Keys: keysUpTo(2), GrantID: "none"}, "no ID": {Keys: keysUpTo(2), GrantID: strings.Repeat("x", 300)},
				"not text": {Keys: keysUpTo(2), GrantID: "\xff\x00"}, "grant alone": {GrantID: "g3"},
				"entries": {Keys: keysUpTo(7), Agent: expectAgent}, "both": {Keys: keysUpTo(2), GrantID: "g1", Agent: expectAgent}, "no entries": {Keys: keysUpTo(7), Agent: authagent.Agent{Issuer: "https://as.example", ID: "other"}},
			} {
				for i, by := range []stores.Expecter{s.Revocations(), s.Grants(), s.Sessions()} {
					ctx, done := by.Expect(t.Context(), e)
					if diff := cmp.Diff(ask(t.Context(), s, e), ask(ctx, s, e)); diff != "" {
						t.Errorf("RTT-5: %s, told to %d (-without +expected):\n%s", name, i, diff)
					}
					done()
				}
			}
		}
		t.Run("empty", compare)
		fillExpected(t, s)
		t.Run("full", compare)
		d.must(t, db, `UPDATE authagent_rules SET rules = '{"later": true}'`)
		d.must(t, db, `UPDATE authagent_grants SET access = 'later' WHERE id = 'g1'`)
		e := stores.Expected{Keys: keysUpTo(3), GrantID: "g1"}
		ctx, done := s.Grants().Expect(t.Context(), e)
		defer done()
		a := ask(ctx, s, e)
		if len(a.Errs) != 2 || !strings.Contains(a.Errs[0], "rules") || !strings.Contains(a.Errs[1], "grant") || a.Marks[0] == "" || a.Grant.ID != "" {
			t.Errorf("RTT-5: rules and a grant that cannot be read: %+v", a)
		}
	})
}

// TestExpectOnce_RTT_5: what is answered was read after Expect. Whoever asks again, later, in a turn, or for something else, learns
// what has changed since.
func TestExpectOnce_RTT_5(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		fillExpected(t, s)
		e := stores.Expected{Keys: keysUpTo(3), GrantID: "g1"}
		change := func(access authagent.Access, paused bool, mark string) {
			t.Helper()
			d.must(t, db, `UPDATE authagent_grants SET access = '`+access.String()+`' WHERE id = 'g1'`)
			if err := s.Grants().SetRules(t.Context(), grants.Rules{Paused: paused}); err != nil {
				t.Fatal(err)
			}
			if err := s.Revocations().Revoke(t.Context(), "key0", mark, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		is := func(what string, ctx context.Context, access authagent.Access, paused bool, mark string) {
			t.Helper()
			a := ask(ctx, s, e)
			if a.Grant.Access != access || a.Rules.Paused != paused || !strings.HasPrefix(a.Marks[0], mark+".") || a.Errs != nil {
				t.Errorf("RTT-5: %s: %+v", what, a)
			}
		}
		ctx, done := s.Revocations().Expect(t.Context(), e)
		change(authagent.AccessFull, true, "A")
		is("changed after Expect", ctx, authagent.AccessFull, true, "A")
		change(authagent.AccessRead, false, "B")
		is("asked again", ctx, authagent.AccessRead, false, "B")
		done()

		ctx, done = s.Revocations().Expect(t.Context(), e)
		if _, err := s.Revocations().Marks(ctx, e.Keys); err != nil { // all is read
			t.Fatal(err)
		}
		change(authagent.AccessFull, true, "C")
		if g, err := s.Grants().Grant(ctx, "g2"); err != nil || g.ID != "g2" {
			t.Errorf("RTT-5: another grant: %+v, %v", g, err)
		}
		err := s.Grants().InTurn(ctx, "u1", func(ctx context.Context, turn grants.Store) error {
			if r, err := turn.Rules(ctx); err != nil || !r.Paused {
				t.Errorf("RTT-5: in a turn: %+v, %v", r, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		other, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := other.Grants().Rules(ctx); err != nil || !r.Paused {
			t.Errorf("RTT-5: another store: %+v, %v", r, err)
		}
		done()
		is("asked when it is over", ctx, authagent.AccessFull, true, "C")

		ctx, done = s.Revocations().Expect(t.Context(), e)
		defer done()
		if _, err := s.Revocations().Marks(ctx, e.Keys); err != nil { // all is read
			t.Fatal(err)
		}
		change(authagent.AccessRead, false, "D")
		again, done := s.Grants().Expect(ctx, e)
		defer done()
		is("changed before the same was expected again", again, authagent.AccessRead, false, "D")

		over, cancel := context.WithCancel(t.Context())
		ctx, done = s.Revocations().Expect(over, e)
		defer done()
		cancel()
		if _, err := s.Revocations().Marks(ctx, e.Keys); !errors.Is(err, context.Canceled) {
			t.Errorf("RTT-5: without an answer: %v", err)
		}
	})
}

// TestExpectSession_RTT_5: a session is read with what it expects, whatever its row says of that.
func TestExpectSession_RTT_5(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		fillExpected(t, s)
		store := s.Sessions()
		save := func(e stores.Expected) *http.Request {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			ctx, done := store.Expect(r.Context(), e)
			defer done()
			gs := sessions.NewSession(store, "name")
			gs.Options = &sessions.Options{MaxAge: 3600}
			gs.Values["k"] = "value"
			w := httptest.NewRecorder()
			if err := store.Save(r.WithContext(ctx), w, gs); err != nil {
				t.Fatal(err)
			}
			r.AddCookie(w.Result().Cookies()[0])
			return r
		}
		load := func(what string, r *http.Request, e stores.Expected, found bool) {
			t.Helper()
			ctx, done := store.Expect(t.Context(), stores.Expected{})
			defer done()
			gs, err := store.New(r.WithContext(ctx), "name")
			if err != nil || gs.IsNew == found || found && gs.Values["k"] != "value" {
				t.Fatalf("RTT-5: %s: %+v, %v", what, gs, err)
			}
			ctx, more := s.Grants().Expect(ctx, e)
			defer more()
			if diff := cmp.Diff(ask(t.Context(), s, e), ask(ctx, s, e)); diff != "" {
				t.Errorf("RTT-5: %s (-without +expected):\n%s", what, diff)
			}
		}
		e := stores.Expected{Keys: keysUpTo(8), GrantID: "g1"}
		r := save(e)
		load("as it was saved", r, e, true)
		load("other marks", r, stores.Expected{Keys: keysUpTo(7), GrantID: "g1"}, true)
		load("more marks", save(stores.Expected{Keys: keysUpTo(1), GrantID: "g1"}), stores.Expected{Keys: keysUpTo(7), GrantID: "g1"}, true)
		load("another grant", r, stores.Expected{Keys: keysUpTo(8), GrantID: "g2"}, true)
		load("a sign-in", r, stores.Expected{Keys: keysUpTo(8), GrantID: "g1", Agent: expectAgent}, true)
		for _, e := range []stores.Expected{{}, {Keys: keysUpTo(1)}, {GrantID: "g3"}, {GrantID: "none"}, {Keys: keysUpTo(9), GrantID: "g1"}, {GrantID: strings.Repeat("x", 300)}} {
			load("saved with little", save(e), e, true)
		}
		d.must(t, db, `UPDATE authagent_sessions SET marks = NULL, grant_id = NULL`)
		load("saved by an earlier version", r, e, true)
		d.must(t, db, `UPDATE authagent_sessions SET expires_at = 1`)
		load("expired", r, e, false)
		d.must(t, db, `DELETE FROM authagent_sessions`)
		load("deleted", r, e, false)
	})
}

// TestSessionsErased_ERA_15: the sessions of an account are deleted with it, and no others.
func TestSessionsErased_ERA_15(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		store := s.Sessions()
		save := func(keys ...string) {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			ctx, done := store.Expect(r.Context(), stores.Expected{Keys: keys, GrantID: "g1"})
			defer done()
			gs := sessions.NewSession(store, "name")
			gs.Options = &sessions.Options{MaxAge: 3600}
			if err := store.Save(r.WithContext(ctx), httptest.NewRecorder(), gs); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			save("session:1", "agent:2", "all", "user:alice")
			save("session:1", "agent:2", "all", "session:0", "session:lowered 0", "user:alice", "subject:x y", "sid:x z")
			save("session:1", "agent:2", "all", "user:alic")
			save("session:1", "agent:2", "all")
		}
		gs := sessions.NewSession(store, "name") // as an earlier version does
		gs.Options = &sessions.Options{MaxAge: 3600}
		if err := store.Save(httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder(), gs); err != nil {
			t.Fatal(err)
		}
		e, err := stores.NewErasure("", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := store.EraseUser(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_sessions`); n != 7 {
			t.Errorf("ERA-15: %d sessions are left, want 7", n)
		}
		if all := e.Receipt().Stores; len(all) != 1 || len(all[0].Left) != 1 || time.Until(all[0].Left[0].Until) < 50*time.Minute {
			t.Errorf("ERA-15: the receipt says %+v", all)
		}
	})
}
