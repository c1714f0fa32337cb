package action

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/authagent-go/authagent/audit"
)

// An Outcome is how the performance of an action has ended.
type Outcome string

// The outcomes. A reservation that has none is of an action that is being performed, or of a
// process that has ended.
const (
	Performed     Outcome = "performed"
	NothingDone   Outcome = "nothing_done"   // what was reserved is given back
	InTransaction Outcome = "in_transaction" // what the site's transaction says; see grants.Policy.InTransaction
	Unknown       Outcome = "unknown"        // the handler has panicked
)

// A Reservation is the one time that an action may be performed. It is made before the action and
// ends after it. A handler finds its own with [ReservationFrom]. Its methods are safe for
// concurrent use, and do nothing for a nil Reservation: so a handler need not ask whether an
// agent acts or a person.
type Reservation struct {
	ID      string       // names it in the Approver's store
	Request Request      // as the owner has approved it
	Amount  audit.Amount // what the action costs, as far as it is known

	// Record records the outcome in the Approver's store, and returns it: for InTransaction what
	// the transaction says. End calls it.
	Record func(ctx context.Context, outcome Outcome) (Outcome, error)

	// Deed is the ID of the deed in authagent.Config.Journal that the action is. The relying
	// party sets it. It is empty without a Journal.
	Deed string

	nothing, transaction atomic.Bool

	mu    sync.Mutex // of recording: who calls End at the same time learns whether it was recorded
	ended bool
}

// NothingDone says that the action was not performed and that nothing of it will be: so the
// approval or the amount is given back when the handler returns. Without that call, a handler
// that returns has performed the action, whatever status it answers with.
func (r *Reservation) NothingDone() {
	if r != nil {
		r.nothing.Store(true)
	}
}

// UseInTransaction says that a transaction of the site decides: see the method Use of
// sqlstore.Grants, which calls it.
func (r *Reservation) UseInTransaction() {
	if r != nil {
		r.transaction.Store(true)
	}
}

// Outcome returns how the action has ended if its handler returns now.
func (r *Reservation) Outcome() Outcome {
	switch {
	case r.transaction.Load():
		return InTransaction
	case r.nothing.Load():
		return NothingDone
	}
	return Performed
}

// Cost returns Amount, and the zero value for a nil Reservation.
func (r *Reservation) Cost() audit.Amount {
	if r == nil {
		return audit.Amount{}
	}
	return r.Amount
}

// End records how the action has ended. RequireApproval calls it when the handler has returned;
// who gets a reservation from authagent.RelyingParty.Approve calls it when the action is done. If
// nobody does, the outcome stays unknown, and what was reserved stays reserved. The first call
// that succeeds counts, and further ones do nothing. An error means that the outcome was not
// recorded.
func (r *Reservation) End(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.end(ctx, r.Outcome())
}

// EndUnknown is End for an action of which nobody knows how it has ended, as after a panic.
func (r *Reservation) EndUnknown(ctx context.Context) error {
	if r == nil {
		return nil
	}
	if r.transaction.Load() { // which knows
		return r.end(ctx, InTransaction)
	}
	return r.end(ctx, Unknown)
}

func (r *Reservation) end(ctx context.Context, outcome Outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Record == nil || r.ended {
		return nil
	}
	_, err := r.Record(ctx, outcome)
	r.ended = err == nil
	return err
}

type key struct{}

// With returns a context from which a handler finds r, and its deed ([audit.DeedFrom]).
func (r *Reservation) With(ctx context.Context) context.Context {
	if r.Deed != "" {
		ctx = audit.WithDeed(ctx, r.Deed)
	}
	return context.WithValue(ctx, key{}, r)
}

// ReservationFrom returns the reservation of the request that has the context ctx; nil if no
// agent acts, or if the route has no RequireApproval.
func ReservationFrom(ctx context.Context) *Reservation {
	r, _ := ctx.Value(key{}).(*Reservation)
	return r
}
