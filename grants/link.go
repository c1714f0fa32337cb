package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// Link implements [authagent.LinkPolicy]. An agent that has no approved grant gets
// problem.ApprovalNeeded, whether the account exists or not and whatever its owner
// decided. The owner is asked in the background. The same work is done if there is
// nobody to ask, so that not even the time of this answer or of the next one tells the
// difference.
func (p *Policy) Link(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	link, err := p.linked(ctx, r)
	if err != problem.ApprovalNeeded {
		return link, err
	}
	if cause := p.unasked(r); cause != "" {
		return p.approveUnasked(ctx, r, cause)
	}
	p.ask(ctx, r)
	return link, err
}

// linked returns the link by which the agent enters, and problem.ApprovalNeeded if no owner
// has given it one.
func (p *Policy) linked(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	all, err := p.entries(ctx, r.Agent)
	if err != nil {
		return authagent.Principal{}, err
	}
	switch g, found, err := inForce(all, r); {
	case err != nil:
		return authagent.Principal{}, err
	case !found:
		return authagent.Principal{}, p.notFound(ctx, r)
	case isBefore(r.IssuedAt, g.Era):
		return authagent.Principal{}, problem.NoSession
	case g.State == Suspended:
		return authagent.Principal{}, problem.Suspended
	case r.Email == "" && !r.IssuedAt.IsZero() && !r.BySubject:
		return authagent.Principal{}, problem.ApprovalNeeded // an access token that names no address says nothing of a new one
	case g.Email != r.Email && !r.BySubject:
		return authagent.Principal{}, p.suspend(ctx, g, r.Email)
	default:
		if privileged, err := p.isPrivileged(ctx, g.UserID); err != nil {
			return authagent.Principal{}, err
		} else if privileged {
			return authagent.Principal{}, problem.LinkRefused
		}
		return g.link(), nil
	}
}

// isBefore reports whether the access token of an agent that has come to the API is from before an era began. What the owner
// has stopped since then does not go on when the agent is let in anew: it needs another token, as it needs another session
// in a browser.
func isBefore(issued time.Time, era int64) bool { return !issued.IsZero() && issued.UnixNano() < era }

// notFound says why an agent without a grant does not enter. The owner is asked, unless they have stopped the agent since it
// got its access token: then that has ended, as a session in a browser has. Only where the server names its users is that looked
// for: elsewhere, the time that it takes could tell a stranger whether there is an account.
func (p *Policy) notFound(ctx context.Context, r authagent.LinkRequest) error {
	if r.IssuedAt.IsZero() || !r.BySubject {
		return problem.ApprovalNeeded
	}
	all, err := p.store.AgentGrants(ctx, r.Agent)
	if err != nil {
		return fmt.Errorf("grants: find grants of agent: %w", err)
	}
	if slices.ContainsFunc(all, func(g Grant) bool { return same(r)(g) && g.State == Revoked && r.IssuedAt.Before(g.DecidedAt) }) {
		return problem.NoSession
	}
	return problem.ApprovalNeeded
}

// inForce returns the grant by which an agent enters: the approved one, or the
// one that would be if it were not suspended. Where two instances have let the agent
// into two accounts at the same moment, there are two until one of them has taken its
// own back (alone), and the agent enters neither: no clock could say which was first.
// A grant for another user of the server, or from when that was not kept, is none.
func inForce(all []Grant, r authagent.LinkRequest) (only Grant, found bool, err error) {
	for _, g := range all {
		if g.Scenario != r.Scenario || g.Subject != r.Subject || !g.Now().enters() {
			continue
		}
		if found { // of another account: a store keeps one grant for each
			return Grant{}, false, errElsewhere
		}
		only, found = g, true
	}
	return only, found, nil
}

// suspend stops a grant whose agent has got another owner's address: the agent ID
// may have been given anew, to somebody else.
func (p *Policy) suspend(ctx context.Context, g Grant, email string) error {
	g.State, g.Cause = Suspended, CauseAddress
	g.Email = email // the owner who approves it anew does so with the new address
	g, err := p.store.UpdateGrant(ctx, g)
	if errors.Is(err, authagent.ErrConflict) {
		return problem.Suspended // somebody was faster; the next sign-in sees what they did
	}
	if err != nil {
		return fmt.Errorf("grants: suspend grant: %w", err)
	}
	p.stopActions(ctx, g, "")
	p.changed(ctx, EventSuspended, g, "", CauseAddress)
	return problem.Suspended
}
