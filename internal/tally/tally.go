// Package tally counts what happens over and over, so that a flood of one kind is
// reported a few times, with its number, and not each time.
package tally

import (
	"sync"
	"time"
)

// maxKinds bounds the memory of a Tally.
const maxKinds = 1 << 13

// A Tally lets the first of a kind through, and counts those that follow it. It is
// safe for concurrent use.
//
// It holds up to 8192 kinds. While there are that many, what is of a further kind is
// let through each time: to count it with others would hide it among them.
type Tally[K comparable, V any] struct {
	period time.Duration
	report func(last V, n int) (after func())

	mu     sync.Mutex
	kinds  map[K]*kind[V]
	closed bool
}

type kind[V any] struct {
	n     int // since the last report
	last  V
	timer *time.Timer
}

// New returns a Tally that calls report, at the end of each period, with the last of
// a kind and how many there were. A kind of which there was none for a whole period
// is forgotten: the next is its first again. No two calls of report are made at once: a lock is
// held, so it must not wait. What may wait is in after, which is called later, while no lock is held.
func New[K comparable, V any](period time.Duration, report func(last V, n int) (after func())) *Tally[K, V] {
	return &Tally[K, V]{period: period, report: report, kinds: make(map[K]*kind[V])}
}

// Count reports whether v is counted, and reported later. If not, the caller has to
// report it.
func (t *Tally[K, V]) Count(key K, v V) (counted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.kinds[key]; k != nil {
		k.n, k.last = k.n+1, v
		return true
	}
	if !t.closed && len(t.kinds) < maxKinds {
		k := &kind[V]{}
		k.timer = time.AfterFunc(t.period, func() { t.end(key, k) })
		t.kinds[key] = k
	}
	return false
}

// end ends a period of a kind.
func (t *Tally[K, V]) end(key K, k *kind[V]) {
	after := func() {}
	defer func() { after() }()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.kinds[key] != k: // flushed
	case k.n == 0:
		delete(t.kinds, key)
	default:
		after = t.tell(k)
		k.timer.Reset(t.period)
	}
}

// Flush reports at once what has been counted, and forgets all kinds.
func (t *Tally[K, V]) Flush() {
	var after []func()
	t.mu.Lock()
	for _, k := range t.kinds {
		k.timer.Stop()
		if k.n > 0 {
			after = append(after, t.tell(k))
		}
	}
	clear(t.kinds)
	t.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// Close is Flush, after which nothing is counted any more.
func (t *Tally[K, V]) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.Flush()
}

// tell reports what has been counted of a kind. The caller holds the lock, and calls after without it.
func (t *Tally[K, V]) tell(k *kind[V]) (after func()) {
	var none V
	last, n := k.last, k.n
	k.last, k.n = none, 0
	return t.report(last, n)
}
