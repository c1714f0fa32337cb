package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent/problem"
)

// claim makes g, which is in the store and about to be approved, hold its agent, and
// returns it if no other account does. Of two instances that let an agent into two
// accounts at once, each looks after it has written, so that at least one sees the
// other. Nothing is in force until both has been done: whatever fails lets nobody in.
func (p *Policy) claim(ctx context.Context, g Grant) (_ Grant, err error) {
	if g.holds() { // as it is
		return g, p.alone(ctx, g)
	}
	if g, err = p.store.UpdateGrant(ctx, g.claim()); err != nil {
		return g, fmt.Errorf("grants: claim agent: %w", err)
	}
	return g, p.unclaim(ctx, g, p.alone(ctx, g))
}

// claimNew is claim for a grant that is not in the store, unless it is by now.
func (p *Policy) claimNew(ctx context.Context, g Grant) (have Grant, created bool, err error) {
	g.State, g.ExpiresAt = Pending, g.RequestedAt
	have, created, err = p.store.CreateGrant(ctx, g)
	switch {
	case err != nil:
		return have, false, fmt.Errorf("grants: create grant: %w", err)
	case !created:
		return have, false, nil
	}
	return have, true, p.unclaim(ctx, have, p.alone(ctx, have))
}

// lapsed is a claim of which nothing came: a request that has expired.
func (g Grant) lapsed() Grant {
	g.DecidedAt = time.Time{}
	return g
}

// alone returns an error if another account holds the agent of g.
func (p *Policy) alone(ctx context.Context, g Grant) error {
	all, err := p.agentGrants(ctx, g.Agent)
	switch {
	case err != nil:
		return err
	case heldElsewhere(all, g):
		return errElsewhere
	}
	return nil
}

// unclaim denies a claim that has failed, and returns why it has.
func (p *Policy) unclaim(ctx context.Context, g Grant, err error) error {
	if err == nil {
		return nil
	}
	g.State = Denied
	if _, undo := p.store.UpdateGrant(context.WithoutCancel(ctx), g); undo != nil {
		return errors.Join(err, fmt.Errorf("grants: take claim back: %w", undo))
	}
	return err
}

var errElsewhere = fmt.Errorf("grants: the agent acts for another account: %w", problem.LinkRefused)

// heldElsewhere reports whether the owner of another account has let the agent of g
// in, in whatever scenario, and has not ended that. One that acts for another user of
// the server is another agent to it; a grant from when that was not kept may be for any.
func heldElsewhere(all []Grant, g Grant) bool {
	return slices.ContainsFunc(all, func(other Grant) bool {
		return other.UserID != g.UserID && (other.Subject == g.Subject || other.Subject == "" || g.Subject == "") && other.holds()
	})
}
