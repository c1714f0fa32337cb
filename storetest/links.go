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
	link := func(t *testing.T, s authagent.AgentLinker, agent authagent.Agent, userID string) string {
		t.Helper()
		linked, err := s.LinkAgent(t.Context(), agent, userID)
		if err != nil {
			t.Errorf("LinkAgent(%+v, %q): %v", agent, userID, err)
		}
		return linked
	}
	t.Run("the first account stays", func(t *testing.T) {
		s, agent := open(), newAgent()
		for _, userID := range []string{"user 1", "user 2", "User 1"} {
			if got := link(t, s, agent, userID); got != "user 1" {
				t.Errorf("LinkAgent with %q returned %q", userID, got)
			}
		}
	})
	for what, pair := range agents() {
		t.Run("ID-3 "+what, func(t *testing.T) {
			s := open()
			for i, agent := range pair {
				if got, want := link(t, s, agent, fmt.Sprint("user_", i)), fmt.Sprint("user_", i); got != want {
					t.Errorf("LinkAgent(%+v) = %q, want %q", agent, got, want)
				}
			}
		})
	}
	t.Run("LNK-30 looked up, and not recorded", func(t *testing.T) {
		s, agent := open(), newAgent()
		for _, want := range []string{"", "", "user 1", "user 1"} {
			if want != "" {
				link(t, s, agent, "user 1")
			}
			got, err := s.LinkedUser(t.Context(), agent)
			if got != want || want == "" && !errors.Is(err, authagent.ErrNotFound) || want != "" && err != nil {
				t.Errorf("LinkedUser: %q, %v; want %q", got, err, want)
			}
		}
		other := authagent.Agent{Issuer: agent.Issuer, ID: strings.ToLower(agent.ID)}
		if got, err := s.LinkedUser(t.Context(), other); !errors.Is(err, authagent.ErrNotFound) {
			t.Errorf("LinkedUser of another agent: %q, %v", got, err)
		}
	})
	t.Run("LNK-31 LNK-34 forgotten", func(t *testing.T) {
		s := open()
		f, ok := s.(authagent.Forgetter)
		if !ok {
			t.Skip("the store is no Forgetter")
		}
		user := "User_" + rand.Text()
		agents := [4]authagent.Agent{newAgent(), newAgent(), newAgent(), newAgent()}
		users := [4]string{user, user, strings.ToLower(user), user + " "}
		for i, agent := range agents {
			link(t, s, agent, users[i])
		}
		forgetAgent(t, f, agents[0])
		if got := link(t, s, agents[0], "next"); got != "next" {
			t.Errorf("after forgetting the agent it is linked to %q", got)
		}
		forgetUser(t, f, user)
		for i, want := range [4]string{"next", "new", users[2], users[3]} {
			if got := link(t, s, agents[i], "new"); got != want {
				t.Errorf("after forgetting %q, the agent of %q is linked to %q, want %q", user, users[i], got, want)
			}
		}
	})
	t.Run("LNK-13 many at once", func(t *testing.T) {
		s, agent := open(), newAgent()
		all := together(func(i int) string { return link(t, s, agent, fmt.Sprint("user_", i)) })
		for _, userID := range all {
			if userID == "" || userID != all[0] {
				t.Fatalf("answers differ: %q", all)
			}
		}
	})
}
