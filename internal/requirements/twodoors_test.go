package requirements_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestBothDoors_API_29 is the story of one agent that comes to a site with a browser and over its API: there is
// one grant, one limit, one approval, one page, and one revoke.
func TestBothDoors_API_29(t *testing.T) {
	owners := grants.OwnerApproval(&memstore.Grants{})
	owners.Actions, owners.Approvals = map[string]string{"orders:create": "Place orders"}, map[string]string{"payouts:create": "Pay out"}
	owners.Logger = discardLog()
	users := &memstore.SubjectUsers{}
	alice := users.Add("alice@example.com", "Alice")
	b := newBenchOn(t, subjectServer(t), func(b *bench, c *authagent.Config) {
		users.AddSubject(c.Issuer, "user_a", alice)
		c.Provider.SubjectIsUser, c.Scenario, c.Human = true, authagent.FullAccount(users, owners), testsite.Human
		c.API.Resource = b.URL + "/api"
		c.Limits = limits.Settings{Actions: map[string]limits.Rate{"orders:create": {N: 2, Per: time.Hour}}}
	})
	done := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.Handled.Add() })
	b.Mux("").Handle("/account/agents/", grants.Handler(owners, b.RP))
	b.Mux("").Handle("POST /orders", b.RP.RequireAction("orders:create")(done))
	b.Mux("").Handle("POST /payouts", b.RP.RequireApproval("payouts:create", owners)(done))

	agent := b.AS.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	token := b.AS.AccessToken(agent, authagenttest.APIToken{Audience: []string{b.URL + "/api"}})
	browser, program := b.Browser(), authagenttest.Bearer(b.Bare(), token)
	overview := func() grants.Overview {
		t.Helper()
		owners.Wait()
		o, err := owners.Overview(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}

	// Over the API, the agent is refused as at a sign-in, and its owner is asked.
	resp := b.Get(program, "/data")
	var refusal struct {
		OwnerPage string `json:"owner_page"`
		Compare   string `json:"compare"`
		SignIn    string `json:"sign_in"`
	}
	json.Unmarshal([]byte(resp.Text), &refusal)
	if resp.StatusCode != 403 || resp.Reason() != problem.ApprovalNeeded || refusal.OwnerPage != b.URL+"/account/agents/" || refusal.Compare == "" || refusal.SignIn != "" || resp.Header.Get("Link") != "" {
		t.Fatalf("without a grant: status %d, %s", resp.StatusCode, resp.Text)
	}
	o := overview()
	if len(o.Grants) != 1 || o.Grants[0].State != grants.Pending {
		t.Fatalf("grants %+v", o.Grants)
	}
	_, err := owners.Decide(t.Context(), alice, grants.Decision{
		GrantID: o.Grants[0].ID, Version: o.Grants[0].Version, State: grants.Approved, Access: authagent.AccessRead, Actions: []string{"orders:create"},
	})
	if err != nil {
		t.Fatal(err)
	}

	// The same token passes now, and the same agent signs in with a browser: by one grant.
	over := b.Get(program, "/data").Session(t)
	with := b.MustSignIn(browser, agent)
	if over.GrantID == "" || over.GrantID != with.GrantID || over.UserID != alice || over.Access != authagent.AccessRead || over.ID == with.ID {
		t.Errorf("over the API %+v, with a browser %+v", over, with)
	}

	// Each door counts for the other.
	for i, client := range []*http.Client{browser, program, browser, program} {
		want := http.StatusOK
		if i > 1 {
			want = http.StatusTooManyRequests
		}
		if resp := b.Do(client, http.MethodPost, "/orders"); resp.StatusCode != want {
			t.Errorf("order %d: status %d, %s", i, resp.StatusCode, resp.Text)
		}
	}

	// What is asked for over the API, the owner approves, and the browser finds it used.
	payout := func(client *http.Client) int {
		return b.Do(client, http.MethodPost, "/payouts", "Idempotency-Key", "1").StatusCode
	}
	if got := payout(program); got != http.StatusAccepted {
		t.Fatalf("payout: status %d", got)
	}
	a := overview().Approvals[0]
	if _, err := owners.DecideAction(t.Context(), alice, a.ID, a.Version, true); err != nil {
		t.Fatal(err)
	}
	before := b.Handled.Count()
	if first, second := payout(program), payout(browser); first != http.StatusOK || second != http.StatusConflict || b.Handled.Count() != before+1 {
		t.Errorf("payouts: status %d and %d, %d handled", first, second, b.Handled.Count()-before)
	}

	// One page shows both.
	var doors []audit.Door
	for _, s := range overview().Sessions {
		doors = append(doors, s.Door)
	}
	slices.Sort(doors)
	if !slices.Equal(doors, []audit.Door{audit.Browser, audit.API}) {
		t.Errorf("sessions by the doors %q", doors)
	}

	// One revoke ends both.
	o = overview()
	if _, err := owners.Decide(t.Context(), alice, grants.Decision{GrantID: o.Grants[0].ID, Version: o.Grants[0].Version, State: grants.Revoked}); err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*http.Client{"browser": browser, "API": program} {
		if resp := b.Get(client, "/data"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s after the revoke: status %d, %s", name, resp.StatusCode, resp.Text)
		}
	}
}
