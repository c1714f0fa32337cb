package enginetest_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

func someAllowance() grants.Allowance {
	return grants.Allowance{
		ID: rand.Text(), Version: 1, UserID: "u", GrantID: "g", Agent: authagent.Agent{Issuer: "https://as.example", ID: "a"}, Action: "payouts:create",
		Limit: grants.Amount{Value: math.MaxInt64, Currency: "USD"}, ExpiresAt: time.Unix(0, 2345678901234567891).UTC(),
		ChangedAt: time.Unix(0, 1234567890123456789).UTC(), Taken: math.MaxInt64 - 1,
		Open: []grants.Taking{{ID: "t", Value: 1<<53 + 1, At: time.Unix(0, 1234567890123456787).UTC(), Description: strings.Repeat("\u00e9", 512)}},
	}
}

// keepsAllowances checks that an allowance is kept to the digit and the nanosecond, and
// that one in which something would be cut or altered is not stored.
func keepsAllowances(t *testing.T, g *sqlstore.Grants) {
	t.Helper()
	ctx := t.Context()
	want := someAllowance()
	if _, _, err := g.CreateAllowance(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, err := g.Allowance(ctx, want.ID)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; allowance (-want +got):\n%s", err, diff)
	}
	elsewhere := want
	elsewhere.Since = time.Unix(0, 1234567890123456786).In(time.FixedZone("", 3600))
	if _, err := g.UpdateAllowance(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Allowance(ctx, want.ID); err != nil || got.Since != elsewhere.Since.UTC() {
		t.Errorf("Since is %v, %v", got.Since, err)
	}
	for name, change := range inOrder(map[string]func(*grants.Allowance){
		"ID that is cut":          func(a *grants.Allowance) { a.ID = strings.Repeat("i", 256) },
		"user ID that is cut":     func(a *grants.Allowance) { a.UserID = strings.Repeat("u", 256) },
		"grant ID no text":        func(a *grants.Allowance) { a.GrantID = "\xff" },
		"action no text":          func(a *grants.Allowance) { a.Action = "\xff" },
		"agent ID that is cut":    func(a *grants.Allowance) { a.Agent.ID = strings.Repeat("a", 256) },
		"currency with a zero":    func(a *grants.Allowance) { a.Limit.Currency = "USD\x00" },
		"ID of a taking no text":  func(a *grants.Allowance) { a.Open = []grants.Taking{{ID: "\xff"}} },
		"description no text":     func(a *grants.Allowance) { a.Open = []grants.Taking{{Description: "\xff"}} },
		"description that is cut": func(a *grants.Allowance) { a.Open = []grants.Taking{{Description: strings.Repeat("d", 1025)}} },
		"too many takings":        func(a *grants.Allowance) { a.Open = make([]grants.Taking, 1<<15) },
		"year that is no JSON":    func(a *grants.Allowance) { a.ChangedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	}) {
		wrong := someAllowance()
		change(&wrong)
		if _, _, err := g.CreateAllowance(ctx, wrong); err == nil || !strings.Contains(err.Error(), "sqlstore: create allowance: ") {
			t.Errorf("%s: created, %v", name, err)
		}
		if _, err := g.Allowance(ctx, wrong.ID); !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		wrong.ID, wrong.Version = want.ID, 2
		if _, err := g.UpdateAllowance(ctx, wrong); name != "ID that is cut" && (err == nil || errors.Is(err, authagent.ErrConflict)) {
			t.Errorf("%s: updated, %v", name, err)
		}
	}
}

// TestAllowanceUnknown_DB_5 is DB-5: an allowance that this version does not understand gives nothing.
func TestAllowanceUnknown_DB_5(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		g, ctx := s.Grants(), t.Context()
		if _, _, err := g.CreateAllowance(ctx, someAllowance()); err != nil {
			t.Fatal(err)
		}
		all, err := g.OwnerAllowances(ctx, "u")
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, text := range []string{`{"limit":{"value":1,"currency":"USD"},"only_on":"Mondays"}`, `{"terms":"1"}`, ``, `[]`} {
			d.must(t, db, `UPDATE authagent_allowances SET allowance = '`+text+`'`)
			if have, err := g.Allowance(ctx, all[0].ID); err == nil || !cmp.Equal(have, grants.Allowance{}) {
				t.Errorf("%s: %+v, %v", text, have, err)
			}
			if have, err := g.OwnerAllowances(ctx, "u"); err == nil || len(have) > 0 {
				t.Errorf("%s: %+v, %v", text, have, err)
			}
		}
	})
}

// TestDeleteExpiredAllowances: an allowance goes 90 days after it has expired, and what is
// known of a reservation after 60 days.
func TestDeleteExpiredAllowances(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		g, ctx, now := s.Grants(), t.Context(), time.Now()
		day := 24 * time.Hour
		var kept string
		for _, days := range []int{91, 89, -1} {
			a := someAllowance()
			a.ExpiresAt = now.Add(-time.Duration(days) * day)
			if _, _, err := g.CreateAllowance(ctx, a); err != nil {
				t.Fatal(err)
			}
			kept = a.ID
		}
		for _, id := range []string{"r1", "r2"} {
			if _, err := g.Settle(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		d.must(t, db, fmt.Sprintf(`UPDATE authagent_reservations SET expires_at = expires_at - %d WHERE id = 'r1'`, 60*day))
		if n, err := s.DeleteExpired(ctx, 0); err != nil || n != 2 {
			t.Errorf("%d rows were deleted, want 2; %v", n, err)
		}
		if all, err := g.OwnerAllowances(ctx, "u"); err != nil || len(all) != 2 {
			t.Errorf("%d allowances are left, want 2; %v", len(all), err)
		}
		if _, err := g.Allowance(ctx, kept); err != nil {
			t.Errorf("one in force: %v", err)
		}
		soon := fmt.Sprint(now.Add(60*day - time.Minute).UnixNano())
		if n := d.count(t, db, `SELECT COUNT(*) FROM authagent_reservations WHERE expires_at > `+soon); n != 1 {
			t.Errorf("%d reservations are kept for 60 days, want 1", n)
		}
	})
}

// TestOlderRows_OWN_20: what an older version has written is of no amount, and not reserved. Its agents
// came with browsers.
func TestOlderRows_OWN_20(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, db := d.migrated(t)
		d.fill(t, db, 1, "approvals", "events")
		d.fill(t, db, 1000, "activity")
		a, err := s.Grants().Approval(t.Context(), "name 1")
		if err != nil || a.Amount != (grants.Amount{}) || a.Reservation != "" || !a.ReservedAt.IsZero() || !a.Until.IsZero() {
			t.Errorf("approval %+v, %v", a, err)
		}
		events, _, err := s.Events(t.Context(), sqlstore.EventQuery{})
		if err != nil || len(events) != 1 || events[0].Amount != (grants.Amount{}) || events[0].Door != audit.Browser {
			t.Errorf("events %+v, %v", events, err)
		}
		sessions, err := s.Grants().OwnerActivity(t.Context(), "user 1000")
		if err != nil || len(sessions) != 1 || sessions[0].Door != audit.Browser {
			t.Errorf("OWN-20: sessions %+v, %v", sessions, err)
		}
		a.State, a.Reservation, a.ReservedAt = grants.Reserved, "r", time.Unix(0, 7).UTC()
		if _, err := s.Grants().UpdateApproval(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Grants().Approval(t.Context(), "name 1"); err != nil || got.Reservation != "r" || !got.ReservedAt.Equal(a.ReservedAt) || !got.Until.IsZero() {
			t.Errorf("reserved: %+v, %v", got, err)
		}
	})
}
