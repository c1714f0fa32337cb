package tally

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// reports is what a Tally reports, as "last×n".
type reports struct {
	mu  sync.Mutex
	all []string
}

func (r *reports) add(last string, n int) (after func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, fmt.Sprint(last, "×", n))
	return func() {}
}

// take returns what was reported since it was called last.
func (r *reports) take() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.all = nil }()
	slices.Sort(r.all)
	return r.all
}

func bubble(t *testing.T, name string, f func(t *testing.T, c *Tally[string, string], r *reports)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &reports{}
			f(t, New[string](time.Minute, r.add), r)
		})
	})
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestTally(t *testing.T) {
	bubble(t, "LOG-7 counted and reported", func(t *testing.T, c *Tally[string, string], r *reports) {
		for i := range 1000 {
			if counted := c.Count("k", fmt.Sprint(i)); counted != (i > 0) {
				t.Fatalf("%d is counted: %v", i, counted)
			}
		}
		if c.Count("other", "x") {
			t.Error("the first of another kind is counted")
		}
		time.Sleep(time.Minute - time.Nanosecond)
		check(t, "before the end", r.take())
		time.Sleep(time.Nanosecond)
		check(t, "at the end", r.take(), "999×999")
		for range 2 {
			if !c.Count("k", "on") {
				t.Error("a flood that goes on begins anew")
			}
		}
		if c.Count("other", "y") {
			t.Error("what did not come again is still counted")
		}
		time.Sleep(time.Minute)
		check(t, "after the next", r.take(), "on×2")
		time.Sleep(time.Minute)
		check(t, "after it is over", r.take())
		if c.Count("k", "anew") {
			t.Error("a kind that was over is still counted")
		}
	})
	bubble(t, "LOG-7 Flush", func(t *testing.T, c *Tally[string, string], r *reports) {
		for range 3 {
			c.Count("a", "a")
			c.Count("b", "b")
		}
		c.Flush()
		check(t, "flushed", r.take(), "a×2", "b×2")
		if c.Count("a", "a") || !c.Count("a", "a") {
			t.Error("not counted anew")
		}
		time.Sleep(59 * time.Second) // the timers from before Flush end none of it early
		check(t, "before the end", r.take())
		time.Sleep(time.Hour)
		check(t, "at the end", r.take(), "a×1")
	})
	bubble(t, "LOG-7 Close", func(t *testing.T, c *Tally[string, string], r *reports) {
		c.Count("a", "1")
		c.Count("a", "2")
		c.Close()
		check(t, "closed", r.take(), "2×1")
		for range 2 {
			if c.Count("a", "3") {
				t.Error("counted by nobody who would report it")
			}
		}
		time.Sleep(time.Hour)
		check(t, "afterwards", r.take())
	})
}

// TestBound is LOG-8: a flood of kinds is held in bounded memory, and hides nothing.
func TestBound(t *testing.T) {
	bubble(t, "LOG-8 many kinds", func(t *testing.T, c *Tally[string, string], r *reports) {
		c.Count("held", "x")
		for i := range 2 * maxKinds {
			c.Count(fmt.Sprint(i), "x")
		}
		if len(c.kinds) > maxKinds {
			t.Errorf("%d kinds are held", len(c.kinds))
		}
		for range 2 {
			if c.Count("victim", "x") {
				t.Error("LOG-8: a kind that there is no room for is counted")
			}
		}
		if !c.Count("held", "y") {
			t.Error("LOG-8: a kind that is held is forgotten")
		}
		time.Sleep(time.Minute)
		check(t, "at the end", r.take(), "y×1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(c.kinds) != 0 {
			t.Errorf("%d kinds are held for ever", len(c.kinds))
		}
	})
}

// TestAtOnce: nothing is lost or counted twice while periods end.
func TestAtOnce(t *testing.T) {
	var sum atomic.Int64
	c := New[int](time.Microsecond, func(_ int, n int) func() { sum.Add(int64(n)); return func() {} })
	var group sync.WaitGroup
	const each = 2000
	for range 8 {
		group.Go(func() {
			for i := range each {
				if !c.Count(i%3, i) {
					sum.Add(1)
				}
			}
		})
	}
	group.Wait()
	c.Close()
	if sum.Load() != 8*each {
		t.Errorf("%d of %d", sum.Load(), 8*each)
	}
}
