package authagent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// A site that proves itself with a key instead of a secret publishes the public part, where the
// authorization server reads it.
func ExampleRelyingParty_ClientKeysHandler() {
	as := authagenttest.NewUnstartedServer()
	as.Quirks = authagenttest.Quirks{}
	as.Features.AuthMethods = []string{"private_key_jwt"}
	as.Start()
	defer as.Close()

	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{
		RedirectURIs: []string{site.URL + "/auth/agent/callback"}, JWKSURL: site.URL + "/auth/agent/keys",
	})

	signs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // or one that a service keeps
	if err != nil {
		log.Fatal(err)
	}
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, RedirectURL: site.URL + "/auth/agent/callback",
		SessionKeys: [][]byte{[]byte(rand.Text() + rand.Text())},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		Provider:    provider.Settings{ClientKeys: []crypto.Signer{signs}},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("GET /auth/agent/keys", rp.ClientKeysHandler())
	mux.Handle("GET /", rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := authagent.FromContext(r.Context())
		fmt.Fprint(w, session.Agent.ID)
	})))

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_7"})
	resp, err := agent.SignIn(context.Background(), as.NewBrowser(), site.URL+"/auth/agent/login")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, len(rp.Check(context.Background())), "findings")
	// Output: 200 OK 0 findings
}
