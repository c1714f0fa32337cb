package trail

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/metrics"
	"github.com/authagent-go/authagent/problem"
)

// A blocking recorder blocks who first says that an event waits, once it is armed.
type blocking struct {
	mu    sync.Mutex
	armed bool
	goOn  chan struct{}
}

func (b *blocking) Record(n metrics.Name, v float64, _ metrics.Labels) {
	b.mu.Lock()
	blocks := b.armed && n == metrics.QueueWaiting && v > 0
	b.armed = b.armed && !blocks
	b.mu.Unlock()
	if blocks {
		<-b.goOn
	}
}

// TestNoLockHeld_MET_13: a recorder that blocks while refusals are passed on, at the end of a minute or by Flush, does not hold up the
// refusal of another agent.
func TestNoLockHeld_MET_13(t *testing.T) {
	for name, pass := range map[string]func(*Trail){
		"Flush": func(trail *Trail) { go trail.Flush() },
		"timer": func(*Trail) { time.Sleep(time.Minute + time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blocking{goOn: make(chan struct{})}
				trail := New("https://as.example", slog.New(slog.DiscardHandler), func(context.Context, audit.Event) {}, meter.New(b, func(any, []byte) {}), time.Hour)
				refused := failure.As(failure.New(problem.AgentForbidden, "check access", "refused"))
				e := audit.Event{Name: audit.PermissionDenied, SessionID: "s", Agent: audit.Agent{Issuer: "https://as.example", ID: "agent_1"}}
				for range 3 {
					trail.Record(t.Context(), e, refused)
				}
				synctest.Wait()
				b.mu.Lock()
				b.armed = true
				b.mu.Unlock()
				pass(trail)
				synctest.Wait()
				b.mu.Lock()
				armed := b.armed
				b.mu.Unlock()
				if armed {
					t.Fatal("nothing was passed on, so the test proves nothing")
				}
				e.Agent.ID = "agent_2"
				recorded := make(chan struct{})
				go func() {
					for range 2 {
						trail.Record(t.Context(), e, refused)
					}
					close(recorded)
				}()
				select {
				case <-recorded:
				case <-time.After(time.Second):
					t.Error("MET-13: a refusal waits for a recorder that blocks in the background")
				}
				close(b.goOn)
				<-recorded
				if err := trail.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
