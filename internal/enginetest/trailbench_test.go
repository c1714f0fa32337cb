package enginetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/stores"
)

// BenchmarkTrail is what a site asks of a long audit trail: pages of it, the export and the erasing of an account that
// has 20,000 events (or all, if there are fewer), the deeds without an end, and what is too old. Ten million rows take
// minutes to write, and about 5 GB:
//
//	go test -run '^$' -bench Trail -benchtime 20x -timeout 2h -rows 10000000
func BenchmarkTrail(b *testing.B) { onLargeTables(b, benchmarkTrail) }

// onLargeTables is like onTables, with two sizes: a small one, and the one that -rows asks for.
func onLargeTables(b *testing.B, run func(b *testing.B, d *database, n int)) {
	sizes := []int{1_000, *rows}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, e := range engines {
		for _, n := range slices.Compact(sizes) {
			b.Run(fmt.Sprint(e.name, "/", n), func(b *testing.B) { run(b, newDatabase(b, e), n) })
		}
	}
}

const (
	busyAccount = "busy"
	busyEvents  = 20_000
	busyHuman   = "admin" // whose account is another one, and who has done one thing in 10,000
)

var busyAgent = authagent.Agent{Issuer: "https://as.example", ID: "agent_busy"}

// trailBegins is when the first event of a filled trail happened. They are a second apart.
var trailBegins = time.Unix(1_700_000_000, 0)

func benchmarkTrail(b *testing.B, d *database, n int) {
	s, db := d.migrated(b, append(slices.Concat(d.usual, d.prepares, d.fast), largeCache(d)...)...)
	d.fillTrail(b, s, db, n)
	_, middle, err := s.Events(b.Context(), sqlstore.EventQuery{To: trailBegins.Add(time.Duration(n/2) * time.Second), Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	pages := map[string]sqlstore.EventQuery{
		"page":         {},
		"middle-page":  {After: middle},
		"account-page": {UserID: busyAccount},
		"agent-page":   {Agent: busyAgent},
		"hour-page":    {From: trailBegins.Add(time.Duration(n/2) * time.Second), To: trailBegins.Add(time.Duration(n/2+3600) * time.Second)},
	}
	took := make(map[string][]time.Duration)
	for b.Loop() {
		for name, q := range inOrder(pages) {
			start := time.Now()
			if page, _, err := s.Events(b.Context(), q); err != nil || len(page) == 0 {
				b.Fatal(name, len(page), err)
			}
			took[name] = append(took[name], time.Since(start))
		}
	}
	for name, all := range inOrder(took) {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), name+"-p50-µs")
	}
	once := func(name string, f func() error) {
		b.Helper()
		start := time.Now()
		peak := peakOf(func() {
			if err := f(); err != nil {
				b.Fatal(name, ": ", err)
			}
		})
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, name+"-ms")
		b.ReportMetric(float64(peak)/1e6, name+"-peak-MB")
	}
	once("export", func() error {
		x, err := stores.NewExport(io.Discard, busyAccount)
		if err != nil {
			return err
		}
		return s.Trail().ExportUser(b.Context(), x)
	})
	once("unfinished", func() error { // of all that is there
		_, err := s.Unfinished(b.Context(), trailBegins, trailBegins.Add(time.Duration(n)*time.Second))
		return err
	})
	for _, account := range []string{busyAccount, busyHuman} {
		once("erase-"+account, func() error {
			e, err := stores.NewErasure("", account)
			if err != nil {
				return err
			}
			return s.Trail().EraseUser(b.Context(), e)
		})
	}
	once("delete-tenth", func() error {
		deleted, err := s.DeleteEvents(b.Context(), trailBegins.Add(time.Duration(n/10)*time.Second), 0)
		if deleted < int64(n/10)-1 {
			b.Fatal("deleted ", deleted)
		}
		return err
	})
}

// fillTrail writes n events of 10,000 accounts and as many agents. Every fiftieth is the first or the second one of a deed.
func (d *database) fillTrail(b *testing.B, s *sqlstore.Store, db *sql.DB, n int) {
	b.Helper()
	s.Audit(b.Context(), audit.Event{Name: "e", Time: trailBegins, Agent: busyAgent, UserID: "seed"}) // its row has the key of the agent
	hash := d.hash
	if strings.Contains(hash, "random") {
		hash = `CAST('a key of thirty-two bytes ' || n AS BLOB)` // depends on n
	}
	text := func(prefix string) string { return fmt.Sprintf(d.numberedBy, prefix) }
	const chunk = 1_000_000 // of one transaction
	every := max(1, n/busyEvents)
	for from := 0; from < n; from += chunk {
		series := fmt.Sprintf(d.series, min(chunk, n-from))
		d.must(b, db, fmt.Sprintf(`INSERT INTO authagent_events (happened_at, name, request_id, method, route, remote_addr, issuer, session_id, agent_key,
			agent_issuer, agent_id, user_id, human_id, scenario, profile_id, grant_id, access, action, outcome, reason, detail, deed)
			SELECT %d + i * 1000000000, CASE WHEN i %% 100 = 0 THEN '%s' ELSE '%s' END, `+text("request ")+`, 'POST', '/orders/{id}', '198.51.100.7',
				'https://as.example', `+text("session ")+`,
				CASE WHEN i %% %d = 0 THEN (SELECT agent_key FROM authagent_events WHERE user_id = 'seed') ELSE `+hash+` END, 'https://as.example', `+text("agent_")+`,
				CASE WHEN i %% %[4]d = 0 THEN '%[5]s' ELSE `+text("user ")+` END, CASE WHEN i %% 10000 = 1 THEN '%[6]s' ELSE '' END,
				'FullAccount', '', `+text("grant ")+`, 'read', 'orders:cancel', 'ok', '', '',
				CASE WHEN i %% 100 IN (0, 50) THEN `+strings.ReplaceAll(text("deed "), "n", "(i - i %% 100)")+` END
			FROM (SELECT n %% 10000 AS n, n + %[7]d AS i FROM %[8]s) t`,
			trailBegins.UnixNano(), audit.ActionBegun, audit.ActionPerformed, every, busyAccount, busyHuman, from, series))
	}
	d.must(b, db, d.analyze+`events`)
}

// largeCache is for SQLite, which else has 2 MB.
func largeCache(d *database) []string {
	if d.driver == sqlite.driver {
		return []string{"_pragma=cache_size(-400000)"}
	}
	return nil
}

// peakOf returns by how many bytes the heap has grown at most while f ran.
func peakOf(f func()) uint64 {
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, peak := heap(), uint64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			peak = max(peak, heap())
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return peak - min(before, peak)
}

// BenchmarkCleanUp is DeleteExpired where a tenth of -rows has expired, beside as many live rows, while a backup reads the
// database as it was and the site goes on to write every few milliseconds: how long that takes alone and meanwhile, and how
// long the clean-up takes.
//
//	go test -run '^$' -bench CleanUp -benchtime 1x -timeout 1h -rows 10000000
func BenchmarkCleanUp(b *testing.B) { onLargeTables(b, benchmarkCleanUp) }

func benchmarkCleanUp(b *testing.B, d *database, n int) {
	s, db := d.migrated(b, slices.Concat(d.usual, d.prepares, d.fast)...)
	expired := n / 10
	d.fill(b, db, 2*expired, "sessions")
	d.must(b, db, fmt.Sprintf(`UPDATE authagent_sessions SET expires_at = expires_at - %d`, int64(expired)*int64(time.Second)))
	backup, err := d.connect(b).BeginTx(b.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead}) // and does not end for long
	if err != nil {
		b.Fatal(err)
	}
	defer backup.Rollback()
	if err := backup.QueryRowContext(b.Context(), d.sql(`SELECT COUNT(*) FROM authagent_states`)).Scan(new(int)); err != nil {
		b.Fatal(err)
	}
	var alone, meanwhile []time.Duration
	write := func(i int) time.Duration {
		start := time.Now()
		if _, err := s.States().UseState(context.Background(), fmt.Sprint("state ", start.UnixNano(), i), start.Add(time.Hour)); err != nil {
			b.Error("a write meanwhile: ", err)
		}
		return time.Since(start)
	}
	for i := range 200 {
		alone = append(alone, write(i))
		time.Sleep(2 * time.Millisecond)
	}
	var group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			meanwhile = append(meanwhile, write(i))
			time.Sleep(2 * time.Millisecond)
		}
	})
	start := time.Now()
	peak := peakOf(func() {
		deleted, err := s.DeleteExpired(b.Context(), 0)
		if err != nil || deleted < int64(expired) {
			b.Error(deleted, err)
		}
	})
	took := time.Since(start)
	close(done)
	group.Wait()
	slices.Sort(alone)
	slices.Sort(meanwhile)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(took), "cleanup-ms")
	b.ReportMetric(float64(took.Microseconds())/float64(expired), "µs/row")
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
	b.ReportMetric(ms(alone[len(alone)/2]), "write-alone-p50-ms")
	b.ReportMetric(ms(meanwhile[len(meanwhile)/2]), "write-p50-ms")
	b.ReportMetric(ms(meanwhile[len(meanwhile)*99/100]), "write-p99-ms")
	b.ReportMetric(ms(meanwhile[len(meanwhile)-1]), "write-max-ms")
}
