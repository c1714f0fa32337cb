package storetest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// Profiles checks a ProfileStore.
func Profiles(t *testing.T, open func() authagent.ProfileStore) {
	get := func(t *testing.T, s authagent.ProfileStore, p authagent.Profile) authagent.Profile {
		t.Helper()
		got, err := s.FindOrCreateProfile(t.Context(), p)
		if err != nil {
			t.Errorf("FindOrCreateProfile(%+v): %v", p, err)
		}
		if got.ID == "" {
			t.Errorf("FindOrCreateProfile(%+v) returned no ID", p)
		}
		return got
	}
	t.Run("created as asked for", func(t *testing.T) {
		s := open()
		for _, p := range []authagent.Profile{
			{Agent: newAgent(), Scenario: "FreshProfile"},
			{Agent: newAgent(), Scenario: "ContextualProfile", UserID: "user 1", Model: "model-1", Name: "Alice"},
			{Agent: newAgent(), Scenario: "'); DROP TABLE x; --", UserID: `"\'%_?$1`, Model: "\U0001F916 \u00e9 ", Name: "<b>\t</b>"},
			{Agent: newAgent(), Scenario: strings.Repeat("s", 255), UserID: strings.Repeat("u", 255), Model: strings.Repeat("\u00e9", 256), Name: strings.Repeat("\U0001F916", 256)},
		} {
			got := get(t, s, p)
			p.ID = got.ID
			if got != p {
				t.Errorf("created %+v, want %+v", got, p)
			}
		}
	})
	t.Run("the ID is the store's choice", func(t *testing.T) {
		s := open()
		if got := get(t, s, authagent.Profile{ID: "mine", Agent: newAgent(), Scenario: "S"}); got.ID == "mine" {
			t.Error("the store took the ID that it was given")
		}
	})
	t.Run("found as it is", func(t *testing.T) {
		s := open()
		first := get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: "user", Model: "m", Name: "n"})
		if got := get(t, s, authagent.Profile{ID: "mine", Agent: first.Agent, Scenario: "S", UserID: "other", Model: "m2", Name: "n2"}); got != first {
			t.Errorf("an existing profile came back as %+v, want %+v", got, first)
		}
	})
	t.Run("one for each scenario", func(t *testing.T) {
		s, agent := open(), newAgent()
		if get(t, s, authagent.Profile{Agent: agent, Scenario: "S"}).ID == get(t, s, authagent.Profile{Agent: agent, Scenario: "s"}).ID {
			t.Error("two scenarios share a profile")
		}
	})
	for what, pair := range agents() {
		t.Run("ID-3 LNK-12 "+what, func(t *testing.T) {
			s := open()
			for range 2 { // created, then found
				one := get(t, s, authagent.Profile{Agent: pair[0], Scenario: "S"})
				other := get(t, s, authagent.Profile{Agent: pair[1], Scenario: "S"})
				if one.ID == other.ID || one.Agent != pair[0] || other.Agent != pair[1] {
					t.Errorf("%+v and %+v got profiles %+v and %+v", pair[0], pair[1], one, other)
				}
			}
		})
	}
	t.Run("LNK-31 LNK-34 forgotten", func(t *testing.T) { forgottenProfiles(t, open(), get) })
	t.Run("LNK-13 many first sign-ins at once", func(t *testing.T) {
		s, agent := open(), newAgent()
		all := together(func(i int) authagent.Profile {
			return get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: fmt.Sprint("user_", i)})
		})
		for _, p := range all {
			if p != all[0] {
				t.Fatalf("answers differ: %+v and %+v", all[0], p)
			}
		}
	})
}

// forgottenProfiles checks a ProfileStore that is a Forgetter.
func forgottenProfiles(t *testing.T, s authagent.ProfileStore, get func(*testing.T, authagent.ProfileStore, authagent.Profile) authagent.Profile) {
	f, ok := s.(authagent.Forgetter)
	if !ok {
		t.Skip("the store is no Forgetter")
	}
	for name, forget := range map[string]func(agent authagent.Agent, userID string){
		"agent": func(agent authagent.Agent, _ string) { forgetAgent(t, f, agent) },
		"user":  func(_ authagent.Agent, userID string) { forgetUser(t, f, userID) },
	} {
		agent, user := newAgent(), "User_"+rand.Text()
		linked := get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: user})
		stay := []authagent.Profile{
			get(t, s, authagent.Profile{Agent: agent, Scenario: "FreshProfile"}),
			get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: strings.ToLower(user)}),
			get(t, s, authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: user + " "}),
			get(t, s, authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer + "/", ID: agent.ID}, Scenario: "S", UserID: "other"}),
			get(t, s, authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}, Scenario: "S", UserID: "other"}),
		}
		forget(agent, user)
		if again := get(t, s, authagent.Profile{Agent: agent, Scenario: "S", UserID: "next"}); again.ID == linked.ID || again.UserID != "next" {
			t.Errorf("after forgetting the %s: %+v, before it %+v", name, again, linked)
		}
		for _, p := range stay {
			if got := get(t, s, authagent.Profile{Agent: p.Agent, Scenario: p.Scenario}); got != p {
				t.Errorf("forgetting the %s changed %+v to %+v", name, p, got)
			}
		}
	}
}
