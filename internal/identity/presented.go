package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/strictjson"
	"github.com/authagent-go/authagent/internal/wire"
)

// A Presented is an access token that came with a request to the site's API, and was verified. Anybody
// may have sent it: nothing of it is believed because of where it came from.
type Presented struct {
	*Identity
	ID       string         // jti; empty if it has none
	IssuedAt time.Time      // zero if nothing says it
	Expires  time.Time      // zero if nothing says it
	Asked    bool           // the server has said that it is active
	Owner    *wire.UserInfo // what the server says there of the agent's owner

	// Name is made of the token, and of one JWT always the same: whoever has it can write its signature in other
	// ways, all of them good.
	Name [sha256.Size]byte
}

// Span returns from when until when a token is good. None is good for longer than lifetime after it was issued: what
// ends sessions before their time is remembered for that long. So nothing could say what has ended since of one that
// does not say when that was. The error wraps ErrMismatch if the token is not good now, for that reason.
func (p *Presented) Span(lifetime time.Duration) (from, until time.Time, err error) {
	now := time.Now()
	from, until = p.IssuedAt, p.Expires
	switch {
	case from.IsZero():
		return from, until, mismatch("nothing says when the access token was issued (iat)")
	case until.IsZero() || from.Add(lifetime).Before(until):
		until = from.Add(lifetime)
	}
	if !now.Before(until) {
		return from, until, mismatch("access token is older than Session.Lifetime")
	}
	return from, until, nil
}

// An Asker introspects a token, see wire.Server.
type Asker func(ctx context.Context, token string) (*wire.Introspection, error)

// Present verifies an access token that is to be for a resource. What can be told without a signature is
// looked at first. The error is, or wraps, ErrMismatch or wire.ErrInactive if the token is not good. With
// any other error nobody knows.
func (v *Verifier) Present(ctx context.Context, server *wire.Server, ask Asker, raw, resource string) (*Presented, error) {
	found, err := v.readPresented(raw, resource)
	if err != nil {
		return nil, err
	}
	m, err := server.Get(ctx)
	if err != nil {
		return nil, err
	}
	p := &Presented{Name: sha256.Sum256([]byte(raw))}
	var e evidence
	if found != nil {
		p.Name = sha256.Sum256([]byte(signedOf(raw)))
		e.access = found.statement
		if e.access.proven, err = v.verified(ctx, m, raw, found.alg); err != nil {
			return nil, err
		}
		if e.access.proven {
			p.take(found.payload)
		}
	}
	if v.asks(m, e) {
		if p.Asked = true; m.Introspection == "" {
			return nil, mismatch("no published key verifies the access token, and the server has no introspection endpoint")
		}
		if e.asked, err = v.askFor(ctx, ask, raw, resource, p); err != nil {
			return nil, err
		}
	}
	if p.Identity, err = v.conclude(e); err != nil {
		return nil, err
	}
	p.letGo()
	return p, nil
}

// letGo copies the texts of p, which is remembered, lest they hold on to all of the claims that they are parts of.
func (p *Presented) letGo() {
	texts := []*string{&p.ID, &p.Owner.Email, &p.Subject, &p.Agent, &p.User, &p.SID}
	for i := range p.Scopes {
		texts = append(texts, &p.Scopes[i])
	}
	for i := range p.Prior {
		texts = append(texts, &p.Prior[i].ID, &p.Prior[i].Issuer)
	}
	for _, text := range texts {
		*text = strings.Clone(*text)
	}
}

// A jwt is an access token that can be read, before it is verified.
type jwt struct {
	*statement
	alg     string
	payload strictjson.Object
}

// signedOf returns what of a JWT is signed: all but its signature.
func signedOf(raw string) string { return raw[:strings.LastIndexByte(raw, '.')] }

// isCanonical reports whether header and claims of a JWT are written in the only way that base64url has for them. With
// other unused bits at their ends they say the same, and the signature is as good.
func isCanonical(raw string) bool {
	for _, piece := range strings.Split(signedOf(raw), ".") {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(piece); err != nil {
			return false
		}
	}
	return true
}

// readPresented reads a token if it is a JWT, and refuses one that cannot be good whatever its signature
// is. It returns nil for what is no JWT.
func (v *Verifier) readPresented(raw, resource string) (*jwt, error) {
	header, payload, err := split(raw)
	switch {
	case err != nil && looksLikeJWT(raw):
		return nil, mismatch("access token is a JWT that cannot be read")
	case err != nil:
		return nil, nil
	case !isCanonical(raw):
		return nil, mismatch("access token is a JWT that is not written as it was issued")
	}
	alg, _, err1 := header.String("alg")
	kind, _, err2 := header.String("typ")
	if err := errors.Join(err1, err2); err != nil {
		return nil, mismatch("access token: %v", err)
	}
	kind = strings.TrimPrefix(claims.LowerASCII(kind), "application/")
	switch {
	case alg == "" || strings.EqualFold(alg, "none"):
		return nil, mismatch("access token is not signed")
	case kind != "at+jwt" && kind != "jwt" && kind != "":
		return nil, mismatch("the JWT is no access token (typ)")
	case kind != "at+jwt" && isIDToken(payload, v.ClientID):
		return nil, mismatch("the JWT is an id_token")
	}
	if issuer, _, err := payload.String("iss"); err != nil || issuer != v.Issuer {
		return nil, mismatch("access token is of another issuer")
	}
	if _, said, err := payload.Time("exp"); err != nil || !said { // null is none
		return nil, mismatch("access token has no exp")
	}
	if err := v.suits(accessToken, payload, resource, false); err != nil {
		return nil, err
	}
	s, err := readWithSubject(accessToken, payload)
	if err != nil {
		return nil, err
	}
	return &jwt{s, alg, payload}, nil
}

// isIDToken reports whether a JWT that does not say in its header what it is may be an id_token. Those
// are for the client, and a resource identifier never is its ID; some have several audiences.
func isIDToken(payload strictjson.Object, clientID string) bool {
	audience, _ := audiences(payload)
	return slices.Contains(audience, clientID) || payload.Has("at_hash") || payload.Has("c_hash")
}

// suits refuses claims of a token that is not for this resource, not for this moment, no access token,
// or bound to a key. silent says that the claims need not say for whom they are.
func (v *Verifier) suits(source string, payload strictjson.Object, resource string, silent bool) error {
	audience, err := audiences(payload)
	switch {
	case err != nil:
		return mismatch("%s: %v", source, err)
	case !slices.Contains(audience, resource) && (audience != nil || !silent):
		return mismatch("%s is for another audience than Config.API.Resource", source)
	}
	if bound, said := payload.Raw("cnf"); said && string(bound) != "null" {
		return mismatch("%s is bound to a key (cnf), so it must not come as Bearer", source) // RFC 9449 section 7.2
	}
	for _, claim := range [...]string{"typ", "token_use", "token_type"} { // of the claims, as some servers tell their tokens apart
		if kind, _, err := payload.String(claim); err != nil || !isAccessToken(kind) {
			return mismatch("%s is no access token (%s)", source, claim)
		}
	}
	now := time.Now()
	expires, hasExpiry, err1 := payload.Time("exp")
	begins, _, err2 := payload.Time("nbf")
	issued, _, err3 := payload.Time("iat")
	switch err := errors.Join(err1, err2, err3); {
	case err != nil:
		return mismatch("%s: %v", source, err)
	case hasExpiry && !now.Before(expires):
		return mismatch("%s has expired", source)
	case begins.After(now.Add(Skew)):
		return mismatch("%s is not valid yet (nbf)", source)
	case issued.After(now.Add(Skew)):
		return mismatch("%s was issued in the future (iat)", source)
	}
	return nil
}

// isAccessToken reports whether a server calls its token an access token, or says nothing. Keycloak
// has "Bearer", "ID", "Refresh" and more, Cognito and Hydra have "access", "id" and "access_token", "refresh_token".
func isAccessToken(kind string) bool {
	return slices.Contains([]string{"", "bearer", "access", "access_token", "at+jwt", "jwt"}, claims.LowerASCII(kind))
}

// audiences returns aud, which may be a text or a list; nil if there is none.
func audiences(payload strictjson.Object) ([]string, error) {
	if one, said, err := payload.String("aud"); err == nil && said {
		return []string{one}, nil
	}
	list, said, err := payload.Strings("aud")
	if err == nil && said && list == nil {
		list = []string{}
	}
	return list, err
}

// verified reports whether a JWT is signed with a key of the server. It returns false for one that
// nothing here can verify, so that only the server can say whether it is good.
func (v *Verifier) verified(ctx context.Context, m *wire.Metadata, raw, alg string) (bool, error) {
	var err error
	switch {
	case alg == "HS256" && len(v.TokenKey) > 0:
		err = wire.VerifyHS256(raw, v.TokenKey)
	case m.Keys != nil && wire.Accepts(alg):
		err = m.Keys.VerifyUnasked(ctx, raw)
	default:
		return false, nil
	}
	if err != nil {
		return false, keyError(accessToken, alg, err)
	}
	return true, nil
}

// askFor has the server say what it knows of a token. Where nothing else has been believed, it has to
// say for whom the token is.
func (v *Verifier) askFor(ctx context.Context, ask Asker, raw, resource string, p *Presented) (*statement, error) {
	const source = "introspection"
	in, err := ask(ctx, raw)
	switch {
	case err != nil:
		return nil, err
	case !in.Active:
		return nil, wire.ErrInactive
	case in.Issuer != "" && in.Issuer != v.Issuer:
		return nil, mismatch("token is of another issuer")
	}
	alone := p.Owner == nil
	if err := v.suits(source, in.Claims, resource, !alone); err != nil {
		return nil, err
	}
	s, err := readWithSubject(source, in.Claims)
	switch {
	case err != nil:
		return nil, err
	case s.subject == "" && alone:
		return nil, mismatch("introspection says no sub")
	}
	s.proven = true
	p.take(in.Claims)
	return s, nil
}

// take takes what proven claims say beside who is who. What was taken before counts, but for the
// sooner end.
func (p *Presented) take(payload strictjson.Object) {
	id, _, _ := payload.String("jti")
	issued, _, _ := payload.Time("iat")
	expires, said, _ := payload.Time("exp")
	p.ID = cmp.Or(p.ID, id)
	if p.IssuedAt.IsZero() {
		p.IssuedAt = issued
	}
	if said && (p.Expires.IsZero() || expires.Before(p.Expires)) {
		p.Expires = expires
	}
	if owner := wire.OwnerIn(payload); p.Owner == nil || p.Owner.Email == "" {
		p.Owner = owner
	}
}
