package authagent

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"golang.org/x/oauth2"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/jar"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/problem"
)

// Access is what a session may do with the data of the user it acts for.
type Access int8

const (
	AccessNone Access = iota // nothing: the agent has a profile of its own, and no user
	AccessRead               // GET and HEAD; nothing that changes anything, but for Session.Actions
	AccessFull               // whatever the user may
)

// String returns "none", "read" or "full".
func (a Access) String() string {
	switch a {
	case AccessNone:
		return "none"
	case AccessRead:
		return "read"
	case AccessFull:
		return "full"
	}
	return "access(" + strconv.Itoa(int(a)) + ")"
}

// MarshalText returns what String does.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (a *Access) UnmarshalText(text []byte) error {
	for _, known := range [...]Access{AccessNone, AccessRead, AccessFull} {
		if string(text) == known.String() {
			*a = known
			return nil
		}
	}
	return errors.New("authagent: access is none of none, read and full")
}

// SessionSettings are how sessions are kept, and for how long.
type SessionSettings struct {
	// Store keeps the sessions: any gorilla/sessions store. What it is given to keep
	// is encrypted already. By default an encrypted cookie is all that keeps a session.
	Store sessions.Store

	// Own replaces Store, for a site that has sessions of its own.
	Own Sessions

	// Idle ends a session that was not used for so long. The default is 30
	// minutes. Lifetime ends it in any case; the default is 12 hours.
	//
	// What is ended before its time is remembered for Lifetime, so relying
	// parties that share Config.Revocations have the same.
	Idle     time.Duration
	Lifetime time.Duration

	// Epoch is any text. Changing it ends all sessions that have begun, for
	// good: they note it, so nothing has to be remembered. All instances have the
	// same. The default is "".
	Epoch string
}

func (s SessionSettings) withDefaults() SessionSettings {
	if s.Idle == 0 {
		s.Idle = 30 * time.Minute
	}
	if s.Lifetime == 0 {
		s.Lifetime = 12 * time.Hour
	}
	return s
}

func (s SessionSettings) check(bad *settings.Problems) {
	if s.Idle < 0 || s.Lifetime < 0 {
		bad.Add("Session.Idle, Session.Lifetime", "must not be negative")
	}
	if s.Own != nil && s.Store != nil {
		bad.Add("Session.Own, Session.Store", "only one of them can be set")
	}
}

// TokenSettings have the tokens of sessions kept.
type TokenSettings struct {
	// Store keeps the tokens, encrypted, so that a site can call an API as the agent
	// and have long sessions confirmed. By default none is kept.
	Store TokenStore

	// ConfirmEvery is how often the server is asked whether it still stands by a
	// session whose tokens are kept. It is done in the background, when the session
	// is used. Two answers that it does not, half a minute apart, end the session.
	// The default is 15 minutes; never, if negative.
	ConfirmEvery time.Duration

	// ConfirmGrace ends a session that is to be confirmed and could not be for so
	// long, because the server, or a store, gave no answer. By default such a
	// session goes on.
	ConfirmGrace time.Duration
}

func (t TokenSettings) withDefaults() TokenSettings {
	if t.ConfirmEvery == 0 {
		t.ConfirmEvery = 15 * time.Minute
	}
	return t
}

func (t TokenSettings) check(bad *settings.Problems) {
	if t.ConfirmGrace < 0 {
		bad.Add("Tokens.ConfirmGrace", "must not be negative")
	}
}

// A Session says who acts in a request. Handlers get it from [FromContext] and
// treat it as read-only.
type Session struct {
	ID        string    `json:"id"`                   // random; names the session in logs and to EndSession, and opens nothing
	Agent     Agent     `json:"agent"`                // who acts
	Model     string    `json:"model,omitempty"`      // what the agent says it runs on: self-declared, for display only
	Scenario  string    `json:"scenario"`             // the name of the scenario that let it in
	UserID    string    `json:"user_id,omitempty"`    // the account it acts for; empty for none
	ProfileID string    `json:"profile_id,omitempty"` // the agent's own profile; empty for none
	Access    Access    `json:"access"`               // what it may do with the user's data
	Actions   []string  `json:"actions,omitempty"`    // the actions that it may perform beyond Access, by name
	GrantID   string    `json:"grant_id,omitempty"`   // the grant that it rests on, where the link policy keeps grants
	StartedAt time.Time `json:"started_at"`           // when the agent signed in
	ExpiresAt time.Time `json:"expires_at"`           // when it has to sign in anew, whatever it does until then

	// RedirectURL is the one of the relying party that let the agent in. A session
	// is none at a relying party of another redirect URL or another scenario.
	RedirectURL string `json:"redirect_url"`

	// What the relying party compares on each request: a session ends when one of
	// these is another than it was when the agent signed in.
	SiteMark  string `json:"site_mark,omitempty"`  // of the RevocationStore: of the whole site,
	AgentMark string `json:"agent_mark,omitempty"` // of the agent
	UserMark  string `json:"user_mark,omitempty"`  // and of the user; each empty where there was none
	GrantEra  int64  `json:"grant_era,omitempty"`  // the link policy's, see Principal
	Epoch     string `json:"epoch,omitempty"`      // Config.Session.Epoch

	// RemoteAddr is the client's IP address in this request, without port, by
	// Config.ClientAddr; empty where that gives none. It is not kept.
	RemoteAddr string `json:"-"`

	seenAt  time.Time // when the client last got a fresh value; the idle limit counts from here
	loginID string    // the login that it came from, by which a reloaded callback is known
	rest    string    // encoded fields of a later version, kept for the instances that know them
}

// May reports whether the session may perform the action of this name: one with
// AccessFull may perform any, one with AccessRead those in Actions, others none.
func (s *Session) May(action string) bool {
	return s.Access == AccessFull || s.Access == AccessRead && slices.Contains(s.Actions, action)
}

// Byline says who did something, for the site to show beside it: "by agent_1 for
// Alice". The owner's name is the site's to give; it is left out where there is no
// owner, or none is given. An agent's ID was chosen by whoever registered the
// agent: escape the line like anything that a stranger wrote.
func (s *Session) Byline(owner string) string {
	if s.UserID == "" || owner == "" {
		return "by " + s.Agent.ID
	}
	return "by " + s.Agent.ID + " for " + owner
}

// LogValue gives the names under which every event of this package is logged as
// well: agent_session, performed_by, on_behalf_of and so on.
func (s *Session) LogValue() slog.Value {
	return withSession(audit.Event{Issuer: s.Agent.Issuer, RemoteAddr: s.RemoteAddr}, s).LogValue()
}

// Sessions is what keeps sessions between requests. A site that has sessions
// already implements it over those. Implementations are safe for concurrent use.
//
// The relying party checks the absolute limit (ExpiresAt), issuer, scenario,
// redirect URL and revocations of whatever Load returns; idle limits are the
// implementation's.
//
// All exported fields of a session are kept but RemoteAddr, times to the
// millisecond at least and never rounded up. What is not exported may get lost: a
// reload of the callback is then refused, and the session goes on.
type Sessions interface {
	// Start makes s the client's session, under an identifier that the client
	// did not have before, and ends the agent session it had. It is called before
	// anything is written to w. An error means that no session was started.
	Start(w http.ResponseWriter, r *http.Request, s *Session) error

	// Load returns the client's session, ErrNoSession if it has none, or
	// ErrSessionEnded if it had one that is not valid any more. Any other error means
	// that it cannot be known now; the request is then refused. Load may set cookies
	// on w. The caller may change what it returns.
	//
	// It keeps to ErrSessionEnded, for as long as it can tell, until Start or End:
	// where a person is signed in in the same browser, an agent would be taken for
	// that person as soon as its own session has ended. It may return the session with
	// ErrSessionEnded. A sign-out or a new sign-in then ends that session wherever a
	// copy of its cookie may be, where it may not be idle.
	Load(w http.ResponseWriter, r *http.Request) (*Session, error)

	// End is a sign-out. It ends the client's session, or forgets one that has ended:
	// afterwards Load returns ErrNoSession. Without one it does nothing.
	End(w http.ResponseWriter, r *http.Request) error
}

// ErrNoSession is what Sessions.Load returns for a client that has no session.
var ErrNoSession = errors.New("authagent: no session")

// ErrSessionEnded is what Sessions.Load returns for a client whose session has
// ended: it is too old, was removed, or cannot be read.
var ErrSessionEnded = errors.New("authagent: the session has ended")

// A RevocationStore remembers what was ended before its time. The default is in
// the memory of one process, and forgets it with the process; several instances
// share one.
//
// It keeps a mark for each key. A session notes the marks that it begins under, and
// has ended as soon as there is another. So no clock is asked: not even instances
// whose clocks differ keep a session alive, or end one that has begun since.
// Implementations are safe for concurrent use.
type RevocationStore interface {
	// Revoke gives key a mark, in the place of the one that it has. No two calls
	// are given the same mark, which has at most 64 letters and digits. Of several
	// calls at once any one stands. The mark may be forgotten after the latest until
	// that key was given, and not before.
	Revoke(ctx context.Context, key, mark string, until time.Time) error

	// Marks returns the mark of each of keys, in their order, and "" for a key that
	// has none. All are read after Marks is called. A store may give a mark by
	// another name, if that changes with each Revoke of the key and with nothing
	// else. It is called on each request of an agent; an error refuses the request.
	Marks(ctx context.Context, keys []string) ([]string, error)
}

// ErrConflict is what a store returns that has changed nothing, since what it was to
// change is not as its caller has seen it.
var ErrConflict = errors.New("authagent: changed in the meantime")

// A TokenStore keeps the tokens of sessions, and is shared by all instances of a
// site. Without one, no token is kept. It never sees a token: a value is
// encrypted, bound to its session and agent, and unlike every earlier one.
//
// A refresh token can be used once, so that of several instances one has to be
// the first to replace a value: SaveTokens compares and replaces in one step. Any
// error but the two that are named here means that it cannot be known whether
// something was done. Implementations are safe for concurrent use.
type TokenStore interface {
	// SaveTokens keeps sealed as the value of a session, in the place of old, byte
	// for byte the value that LoadTokens returned or an earlier SaveTokens kept.
	// An empty old says that the session has no value yet. If the session's value is
	// another than old, or there is none where there was one, or one where there
	// was none, SaveTokens changes nothing and returns ErrConflict. Of several
	// calls with one old, at any number of instances at once, at most one succeeds.
	//
	// The value is of no use after expires, and may be forgotten then.
	SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error

	// LoadTokens returns the value that was saved last, or ErrNotFound if there is
	// none: never saved, deleted, or forgotten after its time. The caller may
	// change what it returns.
	LoadTokens(ctx context.Context, sessionID string) ([]byte, error)

	// DeleteTokens removes the value, whatever it is. Without one it returns nil.
	DeleteTokens(ctx context.Context, sessionID string) error
}

// sealedSessions are Sessions in a jar: on a gorilla/sessions Store, or in a cookie alone.
type sealedSessions struct {
	jar  *jar.Jar
	idle time.Duration
}

func (m *sealedSessions) Start(w http.ResponseWriter, r *http.Request, s *Session) error {
	return m.jar.Put(w, r, s.seal())
}

func (m *sealedSessions) Load(w http.ResponseWriter, r *http.Request) (*Session, error) {
	value, err := m.jar.Get(r)
	switch {
	case errors.Is(err, jar.ErrNone):
		return nil, ErrNoSession
	case errors.Is(err, jar.ErrUnreadable):
		return nil, ErrSessionEnded
	case err != nil:
		return nil, err
	}
	s, err := parseSession(value.Opened)
	if err != nil {
		return nil, ErrSessionEnded // also of another version: the instance that made it goes on with it
	}
	now := time.Now()
	if now.Sub(s.seenAt) > m.idle || s.seenAt.After(now.Add(clockSkew)) || s.StartedAt.After(now.Add(clockSkew)) {
		return s, ErrSessionEnded
	}
	if now.Sub(s.seenAt) >= m.touchEvery() {
		if err := m.jar.Replace(w, r, value, s.seal()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// touchEvery is how old a value gets before the client is given a fresh one. An
// idle session so ends up to that much early, and never late.
func (m *sealedSessions) touchEvery() time.Duration { return min(m.idle/10, time.Minute) }

func (m *sealedSessions) End(w http.ResponseWriter, r *http.Request) error { return m.jar.Remove(w, r) }

// sessionVersion is the first byte of an encoded session. A field is added at the
// end, and an instance that does not know it passes it on. The version changes only
// when that will not do: older instances take a value of another version for an
// ended session, and leave it where it is.
const sessionVersion = 2

var errVersion = errors.New("session is of another version")

// seal returns s as it is kept, seen now.
func (s *Session) seal() []byte {
	s.seenAt = time.Now()
	b := append(make([]byte, 0, 320), sessionVersion)
	for _, t := range [...]time.Time{s.StartedAt, s.ExpiresAt, s.seenAt} {
		b = seal.AppendInt(b, t.UnixNano())
	}
	b = seal.AppendInt(b, int64(s.Access))
	for _, field := range [...]string{
		s.ID, s.Agent.Issuer, s.Agent.ID, s.Model, s.Scenario, s.UserID, s.ProfileID, s.GrantID, s.loginID,
		strings.Join(s.Actions, " "),
	} {
		b = seal.AppendString(b, field)
	}
	for _, field := range s.later() {
		b = seal.AppendString(b, *field)
	}
	b = seal.AppendInt(b, s.GrantEra)
	return append(b, s.rest...)
}

// later are the fields that came after the first ones, which so may be missing.
func (s *Session) later() [5]*string {
	return [...]*string{&s.RedirectURL, &s.SiteMark, &s.AgentMark, &s.UserMark, &s.Epoch}
}

func parseSession(value []byte) (*Session, error) {
	if len(value) == 0 || value[0] != sessionVersion {
		return nil, errVersion
	}
	f := seal.NewReader(value[1:])
	s := &Session{}
	for _, t := range [...]*time.Time{&s.StartedAt, &s.ExpiresAt, &s.seenAt} {
		*t = time.Unix(0, f.Int())
	}
	s.Access = Access(f.Int())
	var actions string
	for _, field := range [...]*string{
		&s.ID, &s.Agent.Issuer, &s.Agent.ID, &s.Model, &s.Scenario, &s.UserID, &s.ProfileID, &s.GrantID, &s.loginID,
		&actions,
	} {
		*field = f.String()
	}
	if actions != "" {
		s.Actions = strings.Split(actions, " ")
	}
	for _, field := range s.later() {
		if f.Rest() != "" {
			*field = f.String()
		}
	}
	if f.Rest() != "" {
		s.GrantEra = f.Int()
	}
	s.rest = f.Rest()
	return s, f.Err()
}

// EndSession ends the session with this ID on its next request, at every
// instance that shares the RevocationStore. If tokens are kept for it, the server
// is asked to revoke them then. With the default Config.Revocations, which is in
// memory, a restart undoes it.
func (rp *RelyingParty) EndSession(ctx context.Context, sessionID string) error {
	return rp.register.End(ctx, marks.Session(sessionID))
}

// EndAgentSessions ends all sessions of an agent that have begun, like EndSession.
func (rp *RelyingParty) EndAgentSessions(ctx context.Context, agent Agent) error {
	return rp.register.End(ctx, marks.Agent(agent))
}

// EndUserSessions ends all agent sessions that act for a user and have begun, like
// EndSession.
func (rp *RelyingParty) EndUserSessions(ctx context.Context, userID string) error {
	return rp.register.EndUser(ctx, userID)
}

// EndAllSessions ends all agent sessions of the site that have begun, like
// EndSession. To end them for good, change Config.Session.Epoch.
func (rp *RelyingParty) EndAllSessions(ctx context.Context) error {
	return rp.register.End(ctx, marks.Site)
}

// newKeeper returns what keeps the tokens of sessions, or nil if the site wants
// none kept.
func (rp *RelyingParty) newKeeper(box *seal.Box) *tokens.Keeper[*Session] {
	if rp.config.Tokens.Store == nil {
		return nil
	}
	return &tokens.Keeper[*Session]{
		Store: tokens.Guarded{Store: rp.config.Tokens.Store, Protect: rp.panics.Protect}, NotFound: ErrNotFound, Conflict: ErrConflict, Box: box,
		Server: rp.server, Identity: rp.identity, Every: rp.config.Tokens.ConfirmEvery, Grace: rp.config.Tokens.ConfirmGrace,
		Hooks: tokens.Hooks[*Session]{
			Alive: rp.alive, End: rp.endUnconfirmed, Failed: rp.refreshFailed, Revoked: rp.tokensRevoked, Panicked: rp.panics.Log,
		},
	}
}

type keptSession = tokens.Session[*Session]

// keptFor is s as its tokens know it. The name binds their value to session and
// agent, so that one that was moved to another session's place does not open.
func keptFor(s *Session) keptSession {
	own := *s
	return keptSession{
		ID: s.ID, Agent: s.Agent.ID, Name: s.ID + " " + s.Agent.Issuer + " " + s.Agent.ID, Expires: s.ExpiresAt, Of: &own,
	}
}

// A standing says whether a session holds, as far as time and settings say.
type standing int8

const (
	holds       standing = iota
	isElsewhere          // it has ended here; another relying party of this client may go on with it
	isOver               // it has ended
	isRefused            // the scenario refuses it for the reason that the error gives
	isUnknown            // it cannot be known now, or has to wait, as the error says
)

// standing is what requests and tokens of a session both go by. A session that began
// under a longer Session.Lifetime does not outlast today's: so long is remembered what
// was ended.
func (rp *RelyingParty) standing(s *Session) standing {
	now := time.Now()
	switch {
	case !now.Before(s.ExpiresAt), s.Agent.Issuer != rp.config.Issuer, s.Agent.ID == "":
		return isOver
	case s.Scenario != rp.config.Scenario.Name(), s.RedirectURL != rp.config.RedirectURL:
		return isElsewhere
	case s.Epoch != rp.config.Session.Epoch, !now.Before(s.StartedAt.Add(rp.config.Session.Lifetime)):
		return isOver
	}
	return holds
}

// alive reports whether a session holds: a request of the agent may be long in coming.
func (rp *RelyingParty) alive(ctx context.Context, kept keptSession) (alive bool, err error) {
	err = rp.panics.Protect("check session", func() error {
		own := *kept.Of // which the scenario may change
		found, err := rp.hold(ctx, &own)
		alive = found == holds
		if found == isRefused {
			return nil
		}
		return err
	})
	return alive, err
}

// endUnconfirmed ends a session that the server does not confirm.
func (rp *RelyingParty) endUnconfirmed(ctx context.Context, kept keptSession, why error) error {
	s := kept.Of
	if err := rp.panics.Protect("end session", func() error { return rp.EndSession(ctx, s.ID) }); err != nil {
		return err
	}
	e := failure.As(failure.OfTokens("confirm session", why))
	if errors.Is(why, identity.ErrMismatch) {
		rp.trail.Record(ctx, withSession(audit.Event{Name: audit.SubjectMismatch}, s), e)
	}
	rp.trail.Record(ctx, withSession(audit.Event{Name: audit.SessionEnded}, s), e)
	return nil
}

func (rp *RelyingParty) refreshFailed(ctx context.Context, kept keptSession, why error) {
	rp.trail.Record(ctx, withSession(audit.Event{Name: audit.RefreshFailed}, kept.Of), failure.As(failure.OfTokens("refresh tokens", why)))
}

func (rp *RelyingParty) tokensRevoked(ctx context.Context, kept keptSession, err error) {
	if err == nil {
		rp.trail.Record(ctx, withSession(audit.Event{Name: audit.TokensRevoked, Outcome: audit.Requested}, kept.Of), nil)
		return
	}
	rp.trail.Record(ctx, withSession(audit.Event{Name: audit.TokensRevoked, Outcome: audit.StillLive}, kept.Of), failure.As(failure.OfTokens("revoke tokens", err)))
}

// saveTokens keeps the tokens of a session, if the site wants that.
func (rp *RelyingParty) saveTokens(ctx context.Context, s *Session, in *SignIn) error {
	if rp.tokens == nil {
		return nil
	}
	return rp.tokens.Save(ctx, keptFor(s), in.token, in.identity)
}

// confirm has a session that has gone on for long confirmed at the server, in the
// background.
func (rp *RelyingParty) confirm(s *Session) {
	if rp.tokens != nil && rp.tokens.Due(s.ID, s.StartedAt) {
		rp.tokens.Check(keptFor(s))
	}
}

// revokeTimeout is how long a logout waits for the server.
const revokeTimeout = 3 * time.Second

// revokeTokens has the server revoke the tokens of a session that has ended, if
// any are kept. The logout stands whatever comes of it.
func (rp *RelyingParty) revokeTokens(ctx context.Context, s *Session) {
	if rp.tokens == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	kept := keptFor(s)
	if err := rp.tokens.Drop(ctx, kept); !errors.Is(err, tokens.ErrNone) {
		rp.tokensRevoked(ctx, kept, err)
	}
}

// releaseTokens is revokeTokens in the background, for a session that was ended
// otherwise than by a logout.
func (rp *RelyingParty) releaseTokens(s *Session) {
	if rp.tokens != nil && s.Agent.Issuer == rp.config.Issuer {
		rp.tokens.Release(keptFor(s))
	}
}

// TokenSource returns the access tokens of a session, for a site that calls an API
// as the agent. Config.Tokens.Store has to be set, and s has to be whole, as FromContext
// returns it or Sessions keeps it. A token is refreshed before it
// expires, once however many ask and at however many instances; ctx bounds the
// wait, and a refresh goes on when it ends. The tokens come without a refresh
// token, which is for this package alone to use.
//
// Its errors are of type *[problem.Error]: "no_tokens" where none are kept or the server
// has refused them, problem.NoSession where the session has ended, problem.StoreFailed
// where what is kept cannot be read, which may be for want of a new key of
// Config.SessionKeys, and whatever keeps the server from answering. The last two come
// with RetryAfter.
func (rp *RelyingParty) TokenSource(ctx context.Context, s *Session) oauth2.TokenSource {
	own := *s
	return &tokenSource{rp, ctx, &own}
}

type tokenSource struct {
	rp      *RelyingParty
	ctx     context.Context // Token has none of its own
	session *Session
}

// Token implements [oauth2.TokenSource].
func (t *tokenSource) Token() (*oauth2.Token, error) { return t.token(t.ctx, "") }

// token returns the token in use, or another one if that was refused.
func (t *tokenSource) token(ctx context.Context, refused string) (*oauth2.Token, error) {
	if t.rp.tokens == nil {
		return nil, failure.New(reasons.NoTokens, "use tokens", "Config.Tokens.Store is not set")
	}
	token, err := t.rp.tokens.Token(ctx, keptFor(t.session), refused)
	if err != nil {
		return nil, failure.OfTokens("use tokens", err)
	}
	return &oauth2.Token{AccessToken: token.Access, TokenType: "Bearer", Expiry: token.Expires}, nil
}

// Client returns a client that calls an API as the agent: it sends the tokens of
// [RelyingParty.TokenSource]. When the API answers 401, the request is sent once
// more if there is another token by then, refreshed if need be, and if its body
// can be sent again (see [http.Request.GetBody]). A redirect to another origin is
// followed without the token.
//
// ctx may carry a client to use, as [oauth2.NewClient] has it; the requests have
// contexts of their own.
func (rp *RelyingParty) Client(ctx context.Context, s *Session) *http.Client {
	client := http.Client{}
	if base, ok := ctx.Value(oauth2.HTTPClient).(*http.Client); ok && base != nil {
		client = *base
	}
	own := *s
	client.Transport = &tokens.Transport{Token: (&tokenSource{rp, ctx, &own}).token, Next: client.Transport}
	return &client
}

// Shutdown waits for what is under way in the background: refreshes, which cost a
// session its tokens if they are cut off, confirmations, revocations, and the
// events on their way to Config.Audit, with the refusals that have been counted so
// far; those that come later are not counted. None of the first three is started any
// more, so call it after [http.Server.Shutdown]. It returns an error if ctx ends
// before.
func (rp *RelyingParty) Shutdown(ctx context.Context) error {
	var errs []error
	if rp.tokens != nil {
		errs = append(errs, rp.tokens.Shutdown(ctx))
	}
	if err := rp.server.Settle(ctx); err != nil {
		errs = append(errs, fmt.Errorf("wait for revocations: %w", err))
	}
	errs = append(errs, rp.trail.Shutdown(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("authagent: %w", err)
	}
	return nil
}

// clockSkew is how far the clocks of two instances may be apart.
const clockSkew = 5 * time.Minute

func newSessionID() string { return rand.Text() } // 130 random bits

// errEnded is errNobody where there was a session, which has ended.
var errEnded = failure.New(problem.NoSession, "load session", "the session has ended")

// isAbsent reports whether load has found that there is no session. What the site's
// code returns is neither of these two, whatever its name.
func isAbsent(err error) bool { return err == error(errNobody) || err == error(errEnded) }

// load returns a session that holds in every respect, or errNobody or errEnded. With
// problem.Paused it returns the session as well, and so it does with errEnded where the
// session may go on elsewhere.
func (rp *RelyingParty) load(w http.ResponseWriter, r *http.Request) (s *Session, err error) {
	defer rp.panics.Recover("load session", &err)
	if s, err = rp.who(w, r); err != nil {
		return s, err
	}
	switch found, err := rp.hold(r.Context(), s); found {
	case holds:
		rp.confirm(s)
		return s, nil
	case isElsewhere:
		return s, errEnded
	case isOver:
		return nil, rp.over(w, s)
	case isRefused:
		return nil, rp.endRefused(w, r, s, err)
	default:
		return s, err
	}
}

// who returns the session that a browser's cookie names, whether or not it holds.
func (rp *RelyingParty) who(w http.ResponseWriter, r *http.Request) (*Session, error) {
	s, err := rp.sessions.Load(w, r)
	switch {
	case errors.Is(err, ErrNoSession):
		return nil, errNobody
	case err != nil && !errors.Is(err, ErrSessionEnded):
		return nil, err
	case err != nil && s != nil && s.ID != "" && s.Agent.Issuer == rp.config.Issuer:
		return s, errEnded
	case err != nil, s == nil:
		return nil, errEnded
	}
	if rp.config.Session.Own != nil {
		own := *s // the site may have given others the same one
		s = &own
	}
	s.RemoteAddr = rp.clientAddr(r)
	return s, nil
}

// hold asks whether a session may go on, whichever door it came through. All that has a
// say is asked here and nowhere else: time and settings, what was ended, and the scenario
// with its rules, account and grant, which may lower s.Access and s.Actions.
func (rp *RelyingParty) hold(ctx context.Context, s *Session) (standing, error) {
	if found := rp.standing(s); found != holds {
		return found, nil
	}
	under := marks.Under{Site: s.SiteMark, Agent: s.AgentMark, User: s.UserMark}
	switch ended, err := rp.register.HasEnded(ctx, s.ID, s.Agent, s.UserID, under); {
	case err != nil:
		return isUnknown, err
	case ended:
		return isOver, nil
	}
	err := rp.config.Scenario.CheckSession(ctx, s)
	if s.UserID == "" || s.Access < AccessNone || s.Access > AccessFull { // there is nobody whose data it could have access to
		s.Access = AccessNone
	}
	if s.Access == AccessNone {
		s.Actions = nil
	}
	switch reason, ok := failure.ReasonOf(err); {
	case err == nil:
		return holds, nil
	case ok && reason != problem.Paused:
		return isRefused, err
	}
	return isUnknown, err
}

// over says that a session does not hold any more. The client keeps its cookie, as
// one of a session that has ended, until somebody signs out, an agent signs in, or the
// cookie's Max-Age is over: without it the browser would be the person's again who is
// signed in there.
func (rp *RelyingParty) over(w http.ResponseWriter, s *Session) error {
	if own, ok := rp.sessions.(*sealedSessions); ok {
		own.jar.Unset(w) // no fresh cookie for a session that has ended
	}
	rp.releaseTokens(s)
	return errEnded
}

// endRefused ends a session that the scenario refuses, so that it stays ended even
// if the scenario would have it again.
func (rp *RelyingParty) endRefused(w http.ResponseWriter, r *http.Request, s *Session, why error) error {
	if err := rp.EndSession(r.Context(), s.ID); err != nil {
		return err
	}
	if reason, _ := failure.ReasonOf(why); reason != problem.NoSession {
		rp.record(r, audit.SessionEnded, s, "", &failure.Failure{Cause: &problem.Error{Reason: reason, Step: "check session", RequestID: failure.NewRequestID()}})
	}
	return rp.over(w, s)
}

// withSession fills in whose event it is; nil for nobody's.
func withSession(e audit.Event, s *Session) audit.Event {
	if s == nil {
		return e
	}
	e.SessionID, e.Agent, e.UserID = s.ID, s.Agent, s.UserID
	e.Scenario, e.ProfileID, e.GrantID, e.Access = s.Scenario, s.ProfileID, s.GrantID, s.Access.String()
	return e
}

// errNobody is why a request is refused that comes without a session, from an
// agent that has not signed in yet or from anybody else.
var errNobody = failure.New(problem.NoSession, "require sign-in", "nobody is signed in")

// start starts the session, the last thing that can fail. The one that the
// browser had ends wherever a copy of its cookie may be.
func (rp *RelyingParty) start(w http.ResponseWriter, r *http.Request, s *Session, in *SignIn) error {
	v, err := rp.look(r)
	former := cmp.Or(v.session, v.former)
	if err == nil && former != nil {
		err = rp.panics.Protect("end former session", func() error { return rp.EndSession(r.Context(), former.ID) })
	}
	if err == nil {
		err = rp.saveTokens(r.Context(), s, in)
	}
	if err == nil {
		err = rp.panics.Protect("start session", func() error { return rp.sessions.Start(w, r, s) })
	}
	if err == nil && former != nil {
		rp.releaseTokens(former)
	}
	return failure.OfSite("start session", err)
}
