// Package limit bounds how often something may happen, for each of many keys,
// in the memory of one process.
package limit

import (
	"strings"
	"sync"
	"time"
)

// maxKeys bounds the memory of a Limiter, at about 100 bytes a key.
const maxKeys = 1 << 17

// A Limiter lets n events happen in each period, for each key, and as many at
// once. It is safe for concurrent use; nil limits nothing.
//
// It is the generic cell rate algorithm, which needs one time for each key: the
// one at which the budget is whole again. A key whose budget is whole is
// forgotten, so that what is kept is bounded by what happens and not by who comes.
type Limiter struct {
	every  time.Duration // between events at the steady rate
	period time.Duration

	mu    sync.Mutex
	whole map[string]time.Time
	sweep time.Time // when to look for whole budgets again
}

// New returns a Limiter, or nil where n or period is not positive.
func New(n int, period time.Duration) *Limiter {
	if n <= 0 || period <= 0 {
		return nil
	}
	return &Limiter{every: period / time.Duration(n), period: period, whole: make(map[string]time.Time)}
}

// Allow takes one event of key's budget. It returns 0, or, taking nothing, how
// long to wait for the next. While more keys than the limiter can hold have
// spent something, it refuses further ones: to forget a key would give it its
// budget back.
func (l *Limiter) Allow(key string) (wait time.Duration) {
	if l == nil {
		return 0
	}
	return l.take(time.Now(), key, true, nil)
}

// take is Allow as part of something greater: it takes nothing if not all of that may
// happen, as far as it is known, or if one of the rest makes it wait. It returns the longest
// wait.
func (l *Limiter) take(now time.Time, key string, may bool, rest []event) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	whole, spent := l.whole[key]
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(l.every)
	if wait = max(0, whole.Sub(now)-l.period); !spent && !l.room(now) {
		wait = l.every
	}
	may = may && wait == 0
	if others := allow(now, may, rest); others > 0 {
		return max(wait, others)
	}
	if may {
		if !spent {
			key = strings.Clone(key) // lest it holds on to all of what it is a part of
		}
		l.whole[key] = whole
	}
	return wait
}

// crowded reports whether there is no room for a key.
func (l *Limiter) crowded(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, spent := l.whole[key]
	return !spent && len(l.whole) >= maxKeys
}

// Return gives back one event of key's budget that Allow has taken and that did not
// happen.
func (l *Limiter) Return(key string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if whole, spent := l.whole[key]; spent {
		l.whole[key] = whole.Add(-l.every)
	}
}

// room reports whether a further key can be kept, and forgets now and then those
// whose budget is whole.
func (l *Limiter) room(now time.Time) bool {
	if len(l.whole) < maxKeys && now.Before(l.sweep) {
		return true
	}
	if len(l.whole) >= maxKeys && now.Before(l.sweep.Add(time.Second-l.period)) {
		return false // looked a moment ago: a flood of keys must not make each request look again
	}
	for key, whole := range l.whole {
		if whole.Before(now) {
			delete(l.whole, key)
		}
	}
	l.sweep = now.Add(l.period)
	return len(l.whole) < maxKeys
}
