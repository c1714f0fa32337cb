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
}

type task[T any] struct {
	done    chan struct{}
	outcome T
	lasts   bool // whether the outcome counts for others
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
		t, own := g.join(key)
		if own {
			return g.run(key, t, f), false, nil
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			return outcome, false, ctx.Err()
		}
		if t.lasts {
			return t.outcome, true, nil
		}
	}
}

// join returns the task of key, and whether the caller has to do it.
func (g *Group[T]) join(key string) (t *task[T], own bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.tasks[key]; t != nil {
		return t, false
	}
	t = &task[T]{done: make(chan struct{})}
	g.tasks[key] = t
	return t, true
}

// run does a task. Those who wait are told even if f panics.
func (g *Group[T]) run(key string, t *task[T], f func() (T, bool)) T {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.lasts && len(g.tasks) <= maxKept {
			time.AfterFunc(g.keep, func() { g.forget(key) })
		} else {
			delete(g.tasks, key)
		}
		close(t.done)
	}()
	t.outcome, t.lasts = f()
	return t.outcome
}

func (g *Group[T]) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, key)
}
