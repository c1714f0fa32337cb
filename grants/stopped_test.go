package grants_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
)

// TestStopped: docs/operations.md says what an agent sees after it was stopped, row by row.
func TestStopped(t *testing.T) {
	tests := []struct {
		what        string // the row, as the document has it
		stop        func(s *shop, session string)
		next, again string // the answers to the next request, and to the next sign-in
		asked       int    // how often its owner is asked anew
		email       string // that the server has for the agent by then; alice's if empty
	}{
		{
			"its owner revoked it", func(s *shop, _ string) { s.decide(s.alice, "agent_1", grants.Revoked) },
			"401 `no_session`", "403 `approval_needed`", 0, "",
		},
		{
			"its owner suspended it", func(s *shop, _ string) { s.decide(s.alice, "agent_1", grants.Suspended) },
			"401 `no_session`", "403 `link_suspended`", 0, "",
		},
		{
			"its e-mail address changed at the server", func(*shop, string) {},
			"as before", "403 `link_suspended`", 0, "new@example.com",
		},
		{
			"its grant expired", func(s *shop, _ string) { time.Sleep(91 * 24 * time.Hour) },
			"401 `no_session`", "403 `approval_needed`", 1, "",
		},
		{
			"its owner ended one session", func(s *shop, session string) { s.instance("").rp.EndSession(context.Background(), session) },
			"401 `no_session`", "signed in", 0, "",
		},
		{
			"the account was disabled or deleted", func(s *shop, _ string) { s.users.Remove(s.alice) },
			"401 `no_session`", "403 `no_account`", 0, "",
		},
		{
			"you denied it by a rule", func(s *shop, _ string) {
				s.setRules(grants.Rules{DenyAgents: []authagent.Agent{s.named("agent_1")}})
			},
			"401 `no_session`", "403 `agent_blocked`", 0, "",
		},
		{
			"you paused all agents", func(s *shop, _ string) { s.setRules(grants.Rules{Paused: true}) },
			"503 `agents_paused`", "503 `agents_paused`", 0, "",
		},
	}
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		row := "| " + test.what + " | " + test.next
		if _, rest, found := strings.Cut(string(document), row); !found {
			t.Errorf("docs/operations.md lacks the row %q", row)
		} else if line, _, _ := strings.Cut(rest, "\n"); !strings.Contains(line, "| "+test.again) || strings.Contains(line, "asked again") != (test.asked > 0) {
			t.Errorf("docs/operations.md goes on after %q with %q, want %q", row, line, test.again)
		}
		bubble(t, test.what, func(t *testing.T) {
			s := newShop(t, options{})
			_, c := s.approved("agent_1")
			s.want(c, "GET", "/me", 200, "")
			session := s.overview(s.alice).Sessions[0].SessionID
			s.told()
			test.stop(s, session)
			agent := s.agent("agent_1", cmp.Or(test.email, "alice@example.com"))
			if got, want := outcome(s.get(c, "/me")), strings.Replace(test.next, "as before", "200", 1); got != want {
				t.Errorf("its next request: %s, want %s", got, want)
			}
			resp := s.get(s.browser(), "/auth/agent/login")
			if resp.StatusCode == http.StatusSeeOther {
				resp = s.signIn(s.browser(), agent)
			}
			if got, want := outcome(resp), strings.Replace(test.again, "signed in", "303", 1); got != want {
				t.Errorf("when it signs in again: %s, want %s", got, want)
			}
			asked := 0
			for _, notice := range s.told() {
				if strings.HasPrefix(notice, "link_pending") {
					asked++
				}
			}
			if asked != test.asked {
				t.Errorf("its owner is asked %d times, want %d", asked, test.asked)
			}
		})
	}
}

// outcome is an answer as the document writes it.
func outcome(r *response) string {
	if r.reason() == "" {
		return fmt.Sprint(r.StatusCode)
	}
	return fmt.Sprintf("%d `%s`", r.StatusCode, string(r.reason()))
}
