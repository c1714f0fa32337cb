package enginetest_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/sqlstore"
)

// BenchmarkOwnerPages is the page of connected agents, in memory and on each engine, of an account that has so many
// agents: the list, a search, the agents that may not act any more, the page of one agent, all as JSON, and a decision. Of
// each it reports the median, what is allocated, the size of the answer, and how many statements are sent.
//
//	go test -run '^$' -bench OwnerPages -benchtime 20x
func BenchmarkOwnerPages(b *testing.B) {
	sizes := [...]int{10, 100, 1_000}
	each := func(b *testing.B, name string, open func(b *testing.B) (grants.Store, *spy)) {
		for _, n := range sizes {
			if n <= 100 || !testing.Short() {
				b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
					store, spied := open(b)
					benchmarkOwnerPages(b, store, spied, n)
				})
			}
		}
	}
	each(b, "memory", func(*testing.B) (grants.Store, *spy) { return &memstore.Grants{}, new(spy) })
	for _, e := range engines {
		each(b, e.name, func(b *testing.B) (grants.Store, *spy) {
			d := newDatabase(b, e)
			_, db := d.migrated(b)
			spied := &spy{on: db.Driver(), dsn: d.with(slices.Concat(d.usual, d.prepares, d.fast)...)}
			observed := sql.OpenDB(spied)
			b.Cleanup(func() { observed.Close() })
			s, err := sqlstore.New(observed, sqlstore.Config{Prefix: d.prefix, Dialect: d.dialect})
			if err != nil {
				b.Fatal(err)
			}
			return s.Grants(), spied
		})
	}
}

func benchmarkOwnerPages(b *testing.B, store grants.Store, spied *spy, n int) {
	owners := grants.OwnerApproval(store)
	owners.Logger, owners.MaxAgents = slog.New(slog.DiscardHandler), 2*n
	owners.Actions = map[string]string{"orders:create": "Place orders", "orders:cancel": "Cancel orders"}
	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	owners.Allowances = map[string][]grants.Currency{"payouts:create": {{Code: "USD", Digits: 2}}}
	owners.Amount = func(context.Context, action.Request) (grants.Amount, error) { return grants.Amount{}, nil }
	as := authagenttest.NewServer()
	b.Cleanup(as.Close)
	site := testsite.NewPlain(b, as, func(s *testsite.Site, c *authagent.Config) {
		c.Scenario, c.Human, c.Logger = authagent.FullAccount(s.Users, owners), testsite.Human, slog.New(slog.DiscardHandler)
	})
	g := manyAgents(b, store, site.AliceID, n)
	h := grants.Handler(owners, site.RP)
	send := func(method, path, accept string, form url.Values, status int) *httptest.ResponseRecorder {
		b.Helper()
		r := httptest.NewRequest(method, site.URL+"/account/agents/"+path, strings.NewReader(form.Encode()))
		r.Header.Set("Accept", accept)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.AddCookie(&http.Cookie{Name: "human", Value: site.AliceID})
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != status {
			b.Fatal(method, path, w.Code, w.Body)
		}
		return w
	}
	const html = "text/html"
	requests := map[string]func() *httptest.ResponseRecorder{
		"list":   func() *httptest.ResponseRecorder { return send("GET", "", html, nil, http.StatusOK) },
		"search": func() *httptest.ResponseRecorder { return send("GET", "?q=agent+7", html, nil, http.StatusOK) },
		"past":   func() *httptest.ResponseRecorder { return send("GET", "?past=1", html, nil, http.StatusOK) },
		"agent":  func() *httptest.ResponseRecorder { return send("GET", "agents/"+g.ID, html, nil, http.StatusOK) },
		"json":   func() *httptest.ResponseRecorder { return send("GET", "", "application/json", nil, http.StatusOK) },
		"decide": func() *httptest.ResponseRecorder {
			w := send("POST", "change", "application/json", url.Values{
				"id": {g.ID}, "version": {fmt.Sprint(g.Version)}, "access": {"read"}, "action": {"orders:create"}, "days": {"30"},
			}, http.StatusOK)
			if err := json.Unmarshal(w.Body.Bytes(), &g); err != nil {
				b.Fatal(err)
			}
			return w
		},
	}
	send("GET", "", html, nil, http.StatusOK)
	for name, request := range inOrder(requests) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			var before, after runtime.MemStats
			size, statements := 0, 0
			spied.take()
			runtime.ReadMemStats(&before)
			for b.Loop() {
				start := time.Now()
				size = request().Body.Len()
				took = append(took, time.Since(start))
			}
			runtime.ReadMemStats(&after)
			statements = len(spied.take())
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(len(took))/1000, "alloc-kB")
			b.ReportMetric(float64(size)/1000, "answer-kB")
			b.ReportMetric(float64(statements)/float64(len(took)), "statements")
		})
	}
}

// manyAgents puts n agents into an account, two thirds of which may act, with what comes together in months. It returns
// the grant of one that may.
func manyAgents(b *testing.B, store grants.Store, userID string, n int) (one grants.Grant) {
	b.Helper()
	ctx, now := b.Context(), time.Now().Truncate(time.Microsecond)
	const hour, day = time.Hour, 24 * time.Hour
	var err error
	done := func(failed error) {
		if err == nil && failed != nil {
			err = failed
		}
	}
	states := [...]grants.State{grants.Approved, grants.Approved, grants.Approved, grants.Approved, grants.Approved, grants.Approved, grants.Revoked, grants.Denied, grants.Suspended}
	for i := range n {
		g := grants.Grant{
			ID: fmt.Sprint("grant-", i), Version: 1, Agent: authagent.Agent{Issuer: "https://as.example", ID: fmt.Sprint("agent_", i)}, Scenario: "FullAccount",
			UserID: userID, State: states[i%len(states)], Access: authagent.AccessRead, Actions: []string{"orders:create"}, Name: fmt.Sprint("Agent ", i),
			Model: "model-1", Email: "alice@example.com", RequestedAt: now.Add(-60 * day), RequestedFrom: "198.51.100.7",
			DecidedAt: now.Add(-time.Duration(i) * hour), ExpiresAt: now.Add(30 * day),
		}
		switch {
		case i%20 == 19: // as many as owners are asked about
			g.State, g.DecidedAt, g.ExpiresAt = grants.Pending, time.Time{}, now.Add(hour)
		case i%10 == 9: // whose time is over
			g.ExpiresAt = now.Add(-day)
		}
		_, _, failed := store.CreateGrant(ctx, g)
		done(failed)
		if i == 0 {
			one = g
		}
		for j := range 5 { // networks, and sessions that live
			_, failed := store.Touch(ctx, grants.Activity{
				SessionID: fmt.Sprint("session-", i, "-", j), GrantID: g.ID, UserID: userID, RemoteAddr: fmt.Sprint("198.51.100.", j), Network: fmt.Sprint("198.51.100.", j),
				StartedAt: now.Add(-hour), SeenAt: now.Add(-time.Duration(i+j) * time.Second), ExpiresAt: now.Add(hour),
			})
			done(failed)
		}
		for j := range 5 {
			done(store.AddDeed(ctx, grants.Deed{
				GrantID: g.ID, UserID: userID, At: now.Add(-time.Duration(j) * hour), Event: audit.ActionPerformed, Action: "orders:create", Route: "POST /orders", Outcome: audit.OK,
			}))
		}
		_, _, failed = store.(grants.AllowanceStore).CreateAllowance(ctx, grants.Allowance{
			ID: fmt.Sprint("allowance-", i), Version: 1, UserID: userID, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create",
			Limit: grants.Amount{Value: 5000, Currency: "USD"}, Days: 30, ExpiresAt: now.Add(30 * day), Terms: 1, ChangedAt: now, Since: now,
		})
		done(failed)
		if i%5 == 0 { // as many of them wait as may
			a := grants.Approval{
				ID: fmt.Sprint("approval-", i), Version: 1, UserID: userID, GrantID: g.ID, Agent: g.Agent, Action: "payouts:create", Digest: fmt.Sprint("digest ", i), State: grants.Used,
				Method: "POST", Target: "/payouts", ContentType: "application/x-www-form-urlencoded", Body: []byte("amount=120.00&currency=USD&to=DE02120300000000202051"),
				RequestedAt: now.Add(-hour), ExpiresAt: now.Add(23 * hour),
			}
			if i < 100 {
				a.State = grants.Pending
			}
			_, _, failed := store.CreateApproval(ctx, a)
			done(failed)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return one
}
