// Package sink delivers values to a function that may be slow, may block and
// may panic, without ever holding up those who have something to deliver for long.
package sink

import (
	"context"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/meter"
)

const (
	// patience is how long Deliver waits for its own value.
	patience = 250 * time.Millisecond

	// capacity bounds what waits behind a function that blocks.
	capacity = 4096

	// ahead is how many may wait for a slow function before those who bring more wait too.
	ahead = 256
)

// A Sink delivers values in order, one at a time. Deliver returns once the value
// has been delivered, so that a quick function is as good as called directly. It
// does not wait for a slow one, such as one that writes to a database: it finds out by the
// first values. Once many wait, it does, so that those who bring more do not fill the queue.
type Sink[T any] struct {
	deliver func(T)
	lost    func(reason string)

	mu      sync.Mutex
	meter   *meter.Meter
	name    string // of the queue, for the meter
	queue   []item[T]
	running bool          // a goroutine is delivering; it ends when the queue is empty
	stuck   bool          // somebody has lost patience with the value being delivered
	began   time.Time     // when its delivery began
	pace    Pace          // of deliver
	last    chan struct{} // closed when the value that came last has been delivered
}

type item[T any] struct {
	value T
	done  chan struct{}
}

// New returns a Sink that calls deliver, and lost when a value was dropped or
// deliver panicked.
func New[T any](deliver func(T), lost func(reason string)) *Sink[T] {
	return &Sink[T]{deliver: deliver, lost: lost}
}

// Watch has a meter told how many values wait, and of those that are lost, under the name of a queue.
func (s *Sink[T]) Watch(m *meter.Meter, name string) {
	s.mu.Lock()
	s.meter, s.name = m, name
	waiting := len(s.queue)
	s.mu.Unlock()
	m.Waits(name, waiting)
}

// Deliver delivers v.
func (s *Sink[T]) Deliver(v T) {
	done, stuck := s.add(v)
	if done == nil || stuck {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.mu.Lock()
		s.stuck = s.running && time.Since(s.began) >= patience/2 // and not if only many were before this value
		s.mu.Unlock()
	}
}

// Add has v delivered and does not wait for that.
func (s *Sink[T]) Add(v T) { s.Queue(v)() }

// Queue is Add for a caller that holds a lock. It calls neither the meter nor lost, which may block: tell does, and
// the caller calls it without the lock.
func (s *Sink[T]) Queue(v T) (tell func()) {
	done, _, m, name := s.put(v)
	return func() { s.tell(done, m, name) }
}

// add puts v into the queue, and returns what is closed when it has been
// delivered, nil if there is no room.
func (s *Sink[T]) add(v T) (done chan struct{}, stuck bool) {
	done, stuck, m, name := s.put(v)
	s.tell(done, m, name)
	return done, stuck
}

// tell says that a value waits, or that there is no room for it.
func (s *Sink[T]) tell(done chan struct{}, m *meter.Meter, name string) {
	if done != nil {
		m.Waits(name, 1)
		return
	}
	m.Lost(name, meter.Full)
	s.lost("the queue is full")
}

// put is add, and tells nobody.
func (s *Sink[T]) put(v T) (done chan struct{}, stuck bool, m *meter.Meter, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= capacity {
		return nil, false, s.meter, s.name
	}
	done = make(chan struct{})
	s.queue = append(s.queue, item[T]{v, done})
	s.last = done
	if !s.running {
		s.running = true
		go s.run()
	}
	return done, s.stuck || s.pace.IsSlow() && len(s.queue) <= ahead, s.meter, s.name
}

// Wait returns when all that was to be delivered so far has been, or with the
// context's error.
func (s *Sink[T]) Wait(ctx context.Context) error {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Sink[T]) run() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running, s.stuck, s.queue = false, false, nil
			s.mu.Unlock()
			return
		}
		next, m, name := s.queue[0], s.meter, s.name
		s.queue = s.queue[1:]
		began := time.Now()
		s.began = began
		s.mu.Unlock()
		m.Waits(name, -1)
		s.call(next.value)
		s.pace.Took(time.Since(began))
		close(next.done)
		s.mu.Lock()
		s.stuck = false
		s.mu.Unlock()
	}
}

func (s *Sink[T]) call(v T) {
	defer func() {
		if recover() != nil {
			s.mu.Lock()
			m, name := s.meter, s.name
			s.mu.Unlock()
			m.Lost(name, meter.Panic)
			s.lost("the function panicked")
		}
	}()
	s.deliver(v)
}
