package benchmarks

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"golang.org/x/oauth2"
)

// byHand is what a careful engineer writes with x/oauth2 and gorilla/sessions:
// PKCE, a state that is compared and used once per browser, a deadline, bounded
// bodies, cookies that are encrypted and have the attributes that they need.
type byHand struct {
	config oauth2.Config
	info   string
	client *http.Client
	store  *sessions.CookieStore
}

func gorillaStore() *sessions.CookieStore {
	store := sessions.NewCookieStore(key(), key())
	store.Options = &sessions.Options{Path: "/", MaxAge: 12 * 60 * 60, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	store.MaxAge(store.Options.MaxAge)
	return store
}

func oauthConfig(p *provider, id string) oauth2.Config {
	return oauth2.Config{
		ClientID: id, ClientSecret: clientSecret, RedirectURL: origin + callbackPath, Scopes: []string{"openid", "profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: p.URL + "/authorize", TokenURL: p.URL + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

func byHandSite(p *provider) *site {
	b := &byHand{
		config: oauthConfig(p, clientID), info: p.URL + "/userinfo",
		client: &http.Client{Timeout: 10 * time.Second}, store: gorillaStore(),
	}
	return &site{
		pkce: true, server: p, login: http.HandlerFunc(b.login), finish: http.HandlerFunc(b.callback),
		orders: gorillaGuard(b.store, http.HandlerFunc(gorillaOrders), false),
	}
}

const (
	byHandLogin   = "__Host-login"
	byHandSession = "__Host-session"
)

func (b *byHand) login(w http.ResponseWriter, r *http.Request) {
	login, _ := b.store.New(r, byHandLogin) // a cookie that does not decode gives a new session
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	login.Values = map[any]any{"state": state, "verifier": verifier, "started": time.Now().Unix()}
	login.Options.MaxAge = 600
	if err := login.Save(r, w); err != nil {
		http.Error(w, "session", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, b.config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusFound)
}

func (b *byHand) callback(w http.ResponseWriter, r *http.Request) {
	login, err := b.store.New(r, byHandLogin)
	if err != nil || login.IsNew {
		http.Error(w, "no login", http.StatusBadRequest)
		return
	}
	state, _ := login.Values["state"].(string)
	verifier, _ := login.Values["verifier"].(string)
	started, _ := login.Values["started"].(int64)
	query := r.URL.Query()
	if state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(query.Get("state"))) != 1 || time.Now().Unix()-started > 600 {
		http.Error(w, "state", http.StatusBadRequest)
		return
	}
	login.Options.MaxAge = -1
	if err := login.Save(r, w); err != nil {
		http.Error(w, "session", http.StatusInternalServerError)
		return
	}
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, b.client)
	token, err := b.config.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		http.Error(w, "exchange", http.StatusBadGateway)
		return
	}
	agent, address, err := userInfo(ctx, b.config.Client(ctx, token), b.info)
	if err != nil || address != email {
		http.Error(w, "userinfo", http.StatusBadGateway)
		return
	}
	s, _ := b.store.New(r, byHandSession)
	fill(s, newSession(agent))
	if err := s.Save(r, w); err != nil {
		http.Error(w, "session", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusFound)
}

// userInfo asks who signed in, with a client that sends the token.
func userInfo(ctx context.Context, client *http.Client, address string) (subject, email string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", "", errors.New(resp.Status)
	}
	var claims struct{ Sub, Email, Name, Model string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&claims); err != nil {
		return "", "", err
	}
	return claims.Sub, claims.Email, nil
}

// fields are a session's where gorilla has them: in a map, by name.
func (s *session) fields() map[any]any {
	return map[any]any{
		"id": s.ID, "issuer": s.Issuer, "agent": s.Agent, "model": s.Model, "scenario": s.Scenario, "user": s.User, "profile": s.Profile,
		"started": s.Started, "expires": s.Expires, "seen": s.Seen,
	}
}

func fill(gs *sessions.Session, s session) { gs.Values = s.fields() }

type byHandKey struct{}

func gorillaOrders(w http.ResponseWriter, r *http.Request) {
	if user, ok := r.Context().Value(byHandKey{}).(string); ok && user == "user_1" {
		w.WriteHeader(http.StatusOK)
	}
}

// gorillaGuard lets those through who have a session, and gives them a renewed
// one if renew is set.
func gorillaGuard(store sessions.Store, next http.Handler, renew bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := store.New(r, byHandSession)
		expires, _ := s.Values["expires"].(int64)
		seen, _ := s.Values["seen"].(int64)
		user, _ := s.Values["user"].(string)
		now := time.Now().Unix()
		if err != nil || s.IsNew || user == "" || now >= expires || now-seen >= 1800 {
			signInFirst(w)
			return
		}
		if renew {
			s.Values["seen"] = now
			if err := s.Save(r, w); err != nil {
				http.Error(w, "session", http.StatusInternalServerError)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), byHandKey{}, user)))
	})
}

// signInFirst is the answer to a request without a session as it is usually written.
func signInFirst(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "sign in", http.StatusUnauthorized)
}
