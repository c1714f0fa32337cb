package grants_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/authagent-go/authagent/grants"
)

// TestPrivilegedFailsWhileFiling: where it is not known whether agents may act for an
// account, no request is filed, and the operator is told. What it says of an account that
// does not exist is of no interest to anybody.
func TestPrivilegedFailsWhileFiling(t *testing.T) {
	for user, logged := range map[string]bool{"alice": true, "": false} {
		var written buffer
		d := newDesk(t, func(p *grants.Policy) {
			p.Privileged = func(context.Context, string) (bool, error) { return false, errDown }
			p.Logger = slog.New(slog.NewTextHandler(&written, nil))
		})
		r := asks("agent_1", user)
		if user == "" {
			r.User = nil
		}
		if _, err := d.Link(context.Background(), r); err == nil {
			t.Errorf("%q: let in", user)
		}
		d.wait()
		if g := d.grant("agent_1", "alice"); g.ID != "" {
			t.Errorf("%q: filed %+v", user, g)
		}
		if got := strings.Contains(written.String(), errDown.Error()); got != logged {
			t.Errorf("%q: the log has %q", user, written.String())
		}
	}
}
