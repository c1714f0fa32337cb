package requirements_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/testsite"
	"github.com/authagent-go/authagent/problem"
)

// TestAttribution is LOG-3: who did what for whom stands in the log under names
// that stay, and each thing stands there once.
func TestAttribution(t *testing.T) {
	var out strings.Builder
	for _, scenario := range scenarios {
		var log testsite.Log
		b := newScenarioBench(t, func(b *bench) authagent.Scenario {
			return scenario.make(b.Users, b.Profiles, linkAs{UserID: b.AliceID, Access: authagent.AccessRead, Actions: []string{"a:do"}, GrantID: "grant_1"})
		}, func(_ *bench, c *authagent.Config) {
			c.ClientAddr = func(*http.Request) string { return "203.0.113.7:4711" }
			c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		})
		mux := b.Mux("")
		said := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			b.Config.Logger.Info("the site's own line, "+s.Byline("Alice"), "who", s)
			fmt.Fprintln(w, s.May("a:do"), s.May("b:do"))
		})
		mux.Handle("POST /a/{id}", b.RP.RequireAction("a:do")(said))
		mux.Handle("POST /b/{id}", b.RP.RequireAction("b:do")(said))
		mux.Handle("POST /pay", b.RP.RequireApproval("c:do", approverFunc(func(action.Request) (string, error) { return "/look", problem.ApprovalPending }))(said))
		c := b.Browser()
		if resp := b.SignIn(c, b.Agent); resp.StatusCode != 303 {
			t.Fatalf("sign-in: %d %s", resp.StatusCode, resp.Text)
		}
		for _, path := range []string{"/a/1", "/b/1", "/pay"} {
			b.Send(c, "POST", path, "x")
		}
		b.Do(c, "POST", "/auth/agent/logout")
		fmt.Fprintf(&out, "# %s\n\n%s\n", scenario.name, strings.ReplaceAll(randomIDs.ReplaceAllString(log.String(), `"$1":"…"`), b.AS.URL, "AS"))
		// The audit trail has the same.
		count := make(map[audit.Name]int)
		for _, e := range b.Events.All() {
			count[e.Name]++
			if e.Name == audit.LoginStarted {
				continue
			}
			if e.Agent.ID != b.Agent.ID || e.Scenario != scenario.name || (e.UserID == b.AliceID) != (scenario.name != "FreshProfile") || e.Route == "" ||
				e.Method == "" || e.Outcome == "" || e.SessionID == "" || e.RemoteAddr == "" {
				t.Errorf("LOG-3 incomplete: %+v", e)
			}
		}
		want := map[audit.Name]int{
			audit.LoginStarted: 1, audit.LoginSucceeded: 1, audit.ActionPerformed: 1, audit.PermissionDenied: 1,
			audit.ActionPending: 1, audit.SessionEnded: 1,
		}
		if scenario.name == "FreshProfile" { // may do nothing, and nobody can be asked
			delete(want, audit.ActionPerformed)
			delete(want, audit.ActionPending)
			want[audit.PermissionDenied] = 3
		}
		if diff := cmp.Diff(want, count); diff != "" {
			t.Errorf("LOG-3 %s (-want +got):\n%s", scenario.name, diff)
		}
	}
	golden(t, "attribution.txt", out.String())
}

// TestByline: both names, where there are both.
func TestByline(t *testing.T) {
	agent := authagent.Agent{Issuer: "https://as.example", ID: "agent_1"}
	for _, test := range []struct {
		session authagent.Session
		owner   string
		want    string
	}{
		{authagent.Session{Agent: agent, UserID: "u"}, "Alice", "by agent_1 for Alice"},
		{authagent.Session{Agent: agent, UserID: "u"}, "", "by agent_1"},
		{authagent.Session{Agent: agent}, "Alice", "by agent_1"},
	} {
		if got := test.session.Byline(test.owner); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
