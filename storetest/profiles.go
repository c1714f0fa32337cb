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
	t.Run("created as asked for", func(t *testing.T) { (&profiles{t, open()}).created() })
	t.Run("the ID is the store's choice", func(t *testing.T) { (&profiles{t, open()}).ownID() })
	t.Run("found as it is", func(t *testing.T) { (&profiles{t, open()}).found() })
	t.Run("one for each scenario", func(t *testing.T) { (&profiles{t, open()}).scenarios() })
	t.Run("SUB-6 one for each user of a server", func(t *testing.T) { (&profiles{t, open()}).subjects() })
	for _, pair := range agents() {
		t.Run("ID-3 LNK-12 "+pair.what, func(t *testing.T) { (&profiles{t, open()}).apart(pair.one, pair.other) })
	}
	t.Run("LNK-31 LNK-34 ERA-2 ERA-7 forgotten and erased", func(t *testing.T) { (&profiles{t, open()}).forgotten() })
	t.Run("LNK-13 many first sign-ins at once", func(t *testing.T) { (&profiles{t, open()}).atOnce() })
}

// profiles is one subtest.
type profiles struct {
	*testing.T
	store authagent.ProfileStore
}

func (k *profiles) get(p authagent.Profile) authagent.Profile {
	k.Helper()
	got, err := k.store.FindOrCreateProfile(k.Context(), p)
	if err != nil {
		k.Errorf("FindOrCreateProfile(%+v): %v", p, err)
	}
	if got.ID == "" {
		k.Errorf("FindOrCreateProfile(%+v) returned no ID", p)
	}
	return got
}

func (k *profiles) created() {
	for _, p := range []authagent.Profile{
		{Agent: newAgent(), Scenario: "FreshProfile"},
		{Agent: newAgent(), Scenario: "ContextualProfile", UserID: "user 1", Model: "model-1", Name: "Alice"},
		{Agent: newAgent(), Subject: "subject 1", Scenario: "ContextualProfile", UserID: "user 1", Model: "model-1", Name: "Alice"},
		{Agent: newAgent(), Scenario: "'); DROP TABLE x; --", UserID: `"\'%_?$1`, Model: "\U0001F916 \u00e9 ", Name: "<b>\t</b>"},
		{Agent: newAgent(), Scenario: strings.Repeat("s", 255), UserID: strings.Repeat("u", 255), Model: strings.Repeat("\u00e9", 256), Name: strings.Repeat("\U0001F916", 256)},
	} {
		got := k.get(p)
		p.ID = got.ID
		if got != p {
			k.Errorf("created %+v, want %+v", got, p)
		}
	}
}

func (k *profiles) ownID() {
	if got := k.get(authagent.Profile{ID: "mine", Agent: newAgent(), Scenario: "S"}); got.ID == "mine" {
		k.Error("the store took the ID that it was given")
	}
}

func (k *profiles) found() {
	first := k.get(authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: "user", Model: "m", Name: "n"})
	if got := k.get(authagent.Profile{ID: "mine", Agent: first.Agent, Scenario: "S", UserID: "other", Model: "m2", Name: "n2"}); got != first {
		k.Errorf("an existing profile came back as %+v, want %+v", got, first)
	}
}

func (k *profiles) scenarios() {
	agent := newAgent()
	if k.get(authagent.Profile{Agent: agent, Scenario: "S"}).ID == k.get(authagent.Profile{Agent: agent, Scenario: "s"}).ID {
		k.Error("two scenarios share a profile")
	}
}

// subjects: the same agent acts for several users of a server, who must not share a profile.
func (k *profiles) subjects() {
	agent := newAgent()
	ids := make(map[string]bool)
	for range 2 { // created, then found
		for _, subject := range []string{"", "user", "User", "user2"} {
			got := k.get(authagent.Profile{Agent: agent, Subject: subject, Scenario: "S"})
			ids[got.ID] = true
		}
	}
	if len(ids) != 4 {
		k.Errorf("an agent that acts for three users, and for none, has %d profiles, want 4", len(ids))
	}
}

func (k *profiles) apart(a, b authagent.Agent) {
	for range 2 { // created, then found
		one := k.get(authagent.Profile{Agent: a, Scenario: "S"})
		other := k.get(authagent.Profile{Agent: b, Scenario: "S"})
		if one.ID == other.ID || one.Agent != a || other.Agent != b {
			k.Errorf("%+v and %+v got profiles %+v and %+v", a, b, one, other)
		}
	}
}

// forgotten is for a store that is a Forgetter and an Eraser, and may be an Exporter.
func (k *profiles) forgotten() {
	f, forgets := k.store.(authagent.Forgetter)
	eraser, erases := k.store.(authagent.Eraser)
	if !forgets || !erases {
		k.Skip("the store is no Forgetter and Eraser")
	}
	for _, forget := range []struct {
		what string
		from func(agent authagent.Agent, userID string)
	}{
		{"agent", func(agent authagent.Agent, _ string) { forgetAgent(k.T, f, agent) }},
		{"user", func(_ authagent.Agent, userID string) {
			if x, ok := k.store.(authagent.Exporter); ok {
				if got := exported(k.T, x, userID)["profiles"]; len(got) != 1 || !strings.Contains(string(got[0]), `"scenario":"S"`) {
					k.Errorf("ERA-7: exported profiles %s, want one", got)
				}
			}
			eraseUser(k.T, eraser, userID, "profiles", 1)
		}},
	} {
		agent, user := newAgent(), "User_"+rand.Text()
		linked := k.get(authagent.Profile{Agent: agent, Scenario: "S", UserID: user})
		stay := []authagent.Profile{
			k.get(authagent.Profile{Agent: agent, Scenario: "FreshProfile"}),
			k.get(authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: strings.ToLower(user)}),
			k.get(authagent.Profile{Agent: newAgent(), Scenario: "S", UserID: user + " "}),
			k.get(authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer + "/", ID: agent.ID}, Scenario: "S", UserID: "other"}),
			k.get(authagent.Profile{Agent: authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}, Scenario: "S", UserID: "other"}),
		}
		forget.from(agent, user)
		if again := k.get(authagent.Profile{Agent: agent, Scenario: "S", UserID: "next"}); again.ID == linked.ID || again.UserID != "next" {
			k.Errorf("after forgetting the %s: %+v, before it %+v", forget.what, again, linked)
		}
		for _, p := range stay {
			if got := k.get(authagent.Profile{Agent: p.Agent, Scenario: p.Scenario}); got != p {
				k.Errorf("forgetting the %s changed %+v to %+v", forget.what, p, got)
			}
		}
	}
}

func (k *profiles) atOnce() {
	agent := newAgent()
	all := together(func(i int) authagent.Profile {
		return k.get(authagent.Profile{Agent: agent, Scenario: "S", UserID: fmt.Sprint("user_", i)})
	})
	for _, p := range all {
		if p != all[0] {
			k.Fatalf("answers differ: %+v and %+v", all[0], p)
		}
	}
}
