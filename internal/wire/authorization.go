package wire

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// AuthorizationRequests makes the requests of one client. It is safe for concurrent use.
type AuthorizationRequests struct {
	ClientID, RedirectURL string
	Scopes                []string

	latest atomic.Pointer[AuthorizationRequest]
}

// At returns the request to the server of m. It is built anew only when m is new.
func (a *AuthorizationRequests) At(m *Metadata) (*AuthorizationRequest, error) {
	if latest := a.latest.Load(); latest != nil && latest.Metadata == m {
		return latest, nil
	}
	request, err := NewAuthorizationRequest(m, a.ClientID, a.RedirectURL, a.Scopes)
	if err == nil {
		a.latest.Store(request)
	}
	return request, err
}

// An AuthorizationRequest is the part of the authorization request (RFC 6749 section
// 4.1.1, RFC 7636 section 4.3) that is the same for all logins.
type AuthorizationRequest struct {
	Metadata *Metadata // that it was made from
	prefix   string
	nonce    string // "&nonce=" where a nonce is sent
}

// NewAuthorizationRequest returns the one of a client.
func NewAuthorizationRequest(m *Metadata, clientID, redirectURL string, scopes []string) (*AuthorizationRequest, error) {
	endpoint, err := url.Parse(m.Authorization)
	if err != nil {
		return nil, errors.New("the authorization endpoint is not a URL")
	}
	query := endpoint.Query() // RFC 6749 section 3.1: a query it has is kept
	query.Set("response_type", "code")
	query.Set("client_id", clientID)
	query.Set("redirect_uri", redirectURL)
	query.Set("scope", strings.Join(scopes, " "))
	query.Set("code_challenge_method", "S256")
	for _, own := range [...]string{"state", "code_challenge", "nonce"} {
		query.Del(own)
	}
	endpoint.RawQuery = query.Encode()
	request := &AuthorizationRequest{Metadata: m, prefix: endpoint.String()}
	if slices.Contains(scopes, "openid") {
		request.nonce = "&nonce="
	}
	return request, nil
}

// URL returns the request of one login. Its secrets need no escaping.
func (a *AuthorizationRequest) URL(state string, challenge []byte, nonce string) string {
	if a.nonce == "" {
		nonce = ""
	}
	return a.prefix + "&state=" + state + "&code_challenge=" + string(challenge) + a.nonce + nonce
}
