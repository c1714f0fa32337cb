package authagent_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/authagent-go/authagent"
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
