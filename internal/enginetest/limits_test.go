package enginetest_test

import (
	"crypto/rand"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

func hourly(n int) limits.Budget {
	return limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: n, Per: time.Hour}}
}

// taken returns how many of n events pass.
func taken(t *testing.T, s *sqlstore.Store, n int, budgets ...limits.Budget) (passed int) {
	t.Helper()
	for range n {
		wait, err := s.Limits().Take(t.Context(), budgets...)
		if err != nil {
			t.Error(err)
		}
		if wait == 0 && err == nil {
			passed++
		}
	}
	return passed
}

// TestLimitsTogether_LIM_3: two instances, each with many requests at once, let exactly as many
// pass as one may, also while a third cleans up.
func TestLimitsTogether_LIM_3(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		one, _ := d.migrated(t)
		instances := []*sqlstore.Store{one, d.open(t, d.connect(t))}
		owner, agents := hourly(60), []limits.Budget{hourly(40), hourly(40)}
		var passed atomic.Int64
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				passed.Add(int64(taken(t, instances[i%2], 4, owner, agents[i/2%2])))
			})
		}
		group.Go(func() {
			for range 20 {
				if _, err := one.DeleteExpired(t.Context(), 10); err != nil {
					t.Error(err)
				}
			}
		})
		group.Wait()
		if passed.Load() != 60 {
			t.Errorf("LIM-3: %d events pass at two instances, want 60", passed.Load())
		}
		if left := taken(t, one, 100, agents[0]) + taken(t, one, 100, agents[1]); left != 20 {
			t.Errorf("LIM-2: %d are left to the agents, want 20", left)
		}
	})
}

// TestLimitsByOneClock_LIM_11: the instances' clocks play no part, and a database whose clock went
// back, as another one's that takes over, refuses nobody for long.
func TestLimitsByOneClock_LIM_11(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		b := hourly(5)
		if got := taken(t, s, 2, b); got != 2 {
			t.Errorf("LIM-11: %d pass, want 2", got)
		}
		synctest.Test(t, func(t *testing.T) { // in which it is the year 2000
			db, err := sql.Open(d.driver, d.with(d.usual...))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if got := taken(t, d.open(t, db), 9, b); got != 3 {
				t.Errorf("LIM-11: %d pass at an instance whose clock is years behind, want 3", got)
			}
		})
		d.must(t, db, `UPDATE authagent_limits SET whole_at = whole_at + 86400000000000`)
		if got := taken(t, s, 3, b); got != 1 {
			t.Errorf("LIM-11: %d of 3 pass after the clock went back a day, want 1", got)
		}
		wait, err := s.Limits().Take(t.Context(), b)
		if err != nil || wait <= 11*time.Minute || wait > 12*time.Minute {
			t.Errorf("LIM-11: after the clock went back a day: wait %v, %v; want that of one event", wait, err)
		}
	})
}

// TestLimitsExpire: a row goes when its budget has been whole for a while, and not before: it is
// another clock that counts.
func TestLimitsExpire(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		spent, whole := hourly(1), limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 1000, Per: time.Second}}
		taken(t, s, 1, spent, whole)
		if n, err := s.DeleteExpired(t.Context(), 0); n != 0 || err != nil {
			t.Errorf("%d rows deleted at once, %v", n, err)
		}
		d.must(t, db, `UPDATE authagent_limits SET whole_at = whole_at - 3700000000000`)
		if n, err := s.DeleteExpired(t.Context(), 0); n != 1 || err != nil {
			t.Errorf("%d rows deleted after an hour, %v", n, err)
		}
	})
}

// BenchmarkLimits is a GET behind a guard at a site that keeps sessions and revocations in the database, without limits,
// and with limits for the agent and its owner: counted by the process, and in the database.
//
//	go test -run '^$' -bench Limits -benchtime 1s
func BenchmarkLimits(b *testing.B) {
	often := limits.Rate{N: 1e7, Per: time.Second}
	for _, e := range engines {
		for _, test := range []struct {
			name  string
			limit func(*sqlstore.Store) limits.Settings
		}{
			{"none", func(*sqlstore.Store) limits.Settings { return limits.Settings{} }},
			{"local", func(*sqlstore.Store) limits.Settings { return limits.Settings{Agent: often, Owner: often} }},
			{"shared", func(s *sqlstore.Store) limits.Settings {
				return limits.Settings{Store: s.Limits(), Agent: often, Owner: often}
			}},
		} {
			b.Run(e.name+"/"+test.name, func(b *testing.B) {
				d := newDatabase(b, e)
				s, _ := d.migrated(b, append(d.usual, d.prepares...)...)
				site := newSite(b, s, func(c *authagent.Config, _ *sqlstore.Store, _ *memstore.Users) { c.Limits = test.limit(s) })
				cookies := site.signIn(b, site.Browser())
				guarded := site.RP.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Cookie", cookies)
				var took []time.Duration
				for b.Loop() {
					start, w := time.Now(), httptest.NewRecorder()
					if guarded.ServeHTTP(w, r); w.Code != http.StatusNoContent {
						b.Fatal(w.Code, w.Body)
					}
					took = append(took, time.Since(start))
				}
				reportMedian(b, took)
			})
		}
	}
}
