package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// LinkByOwner is for [authagent.RelyingParty.ConnectHandler]: a human who is signed in
// has connected the agent to their own account. The grant lets the agent read; for
// more, the owner has to decide again.
//
// No connection moves an agent to another account. An agent that the owner of another
// account has let in, and has not revoked, is refused with problem.LinkRefused, and
// nothing changes. So whoever connects or approves an agent first has it.
// [Policy.ForgetAgent] frees an agent that a stranger has connected.
func (p *Policy) LinkByOwner(ctx context.Context, r authagent.LinkRequest) error {
	if err := p.filing.take(ctx); err != nil {
		return err
	}
	defer p.filing.give()
	if err := p.erased.Refuse(r.User.ID); err != nil { // EraseUser has had the turn
		return fmt.Errorf("grants: connect agent: %w", err)
	}
	all, err := p.agentGrants(ctx, r.Agent)
	if err != nil {
		return err
	}
	want := newGrant(r, Approved, p.approvedFor())
	if heldElsewhere(all, want) {
		return errElsewhere
	}
	want.Nickname = nicknameOf(all, want)
	var have Grant // of the same agent in the same account, if there is one
	if i := slices.IndexFunc(all, func(g Grant) bool { return g.UserID == r.User.ID && same(r)(g) }); i >= 0 {
		have = all[i]
	}
	approved := have.Now() == Approved
	if have.ID != "" {
		want = have.connected(want, approved)
	}
	if !approved {
		if err := p.mayConnect(ctx, have, want); err != nil {
			return err
		}
	}
	if want, err = p.connect(ctx, have, want, approved); errors.Is(err, authagent.ErrConflict) {
		err = problem.Conflict // for the human, who can try again
	}
	if err != nil {
		return fmt.Errorf("grants: connect agent: %w", err)
	}
	p.changed(ctx, EventApproved, want, r.User.ID, CauseConnected)
	return nil
}

// connected is the new grant in the place of g. To connect an agent once more that is
// approved changes nothing that the owner has chosen.
func (g Grant) connected(anew Grant, approved bool) Grant {
	anew.ID, anew.Version, anew.RequestedAt, anew.AskedBefore, anew.Era = g.ID, g.Version, g.RequestedAt, g.AskedBefore, g.anew()
	if approved {
		anew.Access, anew.Actions, anew.ExpiresAt, anew.Warned = g.Access, g.Actions, g.ExpiresAt, g.Warned
	}
	return anew
}

// mayConnect refuses an agent for which there is no room, and forgets what it asked for
// when it was let in before.
func (p *Policy) mayConnect(ctx context.Context, have, want Grant) error {
	if err := p.mayLetIn(ctx, want.UserID); err != nil || have.ID == "" {
		return err
	}
	return p.forgetActions(ctx, want)
}

// connect claims the agent and stores want, in the place of have if there is one, which may be approved.
func (p *Policy) connect(ctx context.Context, have, want Grant, approved bool) (_ Grant, err error) {
	claimed, created := have, true
	if have.ID != "" {
		claimed, err = p.claim(ctx, have)
	} else {
		claimed, created, err = p.claimNew(ctx, want)
	}
	switch {
	case err != nil:
		return want, err
	case !created:
		return want, authagent.ErrConflict
	}
	want.Version = claimed.Version
	switch {
	case approved: // it counts already
		return p.store.UpdateGrant(ctx, want)
	case have.ID == "":
		have = claimed.lapsed()
	}
	return p.admit(ctx, want, have)
}
