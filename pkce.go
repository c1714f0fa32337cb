package authagent

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/accounts"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/checkup"
	"github.com/authagent-go/authagent/internal/door"
	"github.com/authagent-go/authagent/internal/environ"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/jar"
	"github.com/authagent-go/authagent/internal/kept"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/once"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/settings"
	keeper "github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/problem"
	"github.com/authagent-go/authagent/provider"
	"github.com/authagent-go/authagent/tokens"
)

// This file holds one login's secrets, what is done with the answer to it, the tokens that come of it or
// with an agent, and the server's settings.

const (
	// loginTTL is how long a login may take. The Auth Agent server gives the agent 120 s, its code 600.
	loginTTL = 10 * time.Minute

	// maxPending and maxPendingBytes bound the cookies of the logins that a browser has under way.
	maxPending      = 5
	maxPendingBytes = 6 << 10

	// finishTimeout bounds what goes on for a browser that has gone away: it is more than all
	// requests to the server, and the turns of agents that sign in within one second, can take.
	finishTimeout = time.Minute

	// finishedFor is how long the outcome of a login is there for a browser that asks again.
	finishedFor = time.Minute

	loginIDLength = 8 // characters of the state that name its login

	stateBytes    = 32
	verifierBytes = 32
	nonceBytes    = 16

	// Their lengths as text, in base64 without padding.
	stateLength     = (stateBytes*8 + 5) / 6
	verifierLength  = (verifierBytes*8 + 5) / 6
	nonceLength     = (nonceBytes*8 + 5) / 6
	challengeLength = (sha256.Size*8 + 5) / 6
)

// A login holds the secrets of one login that is under way. They are made when it starts, kept in the browser, and
// checked when the browser comes back. It prints as its ID, under the conditions of [Config].
type login struct {
	// State ties the authorization response to the browser that asked for it (RFC 6749 section 10.12). It is 256 random
	// bits, in an alphabet that survives the Auth Agent server's redirect, which escapes nothing. Its first eight
	// characters are the login's ID.
	State string

	// Verifier is the PKCE code verifier: 256 random bits, as RFC 7636 section 4.1 recommends.
	Verifier string

	// Nonce ties an id_token to the login (OpenID Connect Core section 3.1.2.1). It is sent with the openid scope.
	Nonce string

	ReturnTo  string    // the path on this site to land on, which has been checked
	HumanID   string    // the human who connects an agent to their account; empty where an agent signs in
	StartedAt time.Time // when the login started
}

// newLogin makes the secrets of a login that ends at returnTo, which the caller has checked.
func newLogin(returnTo string) *login {
	var random [stateBytes + verifierBytes + nonceBytes]byte
	rand.Read(random[:]) // never fails
	var text [stateLength + verifierLength + nonceLength]byte
	base64.RawURLEncoding.Encode(text[:], random[:stateBytes])
	base64.RawURLEncoding.Encode(text[stateLength:], random[stateBytes:stateBytes+verifierBytes])
	base64.RawURLEncoding.Encode(text[stateLength+verifierLength:], random[stateBytes+verifierBytes:])
	secrets := string(text[:])
	return &login{
		State:     secrets[:stateLength],
		Verifier:  secrets[stateLength : stateLength+verifierLength],
		Nonce:     secrets[stateLength+verifierLength:],
		ReturnTo:  returnTo,
		StartedAt: time.Now(),
	}
}

// fields are what is kept of l. A new one goes to the end, which older instances do not read.
func (l *login) fields(f *seal.Fields) {
	f.Seconds(&l.StartedAt)
	f.Texts(&l.State, &l.Verifier, &l.Nonce, &l.ReturnTo, &l.HumanID)
}

// ID names the login without giving its state away.
func (l *login) ID() string { return l.State[:loginIDLength] }

// challenge returns the S256 code challenge: BASE64URL(SHA256(verifier)) without padding (RFC 7636 section 4.2).
func (l *login) challenge() (text [challengeLength]byte) {
	verifier := append(make([]byte, 0, verifierLength), l.Verifier...) // on the stack
	sum := sha256.Sum256(verifier)
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return text
}

// String returns the login's ID.
func (l login) String() string { return "login " + l.ID() }

// Format prints the login's ID for every verb, so that no secret is logged.
func (l login) Format(f fmt.State, _ rune) { fmt.Fprint(f, l.String()) }

// MarshalText returns the login's ID: a login must not be stored in the clear.
func (l login) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// authorizationRequest returns what is the same for all logins.
func (rp *RelyingParty) authorizationRequest(ctx context.Context) (request *wire.AuthorizationRequest, err error) {
	m, err := rp.server.Get(ctx)
	if errors.Is(err, wire.ErrPanic) {
		return nil, failure.OfServer("read metadata", err)
	}
	if err == nil {
		request, err = rp.requests.At(m)
	}
	if err != nil {
		return nil, failure.New(reasons.ServerNotReady, "read metadata", "%w", err)
	}
	return request, nil
}

// url returns the address of the login at the authorization server, which may have to be told of the login first.
func (l *login) url(ctx context.Context, server *wire.Server, request *wire.AuthorizationRequest) (string, error) {
	challenge := l.challenge()
	address, err := server.Begin(ctx, request, l.State, challenge[:], l.Nonce)
	return address, failure.OfServer("push authorization request", err)
}

// pendingLogins keeps the logins that are under way in the browser, each in a sealed cookie of its own. So several tabs can
// sign in at once, any instance can finish what another began, and an abandoned login costs the site nothing.
type pendingLogins struct{ jar *jar.Several }

func newPendingLogins(prefix string, box *seal.Box, secure bool) pendingLogins {
	return pendingLogins{&jar.Several{
		Prefix: prefix, Box: box, Most: maxPending, MostBytes: maxPendingBytes,
		Attributes: browser.Attributes(int(loginTTL/time.Second), secure), Deleted: browser.Attributes(0, secure),
		Since: func(opened string) time.Time {
			if l := parseLogin(opened); l != nil {
				return l.StartedAt
			}
			return time.Time{}
		},
	}}
}

func (p pendingLogins) name(l *login) string { return p.jar.Prefix + l.ID() }

// put keeps l, and drops the oldest ones if there are too many.
func (p pendingLogins) put(w http.ResponseWriter, r *http.Request, l *login) {
	name := p.name(l)
	p.jar.Add(w, r, name, l.seal(seal.Overhead+len(name)))
}

// take returns the login that this browser began with this state.
func (p pendingLogins) take(r *http.Request, state string) (*login, error) {
	const step = "match state"
	if len(state) != stateLength {
		return nil, failure.New(reasons.StateMismatch, step, "state is missing or not one of ours")
	}
	value, err := p.jar.Get(r, p.jar.Prefix+state[:loginIDLength])
	switch {
	case errors.Is(err, jar.ErrNone):
		return nil, failure.New(reasons.StateMismatch, step, "this browser has no pending login of that state")
	case err != nil:
		return nil, failure.New(reasons.StateMismatch, step, "the pending login does not open")
	}
	l := parseLogin(value)
	switch {
	case l == nil:
		return nil, failure.New(reasons.StateMismatch, step, "the pending login is of another version")
	case subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1:
		return nil, failure.New(reasons.StateMismatch, step, "state is another than the one this browser was given")
	}
	return l, nil
}

// drop forgets a login that has come to its end.
func (p pendingLogins) drop(w http.ResponseWriter, l *login) { p.jar.Remove(w, p.name(l)) }

// seal returns l as it is kept, with room for so many bytes more.
func (l *login) seal(room int) []byte {
	size := len(l.State) + len(l.Verifier) + len(l.Nonce) + len(l.ReturnTo) + len(l.HumanID) + 24
	f := seal.WriteTo(make([]byte, 0, size+room))
	l.fields(f)
	return f.Written()
}

// parseLogin returns what seal has made, or nil for another version: a value that older instances cannot read begins with
// a negative number. They leave its cookie in place.
func parseLogin(value string) *login {
	f, l := seal.ReadFrom(value), &login{}
	l.fields(f)
	if f.Err() != nil || l.StartedAt.Unix() < 0 || len(l.State) < loginIDLength {
		return nil
	}
	return l
}

// isFinished reports whether the login of this state has signed this browser in.
func (rp *RelyingParty) isFinished(r *http.Request, state string) bool {
	v, err := rp.look(r)
	s := v.Session
	return err == nil && s != nil && len(state) > loginIDLength && s.loginID == state[:loginIDLength]
}

// ready returns the server's metadata, and makes sure that the server can be asked before anything is used up. If it
// cannot, the agent can come back with the same response.
func (rp *RelyingParty) ready(ctx context.Context, r *wire.Response) (*wire.Metadata, error) {
	m, err := rp.server.Get(ctx)
	if err == nil && r.Code != "" {
		if err = rp.server.HasProof(ctx, m); err == nil {
			err = rp.server.Prepare(ctx, m)
		}
	}
	return m, failure.OfServer("reach server", err)
}

// use makes a login usable once, in time. A response without a code can sign nobody in, so a flood
// of those takes no room from other logins.
func (rp *RelyingParty) use(ctx context.Context, l *login, code bool) error {
	until := l.StartedAt.Add(loginTTL)
	if now := time.Now(); now.After(until) || l.StartedAt.After(now.Add(clockSkew)) || rp.register.Forgot(l.StartedAt) {
		return failure.New(reasons.StateExpired, "use state", "the login began more than %v ago, or before all sessions were ended", loginTTL)
	}
	switch found, err := rp.states.Use(ctx, l.State, until, !code); {
	case errors.Is(err, memory.ErrFull):
		return failure.New(reasons.Overloaded, "use state", "%w", err)
	case err != nil:
		return failure.OfSite("use state", err)
	case found == once.UnderWay:
		return errUnderWay
	case found != once.First:
		return errUsed
	}
	return nil
}

var (
	errUsed     = failure.New(reasons.StateUsed, "use state", "the login has been finished")
	errUnderWay = failure.New(reasons.UnderWay, "use state", "another request is finishing the login")
)

// An outcome is what a login has come to.
type outcome struct {
	session *Session         // nil if none was started
	person  *provider.Person // who has signed in to the site; nil for nobody
	since   marks.Since      // when the person was known
	err     error
}

// repeat answers a browser once more whose login has come to its end, and drops the login's cookie unless a retry needs it.
func (rp *RelyingParty) repeat(w http.ResponseWriter, r *http.Request, l *login, done outcome) error {
	switch {
	case done.err != nil:
	case done.session != nil:
		done.err = rp.startAgain(w, r, done.session)
	case done.person != nil:
		done.err = rp.welcome(w, r, l, done)
	}
	if done.err != nil && failure.As(done.err).RetryAfter > 0 {
		return done.err
	}
	rp.pending.drop(w, l)
	return done.err
}

// startAgain starts the same session once more, while it holds and the browser has no other.
func (rp *RelyingParty) startAgain(w http.ResponseWriter, r *http.Request, s *Session) (err error) {
	defer rp.panics.Recover("load session", &err)
	v, err := rp.find(browser.Nowhere{}, r) // what a guard outside has found out may be over by now
	if err != nil {
		return err
	}
	now, again := *s, *s // the first may be changed by who is asked
	found, err := rp.hold(r.Context(), &now)
	switch {
	case found == isUnknown:
		return failure.OfSite("load session", err)
	case found == isOver:
		rp.releaseTokens(&again)
		return errUsed
	case found != holds, v.Session != nil && v.Session.ID != s.ID:
		return errUsed
	case v.Session != nil:
		return nil
	case v.Former != nil: // the sign-in has ended the one that it met
		former := v.Former.marked()
		if ended, err := rp.register.HasEnded(r.Context(), &former); err != nil {
			return failure.OfSite("load session", err)
		} else if !ended {
			return errUsed
		}
	}
	return failure.OfSite("start session", rp.keep(w, r, &again))
}

// checkIssuer is the defence against mix-up attacks of RFC 9207 section 2.4.
func (rp *RelyingParty) checkIssuer(m *wire.Metadata, r *wire.Response) error {
	switch {
	case r.Issuer == nil && m.IssOnResponse:
		return failure.New(reasons.IssuerMismatch, "check issuer", "the response lacks the iss that the server announces")
	case r.Issuer != nil && *r.Issuer != rp.config.Issuer:
		return failure.New(reasons.IssuerMismatch, "check issuer", "iss is not the configured issuer")
	}
	return nil
}

// sameHuman makes sure that a login by which a human connects an agent ends with that human signed in, and no agent.
func (rp *RelyingParty) sameHuman(w http.ResponseWriter, r *http.Request, login *login) error {
	if login.HumanID == "" {
		return nil
	}
	switch human, err := rp.human(w, r); {
	case err != nil:
		return err
	case human != login.HumanID:
		return failure.New(problem.HumanRequired, "match human", "another human is signed in than the one who began")
	}
	return nil
}

// human returns the human who is signed in, if no agent is.
func (rp *RelyingParty) human(w http.ResponseWriter, r *http.Request) (userID string, err error) {
	if rp.config.Human == nil {
		return "", failure.OfSite("ask who is signed in", errors.New("Config.Human is not set"))
	}
	v, before, err := rp.visitor(w, r)
	if err != nil {
		return "", err
	}
	g := guard{rp: rp, name: "ConnectHandler", forbids: true, admits: people}
	v, _, err = g.admit(r, v, before)
	return v.Person(), err
}

// exchange redeems the code that answers a login. It sends one request, whatever comes back.
func (rp *RelyingParty) exchange(ctx context.Context, code string, l *login) (*wire.Token, error) {
	t, err := rp.server.Exchange(ctx, code, l.Verifier, rp.config.RedirectURL)
	return t, failure.OfServer("exchange code", err)
}

// identify verifies whom a new token speaks of, and returns the token that is good by then. The code of l was exchanged for it.
func (rp *RelyingParty) identify(ctx context.Context, issued *wire.Token, l *login) (id *identity.Identity, fresh *wire.Token, err error) {
	nonce := ""
	if slices.Contains(rp.config.Provider.Scopes, "openid") {
		nonce = l.Nonce
	}
	fresh, err = rp.server.Confirm(ctx, issued, func(t *wire.Token) (err error) {
		id, err = rp.identity.Establish(ctx, rp.server, t, nonce)
		return err
	})
	return id, fresh, failure.OfServer("establish identity", err)
}

// greet hands a person to the site for the first time.
func (rp *RelyingParty) greet(w http.ResponseWriter, r *http.Request, l *login, id *identity.Identity) (done outcome) {
	done.person = &provider.Person{Issuer: rp.config.Issuer, Subject: id.Subject, SID: id.SID, Claims: id.Claims}
	since := func() (marks.Since, error) { return rp.register.Since(r.Context(), rp.config.Issuer, id.Subject) }
	done.since, done.err = failure.Ask(rp.panics, "sign in person", since)
	if done.err = failure.OfSite("sign in person", done.err); done.err == nil {
		done.err = rp.welcome(w, r, l, done)
	}
	return done
}

// welcome hands a person to the site. Beside the cookie of an agent's session, whatever the server says, nobody is one.
func (rp *RelyingParty) welcome(w http.ResponseWriter, r *http.Request, l *login, done outcome) error {
	const step = "sign in person"
	if l.HumanID != "" {
		return failure.New(reasons.AgentRequired, "connect agent", "the server says that a person has signed in, and no agent")
	}
	v, err := rp.find(browser.Nowhere{}, r)
	switch {
	case err != nil:
		return err
	case v.Session != nil, v.Ended, rp.another(r):
		return failure.New(reasons.AgentInBrowser, step, "the browser has the cookie of an agent's session, which may have ended")
	}
	person, cookies := *done.person, slices.Clone(w.Header()["Set-Cookie"]) // their own: several requests may be answered at once
	person.ReturnTo, person.Claims = rp.refuser.ReturnPath(l.ReturnTo), slices.Clone(person.Claims)
	err = failure.OfSite(step, rp.panics.Protect(step, func() error {
		return rp.register.While(r.Context(), done.since, person.SID, errUsed, func() error {
			return rp.config.Provider.OnPerson(browser.HeaderOnly{ResponseWriter: w}, r, person)
		})
	}))
	if err != nil { // whoever is refused gets no session by halves
		w.Header()["Set-Cookie"] = cookies
		return err
	}
	rp.record(r, audit.PersonSignedIn, nil, "", nil)
	return nil
}

// connect connects the agent to the account of the human who began the login.
func (rp *RelyingParty) connect(ctx context.Context, in *SignIn, login *login) error {
	scenario, ok := scenario.As[connector](rp.config.Scenario)
	if !ok {
		return failure.OfSite("connect agent", errNoConnector)
	}
	err := rp.panics.Protect("connect agent", func() error { return scenario.Connect(ctx, in, login.HumanID) })
	return failure.OfAgent(in.Agent, "connect agent", rp.entered(ctx, login.HumanID, err))
}

// admit asks the scenario which identity the agent acts under.
func (rp *RelyingParty) admit(ctx context.Context, in *SignIn) (*Session, error) {
	now := time.Now() // before the marks are read, which are kept for the session's lifetime
	var who Principal
	var under marks.Under
	err := rp.panics.Protect("sign in", func() (err error) {
		under, err = rp.register.Begin(ctx, in.Agent, in.Subject, func(ctx context.Context) (userID string, err error) {
			who, err = rp.config.Scenario.SignIn(ctx, in)
			return who.UserID, rp.entered(ctx, cmp.Or(who.UserID, in.enters), err)
		})
		return err
	})
	switch {
	case err != nil:
	case who.Access < AccessNone || who.Access > AccessFull:
		err = fmt.Errorf("the scenario returned %v", who.Access)
	case (who.Access > AccessNone || len(who.Actions) > 0) && who.UserID == "":
		err = fmt.Errorf("the scenario returned access %v and %d actions to the data of no user", who.Access, len(who.Actions))
	case slices.ContainsFunc(who.Actions, func(name string) bool { return !wiring.IsAction(name) }):
		err = errors.New("the scenario returned an action whose name is empty or has a space in it")
	}
	if err != nil {
		e := failure.As(failure.OfAgent(in.Agent, "sign in", err))
		rp.compare.Tell(e, cmp.Or(in.userinfo, new(UserInfo)).Email, in.Subject)
		return nil, e
	}
	rp.permits.Lower(&who.Access, &who.Actions, in.Scopes, AccessFull)
	return &Session{ // whose ID has 130 random bits
		ID: rand.Text(), Agent: in.Agent, Model: in.Model, Scenario: rp.config.Scenario.Name(),
		UserID: who.UserID, ProfileID: who.ProfileID, Access: who.Access, Actions: who.Actions, GrantID: who.GrantID,
		RedirectURL: rp.config.RedirectURL, Epoch: rp.config.Session.Epoch, GrantEra: who.GrantEra,
		Subject: in.Subject, SID: in.sid, Scopes: rp.permits.Kept(in.Scopes),
		SiteMark: under.Site, AgentMark: under.Agent, UserMark: under.User, SubjectMark: under.Subject,
		StartedAt: now, ExpiresAt: now.Add(rp.config.Session.Lifetime), RemoteAddr: in.RemoteAddr,
	}, nil
}

// revokeUnused has the server revoke a token that nobody will use. With SubjectIsUser, kept tokens
// of other agents of the same user may rest on the same grant.
func (rp *RelyingParty) revokeUnused(token *wire.Token) {
	rp.server.Discard(token, rp.tokens != nil && rp.config.Provider.SubjectIsUser)
}

// newSignIn is made with the token as it was issued and as it is good now.
func (rp *RelyingParty) newSignIn(r *http.Request, id *identity.Identity, issued, fresh *wire.Token) *SignIn {
	m, _ := rp.server.Get(r.Context()) // which was there a moment ago
	in := rp.signInOf(r, id, fresh.Grant(rp.config.Provider.Scopes, id.Scopes, rp.requests.Pushes(m)))
	in.token, in.refreshed = fresh, fresh != issued
	return in
}

// signInByToken is newSignIn for an access token that has come to the API, issued then. It is never sent on: what the server
// says of the owner is in it, or in the answer of introspection.
func (rp *RelyingParty) signInByToken(r *http.Request, p *identity.Presented, issued time.Time) *SignIn {
	in := rp.signInOf(r, p.Identity, p.Scopes)
	p.Owner.Subject = p.Subject
	in.keep(p.Owner)
	in.IssuedAt = issued.Add(-identity.Skew)
	return in
}

func (rp *RelyingParty) signInOf(r *http.Request, id *identity.Identity, granted []string) *SignIn {
	return &SignIn{
		Agent: Agent{Issuer: rp.config.Issuer, ID: id.Agent}, Subject: id.User, Scopes: granted, Model: id.Model, RemoteAddr: rp.config.ClientAddr(r),
		rp: rp, identity: id.Subject, sid: id.SID, prior: id.Prior,
	}
}

// newDoor returns the door of the site's API, or nil if that is closed.
func (rp *RelyingParty) newDoor() *door.Door[Session] {
	return door.New(door.Site[Session]{
		Settings: rp.config.API, Server: rp.server, Identity: rp.identity, Panics: rp.panics, Meter: rp.meter, Address: rp.config.ClientAddr,
		Begin: rp.beginByToken, Again: rp.again, End: rp.EndSession,
	})
}

// beginByToken begins the session of an agent that comes with an access token, as a sign-in does. It does not bring
// back what has ended since the token was issued.
func (rp *RelyingParty) beginByToken(r *http.Request, id string, p *identity.Presented) (*Session, error) {
	const step = "begin session"
	started, ends, err := p.Span(rp.config.Session.Lifetime)
	if err != nil {
		return nil, failure.New(reasons.InvalidToken, step, "%w", err)
	}
	in := rp.signInByToken(r, p, started)
	s, err := rp.admit(r.Context(), in)
	ended := errors.Is(err, problem.NoSession)
	if err == nil {
		s.ID, s.Door, s.StartedAt, s.ExpiresAt = id, audit.API, started, ends
		marked := s.marked()
		if ended = marked.Under.Ended(in.IssuedAt); !ended {
			ended, err = rp.register.HasEnded(r.Context(), &marked)
		}
	}
	switch {
	case ended:
		return nil, failure.OfAgent(in.Agent, step, failure.New(reasons.InvalidToken, step, "the agent was stopped after the token was issued"))
	case err != nil:
		return nil, err
	}
	rp.recordEvent(r, audit.Event{Name: audit.TokenAccepted, Detail: identity.History(p.Prior)}, s, nil)
	return s, nil
}

// again returns a session whose token was verified anew, with what that says now.
func (rp *RelyingParty) again(s *Session, p *identity.Presented) *Session {
	own := *s
	own.Scopes, own.SID = rp.permits.Kept(p.Scopes), cmp.Or(p.SID, s.SID)
	if _, ends, err := p.Span(rp.config.Session.Lifetime); err == nil && ends.Before(s.ExpiresAt) {
		own.ExpiresAt = ends
	}
	return &own
}

// TokenSource returns the access tokens of a session, for a site that calls an API as the agent. Config.Tokens.Store must be
// set, and s must be whole, as FromContext returns it or Sessions keeps it. A token is refreshed before it expires, once for
// all callers and instances. ctx bounds the wait; a refresh goes on after ctx ends. The tokens have no refresh token, since
// only this package may use that. None are kept of an agent that has come with an access token, which is never sent on.
// Its errors are of type *[problem.Error]. "no_tokens" means that none are kept or the server has refused them.
// problem.NoSession means that the session has ended. problem.StoreFailed means that what is kept cannot be read,
// such as for lack of a new key of Config.SessionKeys. Other errors say why the server gave no answer. These and
// StoreFailed have RetryAfter.
func (rp *RelyingParty) TokenSource(ctx context.Context, s *Session) oauth2.TokenSource {
	return rp.tokenSource(ctx, s)
}

func (rp *RelyingParty) tokenSource(ctx context.Context, s *Session) *kept.Source[*Session] {
	own := *s
	return &kept.Source[*Session]{Tokens: rp.tokens, Context: ctx, Session: &own}
}

// Client returns a client that calls an API as the agent, with the tokens of [RelyingParty.TokenSource]. If the API
// answers 401 and there is another token by then, refreshed if need be, the client sends the request once more,
// provided that its body can be sent again (see [http.Request.GetBody]). A redirect to another origin is followed
// without the token. ctx may carry a client to use, as with [oauth2.NewClient]. The requests have contexts of their own.
func (rp *RelyingParty) Client(ctx context.Context, s *Session) *http.Client {
	client := http.Client{}
	if base, ok := ctx.Value(oauth2.HTTPClient).(*http.Client); ok && base != nil {
		client = *base
	}
	client.Transport = &keeper.Transport{Token: rp.tokenSource(ctx, s).Other, Next: client.Transport}
	return &client
}

// ErrConflict is what a store returns if it has changed nothing, because the record is no longer as the caller saw it.
var ErrConflict = errors.New("authagent: changed in the meantime")

// newTokens returns what keeps the tokens of sessions, or nil if the site wants none kept.
func (rp *RelyingParty) newTokens(box *seal.Box) *kept.Tokens[*Session] {
	c := rp.config.Tokens
	if c.Store == nil {
		return nil
	}
	return kept.New(&keeper.Keeper[*Session]{
		Store: c.Store, NotFound: ErrNotFound, Conflict: ErrConflict, Box: box, Server: rp.server, Identity: rp.identity, Every: c.ConfirmEvery, Grace: c.ConfirmGrace,
	}, kept.Site[*Session]{
		Trail: rp.trail, Panics: rp.panics, Meter: rp.meter, Session: keptFor, Event: withSession, Holds: rp.stillHolds,
		Owner: func(k tokens.Kept) *Session {
			return &Session{ID: k.SessionID, Agent: Agent{Issuer: rp.config.Issuer, ID: k.AgentID}, UserID: k.UserID, ExpiresAt: k.Expires}
		}, End: func(ctx context.Context, s *Session) error { return rp.EndSession(ctx, s.ID) },
	})
}

// keptFor is s as its tokens know it. The name binds their value to it: one that was moved to another session does not open.
func keptFor(s *Session) keeper.Session[*Session] {
	own := *s
	return keeper.Session[*Session]{
		ID: s.ID, Agent: s.Agent.ID, UserID: s.UserID, Name: s.ID + " " + s.Agent.Issuer + " " + s.Agent.ID, Expires: s.ExpiresAt, Of: &own,
	}
}

// stillHolds reports whether a session holds, for its tokens.
func (rp *RelyingParty) stillHolds(ctx context.Context, s *Session) (bool, error) {
	own := *s // which the scenario may change
	found, err := rp.hold(ctx, &own)
	if found == isRefused {
		err = nil
	}
	return found == holds, err
}

// releaseTokens has the tokens of a session that no logout has ended revoked, in the background.
func (rp *RelyingParty) releaseTokens(s *Session) {
	if s.Agent.Issuer == rp.config.Issuer {
		rp.tokens.Release(s)
	}
}

// bySubject reports whether accounts are found by what the server calls their owners.
func (c *Config) bySubject() bool {
	users, ok := scenario.As[interface{ known() accounts.Users[User] }](c.Scenario)
	return ok && c.Provider.SubjectIsUser && users.known().FindsSubjects()
}

// ConfigFromEnv returns Issuer, ClientID, ClientSecret or Provider.ClientKeys, RedirectURL and SessionKeys, from
//
//	AUTH_AGENT_ISSUER
//	AUTH_AGENT_CLIENT_ID
//	AUTH_AGENT_CLIENT_SECRET
//	AUTH_AGENT_CLIENT_KEYS     instead of the secret: private keys in PEM, as "authagent key -client" prints one
//	AUTH_AGENT_REDIRECT_URL
//	AUTH_AGENT_SESSION_KEYS    one key or more, as "authagent key" prints them, with commas between
//
// Each can be in a file, such as a mounted secret, which the variable with _FILE appended names. A client secret in a
// file is read anew for each request to the server, so that it can be replaced while the site runs. Keys are read once.
// The client keys are PKCS #8 ("PRIVATE KEY"), "EC PRIVATE KEY" or "RSA PRIVATE KEY", unencrypted. Either they or the
// secret are required, and all the others. The error names each variable that is missing or wrong; [New] checks the
// values. This package has no other environment variables.
func ConfigFromEnv() (Config, error) {
	s, err := environ.Read()
	if err != nil {
		return Config{}, err
	}
	return Config{
		Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: s.ClientSecret, RedirectURL: s.RedirectURL, SessionKeys: s.SessionKeys,
		Provider: provider.Settings{ClientSecretFunc: s.SecretFile, ClientKeys: s.ClientKeys},
	}, nil
}

// ParseSessionKeys returns the keys for Config.SessionKeys in a text, as [ConfigFromEnv] does: one or
// more as "authagent key" prints them, base64 or hex of at least 32 bytes, with commas or white space
// between. The error names each wrong key by its place, from 0, and contains nothing of the text.
func ParseSessionKeys(text string) ([][]byte, error) { return environ.Keys("SessionKeys", text) }

// ClientKeysHandler serves the public keys of Provider.ClientKeys as a JWK Set (RFC 7517 section 5), for the
// authorization server: register the address where it is mounted as the client's jwks_uri. It takes GET and HEAD. The
// answer may be kept for an hour. Without keys the set is empty.
func (rp *RelyingParty) ClientKeysHandler() http.Handler {
	return settings.Keys(rp.config.Provider).Handler(rp.server.Algorithms)
}

// Check compares the settings with the server as it is now, and returns what is wrong. The server may be out of reach,
// call itself something else, lack what is needed, or refuse the client ID, secret or redirect URI. The clocks may be
// apart. If API.Resource is set, Check also says what would keep agents from the API. And it names actions of guarded
// routes that do not fit what owners can allow; these are logged at the first request as well. Check is for a deployment's
// check, a health page or the command authagent. Sign-ins neither need it nor notice it. It takes a few requests, each
// bounded like those of a sign-in.
//
// It risks no code. It sends an authorization request, pushed beforehand if sign-ins do that, whose secrets it throws
// away; a published Auth Agent server keeps it for two minutes. It also sends a made-up code and refresh token, which a
// server may refuse without looking at the secret. Then Check asks the revocation or introspection endpoint; without
// those, a wrong secret goes unnoticed.
func (rp *RelyingParty) Check(ctx context.Context) []provider.Finding {
	c := rp.config
	found := checkup.Run(ctx, rp.server.Fresh(), checkup.Settings{
		Issuer: c.Issuer, Provider: c.Provider, API: c.API, Inquiry: rp.requests.Inquiry, AuthorizationURL: newLogin("/").url,
	})
	return append(found, checkup.RunActions(&rp.actions)...)
}

// CheckSite asks the site itself, at an address like "https://shop.example" or one behind its proxy, and returns which
// handlers are not mounted where the settings say. It looks for LoginHandler, CallbackHandler, LogoutHandler,
// DiscoveryHandler if Paths.Discovery is set, LinkHandler and ResourceMetadataHandler if API.Resource is, and
// grants.Handler at each of ownersPages, which are values of Policy.Path. A resource on another host than RedirectURL's
// is looked for there. A [provider.Finding] that is about no field of Config has the Setting "Policy.Path" or "site".
//
// Each request reads a document, or is one that the handler refuses before it does anything: no login is started and no
// session ended. The refusals are in the log and the audit trail. Config.Provider.HTTPClient sends the requests.
func (rp *RelyingParty) CheckSite(ctx context.Context, address string, ownersPages ...string) []provider.Finding {
	c := rp.config
	return checkup.RunSite(ctx, rp.server, checkup.Site{
		Address: address, Login: c.Paths.Login, Callback: rp.callback, Logout: c.Paths.Logout, Link: c.Paths.Link, Discovery: c.Paths.Discovery,
		Owners: ownersPages, NotNavigation: string(reasons.NotNavigation), Method: string(reasons.MethodNotAllowed),
		CrossOrigin: string(reasons.CrossOrigin), OwnAnswers: c.ErrorHandler != nil,
		RedirectURL: c.RedirectURL, Resource: c.API.Resource, Issuer: c.Issuer,
	})
}
