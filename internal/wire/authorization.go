package wire

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// An Inquiry is what a client asks for in each authorization request.
type Inquiry struct {
	ClientID, RedirectURL string
	Scopes                []string
	Params                url.Values // the site's own; none of Reserved
	Push                  bool       // beforehand (RFC 9126), whether the server demands it or not
}

// reserved are the parameters that the protocol has in an authorization request, and what
// proves the client where the request is pushed.
var reserved = [...]string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"request", "request_uri", "client_secret", "client_assertion", "client_assertion_type", "code_verifier",
}

// Reserved reports whether a parameter is the protocol's own. Names differ by case (RFC 6749
// section 3.1), but a server may be lenient, and take one for another.
func Reserved(name string) bool {
	return slices.ContainsFunc(reserved[:], func(own string) bool { return strings.EqualFold(own, name) })
}

// AuthorizationRequests makes the requests of one client. It is safe for concurrent use.
type AuthorizationRequests struct {
	Inquiry

	latest atomic.Pointer[AuthorizationRequest]
}

// At returns the request to the server of m. It is built anew only when m is new.
func (a *AuthorizationRequests) At(m *Metadata) (*AuthorizationRequest, error) {
	if latest := a.latest.Load(); latest != nil && latest.Metadata == m {
		return latest, nil
	}
	request, err := a.Inquiry.At(m)
	if err == nil {
		a.latest.Store(request)
	}
	return request, err
}

// Pushes reports whether requests to the server of m are pushed.
func (i Inquiry) Pushes(m *Metadata) bool { return i.Push || m != nil && m.PushedOnly }

// An AuthorizationRequest is the part of the authorization request (RFC 6749 section
// 4.1.1, RFC 7636 section 4.3) that is the same for all logins.
type AuthorizationRequest struct {
	Metadata *Metadata // that it was made from
	prefix   string
	nonce    string // "&nonce=" where a nonce is sent

	pushes bool   // the request is pushed
	pushed fields // what is pushed of it
}

// At returns the request to the server of m.
func (i Inquiry) At(m *Metadata) (*AuthorizationRequest, error) {
	endpoint, err := url.Parse(m.Authorization)
	if err != nil {
		return nil, errors.New("the authorization endpoint is not a URL")
	}
	request := &AuthorizationRequest{Metadata: m, pushes: i.Pushes(m)}
	if slices.Contains(i.Scopes, "openid") {
		request.nonce = "&nonce="
	}
	query := endpoint.Query() // RFC 6749 section 3.1: a query it has is kept
	for _, own := range reserved {
		if own != "response_mode" { // which is not sent
			query.Del(own)
		}
	}
	params := url.Values{
		"response_type": {"code"}, "client_id": {i.ClientID}, "redirect_uri": {i.RedirectURL},
		"scope": {strings.Join(i.Scopes, " ")}, "code_challenge_method": {"S256"},
	}
	maps.Copy(params, i.Params)
	if request.pushes {
		for _, name := range slices.Sorted(maps.Keys(params)) {
			request.pushed = request.pushed.with(name, params[name])
			query.Del(name)
		}
		params = url.Values{"client_id": {i.ClientID}}
	}
	maps.Copy(query, params)
	endpoint.RawQuery = query.Encode()
	request.prefix = endpoint.String()
	return request, nil
}

// url returns the request of one login. Its secrets need no escaping.
func (a *AuthorizationRequest) url(state string, challenge []byte, nonce string) string {
	if a.nonce == "" {
		nonce = ""
	}
	return a.prefix + "&state=" + state + "&code_challenge=" + string(challenge) + a.nonce + nonce
}

// PushStep is the request by which an authorization request is pushed.
const PushStep = "pushed authorization request"

// What says that a request has to be pushed, and cannot be.
var (
	ErrNowhereToPush = errors.New("Provider.PushRequests is set, and the server has no endpoint for pushed authorization requests")
	ErrPushedOnly    = errors.New("the server demands pushed authorization requests, and names no endpoint for them (Provider.Endpoints.PushedAuthorization)")
)

// maxRequestURI bounds what stands in a URL for a request that was pushed.
const maxRequestURI = 512

// Begin returns where the browser is sent for one login, whose secrets need no escaping.
// Where its request is pushed, none of them is in the URL.
func (s *Server) Begin(ctx context.Context, a *AuthorizationRequest, state string, challenge []byte, nonce string) (string, error) {
	if !a.pushes {
		return a.url(state, challenge, nonce), nil
	}
	switch m := a.Metadata; {
	case m.PushedAuthorization != "":
	case m.PushedOnly:
		return "", ErrPushedOnly
	default:
		return "", ErrNowhereToPush
	}
	f := append(slices.Clone(a.pushed), [2]string{"state", state}, [2]string{"code_challenge", string(challenge)})
	if a.nonce != "" {
		f = append(f, [2]string{"nonce", nonce})
	}
	uri, err := s.push(ctx, a.Metadata, f)
	if err != nil {
		return "", err
	}
	return a.prefix + "&request_uri=" + url.QueryEscape(uri), nil
}

// push sends an authorization request as the client, and returns what stands for it (RFC 9126
// section 2). The client proves itself as at the token endpoint.
func (s *Server) push(ctx context.Context, m *Metadata, f fields) (requestURI string, err error) {
	a, err := s.call(ctx, m, PushStep, m.PushedAuthorization, m.TokenAuth, f)
	if err != nil {
		return "", err
	}
	if a.status == http.StatusCreated { // as it should be; some servers answer 200
		a.status = http.StatusOK
	}
	o, err := a.object(PushStep)
	if err != nil {
		if readProbe(a).refusesClient(true) {
			s.forget(a)
		}
		return "", err
	}
	uri, _, err1 := o.String("request_uri")
	_, _, err2 := o.Seconds("expires_in") // which the browser is well within
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return "", &Error{Kind: Malformed, Step: PushStep, Status: a.status, Err: err}
	case !validRequestURI(uri):
		return "", &Error{Kind: Malformed, Step: PushStep, Status: a.status, Err: errors.New("request_uri is missing or not one")}
	}
	return uri, nil
}

// validRequestURI holds a request_uri to the visible characters of ASCII.
func validRequestURI(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxRequestURI
}
