package benchmarks

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/authagent-go/authagent"
)

// users is a UserStore that costs nothing.
type users struct{}

func (users) UserByEmail(_ context.Context, address string) (authagent.User, error) {
	if address != email {
		return authagent.User{}, authagent.ErrNotFound
	}
	return authagent.User{ID: "user_1", EmailVerified: true}, nil
}

func authagentSite(change ...func(*authagent.Config)) *site {
	p := newProvider()
	config := authagent.Config{
		Issuer: p.URL, ClientID: clientID, ClientSecret: clientSecret,
		RedirectURL: origin + callbackPath, SessionKeys: [][]byte{key()},
		Scenario: authagent.FullAccount(users{}, authagent.TrustEmail),
		Logger:   slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range change {
		f(&config)
	}
	rp := must(authagent.New(config))
	return &site{
		name: "authagent", pkce: true, server: p, login: rp.LoginHandler(), finish: rp.CallbackHandler(),
		orders: rp.RequireAgent(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := authagent.FromContext(r.Context()); ok && s.UserID == "user_1" {
				w.WriteHeader(http.StatusOK)
			}
		})),
	}
}
