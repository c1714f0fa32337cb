package enginetest_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

// manyGrants make so many approved grants, until a time.
var manyGrants = map[sqlstore.Dialect]string{
	sqlstore.Postgres: `INSERT INTO authagent_grants SELECT 'grant_' || i, sha256(('k' || i)::bytea), sha256(('a' || i)::bytea), 1, 'https://as.example',
		'agent_' || i, 'FullAccount', 'user_' || (i / 4), 'approved', 'read', '["orders:create"]', 'An agent', 'model-1', 'user@example.com', 0,
		'203.0.113.1:4711', 0, $2::bigint FROM generate_series(1, $1::int) i`,
	sqlstore.SQLite: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO authagent_grants SELECT 'grant_' || i, randomblob(32), randomblob(32), 1, 'https://as.example',
		'agent_' || i, 'FullAccount', 'user_' || (i / 4), 'approved', 'read', '["orders:create"]', 'An agent', 'model-1', 'user@example.com', 0,
		'203.0.113.1:4711', 0, ? FROM n`,
}

// BenchmarkCheckSession is what each request of an agent costs beside its
// session: the rules and the grant, two rows.
func BenchmarkCheckSession(b *testing.B) {
	for _, e := range engines {
		if manyGrants[e.dialect] == "" {
			continue
		}
		for _, many := range []int64{1_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", e.name, many), func(b *testing.B) {
				d := newDatabase(b, e)
				s, db := d.migrated(b)
				d.must(b, db, manyGrants[e.dialect], many, time.Now().Add(24*time.Hour).UnixNano())
				if e.dialect == sqlstore.Postgres {
					d.must(b, db, `VACUUM ANALYZE authagent_grants`)
				}
				owners := grants.OwnerApproval(s.Grants())
				owners.Logger = slog.New(slog.DiscardHandler)
				scenario := grants.Enforce(s.Grants(), authagent.FullAccount(struct{ authagent.UserStore }{&memstore.Users{}}, owners))
				if err := s.Grants().SetRules(b.Context(), grants.Rules{DenyIssuers: []string{"https://bad.example"}}); err != nil {
					b.Fatal(err)
				}
				check := func() {
					n, err := rand.Int(rand.Reader, big.NewInt(many))
					if err != nil {
						b.Error(err)
					}
					i := n.Int64() + 1
					err = scenario.CheckSession(b.Context(), &authagent.Session{
						ID: "s", Agent: authagent.Agent{Issuer: "https://as.example", ID: fmt.Sprint("agent_", i)}, Scenario: "FullAccount",
						UserID: fmt.Sprint("user_", i/4), GrantID: fmt.Sprint("grant_", i), ExpiresAt: time.Now().Add(time.Hour),
					})
					if err != nil {
						b.Error(err)
					}
				}
				check()
				b.Run("one", func(b *testing.B) {
					for b.Loop() {
						check()
					}
				})
				b.Run("parallel", func(b *testing.B) {
					b.SetParallelism(8)
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							check()
						}
					})
				})
			})
		}
	}
}
