package enginetest_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/tokens"
)

// wholeKinds are the ways in which the benchmarks of the whole product keep things. In all of them, owners approve agents, and
// rules, limits, the audit trail, kept tokens, revocations and used states are on.
var wholeKinds = [...]struct {
	name                    string
	cookies, limits, record bool // sessions in cookies, limits shared by instances, a gapless trail
}{
	{name: "database"},
	{name: "cookie", cookies: true},
	{name: "limits", limits: true},
	{name: "journal", record: true},
	{name: "both", limits: true, record: true},
}

const wholeAction = "orders:create"

// newWholeSite starts a site with everything on, and an agent that its owner has let in.
func newWholeSite(b *testing.B, s *sqlstore.Store, cookies, shared, record bool) *site {
	b.Helper()
	owners := grants.OwnerApproval(s.Grants())
	owners.Logger, owners.Actions = slog.New(slog.DiscardHandler), map[string]string{wholeAction: "Place orders"}
	plenty := limits.Rate{N: 1_000_000} // counted, and never too many
	site := newSite(b, s, func(c *authagent.Config, s *sqlstore.Store, u *memstore.Users) {
		c.Scenario, c.Tokens = authagent.FullAccount(u, owners), tokens.Settings{Store: s.Tokens()}
		c.ClientAddr = func(*http.Request) string { return "198.51.100.7" } // others than public ones are not limited
		c.Limits = limits.Settings{Logins: plenty, Callbacks: plenty, Agent: plenty, Owner: plenty, Actions: map[string]limits.Rate{wholeAction: plenty}}
		if cookies {
			c.Session.Store = nil
		}
		if shared {
			c.Limits.Store = s.Limits()
		}
		if record {
			c.Journal = s.Journal()
		}
	})
	letIn(b, site, s, owners, authagent.AccessRead, wholeAction)
	return site
}

// onWholeSites runs a benchmark on each engine, whose tables have as many rows as -rows says, with a site of each kind.
func onWholeSites(b *testing.B, run func(b *testing.B, sites []*site)) {
	n := *rows
	if testing.Short() {
		n = 1_000
	}
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			d := newDatabase(b, e)
			s, db := d.migrated(b, slices.Concat(d.usual, d.prepares)...)
			d.fill(b, db, n, "sessions", "grants", "events", "revocations", "tokens", "states", "activity", "uses")
			if err := s.Grants().SetRules(b.Context(), grants.Rules{DenyIssuers: []string{"https://bad.example"}}); err != nil {
				b.Fatal(err)
			}
			var sites []*site
			for _, kind := range wholeKinds {
				sites = append(sites, newWholeSite(b, s, kind.cookies, kind.limits, kind.record))
			}
			run(b, sites)
		})
	}
}

// BenchmarkWhole is what a request costs with everything on: a guarded GET, and a named action, with sessions in the database
// or in cookies, with limits that instances share, with a gapless trail, and with both. They take turns, so that what else
// the machine does is the same for all.
//
//	go test -run '^$' -bench 'Whole$' -benchtime 1000x
func BenchmarkWhole(b *testing.B) {
	onWholeSites(b, func(b *testing.B, sites []*site) {
		took := make(map[string][]time.Duration)
		var turns []func()
		for i, site := range sites {
			name := wholeKinds[i].name
			cookies := site.signIn(b, site.Browser())
			done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			turn := func(what, method, path string, h http.Handler) {
				turns = append(turns, func() {
					r := httptest.NewRequest(method, site.URL+path, nil)
					r.Header.Set("Cookie", cookies)
					w := httptest.NewRecorder()
					start := time.Now()
					if h.ServeHTTP(w, r); w.Code != http.StatusNoContent {
						b.Fatal(name, what, w.Code, w.Body)
					}
					took[name+"-"+what] = append(took[name+"-"+what], time.Since(start))
				})
			}
			turn("get", http.MethodGet, "/orders", site.RP.RequireAccess(authagent.AccessRead)(done))
			turn("action", http.MethodPost, "/orders", site.RP.RequireAction(wholeAction)(done))
		}
		for range 20 { // what is prepared once
			for _, turn := range turns {
				turn()
			}
		}
		clear(took)
		for b.Loop() {
			for _, turn := range turns {
				turn()
			}
		}
		b.ReportMetric(0, "ns/op")
		median := make(map[string]float64)
		for name, all := range inOrder(took) {
			slices.Sort(all)
			median[name] = float64(all[len(all)/2].Nanoseconds()) / 1000
			b.ReportMetric(median[name], name+"-p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1000, name+"-p99-µs")
		}
		for _, kind := range wholeKinds[1:] {
			for _, what := range []string{"get", "action"} {
				b.ReportMetric(median[kind.name+"-"+what]/median[wholeKinds[0].name+"-"+what], kind.name+"/"+wholeKinds[0].name+"-"+what)
			}
		}
	})
}

// BenchmarkWholeSignIn is how many sign-ins there are in a second with everything on, over loopback: the callback alone, and
// all of it, with the agent's part at the authorization server, which runs in this process. Of each, one at a time and 16
// at once.
//
//	go test -run '^$' -bench WholeSignIn -benchtime 10x
func BenchmarkWholeSignIn(b *testing.B) {
	const atOnce, each = 16, 4
	onWholeSites(b, func(b *testing.B, sites []*site) {
		took, done := make(map[string]time.Duration), make(map[string]int)
		measure := func(name string, workers, n int, f func(i int)) {
			var group sync.WaitGroup
			start := time.Now()
			for w := range workers {
				group.Go(func() {
					for i := w; i < n; i += workers {
						f(i)
					}
				})
			}
			group.Wait()
			took[name] += time.Since(start)
			done[name] += n
		}
		round := func() {
			for i, site := range sites {
				finish := func(c callback) {
					if resp := site.get(b, c.callback, c.cookies); resp.StatusCode != http.StatusSeeOther {
						panic(fmt.Sprint("callback: status ", resp.StatusCode, resp.Text)) // all others would say so as well
					}
				}
				for workers, n := range map[int]int{1: atOnce, atOnce: atOnce * each} {
					begun := make([]callback, n)
					for i := range begun {
						begun[i] = site.begin(b)
					}
					name := fmt.Sprint(wholeKinds[i].name, "-callback-", workers)
					measure(name, workers, n, func(i int) { finish(begun[i]) })
					name = fmt.Sprint(wholeKinds[i].name, "-whole-", workers)
					measure(name, workers, n, func(int) { finish(site.begin(b)) })
				}
			}
		}
		round()
		clear(took)
		clear(done)
		for b.Loop() {
			round()
		}
		b.ReportMetric(0, "ns/op")
		for name, total := range inOrder(took) {
			b.ReportMetric(float64(done[name])/total.Seconds(), name+"/s")
		}
	})
}
