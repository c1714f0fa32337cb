package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
)

// ErrExpired says that what was to be decided has expired.
var ErrExpired = errors.New("grants: expired")

// ErrDecision says that a decision makes no sense: an unknown state, an action
// that the site does not offer.
var ErrDecision = errors.New("grants: no such decision")

// A Decision is what an owner decides about a grant.
type Decision struct {
	GrantID string
	Version int64 // of the grant that the owner has seen
	State   State // Approved, Denied, Suspended or Revoked

	// What an approved grant gives. Access is AccessRead or AccessFull.
	Access  authagent.Access
	Actions []string      // beyond Access; of Policy.Actions
	For     time.Duration // how long; zero means Policy.ApprovedFor

	// Keep keeps the time that the grant has, in place of For. It is for a grant whose owner
	// has let the agent in before and whose time is not over. If the grant is not in force, it
	// is at most Policy.ApprovedFor.
	Keep bool

	// Nickname is what the owner calls the agent from now on. If it is empty, nothing changes.
	// See [Policy.Rename].
	Nickname string
}

// Decide records an owner's decision, which counts on the agent's next request. If the
// agent is denied, suspended or revoked, its single actions are denied too.
//
// It returns [authagent.ErrNotFound] for a grant of another account, [ErrExpired] for a
// request that has expired, and [ErrDecision]. It returns [authagent.ErrConflict] if
// the grant is not, or no longer, what the owner has seen. It returns
// problem.LinkRefused if the agent acts for another account or this one may have no
// further agent.
//
// The caller must make sure that the owner decides in person, as [Handler] does. It is Handler
// that asks for the proof of [Policy.Confirm], and not Decide.
func (p *Policy) Decide(ctx context.Context, userID string, d Decision) (Grant, error) {
	return despiteWarning(func() (Grant, error) { return p.decide(ctx, userID, d) })
}

func (p *Policy) decide(ctx context.Context, userID string, d Decision) (Grant, error) {
	g, err := p.find(ctx, userID, d.GrantID, d.Version)
	switch {
	case err != nil:
		return g, err
	case g.State == Pending && g.Now() == Expired && !(d.State == Revoked && g.holds()):
		return g, ErrExpired
	}
	before := g
	event, err := p.apply(&g, d)
	if err != nil {
		return g, err
	}
	if event == EventApproved {
		if err := p.filing.take(ctx); err != nil { // so that limits hold
			return g, err
		}
		defer p.filing.give()
		if err := p.mayApprove(ctx, g); err != nil {
			return g, err
		}
		if err := p.forgetActions(ctx, g); err != nil {
			return g, err
		}
		claimed, err := p.claim(ctx, before)
		if err != nil {
			return g, err
		}
		g.Version = claimed.Version
	}
	if name := cleanNickname(d.Nickname); name != "" {
		g.Nickname = name
	}
	if event == EventApproved {
		g, err = p.admit(ctx, g, before)
	} else {
		g, err = p.store.UpdateGrant(ctx, g)
	}
	if err != nil {
		return g, fmt.Errorf("grants: decide: %w", err)
	}
	if event != EventApproved && event != EventChanged {
		p.stopActions(ctx, g, userID)
	}
	p.changed(ctx, event, g, userID, CauseOwner)
	p.nameOthers(ctx, g)
	return g, nil
}

// apply changes g as d says and returns what happened to it.
func (p *Policy) apply(g *Grant, d Decision) (audit.Name, error) {
	from, era := g.Now(), g.anew() // by the state that g still has
	g.DecidedAt, g.Cause = time.Now(), ""
	switch {
	case d.State == Approved:
		g.Era = era
		return p.applyApproval(g, d, from)
	case d.State == Denied && from == Pending:
		g.State = Denied
		return EventDenied, nil
	case d.State == Suspended && from == Approved:
		g.State, g.Cause = Suspended, CauseOwner
		return EventSuspended, nil
	case d.State == Revoked && (from == Approved || from == Suspended || from == Expired):
		g.State = Revoked // with what it gave, which the owner can give again
		return EventRevoked, nil
	}
	return "", fmt.Errorf("%w: from %s to %q", ErrDecision, from, d.State)
}

func (p *Policy) applyApproval(g *Grant, d Decision, from State) (audit.Name, error) {
	if d.Access != authagent.AccessRead && d.Access != authagent.AccessFull {
		return "", fmt.Errorf("%w: access %v", ErrDecision, d.Access)
	}
	for _, name := range d.Actions {
		if _, offered := p.Actions[name]; !offered {
			return "", fmt.Errorf("%w: an action that is not offered", ErrDecision)
		}
	}
	until, err := p.until(*g, d, from)
	if err != nil {
		return "", err
	}
	g.State, g.Access, g.ExpiresAt, g.Warned, g.Hidden = Approved, d.Access, until, 0, false
	g.Actions = slices.Compact(slices.Sorted(slices.Values(d.Actions)))
	if from == Approved {
		return EventChanged, nil
	}
	return EventApproved, nil
}

// until returns when the time of an approval is over that is given at g.DecidedAt.
func (p *Policy) until(g Grant, d Decision, from State) (time.Time, error) {
	lifetime := cmp.Or(d.For, p.approvedFor())
	switch {
	case lifetime < 0 || d.Keep && (d.For != 0 || !g.keeps()):
		return time.Time{}, fmt.Errorf("%w: for %v, keep %v", ErrDecision, d.For, d.Keep)
	case d.Keep && (from == Approved || g.ExpiresAt.Before(g.DecidedAt.Add(lifetime))):
		return g.ExpiresAt, nil
	}
	return g.DecidedAt.Add(lifetime), nil
}

// keeps reports whether g has time left that its owner has given: what waits or was denied
// has the time of the request.
func (g Grant) keeps() bool {
	return (g.State.enters() || g.State == Revoked) && time.Now().Before(g.ExpiresAt)
}

// mayApprove refuses what has come to be impossible since the agent asked.
func (p *Policy) mayApprove(ctx context.Context, g Grant) error {
	if err := p.alone(ctx, g); err != nil {
		return err
	}
	return p.mayLetIn(ctx, g.UserID)
}
