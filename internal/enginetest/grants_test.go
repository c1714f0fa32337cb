package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/sqlstore"
	"github.com/authagent-go/authagent/storetest"
)

// TestGrants runs the kit for stores of grants on each engine, and on each as in
// TestStores: LNK-1, LNK-3, LNK-12, LNK-15.
func TestGrants(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		for _, setting := range d.settings {
			t.Run(setting, func(t *testing.T) {
				storetest.Grants(t, func(t *testing.T) grants.Store {
					s, _ := newDatabase(t, d.engine).migrated(t, setting) // has to be empty
					return s.Grants()
				})
			})
		}
	})
}

// TestCauseOfEarlier_OWN_13: a program of an earlier version keeps no cause. If it lets a suspended
// agent in and suspends it again, the cause in the database is none of that suspension.
func TestCauseOfEarlier_OWN_13(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		g := s.Grants()
		paused := approvedGrant(func(g *grants.Grant) { g.State, g.Cause = grants.Suspended, grants.CauseOwner })
		if _, _, err := g.CreateGrant(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		cause := func() grants.Cause {
			have, err := g.Grant(t.Context(), paused.ID)
			if err != nil {
				t.Fatal(err)
			}
			return have.Cause
		}
		d.must(t, db, `UPDATE authagent_grants SET nickname = 'mine', version = version + 1 WHERE id = '`+paused.ID+`'`)
		if got := cause(); got != grants.CauseOwner {
			t.Errorf("OWN-13: cause %q after an earlier version has renamed the agent", got)
		}
		d.must(t, db, `UPDATE authagent_grants SET state = 'approved', sessions_from = 1, version = version + 1 WHERE id = '`+paused.ID+`'`)
		d.must(t, db, `UPDATE authagent_grants SET state = 'suspended', version = version + 1 WHERE id = '`+paused.ID+`'`)
		if got := cause(); got != "" {
			t.Errorf("OWN-13: cause %q of an earlier suspension", got)
		}
	})
}

// TestRulesUnknown: what this version does not understand lets nobody in.
func TestRulesUnknown(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		g, ctx := s.Grants(), t.Context()
		if err := g.SetRules(ctx, grants.Rules{DenyAgents: []authagent.Agent{{Issuer: "https://as.example", ID: "\xff"}}}); err == nil {
			t.Error("rules were stored that name somebody else")
		}
		if err := g.SetRules(ctx, grants.Rules{DenyDomains: []string{"a.example"}}); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{`{"paused":false,"deny_models":["m"]}`, `{"paused":"yes"}`, ``, `[]`} {
			d.must(t, db, `UPDATE authagent_rules SET rules = '`+text+`'`)
			if rules, err := g.Rules(ctx); err == nil || !cmp.Equal(rules, grants.Rules{}) {
				t.Errorf("%s: %+v, %v", text, rules, err)
			}
		}
		one := grants.Grant{
			ID: "g", Version: 1, Agent: authagent.Agent{Issuer: "i", ID: "a"}, Scenario: "S", UserID: "u", State: grants.Approved,
			Access: authagent.AccessRead, ExpiresAt: time.Now().Add(time.Hour),
		}
		if _, _, err := g.CreateGrant(ctx, one); err != nil {
			t.Fatal(err)
		}
		d.must(t, db, `UPDATE authagent_grants SET access = 'everything'`)
		if have, err := g.Grant(ctx, "g"); err == nil {
			t.Errorf("a grant with an unknown access: %+v", have)
		}
	})
}

// TestNetworksAreBounded: an agent that comes from everywhere fills no table, and
// its first use is not told twice.
func TestNetworksAreBounded(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		now := time.Now()
		touch := func(network int, want grants.Use) {
			t.Helper()
			use, err := s.Grants().Touch(t.Context(), grants.Activity{
				SessionID: "s", GrantID: "g", UserID: "u", RemoteAddr: "r", Network: fmt.Sprint(network), SeenAt: now, ExpiresAt: now.Add(time.Hour),
			})
			if err != nil || use != want {
				t.Fatalf("network %d: %v, %v", network, use, err)
			}
			now = now.Add(time.Second)
		}
		touch(0, grants.FirstUse)
		for n := 1; n < 130; n++ {
			touch(n, grants.NewNetwork)
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_uses`); n != 100 {
			t.Errorf("%d networks are remembered", n)
		}
		touch(0, grants.KnownUse)
		touch(129, grants.KnownUse)
		touch(1, grants.NewNetwork)
	})
}

// owners returns the policies of as many instances as there are, each with its own
// connections, and counts how often owners are told.
func (d *database) owners(t *testing.T, instances int) (all []*grants.Policy, told *atomic.Int64) {
	t.Helper()
	d.migrated(t)
	told = new(atomic.Int64)
	for range instances {
		p := grants.OwnerApproval(d.open(t, d.connect(t)).Grants())
		p.Logger = slog.New(slog.DiscardHandler)
		p.Notify = func(context.Context, grants.Notice) { told.Add(1) }
		all = append(all, p)
	}
	return all, told
}

// atOnce calls f that often at once, spread over the instances.
func atOnce(owners []*grants.Policy, calls int, f func(*grants.Policy)) {
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range calls {
		group.Go(func() {
			<-start
			f(owners[i%len(owners)])
		})
	}
	close(start)
	group.Wait()
	for _, p := range owners {
		p.Wait()
	}
}

// TestOneRequest: an agent that signs in a hundred times at once, at four
// instances, has one grant, and its owner is asked once: LNK-3.
func TestOneRequest(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		owners, told := d.owners(t, 4)
		r := authagent.LinkRequest{
			Agent: authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}, Email: "alice@example.com", Scenario: "FullAccount",
			User: &authagent.User{ID: "alice", EmailVerified: true}, Access: authagent.AccessFull,
		}
		atOnce(owners, 100, func(p *grants.Policy) {
			if _, err := p.Link(t.Context(), r); !errors.Is(err, problem.ApprovalNeeded) {
				t.Errorf("Link: %v", err)
			}
		})
		o, err := owners[0].Overview(t.Context(), "alice")
		if err != nil || len(o.Grants) != 1 || o.Grants[0].State != grants.Pending {
			t.Errorf("grants %+v, %v", o.Grants, err)
		}
		if n := told.Load(); n != 1 {
			t.Errorf("the owner was asked %d times", n)
		}
	})
}

// TestApprovedOnce: a request that its owner has approved passes once, however
// often and wherever it is sent at once: LNK-15.
func TestApprovedOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		owners, told := d.owners(t, 4)
		agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
		link := authagent.LinkRequest{Agent: agent, Scenario: "FullAccount", User: &authagent.User{ID: "alice"}}
		if err := owners[0].LinkByOwner(t.Context(), link); err != nil {
			t.Fatal(err)
		}
		owners[0].Wait()
		told.Store(0)
		connected, err := owners[0].Overview(t.Context(), "alice")
		if err != nil || len(connected.Grants) != 1 {
			t.Fatalf("grants %+v, %v", connected.Grants, err)
		}
		r := action.Request{
			Agent: agent, UserID: "alice", GrantID: connected.Grants[0].ID, Action: "payouts:create", Digest: "digest",
			Method: "POST", Target: "/payouts", Body: []byte("amount=1"),
		}
		var mu sync.Mutex
		got := make(map[string]int)
		send := func(p *grants.Policy) {
			reserved, _, err := p.Approve(t.Context(), r)
			answer := "passed"
			if err == nil {
				err = reserved.End(t.Context())
			}
			switch {
			case errors.Is(err, problem.ApprovalPending):
				answer, err = "waits", nil
			case errors.Is(err, problem.Reason("approval_used")), errors.Is(err, problem.Reason("action_under_way")): // or about to be used
				answer, err = "too late", nil
			}
			if err != nil {
				t.Errorf("Approve: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[answer]++
		}
		atOnce(owners, 50, send)
		o, err := owners[1].Overview(t.Context(), "alice")
		if err != nil || len(o.Approvals) != 1 {
			t.Fatalf("approvals %+v, %v", o.Approvals, err)
		}
		if _, err := owners[1].DecideAction(t.Context(), "alice", o.Approvals[0].ID, o.Approvals[0].Version, true); err != nil {
			t.Fatal(err)
		}
		atOnce(owners, 50, send)
		if n := told.Load(); n != 1 {
			t.Errorf("the owner was asked %d times", n)
		}
		want := map[string]int{"waits": 50, "passed": 1, "too late": 49}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

// TestOwnersDecision: what an owner decides at one instance counts on the next
// request at the other, and so does the kill switch: LNK-1, LNK-2, LNK-4, MW-6.
func TestOwnersDecision(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		var owners []*grants.Policy
		site := newSite(t, s, func(c *authagent.Config, s *sqlstore.Store, users *memstore.Users) {
			p := grants.OwnerApproval(s.Grants())
			p.Logger = slog.New(slog.DiscardHandler)
			owners = append(owners, p)
			c.Scenario = authagent.FullAccount(users, p)
		})
		site.alsoUse(t, d.open(t, d.connect(t)))
		ctx, alice := t.Context(), site.Users.All()[0].ID
		decide := func(instance int, state grants.State, access authagent.Access) {
			t.Helper()
			o, err := owners[instance].Overview(ctx, alice)
			if err != nil || len(o.Grants) != 1 {
				t.Fatalf("grants %+v, %v", o.Grants, err)
			}
			g := o.Grants[0]
			if _, err := owners[instance].Decide(ctx, alice, grants.Decision{GrantID: g.ID, Version: g.Version, State: state, Access: access}); err != nil {
				t.Fatalf("%s: %v", state, err)
			}
		}
		refused := func() {
			t.Helper()
			resp, err := site.Agent.SignIn(ctx, site.Browser(), site.URL+"/auth/agent/login?return_to=/me")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 403 {
				t.Fatalf("signing in ended with %d", resp.StatusCode)
			}
			owners[0].Wait()
		}
		second := []string{"X-Instance", "2", "Accept", "application/json"}
		see := func(what, cookies string, status int, text string, header ...string) {
			t.Helper()
			if resp := site.get(t, "/me", cookies, header...); resp.StatusCode != status || !strings.Contains(resp.Text, text) {
				t.Errorf("%s: %d %s", what, resp.StatusCode, resp.Text)
			}
		}

		refused()
		decide(1, grants.Approved, authagent.AccessRead)
		cookies := site.signIn(t, site.Browser())
		see("approved", cookies, 200, `"access":"read"`, second...)
		decide(0, grants.Approved, authagent.AccessFull)
		see("allowed more", cookies, 200, `"access":"full"`, second...)

		pause := func(paused bool) {
			t.Helper()
			if err := owners[0].SetRules(ctx, "admin", grants.Rules{Paused: paused}); err != nil {
				t.Fatal(err)
			}
		}
		pause(true)
		see("paused", cookies, 503, "agents_paused", second...)
		if resp := site.get(t, "/auth/agent/login", "", second...); resp.StatusCode != 503 || resp.Reason() != problem.Paused {
			t.Errorf("a login while agents are paused: %d %s", resp.StatusCode, resp.Text)
		}
		pause(false) // which has taken no session away
		see("no longer paused", cookies, 200, `"access":"full"`, second...)

		o, err := owners[1].Overview(ctx, alice)
		if err != nil || len(o.Sessions) != 1 || len(o.Uses) != 1 || len(o.Deeds) == 0 {
			t.Errorf("overview %+v, %v", o, err)
		}
		decide(0, grants.Revoked, 0)
		see("revoked", cookies, 401, "", second...)
		see("revoked", cookies, 401, "", "Accept", "application/json")
		refused()
		decide(1, grants.Approved, authagent.AccessRead)
		see("the session that was ended", cookies, 401, "", second...)
		cookies = site.signIn(t, site.Browser())
		decide(1, grants.Suspended, 0)
		see("suspended", cookies, 401, "", "Accept", "application/json")
	})
}

// TestGrantsDeleted: DeleteExpired takes what has expired, in batches, and leaves
// what an owner has decided, and LNK-42 what holds its agent.
func TestGrantsDeleted(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		g, ctx, now := s.Grants(), t.Context(), time.Now()
		long := now.Add(-400 * 24 * time.Hour)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		grant := func(id string, state grants.State, expires time.Time) {
			_, _, err := g.CreateGrant(ctx, grants.Grant{
				ID: id, Version: 1, Agent: authagent.Agent{Issuer: "i", ID: id}, Scenario: "S", UserID: "u", State: state, RequestedAt: long, ExpiresAt: expires,
			})
			must(err)
		}
		renewed := func(id string, asked time.Time) { // in the place of an approval that has run out
			_, _, err := g.CreateGrant(ctx, grants.Grant{
				ID: id, Version: 1, Agent: authagent.Agent{Issuer: "i", ID: id}, Scenario: "S", UserID: "u", State: grants.Pending,
				RequestedAt: asked, DecidedAt: asked.Add(-90 * 24 * time.Hour), ExpiresAt: asked.Add(24 * time.Hour),
			})
			must(err)
		}
		renewed("renewed", now.Add(-365*24*time.Hour))
		renewed("old, renewed", long)
		for _, state := range []grants.State{grants.Approved, grants.Suspended, grants.Denied, grants.Revoked} {
			grant(string(state), state, long)
		}
		grant("asked for lately", grants.Pending, now.Add(-time.Hour)) // counts against the limit of requests in an hour
		for n := range 5 {
			id := fmt.Sprint("old", n)
			grant(id, grants.Pending, long)
			for _, expires := range []time.Time{now.Add(-time.Second), now.Add(time.Hour)} {
				_, _, err := g.CreateApproval(ctx, grants.Approval{ID: id + expires.String(), Version: 1, UserID: "u", Digest: id + expires.String(), State: grants.Used, ExpiresAt: expires})
				must(err)
				_, err = g.Touch(ctx, grants.Activity{SessionID: id + expires.String(), GrantID: "approved", UserID: "u", Network: id, SeenAt: long, ExpiresAt: expires})
				must(err)
			}
			must(g.AddDeed(ctx, grants.Deed{GrantID: "approved", UserID: "u", At: long}))
			must(g.AddDeed(ctx, grants.Deed{GrantID: "approved", UserID: "u", At: now.Add(-80 * 24 * time.Hour)}))
		}
		must(g.SetRules(ctx, grants.Rules{Paused: true}))
		deleted, err := s.DeleteExpired(ctx, 2)
		if err != nil || deleted != 21 {
			t.Errorf("deleted %d, %v", deleted, err)
		}
		left := make(map[string]int)
		for _, table := range []string{"grants", "approvals", "activity", "uses", "deeds", "rules"} {
			left[table] = d.count(t, db, `SELECT COUNT(*) FROM authagent_`+table)
		}
		want := map[string]int{"grants": 6, "approvals": 5, "activity": 5, "uses": 5, "deeds": 5, "rules": 1}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_grants WHERE id LIKE 'old%'`); n != 0 {
			t.Errorf("%d requests are left that nobody decided", n)
		}
	})
}
