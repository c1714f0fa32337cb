package sink

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// maxAside is how much an Aside does in the background at once.
const maxAside = 256

// An Aside does work that nobody has to wait for. While what the work calls is quick, by its Pace, the work is done at once, which costs
// less and is as good for whoever looks at what came of it. Once that is known to be slow, it is done in the background, at most
// 256 at once; whoever brings more waits for it. The zero value is ready. It is safe for concurrent use.
type Aside struct {
	Pace // of the store that the work calls, which the work tells

	mu    sync.Mutex
	under map[chan struct{}]struct{} // what is under way in the background; each is closed when it is done
}

// Do does work, which must not panic.
func (a *Aside) Do(work func()) {
	done := a.begin()
	if done == nil {
		work()
		return
	}
	go func() {
		defer a.end(done)
		work()
	}()
}

// begin returns what is closed when one more is done in the background, nil if it is not to be done there.
func (a *Aside) begin() chan struct{} {
	if !a.IsSlow() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.under) >= maxAside {
		return nil
	}
	if a.under == nil {
		a.under = make(map[chan struct{}]struct{})
	}
	done := make(chan struct{})
	a.under[done] = struct{}{}
	return done
}

func (a *Aside) end(done chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.under, done)
	close(done)
}

// Wait waits until all is done that is under way in the background now. What comes later it does not wait for: there may always be some.
func (a *Aside) Wait(ctx context.Context) error {
	a.mu.Lock()
	now := slices.Collect(maps.Keys(a.under))
	a.mu.Unlock()
	for _, done := range now {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
