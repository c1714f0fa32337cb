package memstore

import (
	"context"
	"sync"
	"time"

	"github.com/authagent-go/authagent/limits"
)

// maxLimits bounds the memory of Limits, at about 150 bytes a key.
const maxLimits = 1 << 17

// Limits is a [limits.Store], for tests and for relying parties in one process that count together. It holds
// 131072 keys whose budget is not whole. While there are that many, further keys are refused: to forget one would give
// it its budget back. The zero value is ready.
type Limits struct {
	mu    sync.Mutex
	whole map[string]time.Time
	sweep time.Time
}

// Take implements [limits.Store].
func (l *Limits) Take(_ context.Context, budgets ...limits.Budget) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.forget(now)
	next := make([]time.Time, len(budgets))
	for i, b := range budgets {
		every := b.Rate.Per / time.Duration(b.Rate.N)
		whole, spent := l.whole[b.Key]
		if !spent && len(l.whole)+len(budgets) > maxLimits {
			wait = max(wait, every)
		}
		next[i] = within(whole, now, now.Add(b.Rate.Per)).Add(every)
		wait = max(wait, next[i].Sub(now)-b.Rate.Per)
	}
	if wait > 0 {
		return wait, nil
	}
	if l.whole == nil {
		l.whole = make(map[string]time.Time)
	}
	for i, b := range budgets {
		l.whole[b.Key] = next[i]
	}
	return 0, nil
}

// Return implements [limits.Store].
func (l *Limits) Return(_ context.Context, budgets ...limits.Budget) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range budgets {
		if whole, spent := l.whole[b.Key]; spent {
			l.whole[b.Key] = whole.Add(-b.Rate.Per / time.Duration(b.Rate.N))
		}
	}
	return nil
}

// within returns t, or the end of a period that is nearest to it.
func within(t, first, last time.Time) time.Time {
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}

// forget drops whole budgets, now and then.
func (l *Limits) forget(now time.Time) {
	if now.Before(l.sweep) {
		return
	}
	for key, whole := range l.whole {
		if whole.Before(now) {
			delete(l.whole, key)
		}
	}
	l.sweep = now.Add(time.Second)
}
