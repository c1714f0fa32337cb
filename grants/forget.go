package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
)

// A UserEraser is a [Store] that can delete what it has of an account.
type UserEraser interface {
	// EraseUser deletes all grants, approvals, sessions, uses and deeds of an account.
	// If there is nothing of the account, it deletes nothing and returns nil. After an
	// error, another call deletes what is left.
	EraseUser(ctx context.Context, userID string) error
}

// ForgetAgent implements [authagent.Forgetter]: it takes the agent out of every account
// whose owner has let it in, even if that is over, and tells these owners. Such a grant
// has then expired, and nobody can approve it: the agent has to ask again or be
// connected. Pending requests of the agent stay, and their owners may then approve
// them. Denied requests stay too. humanID is the operator who does it.
//
// [authagent.RelyingParty.ForgetAgent] calls it, and frees the agent elsewhere too.
func (p *Policy) ForgetAgent(ctx context.Context, humanID string, agent authagent.Agent) error {
	all, err := p.agentGrants(ctx, agent)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range all {
		g, event, err := p.change(ctx, g, forgotten)
		p.ended(ctx, event, g, humanID, CauseOperator)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// forgotten makes a request that has expired of a grant whose owner has let the agent
// in, or had. One that was revoked or denied is as bad, in a stranger's hands: its owner
// could approve it. What the agent has asked for, and its owner has yet to decide or
// has denied, stays. See Policy.change.
func forgotten(g *Grant) (event audit.Name, changes bool, err error) {
	switch {
	case g.holds():
		event = EventRevoked
	case g.State == Pending, g.State == Denied && g.asked():
		return "", false, nil
	}
	g.Era = g.anew() // by the state that g still has
	g.State, g.Cause, g.Actions, g.ExpiresAt, g.DecidedAt = Pending, "", nil, time.Now(), time.Time{}
	return event, true, nil
}

// ForgetUser implements [authagent.Forgetter] for an account that is gone: it ends the
// account's grants and denies its requests. It tells nobody, since the owner is gone
// too. If the store is a [UserEraser], all of it is deleted. In any other store the
// grants stay as revoked, so that they let no agent into a later account with that ID.
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
	all, err := p.ownerGrants(ctx, userID)
	if err != nil {
		return err
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
