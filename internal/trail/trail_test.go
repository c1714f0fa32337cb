package trail

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/problem"
)

// TestDoorsApart_LOG_12: refusals of an agent that comes by both doors are not counted together, so that
// each event has the door of all that it stands for.
func TestDoorsApart_LOG_12(t *testing.T) {
	counts := make(map[audit.Door][]int)
	trail := New("https://as.example", slog.New(slog.DiscardHandler), func(_ context.Context, e audit.Event) {
		counts[e.Door] = append(counts[e.Door], e.Count)
	}, nil, time.Hour)
	refused := failure.As(failure.New(problem.AgentForbidden, "check access", "refused"))
	for i := range 10 {
		e := audit.Event{Name: audit.PermissionDenied, SessionID: "s", Agent: audit.Agent{Issuer: "https://as.example", ID: "agent_1"}}
		if i%5 == 0 {
			e.Door = audit.API
		}
		trail.Record(t.Context(), e, refused)
	}
	if err := trail.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for door, want := range map[audit.Door]int{audit.Browser: 8, audit.API: 2} {
		if got := counts[door]; len(got) != 2 || got[0] != 1 || got[1] != want-1 {
			t.Errorf("LOG-12: events of door %q count %d, want 1 and %d", door, got, want-1)
		}
	}
}
