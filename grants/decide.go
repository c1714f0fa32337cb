package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
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
}

// Decide records an owner's decision, which counts on the agent's next request.
// The single actions of an agent that is denied, suspended or revoked are denied
// with it.
//
// It returns authagent.ErrNotFound for a grant of another account,
// authagent.ErrConflict where the grant is not, or no longer, what the owner has
// seen, ErrExpired for a request that has expired, problem.LinkRefused where the
// agent acts for another account or this one may have no further agent, and
// ErrDecision.
//
// The caller has made sure that it is the owner who decides, in person:
// [Handler] does.
func (p *Policy) Decide(ctx context.Context, userID string, d Decision) (Grant, error) {
	g, err := p.store.Grant(ctx, d.GrantID)
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("grants: find grant: %w", err)
	case g.UserID != userID:
		return Grant{}, fmt.Errorf("grants: find grant: %w", authagent.ErrNotFound)
	case g.Version != d.Version:
		return g, authagent.ErrConflict
	case g.State == Pending && g.Now() == Expired && !(d.State == Revoked && g.holds()):
		return g, ErrExpired
	}
	have := g
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
	}
	if event == EventApproved {
		if have, err = p.claim(ctx, have); err != nil {
			return g, err
		}
		g.Version = have.Version
	}
	if g, err = p.store.UpdateGrant(ctx, g); err != nil {
		return g, fmt.Errorf("grants: decide: %w", err)
	}
	if event != EventApproved && event != EventChanged {
		p.stopActions(ctx, g, userID)
	}
	p.changed(ctx, event, g, userID)
	return g, nil
}

// apply changes g as d says and returns what happened to it.
func (p *Policy) apply(g *Grant, d Decision) (audit.Name, error) {
	from := g.Now()
	g.DecidedAt = time.Now()
	switch {
	case d.State == Approved:
		return p.applyApproval(g, d, from)
	case d.State == Denied && from == Pending:
		g.State = Denied
		return EventDenied, nil
	case d.State == Suspended && from == Approved:
		g.State = Suspended
		return EventSuspended, nil
	case d.State == Revoked && (from == Approved || from == Suspended || from == Expired):
		g.State, g.Actions = Revoked, nil
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
	lifetime := or(d.For, p.approvedFor())
	if lifetime < 0 {
		return "", fmt.Errorf("%w: for %v", ErrDecision, d.For)
	}
	g.Era = g.anew() // by the state that g still has
	g.State, g.Access, g.ExpiresAt = Approved, d.Access, g.DecidedAt.Add(lifetime)
	g.Actions = slices.Compact(slices.Sorted(slices.Values(d.Actions)))
	if from == Approved {
		return EventChanged, nil
	}
	return EventApproved, nil
}

// mayApprove refuses what has come to be impossible since the agent asked.
func (p *Policy) mayApprove(ctx context.Context, g Grant) error {
	all, err := p.store.AgentGrants(ctx, g.Agent)
	if err != nil {
		return fmt.Errorf("grants: find grants of agent: %w", err)
	}
	if heldElsewhere(all, g) {
		return errElsewhere
	}
	switch refusal, err := p.mayHaveAnother(ctx, g.UserID); {
	case err != nil:
		return err
	case refusal != "":
		return fmt.Errorf("grants: %s: %w", refusal, problem.LinkRefused)
	}
	return nil
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

var errElsewhere = fmt.Errorf("grants: the agent acts for another account: %w", problem.LinkRefused)

// heldElsewhere reports whether the owner of another account has let the agent of g
// in, in whatever scenario, and has not ended that. One that acts for another user of
// the server is another agent to it; a grant from when that was not kept may be for any.
func heldElsewhere(all []Grant, g Grant) bool {
	return slices.ContainsFunc(all, func(other Grant) bool {
		return other.UserID != g.UserID && (other.Subject == g.Subject || other.Subject == "" || g.Subject == "") && other.holds()
	})
}

const (
	// renewedFor is how long an approval that has run out holds its agent after the
	// agent has asked for it anew: a stranger would else have to wait for that moment
	// only. It is bounded, as the store forgets requests. sqlstore has the same.
	renewedFor = 365 * 24 * time.Hour

	// claimedFor is how long a claim holds an agent. It takes a moment; this is for
	// clocks that differ.
	claimedFor = time.Hour
)

// holds reports whether g keeps its agent from every other account: its owner has let
// the agent in, also if that has run out, or is about to.
func (g Grant) holds() bool {
	return g.letIn() && (g.State != Pending || time.Since(g.ExpiresAt) < renewedFor) || g.claimed()
}

// letIn reports whether the owner has let the agent in and has not ended it. A request
// in the place of an approval that has run out keeps the time of that, which is before
// its own.
func (g Grant) letIn() bool {
	return g.State == Approved || g.State == Suspended ||
		g.State == Pending && !g.DecidedAt.IsZero() && g.DecidedAt.Before(g.RequestedAt)
}

// claimed reports whether the owner is letting the agent in at this moment: see claim.
func (g Grant) claimed() bool {
	return g.State == Pending && !g.DecidedAt.IsZero() && !g.DecidedAt.Before(g.RequestedAt) && time.Since(g.DecidedAt) < claimedFor
}

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

// claim is g as a claim: a request that its owner has decided. One that waits for the
// owner goes on waiting if nothing comes of it.
func (g Grant) claim() Grant {
	now := time.Now()
	if g.Now() != Pending {
		g.ExpiresAt = now
	}
	if g.RequestedAt.After(now) { // by the clock of another instance
		g.RequestedAt = now
	}
	g.State, g.DecidedAt = Pending, now
	return g
}

// alone returns an error if another account holds the agent of g.
func (p *Policy) alone(ctx context.Context, g Grant) error {
	all, err := p.store.AgentGrants(ctx, g.Agent)
	switch {
	case err != nil:
		return fmt.Errorf("grants: find grants of agent: %w", err)
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

// RevokeAll revokes every grant of an account that could let an agent in, now or
// later, and denies every request. It goes on after an error, and returns all.
func (p *Policy) RevokeAll(ctx context.Context, userID string) error {
	all, err := p.store.OwnerGrants(ctx, userID)
	if err != nil {
		return fmt.Errorf("grants: find grants of account: %w", err)
	}
	var errs []error
	for _, g := range all {
		errs = append(errs, p.revoke(ctx, userID, g))
	}
	return errors.Join(errs...)
}

// revoke ends a grant in the name of a human, and tells its owner.
func (p *Policy) revoke(ctx context.Context, humanID string, g Grant) error {
	g, event, err := p.end(ctx, g)
	p.ended(ctx, event, g, humanID)
	return err
}

// ended does what follows the end of a grant, and nothing without an event.
func (p *Policy) ended(ctx context.Context, event audit.Name, g Grant, humanID string) {
	if event != "" {
		p.stopActions(ctx, g, humanID)
		p.changed(ctx, event, g, humanID)
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
			if g.State == Pending && !g.holds() {
				return "", false, nil
			}
		}
		event, err := p.apply(g, Decision{State: to})
		return event, err == nil, err
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

// Overview is what an owner sees.
type Overview struct {
	Grants    []Grant    `json:"grants"`    // those that wait first, then the latest decided
	Approvals []Approval `json:"approvals"` // the oldest first
	Sessions  []Activity `json:"sessions"`  // of agents that may act, the latest seen first, of each grant at most 50
	Uses      []LastUse  `json:"uses"`      // of each grant that was used
	Deeds     []Deed     `json:"deeds"`     // the latest first; of what was done often, not each time

	// MoreSessions is how many live sessions are not in Sessions, by the grant's ID. All
	// end when the grant is revoked or suspended.
	MoreSessions map[string]int `json:"more_sessions,omitempty"`
}

const (
	maxSessions = 50   // sessions of a grant that an owner is shown
	maxDeeds    = 50   // deeds of a grant, and beyond them one of each kind
	readDeeds   = 2000 // deeds of an account that are looked at for that
)

// Overview returns all that there is about the agents of an account.
func (p *Policy) Overview(ctx context.Context, userID string) (o Overview, err error) {
	var errs [5]error
	var sessions []Activity
	o.Grants, errs[0] = p.store.OwnerGrants(ctx, userID)
	o.Approvals, errs[1] = p.store.OwnerApprovals(ctx, userID)
	sessions, errs[2] = p.store.OwnerActivity(ctx, userID)
	o.Uses, errs[3] = p.store.OwnerUses(ctx, userID)
	o.Deeds, errs[4] = p.store.OwnerDeeds(ctx, userID, readDeeds)
	if err := errors.Join(errs[:]...); err != nil {
		return Overview{}, fmt.Errorf("grants: read overview: %w", err)
	}
	o.Deeds = shownDeeds(o.Deeds)
	approved := make(map[string]bool)
	for i, g := range o.Grants {
		o.Grants[i].State = g.Now()
		if g.State == Pending { // what was decided before is no decision about it
			o.Grants[i].DecidedAt = time.Time{}
		}
		approved[g.ID] = g.Now() == Approved
	}
	sessions = slices.DeleteFunc(sessions, func(s Activity) bool { return !approved[s.GrantID] })
	slices.SortFunc(sessions, func(a, b Activity) int { return b.SeenAt.Compare(a.SeenAt) })
	o.Sessions, o.MoreSessions = shownSessions(sessions)
	slices.SortFunc(o.Grants, func(a, b Grant) int {
		if (a.State == Pending) != (b.State == Pending) {
			if a.State == Pending {
				return -1
			}
			return 1
		}
		if c := b.DecidedAt.Compare(a.DecidedAt); c != 0 {
			return c
		}
		return b.RequestedAt.Compare(a.RequestedAt)
	})
	slices.SortFunc(o.Approvals, func(a, b Approval) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return o, nil
}

// shownSessions returns the first sessions of each grant, and how many more there are.
func shownSessions(all []Activity) (shown []Activity, more map[string]int) {
	of := make(map[string]int)
	for _, s := range all {
		if of[s.GrantID]++; of[s.GrantID] <= maxSessions {
			shown = append(shown, s)
			continue
		}
		if more == nil {
			more = make(map[string]int)
		}
		more[s.GrantID]++
	}
	return shown, more
}

// actionText is what a human is told that an action is.
func (p *Policy) actionText(name string) string {
	return or(p.words(name), strings.ReplaceAll(name, ":", ": "))
}

// words are those that the site has for an action, if it has any.
func (p *Policy) words(name string) string { return or(p.Actions[name], p.Approvals[name]) }
