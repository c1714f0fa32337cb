package provider_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/provider"
)

// A shop whose people sign in at a provider, and now their agents do too.
type shop struct {
	users    *memstore.SubjectUsers // with UserBySubject
	owners   *grants.Policy
	rp       *authagent.RelyingParty
	sessions map[string]provider.Person // of people, by what is in their cookie
}

var _ authagent.SubjectFinder = (*memstore.SubjectUsers)(nil)

// signIn starts the shop's own session for a person who has signed in at the provider.
func (s *shop) signIn(w http.ResponseWriter, r *http.Request, p provider.Person) error {
	user, err := s.users.UserBySubject(r.Context(), p.Issuer, p.Subject)
	if errors.Is(err, authagent.ErrNotFound) {
		user.ID, err = s.register(p) // a new row in your table of users
	}
	if err != nil {
		return err
	}
	s.startSession(w, user.ID, p)
	return nil
}

// signOut ends what signIn has started, since the session at the provider has ended.
func (s *shop) signOut(_ context.Context, p provider.Person) error {
	for id, person := range s.sessions {
		if person.Issuer == p.Issuer && (p.SID != "" && person.SID == p.SID || p.SID == "" && person.Subject == p.Subject) {
			delete(s.sessions, id)
		}
	}
	return nil
}

func (s *shop) settings(issuer, clientID, secret, address string, key []byte) authagent.Config {
	return authagent.Config{
		Issuer: issuer, ClientID: clientID, ClientSecret: secret, // those of the shop's people
		RedirectURL: address + "/auth/callback",
		SessionKeys: [][]byte{key},
		Scenario:    authagent.FullAccount(s.users, s.owners),
		Human:       s.signedInUser,
		Permissions: map[string]authagent.Permission{
			"orders:read":  {Access: authagent.AccessRead},
			"orders:write": {Actions: []string{"orders:create"}},
		},
		Provider: provider.Settings{
			SubjectIsUser: true,
			OnPerson:      s.signIn,
			OnPersonEnded: s.signOut,
			ButtonLabel:   "Continue with Example",
		},
	}
}

func (s *shop) mount(mux *http.ServeMux) {
	mux.Handle("GET /auth/login", s.rp.LoginHandler())
	mux.Handle("GET /auth/callback", s.rp.CallbackHandler())
	mux.Handle("POST /auth/logout", s.rp.LogoutHandler())
	mux.Handle("POST /auth/backchannel-logout", s.rp.BackChannelLogoutHandler())
	mux.Handle("GET /orders", s.rp.RequireAccess(authagent.AccessRead)(http.HandlerFunc(orders)))
	mux.Handle("POST /orders", s.rp.RequireAction("orders:create")(http.HandlerFunc(newOrder)))
	mux.Handle("/account/agents/", grants.Handler(s.owners, s.rp))
}

// orders says who looks.
func orders(w http.ResponseWriter, r *http.Request) {
	if session, ok := authagent.FromContext(r.Context()); ok {
		fmt.Fprintf(w, "%s looks for %s\n", session.Agent.ID, session.Subject)
		return
	}
	userID, _ := authagent.HumanFromContext(r.Context())
	fmt.Fprintf(w, "%s looks\n", userID)
}

func newOrder(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ordered") }

// What a site has for its people.
func (s *shop) register(p provider.Person) (userID string, err error) {
	userID = s.users.Put(memstore.Account{})
	s.users.AddSubject(p.Issuer, p.Subject, userID)
	return userID, nil
}

func (s *shop) startSession(w http.ResponseWriter, userID string, p provider.Person) {
	id := rand.Text() + "." + userID
	s.sessions[id] = p
	http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true})
}

func (s *shop) signedInUser(r *http.Request) (userID string, err error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return "", nil // nobody is
	}
	if _, ok := s.sessions[cookie.Value]; !ok {
		return "", nil
	}
	_, userID, _ = strings.Cut(cookie.Value, ".")
	return userID, nil
}

// People and agents sign in at one provider, through one client and one callback. The owner has agreed
// there, and that is enough here.
func ExampleSettings() {
	as := authagenttest.NewUnstartedServer() // a provider that names user and agent
	as.Quirks, as.Features = authagenttest.Quirks{}, authagenttest.Features{IDToken: true, ActorClaim: true, SignedTokens: "ES256", SessionIDs: true}
	as.Start()
	defer as.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	client := as.AddClient(authagenttest.Client{
		RedirectURIs: []string{site.URL + "/auth/callback"}, LogoutURL: site.URL + "/auth/backchannel-logout",
	})

	s := &shop{
		users: &memstore.SubjectUsers{}, owners: grants.OwnerApproval(&memstore.Grants{}), sessions: make(map[string]provider.Person),
	}
	issuer := as.URL
	s.owners.Actions = map[string]string{"orders:create": "Place orders"}
	s.owners.ApproveByConsent = []string{issuer} // exactly as in Config.Issuer
	s.users.AddSubject(as.URL, "user_a", s.users.Add("alice@example.com", "Alice"))
	config := s.settings(as.URL, client.ID, client.Secret, site.URL, []byte("32 random bytes, from your vault"))
	config.Logger = slog.New(slog.DiscardHandler)
	s.owners.Logger = config.Logger
	var err error
	if s.rp, err = authagent.New(config); err != nil {
		log.Fatal(err)
	}
	s.mount(mux)

	alice := as.AddAgent(authagenttest.Agent{UserID: "user_a", Person: true})
	her := as.NewBrowser()
	signIn(alice, her, site.URL)
	agent := as.AddAgent(authagenttest.Agent{ID: "agent_1", UserID: "user_a"})
	its := as.NewBrowser()
	signIn(agent, its, site.URL)
	post, err := its.Post(site.URL+"/orders", "", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to order:", post.Status)

	// Alice signs out at the provider, everywhere.
	if err := as.Logout(context.Background(), as.Client(), client.ID, "user_a", ""); err != nil {
		log.Fatal(err)
	}
	for _, browser := range []*http.Client{her, its} {
		r, err := http.NewRequest(http.MethodGet, site.URL+"/orders", nil)
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Accept", "application/json")
		look, err := browser.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("afterwards:", look.Status)
	}
	// Output:
	// user_1 looks
	// agent_1 looks for user_a
	// to order: 200 OK
	// afterwards: 401 Unauthorized
	// afterwards: 401 Unauthorized
}

// A server for agents alone: sub is the agent, and nobody knows whose it is.
func ExampleSettings_agentsAlone() {
	secret, key, profiles := "from your vault", []byte("32 random bytes, from your vault"), &memstore.Profiles{}
	rp, err := authagent.New(authagent.Config{
		Issuer:       "https://id.example/realms/agents", // as the metadata spells it
		ClientID:     "shop",
		ClientSecret: secret,
		RedirectURL:  "https://shop.example/auth/agent/callback",
		SessionKeys:  [][]byte{key},
		Scenario:     authagent.FreshProfile(profiles),
		Revocations:  &memstore.Revocations{}, // your own store
		Provider: provider.Settings{
			Scopes:      []string{"openid", "profile"}, // openid, so that there is an id_token
			ButtonLabel: "Continue with Example",
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(string(rp.Button("/orders")), ">Continue with Example</a>"))
	// Output:
	// true
}

// signIn signs in, looks at the orders, and prints what is there.
func signIn(who *authagenttest.Agent, browser *http.Client, site string) {
	resp, err := who.SignIn(context.Background(), browser, site+"/auth/login?return_to=/orders")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
}
