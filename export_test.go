package authagent

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/wire"
)

// Sessions returns those of the site, or the ones on its Session.Store, or in
// cookies: the kit in package storetest is for all three.
func (rp *RelyingParty) Sessions() Sessions { return rp.sessions }

// Login is one login's secrets, for the tests of how they are made and that they
// print nowhere.
type Login = login

func NewLogin(returnTo string) *Login { return newLogin(returnTo) }

func (l *login) Challenge() string {
	challenge := l.challenge()
	return string(challenge[:])
}

// The single steps of the flow, for what no handler shows: a step alone, or a token
// that is in nobody's session.

func (rp *RelyingParty) AuthorizationURL(ctx context.Context, l *Login) (string, error) {
	request, err := rp.authorizationRequest(ctx)
	if err != nil {
		return "", err
	}
	return l.url(request), nil
}

func (rp *RelyingParty) Exchange(ctx context.Context, code string, l *Login) (*oauth2.Token, error) {
	t, err := rp.exchange(ctx, code, l)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Access, RefreshToken: t.Refresh, Expiry: t.Expires}, nil
}

func (rp *RelyingParty) Refresh(ctx context.Context, t *oauth2.Token) (*oauth2.Token, error) {
	fresh, err := rp.server.Refresh(ctx, t.RefreshToken)
	if err != nil {
		return nil, failure.OfServer("refresh token", err)
	}
	return &oauth2.Token{AccessToken: fresh.Access, RefreshToken: fresh.Refresh, Expiry: fresh.Expires}, nil
}

func (rp *RelyingParty) Revoke(ctx context.Context, t *oauth2.Token) error {
	if t.RefreshToken != "" {
		return rp.server.Revoke(ctx, t.RefreshToken, "refresh_token")
	}
	return rp.server.Revoke(ctx, t.AccessToken, "access_token")
}

func (rp *RelyingParty) Introspect(ctx context.Context, t *oauth2.Token) (*wire.Introspection, error) {
	return rp.server.Introspect(ctx, t.AccessToken)
}

func (in *SignIn) HasScope(scope string) bool { return in.hasScope(scope) }
