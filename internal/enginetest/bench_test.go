package enginetest_test

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

// rows is up to how large the tables get. A million rows take minutes to write.
var rows = flag.Int("rows", 100_000, "rows in the largest table of the benchmarks")

// BenchmarkRequest is what a request of a signed-in agent asks of the database:
// its session, and whether it was revoked. That is to cost the same with one
// session as among a million.
//
//	go test -run '^$' -bench 'Request|CheckSession|SignIn' -benchtime 2s -timeout 30m -rows 1000000
func BenchmarkRequest(b *testing.B) { onTables(b, benchmarkRequest) }

// onTables runs a benchmark on each engine, with tables of growing size.
func onTables(b *testing.B, run func(b *testing.B, d *database, n int)) {
	largest := *rows
	if testing.Short() {
		largest = 1_000
	}
	for _, e := range engines {
		for _, n := range [...]int{1, 1_000, 100_000, 1_000_000} {
			if n <= largest {
				b.Run(fmt.Sprint(e.name, "/", n), func(b *testing.B) { run(b, newDatabase(b, e), n) })
			}
		}
	}
}

func benchmarkRequest(b *testing.B, d *database, n int) {
	db := d.connect(b, append(d.usual, d.prepares...)...)
	s, err := sqlstore.New(db, sqlstore.Config{Prefix: d.prefix})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.fill(b, db, n, "sessions", "revocations")
	requests := make([]*http.Request, 100)
	for i := range requests {
		gs := sessions.NewSession(s.Sessions(), "name")
		gs.Options = &sessions.Options{MaxAge: 3600}
		gs.Values["authagent"] = rand.Text()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if err := s.Sessions().Save(r, w, gs); err != nil {
			b.Fatal(err)
		}
		requests[i] = httptest.NewRequest(http.MethodGet, "/", nil)
		requests[i].AddCookie(w.Result().Cookies()[0])
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		gs, err := s.Sessions().New(requests[i%len(requests)], "name")
		if err != nil || gs.IsNew {
			b.Fatal("no session ", err)
		}
		keys := []string{"session:" + rand.Text(), "agent:https://as.example agent_7", "all", "user:7"}
		if marks, err := s.Revocations().Marks(b.Context(), keys); err != nil || strings.Join(marks, "") != "" {
			b.Fatal(marks, err)
		}
		took = append(took, time.Since(start))
	}
	reportMedian(b, took)
}

// BenchmarkSignIn is the callback of a sign-in, over loopback, with everything that a
// site can keep in the database: state, link, session, tokens and the audit trail. It
// is run as BenchmarkRequest is.
func BenchmarkSignIn(b *testing.B) { onTables(b, benchmarkSignIn) }

func benchmarkSignIn(b *testing.B, d *database, n int) {
	db := d.connect(b, append(d.usual, d.prepares...)...)
	s := d.open(b, db)
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.fill(b, db, n, "sessions", "states", "links", "tokens", "events", "revocations")
	site := newSite(b, s)
	var took []time.Duration
	for b.Loop() {
		b.StopTimer() // the agent's part, at the authorization server
		begun := site.begin(b)
		b.StartTimer()
		start := time.Now()
		if resp := site.get(b, begun.callback, begun.cookies); resp.StatusCode != http.StatusSeeOther {
			b.Fatal("callback: status ", resp.StatusCode, resp.Text)
		}
		took = append(took, time.Since(start))
	}
	reportMedian(b, took)
}

// BenchmarkAction is a request that performs a named action: with the journal, with Audit alone, and with neither. The
// session is in the database, as in BenchmarkRequest. They take turns, so that what else the machine does is the
// same for all, and each is compared with Audit, which is what a site has by default.
//
//	go test -run '^$' -bench Action -benchtime 300x -rows 1000
func BenchmarkAction(b *testing.B) { onTables(b, benchmarkAction) }

func benchmarkAction(b *testing.B, d *database, n int) {
	db := d.connect(b, append(d.usual, d.prepares...)...)
	s := d.open(b, db)
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	d.fill(b, db, n, "sessions", "events", "revocations")
	kinds := [...]string{"journal", "audit", "neither"}
	var took [len(kinds)][]time.Duration
	var act [len(kinds)]func()
	for i, kind := range kinds {
		site := newSite(b, s, func(c *authagent.Config, s *sqlstore.Store, _ *memstore.Users) {
			c.Limits.Agent.N = -1
			switch kind {
			case "journal":
				c.Journal = s.Journal()
			case "neither":
				c.Audit = nil
			}
		})
		h := site.RP.RequireAction("a:do")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
		cookies := site.signIn(b, site.Browser())
		act[i] = func() {
			r := httptest.NewRequest(http.MethodPost, site.URL+"/act", nil)
			r.Header.Set("Cookie", cookies)
			w := httptest.NewRecorder()
			start := time.Now()
			if h.ServeHTTP(w, r); w.Code != http.StatusNoContent {
				b.Fatal(kind, w.Code, w.Body)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for b.Loop() {
		for i := range act {
			act[i]()
		}
	}
	for i, kind := range kinds {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds()), kind+"-p50-µs")
	}
	median := func(i int) float64 { return float64(took[i][len(took[i])/2]) }
	b.ReportMetric(median(0)/median(1), "journal/audit")
}

// reportMedian reports what a busy machine changes least.
func reportMedian(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns/op")
}
