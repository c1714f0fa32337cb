package enginetest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
)

// scenarios are the three, over a store's profiles and links.
var scenarios = map[string]func(*authagent.Config, *sqlstore.Store, *memstore.Users){
	"FullAccount": func(*authagent.Config, *sqlstore.Store, *memstore.Users) {},
	"ContextualProfile": func(c *authagent.Config, s *sqlstore.Store, u *memstore.Users) {
		c.Scenario = authagent.ContextualProfile(users{u, s.Links()}, s.Profiles(), authagent.InsecureTrustEmail)
	},
	"FreshProfile": func(c *authagent.Config, s *sqlstore.Store, _ *memstore.Users) {
		c.Scenario = authagent.FreshProfile(s.Profiles())
	},
}

// onScenarios runs a test with each scenario on each engine, on a site of two
// instances, each with a pool of its own.
func onScenarios(t *testing.T, test func(t *testing.T, b *site, d *database, scenario string)) {
	onEngines(t, func(t *testing.T, d *database) {
		for name, scenario := range scenarios {
			t.Run(name, func(t *testing.T) {
				d := newDatabase(t, d.engine)
				s, _ := d.migrated(t)
				b := newSite(t, s, scenario)
				b.alsoUse(t, d.open(t, d.connect(t)))
				test(t, b, d, name)
			})
		}
	})
}

// TestSignIn: an agent signs in with everything kept in the database. Logged out
// at one instance it is refused at the other (SES-3), and so are all sessions of
// an agent that were ended at one (SES-11).
func TestSignIn(t *testing.T) {
	onScenarios(t, func(t *testing.T, b *site, d *database, scenario string) {
		db := d.connect(t)
		cookies := b.signIn(t, b.Browser())
		elsewhere := b.signIn(t, b.Browser())
		for _, instance := range []string{"", "2"} {
			if resp := b.get(t, "/me", cookies, "X-Instance", instance); resp.StatusCode != http.StatusOK || !strings.Contains(resp.Text, scenario) {
				t.Fatalf("instance %q: %d %s", instance, resp.StatusCode, resp.Text)
			}
		}
		for table, want := range inOrder(map[string]int{"profiles": 1, "links": 1, "states": 2, "sessions": 2, "tokens": 2}) {
			if scenario == "FullAccount" && table == "profiles" || scenario == "FreshProfile" && table == "links" {
				want = 0
			}
			if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_`+table); n != want {
				t.Errorf("%d rows of %s, want %d", n, table, want)
			}
		}
		if resp := b.post(t, "/auth/agent/logout", cookies); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("logout: %d %s", resp.StatusCode, resp.Text)
		}
		for _, instance := range []string{"", "2"} {
			if resp := b.get(t, "/me", cookies, "X-Instance", instance); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("SES-3: after logout, instance %q: %d %s", instance, resp.StatusCode, resp.Text)
			}
		}
		if err := b.RP.EndAgentSessions(t.Context(), authagent.Agent{Issuer: b.AS.URL, ID: b.Agent.ID}); err != nil {
			t.Fatal(err)
		}
		if resp := b.get(t, "/me", elsewhere, "X-Instance", "2"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-11: after EndAgentSessions: %d %s", resp.StatusCode, resp.Text)
		}
		b.signIn(t, b.Browser()) // anew
	})
}

// TestLogoutWithCookies is SES-3 with sessions in cookies, where the shared
// revocations are all that ends a copy of one.
func TestLogoutWithCookies(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		b := newSite(t, s, func(c *authagent.Config, _ *sqlstore.Store, _ *memstore.Users) { c.Session.Store = nil })
		b.alsoUse(t, d.open(t, d.connect(t)))
		cookies := b.signIn(t, b.Browser())
		if resp := b.get(t, "/me", cookies, "X-Instance", "2"); resp.StatusCode != http.StatusOK {
			t.Fatalf("/me: %d %s", resp.StatusCode, resp.Text)
		}
		b.post(t, "/auth/agent/logout", cookies)
		if resp := b.get(t, "/me", cookies, "X-Instance", "2"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("SES-3: after logout: %d %s", resp.StatusCode, resp.Text)
		}
	})
}

// TestStateAtTwoInstances is TXN-4: a state that was used at one instance is
// refused at the other.
func TestStateAtTwoInstances(t *testing.T) {
	onScenarios(t, func(t *testing.T, b *site, _ *database, _ string) {
		started := b.begin(t)
		if resp := b.get(t, started.callback, started.cookies); resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("callback: %d %s", resp.StatusCode, resp.Text)
		}
		before := b.exchanges()
		resp := b.get(t, started.callback, started.cookies, "X-Instance", "2")
		if resp.StatusCode < 400 || resp.Reason() != problem.Reason("sign_in_under_way") {
			t.Errorf("TXN-4: at the second instance: %d %s", resp.StatusCode, resp.Text)
		}
		if n := b.exchanges() - before; n != 0 {
			t.Errorf("TXN-4: %d more requests to the token endpoint", n)
		}
	})
}

// TestFirstSignInsAtOnce is LNK-13: a hundred browsers of one agent at once, half
// of them at each instance, are a hundred sessions and one profile.
func TestFirstSignInsAtOnce(t *testing.T) {
	const browsers = 100
	onScenarios(t, func(t *testing.T, b *site, d *database, scenario string) {
		db := d.connect(t)
		all := make([]callback, browsers)
		var group sync.WaitGroup
		for i := range all {
			group.Go(func() { all[i] = b.begin(t) })
		}
		group.Wait()
		for i, started := range all {
			group.Go(func() {
				instance := []string{"", "2"}[i%2]
				if resp := b.get(t, started.callback, started.cookies, "X-Instance", instance); resp.StatusCode != http.StatusSeeOther {
					t.Errorf("callback %d: %d %s", i, resp.StatusCode, resp.Text)
				}
			})
		}
		group.Wait()
		want := map[string]int{"profiles": 1, "links": 1, "sessions": browsers, "states": browsers}
		switch scenario {
		case "FullAccount":
			want["profiles"] = 0
		case "FreshProfile":
			want["links"] = 0
		}
		for table, n := range want {
			if got := d.count(t, db, `SELECT COUNT(*) FROM authagent_`+table); got != n {
				t.Errorf("LNK-13: %d rows of %s, want %d", got, table, n)
			}
		}
	})
}

// TestAuditTrail: what Config.Audit gets is what Events returns.
func TestAuditTrail(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		var mu sync.Mutex
		var seen []audit.Event
		b := newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, _ *memstore.Users) {
			c.Audit = func(ctx context.Context, e audit.Event) {
				s.Audit(ctx, e)
				mu.Lock()
				defer mu.Unlock()
				seen = append([]audit.Event{e}, seen...)
			}
		})
		c := b.Browser()
		cookies := b.signIn(t, c)
		b.post(t, "/auth/agent/logout", cookies)
		b.get(t, "/auth/agent/callback?state=x&code=y", "")
		if err := b.RP.Shutdown(t.Context()); err != nil { // no answer waits for what is slow
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got, next, err := s.Events(t.Context(), sqlstore.EventQuery{})
		if err != nil || next != "" || len(seen) < 4 {
			t.Fatalf("%d events seen, next %q, %v", len(seen), next, err)
		}
		sameEvents(t, seen, got)
	})
}

// TestSessionIDIsNotStored: who reads the database can enter no session. SES-2.
func TestSessionIDIsNotStored(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		b := newSite(t, s)
		c := b.Browser()
		_, id, _ := strings.Cut(b.signIn(t, c), "=")
		if len(id) < 26 {
			t.Fatalf("cookie %q", id)
		}
		for _, table := range tables {
			rows, err := db.Query(d.sql(`SELECT * FROM authagent_` + table))
			if err != nil {
				t.Fatal(err)
			}
			columns, err := rows.Columns()
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				values := make([]any, len(columns))
				for i := range values {
					values[i] = new([]byte)
				}
				if err := rows.Scan(values...); err != nil {
					t.Fatal(err)
				}
				for i, v := range values {
					if strings.Contains(string(*v.(*[]byte)), id) {
						t.Errorf("%s.%s has the session's ID", table, columns[i])
					}
				}
			}
			rows.Close()
		}
	})
}

// TestManyAtOnce: sign-in, requests and logout of many agents at two instances
// with small pools lose nothing and mix nothing up.
func TestManyAtOnce(t *testing.T) {
	const agents, rounds = 20, 3
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		db.SetMaxOpenConns(5)
		b := newSite(t, s, scenarios["ContextualProfile"])
		second := d.connect(t)
		second.SetMaxOpenConns(5)
		b.alsoUse(t, d.open(t, second))
		var group sync.WaitGroup
		for i := range agents {
			email := fmt.Sprintf("u%d@example.com", i)
			id := b.Users.Add(email, "")
			agent := b.AS.AddAgent(authagenttest.Agent{ID: fmt.Sprint("agent_", i), Email: email})
			group.Go(func() {
				for range rounds {
					c := b.Browser()
					resp, err := agent.SignIn(t.Context(), c, b.URL+"/auth/agent/login")
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					cookies := b.Cookies(c)
					if me := b.get(t, "/me", cookies, "X-Instance", "2"); !strings.Contains(me.Text, `"user_id":"`+id+`"`) || !strings.Contains(me.Text, `"id":"`+agent.ID+`"`) {
						t.Errorf("%s: %d %s", agent.ID, me.StatusCode, me.Text)
					}
					b.post(t, "/auth/agent/logout", cookies)
					if me := b.get(t, "/me", cookies, "X-Instance", "2"); me.StatusCode != http.StatusUnauthorized {
						t.Errorf("%s after logout: %d", agent.ID, me.StatusCode)
					}
				}
			})
		}
		group.Wait()
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_profiles`); n != agents {
			t.Errorf("%d profiles", n)
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_sessions`); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}
