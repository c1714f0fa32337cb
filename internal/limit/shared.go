package limit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/limits"
)

const (
	// patience is how long a store may take: what waits for it is a request. What can be counted in
	// no other way waits longer: a store that is slow for once must not keep agents from all actions.
	patience       = time.Second
	strictPatience = 5 * time.Second

	// pause is how long a store that has failed is not asked about what this process can count.
	pause = 3 * time.Second

	// maxAsking is how many calls of a store are under way for what this process can count, and again
	// for what it cannot: the pool of a database is shared with the rest of the site, and a flood of
	// one kind must not keep out the other.
	maxAsking = 8
)

// shared counts in a store of the site's.
type shared struct {
	store  limits.Store
	panics failure.Panics
	meter  *meter.Meter
	began  time.Time        // times are kept as what has passed since, which no clock changes
	away   atomic.Int64     // until when the store is not asked, since it has failed; 0 if it has not
	told   *Limiter         // of that
	asking [2]chan struct{} // the calls under way: what this process can count, and what it cannot
}

// newShared returns nil if there is no store.
func newShared(store limits.Store, site Site) *shared {
	if store == nil {
		return nil
	}
	return &shared{
		store: store, panics: site.Panics, meter: site.Meter, began: time.Now(), told: New(1, time.Minute),
		asking: [2]chan struct{}{make(chan struct{}, maxAsking), make(chan struct{}, maxAsking)},
	}
}

// errAway is the error while a store is not asked.
var errAway = errors.New("the store of limits has failed a moment ago, and is not asked yet")

// errBusy is the error where too many calls of the store are under way, which is no fault of the store.
var errBusy = errors.New("too many calls of the store of limits are under way")

// take takes one of each event, or none. strict says that nothing else can count them.
func (s *shared) take(ctx context.Context, events []event, strict bool) (wait time.Duration, err error) {
	err = s.ask(ctx, strict, func(ctx context.Context) (err error) {
		wait, err = s.store.Take(ctx, budgetsOf(events)...)
		return err
	})
	return wait, err
}

// giveBack gives an event back. If the store fails, it stays counted: an owner is asked too
// seldom rather than too often.
func (s *shared) giveBack(ctx context.Context, e event) {
	_ = s.ask(ctx, true, func(ctx context.Context) error { return s.store.Return(ctx, budgetsOf([]event{e})...) }) // ask has told the operator
}

// budgetsOf returns what a store is asked about.
func budgetsOf(events []event) []limits.Budget {
	budgets := make([]limits.Budget, len(events))
	for i, e := range events {
		budgets[i] = limits.Budget{Key: e.prefix + e.key, Rate: e.rate}
	}
	return budgets
}

// ask calls f, unless the store has failed a moment ago and strict is false. The request may go
// away meanwhile: what it did counts all the same, and that is no fault of the store.
func (s *shared) ask(ctx context.Context, strict bool, f func(context.Context) error) error {
	patience, asking := patience, s.asking[0]
	if strict {
		patience, asking = strictPatience, s.asking[1]
	}
	until := s.away.Load()
	if now := int64(time.Since(s.began)); !strict && until > 0 && (now < until || !s.away.CompareAndSwap(until, now+int64(patience+pause))) { // one of all asks first
		return errAway
	}
	if !enter(asking, patience/2) {
		return errBusy
	}
	defer func() { <-asking }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := s.panics.Protect("count in the store of limits", func() error { return f(ctx) }); err != nil {
		s.failed(err)
		return err
	}
	if until > 0 {
		s.away.Store(0)
	}
	return nil
}

// enter waits for room in a channel, and reports whether there was any in time.
func enter(room chan struct{}, patience time.Duration) bool {
	select {
	case room <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case room <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// failed has the store left alone for a while, and tells the operator.
func (s *shared) failed(err error) {
	s.meter.StoreFailed(meter.Limits)
	s.away.Store(int64(time.Since(s.began) + pause))
	if s.told.Allow("") == 0 {
		s.panics.Logger.Error("authagent: the store of limits failed: this process counts requests for itself, and refuses actions that are limited",
			"err", err)
	}
}
