// Package door lets in agents that come to a site's API with an access token of the authorization
// server. It finds out which session a token stands for, and remembers that for a while. Whether the
// session holds is not its business: that is asked on each request, as for any other.
package door

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authagent-go/authagent/api"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/problem"
)

const (
	// verifiedFor is for how long a signature that was verified counts: so long, at most, a key that
	// the server has withdrawn still opens the door.
	verifiedFor = 5 * time.Minute

	// refusedFor is for how long a token that was refused is refused without a look. It may be signed
	// with a key that the server has only now published.
	refusedFor = 10 * time.Second

	// askedFor is the default of api.Settings.IntrospectEvery.
	askedFor = 30 * time.Second

	// sharedFor is for how long one failure to reach the server answers all that wait for it.
	sharedFor = time.Second

	// toldRefusals is how many refusals of one client address the operator is told the reason of, in a minute. Of a
	// /48 network of IPv6 it is limit.Wider times as many.
	toldRefusals = 10

	// maxRefusedBegins is how often in a minute an agent is asked about for one user that the site does not let in, such
	// as one that waits for its owner.
	maxRefusedBegins = 20

	// timeout bounds what goes on for a request that has gone away, since others may wait for it.
	timeout = time.Minute
)

const step = "verify access token"

// ErrToken refuses an access token, or the session that it stands for. It is no news to the operator.
var ErrToken = failure.New(reasons.InvalidToken, step, "the access token is not good, or its session has ended")

// A Door is the API's of one relying party. Make one with New. It is safe for concurrent use.
type Door[S any] struct {
	Site[S]
	known   table[S]
	asking  asking
	verify  *once.Group[outcome[S]] // by token
	told    *limit.Addresses        // why tokens are refused, by client address
	begins  *limit.Limiter          // of sessions that the site refused, by agent and user
	askedOn time.Duration
}

// A Site is what a door needs of its relying party.
type Site[S any] struct {
	api.Settings
	Server   *wire.Server
	Identity *identity.Verifier
	Panics   failure.Panics
	Address  func(*http.Request) string // of the client

	// Begin returns the session of an agent whose token was verified, as at a sign-in. The ID is the
	// session's.
	Begin func(r *http.Request, id string, p *identity.Presented) (*S, error)

	// Again returns the session of an agent whose token was verified again.
	Again func(s *S, p *identity.Presented) *S

	// End ends the session of a token by which the server does not stand any more, at every instance.
	End func(ctx context.Context, id string) error
}

// A holder is whose token it is. It stays so.
type holder struct{ agent, user, subject, id string }

type outcome[S any] struct {
	entry *entry[S]
	err   error
}

// New returns the door of a site, or nil if the settings open none.
func New[S any](site Site[S]) *Door[S] {
	if site.Resource == "" {
		return nil
	}
	d := &Door[S]{
		Site: site, verify: once.New[outcome[S]](sharedFor), askedOn: site.IntrospectEvery,
		told: limit.NewAddresses(toldRefusals, time.Minute), begins: limit.New(maxRefusedBegins, time.Minute),
	}
	if d.askedOn == 0 {
		d.askedOn = askedFor
	}
	return d
}

// Token returns the access token of a request that is an agent's. A nil door looks at none. The site
// may know the token as its own.
func (d *Door[S]) Token(r *http.Request) (token string, came bool, err error) {
	if d == nil || len(r.Header["Authorization"]) == 0 {
		return "", false, nil
	}
	if token, came, err = Token(r); !came || err != nil || d.Own == nil {
		return token, came, err
	}
	own, wrong := failure.Ask(d.Panics, "ask whose token it is", func() (bool, error) { return d.Own(r), nil })
	switch {
	case wrong != nil:
		return "", true, failure.OfSite("ask whose token it is", wrong)
	case own:
		return "", false, nil
	}
	return token, came, err
}

// Session returns the session that a token stands for, as it was when the token was verified. The caller
// may change it. A token is verified once for all that wait for it.
func (d *Door[S]) Session(r *http.Request, token string) (*S, error) {
	k, now := key(sha256.Sum256([]byte(token))), time.Now()
	e, refused := d.known.find(k, now)
	switch {
	case refused:
		return nil, ErrToken
	case !e.opens(now):
		done, _, err := d.verify.Do(r.Context(), string(k[:]), func() (outcome[S], bool) { return d.look(r, k, token) })
		if err == nil {
			err = done.err
		}
		if err != nil {
			return nil, d.bounded(r, err)
		}
		e = done.entry
	}
	own := *e.session
	return &own, nil
}

// look verifies a token, unless that was done while this request waited. Its outcome lasts if the server
// has failed: those who wait do not ask it one after the other.
func (d *Door[S]) look(r *http.Request, k key, token string) (done outcome[S], lasts bool) {
	now := time.Now()
	e, refused := d.known.find(k, now)
	switch {
	case refused:
		return outcome[S]{err: ErrToken}, false
	case e.opens(now):
		return outcome[S]{entry: e}, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), timeout)
	defer cancel()
	if e == nil || !now.Before(e.until) {
		var err error
		if e, lasts, err = d.verified(ctx, r, k, token, e); err != nil {
			return outcome[S]{err: err}, lasts
		}
	}
	if e.session != nil {
		return outcome[S]{entry: e}, false
	}
	session, err := d.begin(r.WithContext(ctx), e.id, e.presented)
	switch reason, _ := failure.ReasonOf(err); {
	case err != nil && reason == reasons.InvalidToken:
		return outcome[S]{err: d.refuse(ctx, r, k, nil, err)}, false
	case err != nil: // the site may decide otherwise in a moment, and the server is not asked again for that
		return outcome[S]{err: err}, false
	}
	begun := *e
	begun.session = session
	d.known.keep(k, &begun)
	return outcome[S]{entry: &begun}, false
}

// verified verifies a token, of which before is what is remembered, if anything is. What it finds is remembered, also
// while the site lets the agent not in.
func (d *Door[S]) verified(ctx context.Context, r *http.Request, k key, token string, before *entry[S]) (e *entry[S], lasts bool, err error) {
	p, err := d.Identity.Present(ctx, d.Server, d.asker(r, before), token, d.Resource)
	if err == nil && before != nil && holderOf(p) != holderOf(before.presented) {
		err = identity.ErrMismatch
	}
	switch {
	case errors.Is(err, identity.ErrMismatch), errors.Is(err, wire.ErrInactive):
		return nil, false, d.refuse(ctx, r, k, before, err)
	case errors.As(err, new(*problem.Error)): // too many are being introspected
		return nil, false, err
	case err != nil:
		return nil, true, ofServer(err)
	}
	e = &entry[S]{id: d.id(p), presented: p, until: d.again(p)}
	if before != nil && before.session != nil {
		e.session = d.Again(before.session, p)
		if lost(before.presented.Scopes, p.Scopes) {
			if err := d.End(ctx, marks.Lowered(e.id)); err != nil {
				return nil, false, failure.OfSite("end sessions that go on with a token", err)
			}
		}
	}
	d.known.keep(k, e)
	return e, false, nil
}

// lost reports whether a scope that was granted is not any more.
func lost(before, now []string) bool {
	return slices.ContainsFunc(before, func(scope string) bool { return !slices.Contains(now, scope) })
}

// ofServer says what an error of the server means here. Whatever it says, the token may be good, so the request is
// not at fault.
func ofServer(err error) error {
	f := failure.OfServer(step, err)
	if reason, _ := failure.ReasonOf(f); reason == reasons.TokenRefused {
		return failure.New(reasons.InvalidResponse, step, "%w", err)
	}
	return f
}

// begin begins a session. An agent that is refused is not asked about as often as it likes.
func (d *Door[S]) begin(r *http.Request, id string, p *identity.Presented) (*S, error) {
	who := p.Agent + " " + p.User
	if wait := d.begins.Allow(who); wait > 0 {
		e := failure.New(problem.Limited, "begin session", "the agent has been refused too often")
		e.RetryAfter = wait
		return nil, e
	}
	s, err := d.Begin(r, id, p)
	if reason, _ := failure.ReasonOf(err); err == nil || reason == reasons.InvalidToken {
		d.begins.Return(who) // a token that has ended, and may have been stolen, keeps no other one out
	}
	return s, err
}

// refuse remembers that a token is refused. The session that it stood for ends. The error is ErrToken or, for
// the operator, says why.
func (d *Door[S]) refuse(ctx context.Context, r *http.Request, k key, before *entry[S], why error) error {
	if before.lives(time.Now()) {
		if err := d.End(ctx, before.id); err != nil {
			return failure.OfSite("end session", err)
		}
	}
	d.known.refuse(k, time.Now().Add(refusedFor))
	return failure.New(reasons.InvalidToken, step, "%w", why)
}

// bounded returns the error for a request, which is no news after some of one client address: anybody can send
// tokens that were made up. What the site has decided about an agent is always told.
func (d *Door[S]) bounded(r *http.Request, err error) error {
	reason, decided := failure.ReasonOf(err)
	switch {
	case err == error(ErrToken), decided && reason != reasons.InvalidToken && reason != problem.Limited:
		return err
	case d.told.Allow(d.Address(r)):
		return err
	case reason == reasons.InvalidToken:
		return ErrToken
	}
	return noNews{err}
}

// noNews is an error of which the operator has been told enough.
type noNews struct{ error }

func (n noNews) Unwrap() error { return n.error }

// IsNews reports whether the operator is to be told of an error.
func IsNews(err error) bool { return err != error(ErrToken) && !errors.As(err, new(noNews)) }

// asker introspects for a request, within the bounds. A token that was good before is none that was made up.
func (d *Door[S]) asker(r *http.Request, before *entry[S]) identity.Asker {
	if before != nil {
		return d.Server.Introspect
	}
	return func(ctx context.Context, token string) (*wire.Introspection, error) {
		done, err := d.asking.begin(d.Address(r))
		if err != nil {
			return nil, err
		}
		defer done()
		return d.Server.Introspect(ctx, token)
	}
}

// again is when a token has to be verified again.
func (d *Door[S]) again(p *identity.Presented) time.Time {
	if p.Asked {
		return time.Now().Add(d.askedOn)
	}
	return time.Now().Add(verifiedFor)
}

func holderOf(p *identity.Presented) holder { return holder{p.Agent, p.User, p.Subject, p.ID} }

// id names the session of a token, at every instance alike: by the issuer, whose token it is and its ID, or by the
// token itself. So no agent ends the session of another, whatever ID the server gives to tokens.
func (d *Door[S]) id(p *identity.Presented) string {
	k := p.Name
	if p.ID != "" {
		k = sha256.Sum256([]byte(strings.Join([]string{"jti " + d.Identity.Issuer, p.Agent, p.User, p.ID}, "\n")))
	}
	return base64.RawURLEncoding.EncodeToString(k[:24])
}
