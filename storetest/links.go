package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/authagent-go/authagent"
)

// Links checks an AgentLinker.
func Links(t *testing.T, open func() authagent.AgentLinker) {
	t.Run("the first account stays", func(t *testing.T) { (&links{t, open()}).first() })
	for _, pair := range agents() {
		t.Run("ID-3 "+pair.what, func(t *testing.T) { (&links{t, open()}).apart(pair.one, pair.other) })
	}
	t.Run("LNK-30 looked up, and not recorded", func(t *testing.T) { (&links{t, open()}).lookedUp() })
	t.Run("LNK-31 LNK-34 ERA-2 ERA-7 forgotten and erased", func(t *testing.T) { (&links{t, open()}).forgotten() })
	t.Run("LNK-13 many at once", func(t *testing.T) { (&links{t, open()}).atOnce() })
}

// links is one subtest.
type links struct {
	*testing.T
	store authagent.AgentLinker
}

func (k *links) link(agent authagent.Agent, userID string) string {
	k.Helper()
	linked, err := k.store.LinkAgent(k.Context(), agent, userID)
	if err != nil {
		k.Errorf("LinkAgent(%+v, %q): %v", agent, userID, err)
	}
	return linked
}

func (k *links) first() {
	agent := newAgent()
	for _, userID := range []string{"user 1", "user 2", "User 1"} {
		if got := k.link(agent, userID); got != "user 1" {
			k.Errorf("LinkAgent with %q returned %q", userID, got)
		}
	}
}

func (k *links) apart(one, other authagent.Agent) {
	for i, agent := range []authagent.Agent{one, other} {
		if got, want := k.link(agent, fmt.Sprint("user_", i)), fmt.Sprint("user_", i); got != want {
			k.Errorf("LinkAgent(%+v) = %q, want %q", agent, got, want)
		}
	}
}

func (k *links) lookedUp() {
	agent := newAgent()
	for _, want := range []string{"", "", "user 1", "user 1"} {
		if want != "" {
			k.link(agent, "user 1")
		}
		got, err := k.store.LinkedUser(k.Context(), agent)
		if got != want || want == "" && !errors.Is(err, authagent.ErrNotFound) || want != "" && err != nil {
			k.Errorf("LinkedUser: %q, %v; want %q", got, err, want)
		}
	}
	other := authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}
	if got, err := k.store.LinkedUser(k.Context(), other); !errors.Is(err, authagent.ErrNotFound) {
		k.Errorf("LinkedUser of another agent: %q, %v", got, err)
	}
}

// forgotten is for a store that is a Forgetter, and may be an Eraser and an Exporter.
func (k *links) forgotten() {
	f, ok := k.store.(authagent.Forgetter)
	if !ok {
		k.Skip("the store is no Forgetter")
	}
	user := "User_" + rand.Text()
	agents := [4]authagent.Agent{newAgent(), newAgent(), newAgent(), newAgent()}
	users := [4]string{user, user, strings.ToLower(user), user + " "}
	for i, agent := range agents {
		k.link(agent, users[i])
	}
	forgetAgent(k.T, f, agents[0])
	if got := k.link(agents[0], "next"); got != "next" {
		k.Errorf("after forgetting the agent it is linked to %q", got)
	}
	eraser, erases := k.store.(authagent.Eraser)
	if !erases {
		k.Skip("the store is no Eraser")
	}
	if x, ok := k.store.(authagent.Exporter); ok {
		if got := exported(k.T, x, user)["links"]; len(got) != 1 || !strings.Contains(string(got[0]), agents[1].ID) {
			k.Errorf("ERA-7: exported links %s, want that of %s", got, agents[1].ID)
		}
	}
	eraseUser(k.T, eraser, user, "links", 1)
	for i, want := range [4]string{"next", "new", users[2], users[3]} {
		if got := k.link(agents[i], "new"); got != want {
			k.Errorf("after erasing %q, the agent of %q is linked to %q, want %q", user, users[i], got, want)
		}
	}
}

func (k *links) atOnce() {
	agent := newAgent()
	all := together(func(i int) string { return k.link(agent, fmt.Sprint("user_", i)) })
	for _, userID := range all {
		if userID == "" || userID != all[0] {
			k.Fatalf("answers differ: %q", all)
		}
	}
}
