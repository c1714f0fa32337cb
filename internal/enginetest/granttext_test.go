package enginetest_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// TestGrantText: what decides is kept to the byte or refused, what is for display
// is cut, and what no column can hold is not found: LNK-12.
func TestGrantText(t *testing.T) {
	onEngines(t, func(t *testing.T, d *database) {
		s, _ := d.migrated(t)
		refusesGrants(t, s.Grants())
		findsNothing(t, s.Grants(), cutsForDisplay(t, s.Grants()))
		keepsRequests(t, s.Grants())
		keepsAllowances(t, s.Grants())
	})
}

// approvedGrant returns a grant that is right but for the change.
func approvedGrant(change func(*grants.Grant)) grants.Grant {
	id := rand.Text()
	one := grants.Grant{
		ID: id, Version: 1, Agent: authagent.Agent{Issuer: "https://as.example", ID: id}, Scenario: "S", UserID: id,
		State: grants.Approved, Access: authagent.AccessRead, ExpiresAt: time.Now().Add(time.Hour),
	}
	change(&one)
	return one
}

// refusesGrants checks that no grant is stored in which a decisive value would be cut or
// altered.
func refusesGrants(t *testing.T, g *sqlstore.Grants) {
	t.Helper()
	ctx := t.Context()
	for name, change := range inOrder(map[string]func(*grants.Grant){
		"user ID that is cut":  func(g *grants.Grant) { g.UserID = strings.Repeat("u", 256) },
		"agent ID that is cut": func(g *grants.Grant) { g.Agent.ID = strings.Repeat("a", 256) },
		"issuer that is cut":   func(g *grants.Grant) { g.Agent.Issuer = strings.Repeat("i", 2049) },
		"user ID no text":      func(g *grants.Grant) { g.UserID = "\xff" },
		"action no text":       func(g *grants.Grant) { g.Actions = []string{"\xff"} },
		"e-mail that is cut":   func(g *grants.Grant) { g.Email = strings.Repeat("e", 4097) },
		"state with a zero":    func(g *grants.Grant) { g.State = "approved\x00" },
	}) {
		one := approvedGrant(change)
		if _, _, err := g.CreateGrant(ctx, one); err == nil {
			t.Errorf("%s: created", name)
		}
		if all, err := g.AgentGrants(ctx, one.Agent); err != nil || len(all) > 0 {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}

// cutsForDisplay checks what becomes of text that is for display, and returns the ID of
// the grant that has it.
func cutsForDisplay(t *testing.T, g *sqlstore.Grants) (id string) {
	t.Helper()
	ctx := t.Context()
	long := approvedGrant(func(g *grants.Grant) {
		g.Name, g.Model, g.RequestedFrom = strings.Repeat("\u00e9", 4000), "a\x00b\xff", strings.Repeat("1", 300)
	})
	created, _, err := g.CreateGrant(ctx, long)
	if err != nil {
		t.Fatal(err)
	}
	have, err := g.Grant(ctx, long.ID)
	if err != nil || have.Name != strings.Repeat("\u00e9", 2048) || have.Model != "a\ufffdb\ufffd" || have.RequestedFrom != strings.Repeat("1", 255) {
		t.Errorf("%+v, %v", have, err)
	}
	if created.Name != have.Name || created.Model != have.Model || created.RequestedFrom != have.RequestedFrom {
		t.Error("CreateGrant returned what it has not stored")
	}
	return long.ID
}

// findsNothing checks IDs that no column can hold, beside one that there is.
func findsNothing(t *testing.T, g *sqlstore.Grants, id string) {
	t.Helper()
	ctx := t.Context()
	for _, other := range []string{"\xff", "\x00", id + "\x00", strings.Repeat("x", 5000)} {
		_, err := g.Grant(ctx, other)
		_, err2 := g.Approval(ctx, other)
		if !errors.Is(err, authagent.ErrNotFound) || !errors.Is(err2, authagent.ErrNotFound) {
			t.Errorf("ID %q: %v, %v", other[:1], err, err2)
		}
	}
}

// keepsRequests checks that an owner sees a request as it was sent.
func keepsRequests(t *testing.T, g *sqlstore.Grants) {
	t.Helper()
	ctx := t.Context()
	asked := grants.Approval{
		ID: rand.Text(), Version: 1, UserID: "u", Digest: "d", State: grants.Pending, Agent: authagent.Agent{Issuer: "https://as.example", ID: "a"}, Action: "a", Method: "POST",
		Target: "/x?\xff\x80" + strings.Repeat("t", 1<<19), ContentType: "text/\xe9", Body: []byte{0, 0xff},
		RequestedAt: time.Unix(0, 1234567890123456789).UTC(), ExpiresAt: time.Now().Add(time.Hour).UTC(),
		Reservation: "R ", ReservedAt: time.Unix(0, 1234567890123456788).UTC(), Until: time.Unix(0, 1234567890123456787).UTC(),
	}
	if _, _, err := g.CreateApproval(ctx, asked); err != nil {
		t.Fatal(err)
	}
	shown, err := g.Approval(ctx, asked.ID)
	if err != nil || shown.Target != asked.Target || shown.ContentType != asked.ContentType {
		t.Errorf("a request came back as another one: %d bytes of %d, %v", len(shown.Target), len(asked.Target), err)
	}
	if !shown.RequestedAt.Equal(asked.RequestedAt) || !shown.ExpiresAt.Equal(asked.ExpiresAt) {
		t.Errorf("times %v, %v", shown.RequestedAt, shown.ExpiresAt)
	}
	if !shown.ReservedAt.Equal(asked.ReservedAt) || !shown.Until.Equal(asked.Until) || shown.Reservation != asked.Reservation {
		t.Errorf("reservation %q, at %v, until %v", shown.Reservation, shown.ReservedAt, shown.Until)
	}
	for name, change := range inOrder(map[string]func(*grants.Approval){
		"currency that is cut":    func(a *grants.Approval) { a.Amount.Currency = strings.Repeat("c", 256) },
		"reservation that is cut": func(a *grants.Approval) { a.Reservation = strings.Repeat("r", 256) },
		"reservation no text":     func(a *grants.Approval) { a.Reservation = "\xff" },
	}) {
		wrong := shown
		change(&wrong)
		if _, err := g.UpdateApproval(ctx, wrong); err == nil || errors.Is(err, authagent.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	asked.ID, asked.Digest, asked.Target = rand.Text(), "d2", strings.Repeat("t", 1<<20+1)
	if _, _, err := g.CreateApproval(ctx, asked); err == nil {
		t.Error("a request was cut")
	}
}
