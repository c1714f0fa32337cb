package once_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/once"
)

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, calls := once.New[int](time.Minute), 0
		slow := func() (int, bool) { calls++; time.Sleep(time.Second); return calls, true }
		var wg sync.WaitGroup
		var outcomes, agains int
		var mu sync.Mutex
		for range 5 {
			wg.Go(func() {
				outcome, again, err := g.Do(t.Context(), "a", slow)
				mu.Lock()
				defer mu.Unlock()
				outcomes += outcome
				if again {
					agains++
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if calls != 1 || outcomes != 5 || agains != 4 {
			t.Errorf("called %d times; outcomes %d, of which %d again", calls, outcomes, agains)
		}
		if outcome, again, _ := g.Do(t.Context(), "b", slow); outcome != 2 || again {
			t.Error("another key: not done for itself")
		}
		time.Sleep(58 * time.Second)
		if _, again, _ := g.Do(t.Context(), "a", slow); !again || calls != 2 {
			t.Error("forgotten before its time")
		}
		time.Sleep(2 * time.Second)
		if _, again, _ := g.Do(t.Context(), "a", slow); again || calls != 3 {
			t.Error("kept after its time")
		}
	})
}

// TestDoesNotLast: an outcome that is nobody else's is done again, also for who has waited.
func TestDoesNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, calls := once.New[int](time.Minute), 0
		f := func() (int, bool) { calls++; time.Sleep(time.Second); return calls, calls > 1 }
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { g.Do(t.Context(), "a", f) })
		}
		wg.Wait()
		if calls != 2 {
			t.Errorf("called %d times", calls)
		}
	})
}

// TestWaitEnds: who has lost patience gets an error, and the work goes on.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := once.New[int](time.Minute)
		go g.Do(t.Context(), "a", func() (int, bool) { time.Sleep(time.Second); return 7, true })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := g.Do(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if outcome, again, err := g.Do(t.Context(), "a", nil); outcome != 7 || !again || err != nil {
			t.Error(outcome, again, err)
		}
	})
}

// TestPanic: a panic leaves nobody waiting.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := once.New[int](time.Minute)
		func() {
			defer func() { recover() }()
			g.Do(t.Context(), "a", func() (int, bool) { panic("no") })
		}()
		if outcome, again, err := g.Do(t.Context(), "a", func() (int, bool) { return 1, false }); outcome != 1 || again || err != nil {
			t.Error(outcome, again, err)
		}
	})
}

// TestForgotten: what is over counts no more, and what is under way is never forgotten,
// however much of it there is and however long it takes.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, calls := once.New[int](time.Minute), 0
		again := func(key string) bool {
			_, again, err := g.Do(t.Context(), key, func() (int, bool) { calls++; return calls, true })
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
		free := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { g.Do(t.Context(), "slow", func() (int, bool) { <-free; return 7, true }) })
		synctest.Wait()
		again("a")
		time.Sleep(30 * time.Second)
		again("b")
		time.Sleep(30 * time.Second)
		if again("a") || !again("b") {
			t.Error("a counts, or b does not")
		}
		time.Sleep(time.Hour)
		again("sweeps")
		wg.Go(func() {
			if outcome, again, err := g.Do(t.Context(), "slow", func() (int, bool) { return 8, true }); outcome != 7 || !again || err != nil {
				t.Errorf("what was under way was begun anew: %d, %v, %v", outcome, again, err)
			}
		})
		synctest.Wait()
		close(free)
		wg.Wait()
	})
}

// TestBounded: where too much is kept, further outcomes are not, and nobody waits for them.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1 << 14
		g := once.New[int](time.Minute)
		again := func(i int) bool {
			_, again, err := g.Do(t.Context(), fmt.Sprint(i), func() (int, bool) { return i, true })
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
		for i := range most + 1 {
			again(i)
		}
		if !again(0) || !again(most-1) || again(most) {
			t.Error("one of those that were first is not kept, or one more is")
		}
		time.Sleep(2 * time.Minute)
		if again(most) || !again(most) {
			t.Error("there is no room again")
		}
	})
}
