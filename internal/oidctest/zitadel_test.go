package oidctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/authagent-go/authagent"
)

// namesAgents is the storage of zitadel's example server, which names an agent in the tokens of one user.
type namesAgents struct {
	*storage.Storage
	in   []string // "id_token", "access_token", "introspection"
	jwt  bool     // access tokens are JWTs
	keys *jose.JSONWebKeySet
}

// act is what tokens of a place say of who acts for a user; nil for nobody.
func (s *namesAgents) act(user, place string) map[string]any {
	if user != subject || !slices.Contains(s.in, place) {
		return nil
	}
	return map[string]any{"sub": "agent-of-1"}
}

func (s *namesAgents) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	if act := s.act(r.GetSubject(), "id_token"); act != nil {
		info.AppendClaims("act", act)
	}
	return s.Storage.SetUserinfoFromRequest(ctx, info, r, scopes)
}

func (s *namesAgents) GetPrivateClaimsFromScopes(ctx context.Context, user, client string, scopes []string) (map[string]any, error) {
	claims, err := s.Storage.GetPrivateClaimsFromScopes(ctx, user, client, scopes)
	if act := s.act(user, "access_token"); act != nil && err == nil {
		claims = map[string]any{"act": act}
	}
	return claims, err
}

func (s *namesAgents) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, token, user, client string) error {
	err := s.Storage.SetIntrospectionFromToken(ctx, answer, token, user, client)
	if act := s.act(user, "introspection"); act != nil && err == nil {
		if answer.Claims == nil {
			answer.Claims = make(map[string]any)
		}
		answer.Claims["act"] = act
	}
	return err
}

// GetClientByClientID returns the client as these tests register it.
func (s *namesAgents) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &registered{client, s}, nil
}

// GetKeyByIDAndClientID finds the key that an assertion is signed with.
func (s *namesAgents) GetKeyByIDAndClientID(_ context.Context, key, client string) (*jose.JSONWebKey, error) {
	if s.keys != nil && client == clientID {
		if found := s.keys.Key(key); len(found) > 0 {
			return &found[0], nil
		}
	}
	return nil, oidc.ErrInvalidClient()
}

type registered struct {
	op.Client
	at *namesAgents
}

func (c *registered) AccessTokenType() op.AccessTokenType {
	if c.at.jwt {
		return op.AccessTokenTypeJWT
	}
	return op.AccessTokenTypeBearer
}

func (c *registered) AuthMethod() oidc.AuthMethod {
	if c.at.keys != nil {
		return oidc.AuthMethodPrivateKeyJWT
	}
	return c.Client.AuthMethod()
}

// signInAs signs a user of the provider in.
func (s *site) signInAs(user string) (status int, location, body string) {
	s.T.Helper()
	s.username = user
	return s.signIn(asItIs)
}

// TestPeopleAtZitadel: people and agents sign in through one client, wherever act is.
func TestPeopleAtZitadel(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, storage := range map[string]namesAgents{
		"act in the id_token":             {in: []string{"id_token"}},
		"act in introspection":            {in: []string{"introspection"}},
		"act in the access token":         {in: []string{"access_token"}, jwt: true},
		"act in all":                      {in: []string{"id_token", "introspection", "access_token"}, jwt: true},
		"act in introspection, by a key":  {in: []string{"introspection"}, keys: &jose.JSONWebKeySet{}},
		"act in the access token, by key": {in: []string{"access_token"}, jwt: true, keys: &jose.JSONWebKeySet{}},
	} {
		for user, person := range map[string]bool{username: false, "test-user2": true} {
			t.Run(name+", "+user, func(t *testing.T) {
				var p *people
				s := mount(t, func(s *site, redirectURL string) authagent.Config {
					s.provider = newProviderWith(t, redirectURL, false, &storage)
					config := authagent.Config{Issuer: s.provider.URL, ClientID: clientID, ClientSecret: secret, RedirectURL: redirectURL}
					forBoth(&p)(s, &config)
					if storage.keys != nil {
						config.ClientSecret, config.Provider.ClientKeys = "", []crypto.Signer{key}
					}
					return config
				})
				if storage.keys != nil { // as it was registered by hand
					published := httptest.NewRecorder()
					s.RP.ClientKeysHandler().ServeHTTP(published, httptest.NewRequest(http.MethodGet, "/", nil))
					if err := json.Unmarshal(published.Body.Bytes(), storage.keys); err != nil || len(storage.keys.Keys) != 1 {
						t.Fatalf("published %s: %v", published.Body, err)
					}
				}
				p.users.AddSubject(s.provider.URL, "id2", "person-9")
				status, location, body := s.signInAs(user)
				if status != http.StatusSeeOther || location != s.URL+"/" {
					t.Fatalf("callback: status %d, Location %q, %s", status, location, body)
				}
				if person {
					s.wantPerson(t, p, "id2")
				} else {
					s.wantAgent(t, "agent-of-1", subject)
				}
				if n := len(s.provider.got("/userinfo")); n != 0 {
					t.Errorf("userinfo was asked %d times", n)
				}
				for _, r := range s.provider.got("/oauth/token") {
					if storage.keys != nil && (r.form.Get("client_assertion") == "" || r.form.Has("client_secret") || r.Header.Get("Authorization") != "") && r.form.Has("code") {
						t.Errorf("token request %v", r.form)
					}
				}
			})
		}
	}
}
