package authagent_test

import (
	"context"
	"fmt"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
)

// connected lets an agent enter the account whose owner has connected it, on a
// page where the owner is signed in. Whatever address the agent comes with
// proves nothing, and decides nothing.
type connected map[authagent.Agent]authagent.Principal // a table, in real life

func (c connected) Link(_ context.Context, request authagent.LinkRequest) (authagent.Principal, error) {
	link, ok := c[request.Agent]
	if !ok || request.User == nil || request.User.ID != link.UserID {
		// One answer, whether there is such an account or not.
		return authagent.Principal{}, problem.LinkRefused
	}
	return link, nil
}

// A policy of the site's own: only agents that an account's owner has connected.
func ExampleLinkPolicy() {
	users := &memstore.Users{}
	alice := users.Add("alice@example.com", "Alice")
	policy := connected{
		{Issuer: "https://agents.example", ID: "agent_1"}: {UserID: alice, Access: authagent.AccessRead},
	}
	var _ authagent.Scenario = authagent.FullAccount(users, policy)

	for _, id := range []string{"agent_1", "agent_2"} {
		link, err := policy.Link(context.Background(), authagent.LinkRequest{
			Agent:  authagent.Agent{Issuer: "https://agents.example", ID: id},
			Email:  "alice@example.com",
			User:   &authagent.User{ID: alice, EmailVerified: true},
			Access: authagent.AccessFull,
		})
		fmt.Printf("%q %s %v\n", link.UserID, link.Access, err)
	}
	// Output:
	// "user_1" read <nil>
	// "" none authagent: link_refused
}
