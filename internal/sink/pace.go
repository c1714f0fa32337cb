package sink

import (
	"sync/atomic"
	"time"
)

const (
	// quick is how long a function takes at most that writes to no disk or network.
	quick = 250 * time.Microsecond

	// slowly is how often in a row one has to take longer before nobody waits for it: a busy machine can hold up any
	// function some times.
	slowly = 8
)

// A Pace knows whether a function is a slow one, by how long it took so far. The zero value takes it for a quick one. It is safe
// for concurrent use.
type Pace struct{ slow atomic.Int32 }

// Took says how long the function took.
func (p *Pace) Took(d time.Duration) {
	if d <= quick {
		p.slow.Store(0)
		return
	}
	if p.slow.Add(1) > slowly {
		p.slow.Store(slowly)
	}
}

// IsSlow reports whether nobody should wait for the function.
func (p *Pace) IsSlow() bool { return p.slow.Load() >= slowly }
