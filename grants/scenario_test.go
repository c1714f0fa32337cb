package grants_test

import (
	"testing"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/memstore"
)

// TestFullAccessByScenario: full access is offered where the scenario of the grant gives
// it, and what is known by a scenario's name is what that scenario does.
func TestFullAccessByScenario(t *testing.T) {
	users, profiles, link := &memstore.Users{}, &memstore.Profiles{}, authagent.InsecureTrustEmail
	for name, s := range map[string]authagent.Scenario{
		scenario.FullAccount:       authagent.FullAccount(users, link),
		scenario.ContextualProfile: authagent.ContextualProfile(users, profiles, link),
	} {
		if s.Name() != name {
			t.Errorf("scenario %s is known as %s", s.Name(), name)
		}
		session := &authagent.Session{Access: authagent.AccessFull}
		if err := s.CheckSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		a := grants.PageGrant{Grant: grants.Grant{Scenario: s.Name()}}
		if got, want := a.MayHaveFull(), session.Access == authagent.AccessFull; got != want {
			t.Errorf("%s: full access is offered: %v, given: %v", name, got, want)
		}
	}
	if a := (grants.PageGrant{Grant: grants.Grant{Scenario: "a site's own"}}); !a.MayHaveFull() {
		t.Error("a scenario of the site's own is taken for one that gives no full access")
	}
}
