package grants

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/problem"
)

// Terms are what an owner allows an agent to do without a question.
type Terms struct {
	GrantID string
	Action  string        // of Policy.Allowances
	Limit   Amount        // more than 0, in one of the action's currencies
	Days    int           // Limit is for each period of so many days; 0 means in total
	For     time.Duration // how long; zero means Policy.ApprovedFor, and more than 366 days is refused

	// Seen is the Terms of the Allowance that the owner has seen; 0 for none.
	Seen int64
}

const (
	// maxLimit is the most that an allowance can be. Programs read numbers exactly up to it.
	maxLimit = 1 << 53

	// maxDays is the longest period, and maxAllowedFor how long an allowance can be.
	maxDays       = 366
	maxAllowedFor = 366 * 24 * time.Hour
)

// Allow lets an agent perform an action without a question, up to an amount: in the name of the
// owner, who has seen the allowance that there was. What was taken of that one still counts, unless
// it is over or was in another currency. Requests above the amount wait for the owner as before.
//
// It returns [authagent.ErrNotFound] for a grant of another account, [authagent.ErrConflict] if
// the grant is not in force or the allowance is not what the owner has seen, and [ErrDecision].
//
// The caller must make sure that the owner decides in person, as [Handler] does.
func (p *Policy) Allow(ctx context.Context, userID string, t Terms) (Allowance, error) {
	g, err := p.ofOwner(ctx, userID, t.GrantID)
	switch {
	case err != nil:
		return Allowance{}, err
	case g.Now() != Approved:
		return Allowance{}, authagent.ErrConflict
	}
	if err := p.checkTerms(t); err != nil {
		return Allowance{}, err
	}
	now := time.Now()
	fresh := Allowance{ID: allowanceID(g.ID, t.Action), Version: 1, UserID: g.UserID, GrantID: g.ID, Agent: g.Agent, Action: t.Action}
	a, _, err := p.changeAllowance(ctx, "change allowance", fresh.ID, &fresh, func(a *Allowance) (changes bool, err error) {
		if a.Terms != t.Seen {
			return false, authagent.ErrConflict
		}
		*a = a.at(now)
		if !a.under(g).inForce(now) || a.Limit.Currency != t.Limit.Currency {
			*a = a.emptied(now)
		}
		a.Limit, a.Days, a.ExpiresAt, a.Stopped, a.ChangedAt, a.Era = t.Limit, t.Days, now.Add(p.allowedFor(t)), false, now, g.Era
		a.Terms++
		return true, nil
	})
	if err != nil {
		return a, err
	}
	if is, stands, err := p.restsOn(ctx, Approval{GrantID: g.ID, UserID: g.UserID}); err != nil || !stands || is.Era != g.Era { // see stopAllowances
		return a, errors.Join(err, p.stopAllowances(ctx, g, ""), authagent.ErrConflict)
	}
	p.tellAllowance(ctx, EventAllowed, a, userID)
	return a, nil
}

// StopAllowance ends an allowance, whatever it is by now: each further request waits for the owner.
// It returns [authagent.ErrNotFound] if the account has none for the grant and action.
func (p *Policy) StopAllowance(ctx context.Context, userID, grantID, name string) (Allowance, error) {
	return p.stopAllowance(ctx, userID, grantID, name, userID)
}

// stopAllowance is StopAllowance in the name of a human, or of the package if humanID is empty.
func (p *Policy) stopAllowance(ctx context.Context, userID, grantID, name, humanID string) (Allowance, error) {
	a, stopped, err := p.changeAllowance(ctx, "stop allowance", allowanceID(grantID, name), nil, func(a *Allowance) (changes bool, err error) {
		switch {
		case a.UserID != userID:
			return false, fmt.Errorf("grants: find allowance: %w", authagent.ErrNotFound)
		case a.Stopped:
			return false, nil
		}
		a.Stopped, a.ChangedAt = true, time.Now()
		a.Terms++
		return true, nil
	})
	if err != nil {
		return Allowance{}, err // and nothing of another account's
	}
	if stopped {
		p.tellAllowance(ctx, EventAllowanceStopped, a, humanID)
	}
	return a, nil
}

// SettleTaking records what an owner has found out about an action within an allowance of which
// nobody knew how it had ended. It returns [authagent.ErrNotFound] if there is none, or none any
// more. The caller must make sure that the owner decides in person, as [Handler] does.
func (p *Policy) SettleTaking(ctx context.Context, userID, grantID, name, taking string, performed bool) error {
	a, err := p.allowance(ctx, grantID, name)
	if err != nil {
		return err
	}
	t, ok := a.unknown(taking)
	if !ok || a.UserID != userID {
		return fmt.Errorf("grants: settle action: %w", authagent.ErrNotFound)
	}
	outcome := found(performed)
	if ended, err := p.endTaking(ctx, a.ID, taking, outcome); err != nil || !ended {
		return err
	}
	e := a.event(EventSettled, userID)
	e.Amount, e.Detail = a.amount(t), string(outcome)
	p.audit(ctx, e)
	return nil
}

// checkTerms refuses what makes no sense.
func (p *Policy) checkTerms(t Terms) error {
	switch {
	case !p.offers(t.Action, t.Limit.Currency):
		return fmt.Errorf("%w: no allowance for this action and currency", ErrDecision)
	case t.Limit.Value <= 0 || t.Limit.Value > maxLimit:
		return fmt.Errorf("%w: the amount is not between 1 and %d", ErrDecision, int64(maxLimit))
	case t.Days < 0 || t.Days > maxDays || t.For < 0 || t.For > maxAllowedFor:
		return fmt.Errorf("%w: %d days, for %v", ErrDecision, t.Days, t.For)
	}
	if _, ok := p.store.(AllowanceStore); !ok {
		return fmt.Errorf("%w: the store keeps no allowances", ErrDecision)
	}
	return nil
}

// offers reports whether owners can allow an action up to an amount in a currency.
func (p *Policy) offers(action, currency string) bool {
	return slices.ContainsFunc(p.Allowances[action], func(c Currency) bool { return c.Code == currency })
}

func (p *Policy) allowedFor(t Terms) time.Duration {
	if t.For == 0 {
		return min(p.approvedFor(), maxAllowedFor)
	}
	return t.For
}

// changeAllowance changes an allowance as by says, whatever happens to it in the meantime, and
// reports whether it has. If there is none it begins with fresh, unless that is nil. step is for
// errors.
func (p *Policy) changeAllowance(
	ctx context.Context, step, id string, fresh *Allowance, by func(*Allowance) (changes bool, err error),
) (a Allowance, changed bool, err error) {
	store, ok := p.store.(AllowanceStore)
	if !ok {
		return Allowance{}, false, authagent.ErrNotFound
	}
	for range maxTries {
		a, err := store.Allowance(ctx, id)
		begins := fresh != nil && errors.Is(err, authagent.ErrNotFound)
		if begins {
			a, err = *fresh, nil
		}
		if err != nil {
			return Allowance{}, false, fmt.Errorf("grants: find allowance: %w", err)
		}
		if changes, err := by(&a); err != nil || !changes {
			return a, false, err
		}
		switch a, err = p.putAllowance(ctx, store, a, begins); {
		case err == nil:
			return a, true, nil
		case !errors.Is(err, authagent.ErrConflict) || ctx.Err() != nil:
			return a, false, fmt.Errorf("grants: %s: %w", step, err)
		}
	}
	return Allowance{}, false, fmt.Errorf("grants: %s: %w: %w", step, authagent.ErrConflict, problem.Conflict)
}

// putAllowance creates an allowance, which is a conflict if there is one by now, or updates it.
func (p *Policy) putAllowance(ctx context.Context, store AllowanceStore, a Allowance, create bool) (Allowance, error) {
	if !create { // which nobody can once it is erased
		return store.UpdateAllowance(ctx, a)
	}
	created := false
	err := p.write(ctx, a.UserID, func() (err error) {
		a, created, err = store.CreateAllowance(ctx, a)
		return err
	})
	if err == nil && !created {
		err = authagent.ErrConflict
	}
	return a, err
}

// stopAllowances stops what an agent is allowed whose grant was stopped, or is about to be let in
// anew. An allowance rests on its grant, and does not come back with it.
func (p *Policy) stopAllowances(ctx context.Context, g Grant, humanID string) error {
	all, err := p.ownerAllowances(ctx, g.UserID)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range all {
		if a.GrantID == g.ID && !a.Stopped {
			_, err := p.stopAllowance(ctx, a.UserID, a.GrantID, a.Action, humanID)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ownerAllowances returns the allowances of an account, if the store keeps any.
func (p *Policy) ownerAllowances(ctx context.Context, userID string) ([]Allowance, error) {
	store, ok := p.store.(AllowanceStore)
	if !ok {
		return nil, nil
	}
	all, err := store.OwnerAllowances(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("grants: find allowances of account: %w", err)
	}
	return all, nil
}

// allowanceID is the ID of the allowance that a grant has for an action.
func allowanceID(grantID, name string) string {
	sum := sha256.Sum256(seal.AppendString(seal.AppendString(seal.AppendString(nil, "allowance"), grantID), name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (a Allowance) event(name audit.Name, humanID string) audit.Event {
	return audit.Event{
		Name: name, Issuer: a.Agent.Issuer, Agent: a.Agent, UserID: a.UserID, HumanID: humanID, GrantID: a.GrantID, Action: a.Action, Amount: a.Limit,
	}
}

// tellAllowance tells everybody that an allowance was given, changed or stopped.
func (p *Policy) tellAllowance(ctx context.Context, name audit.Name, a Allowance, humanID string) {
	p.audit(ctx, a.event(name, humanID))
	if name == EventAllowed {
		p.notify(ctx, Notice{Kind: name, UserID: a.UserID, Allowance: &a, Action: p.words(a.Action)})
	}
}

// Allows reports whether owners can allow an action up to an amount (Policy.Allowances), for
// [authagent.RelyingParty.DiscoveryHandler], which tells agents.
func (p *Policy) Allows(name string) bool { return len(p.Allowances[name]) > 0 }

// isCurrency reports whether an amount can be in something of this name.
func isCurrency(code string) bool {
	return code != "" && len(code) <= 12 && !strings.ContainsFunc(code, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

// checkAllowances reports what is wrong with Allowances and InTransaction.
func (p *Policy) checkAllowances() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("grants: "+format, args...)) }
	if len(p.Allowances) > 0 && p.Amount == nil {
		bad("Allowances: they need Policy.Amount")
	}
	if _, ok := p.store.(AllowanceStore); len(p.Allowances) > 0 && !ok {
		bad("Allowances: they need a Store that is an AllowanceStore")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Allowances)) {
		if _, asked := p.Approvals[name]; !asked {
			bad("Allowances: %q is not in Approvals", name)
		}
		seen := make(map[string]bool)
		for _, c := range p.Allowances[name] {
			if !isCurrency(c.Code) || c.Digits < 0 || c.Digits > maxDigits || seen[c.Code] {
				bad("Allowances: %q: the currency %q has no code of 1 to 12 letters and digits, not 0 to %d digits, or is there twice", name, c.Code, maxDigits)
			}
			seen[c.Code] = true
		}
		if len(seen) == 0 {
			bad("Allowances: %q has no currency", name)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(p.ConfirmAbove)) {
		switch {
		case !isCurrency(code) || p.ConfirmAbove[code] < 0:
			bad("ConfirmAbove: %q has no code of letters and digits, or is negative", code)
		case p.Confirm == nil || p.Amount == nil:
			bad("ConfirmAbove: it needs Policy.Confirm and Policy.Amount")
		}
	}
	if _, ok := p.store.(Settler); len(p.InTransaction) > 0 && !ok {
		bad("InTransaction: it needs a Store that is a Settler, such as sqlstore.Grants")
	}
	for _, name := range p.InTransaction {
		if _, asked := p.Approvals[name]; !asked {
			bad("InTransaction: %q is not in Approvals", name)
		}
	}
	return errs
}

// maxDigits is how many digits of an amount can stand after the decimal point.
const maxDigits = 8
