// Package identity establishes which agent a token answer speaks of.
//
// What proves it, in this order: a verified id_token where one was sent; else
// the claims of a JWT access token, which came straight from the token endpoint
// to an authenticated client; else introspection.
package identity

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/strictjson"
	"github.com/authagent-go/authagent/internal/wire"
)

// Skew is how far the clocks of site and server may be apart.
const Skew = time.Minute

// ErrMismatch says that an answer speaks of another issuer, client, subject or
// login than the one it was given for, has expired, or is not signed as it must be.
var ErrMismatch = errors.New("identity does not match")

// Identity is who a token answer speaks of.
type Identity struct {
	Subject string // sub, as it is
	Agent   string // the agent's ID
	Model   string // self-declared, cleaned
}

// Verifier establishes identities for one client of one server.
type Verifier struct {
	Issuer, ClientID string
	SubjectIsUser    bool   // sub is the user, act.sub the agent (RFC 8693 section 4.1); otherwise sub is the agent
	TokenKey         []byte // the secret that the server signs access tokens with, if the site holds it
	Introspect       bool   // ask the server even where the token speaks for itself
}

// Establish returns the identity behind t, which was given in answer to a login
// with this nonce (empty if no nonce was sent).
func (v *Verifier) Establish(ctx context.Context, server *wire.Server, t *wire.Token, nonce string) (*Identity, error) {
	m, err := server.Get(ctx)
	if err != nil {
		return nil, err
	}
	var id *Identity
	if t.ID != "" {
		id, err = v.idToken(ctx, m, t, nonce)
	} else {
		id, err = v.accessToken(ctx, m, t.Access)
	}
	if err != nil || id != nil && !v.Introspect {
		return id, err
	}
	asked, err := v.introspect(ctx, server, t.Access)
	if err != nil {
		return nil, err
	}
	if id != nil && (id.Agent != asked.Agent || id.Subject != asked.Subject) {
		return nil, mismatch("introspection speaks of another subject than the token")
	}
	return asked, nil
}

func mismatch(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, args...))
}

// idToken verifies as OpenID Connect Core section 3.1.3.7 demands.
func (v *Verifier) idToken(ctx context.Context, m *wire.Metadata, t *wire.Token, nonce string) (*Identity, error) {
	payload, alg, err := parts(t.ID)
	if err != nil {
		return nil, mismatch("id_token is none that can be read")
	}
	if err := v.accepts(m, alg); err != nil {
		return nil, err
	}
	var signature error
	token, err := oidc.NewVerifier(v.Issuer, keys{v, m, alg, &signature}, &oidc.Config{
		ClientID: v.ClientID, SupportedSigningAlgs: []string{alg},
		Now: func() time.Time { return time.Now().Add(-Skew) },
	}).Verify(ctx, t.ID)
	if err != nil {
		return nil, keyError("id_token", alg, errors.Join(signature, err))
	}
	if token.IssuedAt.IsZero() || token.IssuedAt.Unix() == 0 {
		return nil, mismatch("id_token has no iat")
	}
	if nonce == "" || subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return nil, mismatch("id_token has another nonce")
	}
	if azp, said, err := payload.String("azp"); err != nil || said && azp != v.ClientID || !said && len(token.Audience) > 1 {
		return nil, mismatch("id_token was given to another client (azp)")
	}
	if token.AccessTokenHash != "" && !hashes(token, alg, t.Access) {
		return nil, mismatch("id_token belongs to another access token (at_hash)")
	}
	return v.principal(payload)
}

// accessToken reads a JWT access token. It returns nil for a token that is not
// one, does not say whom it is for, or cannot be verified: it is opaque to a client
// (RFC 9068 section 6).
func (v *Verifier) accessToken(ctx context.Context, m *wire.Metadata, raw string) (*Identity, error) {
	payload, alg, err := parts(raw)
	if err != nil {
		return nil, nil // two dots do not make a JWT
	}
	verified, err := v.signature(ctx, m, raw, alg)
	if err != nil {
		return nil, err
	}
	issuer, hasIssuer, err1 := payload.String("iss")
	client, hasClient, err2 := payload.String("client_id")
	expires, hasExpiry, err3 := payload.Time("exp")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, mismatch("access token: %v", err)
	}
	switch {
	case hasIssuer && issuer != v.Issuer:
		return nil, mismatch("access token is of another issuer")
	case hasClient && client != v.ClientID:
		return nil, mismatch("access token was given to another client")
	case hasExpiry && time.Now().After(expires.Add(Skew)):
		return nil, mismatch("access token has expired")
	case !verified || !hasIssuer || !hasClient || !hasExpiry || !payload.Has("sub"):
		return nil, nil
	}
	return v.principal(payload)
}

// parts returns the claims of a JWT and its algorithm, unverified.
func parts(raw string) (payload strictjson.Object, alg string, err error) {
	if strings.Count(raw, ".") != 2 {
		return payload, "", errors.New("not a JWT")
	}
	var objects [2]strictjson.Object
	for i := range objects {
		var piece string
		piece, raw, _ = strings.Cut(raw, ".")
		data, err := base64.RawURLEncoding.DecodeString(piece)
		if err != nil {
			return payload, "", errors.New("not a JWT")
		}
		if objects[i], err = strictjson.Parse(data); err != nil {
			return payload, "", err
		}
	}
	alg, _, err = objects[0].String("alg")
	return objects[1], alg, err
}

// principal reads the agent out of verified claims. Which claim it is depends on
// the issuer's profile alone; a token of the other shape is refused, because to
// guess would be to take a user for an agent or the reverse.
func (v *Verifier) principal(payload strictjson.Object) (*Identity, error) {
	subject, _, err := payload.String("sub")
	if err == nil {
		err = claims.Subject(subject)
	}
	if err != nil {
		return nil, mismatch("%v", err)
	}
	actor, hasActor, err := payload.Object("act")
	if err != nil {
		return nil, mismatch("%v", err)
	}
	by := ""
	if hasActor {
		by, _, _ = actor.String("sub") // what is no string is no subject, as none is
		if issuer, said, err := actor.String("iss"); err != nil || said && issuer != v.Issuer {
			return nil, mismatch("act is of another issuer")
		}
	}
	model, _, _ := payload.String("model")
	return v.identify(subject, by, hasActor, model)
}

func (v *Verifier) identify(subject, actor string, hasActor bool, model string) (*Identity, error) {
	id := &Identity{Subject: subject, Agent: subject, Model: claims.Text(model)}
	switch {
	case hasActor != v.SubjectIsUser:
		return nil, mismatch("the token names agent and user in another way than the settings say (act)")
	case actor == subject:
		return nil, mismatch("act and sub are the same")
	case v.SubjectIsUser:
		if err := claims.Subject(actor); err != nil {
			return nil, mismatch("act: %v", err)
		}
		id.Agent = actor
	}
	return id, nil
}

// Confirm asks the server whether it still stands by an access token, whose
// identity is known. It returns wire.ErrInactive if not, and ErrMismatch if the
// server now speaks of somebody else. RFC 7662 section 2.2 lets a server leave out
// all but active, and what it says of the expiry is its own clock's business.
func (v *Verifier) Confirm(ctx context.Context, server *wire.Server, access string, want Identity) error {
	in, err := server.Introspect(ctx, access)
	switch {
	case err != nil:
		return err
	case !in.Active:
		return wire.ErrInactive
	case in.ClientID != "" && in.ClientID != v.ClientID, in.Issuer != "" && in.Issuer != v.Issuer,
		in.Subject != "" && in.Subject != want.Subject, in.Actor != "" && in.Actor != want.Agent:
		return mismatch("the server speaks of another subject than at sign-in")
	}
	return nil
}

// Refreshed checks that refreshed tokens speak of nobody else than those that
// they replace (OpenID Connect Core section 12.2). Where an access token is a JWT,
// its claims were or were not what the identity rests on; they stay what they
// are. No signature is looked at: nothing is believed here, only refused.
func (v *Verifier) Refreshed(access string, fresh *wire.Token, want Identity) error {
	if fresh.ID != "" {
		payload, _, err := parts(fresh.ID)
		if err != nil || !says(payload, "iss", v.Issuer) || !says(payload, "sub", want.Subject) {
			return mismatch("the refreshed id_token is of another issuer or subject than at sign-in")
		}
	}
	before, _, err := parts(access)
	if err != nil {
		return nil
	}
	after, _, err := parts(fresh.Access)
	if err != nil {
		return nil
	}
	for _, claim := range [...]string{"iss", "sub", "client_id"} {
		if value, said, _ := before.String(claim); said && !says(after, claim, value) {
			return mismatch("the refreshed access token has another %s than before", claim)
		}
	}
	was, acted, _ := before.Object("act")
	if by, _, _ := was.String("sub"); acted {
		if is, _, _ := after.Object("act"); !says(is, "sub", by) {
			return mismatch("the refreshed access token has another act than before")
		}
	}
	return nil
}

func says(o strictjson.Object, claim, want string) bool {
	value, said, _ := o.String(claim)
	return said && value == want
}

func (v *Verifier) introspect(ctx context.Context, server *wire.Server, access string) (*Identity, error) {
	in, err := server.Introspect(ctx, access)
	switch {
	case err != nil:
		return nil, err
	case !in.Active:
		return nil, wire.ErrInactive
	case in.ClientID != v.ClientID: // RFC 7662 section 4; the published server answers for anybody's token
		return nil, mismatch("token was given to another client")
	case in.Issuer != "" && in.Issuer != v.Issuer:
		return nil, mismatch("token is of another issuer")
	case in.ActorIssuer != "" && in.ActorIssuer != v.Issuer:
		return nil, mismatch("act is of another issuer")
	case !in.Expires.IsZero() && time.Now().After(in.Expires.Add(Skew)):
		return nil, mismatch("token has expired")
	}
	if err := claims.Subject(in.Subject); err != nil {
		return nil, mismatch("%v", err)
	}
	return v.identify(in.Subject, in.Actor, in.Actor != "", in.Model)
}
