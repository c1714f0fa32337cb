package benchmarks

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/grants"
	"github.com/authagent-go/authagent/limits"
	"github.com/authagent-go/authagent/memstore"
)

// users is a UserStore that costs nothing.
type users struct{}

func (users) UserByEmail(_ context.Context, address string) (authagent.User, error) {
	if address != email {
		return authagent.User{}, authagent.ErrNotFound
	}
	return authagent.User{ID: "user_1", EmailVerified: true}, nil
}

func (users) UserByID(context.Context, string) (authagent.User, error) {
	return authagent.User{ID: "user_1", EmailVerified: true}, nil
}

// ownersSite is authagentSite with everything on that a request can pass: the
// owner's approval and the site's rules, in memory, limits, and the audit trail.
func ownersSite() *site {
	return authagentSite(func(c *authagent.Config) {
		store, ctx := &memstore.Grants{}, context.Background()
		agent := authagent.Agent{Issuer: c.Issuer, ID: agentID}
		_, _, err := store.CreateGrant(ctx, grants.Grant{
			ID: "grant_1", Version: 1, Agent: agent, Scenario: "FullAccount", UserID: "user_1", State: grants.Approved,
			Access: authagent.AccessRead, Actions: []string{action}, Email: email, DecidedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour),
		})
		must(0, err)
		must(0, store.SetRules(ctx, grants.Rules{DenyAgents: []authagent.Agent{{Issuer: c.Issuer, ID: "agent_mallory"}}}))
		owners := grants.OwnerApproval(store)
		owners.Logger = c.Logger
		often := limits.Rate{N: 1e9}
		c.Scenario = authagent.FullAccount(users{}, owners)
		c.Limits = limits.Settings{Agent: often, Owner: often, Actions: map[string]limits.Rate{action: often}}
	})
}

func authagentSite(change ...func(*authagent.Config)) *site {
	return authagentAt(newProvider(), clientID, change...)
}

// authagentDefault has every setting at its default. It is registered for id_tokens where the provider signs each.
func authagentDefault(p *provider) *site {
	if p.signer != nil {
		return authagentAt(p, oidcClientID)
	}
	return authagentAt(p, clientID)
}

func authagentAt(p *provider, id string, change ...func(*authagent.Config)) *site {
	config := authagent.Config{
		Issuer: p.URL, ClientID: id, ClientSecret: clientSecret,
		RedirectURL: origin + callbackPath, SessionKeys: [][]byte{key()},
		Scenario: authagent.FullAccount(users{}, authagent.InsecureTrustEmail),
		Logger:   slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range change {
		f(&config)
	}
	rp := must(authagent.New(config))
	orders := rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := authagent.FromContext(r.Context()); ok && s.UserID == "user_1" {
			w.WriteHeader(http.StatusOK)
		}
	}))
	return &site{
		pkce: true, server: p, login: rp.LoginHandler(), finish: rp.CallbackHandler(),
		orders: orders, act: rp.RequireAction(action)(orders),
	}
}
