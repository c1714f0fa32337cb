package enginetest_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

func sameEvents(t *testing.T, want, got []audit.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestEvents: the trail by user, agent and time, page by page, while it grows.
func TestEvents(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		at := time.Date(2026, 2, 3, 4, 5, 6, 123456789, time.UTC)
		agents := []authagent.Agent{{Issuer: "https://as.example", ID: "a"}, {Issuer: "https://as.example", ID: "A"}, {}}
		all := storeEvents(t, s, at, agents)
		only := func(keep func(audit.Event) bool) (kept []audit.Event) {
			for _, e := range all {
				if keep(e) {
					kept = append(kept, e)
				}
			}
			return kept
		}
		middle := at.Add(10)
		for name, test := range inOrder(map[string]struct {
			query sqlstore.EventQuery
			want  []audit.Event
		}{
			"all":    {sqlstore.EventQuery{}, all},
			"user":   {sqlstore.EventQuery{UserID: "u"}, only(func(e audit.Event) bool { return e.UserID == "u" })},
			"agent":  {sqlstore.EventQuery{Agent: agents[1]}, only(func(e audit.Event) bool { return e.Agent == agents[1] })},
			"nobody": {sqlstore.EventQuery{Agent: authagent.Agent{Issuer: "https://as.example"}}, nil},
			"from":   {sqlstore.EventQuery{From: middle}, only(func(e audit.Event) bool { return !e.Time.Before(middle) })},
			"to":     {sqlstore.EventQuery{To: middle}, only(func(e audit.Event) bool { return e.Time.Before(middle) })},
			"all together": {
				sqlstore.EventQuery{UserID: "U", Agent: agents[0], From: at.Add(5), To: at.Add(15)},
				only(func(e audit.Event) bool {
					return e.UserID == "U" && e.Agent == agents[0] && !e.Time.Before(at.Add(5)) && e.Time.Before(at.Add(15))
				}),
			},
		}) {
			t.Run(name, func(t *testing.T) {
				if len(test.want) == 0 && name != "nobody" {
					t.Fatal("the test tests nothing")
				}
				inPages(t, s, test.query, test.want)
			})
		}
		t.Run("while it grows", func(t *testing.T) { readsOn(t, s, at, all) })
		for _, q := range []sqlstore.EventQuery{{After: "x"}, {After: "1"}, {After: "1.!"}, {After: "'; --"}, {Limit: -1}} {
			if _, _, err := s.Events(t.Context(), q); err == nil {
				t.Errorf("no error for %+v", q)
			}
		}
		if n, err := s.DeleteEvents(t.Context(), middle, 7); err != nil || n != 30 {
			t.Errorf("DeleteEvents: %d, %v", n, err)
		}
		got, _, err := s.Events(t.Context(), sqlstore.EventQuery{To: at.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		sameEvents(t, all[:30], got)
	})
}

// storeEvents stores sixty events of these agents, three at each nanosecond, and returns
// them with the newest first.
func storeEvents(t *testing.T, s *sqlstore.Store, at time.Time, agents []authagent.Agent) (all []audit.Event) {
	t.Helper()
	users := []string{"u", "U", "u ", ""}
	for i := range 60 {
		e := audit.Event{
			Name: audit.LoginSucceeded, Time: at.Add(time.Duration(i/3) * time.Nanosecond),
			RequestID: fmt.Sprint("r", i), Method: "GET", Route: "GET /{$}", RemoteAddr: "[::1]:1", Issuer: "https://as.example",
			SessionID: fmt.Sprint("s", i), Agent: agents[i%len(agents)], Scenario: "FreshProfile", UserID: users[i%len(users)], HumanID: "h",
			ProfileID: "p", GrantID: "g", Access: authagent.Access(i % 3).String(), Action: "orders:create", Outcome: "o", Reason: problem.Reason("state_mismatch"), Detail: "\u00e9\U0001F916'\"\\",
			Count: 1 + i*i*i*1_000_000, Amount: audit.Amount{Value: math.MaxInt64 - int64(i), Currency: "USD"},
			Door: []audit.Door{audit.Browser, audit.API}[i%2],
		}
		stored := e
		if i == 0 {
			stored.Count = 0 // of a site that knows no number
		}
		s.Audit(t.Context(), stored)
		all = append([]audit.Event{e}, all...)
	}
	return all
}

// inPages reads the events of a query with several limits, page by page.
func inPages(t *testing.T, s *sqlstore.Store, query sqlstore.EventQuery, want []audit.Event) {
	t.Helper()
	for _, limit := range []int{0, 1, 7, 60, 5000} {
		var got []audit.Event
		q := query
		q.Limit = limit
		for {
			page, next, err := s.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 && len(page) > limit || next != "" && len(page) != limit {
				t.Fatalf("a page of %d, the limit is %d", len(page), limit)
			}
			if got = append(got, page...); next == "" {
				break
			}
			q.After = next
		}
		sameEvents(t, want, got)
	}
}

// readsOn checks that an event that is stored between the reading of two pages is not on
// the second.
func readsOn(t *testing.T, s *sqlstore.Store, at time.Time, all []audit.Event) {
	t.Helper()
	_, next, err := s.Events(t.Context(), sqlstore.EventQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	s.Audit(t.Context(), audit.Event{Name: "new", Time: at.Add(time.Hour)})
	got, _, err := s.Events(t.Context(), sqlstore.EventQuery{Limit: 10, After: next})
	if err != nil {
		t.Fatal(err)
	}
	sameEvents(t, all[10:20], got)
}

// TestHostileEvents: LOG-2, LOG-3. No text keeps an event out of the trail.
func TestHostileEvents(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, setting := range d.hostile {
			d := newDatabase(t, d.engine)
			s, _ := d.migrated(t, setting)
			for i, text := range []string{
				"", "a\x00b", "\xff\xfe", "\xc3", "\u2028\u202e\r\n", "'); DROP TABLE x; --", strings.Repeat("\U0001F916", 5000), strings.Repeat("x", 1<<20),
				"x\xed\xa0\x80y", strings.Repeat("\xff", 3000),
			} {
				e := audit.Event{
					Name: "hostile", Time: time.Unix(int64(i), 0), RequestID: text, Method: text, Route: text, RemoteAddr: text, Issuer: text,
					SessionID: text, Agent: authagent.Agent{Issuer: text, ID: "a" + text}, UserID: "u" + text, HumanID: text, Scenario: text, ProfileID: text,
					GrantID: text, Access: text, Action: text, Outcome: text, Reason: problem.Reason(text), Detail: text,
					Amount: audit.Amount{Value: -1, Currency: text}, Door: audit.Door(text),
				}
				s.Audit(t.Context(), e)
				for what, q := range inOrder(map[string]sqlstore.EventQuery{"user": {UserID: e.UserID}, "agent": {Agent: e.Agent}, "time": {From: e.Time, To: e.Time.Add(1)}}) {
					got, _, err := s.Events(t.Context(), q)
					// What is not text is replaced, so two such users may look alike.
					if err != nil || len(got) == 0 || !got[0].Time.Equal(e.Time) || what != "user" && len(got) > 1 {
						t.Errorf("%.20q by %s: %d events, %v", text, what, len(got), err)
					}
				}
			}
		}
	})
}

// TestEventTimes: times far away are kept as far as they go.
func TestEventTimes(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		times := []time.Time{{}, time.Unix(-9e9, 1), time.Unix(0, -1), time.Unix(0, 0), time.Now(), time.Unix(9e9, 999999999)}
		for _, at := range times {
			s.Audit(t.Context(), audit.Event{Name: "x", Time: at})
		}
		got, _, err := s.Events(t.Context(), sqlstore.EventQuery{})
		if err != nil || len(got) != len(times) {
			t.Fatalf("%d events, %v", len(got), err)
		}
		slices.Reverse(got)
		for i, e := range got[1:] {
			if want := times[i+1]; !e.Time.Equal(want) {
				t.Errorf("event %d: %v, want %v", i+1, e.Time, want)
			}
		}
	})
}

// TestAuditFails: LOG-3. An event that cannot be stored is in the log.
func TestAuditFails(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		var log bytes.Buffer
		s, err := sqlstore.New(d.connect(t), sqlstore.Config{Prefix: d.prefix, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.Audit(t.Context(), audit.Event{Name: audit.SessionEnded, RequestID: "r1", SessionID: "s1"})
		for _, want := range []string{"level=ERROR", "session_ended", "r1", "s1", "run Migrate"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, log.String())
			}
		}
	})
}
