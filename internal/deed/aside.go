package deed

import (
	"context"
	"sync"
)

// maxAside is how many ends of deeds are written in the background at once. Beyond, deeds wait for the journal.
const maxAside = 256

// aside counts what is under way in the background. The zero value is ready.
type aside struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when nothing is under way any more; nil if nobody waits
}

// begin reports whether there is room for one more.
func (a *aside) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == maxAside {
		return false
	}
	a.n++
	return true
}

func (a *aside) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n--; a.n == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
}

// finish writes the end of a deed. No client waits for that, unless the journal is quick.
func (b *Book) finish(write func()) {
	if !b.pace.IsSlow() || !b.aside.begin() {
		write()
		return
	}
	go func() {
		defer b.aside.end()
		write()
	}()
}

// Wait waits until the ends are on record of all deeds that have ended so far.
func (b *Book) Wait(ctx context.Context) error {
	b.aside.mu.Lock()
	if b.aside.n == 0 {
		b.aside.mu.Unlock()
		return nil
	}
	if b.aside.idle == nil {
		b.aside.idle = make(chan struct{})
	}
	idle := b.aside.idle
	b.aside.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
