package limit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/limits"
)

const (
	// patience is how long a store may take: what waits for it is a request.
	patience = time.Second

	// pause is how long a store that has failed is not asked.
	pause = 3 * time.Second

	// remembered is how long it is remembered at most that a store has refused something, and
	// maxRemembered how many refusals are.
	remembered    = 10 * time.Second
	maxRemembered = 1 << 14
)

// shared counts in a store of the site's.
type shared struct {
	store  limits.Store
	panics failure.Panics
	began  time.Time    // times are kept as what has passed since, which no clock changes
	away   atomic.Int64 // until when the store is not asked, since it has failed; 0 if it has not
	told   *Limiter     // of that

	// While a store would refuse a key in any case, it is not asked: a flood of one client must
	// not become a flood of statements, which all wait for the same row.
	mu      sync.Mutex
	refused map[string]refusal
	swept   time.Time // when those that are over were last forgotten
}

type refusal struct {
	until time.Time // what the client is told
	ask   time.Time // when the store is asked again; not later, since it may have been emptied
}

// newShared returns nil if there is no store.
func newShared(store limits.Store, panics failure.Panics) *shared {
	if store == nil {
		return nil
	}
	return &shared{store: store, panics: panics, began: time.Now(), told: New(1, time.Minute), refused: make(map[string]refusal)}
}

// errAway is the error while a store is not asked.
var errAway = errors.New("the store of limits has failed a moment ago, and is not asked yet")

// take takes one of each event, or none.
func (s *shared) take(ctx context.Context, events []event) (wait time.Duration, err error) {
	budgets, name := budgetsOf(events)
	if wait := s.refusedFor(name); wait > 0 {
		return wait, nil
	}
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		wait, err = s.store.Take(ctx, budgets...)
		return err
	})
	if err != nil {
		return 0, err
	}
	if wait > 0 {
		s.refuse(name, wait)
	}
	return wait, nil
}

// giveBack gives an event back. If the store fails, it stays counted: an owner is asked too
// seldom rather than too often.
func (s *shared) giveBack(ctx context.Context, e event) {
	budgets, name := budgetsOf([]event{e})
	_ = s.ask(ctx, func(ctx context.Context) error { return s.store.Return(ctx, budgets...) }) // ask has told the operator
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, name)
}

// budgetsOf returns what a store is asked about, and a name for that.
func budgetsOf(events []event) (budgets []limits.Budget, name string) {
	budgets = make([]limits.Budget, len(events))
	keys := make([]string, len(events))
	for i, e := range events {
		keys[i] = e.prefix + e.key
		budgets[i] = limits.Budget{Key: keys[i], Rate: e.rate}
	}
	return budgets, strings.Join(keys, "\n")
}

// ask calls f, unless the store has failed a moment ago. The request may go away meanwhile:
// what it did counts all the same, and that is no fault of the store.
func (s *shared) ask(ctx context.Context, f func(context.Context) error) error {
	now := int64(time.Since(s.began))
	until := s.away.Load()
	if until > 0 && (now < until || !s.away.CompareAndSwap(until, now+int64(patience+pause))) { // one of all asks first
		return errAway
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := s.panics.Protect("count in the store of limits", func() error { return f(ctx) })
	if err != nil {
		s.away.Store(int64(time.Since(s.began) + pause))
		if s.told.Allow("") == 0 {
			s.panics.Logger.Error("authagent: the store of limits failed: this process counts requests for itself, and refuses actions that are limited",
				"err", err)
		}
		return err
	}
	if until > 0 {
		s.away.Store(0)
	}
	return nil
}

// refuse remembers that the store has refused something, if there is room. Otherwise the
// store is asked each time.
func (s *shared) refuse(name string, wait time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) >= maxRemembered && now.Sub(s.swept) > time.Second {
		for other, r := range s.refused {
			if !now.Before(r.ask) {
				delete(s.refused, other)
			}
		}
		s.swept = now
	}
	if len(s.refused) < maxRemembered {
		s.refused[name] = refusal{now.Add(wait), now.Add(min(wait, remembered))}
	}
}

// refusedFor returns how long it is until the store is asked again about something that it
// has refused.
func (s *shared) refusedFor(name string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.refused[name]
	if !ok {
		return 0
	}
	now := time.Now()
	if !now.Before(r.ask) {
		delete(s.refused, name)
		return 0
	}
	return r.until.Sub(now)
}
