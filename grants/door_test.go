package grants_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/messages"
)

// comeBy has the agent of a grant be seen by each door. The session IDs are "by browser", "by api" and "by link".
func (s *site) comeBy(t *testing.T, g grants.Grant) {
	t.Helper()
	for id, door := range map[string]audit.Door{"by browser": audit.Browser, "by api": audit.API, "by link": audit.Link} {
		session := &authagent.Session{
			ID: id, Door: door, GrantID: g.ID, GrantEra: g.Era, Agent: g.Agent, UserID: g.UserID, Scenario: g.Scenario, RemoteAddr: "192.0.2.1",
			StartedAt: time.Now().Add(-time.Minute), ExpiresAt: time.Now().Add(time.Hour),
		}
		if err := s.owners.CheckSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDoorIsShown_OWN_20: the page says of each session by which door the agent came, and of the API
// nothing that holds for browsers alone.
func TestDoorIsShown_OWN_20(t *testing.T) {
	s := newSite(t, func(_ *site, c *authagent.Config) {
		c.Languages = []*messages.Language{messages.English(), messages.German()}
	})
	s.comeBy(t, s.grant(nil))
	alice := s.human(s.alice)
	for _, test := range []struct{ language, session, want, not string }{
		{"en", "by browser", "signed in 1 minute ago with a browser, from 192.0.2.1 End the sign-in from 192.0.2.1", "API"},
		{"en", "by api", "began 1 minute ago through the site’s API (for programs), from 192.0.2.1 End the access through the API from 192.0.2.1", "sign"},
		{
			"en", "by link",
			"began 1 minute ago with a browser, continued from the site’s API, from 192.0.2.1 End the access with a browser, continued from the API, from 192.0.2.1", "sign",
		},
		{
			"de", "by link", "begonnen vor 1 Minute mit einem Browser, fortgesetzt von der API der Website, von 192.0.2.1 " +
				"Beenden (den Zugang mit einem Browser, fortgesetzt von der API, von 192.0.2.1)", "meld",
		},
		{"de", "by browser", "angemeldet vor 1 Minute mit einem Browser, von 192.0.2.1 Beenden (die Anmeldung von 192.0.2.1)", "API"},
		{
			"de", "by api",
			"begonnen vor 1 Minute über die API der Website (für Programme), von 192.0.2.1 Beenden (den Zugang über die API von 192.0.2.1)", "meld",
		},
	} {
		page := s.do(alice, "GET", agents+"agents/g1", "", "Accept", htmlOnly, "Accept-Language", test.language).body
		_, row, _ := strings.Cut(page, `name="session" value="`+test.session+`"`)
		row, _, _ = strings.Cut(row, "</li>")
		text := strings.Join(strings.Fields(tag.ReplaceAllString(strings.ReplaceAll(row, "<br>", " "), "")), " ")
		if !strings.Contains(text, test.want) || strings.Contains(text, test.not) {
			t.Errorf("OWN-20: session %s in %s: %s", test.session, test.language, text)
		}
	}
}

// TestDoorInJSON_OWN_20: JSON says of each session by which door the agent came, and so does the event
// when its owner ends it.
func TestDoorInJSON_OWN_20(t *testing.T) {
	s := newSite(t)
	ended := make(map[string]audit.Door) // by session
	s.owners.Audit = func(_ context.Context, e audit.Event) {
		if e.Name == audit.SessionEnded {
			ended[e.SessionID] = e.Door
		}
	}
	s.comeBy(t, s.grant(nil))
	alice := s.human(s.alice)
	var o struct {
		Sessions []struct{ Session, Door string }
	}
	if err := json.Unmarshal([]byte(s.do(alice, "GET", agents, "").body), &o); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]audit.Door)
	for _, session := range o.Sessions {
		shown[session.Session] = audit.Door(session.Door)
		s.do(alice, "POST", agents+"end-session", form("session", session.Session))
	}
	want := map[string]audit.Door{"by browser": audit.Browser, "by api": audit.API, "by link": audit.Link}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("OWN-20: JSON (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, ended); diff != "" {
		t.Errorf("OWN-20: events (-want +got):\n%s", diff)
	}
}
