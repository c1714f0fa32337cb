package wire

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/strictjson"
)

// maxIDToken bounds an id_token.
const maxIDToken = 64 << 10

// Token is what the token endpoint gives (RFC 6749 section 5.1).
type Token struct {
	Access, Refresh, ID string
	Expires             time.Time // zero when not said
	Scope               string
	ScopeSaid           bool // whether the answer had a scope; without one the scope asked for was granted
}

// Scopes returns what the server granted of the scopes that were asked for. One that does not say
// what it granted has granted all (RFC 6749 section 5.1).
func (t *Token) Scopes(asked []string) []string {
	if t.ScopeSaid {
		return strings.Fields(t.Scope)
	}
	return slices.Clone(asked)
}

// Grant returns what the server granted, by its answer and by what it states elsewhere, which is nil where
// it states nothing. Who drives the browser can take scopes out of a request that is not pushed, before
// server and user see it; a server that grants what is left need not say so (RFC 6749 section 5.1). So
// what is said nowhere was granted only if the request was pushed.
func (t *Token) Grant(asked, stated []string, pushed bool) []string {
	switch {
	case stated == nil && !t.ScopeSaid && !pushed:
		return nil
	case stated == nil:
		return t.Scopes(asked)
	}
	return slices.DeleteFunc(t.Scopes(asked), func(scope string) bool { return !slices.Contains(stated, scope) })
}

// Granted reports whether the server granted a scope. An agent that has come with an access token of its
// own has no Token, since nothing was asked for: what the access token says is all there is.
func (t *Token) Granted(scope string, asked []string) bool {
	return t == nil || slices.Contains(t.Scopes(asked), scope)
}

// Exchange redeems an authorization code. It sends one request, whatever comes back.
func (s *Server) Exchange(ctx context.Context, code, verifier, redirectURL string) (*Token, error) {
	return s.token(ctx, "token request", fields{
		{"grant_type", "authorization_code"}, {"code", code}, {"redirect_uri", redirectURL}, {"code_verifier", verifier},
	}.with("resource", s.Resources))
}

// Refresh redeems a refresh token. Where the answer has no new refresh token the
// old one stays in use (RFC 6749 section 6).
func (s *Server) Refresh(ctx context.Context, refresh string) (*Token, error) {
	t, err := s.token(ctx, "refresh request", fields{{"grant_type", "refresh_token"}, {"refresh_token", refresh}}.with("resource", s.Resources))
	if err == nil && t.Refresh == "" {
		t.Refresh = refresh
	}
	return t, err
}

func (s *Server) token(ctx context.Context, step string, f fields) (*Token, error) {
	m, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.call(ctx, m, step, m.Token, m.TokenAuth, f)
	if err != nil {
		return nil, err
	}
	o, err := a.object(step)
	if err != nil {
		s.forget(a)
		return nil, err
	}
	t, err := readToken(o)
	if err != nil {
		return nil, &Error{Kind: Invalid, Step: step, Status: a.status, Err: err}
	}
	return t, nil
}

func readToken(o strictjson.Object) (*Token, error) {
	t := &Token{}
	var kind string
	var errs [6]error
	var lifetime time.Duration
	var timed bool
	t.Access, _, errs[0] = o.String("access_token")
	kind, _, errs[1] = o.String("token_type")
	t.Refresh, _, errs[2] = o.String("refresh_token")
	t.ID, _, errs[3] = o.String("id_token")
	t.Scope, t.ScopeSaid, errs[4] = o.String("scope")
	lifetime, timed, errs[5] = o.Seconds("expires_in")
	switch err := errors.Join(errs[:]...); {
	case err != nil:
		return nil, err
	case !IsToken(t.Access):
		return nil, errors.New("access_token is missing or not a token")
	case !validRefresh(t.Refresh):
		return nil, errors.New("refresh_token is not a token")
	case len(t.ID) > maxIDToken: // whose claims are kept for a while
		return nil, errors.New("id_token is too long")
	case !strings.EqualFold(kind, "Bearer"):
		return nil, errors.New("token_type is not Bearer")
	}
	if timed {
		t.Expires = time.Now().Add(lifetime)
	}
	return t, nil
}

// UserInfo is what the userinfo endpoint says (OpenID Connect Core section 5.3).
type UserInfo struct {
	Subject  string
	Email    string // as sent
	Verified *bool  // email_verified, see readVerified
	Name     string // cleaned
	Model    string // cleaned
}

// UserInfo asks for the claims of an access token. The subject is checked to be
// well-formed; that it is the right one is the caller's to check.
func (s *Server) UserInfo(ctx context.Context, access string) (*UserInfo, error) {
	const step = "userinfo request"
	m, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	if m.UserInfo == "" {
		return nil, &Error{Kind: Invalid, Step: step, Err: errors.New("the server has no userinfo endpoint")}
	}
	// The published server takes no other spelling of Bearer.
	a, err := s.client.send(ctx, step, http.MethodGet, m.UserInfo, fields{{"Authorization", "Bearer " + access}}, nil)
	if err != nil {
		return nil, err
	}
	o, err := a.object(step)
	if err != nil {
		return nil, err
	}
	u, err := readUserInfo(o)
	if err != nil {
		return nil, &Error{Kind: Invalid, Step: step, Status: a.status, Err: err}
	}
	return u, nil
}

func readUserInfo(o strictjson.Object) (*UserInfo, error) {
	subject, _, err := o.String("sub")
	if err == nil {
		err = claims.Subject(subject)
	}
	if err != nil {
		return nil, err
	}
	u := OwnerIn(o)
	u.Subject = subject
	return u, nil
}

// OwnerIn reads what the claims of a subject say of the owner. Subject is not read.
func OwnerIn(o strictjson.Object) *UserInfo {
	// A site's mapping of e-mail addresses must not depend on odd types, and a
	// missing name is no reason to turn an agent away: what is not a string is absent.
	u := &UserInfo{Verified: readVerified(o)}
	u.Email, _, _ = o.String("email")
	name, _, _ := o.String("name")
	model, _, _ := o.String("model")
	u.Name, u.Model = claims.Text(name), claims.Text(model)
	return u
}

// readVerified reads email_verified, which some servers send as a string. Only
// true verifies. "true" is no more than silence, and what else is there is a no.
func readVerified(o strictjson.Object) *bool {
	verified, said, err := o.Bool("email_verified")
	if err != nil {
		text, _, _ := o.String("email_verified")
		said = text != "true"
	}
	if !said {
		return nil
	}
	return &verified
}

// Introspection is what the server says of a token (RFC 7662 section 2.2).
type Introspection struct {
	Active                    bool
	Subject, ClientID, Issuer string
	Expires                   time.Time         // zero when not said
	Claims                    strictjson.Object // all that it says
}

// Introspect asks whether a token is active, and whose it is. An answer with
// active false has nothing else set.
func (s *Server) Introspect(ctx context.Context, token string) (*Introspection, error) {
	const step = "introspection request"
	m, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	if m.Introspection == "" {
		return nil, &Error{Kind: Invalid, Step: step, Err: errors.New("the server has no introspection endpoint")}
	}
	a, err := s.call(ctx, m, step, m.Introspection, m.IntrospectionAuth, fields{{"token", token}, {"token_type_hint", "access_token"}})
	if err != nil {
		return nil, err
	}
	o, err := a.object(step)
	if err != nil {
		return nil, err
	}
	in, err := readIntrospection(o)
	if err != nil {
		return nil, &Error{Kind: Invalid, Step: step, Status: a.status, Err: err}
	}
	return in, nil
}

func readIntrospection(o strictjson.Object) (*Introspection, error) {
	active, said, err := o.Bool("active")
	if err != nil || !said {
		return nil, errors.New("active is not a boolean")
	}
	if !active {
		return &Introspection{}, nil
	}
	in := &Introspection{Active: true, Claims: o}
	var errs [4]error
	in.Subject, _, errs[0] = o.String("sub")
	in.ClientID, _, errs[1] = o.String("client_id")
	in.Issuer, _, errs[2] = o.String("iss")
	in.Expires, _, errs[3] = o.Time("exp")
	return in, errors.Join(errs[:]...)
}

// Revoke asks the server to revoke a token (RFC 7009). A nil error says that the
// server has taken the request; the published server answers 200 even when it
// did nothing.
func (s *Server) Revoke(ctx context.Context, token, hint string) error {
	const step = "revocation request"
	m, err := s.Get(ctx)
	if err != nil {
		return err
	}
	if m.Revocation == "" {
		return &Error{Kind: Invalid, Step: step, Err: errors.New("the server has no revocation endpoint")}
	}
	a, err := s.call(ctx, m, step, m.Revocation, m.RevocationAuth, fields{{"token", token}, {"token_type_hint", hint}})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return a.failure(step)
	}
	return nil
}
