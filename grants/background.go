package grants

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/panics"
)

// backgroundTimeout bounds each piece of work in the background.
const backgroundTimeout = 10 * time.Second

// A turn is a lock for which nobody waits longer than their request lasts.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("grants: wait for other requests: %w", ctx.Err())
	}
}

func (t turn) give() { <-t }

// turns are one for each key, as long as somebody has it or waits for it. The zero
// value is ready.
type turns struct {
	mu   sync.Mutex
	used map[string]*usedTurn
}

type usedTurn struct {
	turn
	users int // who have it or wait for it
}

// A keyTurn is the turn of one key.
type keyTurn struct {
	all *turns
	key string
}

func (t *turns) of(key string) keyTurn { return keyTurn{t, key} }

func (k keyTurn) take(ctx context.Context) error {
	k.all.mu.Lock()
	t := k.all.used[k.key]
	if t == nil {
		if k.all.used == nil {
			k.all.used = make(map[string]*usedTurn)
		}
		t = &usedTurn{turn: make(turn, 1)}
		k.all.used[k.key] = t
	}
	t.users++
	k.all.mu.Unlock()
	err := t.take(ctx)
	if err != nil {
		k.leave()
	}
	return err
}

func (k keyTurn) give() { k.leave().give() }

// leave forgets the turn if nobody else uses it.
func (k keyTurn) leave() *usedTurn {
	k.all.mu.Lock()
	defer k.all.mu.Unlock()
	t := k.all.used[k.key]
	if t.users--; t.users == 0 {
		delete(k.all.used, k.key)
	}
	return t
}

const (
	// maxEach bounds what waits in a fair queue for one key, and maxWaiting what
	// waits for all.
	maxEach    = 16
	maxWaiting = 4096
)

// A fair queue has what waits to be done in the background. The keys take turns:
// much that waits for one holds up no other, and pushes out nothing of another.
// The zero value is ready.
type fair[T any] struct {
	mu      sync.Mutex
	waiting map[string][]T
	order   []string // the keys of waiting; the first is next
	total   int
	running bool // somebody takes what waits
	meter   *meter.Meter
	name    string // of the queue, for the meter
}

// add puts v at the end of what waits for key. It returns what there is no room for,
// which may be v, and whether the caller has to start somebody who takes what waits.
func (q *fair[T]) add(key string, v T) (lost []T, start bool) {
	q.mu.Lock()
	before, m, name := q.total, q.meter, q.name
	lost, start = q.put(key, v)
	more := q.total - before
	q.mu.Unlock()
	m.Waits(name, more)
	for range lost {
		m.Lost(name, meter.Full)
	}
	return lost, start
}

// put is add for a caller that holds q.mu.
func (q *fair[T]) put(key string, v T) (lost []T, start bool) {
	if q.waiting == nil {
		q.waiting = make(map[string][]T)
	}
	if len(q.waiting[key]) >= maxEach {
		return []T{v}, false
	}
	if q.total >= maxWaiting {
		most := key
		for k, waiting := range q.waiting {
			if len(waiting) > len(q.waiting[most])+1 { // without the +1 two could push out each other
				most = k
			}
		}
		if most == key {
			return []T{v}, false
		}
		last := len(q.waiting[most]) - 1
		lost = append(lost, q.waiting[most][last])
		q.waiting[most] = q.waiting[most][:last]
		q.total--
	}
	if len(q.waiting[key]) == 0 {
		q.order = append(q.order, key)
	}
	q.waiting[key] = append(q.waiting[key], v)
	q.total++
	start, q.running = !q.running, true
	return lost, start
}

// next takes the first of what waits for the key whose turn it is. Without
// anything, nobody takes what waits any more.
func (q *fair[T]) next() (v T, ok bool) {
	q.mu.Lock()
	m, name := q.meter, q.name
	v, ok = q.take()
	q.mu.Unlock()
	if ok {
		m.Waits(name, -1)
	}
	return v, ok
}

// take is next for a caller that holds q.mu.
func (q *fair[T]) take() (v T, ok bool) {
	if len(q.order) == 0 {
		q.running, q.order = false, nil
		return v, false
	}
	key := q.order[0]
	q.order = q.order[1:]
	v = q.waiting[key][0]
	if q.waiting[key] = q.waiting[key][1:]; len(q.waiting[key]) == 0 {
		delete(q.waiting, key)
	} else {
		q.order = append(q.order, key)
	}
	q.total--
	return v, true
}

// do does work that no request waits for, within its own time, and logs what
// comes of it. An error that it returns is the store's, or a panic.
func (p *Policy) do(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, backgroundTimeout)
	defer cancel()
	err := panics.Catch(func() error { return work(ctx) })
	if err == nil {
		return nil
	}
	p.logger().Error("grants: work in the background failed", "err", err)
	if !errors.As(err, new(*panics.Error)) {
		p.meter().StoreFailed(meter.Grants)
	}
	return err
}

// Wait returns when the work in the background is done: requests are filed, owners are
// notified, and all events have reached Audit. Owners are then also told what would be
// told together later. If Audit blocks, Wait waits ten seconds for it. A site calls it
// after its HTTP server and the relying party have shut down. A test calls it after a
// refused sign-in, before it looks for the request.
func (p *Policy) Wait() {
	defer p.post.hurry()()
	touching, touched := context.WithTimeout(context.Background(), backgroundTimeout)
	defer touched()
	if p.touching.Wait(touching) != nil {
		p.logger().Error("grants: some uses of grants were not recorded, since the store blocks")
	}
	p.under.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), backgroundTimeout)
	defer cancel()
	if p.trail.Wait(ctx) != nil || p.aside.Wait(ctx) != nil {
		p.logger().Error("grants: audit events lost, since Audit blocks")
	}
}
