// Package memory holds, in one process, what several instances would hold in
// a shared store: which states were used and which sessions were ended. All of it has bounds.
package memory

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// ErrFull says that a store has reached its bound. Callers refuse the request:
// forgetting an entry instead would undo what it protects.
var ErrFull = errors.New("memory: store is full")

// States remembers the states that were used until they would have expired
// anyway. The zero value is ready. It is safe for concurrent use.
type States struct {
	mu    sync.Mutex
	until map[stateKey]int64 // Unix time in nanoseconds
	sweep time.Time
}

// A stateKey is a digest of a state's ID. With it and a number, a state takes half
// the memory that a string and a time would.
type stateKey [16]byte

func keyOf(id string) stateKey {
	sum := sha256.Sum256([]byte(id))
	return stateKey(sum[:])
}

// maxStates bounds the memory that used states take, at about 50 bytes each.
const maxStates = 1 << 20

// forgetEach is how many states each use looks at. So those that are over are few among those that
// are not, and nobody waits while all are searched through.
const forgetEach = 8

// sweepEvery is how often a store that is full is searched through for what can be forgotten: that
// takes tens of milliseconds, in which nobody else gets on.
const sweepEvery = 10 * time.Second

// UseState records the use of id and reports whether it was the first.
func (s *States) UseState(_ context.Context, id string, until time.Time) (first bool, err error) {
	first, full := s.use(id, until, maxStates)
	if full {
		return false, ErrFull
	}
	return first, nil
}

// Has reports whether the use of id is on record.
func (s *States) Has(id string) bool {
	key := keyOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	end, used := s.until[key]
	return used && time.Now().UnixNano() < end
}

// UseSpare is UseState for a use that brings nothing in, so that it does not
// matter much if it is forgotten. Half of the room is not for those, and when the
// other half is full they are not recorded.
func (s *States) UseSpare(id string, until time.Time) (first bool) {
	first, full := s.use(id, until, maxStates/2)
	return first || full
}

func (s *States) use(id string, until time.Time, most int) (first, full bool) {
	key, now := keyOf(id), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[stateKey]int64)
	}
	if end, used := s.until[key]; used && now.UnixNano() < end {
		return false, false
	}
	s.forget(now, forgetEach)
	if len(s.until) >= most && now.After(s.sweep) {
		s.forget(now, len(s.until))
		s.sweep = now.Add(sweepEvery)
	}
	if len(s.until) >= most {
		return false, true
	}
	s.until[key] = until.UnixNano()
	return true, false
}

// forget drops those of so many states that are over. The order in which a map is read is random.
func (s *States) forget(now time.Time, most int) {
	for key, end := range s.until {
		if most--; most < 0 {
			return
		}
		if end <= now.UnixNano() {
			delete(s.until, key)
		}
	}
}
