package enginetest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/sqlstore"
)

// grantUses are all calls of a store of grants, without those for which uses has
// another one with the same statement.
func grantUses(s *sqlstore.Store) map[string]func(context.Context) error {
	g := s.Grants()
	now := time.Now()
	id := rand.Text()
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_" + id}
	grant := grants.Grant{ID: id, Version: 1, Agent: agent, Scenario: "S", UserID: id, State: grants.Pending, ExpiresAt: now.Add(time.Hour)}
	approval := grants.Approval{ID: id, Version: 1, Agent: agent, UserID: id, Digest: id, State: grants.Pending, ExpiresAt: now.Add(time.Hour)}
	allowance := grants.Allowance{ID: id, Version: 1, Agent: agent, UserID: id, ExpiresAt: now.Add(time.Hour)}
	return map[string]func(context.Context) error{
		"Grant":           func(ctx context.Context) error { _, err := g.Grant(ctx, id); return err },
		"AgentGrants":     func(ctx context.Context) error { _, err := g.AgentGrants(ctx, agent); return err },
		"OwnerGrants":     func(ctx context.Context) error { _, err := g.OwnerGrants(ctx, id); return err },
		"CreateGrant":     func(ctx context.Context) error { _, _, err := g.CreateGrant(ctx, grant); return err },
		"UpdateGrant":     func(ctx context.Context) error { _, err := g.UpdateGrant(ctx, grant); return err },
		"Approval":        func(ctx context.Context) error { _, err := g.Approval(ctx, id); return err },
		"OwnerApprovals":  func(ctx context.Context) error { _, err := g.OwnerApprovals(ctx, id); return err },
		"CreateApproval":  func(ctx context.Context) error { _, _, err := g.CreateApproval(ctx, approval); return err },
		"UpdateApproval":  func(ctx context.Context) error { _, err := g.UpdateApproval(ctx, approval); return err },
		"Allowance":       func(ctx context.Context) error { _, err := g.Allowance(ctx, id); return err },
		"OwnerAllowances": func(ctx context.Context) error { _, err := g.OwnerAllowances(ctx, id); return err },
		"CreateAllowance": func(ctx context.Context) error { _, _, err := g.CreateAllowance(ctx, allowance); return err },
		"UpdateAllowance": func(ctx context.Context) error { _, err := g.UpdateAllowance(ctx, allowance); return err },
		"Settle":          func(ctx context.Context) error { _, err := g.Settle(ctx, id); return err },
		"Touch": func(ctx context.Context) error {
			_, err := g.Touch(ctx, grants.Activity{SessionID: rand.Text(), GrantID: id, UserID: id, Network: rand.Text(), SeenAt: now, ExpiresAt: now.Add(time.Hour)})
			return err
		},
		"EndActivity":   func(ctx context.Context) error { return g.EndActivity(ctx, id) },
		"OwnerActivity": func(ctx context.Context) error { _, err := g.OwnerActivity(ctx, id); return err },
		"OwnerUses":     func(ctx context.Context) error { _, err := g.OwnerUses(ctx, id); return err },
		"AddDeed":       func(ctx context.Context) error { return g.AddDeed(ctx, grants.Deed{GrantID: id, UserID: id, At: now}) },
		"OwnerDeeds":    func(ctx context.Context) error { _, err := g.OwnerDeeds(ctx, id, 50); return err },
		"Rules":         func(ctx context.Context) error { _, err := g.Rules(ctx); return err },
		"SetRules":      func(ctx context.Context) error { return g.SetRules(ctx, grants.Rules{}) },
	}
}

// grantReads are those of grantUses that a database answers which is read-only.
const grantReads = "Grant AgentGrants OwnerGrants Approval OwnerApprovals Allowance OwnerAllowances OwnerActivity OwnerUses OwnerDeeds Rules"

// plannedGrantCalls are those of grantUses that look for rows.
func plannedGrantCalls(s *sqlstore.Store) map[string]func(context.Context) error {
	calls := make(map[string]func(context.Context) error)
	for name, use := range grantUses(s) {
		times := 1
		switch name {
		case "AddDeed", "SetRules": // inserts
			continue
		case "Touch": // until networks are forgotten
			times = 101
		case "Settle": // the first time, it inserts a row
			times = 2
		}
		calls[name] = func(ctx context.Context) (err error) {
			for range times {
				if err = use(ctx); errors.Is(err, authagent.ErrNotFound) || errors.Is(err, authagent.ErrConflict) {
					err = nil
				}
			}
			return err
		}
	}
	return calls
}
