package action_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authagent-go/authagent/action"
)

// TestEndAtOnce_RES_9: of two who end an action at once, neither is told that it was recorded before
// it was.
func TestEndAtOnce_RES_9(t *testing.T) {
	down, goOn := errors.New("the store is down"), make(chan struct{})
	r := &action.Reservation{Record: func(context.Context, action.Outcome) (action.Outcome, error) {
		<-goOn
		return "", down
	}}
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- r.End(context.Background()) }()
	}
	select {
	case err := <-ended:
		t.Errorf("told before it was recorded: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if err := <-ended; !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
}
