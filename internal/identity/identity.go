// Package identity establishes whom a token answer speaks of: which agent, and for which user it
// acts, or which person.
//
// What proves it: a verified id_token where one was sent; the claims of a JWT access token, which
// came straight from the token endpoint to an authenticated client; introspection. At a server
// where sub is the agent, the first of them that says something is enough. Where sub is the user,
// the agent may be named by any of them, and all that say something have to agree.
package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent/audit"
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
	Kind    Kind
	Subject string // sub, as it is
	Agent   string // the agent's ID; empty for a person
	User    string // the user for whom the agent acts, if the issuer says so; the person

	Model  string        // self-declared, cleaned
	SID    string        // the issuer's ID of the session there; may be empty
	Prior  []audit.Agent // actors before the agent: history, and nothing else
	Scopes []string      // what all that say something grant; nil if nothing says it
	Claims []byte        // those of the id_token, for a person
}

// A Kind says what an identity is.
type Kind int8

const (
	Agent  Kind = iota
	Person      // no agent at all
)

// Verifier establishes identities for one client of one server.
type Verifier struct {
	Issuer, ClientID string
	SubjectIsUser    bool   // sub is the user, act.sub the agent (RFC 8693 section 4.1); otherwise sub is the agent
	People           bool   // with SubjectIsUser: who has no agent is a person
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
	var e evidence
	if t.ID != "" {
		if e.id, err = v.idToken(ctx, m, t, nonce); err != nil {
			return nil, err
		}
	}
	if e.access, err = v.accessToken(ctx, m, t.Access, t.ID != ""); err != nil {
		return nil, err
	}
	if v.asks(m, e) {
		alone := !e.id.believed() && !e.access.believed()
		if e.asked, err = v.introspect(ctx, server, t.Access, alone); err != nil {
			return nil, err
		}
	}
	return v.conclude(e)
}

// asks reports whether the server has to be asked about the access token: where the settings
// say so, where nothing else can be believed, and where nothing has named an agent yet.
func (v *Verifier) asks(m *wire.Metadata, e evidence) bool {
	named := e.id.names() || e.access.names()
	return v.Introspect || !e.id.believed() && !e.access.believed() || v.SubjectIsUser && !named && m.Introspection != ""
}

func mismatch(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, args...))
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
		in.Subject != "" && in.Subject != want.Subject:
		return mismatch("the server speaks of another subject than at sign-in")
	}
	said, err := read("introspection", in.Claims)
	if err != nil {
		return err
	}
	return v.sameAgent(said, want)
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
		if _, err := v.refreshed("the refreshed id_token", payload, want); err != nil {
			return err
		}
	}
	after, _, err := parts(fresh.Access)
	if err != nil {
		return nil
	}
	now, err := v.refreshed("the refreshed access token", after, want)
	if err != nil {
		return err
	}
	before, _, err := parts(access)
	if err != nil {
		return nil
	}
	for _, claim := range [...]string{"iss", "sub", "client_id"} {
		if value, said, _ := before.String(claim); said && !says(after, claim, value) {
			return mismatch("the refreshed access token has another %s than before", claim)
		}
	}
	if _, acted, _ := before.Object("act"); acted && len(now.actors) == 0 {
		return mismatch("the refreshed access token has no act, as it had before")
	}
	return nil
}

// refreshed reads the claims of a refreshed token.
func (v *Verifier) refreshed(what string, payload strictjson.Object, want Identity) (*statement, error) {
	s, err := read(what, payload)
	if err != nil {
		return nil, err
	}
	return s, v.sameAgent(s, want)
}

// sameAgent refuses what names another agent than at sign-in, if it names any.
func (v *Verifier) sameAgent(s *statement, want Identity) error {
	if len(s.actors) > 0 {
		if by := s.actors[0]; !v.SubjectIsUser || by.ID != want.Agent || by.Issuer != "" && by.Issuer != v.Issuer {
			return mismatch("%s has another act than at sign-in", s.source)
		}
	}
	if v.SubjectIsUser && want.Agent != want.Subject && slices.Contains(s.subjectKinds, aiAgent) {
		return mismatch("%s says that the user is an agent (sub_profile)", s.source)
	}
	return nil
}

func says(o strictjson.Object, claim, want string) bool {
	value, said, _ := o.String(claim)
	return said && value == want
}
