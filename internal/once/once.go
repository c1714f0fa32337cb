// Package once does a thing once for each key, however many ask for it, and gives
// whoever asks again the same outcome for a while.
package once

import (
	"context"
	"sync"
	"time"
)

// maxKept bounds the memory of a Group. Further outcomes are not kept: who asks for one
// of those again has it done again.
const maxKept = 1 << 14

// A Group knows what is being done, and what came of what was done. Make one with New.
// It is safe for concurrent use.
type Group[T any] struct {
	keep time.Duration

	mu    sync.Mutex
	tasks map[string]*task[T]
	sweep time.Time // when to look for outcomes to forget
}

type task[T any] struct {
	over    bool
	until   time.Time     // the outcome counts so long, once it is over
	waited  chan struct{} // closed when it is over; nil while nobody waits
	outcome T
}

// New returns a group that keeps outcomes for a time.
func New[T any](keep time.Duration) *Group[T] {
	return &Group[T]{keep: keep, tasks: make(map[string]*task[T])}
}

// Do calls f, unless that is being done or was done for key; then it waits for that
// outcome and returns it, with again true. f says whether its outcome lasts. If it does
// not, the next who asks, or the first who has waited, calls f anew. The error is ctx's,
// while waiting; f is never cut short by it.
func (g *Group[T]) Do(ctx context.Context, key string, f func() (outcome T, lasts bool)) (outcome T, again bool, err error) {
	for {
		t, own, wait := g.join(key)
		switch {
		case own:
			return g.run(key, t, f), false, nil
		case wait == nil:
			return t.outcome, true, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return outcome, false, ctx.Err()
		}
	}
}

// join returns the task of key: one that the caller has to do, one to wait for, or one
// that is over.
func (g *Group[T]) join(key string) (t *task[T], own bool, wait <-chan struct{}) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.After(g.sweep) {
		g.forget(now)
	}
	t = g.tasks[key]
	switch {
	case t == nil || t.over && !now.Before(t.until):
		t = &task[T]{}
		g.tasks[key] = t
		return t, true, nil
	case t.over:
		return t, false, nil
	case t.waited == nil:
		t.waited = make(chan struct{})
	}
	return t, false, t.waited
}

// forget drops the outcomes that count no more. The caller holds the lock.
func (g *Group[T]) forget(now time.Time) {
	for key, t := range g.tasks {
		if t.over && !now.Before(t.until) {
			delete(g.tasks, key)
		}
	}
	g.sweep = now.Add(g.keep)
}

// run does a task. Those who wait are told even if f panics.
func (g *Group[T]) run(key string, t *task[T], f func() (T, bool)) T {
	lasts := false
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		t.over, t.until = true, time.Now().Add(g.keep)
		if !lasts || len(g.tasks) > maxKept {
			delete(g.tasks, key)
		}
		if t.waited != nil {
			close(t.waited)
		}
	}()
	t.outcome, lasts = f()
	return t.outcome
}
