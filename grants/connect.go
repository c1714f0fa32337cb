package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// LinkByOwner is for [authagent.RelyingParty.ConnectHandler]: a human who is signed in has
// connected the agent to their own account. The grant lets it read; more is a
// choice of its own.
//
// No connection moves an agent. One that the owner of another account has let in,
// and has not revoked, is refused with problem.LinkRefused, and nothing changes; so
// whoever connects or approves an agent first has it. [Policy.ForgetAgent] frees an
// agent that a stranger has connected.
func (p *Policy) LinkByOwner(ctx context.Context, r authagent.LinkRequest) error {
	if err := p.filing.take(ctx); err != nil {
		return err
	}
	defer p.filing.give()
	all, err := p.store.AgentGrants(ctx, r.Agent)
	if err != nil {
		return fmt.Errorf("grants: find grants of agent: %w", err)
	}
	have := slices.IndexFunc(all, func(g Grant) bool { return g.UserID == r.User.ID && same(r)(g) })
	want := p.newGrant(r, Approved, p.approvedFor())
	if heldElsewhere(all, want) {
		return errElsewhere
	}
	approved := have >= 0 && all[have].Now() == Approved
	if have >= 0 {
		want.ID, want.Version, want.RequestedAt = all[have].ID, all[have].Version, all[have].RequestedAt
		want.Era = all[have].anew()
		if approved { // to connect it once more changes nothing that the owner has chosen
			want.Access, want.Actions, want.ExpiresAt = all[have].Access, all[have].Actions, all[have].ExpiresAt
		}
	}
	if !approved {
		switch refusal, err := p.mayHaveAnother(ctx, r.User.ID); {
		case err != nil:
			return err
		case refusal != "":
			return fmt.Errorf("grants: %s: %w", refusal, problem.LinkRefused)
		}
	}
	if have >= 0 && !approved {
		if err := p.forgetActions(ctx, want); err != nil {
			return err
		}
	}
	var claimed Grant
	if have >= 0 {
		claimed, err = p.claim(ctx, all[have])
	} else {
		var created bool
		if claimed, created, err = p.claimNew(ctx, want); err == nil && !created {
			err = authagent.ErrConflict
		}
	}
	if err == nil {
		want.Version = claimed.Version
		want, err = p.store.UpdateGrant(ctx, want)
	}
	if errors.Is(err, authagent.ErrConflict) {
		err = problem.Conflict // for the human, who can try again
	}
	if err != nil {
		return fmt.Errorf("grants: connect agent: %w", err)
	}
	p.changed(ctx, EventApproved, want, r.User.ID)
	return nil
}
