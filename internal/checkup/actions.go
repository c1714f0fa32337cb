package checkup

import (
	"fmt"
	"log/slog"

	"github.com/authagent-go/authagent/internal/wiring"
)

// RunActions returns the actions that routes are guarded by and that do not fit what
// owners can allow.
func RunActions(actions *wiring.Actions) (found []Finding) {
	actions.Each(func(a *wiring.Action) {
		if err := a.Err(); err != nil {
			found = append(found, Finding{
				Setting: a.Guard, Severity: slog.LevelWarn, Problem: fmt.Sprintf("%q: %v.", a.Name, err),
				Remedy: "Correct the name at the route, or in the settings of what asks the owner.",
			})
		}
	})
	return found
}
