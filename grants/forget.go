package grants

import (
	"context"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent"
)

// A UserEraser is a [Store] that can delete what it has of an account.
type UserEraser interface {
	// EraseUser deletes all grants, approvals, sessions, uses and deeds of an
	// account. Of an account of which there is nothing it deletes nothing and returns
	// nil. After an error a further call deletes what is left.
	EraseUser(ctx context.Context, userID string) error
}

// ForgetAgent implements [authagent.Forgetter]: it revokes every grant that lets the
// agent into an account, or would once it is renewed, and tells their owners. The
// requests of the agent that wait stay, and their owners may then approve them.
// humanID is the operator who does it.
//
// [authagent.RelyingParty.ForgetAgent] calls it, and frees the agent elsewhere too.
func (p *Policy) ForgetAgent(ctx context.Context, humanID string, agent authagent.Agent) error {
	all, err := p.store.AgentGrants(ctx, agent)
	if err != nil {
		return fmt.Errorf("grants: find grants of agent: %w", err)
	}
	var errs []error
	for _, g := range all {
		if g.State != Pending {
			errs = append(errs, p.revoke(ctx, humanID, g))
		}
	}
	return errors.Join(errs...)
}

// ForgetUser implements [authagent.Forgetter] for an account that is gone: it ends
// its grants and denies its requests, without telling an owner who is gone too, and
// deletes all of it where the store is a [UserEraser]. In another store the grants
// stay as revoked, so that no agent enters a later account of that ID by them.
// humanID is who does it, empty for the site itself.
//
// [authagent.RelyingParty.ForgetUser] calls it, and cleans up elsewhere too.
func (p *Policy) ForgetUser(ctx context.Context, humanID, userID string) error {
	if userID == "" {
		return errors.New("grants: forget user: the user ID is empty")
	}
	if err := p.filing.take(ctx); err != nil { // a request that is being filed would come after
		return err
	}
	defer p.filing.give()
	all, err := p.store.OwnerGrants(ctx, userID)
	if err != nil {
		return fmt.Errorf("grants: find grants of account: %w", err)
	}
	var errs []error
	for _, g := range all {
		g, event, err := p.end(ctx, g)
		if event != "" {
			p.stopActions(ctx, g, humanID)
			p.audit(ctx, eventOf(event, g, humanID))
		}
		errs = append(errs, err)
	}
	if eraser, ok := p.store.(UserEraser); ok && errors.Join(errs...) == nil { // or nothing would say what was ended
		if err := eraser.EraseUser(ctx, userID); err != nil {
			errs = append(errs, fmt.Errorf("grants: erase user: %w", err))
		}
	}
	return errors.Join(errs...)
}
