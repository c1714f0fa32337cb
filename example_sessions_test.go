package authagent_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/authagenttest"
	"github.com/authagent-go/authagent/memstore"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
)

// siteSessions keeps agents' sessions where a site keeps those of people: here,
// in a map by a random token in a cookie.
type siteSessions struct {
	mu      sync.Mutex
	byToken map[string]authagent.Session
}

const sessionCookie = "agent_session"

func (s *siteSessions) Start(w http.ResponseWriter, r *http.Request, session *authagent.Session) error {
	s.forget(r)
	token := rand.Text() // never the one that the client came with
	kept := *session
	kept.Actions = slices.Clone(kept.Actions)
	s.mu.Lock()
	s.byToken[token] = kept
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

func (s *siteSessions) Load(_ http.ResponseWriter, r *http.Request) (*authagent.Session, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil, authagent.ErrNoSession
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.byToken[cookie.Value]
	if !ok { // there was one: the browser is a person's again after a sign-out
		return nil, authagent.ErrSessionEnded
	}
	session.Actions = slices.Clone(session.Actions)
	return &session, nil // a copy: the caller may lower its access
}

func (s *siteSessions) End(w http.ResponseWriter, r *http.Request) error {
	s.forget(r)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	return nil
}

func (s *siteSessions) forget(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.byToken, cookie.Value)
		s.mu.Unlock()
	}
}

// A site that has sessions of its own sets Config.Session.Own. The absolute limit
// and revocations are checked by the relying party; the idle limit is the site's.
func ExampleSessions() {
	mine := &siteSessions{byToken: make(map[string]authagent.Session)}
	_ = authagent.Config{Session: authagent.SessionSettings{Own: mine}} // and the rest, as in the package's example

	w := httptest.NewRecorder()
	first := httptest.NewRequest("GET", "/auth/agent/callback", nil)
	fmt.Println(mine.Start(w, first, &authagent.Session{UserID: "42"}))

	next := httptest.NewRequest("GET", "/orders", nil)
	next.AddCookie(w.Result().Cookies()[0])
	s, err := mine.Load(httptest.NewRecorder(), next)
	fmt.Println(s.UserID, err)

	mine.End(httptest.NewRecorder(), next)
	_, err = mine.Load(httptest.NewRecorder(), next)
	fmt.Println(err)
	// Output:
	// <nil>
	// 42 <nil>
	// authagent: the session has ended
}

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
		Paths:       authagent.Paths{Link: "/auth/agent/link"},
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
