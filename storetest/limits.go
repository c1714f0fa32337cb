package storetest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent/limits"
)

// Limits checks a limits.Store. It takes a few seconds, since the time is the store's.
func Limits(t *testing.T, open func() limits.Store) {
	start := func(t *testing.T) *counting { return &counting{t, open()} }
	t.Run("LIM-1 as many as the rate at once", func(t *testing.T) { start(t).atOnce() })
	t.Run("LIM-1 again after the wait", func(t *testing.T) { start(t).later() })
	t.Run("LIM-1 an hour is no minute", func(t *testing.T) { start(t).rates() })
	t.Run("LIM-2 all or none", func(t *testing.T) { start(t).allOrNone() })
	t.Run("LIM-3 many at once", func(t *testing.T) { start(t).manyAtOnce() })
	t.Run("LIM-3 many pairs at once", func(t *testing.T) { start(t).pairsAtOnce() })
	t.Run("LIM-4 given back", func(t *testing.T) { start(t).returned() })
	for _, a := range alike {
		random := rand.Text()
		t.Run("LIM-5 not another's: "+a.what, func(t *testing.T) { start(t).apart(fmt.Sprintf(a.one, random), fmt.Sprintf(a.other, random)) })
	}
	t.Run("LIM-5 long keys", func(t *testing.T) {
		long := strings.Repeat("x", 5000) + rand.Text()
		start(t).apart(long+"y", long+"z")
	})
	t.Run("LIM-5 a key of any text", func(t *testing.T) {
		random := rand.Text()
		start(t).apart(random+" \x00\xff'", random+" \x00\xfe'")
	})
}

// counting is one subtest.
type counting struct {
	*testing.T
	store limits.Store
}

// hourly returns a budget of n an hour, which does not come back while a test runs.
func hourly(key string, n int) limits.Budget {
	return limits.Budget{Key: key, Rate: limits.Rate{N: n, Per: time.Hour}}
}

// take returns how long to wait, and that it took if that is 0.
func (c *counting) take(budgets ...limits.Budget) time.Duration {
	c.Helper()
	wait, err := c.store.Take(c.Context(), budgets...)
	if err != nil {
		c.Errorf("Take(%.100q): %v", fmt.Sprint(budgets), err)
	}
	return wait
}

// passes takes until it has to wait, at most so many times more than it should, and wants n to pass.
func (c *counting) passes(n int, budgets ...limits.Budget) {
	c.Helper()
	passed := 0
	for passed <= n && c.take(budgets...) == 0 {
		passed++
	}
	if passed != n {
		c.Errorf("%d events pass, want %d", passed, n)
	}
}

func (c *counting) atOnce() {
	for _, n := range []int{1, 2, 7} {
		b := hourly(rand.Text(), n)
		c.passes(n, b)
		every := time.Hour / time.Duration(n)
		if wait := c.take(b); wait > every || wait < every-time.Minute {
			c.Errorf("after %d of %d: wait %v, want %v", n, n, wait, every)
		}
	}
}

// later: what was refused took nothing, one passes after the wait, and no budget grows beyond its rate.
func (c *counting) later() {
	b := limits.Budget{Key: rand.Text(), Rate: limits.Rate{N: 3, Per: 1500 * time.Millisecond}}
	var wait time.Duration
	for range 10 {
		wait = c.take(b)
	}
	if wait <= 0 || wait > 500*time.Millisecond {
		c.Errorf("wait %v, want up to 500ms", wait)
	}
	time.Sleep(min(wait, time.Second) + 5*time.Millisecond)
	if again := c.take(b); again != 0 {
		c.Errorf("after the wait of %v: wait %v", wait, again)
	}
	time.Sleep(3500 * time.Millisecond)
	b.Rate.Per = 4500 * time.Millisecond // a slow store has longer for what is to pass at once
	c.passes(3, b)
}

// rates: the rate is the budget's, and a key that was counted by a longer period waits no longer than the shorter.
func (c *counting) rates() {
	key := rand.Text()
	c.passes(2, hourly(key, 2))
	short := limits.Budget{Key: key, Rate: limits.Rate{N: 2, Per: time.Minute}}
	if wait := c.take(short); wait < 0 || wait > 30*time.Second {
		c.Errorf("wait %v, want up to 30s", wait)
	}
}

func (c *counting) allOrNone() {
	for _, first := range []bool{true, false} {
		little, much := hourly(rand.Text(), 1), hourly(rand.Text(), 3)
		both := []limits.Budget{much, little}
		if first {
			both = []limits.Budget{little, much}
		}
		c.passes(1, both...)
		if wait := c.take(both...); wait < 59*time.Minute || wait > time.Hour {
			c.Errorf("wait %v, want that of the longest", wait)
		}
		c.passes(2, much) // one was taken with the other
	}
	three := []limits.Budget{hourly(rand.Text(), 2), hourly(rand.Text(), 3), hourly(rand.Text(), 4)}
	c.passes(2, three...)
	c.passes(1, three[1])
	c.passes(2, three[2])
}

func (c *counting) manyAtOnce() {
	b := hourly(rand.Text(), 30)
	c.wantPassed(30, together(func(int) time.Duration { return c.take(b) }))
	c.passes(0, b)
}

// pairsAtOnce: many share one budget, and each has one beside. They come in either order.
func (c *counting) pairsAtOnce() {
	shared, own := hourly(rand.Text(), 30), make([]limits.Budget, 4)
	for i := range own {
		own[i] = hourly(rand.Text(), 20)
	}
	c.wantPassed(30, together(func(i int) time.Duration {
		if i%2 == 0 {
			return c.take(shared, own[i%len(own)])
		}
		return c.take(own[i%len(own)], shared)
	}))
	left := 0
	for _, b := range own {
		for left <= atOnce && c.take(b) == 0 {
			left++
		}
	}
	if left != len(own)*20-30 {
		c.Errorf("%d events are left of the budgets beside, want %d", left, len(own)*20-30)
	}
}

func (c *counting) wantPassed(n int, waits []time.Duration) {
	c.Helper()
	passed := 0
	for _, wait := range waits {
		if wait == 0 {
			passed++
		}
	}
	if passed != n {
		c.Errorf("%d of %d at once pass, want %d", passed, len(waits), n)
	}
}

func (c *counting) returned() {
	b, other := hourly(rand.Text(), 2), hourly(rand.Text(), 2)
	giveBack := func(budgets ...limits.Budget) {
		c.Helper()
		if err := c.store.Return(c.Context(), budgets...); err != nil {
			c.Errorf("Return: %v", err)
		}
	}
	giveBack(b) // of which nothing was taken
	c.passes(2, b)
	giveBack(b)
	c.passes(1, b)
	for range 5 { // more than were taken
		giveBack(b, other)
	}
	c.passes(2, b, other)
}

// apart: two keys have a budget each.
func (c *counting) apart(one, other string) {
	c.passes(1, hourly(one, 1))
	c.passes(1, hourly(other, 1))
	c.passes(0, hourly(one, 1))
}
