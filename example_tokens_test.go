package authagent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
)

// A site calls an API as the agent that is signed in. The API here is the
// authorization server's own userinfo endpoint.
func ExampleRelyingParty_Client() {
	withTokens(func(rp *authagent.RelyingParty, as *authagenttest.Server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			resp, err := rp.Client(r.Context(), s).Get(as.URL + authagenttest.PathUserInfo)
			if err != nil {
				http.Error(w, "the API does not answer", http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
		}
	})
	// Output: {"sub":"agent_1","email":"alice@example.com"}
}

// A library that wants an access token gets one that is good, every time it asks.
func ExampleRelyingParty_TokenSource() {
	withTokens(func(rp *authagent.RelyingParty, _ *authagenttest.Server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, _ := authagent.FromContext(r.Context())
			token, err := rp.TokenSource(r.Context(), s).Token()
			if err != nil {
				http.Error(w, "sign in again", http.StatusUnauthorized)
				return
			}
			fmt.Fprintf(w, "a %s token, valid: %v, with a refresh token: %v", token.Type(), token.Valid(), token.RefreshToken != "")
		}
	})
	// Output: a Bearer token, valid: true, with a refresh token: false
}

// A site stops: first its server, so that no request comes any more, then what is
// under way in the background.
func ExampleRelyingParty_Shutdown() {
	as := authagenttest.NewServer()
	defer as.Close()
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: "shop", ClientSecret: "secret", RedirectURL: "http://127.0.0.1:8080/auth/agent/callback",
		SessionKeys: [][]byte{newKey()}, Scenario: authagent.FreshProfile(&memstore.Profiles{}), Tokens: authagent.TokenSettings{Store: &memstore.Tokens{}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: rp.LoginHandler()}

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fmt.Println(server.Shutdown(ctx), rp.Shutdown(ctx))
	// Output: <nil> <nil>
}

// withTokens runs a site that keeps tokens, signs an agent in and prints what the
// site's /orders answers.
func withTokens(orders func(*authagent.RelyingParty, *authagenttest.Server) http.HandlerFunc) {
	as := authagenttest.NewServer()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	callback := site.URL + "/auth/agent/callback"
	client := as.AddClient(authagenttest.Client{ID: "shop", RedirectURIs: []string{callback}})
	rp, err := authagent.New(authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: callback,
		SessionKeys: [][]byte{newKey()},
		Scenario:    authagent.FreshProfile(&memstore.Profiles{}),
		Provider:    authagent.Provider{Scopes: []string{"openid", "email"}},
		Tokens:      authagent.TokenSettings{Store: &memstore.Tokens{}}, // several instances share one
		Logger:      discardLog(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux.Handle("GET /auth/agent/login", rp.LoginHandler())
	mux.Handle("GET /auth/agent/callback", rp.CallbackHandler())
	mux.Handle("GET /orders", rp.RequireAgent(orders(rp, as)))

	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", Email: "alice@example.com"})
	browser := as.NewBrowser()
	resp, err := agent.SignIn(context.Background(), browser, site.URL+"/auth/agent/login?return_to=/orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
}
