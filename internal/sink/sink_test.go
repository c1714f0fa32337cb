package sink_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/sink"
)

// TestInOrder: a quick function has each value before Deliver returns.
func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a busy machine must not use the patience up
		var got []int
		s := sink.New(func(n int) { got = append(got, n) }, func(why string) { t.Error(why) })
		for n := range 100 {
			s.Deliver(n)
			if len(got) != n+1 || got[n] != n {
				t.Fatalf("after %d: %v", n, got)
			}
		}
	})
}

// TestManyAtOnce: one call at a time, every value once.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		var got []int
		s := sink.New(func(n int) {
			most.Store(max(most.Load(), running.Add(1)))
			got = append(got, n)
			running.Add(-1)
		}, func(why string) { t.Error(why) })
		var group sync.WaitGroup
		for n := range 500 {
			group.Go(func() { s.Deliver(n) })
		}
		group.Wait()
		s.Deliver(500) // comes last, so all before it are there
		slices.Sort(got)
		if len(got) != 501 || got[0] != 0 || got[500] != 500 || most.Load() != 1 {
			t.Errorf("%d values, %d at once", len(got), most.Load())
		}
	})
}

// TestBlocked is LOG-3: Deliver waits a little, then not at all, and a bounded
// number of values waits; when the function goes on, all of them arrive in order.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		var got []int
		lost := 0
		s := sink.New(func(n int) {
			<-block
			got = append(got, n)
		}, func(string) { lost++ })
		start := time.Now()
		s.Deliver(0)
		if took := time.Since(start); took > time.Second/2 {
			t.Errorf("LOG-3: the first Deliver takes %v", took)
		}
		start = time.Now()
		for n := 1; n <= 5000; n++ {
			s.Deliver(n)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("LOG-3: 5000 more take %v", took)
		}
		if lost == 0 || lost > 1000 {
			t.Errorf("LOG-3: %d lost", lost)
		}
		close(block)
		synctest.Wait()
		if len(got)+lost != 5001 || !slices.IsSorted(got) {
			t.Errorf("LOG-3: %d delivered, %d lost", len(got), lost)
		}
		s.Deliver(9999)
		if got[len(got)-1] != 9999 {
			t.Error("LOG-3: Deliver does not wait again afterwards")
		}
	})
}

// TestSlow_RTT_3: nobody waits for a function that writes to a disk or a network, once it is known, and one that was held up now
// and then is waited for.
func TestSlow_RTT_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := time.Millisecond
		var got []int
		s := sink.New(func(n int) { time.Sleep(takes); got = append(got, n) }, func(why string) { t.Error(why) })
		deliver := func(n int) time.Duration {
			start := time.Now()
			s.Deliver(n)
			return time.Since(start)
		}
		for n := range 8 {
			if took := deliver(n); took != time.Millisecond {
				t.Errorf("RTT-3: value %d took %v", n, took)
			}
		}
		for n := 8; n < 100; n++ {
			if took := deliver(n); took != 0 {
				t.Errorf("RTT-3: value %d of a slow function took %v", n, took)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got) != 100 || !slices.IsSorted(got) {
			t.Errorf("RTT-3: delivered %v", got)
		}
		takes = 10 * time.Microsecond
		deliver(100) // by which it is found out
		time.Sleep(time.Second)
		synctest.Wait()
		for n := 101; n < 110; n++ {
			if takes = 10 * time.Microsecond; n%3 != 0 {
				takes = time.Millisecond
			}
			if took := deliver(n); took != takes {
				t.Errorf("RTT-3: value %d of a quick function took %v, want %v", n, took, takes)
			}
		}
	})
}

// TestPanic is LOG-3.
func TestPanic(t *testing.T) {
	var got []int
	var lost []string
	s := sink.New(func(n int) {
		if n == 1 {
			panic("own")
		}
		got = append(got, n)
	}, func(why string) { lost = append(lost, why) })
	for n := range 3 {
		s.Deliver(n)
	}
	if !slices.Equal(got, []int{0, 2}) || len(lost) != 1 {
		t.Errorf("LOG-3: delivered %v, lost %q", got, lost)
	}
}

// TestWait: it returns when everything has been delivered, and not before.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := sink.New(func(int) { time.Sleep(time.Minute); n++ }, func(why string) { t.Error(why) })
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("with nothing to deliver: %v", err)
		}
		for i := range 3 {
			s.Deliver(i)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ctx); err != context.DeadlineExceeded {
			t.Errorf("err %v", err)
		}
		if err := s.Wait(t.Context()); err != nil || n != 3 {
			t.Errorf("err %v after %d values", err, n)
		}
	})
}
