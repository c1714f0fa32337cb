package grants_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/problem"
)

// look serves the page with samples, to be looked at in a browser:
//
//	go test ./grants -run TestLook -look 127.0.0.1:8080
//
// It is alice's at /, and that of somebody without agents at /empty.
var look = flag.String("look", "", "serve the page of connected agents at this address")

func TestLook(t *testing.T) {
	if *look == "" {
		t.Skip("nobody looks")
	}
	s := sample(t)
	mux := http.NewServeMux()
	show := func(human string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.AddCookie(&http.Cookie{Name: "human", Value: human})
			r.Host = ""
			if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, agents) {
				r.URL.Path = agents
				r.RequestURI = agents
			}
			s.server.Config.Handler.ServeHTTP(w, r)
		})
	}
	mux.Handle("/", show(s.alice))
	mux.Handle("/empty", show(s.bob))
	t.Fatal(http.ListenAndServe(*look, mux))
}

func hashOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// sample is a site at which alice has agents of every kind.
func sample(t testing.TB, change ...func(*site, *authagent.Config)) *site {
	s := newSite(t, change...)
	s.owners.Actions = map[string]string{"orders:create": "Place orders", "orders:cancel": "Cancel orders"}
	s.owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
	now := time.Now().Truncate(time.Second)
	hour, day := time.Hour, 24*time.Hour
	issuer := "https://agents.example"
	for _, g := range []grants.Grant{
		{
			ID: "g1", State: grants.Pending, Agent: authagent.Agent{ID: "agent_7f3a9c52e1"}, Name: "Alice’s shopping helper", Model: "gpt-5-mini",
			RequestedAt: now.Add(-12 * time.Minute), RequestedFrom: "203.0.113.24", ExpiresAt: now.Add(24*hour - 12*time.Minute),
		},
		{
			ID: "g2", State: grants.Approved, Agent: authagent.Agent{ID: "agent_b81d20c4aa"}, Name: "Order watcher", Model: "claude-sonnet-4",
			Actions: []string{"orders:create"}, RequestedAt: now.Add(-9 * day), RequestedFrom: "198.51.100.7", DecidedAt: now.Add(-9*day + hour), ExpiresAt: now.Add(81 * day),
		},
		{
			ID: "g3", State: grants.Approved, Agent: authagent.Agent{ID: "agent_" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, Access: authagent.AccessFull,
			RequestedAt: now.Add(-2 * day), RequestedFrom: "2001:db8:4:17::2", DecidedAt: now.Add(-2 * day), ExpiresAt: now.Add(28 * day),
		},
		{
			ID: "g4", State: grants.Denied, Agent: authagent.Agent{ID: "agent_ffee0011"}, Name: "Account verification (urgent, click approve)", Model: "model-1",
			RequestedAt: now.Add(-3 * day), RequestedFrom: "192.0.2.200", DecidedAt: now.Add(-3*day + hour), ExpiresAt: now.Add(-2 * day),
		},
		{
			ID: "g5", State: grants.Revoked, Agent: authagent.Agent{ID: "agent_c0ffee"}, Name: "Old helper",
			RequestedAt: now.Add(-40 * day), DecidedAt: now.Add(-5 * day), ExpiresAt: now.Add(20 * day),
		},
		{
			ID: "g6", State: grants.Suspended, Agent: authagent.Agent{ID: "agent_5a5a"}, RequestedAt: now.Add(-20 * day), DecidedAt: now.Add(-19 * day), ExpiresAt: now.Add(71 * day),
		},
		{
			ID: "g7", State: grants.Approved, Agent: authagent.Agent{ID: "agent_old"}, RequestedAt: now.Add(-100 * day), DecidedAt: now.Add(-95 * day), ExpiresAt: now.Add(-5 * day),
		},
		{
			ID: "g8", State: grants.Pending, Agent: authagent.Agent{ID: "agent_late"}, RequestedAt: now.Add(-2 * day), ExpiresAt: now.Add(-day),
		},
	} {
		g.Version, g.UserID, g.Scenario, g.Agent.Issuer, g.Email = 1, s.alice, "FullAccount", issuer, "alice@example.com"
		if g.Access == authagent.AccessNone {
			g.Access = authagent.AccessRead
		}
		s.store.CreateGrant(context.Background(), g)
	}
	for _, a := range []grants.Activity{
		{SessionID: "s1", GrantID: "g2", RemoteAddr: "198.51.100.7", StartedAt: now.Add(-3 * hour), SeenAt: now.Add(-2 * time.Minute)},
		{SessionID: "s2", GrantID: "g2", RemoteAddr: "203.0.113.88", StartedAt: now.Add(-9 * hour), SeenAt: now.Add(-4 * hour), Door: audit.API},
		{SessionID: "s3", GrantID: "g3", RemoteAddr: "2001:db8:4:17::2", StartedAt: now.Add(-hour), SeenAt: now.Add(-20 * time.Minute)},
	} {
		a.UserID, a.Network, a.ExpiresAt = s.alice, a.RemoteAddr, now.Add(hour)
		s.store.Touch(context.Background(), a)
	}
	for i, d := range []grants.Deed{
		{Event: audit.LoginSucceeded, Route: "/auth/agent/callback"},
		{Event: audit.SessionEnded, Route: "/auth/agent/logout"},
		{Event: audit.LoginSucceeded, Route: "/auth/agent/callback"},
		{Event: audit.ActionPerformed, Action: "orders:create", Route: "POST /orders"},
		{Event: audit.PermissionDenied, Route: "POST /account/password", Outcome: "refused", Reason: problem.AgentForbidden},
		{Event: audit.PermissionDenied, Action: "orders:cancel", Route: "POST /orders/{id}/cancel", Outcome: "refused", Reason: problem.ActionNotGranted},
		{Event: audit.ActionPending, Action: "payouts:create", Route: "POST /payouts", Outcome: "pending", Reason: problem.ApprovalPending},
	} {
		d.UserID, d.GrantID, d.At = s.alice, "g2", now.Add(time.Duration(i-8)*20*time.Minute)
		s.store.AddDeed(context.Background(), d)
	}
	agent := authagent.Agent{Issuer: issuer, ID: "agent_b81d20c4aa"}
	for _, a := range []grants.Approval{
		{
			ID: "a1", Action: "payouts:create", State: grants.Pending, Method: "POST", Target: "/payouts", ContentType: "application/x-www-form-urlencoded",
			Body: []byte("amount=120.00&currency=EUR&to=DE02120300000000202051&note=Invoice+2025%2F117"),
		},
		{
			ID: "a2", Action: "orders:cancel", State: grants.Pending, Method: "POST", Target: "/orders/4711/cancel?refund=credit", ContentType: "application/json",
			Body: []byte(`{"reason":"wrong size","lines":[{"sku":"TEA-1","quantity":2}]}`),
		},
		{ID: "a3", Action: "payouts:create", State: grants.Used, Method: "POST", Target: "/payouts"},
		{ID: "a4", Action: "orders:cancel", State: grants.Denied, Method: "POST", Target: "/orders/4700/cancel"},
	} {
		a.Version, a.UserID, a.GrantID, a.Agent, a.Digest = 1, s.alice, "g2", agent, a.ID
		a.RequestedAt, a.ExpiresAt = now.Add(-30*time.Minute), now.Add(23*hour)
		s.store.CreateApproval(context.Background(), a)
	}
	return s
}
