//go:build unix

package main

import (
	"sync"
	"time"
)

// Times say what the run does to the servers: to roll instances is what a site does every
// day, and nobody may notice; everything else is an outage. The zero value is ready, and safe
// for concurrent use.
type times struct {
	mu      sync.Mutex
	now     moment
	periods []period // of outages
}

// A period is from when until when; zero if it is not over.
type period struct{ from, to time.Time }

// A moment is how the times stand.
type moment struct {
	rolling, outage bool
	rolls, outages  int // that have begun
}

func (t *times) get() moment {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

func (t *times) set(change func(*moment)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.now)
}

// begin begins what a step does, and the function that it returns ends it.
func (t *times) begin(roll bool) (end func()) {
	t.set(func(m *moment) {
		if roll {
			m.rolling, m.rolls = true, m.rolls+1
		} else {
			m.outage, m.outages = true, m.outages+1
			t.periods = append(t.periods, period{from: time.Now()})
		}
	})
	return func() {
		t.set(func(m *moment) {
			m.rolling, m.outage = false, false
			if !roll {
				t.periods[len(t.periods)-1].to = time.Now()
			}
		})
	}
}

// inOutage reports whether there was an outage at a time, or not long before or after it, when
// what it did is not over.
func (t *times) inOutage(at time.Time) bool {
	const around = 5 * time.Second
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.periods {
		if at.After(p.from.Add(-around)) && at.Before(p.to.Add(around)) {
			return true
		}
	}
	return false
}

// onlyRolled reports whether instances were rolled since then, and nothing else went wrong.
func (t *times) onlyRolled(then moment) bool {
	now := t.get()
	return (then.rolling || now.rolls > then.rolls) && !then.outage && now.outages == then.outages
}
