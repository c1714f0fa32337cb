package site

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/authagent-go/authagent/problem"
)

// TestHasherIsBounded: a flood of passwords takes the memory of a few at once, and
// who would wait behind too many is told to come again.
func TestHasherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, block, running := newHasher(), make(chan struct{}), make(chan int, 1000)
		for range cap(h.queue) {
			go h.do(context.Background(), func() error {
				running <- 1
				<-block
				return nil
			})
		}
		synctest.Wait()
		if len(running) != cap(h.turn) {
			t.Errorf("%d are hashed at once, want %d", len(running), cap(h.turn))
		}
		if err := h.do(context.Background(), func() error { return nil }); !errors.Is(err, problem.Reason("overloaded")) {
			t.Errorf("one too many: %v", err)
		}
		close(block)
		synctest.Wait()
		if err := h.do(context.Background(), func() error { return nil }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
