package storetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
)

// sampleSessions are sessions with all that can be in one. They fit into a cookie.
func sampleSessions() map[string]*authagent.Session {
	samples := map[string]*authagent.Session{
		"a profile of its own": {Agent: newAgent(), Scenario: "FreshProfile", ProfileID: "p_1", Access: authagent.AccessNone},
		"everything":           sampleSession(),
		"full access":          {Agent: newAgent(), Scenario: "FullAccount", UserID: "u_1", Access: authagent.AccessFull},
		"one action": {
			Agent: newAgent(), Scenario: "FullAccount", UserID: "u_1", GrantID: "g_1", Actions: []string{"orders:create"},
		},
		"odd names": {
			Agent: authagent.Agent{Issuer: "https://as.example/a?b=c&d", ID: "\U0001F916 \u00e9 "}, Model: "<b>\t</b>&amp;",
			Scenario: "'); DROP TABLE x; --", UserID: `"\'%_?$1;,=`, ProfileID: " 007", Access: authagent.AccessRead,
			Actions: []string{"b:\u00fc", "a,b", `"x"`, "a|b;c", "A", "a"}, GrantID: "null",
		},
		"long names": {
			Agent: authagent.Agent{Issuer: "https://as.example", ID: strings.Repeat("a", 255)}, Model: strings.Repeat("\u00e9", 256),
			Scenario: "S", UserID: strings.Repeat("u", 255), ProfileID: strings.Repeat("p", 128), GrantID: strings.Repeat("g", 64),
			Access: authagent.AccessRead,
		},
	}
	for _, s := range samples {
		s.ID = rand.Text()
		s.StartedAt, s.ExpiresAt = sampleTimes()
		s.RedirectURL = "https://site.example/auth/agent/callback"
	}
	return samples
}

// sampleSession returns a session like no other.
func sampleSession() *authagent.Session {
	s := &authagent.Session{
		ID: rand.Text(), Agent: newAgent(), Model: "model-1", Scenario: "ContextualProfile", UserID: "u_" + rand.Text(),
		ProfileID: "p_" + rand.Text(), Access: authagent.AccessRead, Actions: []string{"orders:create", "orders:cancel"},
		GrantID: "g_" + rand.Text(), RedirectURL: "https://site.example/auth/agent/callback",
		SiteMark: rand.Text(), AgentMark: rand.Text(), UserMark: rand.Text(),
		GrantEra: math.MaxInt64, Epoch: "e_" + rand.Text(),
		Subject: "user " + rand.Text(), SID: "sid_" + rand.Text(), SubjectMark: rand.Text(), Scopes: []string{"shop:read", "orders:write"},
		ParentID: rand.Text(),
	}
	s.StartedAt, s.ExpiresAt = sampleTimes()
	return s
}

// sampleTimes are a nanosecond short of a full second, so that whoever rounds is
// late.
func sampleTimes() (started, expires time.Time) {
	started = time.Now().Truncate(time.Second).Add(-1)
	return started, started.Add(12 * time.Hour)
}

// differs says how a session is another than it was when it was started, if it is.
func differs(got, want *authagent.Session) string {
	if early := want.StartedAt.Sub(got.StartedAt); early < 0 || early >= time.Millisecond {
		return fmt.Sprintf("StartedAt %v, want %v or less than a millisecond before", got.StartedAt, want.StartedAt)
	}
	if early := want.ExpiresAt.Sub(got.ExpiresAt); early < 0 || early >= time.Second {
		return fmt.Sprintf("ExpiresAt %v, want %v or less than a second before", got.ExpiresAt, want.ExpiresAt)
	}
	same := *got
	same.StartedAt, same.ExpiresAt = want.StartedAt, want.ExpiresAt
	have, _ := json.Marshal(&same) // never an error, and no RemoteAddr
	need, _ := json.Marshal(want)
	if string(have) != string(need) {
		return fmt.Sprintf("%s, want %s", have, need)
	}
	return ""
}

func clone(s *authagent.Session) *authagent.Session {
	own := *s
	own.Actions = slices.Clone(s.Actions)
	return &own
}

// scribble changes all that can be changed in a session.
func scribble(s *authagent.Session) {
	if s == nil {
		return // which was reported
	}
	for i := range s.Actions {
		s.Actions[i] = "scribbled"
	}
	*s = authagent.Session{ID: "scribbled", UserID: "scribbled", Access: authagent.AccessFull}
}
