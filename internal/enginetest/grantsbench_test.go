package enginetest_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// BenchmarkCheckSession is what grants add to a request of an agent: the rules and
// its grant, two rows. It is run as BenchmarkRequest is.
func BenchmarkCheckSession(b *testing.B) { onTables(b, benchmarkCheckSession) }

func benchmarkCheckSession(b *testing.B, d *database, n int) {
	db := d.connect(b, append(d.usual, d.prepares...)...)
	s := d.open(b, db)
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.fill(b, db, n, "grants")
	if err := s.Grants().SetRules(b.Context(), grants.Rules{DenyIssuers: []string{"https://bad.example"}}); err != nil {
		b.Fatal(err)
	}
	owners := grants.OwnerApproval(s.Grants())
	owners.Logger = slog.New(slog.DiscardHandler)
	scenario := authagent.FullAccount(struct{ authagent.UserStore }{&memstore.Users{}}, owners)
	approved := func() int { return 1 + 3*(n/6+rand.IntN(n/6)) } // and for longer than this takes
	if n == 1 {
		d.must(b, db, `UPDATE authagent_grants SET expires_at = expires_at + 3600000000000`)
		approved = func() int { return 1 }
	}
	check := func() error {
		i := approved()
		return scenario.CheckSession(b.Context(), &authagent.Session{
			ID: "s", Agent: authagent.Agent{Issuer: "https://as.example", ID: fmt.Sprint("agent_", i)}, Scenario: "S",
			UserID: fmt.Sprint("user ", i), GrantID: fmt.Sprint("name ", i), GrantEra: 1, StartedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		})
	}
	for range 100 { // the first of a session is written down
		if err := check(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			if err := check(); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		reportMedian(b, took)
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := check(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
