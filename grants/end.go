package grants

import (
	"context"
	"errors"
	"fmt"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
)

// RevokeAll revokes every grant of an account that could let an agent in, now or later,
// and denies every request. It goes on after an error, and returns all errors.
func (p *Policy) RevokeAll(ctx context.Context, userID string) error {
	all, err := p.ownerGrants(ctx, userID)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range all {
		errs = append(errs, p.revoke(ctx, userID, g))
	}
	return errors.Join(errs...)
}

// revoke ends a grant together with all others, in the name of a human, and tells its owner.
func (p *Policy) revoke(ctx context.Context, humanID string, g Grant) error {
	g, event, err := p.end(ctx, g)
	p.ended(ctx, event, g, humanID, CauseRevokeAll)
	return err
}

// ended does what follows the end of a grant, and nothing without an event.
func (p *Policy) ended(ctx context.Context, event audit.Name, g Grant, humanID string, cause Cause) {
	if event != "" {
		p.stopActions(ctx, g, humanID)
		p.changed(ctx, event, g, humanID, cause)
	}
}

// end revokes a grant, or denies one that was asked for, whatever happens to it in
// the meantime, and returns which of both it was; nothing if it is over already.
func (p *Policy) end(ctx context.Context, g Grant) (ended Grant, event audit.Name, err error) {
	return p.change(ctx, g, func(g *Grant) (audit.Name, bool, error) {
		to := Revoked
		switch g.Now() {
		case Pending:
			to = Denied
		case Denied, Revoked:
			return "", false, nil
		case Expired:
			if !g.holds() {
				return "", false, nil
			}
		}
		event, err := p.apply(g, Decision{State: to})
		return event, true, err
	})
}

// change changes a grant as by says, whatever happens to it in the meantime, and
// returns what by says has happened; nothing if there is nothing to change.
func (p *Policy) change(ctx context.Context, g Grant, by func(*Grant) (audit.Name, bool, error)) (Grant, audit.Name, error) {
	for {
		event, changes, err := by(&g)
		if err != nil || !changes {
			return g, "", err
		}
		changed, err := p.store.UpdateGrant(ctx, g)
		switch {
		case err == nil:
			return changed, event, nil
		case !errors.Is(err, authagent.ErrConflict):
			return g, "", fmt.Errorf("grants: revoke grant: %w", err)
		}
		switch g, err = p.store.Grant(ctx, g.ID); { // changed in the meantime: look again
		case errors.Is(err, authagent.ErrNotFound):
			return g, "", nil
		case err != nil:
			return g, "", fmt.Errorf("grants: find grant: %w", err)
		}
	}
}
