package wire

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
)

// Auth is how a client proves itself: by its secret (RFC 6749 section 2.3.1), or by its key.
type Auth int32

const (
	AuthUnknown Auth = iota // to be learned, where the server offers both
	AuthPost                // client_secret_post: in the body
	AuthBasic               // client_secret_basic: HTTP Basic
	AuthKey                 // private_key_jwt: an assertion in the body (RFC 7523 section 2.2)
)

// assertionType is what client_assertion is (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// only returns the one of the two that the server offers, and AuthUnknown where it
// offers both or says nothing. One that offers neither is asked in the body.
func only(methods []string) Auth {
	basic, post := slices.Contains(methods, "client_secret_basic"), slices.Contains(methods, "client_secret_post")
	switch {
	case methods == nil, basic && post:
		return AuthUnknown
	case basic:
		return AuthBasic
	}
	return AuthPost
}

// authAt returns how the client proves itself at an endpoint that offers these
// methods. One is used, never both, and never one after the other: the second try
// would send the code again.
func (s *Server) authAt(known manner, methods []string) Auth {
	if one := only(methods); s.Auth == AuthUnknown && known.encoding != JSON && one != AuthUnknown {
		return one
	}
	return known.auth
}

// post sends f with the proof of the client: its secret, or an assertion that was made for
// this request.
func (s *Server) post(ctx context.Context, step, endpoint string, how manner, proof string, f fields) (answer, error) {
	if how.auth == AuthBasic {
		return s.client.post(ctx, step, endpoint, how.encoding, f, &credentials{s.ID, proof})
	}
	if !slices.ContainsFunc(f, func(pair [2]string) bool { return pair[0] == "client_id" }) { // a pushed request has it
		f = append(f, [2]string{"client_id", s.ID})
	}
	if how.auth == AuthKey {
		f = append(f, [2]string{"client_assertion_type", assertionType}, [2]string{"client_assertion", proof})
	} else {
		f = append(f, [2]string{"client_secret", proof})
	}
	return s.client.post(ctx, step, endpoint, how.encoding, f, nil)
}

// credentials is the HTTP Basic form of client authentication.
type credentials struct{ id, secret string }

// header returns the value of Authorization. RFC 6749 section 2.3.1: both are
// form-encoded before they are joined.
func (c *credentials) header() string {
	joined := url.QueryEscape(c.id) + ":" + url.QueryEscape(c.secret)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(joined))
}

const authStep = "client authentication probe"

// probePrefix begins what is made up, so that whoever runs the server knows it.
const probePrefix = "authagent-probe-"

// A question is a request that cannot succeed, as what it redeems was made up, and
// that a server answers after it has looked at the client, or before.
type question struct {
	endpoint string
	fields   fields
}

// learnAuth finds out how a client that may prove itself in two ways is registered.
// The server says so when it refuses the one and not the other, of the same request.
// Some look at the code before the client, and mostly not at a refresh token, or at a
// token to be revoked. Where nothing is refused, both will do. Where both are
// refused, the secret is wrong or the server is not well, and nothing is learned.
func (s *Server) learnAuth(ctx context.Context, m *Metadata) (Auth, error) {
	secret, err := s.proof(ctx, m)
	if err != nil {
		return AuthUnknown, err
	}
	questions := []question{
		{m.Token, fields{
			{"grant_type", "authorization_code"}, {"code", probePrefix + rand.Text()},
			{"redirect_uri", s.RedirectURL}, {"code_verifier", rand.Text() + rand.Text()},
		}},
		{m.Token, fields{{"grant_type", "refresh_token"}, {"refresh_token", probePrefix + rand.Text()}}},
	}
	if m.Revocation != "" && only(m.RevocationAuth) == AuthUnknown {
		questions = append(questions, question{m.Revocation, fields{{"token", probePrefix + rand.Text()}}})
	}
	for i := 0; i < len(questions); i++ {
		q := questions[i]
		post, err := s.ask(ctx, q, AuthPost, secret)
		if err != nil {
			return AuthUnknown, err
		}
		if i == 1 && post.code != "unsupported_grant_type" {
			questions = questions[:2] // it has refresh tokens, and so has looked at the client
		}
		code := i == 0
		if !post.refusesClient(code) {
			continue
		}
		basic, err := s.ask(ctx, q, AuthBasic, secret)
		switch {
		case err != nil:
			return AuthUnknown, err
		case basic.refusesClient(code):
			return AuthUnknown, &Error{Kind: Refused, Step: authStep, Status: basic.status, Code: "invalid_client"}
		}
		return AuthBasic, nil
	}
	return AuthPost, nil
}

// ask asks once. An answer that says "later" answers nothing.
func (s *Server) ask(ctx context.Context, q question, auth Auth, secret string) (probed, error) {
	a, err := s.post(ctx, authStep, q.endpoint, manner{Form, auth}, secret, slices.Clone(q.fields))
	if err != nil {
		return probed{}, err
	}
	p := readProbe(a)
	if p.later() {
		return p, a.failure(authStep)
	}
	return p, nil
}

// refusesClient reports whether the client is what the server refuses. Some say
// unauthorized_client of a secret that is wrong; of a refresh token it can mean that
// the client may have none.
func (p probed) refusesClient(code bool) bool {
	switch p.code {
	case "invalid_client":
		return true
	case "unauthorized_client":
		return code || p.status == http.StatusUnauthorized
	case "":
		return p.status == http.StatusUnauthorized
	}
	return false
}
