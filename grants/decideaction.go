package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/problem"
)

// DecideAction records an owner's decision about a pending single action, in the
// version that the owner has seen. It returns [authagent.ErrNotFound] for an action in
// another account, [authagent.ErrConflict] for one that has been decided or whose agent
// was stopped, and [ErrExpired]. As with [Policy.Decide], the caller must make sure that the owner
// decides in person.
func (p *Policy) DecideAction(ctx context.Context, userID, id string, version int64, approve bool) (Approval, error) {
	a, err := p.approvalOf(ctx, userID, id)
	switch {
	case err != nil:
		return a, err
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

// approvalOf returns an approval of an account, in whatever version it is.
func (p *Policy) approvalOf(ctx context.Context, userID, id string) (Approval, error) {
	a, err := p.store.Approval(ctx, id)
	switch {
	case err != nil:
		return Approval{}, fmt.Errorf("grants: find approval: %w", err)
	case a.UserID != userID:
		return Approval{}, fmt.Errorf("grants: find approval: %w", authagent.ErrNotFound)
	}
	return a, nil
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
	e := a.event(event, humanID)
	e.Detail = a.Description // what the owner has decided on
	p.audit(ctx, e)
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
		p.meter().StoreFailed(meter.Grants)
		p.logger().Error("grants: could not deny the actions of an agent that was stopped", "grant", g.ID, "err", err)
	}
}

// denyActions denies all actions of a grant that are approved or wait, and stops its allowances.
func (p *Policy) denyActions(ctx context.Context, g Grant, humanID string) error {
	return errors.Join(p.denyApprovals(ctx, g, humanID), p.stopAllowances(ctx, g, humanID))
}

func (p *Policy) denyApprovals(ctx context.Context, g Grant, humanID string) error {
	for range 3 { // each further time because something was decided in between
		all, err := p.store.OwnerApprovals(ctx, g.UserID)
		if err != nil {
			return err
		}
		var errs []error
		for _, a := range all {
			switch state := a.Now(); {
			case a.GrantID != g.ID:
				continue
			case state == Pending || state == Approved:
				_, err = p.applyAction(ctx, a, humanID, false)
			case state == Reserved || state == Unknown: // its action may end as not done, and does not come back then
				err = p.keepFromReturning(ctx, a)
			default:
				continue
			}
			errs = append(errs, err)
		}
		if err = errors.Join(errs...); !errors.Is(err, authagent.ErrConflict) {
			return err
		}
	}
	return authagent.ErrConflict
}

// keepFromReturning sees to it that an approval is over when its action is, by the clock of whichever
// instance finds out.
func (p *Policy) keepFromReturning(ctx context.Context, a Approval) error {
	if !a.Until.IsZero() {
		a.Until = time.Time{}
		if _, err := p.store.UpdateApproval(ctx, a); err != nil {
			return fmt.Errorf("grants: end approval of an action that is under way: %w", err)
		}
	}
	return nil
}

// SettleAction records what an owner has found out about an action of which nobody knew how it
// had ended, in the version that the owner has seen. If it was not performed, the agent can ask
// for it again. It returns [authagent.ErrNotFound] for an action in another account and
// [authagent.ErrConflict] for one that is not unknown.
func (p *Policy) SettleAction(ctx context.Context, userID, id string, version int64, performed bool) (Approval, error) {
	a, err := p.approvalOf(ctx, userID, id)
	switch {
	case err != nil:
		return a, err
	case a.Now() != Unknown || a.Version != version:
		return a, authagent.ErrConflict
	}
	outcome := found(performed)
	a.State, a.ExpiresAt = Used, time.Now()
	if performed {
		a.ExpiresAt = a.ExpiresAt.Add(remembered)
	}
	if a, err = p.store.UpdateApproval(ctx, a); err != nil {
		return a, fmt.Errorf("grants: settle action: %w", err)
	}
	e := a.event(EventSettled, userID)
	e.Detail = string(outcome)
	p.audit(ctx, e)
	return a, nil
}

// found is the outcome that an owner has found out.
func found(performed bool) action.Outcome {
	if performed {
		return action.Performed
	}
	return action.NothingDone
}

// event is one about a single action. humanID is who did it, empty for the package itself.
func (a Approval) event(name audit.Name, humanID string) audit.Event {
	return audit.Event{
		Name: name, Issuer: a.Agent.Issuer, Agent: a.Agent, UserID: a.UserID, HumanID: humanID, GrantID: a.GrantID, Action: a.Action, Amount: a.Amount,
		Method: a.Method,
	}
}
