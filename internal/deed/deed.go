// Package deed puts on record what agents change: before it is done, and how it has ended.
package deed

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/asked"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/sink"
	"github.com/authagent-go/authagent/internal/trail"
	"github.com/authagent-go/authagent/problem"
)

// writtenIn is how long writing an event may take.
const writtenIn = 10 * time.Second

// A Book is where a relying party puts deeds on record. It is safe for concurrent use.
type Book struct {
	Journal audit.Journal // nil for none
	Trail   *trail.Trail  // hears how deeds have ended
	Panics  failure.Panics
	Meter   *meter.Meter

	// Uncount gives back an action that was counted in Limits, and is not performed after all; nil if none is counted.
	Uncount func(ctx context.Context, action string, agent audit.Agent, userID string)

	ends sink.Aside // no client waits for what a database needs to store them
}

// Wait waits until the ends are on record of all deeds that have ended so far.
func (b *Book) Wait(ctx context.Context) error { return b.ends.Wait(ctx) }

// A Deed is a change that an agent makes. It ends once. Its methods are safe for concurrent use.
type Deed struct {
	book  *Book
	event audit.Event // of its begin
	seen  *response   // what it is answered with; nil for no HTTP request
	ended atomic.Bool
}

// Wants reports whether anybody would hear of a deed: without a journal, of named actions, and
// if there is a trail.
func (b *Book) Wants(ctx context.Context, action string) bool {
	return b.Journal != nil || action != "" && b.Trail.Wants(ctx, audit.ActionPerformed, nil)
}

// Open records that a deed begins. event says whose it is, and reserved, which may be nil, is what
// was reserved for it. With a journal it puts that on record; without one the deed is nil. After
// an error nothing may be done.
func (b *Book) Open(ctx context.Context, event audit.Event, reserved *action.Reservation) (*Deed, error) {
	event.Amount = reserved.Cost()
	if b.Journal != nil {
		return b.begin(ctx, event, reserved)
	}
	if event.Action != "" {
		event.Name = audit.ActionPerformed
		b.Trail.Record(ctx, event, nil)
	}
	return nil, nil
}

// Attempt is Open for what is no HTTP request. It records, and returns, why the deed is refused;
// nil if it is not.
func (b *Book) Attempt(ctx context.Context, event audit.Event, reserved *action.Reservation, refused error) (d *Deed, err error) {
	if err = refused; err == nil {
		d, err = b.Open(ctx, event, reserved)
	}
	if f := failure.As(err); f != nil {
		event.Name = audit.PermissionDenied
		if f.Reason == problem.ApprovalPending {
			event.Name = audit.ActionPending
		}
		b.Trail.Record(ctx, event, f)
	}
	return d, err
}

// Perform is Attempt, and calls do, which does the deed.
func (b *Book) Perform(ctx context.Context, event audit.Event, refused error, do func(context.Context) error) error {
	d, err := b.Attempt(ctx, event, nil, refused)
	if err != nil {
		return err
	}
	return d.perform(ctx, do)
}

// Serve has next answer a request, for which d has begun and something was reserved, unless these
// are nil. It records how that has ended.
func (b *Book) Serve(w http.ResponseWriter, r *http.Request, d *Deed, reserved *action.Reservation, next http.Handler) {
	switch {
	case d == nil && reserved == nil: // most requests
		next.ServeHTTP(w, r)
	case d == nil:
		b.reserved(w, r, reserved, next)
	default:
		d.serve(w, r, reserved, next)
	}
}

// reserved has next do what is reserved, and records how that has ended.
func (b *Book) reserved(w http.ResponseWriter, r *http.Request, reserved *action.Reservation, next http.Handler) {
	r = r.WithContext(reserved.With(r.Context()))
	asked.Perform(r.Context(), reserved, func() { next.ServeHTTP(w, r) }, func(err error) {
		b.Panics.Logger.Error("authagent: how an action has ended was not recorded: it counts as unknown", "action", reserved.Request.Action, "err", err)
	})
}

// begin puts on record that a deed begins. After an error, what was reserved for it is given back.
// Where something is reserved, its end is the end of the deed.
//
// It goes on when the client goes away: an event that is stored, and of which nobody learns that
// it is, would stand for a deed that was not done.
func (b *Book) begin(ctx context.Context, event audit.Event, reserved *action.Reservation) (*Deed, error) {
	event.Name, event.Outcome, event.Deed = audit.ActionBegun, audit.Begun, rand.Text()
	event.Time, event.Issuer, event.Count = time.Now().UTC(), b.Trail.Issuer(), 1
	d := &Deed{book: b, event: event}
	if err := b.write(ctx, event); err != nil {
		d.giveBack(ctx, reserved)
		if b.Uncount != nil && event.Action != "" {
			b.Uncount(ctx, event.Action, event.Agent, event.UserID)
		}
		return nil, failure.OfStore("put the deed on record", err)
	}
	if reserved != nil {
		reserved.Deed, reserved.Record = event.Deed, d.recorded(reserved.Record)
	}
	return d, nil
}

// write writes an event in bounds. The site's code may panic.
func (b *Book) write(ctx context.Context, event audit.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writtenIn)
	defer cancel()
	began := time.Now()
	err := b.Panics.Protect("write to the journal", func() error { return b.Journal.Write(ctx, b.Trail.Renamed(event)) })
	b.ends.Took(time.Since(began))
	if err != nil {
		b.Meter.StoreFailed(meter.Journal)
	}
	return err
}

// giveBack gives back what was reserved for a deed that is not done.
func (d *Deed) giveBack(ctx context.Context, reserved *action.Reservation) {
	reserved.NothingDone()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writtenIn)
	defer cancel()
	if err := d.book.Panics.Protect("give back what was reserved", func() error { return reserved.End(ctx) }); err != nil {
		d.book.Panics.Logger.Error("authagent: what was reserved for an action was not given back: it counts as unknown", "action", d.event.Action, "err", err)
	}
}

// recorded returns a function that records the outcome of what is reserved for the deed, as record does, and ends the
// deed with it. Until it is recorded, nobody knows how the deed has ended.
func (d *Deed) recorded(record func(context.Context, action.Outcome) (action.Outcome, error)) func(context.Context, action.Outcome) (action.Outcome, error) {
	return func(ctx context.Context, outcome action.Outcome) (found action.Outcome, err error) {
		if found = outcome; record != nil {
			found, err = record(ctx, outcome)
		}
		if err == nil {
			d.end(ctx, outcomeOf(found))
		}
		return found, err
	}
}

func outcomeOf(o action.Outcome) string {
	switch o {
	case action.Performed:
		return audit.OK
	case action.NothingDone:
		return audit.NothingDone
	}
	return audit.Unknown
}

// serve has next do the deed, and puts on record how that has ended.
func (d *Deed) serve(w http.ResponseWriter, r *http.Request, reserved *action.Reservation, next http.Handler) {
	w, d.seen = watch(w)
	outcome := audit.Unknown // as after a panic
	defer func() { d.end(r.Context(), outcome) }()
	whole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		d.seen.returned()
	})
	if reserved != nil {
		d.book.reserved(w, r, reserved, whole)
		return // it has ended with what is reserved, or nobody knows
	}
	whole.ServeHTTP(w, r.WithContext(audit.WithDeed(r.Context(), d.event.Deed)))
	outcome = d.seen.outcome()
}

// perform calls do, which does the deed, and puts on record how that has ended. Of a nil deed nothing is put on record.
func (d *Deed) perform(ctx context.Context, do func(context.Context) error) error {
	if d == nil {
		return do(ctx)
	}
	outcome := audit.Unknown // as after a panic
	defer func() { d.end(ctx, outcome) }()
	err := do(audit.WithDeed(ctx, d.event.Deed))
	outcome = failure.As(err).Outcome()
	return err
}

// end puts on record how the deed has ended, unless it has ended before.
func (d *Deed) end(ctx context.Context, outcome string) {
	if !d.ended.CompareAndSwap(false, true) {
		return
	}
	e := d.event
	e.Name, e.Outcome, e.Detail = audit.ActionPerformed, outcome, d.seen.text()
	if now := time.Now().UTC(); now.After(e.Time) { // the clock may have been set back, and who reads on finds the end after the begin
		e.Time = now
	}
	d.book.ends.Do(func() {
		if err := d.book.write(ctx, e); err != nil {
			d.book.Panics.Logger.Error("authagent: how a deed has ended is not on record: the trail says that it has begun, and its outcome is unknown",
				"deed", e.Deed, "action", e.Action, "agent_session", e.SessionID, "outcome", outcome, "err", err)
		}
		d.book.Trail.Record(ctx, e, nil)
	})
}

// text says what a deed was answered with.
func (s *response) text() string {
	switch {
	case s == nil:
		return ""
	case s.hijacked.Load():
		return "the connection was taken over"
	}
	if status := s.status.Load(); status != 0 {
		return "status " + strconv.Itoa(int(status))
	}
	return ""
}
