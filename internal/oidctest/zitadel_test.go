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
	"net/url"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/authagenttest"
)

// namesAgents is the storage of zitadel's example server, which names an agent in the tokens of one user.
type namesAgents struct {
	*storage.Storage
	in   []string // "id_token", "access_token", "introspection"
	jwt  bool     // access tokens are JWTs
	keys *jose.JSONWebKeySet

	audience []string // of the agent's own client; nil for that client alone
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

// AuthRequestByCode returns what tokens are issued for. The library reads no resource parameter, so the storage says for which
// API they are.
func (s *namesAgents) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	found, err := s.Storage.AuthRequestByCode(ctx, code)
	if err != nil || s.audience == nil || found.GetClientID() != agentClient {
		return found, err
	}
	return forAPI{found, s.audience}, nil
}

type forAPI struct {
	op.AuthRequest
	audience []string
}

func (r forAPI) GetAudience() []string { return r.audience }

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

// TestZitadelAPI_API_30: a JWT without a typ, as zitadel's library makes them, opens the API it is for. One for the
// agent's client alone does not, nor does the id_token beside it.
func TestZitadelAPI_API_30(t *testing.T) {
	for name, forAPI := range map[string]bool{"for the API": true, "for the client": false} {
		t.Run(name, func(t *testing.T) {
			var p *people
			s := mount(t, func(s *site, redirectURL string) authagent.Config {
				store := &namesAgents{in: []string{"access_token", "id_token"}, jwt: true}
				if forAPI {
					store.audience = []string{agentClient, s.URL + "/api"}
				}
				s.provider = newProviderWith(t, redirectURL, false, store)
				config := authagent.Config{Issuer: s.provider.URL, ClientID: clientID, ClientSecret: secret, RedirectURL: redirectURL}
				forBoth(&p)(s, &config)
				config.API.Resource = s.URL + "/api"
				return config
			})
			config := oauth2.Config{
				ClientID: agentClient, RedirectURL: agentRedirect, Scopes: []string{"openid"},
				Endpoint: oauth2.Endpoint{AuthURL: s.provider.URL + "/auth", TokenURL: s.provider.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
			}
			verifier := oauth2.GenerateVerifier()
			back, err := url.Parse(s.throughZitadel(config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), agentRedirect))
			if err != nil {
				t.Fatal(err)
			}
			token, err := config.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			idToken, _ := token.Extra("id_token").(string)
			for what, test := range map[string]struct {
				token string
				opens bool
			}{"access token": {token.AccessToken, forAPI}, "id_token": {idToken, false}} {
				resp := s.Get(authagenttest.Bearer(s.Bare(), test.token), "/me")
				if opened := resp.StatusCode == http.StatusOK; opened != test.opens || !opened && resp.Reason() != "invalid_token" || test.token == "" {
					t.Errorf("%s: status %d, %s", what, resp.StatusCode, resp.Text)
				}
				if test.opens {
					if session := resp.Session(t); session.Agent.ID != "agent-of-1" || session.UserID != subject {
						t.Errorf("session %+v", session)
					}
				}
			}
		})
	}
}
