package limits_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
)

// How much is too much. What is left out has its default.
func ExampleSettings() {
	users := &memstore.Users{}
	users.Add("alice@example.com", "Alice")
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")}, Logger: slog.New(slog.DiscardHandler),
		Scenario: authagent.FullAccount(users, authagent.InsecureTrustEmail),
		Limits: limits.Settings{
			Agent:   limits.Rate{N: 60},
			Owner:   limits.Rate{N: 300},
			Actions: map[string]limits.Rate{"orders:create": {N: 2, Per: 24 * time.Hour}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/login", rp.LoginHandler())
	mux.Handle("/auth/agent/callback", rp.CallbackHandler())
	mux.Handle("POST /orders", rp.RequireAction("orders:create")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))

	agent, browser := as.AddAgent(authagenttest.Agent{Email: "alice@example.com"}), as.NewBrowser()
	resp, err := agent.SignIn(context.Background(), browser, site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for range 3 {
		resp, err := browser.Post(site.URL+"/orders", "", nil)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Printf("%d %q\n", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	// Output:
	// 200 ""
	// 200 ""
	// 429 "43200"
}
