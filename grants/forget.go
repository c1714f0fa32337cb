package grants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/pseudonyms"
)

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

// EraseUser implements [authagent.Eraser] for an account that is gone: it ends the
// account's grants, denies its requests, and has the store delete all of it. It tells
// nobody, since the owner is gone too, and drops the notices that wait. The store has to
// be an [authagent.Eraser]. In any other store the grants stay as revoked, so that they let
// no agent into a later account with that ID, and the error is errors.ErrUnsupported.
//
// [authagent.RelyingParty.EraseUser] calls it, and erases elsewhere too.
func (p *Policy) EraseUser(ctx context.Context, e *authagent.Erasure) error {
	if e.UserID == "" {
		return errors.New("grants: erase user: the user ID is empty")
	}
	p.erased.Give(e.UserID, e.Pseudonym)
	if err := p.filing.take(ctx); err != nil { // a request that is being filed would come after
		return err
	}
	defer p.filing.give()
	all, err := p.ownerGrants(ctx, e.UserID)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range all {
		g, event, err := p.end(ctx, g)
		if event != "" {
			p.stopActions(ctx, g, e.HumanID)
			p.audit(ctx, eventOf(event, g, e.HumanID))
		}
		errs = append(errs, err)
	}
	p.post.forget(e.UserID)
	errs = append(errs, p.delivered(ctx)) // or an event on its way would come after
	eraser, can := p.store.(authagent.Eraser)
	switch {
	case !can:
		e.Leave("grants, revoked", "the store is no Eraser", time.Time{})
		errs = append(errs, fmt.Errorf("grants: erase user: the store is no Eraser: %w", errors.ErrUnsupported))
	case errors.Join(errs...) == nil: // or nothing would say what was ended
		if err := eraser.EraseUser(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("grants: erase user: %w", err))
		}
	}
	return errors.Join(errs...)
}

// isErased reports whether an account was erased in this process.
func (p *Policy) isErased(userID string) bool {
	_, erased := p.erased.Of(userID)
	return erased
}

// write calls do, which writes something of an account, unless the account was erased. If that happens meanwhile, it
// is erased again: what was under way must not come after.
func (p *Policy) write(ctx context.Context, userID string, do func() error) error {
	err := p.erased.Write(userID, do, func(pseudonym string) error {
		eraser, can := p.store.(authagent.Eraser)
		if !can {
			return nil // EraseUser has said so
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backgroundTimeout)
		defer cancel()
		return eraser.EraseUser(ctx, &authagent.Erasure{UserID: userID, Pseudonym: pseudonym})
	})
	if errors.Is(err, pseudonyms.ErrErased) {
		return fmt.Errorf("grants: %w", err)
	}
	return err
}

// delivered waits until all events so far are in the trail, and uses in the store, and not for a function that blocks.
func (p *Policy) delivered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, backgroundTimeout)
	defer cancel()
	return errors.Join(p.touching.Wait(ctx), p.trail.Wait(ctx), p.aside.Wait(ctx))
}
