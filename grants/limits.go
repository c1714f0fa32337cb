package grants

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// In askedFor, an owner is asked at most askedTimes as often as MaxNotices says.
const (
	askedFor   = 24 * time.Hour
	askedTimes = 4
)

// isPrivileged reports whether no agent may ever enter an account.
func (p *Policy) isPrivileged(ctx context.Context, userID string) (bool, error) {
	if p.Privileged == nil {
		return false, nil
	}
	privileged, err := p.Privileged(ctx, userID)
	if err != nil {
		return false, fmt.Errorf("grants: ask whether account is privileged: %w", err)
	}
	return privileged, nil
}

// mayHaveAnother says why an account may have no further agent, if so.
func (p *Policy) mayHaveAnother(ctx context.Context, userID string) (refusal string, err error) {
	switch privileged, err := p.isPrivileged(ctx, userID); {
	case err != nil:
		return "", err
	case privileged:
		return "the account is privileged", nil
	}
	all, err := p.ownerGrants(ctx, userID)
	if err != nil {
		return "", err
	}
	return p.hasEnough(all), nil
}

// mayLetIn refuses what mayHaveAnother says something against.
func (p *Policy) mayLetIn(ctx context.Context, userID string) error {
	switch refusal, err := p.mayHaveAnother(ctx, userID); {
	case err != nil:
		return err
	case refusal != "":
		return fmt.Errorf("grants: %s: %w", refusal, problem.LinkRefused)
	}
	return nil
}

// hasEnough says why an account that has all these grants may have no further
// agent, if so.
func (p *Policy) hasEnough(all []Grant) (refusal string) {
	agents := make(map[authagent.Agent]bool)
	for _, g := range all {
		if g.Now() == Approved {
			agents[g.Agent] = true
		}
	}
	if len(agents) >= p.maxAgents() {
		return enough
	}
	return ""
}

// enough is what hasEnough says.
const enough = "the account has as many agents as it may have"

// mayBeAsked says why the owner of an account, which has all these grants, is not
// to be asked about a further agent for now, if so.
func (p *Policy) mayBeAsked(all []Grant) (refusal string) {
	var times []time.Time
	for _, g := range all {
		times = append(times, g.AskedBefore...)
		if g.asked() {
			times = append(times, g.RequestedAt)
		}
	}
	within := func(period time.Duration) (n int) {
		for _, at := range times {
			if time.Since(at) < period {
				n++
			}
		}
		return n
	}
	switch most := p.maxNotices(); {
	case within(time.Hour) >= most:
		return "the owner has been asked often enough for now (MaxNotices)"
	case within(askedFor)/askedTimes >= most: // a product could overflow
		return "the owner has been asked often enough for a day (MaxNotices)"
	}
	return ""
}

// askedBefore are the times of the last 24 hours at which the agent of g has asked, for a request that
// takes the place of g in the store: it could else ask ever again, and count once.
func (g Grant) askedBefore() []time.Time {
	times := slices.Clone(g.AskedBefore)
	if g.asked() {
		times = append(times, g.RequestedAt)
	}
	return slices.DeleteFunc(times, func(at time.Time) bool { return time.Since(at) >= askedFor })
}

// errEnough says that another instance has let in the last agent that an account may have.
var errEnough = fmt.Errorf("grants: %s: %w", enough, problem.LinkRefused)

// admit stores g, by which an agent is let in that was claimed. It looks in the account's turn whether there is room: by
// what another instance has stored since mayHaveAnother. Without room it stores before instead, and returns errEnough.
func (p *Policy) admit(ctx context.Context, g, before Grant) (Grant, error) {
	before.Version, before.Era = g.Version, max(g.Era, before.Era) // the era of a claim stays
	var stored Grant
	var refused error
	err := p.inTurn(ctx, g.UserID, func(ctx context.Context, store Store) error {
		all, err := store.OwnerGrants(ctx, g.UserID)
		if err != nil {
			return fmt.Errorf("grants: find grants of account: %w", err)
		}
		want := g
		if refused = nil; p.hasEnough(all) != "" {
			want, refused = before, errEnough
		}
		stored, err = store.UpdateGrant(ctx, want)
		return err
	})
	return stored, cmp.Or(err, refused)
}
