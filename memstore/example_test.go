package memstore_test

import (
	"context"
	"fmt"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/memstore"
)

// A site in development, with one account and nothing to install.
func Example() {
	users, profiles := &memstore.Users{}, &memstore.Profiles{}
	users.Add("alice@example.com", "Alice")

	rp, err := authagent.New(authagent.Config{
		Issuer:       "http://127.0.0.1:9000",
		ClientID:     "shop",
		ClientSecret: "development",
		RedirectURL:  "http://127.0.0.1:8080/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.ContextualProfile(users, profiles, authagent.InsecureTrustEmail),
	})
	fmt.Println(rp != nil, err)
	// Output: true <nil>
}

func ExampleUsers() {
	users := &memstore.Users{}
	id := users.Add("Alice@example.com", "Alice")

	found, err := users.UserByEmail(context.Background(), "alice@example.com")
	fmt.Println(found.ID == id, found.EmailVerified, err)

	_, err = users.UserByEmail(context.Background(), "bob@example.com")
	fmt.Println(err)
	// Output:
	// true true <nil>
	// authagent: not found
}

// An account as it is before its owner has followed the link in the mail: no
// agent enters it.
func ExampleUsers_Put() {
	users := &memstore.Users{}
	id := users.Put(memstore.Account{Email: "bob@example.com", Name: "Bob"})

	bob, _ := users.Get(id)
	fmt.Println(bob.EmailVerified)
	bob.EmailVerified = true
	users.Put(bob)
	bob, _ = users.Get(id)
	fmt.Println(bob.EmailVerified)
	// Output:
	// false
	// true
}

func ExampleProfiles() {
	profiles := &memstore.Profiles{}
	agent := authagent.Agent{Issuer: "https://agents.example", ID: "agent_1"}
	for range 2 {
		p, err := profiles.FindOrCreateProfile(context.Background(), authagent.Profile{Agent: agent, Scenario: "FreshProfile"})
		fmt.Println(p.ID, err)
	}
	// Output:
	// profile_1 <nil>
	// profile_1 <nil>
}
