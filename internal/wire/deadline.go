package wire

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A deadline is the context of work that asks the server several times, as a sign-in does. It has one timer.
// While a request is under way, the timer stands at what is left of the time that all requests of the work share. Else it
// stands at the end of the whole work. So the work can wait for its turn (see Confirm), or for the site's stores, and its
// requests lose no time by it.
type deadline struct {
	context.Context
	ends  time.Time // the whole work
	timer *time.Timer

	mu     sync.Mutex
	left   time.Duration // for requests
	asking int           // how many are under way
	since  time.Time     // when the first of those began
}

type deadlineKey struct{}

// WithDeadline returns a context for work that takes no longer than whole. Its requests to the server take no longer than
// Timeout, all together. What goes beyond either of them ends the work.
func WithDeadline(parent context.Context, whole time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	d := &deadline{Context: ctx, ends: time.Now().Add(whole), left: Timeout}
	d.timer = time.AfterFunc(whole, func() { cancel(context.DeadlineExceeded) })
	return d, func() {
		d.timer.Stop()
		cancel(nil)
	}
}

// deadlineOf returns the deadline of the work that ctx belongs to; nil if that has none.
func deadlineOf(ctx context.Context) *deadline {
	d, _ := ctx.Value(deadlineKey{}).(*deadline)
	return d
}

// begin is called before a request, and done after it. Both do nothing for nil.
func (d *deadline) begin() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asking++; d.asking == 1 {
		d.since = time.Now()
		d.timer.Reset(min(d.left, d.ends.Sub(d.since)))
	}
}

func (d *deadline) done() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asking--; d.asking == 0 {
		now := time.Now()
		d.left -= now.Sub(d.since)
		d.timer.Reset(d.ends.Sub(now))
	}
}

// Deadline implements [context.Context].
func (d *deadline) Deadline() (time.Time, bool) { return d.ends, true }

// Err implements [context.Context]. The contexts that are made of d have this as their cause.
func (d *deadline) Err() error {
	if isOver(d.Context) {
		return context.DeadlineExceeded
	}
	return d.Context.Err()
}

// Value implements [context.Context].
func (d *deadline) Value(key any) any {
	if key == (deadlineKey{}) {
		return d
	}
	return d.Context.Value(key)
}

// isOver reports whether a context has ended because its time was over.
func isOver(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}
