package authagent_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// An agent that calls the site's API needs a page. It asks for an address, opens it in a browser, and presses the button.
func ExampleRelyingParty_LinkHandler() {
	as := authagenttest.NewUnstartedServer() // a provider that names user and agent, and issues tokens for APIs
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256"}
	as.Start()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/agent/callback"}})

	users := &memstore.SubjectUsers{}
	users.AddSubject(as.URL, "user_a", users.Add("alice@example.com", "Alice"))
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: client.RedirectURIs[0],
		SessionKeys: [][]byte{[]byte("0123456789abcdef0123456789abcdef")},
		Scenario:    authagent.FullAccount(users, welcome{}),
		Provider:    provider.Settings{SubjectIsUser: true},
		API:         api.Settings{Resource: site.URL + "/api"},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/auth/agent/link", rp.LinkHandler())
	mux.Handle("GET /invoice", rp.RequireAccess(authagent.AccessRead)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := authagent.FromContext(r.Context())
		fmt.Printf("%s acts for %s, door %q\n", s.Agent.ID, s.UserID, s.Door)
	})))

	// The agent.
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	token := as.AccessToken(agent, authagenttest.APIToken{Audience: []string{site.URL + "/api"}})
	browser := as.NewBrowser()
	err = authagenttest.ContinueInBrowser(context.Background(), authagenttest.Bearer(http.DefaultClient, token), browser,
		site.URL+"/auth/agent/link", "/invoice", "Download the invoice")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := browser.Get(site.URL + "/invoice"); err != nil {
		log.Fatal(err)
	}
	// Output: agent_1 acts for user_1, door "link"
}

// welcome lets every agent read what is its owner's.
type welcome struct{}

func (welcome) Link(_ context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if r.User == nil {
		return authagent.Principal{}, problem.NoAccount
	}
	return authagent.Principal{UserID: r.User.ID, Access: authagent.AccessRead}, nil
}
