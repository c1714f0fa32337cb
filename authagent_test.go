package authagent_test

import (
	"net/http"
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/testsite"
)

// TestSignIn is the main job, in each scenario.
func TestSignIn(t *testing.T) {
	for _, test := range []struct {
		name          string
		scenario      func(b *testsite.Site) authagent.Scenario
		access        authagent.Access
		user, profile bool
	}{
		{"FullAccount", func(b *testsite.Site) authagent.Scenario {
			return authagent.FullAccount(b.Users, authagent.InsecureTrustEmail)
		}, authagent.AccessFull, true, false},
		{"ContextualProfile", func(b *testsite.Site) authagent.Scenario {
			return authagent.ContextualProfile(b.Users, b.Profiles, authagent.InsecureTrustEmail)
		}, authagent.AccessRead, true, true},
		{"FreshProfile", func(b *testsite.Site) authagent.Scenario { return authagent.FreshProfile(b.Profiles) }, authagent.AccessNone, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testsite.New(t, func(b *testsite.Site, c *authagent.Config) { c.Scenario = test.scenario(b) })
			c := b.Browser()
			s := b.MustSignIn(c, b.Agent)
			if s.Agent != (authagent.Agent{Issuer: b.AS.URL, ID: "agent_alice"}) || s.Model != "model-1" || s.Scenario != test.name {
				t.Errorf("session %+v", s)
			}
			if s.Access != test.access || (s.UserID == b.AliceID) != test.user || (s.ProfileID != "") != test.profile {
				t.Errorf("session %+v", s)
			}
			if resp := b.Do(c, http.MethodPost, "/auth/agent/logout"); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("logout: status %d %s", resp.StatusCode, resp.Text)
			}
			if b.Me(c) != nil {
				t.Error("still signed in after logout")
			}
		})
	}
}
