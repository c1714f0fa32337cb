package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// What may happen a bounded number of times is reserved in the store before it happens, by a
// change of one record that nobody else can make as well. It ends as used, as given back, or as
// unknown. What is unknown stays reserved: nothing is ever done twice.

const (
	// reservedFor is how long a reservation is kept whose end nobody has recorded.
	reservedFor = 90 * 24 * time.Hour

	// runsFor is how long an action may run before it counts as unknown how it has ended. An
	// action that takes longer, and then ends, is known after all.
	runsFor = 15 * time.Minute

	// settledAfter is when the database is asked about an action in a transaction of the site
	// that has not ended. If the transaction is still under way then, it fails. settledFor is
	// until when the database knows: sqlstore keeps it longer.
	settledAfter = time.Minute
	settledFor   = 30 * 24 * time.Hour

	// maxTries is how often a change is tried of which others are faster. Each time, one of them gets
	// on: so it takes far fewer. In a store where nobody ever does, nobody tries for ever.
	maxTries = 100
)

// reserve puts a request before its owner, or reserves what the owner has approved. have is the request's
// approval, if there is one.
func (p *Policy) reserve(ctx context.Context, r action.Request, have, want Approval) (reserved *action.Reservation, path string, err error) {
	for range 3 { // each further time because somebody else changed it in between
		anew := false
		if have.ID == "" || have.Now() == Expired {
			switch have, anew, err = p.put(ctx, want); {
			case errors.Is(err, authagent.ErrConflict):
				continue
			case err != nil:
				return nil, "", err
			}
		}
		id := have.ID
		if path = p.approvalPath(id); anew {
			return nil, path, p.asked(ctx, r, have)
		}
		if have, err = p.settle(ctx, have); err == nil {
			reserved, err = p.reserveKnown(ctx, r, have)
		}
		if !errors.Is(err, authagent.ErrConflict) {
			return reserved, path, err
		}
		switch have, err = p.store.Approval(ctx, id); {
		case errors.Is(err, authagent.ErrNotFound):
			have = Approval{}
		case err != nil:
			return nil, "", fmt.Errorf("grants: find approval: %w", err)
		}
	}
	return nil, "", fmt.Errorf("grants: reserve approval: %w", problem.Conflict)
}

// put has a request wait for its owner, in the account's turn, so that MaxActions holds. It returns false and the
// approval that there is if another instance was faster.
func (p *Policy) put(ctx context.Context, want Approval) (have Approval, anew bool, err error) {
	err = p.write(ctx, want.UserID, func() error {
		return p.inTurn(ctx, want.UserID, func(ctx context.Context, store Store) (err error) {
			have, anew, err = p.putIn(ctx, store, want)
			return err
		})
	})
	return have, anew, err
}

// putIn does what put does in the account's turn.
func (p *Policy) putIn(ctx context.Context, store Store, want Approval) (have Approval, anew bool, err error) {
	all, err := store.OwnerApprovals(ctx, want.UserID)
	if err != nil {
		return have, false, fmt.Errorf("grants: find approvals of account: %w", err)
	}
	if have, known := of(all, want); known {
		return have, false, nil
	}
	if err := p.mayAsk(all); err != nil {
		return have, false, err
	}
	return create(ctx, store, want)
}

// create creates an approval, or replaces one that has expired: nobody decided, or the agent came too late.
func create(ctx context.Context, store Store, want Approval) (have Approval, anew bool, err error) {
	have, anew, err = store.CreateApproval(ctx, want)
	if err != nil {
		return have, false, fmt.Errorf("grants: create approval: %w", err)
	}
	if anew || have.Now() != Expired {
		return have, anew, nil
	}
	want.ID, want.Version = have.ID, have.Version
	if have, err = store.UpdateApproval(ctx, want); err != nil {
		return have, false, fmt.Errorf("grants: ask for approval anew: %w", err)
	}
	return have, true, nil
}

// reserveKnown is reserve for an approval that there is.
func (p *Policy) reserveKnown(ctx context.Context, r action.Request, a Approval) (*action.Reservation, error) {
	switch a.Now() {
	case Expired: // a moment ago
		return nil, authagent.ErrConflict
	case Approved:
		return p.reserveApproved(ctx, r, a)
	case Denied:
		return nil, problem.ActionDenied
	case Used:
		return nil, problem.Reason(reasons.ApprovalUsed)
	case Reserved:
		return nil, problem.Reason(reasons.ActionUnderWay)
	case Unknown:
		return nil, problem.Reason(reasons.OutcomeUnknown)
	}
	return nil, pending()
}

// reserveApproved reserves an approval for one performance.
func (p *Policy) reserveApproved(ctx context.Context, r action.Request, a Approval) (*action.Reservation, error) {
	if err := p.stands(ctx, a); err != nil {
		return nil, err
	}
	if err := count(r.CountPerforming); err != nil {
		return nil, err
	}
	now := time.Now()
	a.State, a.Reservation, a.ReservedAt, a.Until, a.ExpiresAt = Reserved, p.newReservation(a.Action), now, a.ExpiresAt, now.Add(reservedFor)
	a, err := p.store.UpdateApproval(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("grants: reserve approval: %w", err)
	}
	r.Method, r.Host, r.Target, r.ContentType, r.Body = a.Method, a.Host, a.Target, a.ContentType, a.Body
	return &action.Reservation{ID: a.Reservation, Request: r, Amount: a.Amount, Record: func(ctx context.Context, outcome action.Outcome) (action.Outcome, error) {
		outcome, err := p.outcome(ctx, a.Action, a.Reservation, outcome)
		if err == nil {
			_, err = p.endApproval(ctx, a, outcome)
		}
		return outcome, err
	}}, nil
}

// outcome returns how an action has ended, and asks the database if a transaction of the site
// says so. It also asks where the handler has said that nothing was done, or has panicked: a handler
// can go on after that, as one in an http.TimeoutHandler does, and its transaction must fail then.
func (p *Policy) outcome(ctx context.Context, name, reservation string, outcome action.Outcome) (action.Outcome, error) {
	switch {
	case outcome == action.InTransaction, outcome != action.Performed && inTransaction(reservation):
		return p.settled(ctx, reservation)
	case inTransaction(reservation):
		p.logger().Error("grants: the handler of an action in Policy.InTransaction has not recorded that it was performed (sqlstore.Grants.Use): "+
			"it counts as performed", "action", name)
	}
	return outcome, nil
}

// transactionMark ends the ID of a reservation of an action in Policy.InTransaction. It says what the
// setting was when the handler began. The one of another release could be another: it would take an
// action for not done whose handler has recorded nothing in the database.
const transactionMark = "-t"

func (p *Policy) newReservation(name string) string {
	if slices.Contains(p.InTransaction, name) {
		return newID() + transactionMark
	}
	return newID()
}

// inTransaction reports whether a transaction of the site says what came of a reservation.
func inTransaction(reservation string) bool { return strings.HasSuffix(reservation, transactionMark) }

// settled asks the database whether an action was performed. If not, it never will be.
func (p *Policy) settled(ctx context.Context, reservation string) (action.Outcome, error) {
	settler, ok := p.store.(Settler)
	if !ok {
		return action.Unknown, nil
	}
	used, err := settler.Settle(ctx, reservation)
	switch {
	case err != nil:
		return "", fmt.Errorf("grants: ask whether an action was performed: %w", err)
	case used:
		return action.Performed, nil
	}
	return action.NothingDone, nil
}

// endApproval records how the performance has ended that a is reserved for.
func (p *Policy) endApproval(ctx context.Context, a Approval, outcome action.Outcome) (Approval, error) {
	reservation := a.Reservation
	for range maxTries {
		ended := a
		switch outcome {
		case action.Performed:
			ended.State, ended.ExpiresAt = Used, time.Now().Add(remembered)
		case action.NothingDone:
			ended.State, ended.ExpiresAt = Approved, a.Until
		default:
			ended.State = Unknown
		}
		ended, err := p.store.UpdateApproval(ctx, ended)
		switch {
		case err == nil:
			p.tellOutcome(ctx, ended, outcome)
			return ended, nil
		case !errors.Is(err, authagent.ErrConflict):
			return a, fmt.Errorf("grants: record how an action has ended: %w", err)
		}
		if a, err = p.store.Approval(ctx, a.ID); err != nil {
			return a, fmt.Errorf("grants: record how an action has ended: %w", err)
		}
		if a.Reservation != reservation || a.State != Reserved && (a.State != Unknown || outcome == action.Unknown) {
			return a, nil // somebody has found out
		}
	}
	return a, fmt.Errorf("grants: record how an action has ended: %w", problem.Conflict)
}

// settle finds out how the action has ended that an approval is reserved for, if nobody has
// recorded it for so long that nobody will.
func (p *Policy) settle(ctx context.Context, a Approval) (Approval, error) {
	if a.State != Reserved {
		return a, nil
	}
	outcome, err := p.overdue(ctx, a.Reservation, a.ReservedAt)
	if err != nil || outcome == "" {
		return a, err
	}
	return p.endApproval(ctx, a, outcome)
}

// overdue returns how a reservation has ended that nobody has ended; "" if it may be under way.
func (p *Policy) overdue(ctx context.Context, reservation string, at time.Time) (action.Outcome, error) {
	switch age := time.Since(at); {
	case age > settledAfter && age < settledFor && inTransaction(reservation):
		return p.settled(ctx, reservation)
	case age > runsFor:
		return action.Unknown, nil
	}
	return "", nil
}

// tellOutcome leaves an event for an action that was let through and not performed, or of which
// nobody knows. The owner is told of the latter.
func (p *Policy) tellOutcome(ctx context.Context, a Approval, outcome action.Outcome) {
	switch outcome {
	case action.NothingDone:
		p.audit(ctx, a.event(EventGivenBack, ""))
	case action.Unknown:
		p.notify(ctx, Notice{Kind: EventUnknown, UserID: a.UserID, Approval: &a, Action: p.words(a.Action)})
		e := a.event(EventUnknown, "")
		e.Outcome = audit.Failed
		p.audit(ctx, e)
	}
}
