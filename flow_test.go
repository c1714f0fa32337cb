package authagent_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent"
)

// TestSignIn is the main job, in each scenario.
func TestSignIn(t *testing.T) {
	for _, test := range []struct {
		name          string
		scenario      func(b *bench) authagent.Scenario
		access        authagent.Access
		user, profile bool
	}{
		{"FullAccount", func(b *bench) authagent.Scenario { return authagent.FullAccount(b.users, authagent.InsecureTrustEmail) }, authagent.AccessFull, true, false},
		{"ContextualProfile", func(b *bench) authagent.Scenario {
			return authagent.ContextualProfile(b.users, b.profiles, authagent.InsecureTrustEmail)
		}, authagent.AccessRead, true, true},
		{"FreshProfile", func(b *bench) authagent.Scenario { return authagent.FreshProfile(b.profiles) }, authagent.AccessNone, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(b *bench, c *authagent.Config) { c.Scenario = test.scenario(b) })
			c := b.browser()
			s := b.mustSignIn(c, b.agent)
			if s.Agent != (authagent.Agent{Issuer: b.as.URL, ID: "agent_alice"}) || s.Model != "model-1" || s.Scenario != test.name {
				t.Errorf("session %+v", s)
			}
			if s.Access != test.access || (s.UserID == b.aliceID) != test.user || (s.ProfileID != "") != test.profile {
				t.Errorf("session %+v", s)
			}
			if resp := b.do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("logout: status %d %s", resp.StatusCode, resp.body)
			}
			if b.me(c) != nil {
				t.Error("still signed in after logout")
			}
		})
	}
}
