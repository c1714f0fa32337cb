package requirements_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// TestAsksAgain_API_46: an agent that waits for its owner may ask now and then, by whichever token, and no more. One
// that is let in is not counted.
func TestAsksAgain_API_46(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, owners := &memstore.SubjectUsers{}, grants.OwnerApproval(&memstore.Grants{})
		alice := users.Put(memstore.Account{Email: "alice@example.com"})
		owners.Logger = discardLog()
		b, agent := newDelegated(t, func(b *bench, c *authagent.Config) {
			users.AddSubject(c.Issuer, "u-alice", alice)
			c.Scenario, c.API.Resource = authagent.FullAccount(users, owners), b.URL+"/api"
		})
		call := func() *response {
			token := b.AS.AccessToken(agent, apiToken(b))
			return b.Get(b.Bare(), "/me", "Authorization", "Bearer "+token)
		}
		for i := range 20 {
			if resp := call(); resp.Reason() != problem.ApprovalNeeded {
				t.Fatalf("request %d: status %d, %s", i, resp.StatusCode, resp.Text)
			}
		}
		if resp := call(); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("one more: status %d, %s", resp.StatusCode, resp.Text)
		}
		owners.Wait()
		o, err := owners.Overview(t.Context(), alice)
		if err != nil || len(o.Grants) != 1 {
			t.Fatal(o, err)
		}
		d := grants.Decision{GrantID: o.Grants[0].ID, Version: o.Grants[0].Version, State: grants.Approved, Access: authagent.AccessRead}
		if _, err := owners.Decide(t.Context(), alice, d); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i := range 50 {
			if resp := call(); resp.StatusCode != http.StatusOK {
				t.Fatalf("let in, request %d: status %d, %s", i, resp.StatusCode, resp.Text)
			}
		}
	})
}

// TestAskedOnce_API_46: a refusal by SessionByToken and ServeError asks about the agent once, as one by a guard does.
func TestAskedOnce_API_46(t *testing.T) {
	policy := &counting{}
	d := newDoorCluster(t, func(b *bench, c *authagent.Config) {
		b.AliceID = b.Users.Add("alice@shop.example", "Alice")
		b.AS.Configure(func(_ *authagenttest.Quirks, f *authagenttest.Features) { f.ActorClaim = false })
		c.Provider.SubjectIsUser, c.Scenario = false, authagent.FullAccount(b.Users, policy)
	})
	d.Mux("").HandleFunc("/tools", func(w http.ResponseWriter, r *http.Request) {
		if _, err := d.RP.SessionByToken(r); err != nil {
			d.RP.ServeError(w, r, err)
		}
	})
	token := d.token(claiming(map[string]any{"email": "alice@shop.example"}))
	for _, path := range []string{"/me", "/tools"} {
		policy.asked.Store(0)
		d.refused(path, path, token, 403, problem.ApprovalNeeded, "")
		if n := policy.asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", path, n)
		}
	}
}

// counting lets nobody in.
type counting struct{ asked atomic.Int64 }

func (c *counting) Link(context.Context, authagent.LinkRequest) (authagent.Principal, error) {
	c.asked.Add(1)
	return authagent.Principal{}, problem.ApprovalNeeded
}
