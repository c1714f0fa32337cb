package grants

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// What is here lets no agent in and gives none more than it has.

// maxNickname is how many characters a nickname has at most.
const maxNickname = 40

// cleanNickname returns what is left of a nickname that an owner has typed in.
func cleanNickname(s string) string {
	runes := []rune(claims.Text(s))
	return strings.TrimSpace(string(runes[:min(len(runes), maxNickname)]))
}

// sameAgent reports whether g and other are of the same agent in the same account, in
// whatever scenarios.
func (g Grant) sameAgent(other Grant) bool {
	return g.Agent == other.Agent && g.Subject == other.Subject && g.UserID == other.UserID
}

// nicknameOf returns what the owner of g calls its agent, as one of all grants has it.
func nicknameOf(all []Grant, g Grant) string {
	for _, other := range all {
		if other.sameAgent(g) && other.Nickname != "" {
			return other.Nickname
		}
	}
	return ""
}

// find returns the grant of an account in the version that its owner has seen.
func (p *Policy) find(ctx context.Context, userID, grantID string, version int64) (Grant, error) {
	g, err := p.ofOwner(ctx, userID, grantID)
	if err == nil && !g.seen(version) {
		return g, authagent.ErrConflict
	}
	return g, err
}

// ofOwner returns a grant of an account, in whatever version it is.
func (p *Policy) ofOwner(ctx context.Context, userID, grantID string) (Grant, error) {
	g, err := p.store.Grant(ctx, grantID)
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("grants: find grant: %w", err)
	case g.UserID != userID:
		return Grant{}, fmt.Errorf("grants: find grant: %w", authagent.ErrNotFound)
	}
	return g, nil
}

// Rename changes what an owner calls an agent, in all grants of the agent in the account.
// Of a longer nickname, the first 40 characters count; what cannot be seen is dropped. An
// empty one takes the nickname away. The errors are those of [Policy.Decide].
func (p *Policy) Rename(ctx context.Context, userID, grantID string, version int64, nickname string) (Grant, error) {
	g, err := p.tidy(ctx, userID, grantID, version, func(g *Grant) error {
		g.Nickname = cleanNickname(nickname)
		return nil
	})
	if err != nil {
		return g, err
	}
	p.audit(ctx, eventOf(EventRenamed, g, userID))
	return g, p.giveName(ctx, g)
}

// tidy changes a grant that its owner has seen in this version.
func (p *Policy) tidy(ctx context.Context, userID, grantID string, version int64, by func(*Grant) error) (Grant, error) {
	return despiteWarning(func() (Grant, error) {
		g, err := p.find(ctx, userID, grantID, version)
		if err == nil {
			err = by(&g)
		}
		if err != nil {
			return g, err
		}
		if g, err = p.store.UpdateGrant(ctx, g); err != nil {
			return g, fmt.Errorf("grants: change grant: %w", err)
		}
		return g, nil
	})
}

// giveName gives the nickname of g to the other grants of its agent in the account.
func (p *Policy) giveName(ctx context.Context, g Grant) error {
	all, err := p.ownerGrants(ctx, g.UserID)
	if err != nil {
		return err
	}
	var errs []error
	for _, other := range all {
		if !other.sameAgent(g) {
			continue
		}
		_, _, err := p.change(ctx, other, func(other *Grant) (audit.Name, bool, error) {
			if other.Nickname == g.Nickname {
				return "", false, nil
			}
			other.Nickname = g.Nickname
			return EventRenamed, true, nil
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// nameOthers is giveName after a decision, which has been made whatever becomes of names.
func (p *Policy) nameOthers(ctx context.Context, g Grant) {
	if g.Nickname == "" {
		return
	}
	if err := p.giveName(ctx, g); err != nil {
		p.logger().Warn("grants: could not give the nickname to the other grants of an agent", "grant", g.ID, "err", err)
	}
}

// Hide takes a grant that is over off the page. Nothing is decided by it: an agent that was
// denied stays denied, and cannot ask again. A new request of the agent, or a new approval,
// shows the grant again. The errors are those of [Policy.Decide], with [ErrDecision] for a
// grant that is pending or approved.
func (p *Policy) Hide(ctx context.Context, userID, grantID string, version int64) (Grant, error) {
	g, err := p.tidy(ctx, userID, grantID, version, func(g *Grant) error {
		if !g.Now().over() {
			return fmt.Errorf("%w: hide what is %s: %w", ErrDecision, g.Now(), problem.Reason(reasons.NotOver))
		}
		g.Hidden = true
		return nil
	})
	if err != nil {
		return g, err
	}
	p.audit(ctx, eventOf(EventHidden, g, userID))
	return g, nil
}

// DenyWaiting denies all that waits for the owner of an account: requests to enter, and
// single actions. It goes on after an error, and returns all errors.
func (p *Policy) DenyWaiting(ctx context.Context, userID string) error {
	all, err := p.ownerGrants(ctx, userID)
	errs := []error{err}
	for _, g := range all {
		g, event, err := p.change(ctx, g, func(g *Grant) (audit.Name, bool, error) {
			if g.Now() != Pending {
				return "", false, nil
			}
			event, err := p.apply(g, Decision{State: Denied})
			return event, err == nil, err
		})
		p.ended(ctx, event, g, userID, CauseOwner)
		errs = append(errs, err)
	}
	actions, err := p.store.OwnerApprovals(ctx, userID)
	if err != nil {
		errs = append(errs, fmt.Errorf("grants: find approvals of account: %w", err))
	}
	for _, a := range actions {
		if a.Now() != Pending {
			continue
		}
		if _, err := p.applyAction(ctx, a, userID, false); !errors.Is(err, authagent.ErrConflict) { // or it was decided in between
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
