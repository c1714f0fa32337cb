package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/problem"
)

// maxOpen bounds how many actions of one allowance can be under way or unknown. Further ones wait
// for the owner.
const maxOpen = 100

// allowance returns the allowance that a grant has for an action, or authagent.ErrNotFound.
func (p *Policy) allowance(ctx context.Context, grantID, name string) (Allowance, error) {
	store, ok := p.store.(AllowanceStore)
	if !ok || !p.Allows(name) {
		return Allowance{}, authagent.ErrNotFound
	}
	a, err := store.Allowance(ctx, allowanceID(grantID, name))
	if err != nil {
		return a, fmt.Errorf("grants: find allowance: %w", err)
	}
	return a, nil
}

// take reserves the amount of an action within an allowance. It returns nil without an error if
// no allowance covers it.
func (p *Policy) take(ctx context.Context, r action.Request, want Approval) (*action.Reservation, error) {
	if !p.offers(r.Action, want.Amount.Currency) { // or not any more
		return nil, nil
	}
	for range maxTries {
		a, err := p.allowance(ctx, r.GrantID, r.Action)
		if errors.Is(err, authagent.ErrNotFound) {
			return nil, nil
		}
		if err == nil {
			a, err = p.settleOpen(ctx, a)
		}
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if a.UserID != r.UserID || a.Agent != r.Agent || !a.covers(want.Amount, now) {
			return nil, nil
		}
		switch g, stands, err := p.restsOn(ctx, want); {
		case err != nil:
			return nil, err
		case !stands:
			return nil, problem.NoSession
		case a.Era != g.Era:
			return nil, nil
		}
		if err := count(r.CountPerforming); err != nil {
			return nil, err
		}
		t := Taking{ID: p.newReservation(r.Action), Value: want.Amount.Value, Currency: want.Amount.Currency, At: now, Description: want.Description}
		switch reserved, err := p.taken(ctx, r, a.with(t), t, want); {
		case err == nil:
			return reserved, nil
		case !errors.Is(err, authagent.ErrConflict):
			return nil, err
		case ctx.Err() != nil: // somebody else has taken something in between, or the owner has changed it
			return nil, fmt.Errorf("grants: take from allowance: %w", ctx.Err())
		}
	}
	return nil, fmt.Errorf("grants: take from allowance: %w", problem.Conflict)
}

// taken stores an allowance from which t was taken.
func (p *Policy) taken(ctx context.Context, r action.Request, a Allowance, t Taking, want Approval) (*action.Reservation, error) {
	if _, err := p.store.(AllowanceStore).UpdateAllowance(ctx, a); err != nil {
		return nil, fmt.Errorf("grants: take from allowance: %w", err)
	}
	return &action.Reservation{ID: t.ID, Request: r, Amount: want.Amount, Record: func(ctx context.Context, outcome action.Outcome) (action.Outcome, error) {
		outcome, err := p.outcome(ctx, r.Action, t.ID, outcome)
		if err != nil {
			return outcome, err
		}
		ended, err := p.endTaking(ctx, a.ID, t.ID, outcome)
		if ended {
			p.tellOutcome(ctx, want, outcome)
		}
		return outcome, err
	}}, nil
}

// endTaking records how the action has ended that an amount was taken for. It returns false if
// that is known already.
func (p *Policy) endTaking(ctx context.Context, id, taking string, outcome action.Outcome) (ended bool, err error) {
	_, ended, err = p.changeAllowance(ctx, "record how an action has ended", id, nil, func(a *Allowance) (changes bool, err error) {
		return a.end(taking, outcome), nil
	})
	return ended, err
}

// settleOpen finds out how those actions have ended of which nobody has recorded it for so long
// that nobody will.
func (p *Policy) settleOpen(ctx context.Context, a Allowance) (Allowance, error) {
	changed := false
	for _, t := range a.Open {
		if t.Unknown {
			continue
		}
		outcome, err := p.overdue(ctx, t.ID, t.At)
		if err != nil {
			return a, err
		}
		if outcome == "" {
			continue
		}
		ended, err := p.endTaking(ctx, a.ID, t.ID, outcome)
		if err != nil {
			return a, err
		}
		if changed = true; ended {
			p.tellOutcome(ctx, a.approval(t), outcome)
		}
	}
	if !changed {
		return a, nil
	}
	return p.allowance(ctx, a.GrantID, a.Action)
}

// approval describes t as an approval does, for what is told of it.
func (a Allowance) approval(t Taking) Approval {
	return Approval{
		UserID: a.UserID, GrantID: a.GrantID, Agent: a.Agent, Action: a.Action, Description: t.Description,
		Amount: a.amount(t), RequestedAt: t.At, State: Unknown,
	}
}

// under returns a as it is under a grant that is in force: stopped if it is from before the agent was
// let in again.
func (a Allowance) under(g Grant) Allowance {
	a.Stopped = a.Stopped || a.Era != g.Era
	return a
}

// amount returns what was taken for one action.
func (a Allowance) amount(t Taking) Amount {
	return Amount{Value: t.Value, Currency: cmp.Or(t.Currency, a.Limit.Currency)}
}

// unknown returns what was taken for an action of which nobody knows how it has ended.
func (a Allowance) unknown(taking string) (Taking, bool) {
	i := slices.IndexFunc(a.Open, func(t Taking) bool { return t.ID == taking && t.Unknown })
	if i < 0 {
		return Taking{}, false
	}
	return a.Open[i], true
}

// with returns a after t was taken of it.
func (a Allowance) with(t Taking) Allowance {
	a = a.at(t.At)
	a.Taken += t.Value
	a.Open = append(slices.Clone(a.Open), t)
	return a
}

// end ends what was taken for one action, and reports whether that changes anything. What comes
// back counts for the period that it was taken in. Times cannot say which that is: instances differ.
func (a *Allowance) end(taking string, outcome action.Outcome) bool {
	i := slices.IndexFunc(a.Open, func(t Taking) bool { return t.ID == taking })
	if i < 0 || a.Open[i].Unknown && outcome == action.Unknown {
		return false
	}
	t := a.Open[i]
	a.Open = slices.Clone(a.Open)
	if outcome == action.Unknown {
		a.Open[i].Unknown = true
		return true
	}
	a.Open = slices.Delete(a.Open, i, i+1)
	if outcome == action.NothingDone && !t.Past {
		a.Taken -= t.Value
	}
	return true
}

// at returns a as it is at a time: in a new period, nothing was taken.
func (a Allowance) at(now time.Time) Allowance {
	if period := time.Duration(a.Days) * 24 * time.Hour; period > 0 {
		if over := now.Sub(a.Since) / period; over > 0 {
			return a.emptied(a.Since.Add(over * period))
		}
	}
	return a
}

// emptied returns a in a period that begins at since, in which nothing was taken.
func (a Allowance) emptied(since time.Time) Allowance {
	a.Since, a.Taken, a.Open = since, 0, slices.Clone(a.Open)
	for i := range a.Open {
		a.Open[i].Past = true
	}
	return a
}

// Left returns what can still be taken at this moment; 0 if the allowance is over.
func (a Allowance) Left() int64 { return a.left(time.Now()) }

func (a Allowance) left(now time.Time) int64 {
	if a.Stopped || !now.Before(a.ExpiresAt) {
		return 0
	}
	a = a.at(now)
	return max(0, a.Limit.Value-a.Taken)
}

// covers reports whether an amount is within a.
func (a Allowance) covers(amount Amount, now time.Time) bool {
	return amount.Currency == a.Limit.Currency && amount.Value > 0 && amount.Value <= a.left(now) && len(a.Open) < maxOpen
}
