package sink

import (
	"context"
	"sync"
	"time"
)

// maxAside is how much an Aside does in the background at once.
const maxAside = 256

// An Aside does work that nobody has to wait for. While the work is quick, it is done at once, which costs less and is as good for
// whoever looks at what came of it. Once it is known to be slow, it is done in the background, at most 256 at once; whoever
// brings more waits for it. The zero value is ready. It is safe for concurrent use.
type Aside struct {
	pace Pace

	mu   sync.Mutex
	n    int           // under way in the background
	idle chan struct{} // closed when nothing is any more; nil if nobody waits
}

// Do does work, which must not panic.
func (a *Aside) Do(work func()) {
	timed := func() {
		began := time.Now()
		work()
		a.pace.Took(time.Since(began))
	}
	if !a.pace.IsSlow() || !a.begin() {
		timed()
		return
	}
	go func() {
		defer a.end()
		timed()
	}()
}

// begin reports whether there is room for one more.
func (a *Aside) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == maxAside {
		return false
	}
	a.n++
	return true
}

func (a *Aside) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n--; a.n == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
}

// Wait waits until nothing is done in the background any more.
func (a *Aside) Wait(ctx context.Context) error {
	a.mu.Lock()
	if a.n == 0 {
		a.mu.Unlock()
		return nil
	}
	if a.idle == nil {
		a.idle = make(chan struct{})
	}
	idle := a.idle
	a.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
