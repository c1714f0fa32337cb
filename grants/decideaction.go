package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// DecideAction records an owner's decision about a pending single action, in the
// version that the owner has seen. It returns [authagent.ErrNotFound] for an action in
// another account, [authagent.ErrConflict] for one that has been decided or whose agent
// was stopped, and [ErrExpired]. As with [Policy.Decide], the caller must make sure that the owner
// decides in person.
func (p *Policy) DecideAction(ctx context.Context, userID, id string, version int64, approve bool) (Approval, error) {
	a, err := p.store.Approval(ctx, id)
	switch {
	case err != nil:
		return Approval{}, fmt.Errorf("grants: find approval: %w", err)
	case a.UserID != userID:
		return Approval{}, fmt.Errorf("grants: find approval: %w", authagent.ErrNotFound)
	case a.Now() == Expired:
		return a, ErrExpired
	case a.State != Pending || a.Version != version:
		return a, authagent.ErrConflict
	}
	if approve {
		switch err := p.stands(ctx, a); {
		case errors.Is(err, problem.NoSession):
			return a, authagent.ErrConflict
		case err != nil:
			return a, err
		}
	}
	return p.applyAction(ctx, a, userID, approve)
}

// applyAction decides about an action; humanID is who did, empty for the package
// itself.
func (p *Policy) applyAction(ctx context.Context, a Approval, humanID string, approve bool) (_ Approval, err error) {
	event := EventActionDenied
	a.State, a.ExpiresAt = Denied, time.Now().Add(remembered)
	if approve {
		event = EventActionApproved
		a.State, a.ExpiresAt = Approved, time.Now().Add(p.actionFor())
	}
	if a, err = p.store.UpdateApproval(ctx, a); err != nil {
		return a, fmt.Errorf("grants: decide action: %w", err)
	}
	p.audit(ctx, audit.Event{
		Name: event, Issuer: a.Agent.Issuer, Agent: a.Agent, UserID: a.UserID, HumanID: humanID, GrantID: a.GrantID, Action: a.Action, Method: a.Method,
	})
	return a, nil
}

// forgetActions denies what is left of the actions that an agent asked for before it
// was stopped or its time was over, when it is about to be let in anew. Until then it
// can ask for nothing.
func (p *Policy) forgetActions(ctx context.Context, g Grant) error {
	if err := p.denyActions(ctx, g, ""); err != nil {
		return fmt.Errorf("grants: deny earlier actions of agent: %w", err)
	}
	return nil
}

// stopActions denies what an agent could still do, or be allowed to, when its grant
// is in force again. The grant itself has been stopped, so that an error is for the
// log alone.
func (p *Policy) stopActions(ctx context.Context, g Grant, humanID string) {
	if err := p.denyActions(ctx, g, humanID); err != nil {
		p.logger().Error("grants: could not deny the actions of an agent that was stopped", "grant", g.ID, "err", err)
	}
}

// denyActions denies all actions of a grant that are approved or wait.
func (p *Policy) denyActions(ctx context.Context, g Grant, humanID string) error {
	for range 3 { // each further time because something was decided in between
		all, err := p.store.OwnerApprovals(ctx, g.UserID)
		if err != nil {
			return err
		}
		var errs []error
		for _, a := range all {
			if state := a.Now(); a.GrantID != g.ID || state != Pending && state != Approved {
				continue
			}
			_, err := p.applyAction(ctx, a, humanID, false)
			errs = append(errs, err)
		}
		if err = errors.Join(errs...); !errors.Is(err, authagent.ErrConflict) {
			return err
		}
	}
	return authagent.ErrConflict
}
