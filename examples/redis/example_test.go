package redisstore_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent"
	redisstore "github.com/authagent-go/authagent/examples/redis"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/tokens"
)

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "redis.example:6379"})
	defer client.Close()

	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://agents.example",
		ClientID:     "shop",
		ClientSecret: "from your vault",
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:     authagent.FreshProfile(&memstore.Profiles{}), // yours
		Session:      authagent.SessionSettings{Store: &redisstore.Sessions{Client: client}},
		Revocations:  &redisstore.Revocations{Client: client},
		States:       &redisstore.States{Client: client},
		Limits:       limits.Settings{Store: &redisstore.Limits{Client: client}},
		Tokens:       tokens.Settings{Store: &redisstore.Tokens{Client: client}},
	})
	fmt.Println(rp != nil, err)
	// Output: true <nil>
}
