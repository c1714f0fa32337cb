package sink_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/internal/sink"
)

// TestAside_RTT_3: slow work is done in the background, at most 256 at once, and Wait waits for what is under way, also where there
// is always some.
func TestAside_RTT_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a sink.Aside
		var begun, done atomic.Int32
		work := func() {
			begun.Add(1)
			time.Sleep(10 * time.Millisecond)
			a.Took(10 * time.Millisecond)
			done.Add(1)
		}
		for range 8 {
			a.Do(work)
		}
		if n := done.Load(); n != 8 {
			t.Errorf("RTT-3: %d of 8 are done, before it is known that they are slow", n)
		}
		stop := make(chan struct{})
		began := time.Now()
		go func() { // from here on, two are always under way
			for range time.Tick(5 * time.Millisecond) {
				select {
				case <-stop:
					return
				default:
					a.Do(work)
				}
			}
		}()
		time.Sleep(99 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.Wait(ctx); err != nil || time.Since(began) > 110*time.Millisecond {
			t.Errorf("RTT-3: Wait: %v after %v", err, time.Since(began))
		}
		close(stop)
		time.Sleep(time.Second)
		begun.Store(0)
		for range 256 {
			a.Do(work)
		}
		start := time.Now()
		a.Do(work) // there is no room for it
		if took := time.Since(start); took != 10*time.Millisecond || begun.Load() != 257 {
			t.Errorf("RTT-3: one more takes %v, after %d", took, begun.Load())
		}
	})
}

// TestNotAhead_RTT_3: those who bring more than a slow function takes are slowed down, so that none is lost.
func TestNotAhead_RTT_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := sink.New(func(int) { time.Sleep(5 * time.Millisecond); n++ }, func(why string) { t.Fatal("RTT-3: one is lost: ", why) })
		for range 32 {
			go func() {
				for i := range 500 {
					s.Deliver(i)
					time.Sleep(time.Millisecond)
				}
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n != 32*500 {
			t.Errorf("RTT-3: %d were delivered", n)
		}
	})
}
