package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
)

// A shop has pages for people and agents, and an API beside them.
type shop struct {
	users  *memstore.SubjectUsers // with UserBySubject
	owners *grants.Policy
	rp     *authagent.RelyingParty
}

// openAPI adds the API to the settings of the site.
func openAPI(config *authagent.Config, resource string) {
	config.API = api.Settings{
		Resource: resource, // "https://shop.example/api", as the server knows it
		Scopes:   map[string]string{"orders:read": "See orders", "orders:write": "Place orders"},
	}
	config.Permissions = map[string]authagent.Permission{ // what each scope allows
		"orders:read":  {Access: authagent.AccessRead},
		"orders:write": {Actions: []string{"orders:create"}},
	}
}

func (s *shop) mount(mux *http.ServeMux, resource string) {
	mux.Handle("GET "+api.MetadataPath(resource), s.rp.ResourceMetadataHandler())
	mux.Handle("GET /api/orders", s.rp.RequireAccess(authagent.AccessRead)(http.HandlerFunc(orders)))
	mux.Handle("POST /api/orders", s.rp.RequireAction("orders:create")(http.HandlerFunc(newOrder)))
	mux.Handle("/account/agents/", grants.Handler(s.owners, s.rp))
}

// orders says who looks. The session is the same as with a browser.
func orders(w http.ResponseWriter, r *http.Request) {
	if session, ok := authagent.FromContext(r.Context()); ok {
		fmt.Fprintf(w, "%s looks for %s", session.Agent.ID, session.UserID)
	}
}

func newOrder(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ordered") }

// decide is what Alice does on the page of connected agents.
func (s *shop) decide(userID string, state grants.State) {
	s.owners.Wait() // an agent's request reaches its owner in the background
	overview, err := s.owners.Overview(context.Background(), userID)
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range overview.Grants {
		if _, err := s.owners.Decide(context.Background(), userID, grants.Decision{
			GrantID: g.ID, Version: g.Version, State: state, Access: authagent.AccessRead, Actions: []string{"orders:create"},
		}); err != nil {
			log.Fatal(err)
		}
	}
}

// An agent that knows the address of an API and nothing else finds the server, gets an access token there, and
// calls the API. Its owner lets it in, and stops it, as if it had come with a browser.
func ExampleSettings() {
	as := authagenttest.NewUnstartedServer() // a provider that names user and agent, and issues tokens for APIs
	as.Quirks = authagenttest.Quirks{}
	as.Features = authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256", Resources: true}
	as.Start()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	resource := site.URL + "/api"
	client := as.AddClient(authagenttest.Client{RedirectURIs: []string{site.URL + "/auth/callback"}})

	s := &shop{users: &memstore.SubjectUsers{}, owners: grants.OwnerApproval(&memstore.Grants{})}
	s.owners.Actions = map[string]string{"orders:create": "Place orders"}
	alice := s.users.Add("alice@example.com", "Alice")
	s.users.AddSubject(as.URL, "user_a", alice)
	config := authagent.Config{
		Issuer: as.URL, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: site.URL + "/auth/callback",
		SessionKeys: [][]byte{[]byte("32 random bytes, from your vault")},
		Scenario:    authagent.FullAccount(s.users, s.owners),
		Human:       func(*http.Request) (string, error) { return "", nil }, // nobody is, in this example
		Logger:      slog.New(slog.DiscardHandler),
	}
	config.Provider.SubjectIsUser = true
	s.owners.Logger = config.Logger
	openAPI(&config, resource)
	var err error
	if s.rp, err = authagent.New(config); err != nil {
		log.Fatal(err)
	}
	s.mount(mux, resource)

	show := func(client *http.Client, method string) {
		fmt.Println(strings.ReplaceAll(send(client, method, resource+"/orders"), site.URL, "https://shop.example"))
	}
	show(http.DefaultClient, http.MethodGet)
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	token, err := agent.SignInToAPI(context.Background(), as.NewBrowser(), resource+"/orders")
	if err != nil {
		log.Fatal(err)
	}
	its := authagenttest.Bearer(http.DefaultClient, token)
	show(its, http.MethodGet)
	s.decide(alice, grants.Approved)
	show(its, http.MethodGet)
	show(its, http.MethodPost)

	// Another token of the same agent is good for less.
	weak := as.AccessToken(agent, authagenttest.APIToken{Audience: []string{resource}, Scopes: []string{"orders:read"}})
	show(authagenttest.Bearer(http.DefaultClient, weak), http.MethodPost)

	s.decide(alice, grants.Revoked)
	show(its, http.MethodGet)
	// Output:
	// 401 no_session
	//     Bearer resource_metadata="https://shop.example/.well-known/oauth-protected-resource/api"
	// 403 approval_needed
	// 200 agent_1 looks for user_1
	// 200 ordered
	// 403 insufficient_scope
	//     Bearer error="insufficient_scope", scope="orders:read orders:write", resource_metadata="https://shop.example/.well-known/oauth-protected-resource/api"
	// 401 invalid_token
	//     Bearer error="invalid_token", resource_metadata="https://shop.example/.well-known/oauth-protected-resource/api"
}

// Where the metadata of an API belongs.
func ExampleMetadataPath() {
	fmt.Println(api.MetadataPath("https://api.shop.example"))
	fmt.Println(api.MetadataPath("https://shop.example/api"))
	// Output:
	// /.well-known/oauth-protected-resource
	// /.well-known/oauth-protected-resource/api
}

// send sends a request, and returns the answer's status, text or reason, and Bearer challenge.
func send(client *http.Client, method, address string) string {
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	text := string(body)
	var refusal struct {
		Reason string `json:"error"`
	}
	if json.Unmarshal(body, &refusal) == nil {
		text = refusal.Reason
	}
	all := []string{fmt.Sprint(resp.StatusCode, " ", text)}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		if strings.HasPrefix(challenge, "Bearer ") {
			all = append(all, "    "+challenge)
		}
	}
	return strings.Join(all, "\n")
}
