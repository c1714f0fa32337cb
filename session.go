package authagent

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/sessions"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/asked"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/compare"
	"github.com/authagent-go/authagent/internal/door"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/jar"
	"github.com/authagent-go/authagent/internal/link"
	"github.com/authagent-go/authagent/internal/marks"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/seal"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/problem"
)

// This file holds a session: what it may do, how it is kept, and when it holds.

// Access is what a session may do with the data of the user it acts for. More is greater.
type Access = audit.Access

const (
	AccessNone = audit.AccessNone // nothing: the agent has a profile of its own, and no user
	AccessRead = audit.AccessRead // GET and HEAD, and what Session.Actions names
	AccessFull = audit.AccessFull // whatever the user may do
)

// A Session says who acts in a request. Handlers get it from [FromContext] and treat it as read-only.
type Session struct {
	ID        string    `json:"id"`                   // random; names the session in logs and to EndSession; nobody can sign in with it
	Agent     Agent     `json:"agent"`                // who acts
	Model     string    `json:"model,omitempty"`      // what the agent says it runs on: self-declared, for display only
	Scenario  string    `json:"scenario"`             // the name of the scenario that let it in
	UserID    string    `json:"user_id,omitempty"`    // the account it acts for; empty for none
	ProfileID string    `json:"profile_id,omitempty"` // the agent's own profile; empty for none
	Access    Access    `json:"access"`               // what it may do with the user's data
	Actions   []string  `json:"actions,omitempty"`    // the actions that it may perform beyond Access, by name
	GrantID   string    `json:"grant_id,omitempty"`   // the grant that it rests on, if the link policy keeps grants
	StartedAt time.Time `json:"started_at"`           // when the agent signed in
	ExpiresAt time.Time `json:"expires_at"`           // when it has to sign in again, however active it is

	// Subject is the user of the server for whom the agent acts, with Provider.SubjectIsUser, and SID
	// the server's ID of its own session. When the server ends either, this one ends.
	Subject string `json:"sub,omitempty"`
	SID     string `json:"sid,omitempty"`

	// Scopes are what the server has granted, if Config.Permissions is set.
	Scopes []string `json:"scopes,omitempty"`

	// RedirectURL is that of the relying party that let the agent in. At a relying party with
	// another redirect URL or scenario, the session does not count.
	RedirectURL string `json:"redirect_url"`

	// The relying party compares these on each request. The session ends when one has changed since the agent signed in.
	SiteMark    string `json:"site_mark,omitempty"`  // the RevocationStore's mark of the whole site; empty for none
	AgentMark   string `json:"agent_mark,omitempty"` // that of the agent
	UserMark    string `json:"user_mark,omitempty"`  // that of the user
	SubjectMark string `json:"sub_mark,omitempty"`   // that of Subject
	GrantEra    int64  `json:"grant_era,omitempty"`  // the link policy's, see Principal
	Epoch       string `json:"epoch,omitempty"`      // Config.Session.Epoch

	// ParentID is that of the access token's session that this one continues in a browser (LinkHandler), and ends with.
	ParentID string `json:"parent_id,omitempty"`

	// Door is how the agent comes: with a cookie, with an access token, or with a cookie that continues the session of one.
	// The session of a token is not kept, and its ID is made of the token.
	Door audit.Door `json:"-"`

	// RemoteAddr is the client's IP address in this request, without port, by Config.ClientAddr; empty for none. It is not kept.
	RemoteAddr string `json:"-"`

	loginID string // the login that it came from; a reloaded callback is known by it
	rest    string // encoded fields of a later version, kept for the instances that know them
}

// May reports whether the session may perform an action: any with AccessFull, those in Actions with AccessRead.
func (s *Session) May(action string) bool {
	return s.Access == AccessFull || s.Access == AccessRead && slices.Contains(s.Actions, action)
}

// Byline says who did something, for the site to show beside it: "by agent_1 for Alice". owner is the owner's name, and may be
// empty. Whoever registered an agent chose its ID: escape the line like anything that a stranger wrote.
func (s *Session) Byline(owner string) string {
	if s.UserID == "" || owner == "" {
		return "by " + s.Agent.ID
	}
	return "by " + s.Agent.ID + " for " + owner
}

// LogValue uses the names that every logged event of this package has: agent_session, performed_by, on_behalf_of and so on.
func (s *Session) LogValue() slog.Value {
	return withSession(audit.Event{Issuer: s.Agent.Issuer, RemoteAddr: s.RemoteAddr}, s).LogValue()
}

// withSession fills in whose event it is. A nil session is nobody's.
func withSession(e audit.Event, s *Session) audit.Event {
	if s == nil {
		return e
	}
	e.SessionID, e.Agent, e.UserID = s.ID, s.Agent, s.UserID
	e.Scenario, e.ProfileID, e.GrantID, e.Access, e.Door = s.Scenario, s.ProfileID, s.GrantID, s.Access.String(), s.Door
	return e
}

// record puts an event into the log and into the audit trail.
func (rp *RelyingParty) record(r *http.Request, name audit.Name, s *Session, action string, f *failure.Failure) {
	rp.recordEvent(r, audit.Event{Name: name, Action: action}, s, f)
}

// recordEvent is record for an event that says more.
func (rp *RelyingParty) recordEvent(r *http.Request, event audit.Event, s *Session, f *failure.Failure) {
	if rp.trail.Wants(r.Context(), event.Name, f) {
		rp.trail.Record(r.Context(), rp.eventOf(r, event, s), f)
	}
}

// eventOf fills in the request and the session.
func (rp *RelyingParty) eventOf(r *http.Request, event audit.Event, s *Session) audit.Event {
	event.HumanID, _ = HumanFromContext(r.Context())
	event.Method, event.Route, event.RemoteAddr = answer.Token(r.Method), cmp.Or(r.Pattern, event.Route), rp.config.ClientAddr(r)
	return withSession(event, s)
}

// SessionSettings are how sessions are kept, and for how long.
type SessionSettings struct {
	// Store keeps the sessions: any gorilla/sessions store. The values that it gets are already encrypted. By default
	// sessions are kept in an encrypted cookie alone.
	Store sessions.Store

	// Own replaces Store, for a site that has sessions of its own.
	Own Sessions

	// Idle ends a session that was not used for this long. The default is 30 minutes. Lifetime ends it in any case. The
	// default is 12 hours, and New refuses more than 365 days.
	//
	// What was ended early is remembered for Lifetime, so relying parties that share Config.Revocations need the same one.
	Idle     time.Duration
	Lifetime time.Duration

	// Epoch is any text. Changing it ends all existing sessions for good, but for those of access tokens (Config.API): end
	// these with EndAllSessions. Each session holds the Epoch it began with, so nothing has to be remembered. All instances
	// need the same Epoch. The default is "".
	Epoch string
}

// Sessions keeps sessions between requests. A site that has sessions of its own can implement it with those. Implementations
// are safe for concurrent use.
//
// The relying party checks the absolute limit (ExpiresAt), issuer, scenario, redirect URL and revocations of whatever Load
// returns. Idle limits are the implementation's.
//
// It keeps all exported fields of a session except RemoteAddr and Door, and times at least to the millisecond, never rounded
// up. Unexported fields may get lost: then a reload of the callback is refused, and the session goes on.
type Sessions interface {
	// Start makes s the client's session, under an identifier that the client did not have before, and ends the agent session
	// it had. It is called before anything is written to w. An error means that no session was started. If the browser
	// repeats its request within a minute after the sign-in, Start is called again with the same session.
	Start(w http.ResponseWriter, r *http.Request, s *Session) error

	// Load returns the client's session, ErrNoSession if it has none, or ErrSessionEnded if it had one that is no longer
	// valid. Any other error means that Load cannot tell now, and the request is refused. Load may set cookies on w. The
	// caller may change what it returns.
	//
	// Load keeps returning ErrSessionEnded until Start or End, for as long as it can tell. Otherwise, in a browser where a
	// person is signed in too, an agent would be taken for that person as soon as its own session has ended. Load may return
	// the session with ErrSessionEnded. Then a sign-out or a new sign-in ends that session for every copy of its cookie,
	// since a copy may still be in use.
	Load(w http.ResponseWriter, r *http.Request) (*Session, error)

	// End is a sign-out. It ends the client's session, or forgets one that has ended: afterwards Load returns ErrNoSession.
	// Without a session it does nothing.
	End(w http.ResponseWriter, r *http.Request) error
}

// ErrNoSession is what Sessions.Load returns for a client that has no session.
var ErrNoSession = errors.New("authagent: no session")

// ErrSessionEnded is what Sessions.Load returns for a client whose session has ended: too old, removed, or not to be read.
var ErrSessionEnded = errors.New("authagent: the session has ended")

// Why a request is refused that has no session, or one that has ended.
var (
	errNobody = failure.New(problem.NoSession, "require sign-in", "nobody is signed in")
	errEnded  = failure.New(problem.NoSession, "load session", "the session has ended")
)

// isAbsent reports whether load has found no session. The site's code can return neither of these errors.
func isAbsent(err error) bool { return err == error(errNobody) || err == error(errEnded) }

// load returns a session that holds in every respect, or errNobody or errEnded. It returns the
// session with problem.Paused too, and with errEnded if the session may go on elsewhere.
func (rp *RelyingParty) load(w http.ResponseWriter, r *http.Request) (s *Session, err error) {
	defer rp.panics.Checked("load session", rp.meter, rp.meter.Now(), rp.door.Asked(r), &err, errNobody)
	r, done := rp.register.Load(r)
	defer done()
	if s, err = rp.who(w, r); err != nil {
		return s, err
	}
	switch found, err := rp.hold(r.Context(), s); found {
	case holds:
		if s.Door == audit.Browser {
			rp.tokens.Confirm(s, s.ID, s.StartedAt)
		}
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

// who returns the session that a request's access token stands for or its cookie names, whether or not it holds.
func (rp *RelyingParty) who(w http.ResponseWriter, r *http.Request) (s *Session, err error) {
	token, came, err := rp.door.Token(r)
	switch {
	case err != nil:
		return nil, err
	case came:
		s, err = rp.ofToken(r, token)
	default:
		s, err = rp.ofCookie(w, r)
	}
	if err == nil {
		s.RemoteAddr = rp.config.ClientAddr(r)
	}
	return s, err
}

// ofToken returns the session that an access token stands for. Beside the cookie of another, live or
// ended, nobody could say who sends the request.
func (rp *RelyingParty) ofToken(r *http.Request, token string) (*Session, error) {
	also := rp.another(r)
	if rp.config.Session.Own != nil && !also {
		_, err := rp.sessions.Load(browser.Nowhere{}, r)
		if also = err == nil || errors.Is(err, ErrSessionEnded); !also && !errors.Is(err, ErrNoSession) {
			return nil, err
		}
	}
	if also {
		return nil, failure.New(reasons.InvalidCredentials, "load session", "the request has an access token and the cookie of an agent's session")
	}
	return rp.door.Session(r, token)
}

// ofCookie returns the session that a browser's cookie names.
func (rp *RelyingParty) ofCookie(w http.ResponseWriter, r *http.Request) (*Session, error) {
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
	if s.ParentID != "" {
		s.Door = audit.Link
	}
	return s, nil
}

// clockSkew is how far the clocks of two instances may be apart.
const clockSkew = 5 * time.Minute

// A standing says whether a session holds.
type standing int8

const (
	holds       standing = iota
	isElsewhere          // it has ended here; another relying party of this client may go on with it
	isOver               // it has ended
	isRefused            // the scenario refuses it, for the reason in the error
	isUnknown            // it cannot be known now, or has to wait, as the error says
)

// hold reports whether a session may go on, for cookies and kept tokens alike. All that has a say is asked here: time and
// settings, what was ended, and the scenario with its rules, account and grant, which may lower s.Access and s.Actions.
func (rp *RelyingParty) hold(ctx context.Context, s *Session) (standing, error) {
	now := time.Now()
	switch {
	case !now.Before(s.ExpiresAt), s.Agent.Issuer != rp.config.Issuer, s.Agent.ID == "":
		return isOver, nil
	case s.Scenario != rp.config.Scenario.Name(), s.RedirectURL != rp.config.RedirectURL:
		return isElsewhere, nil
	case s.Epoch != rp.config.Session.Epoch, !now.Before(s.StartedAt.Add(rp.config.Session.Lifetime)):
		return isOver, nil // under a longer Lifetime it would outlast what is remembered of endings
	}
	marked := s.marked()
	ctx, done := rp.register.Expect(ctx, &marked, s.GrantID)
	defer done()
	switch ended, err := rp.register.HasEnded(ctx, &marked); {
	case err != nil:
		return isUnknown, err
	case ended: // before its time
		return isOver, nil
	}
	s.Actions = slices.Clone(s.Actions) // a check may cut it in place, and copies of s share it
	err := rp.config.Scenario.CheckSession(ctx, s)
	if s.UserID == "" || s.Access < AccessNone || s.Access > AccessFull { // without a user there is no data to have access to
		s.Access = AccessNone
	}
	rp.permits.Lower(&s.Access, &s.Actions, s.Scopes, AccessFull)
	switch reason, ok := failure.ReasonOf(err); {
	case err == nil:
		return holds, nil
	case ok && reason != problem.Paused:
		return isRefused, err
	}
	return isUnknown, err
}

// marked is what its marks are known by, and those that it began under.
func (s *Session) marked() marks.Of {
	return marks.Of{
		ID: s.ID, Parent: s.ParentID, Agent: s.Agent, UserID: s.UserID, Subject: s.Subject, SID: s.SID,
		Under: marks.Under{Site: s.SiteMark, Agent: s.AgentMark, User: s.UserMark, Subject: s.SubjectMark},
	}
}

// over says that a session no longer holds. The client keeps its cookie, as that of an ended session, until a sign-out, an
// agent's sign-in, or its Max-Age. Without it, the browser would be that of the person who is signed in there.
func (rp *RelyingParty) over(w http.ResponseWriter, s *Session) error {
	if s.Door == audit.API {
		return door.ErrToken
	}
	if own, ok := rp.sessions.(*sealedSessions); ok {
		own.Unset(w) // no fresh cookie for a session that has ended
	}
	rp.releaseTokens(s)
	return errEnded
}

// endRefused ends a session that the scenario refuses, for good.
func (rp *RelyingParty) endRefused(w http.ResponseWriter, r *http.Request, s *Session, why error) error {
	if err := rp.EndSession(r.Context(), s.ID); err != nil {
		return err
	}
	if reason, _ := failure.ReasonOf(why); reason != problem.NoSession {
		cause := &problem.Error{Reason: reason, Step: "check session", RequestID: failure.NewRequestID()}
		rp.record(r, audit.SessionEnded, s, "", &failure.Failure{Cause: cause})
	}
	return rp.over(w, s)
}

// Approve asks the owner of a session's account about an action that is no HTTP request, such as a tool's, a job's or a
// queue's, like [RelyingParty.RequireApproval]. payload is what the owner is shown and approves, byte for byte: at most 16
// KiB. s is the session that the action is for; Approve asks again whether it holds. Call End of the reservation when the
// action is done. While the owner has yet to decide, the error is problem.ApprovalPending: call Approve with the same
// payload again, later. path is where the agent can see how its request stands.
func (rp *RelyingParty) Approve(ctx context.Context, s *Session, name string, payload []byte, approver action.Approver) (
	reserved *action.Reservation, path string, err error,
) {
	const step = "ask for approval"
	if !wiring.IsAction(name) || approver == nil || s == nil {
		return nil, "", failure.OfSite(step, errors.New("Approve needs a session, the name of an action and an Approver"))
	}
	read, err := approval.OfPayload(payload)
	if err != nil {
		return nil, "", failure.OfApproval(err)
	}
	now, err := rp.still(ctx, s)
	switch {
	case err != nil:
	case now.Access == AccessNone:
		err = failure.New(problem.AccessTooLow, step, "the session has no access to a user's data, and nobody to ask")
	default:
		reserved, path, err = rp.reserve(ctx, now, asked.Question{Action: name, Read: &read}, approver)
	}
	if _, err = rp.book.Attempt(ctx, deedOf(s, name), reserved, err); err != nil {
		return nil, path, err
	}
	return reserved, path, nil
}

// Perform has the named action performed, like [RelyingParty.RequireAction], where that is no HTTP request. It checks whether
// s may perform it now, counts it in Limits, records it, and calls do. It returns the error of do, or says why s may not.
func (rp *RelyingParty) Perform(ctx context.Context, s *Session, name string, do func(context.Context) error) error {
	if !wiring.IsAction(name) || s == nil || do == nil {
		return failure.OfSite("perform action", errors.New("Perform needs a session, the name of an action, and what performs it"))
	}
	now, err := rp.still(ctx, s)
	if err == nil {
		err = rp.mayPerform(ctx, now, name, nil)
	}
	return rp.book.Perform(ctx, deedOf(s, name), err, do)
}

// Change is [RelyingParty.Perform] for what changes the data of a user and has no name: s needs AccessFull. Only a Journal has it.
func (rp *RelyingParty) Change(ctx context.Context, s *Session, do func(context.Context) error) error {
	if s == nil || do == nil {
		return failure.OfSite("change data", errors.New("Change needs a session, and what changes the data"))
	}
	now, err := rp.still(ctx, s)
	if err == nil {
		err = rp.hasAccess(now, AccessFull)
	}
	return rp.book.Perform(ctx, deedOf(s, ""), err, do)
}

// Reach checks whether s still holds and has at least this access to its user's data now, like [RelyingParty.RequireAccess], for
// what is no HTTP request. The error says why not.
func (rp *RelyingParty) Reach(ctx context.Context, s *Session, least Access) error {
	if s == nil {
		return errNobody
	}
	now, err := rp.still(ctx, s)
	if err == nil {
		err = rp.hasAccess(now, least)
	}
	if err != nil {
		rp.book.Attempt(ctx, deedOf(s, ""), nil, err)
	}
	return err
}

// still returns a session as it is now, if it still holds. Outside of an HTTP request, a panic would end the process.
func (rp *RelyingParty) still(ctx context.Context, s *Session) (held *Session, err error) {
	defer rp.panics.Checked("check session", rp.meter, rp.meter.Now(), s.Door == audit.API, &err, errNobody)
	now := *s
	switch state, err := rp.hold(ctx, &now); {
	case state == isUnknown:
		return nil, failure.OfSite("check session", err)
	case state != holds:
		return nil, failure.New(problem.NoSession, "check session", "the session has ended")
	}
	return &now, nil
}

// deedOf is the event of an action that is no HTTP request; name is empty for one that has none.
func deedOf(s *Session, name string) audit.Event {
	return withSession(audit.Event{Action: name, RemoteAddr: s.RemoteAddr}, s)
}

// reserve asks the approver, which gets s in its context as a handler does, and makes of what was read what it approves.
func (rp *RelyingParty) reserve(ctx context.Context, s *Session, q asked.Question, approver action.Approver) (reserved *action.Reservation, path string, err error) {
	const step = "ask for approval"
	if err := rp.permits.Grants(s.Scopes, q.Action, AccessFull); err != nil {
		return nil, "", err
	}
	budget := rp.limits.Budget(ctx, q.Action, s.UserID)
	request := q.Request(s.Scenario, action.Request{
		Agent: s.Agent, UserID: s.UserID, SessionID: s.ID, GrantID: s.GrantID, RemoteAddr: s.RemoteAddr, CountFiling: budget.File, CountPerforming: budget.Perform,
	})
	ctx = &attached{Context: ctx, Party: rp, Before: attachedTo(ctx), Visitor: visitor{Session: s}}
	err = rp.panics.Protect(step, func() error { reserved, path, err = approver.Approve(ctx, request); return err })
	if err = budget.Settle(err); err == nil {
		err = q.Approve(s.Scenario, request, reserved)
	}
	if err != nil {
		return nil, path, failure.OfSite(step, err)
	}
	return reserved, path, nil
}

// start starts the session. It is the last thing that can fail. The browser's former session ends, for every copy of its cookie.
func (rp *RelyingParty) start(w http.ResponseWriter, r *http.Request, s *Session, in *SignIn) error {
	v, err := rp.look(r)
	former := cmp.Or(v.Session, v.Former)
	if err == nil && former != nil {
		err = rp.panics.Protect("end former session", func() error { return rp.EndSession(r.Context(), former.ID) })
	}
	cookies := slices.Clone(w.Header()["Set-Cookie"])
	undo := func(ctx context.Context) error {
		w.Header()["Set-Cookie"] = cookies
		return rp.EndSession(ctx, s.ID)
	}
	if err == nil {
		err = rp.tokens.SaveWhile(r.Context(), s, in.token, in.identity, func() error { return rp.keep(w, r, s) }, undo)
	}
	if err == nil && former != nil {
		rp.releaseTokens(former)
	}
	return failure.OfSite("start session", err)
}

// keep starts a session in a browser, and tells the store what it will be checked against.
func (rp *RelyingParty) keep(w http.ResponseWriter, r *http.Request, s *Session) error {
	marked := s.marked()
	r, done := rp.register.Start(r, &marked, s.GrantID)
	defer done()
	return rp.panics.Protect("start session", func() error { return rp.sessions.Start(w, r, s) })
}

func (rp *RelyingParty) newLinks(box *seal.Box) *link.Desk[Session] {
	c := rp.config
	return &link.Desk[Session]{
		Open: rp.door != nil && c.Paths.Link != "", Address: rp.origin + c.Paths.Link, Path: c.Paths.Link, Home: c.ReturnTo, Box: box, States: &rp.states, Refuser: rp.refuser,
		Token: rp.door.Token, Session: rp.SessionByToken, SameOrigin: rp.CheckOrigin,
		Count: func(r *http.Request) error { return rp.limits.Login(r.Context(), c.ClientAddr(r)) },
		Look:  rp.look, Another: rp.another, Recognise: rp.recognise,
		Seal: (*Session).seal, Parse: parseLinked, Account: rp.accountName, Still: rp.still, Start: rp.startLinked, Record: rp.recordEvent,
		Facts: func(s *Session) link.Facts {
			return link.Facts{Agent: s.Agent, UserID: s.UserID, RemoteAddr: s.RemoteAddr, Until: s.ExpiresAt, Address: s.loginID}
		},
	}
}

// parseLinked returns the session of an access token that is to go on in a browser.
func parseLinked(value string, remoteAddr string) (*Session, error) {
	s, _, err := parseSession(value)
	if err == nil {
		s.Door, s.RemoteAddr = audit.API, remoteAddr
	}
	return s, err
}

// startLinked starts the session that goes on with that of an access token. All that it may do and all that ends it
// comes from there, so it brings nothing back that has ended since.
func (rp *RelyingParty) startLinked(w http.ResponseWriter, r *http.Request, from *Session, address string) error {
	s := *from
	s.ID, s.ParentID, s.loginID, s.Door = rand.Text(), from.ID, address, audit.Link
	s.StartedAt, s.RemoteAddr = time.Now(), rp.config.ClientAddr(r)
	err := rp.keep(w, r, &s)
	if err == nil {
		rp.recordEvent(r, audit.Event{Name: audit.SessionContinued, Detail: "continues session " + from.ID}, &s, nil)
	}
	return failure.OfSite("start session", err)
}

// openCookies sets up what is kept in cookies. Names and keys are this relying party's own, so nothing of another one
// on the same site is taken for them.
func (rp *RelyingParty) openCookies(redirectURL *url.URL) (err error) {
	c, secure := rp.config, redirectURL.Scheme != "http"
	box := func(purpose string, own ...string) *seal.Box {
		made, wrong := seal.NewBox(c.SessionKeys, append([]string{"authagent", purpose, c.Issuer, c.ClientID}, own...)...)
		err = cmp.Or(err, wrong)
		return made
	}
	rp.cookies = browser.NewNames(secure, cmp.Or(redirectURL.Port(), "80"), c.Issuer+"\n"+c.ClientID)
	rp.deleted = browser.Attributes(0, secure)
	logins := box("login", c.RedirectURL, c.Scenario.Name()) // a session says those two itself
	rp.pending = newPendingLogins(rp.cookies.Login, logins, secure)
	rp.tokens = rp.newTokens(box("tokens"))
	teller, wrong := compare.New(c.SessionKeys, linkPolicy(c.Scenario))
	rp.compare, err = teller, cmp.Or(err, wrong)
	rp.links = rp.newLinks(box("link"))
	rp.sessions = c.Session.Own
	if rp.sessions == nil {
		rp.sessions = rp.newSessions(box("session"), secure)
	}
	if err != nil {
		return fmt.Errorf("authagent: SessionKeys: %w", err)
	}
	return nil
}

// sealedSessions are Sessions in a jar: in a gorilla/sessions Store, or in a cookie alone.
type sealedSessions = jar.Timed[*Session]

func (rp *RelyingParty) newSessions(box *seal.Box, secure bool) Sessions {
	c := rp.config.Session
	maxAge := int(math.Ceil(c.Lifetime.Seconds())) // as zero deletes
	return &sealedSessions{
		Jar: jar.New(c.Store, box, rp.cookies.Session, maxAge, secure), Idle: c.Idle, Skew: clockSkew,
		Seal: (*Session).seal, Parse: parseSession, None: ErrNoSession, Ended: ErrSessionEnded,
		Started: func(s *Session) time.Time { return s.StartedAt },
	}
}

// sessionVersion is the first byte of an encoded session. A new field is added at the end, and an instance that does
// not know it passes it on. The version changes only if that is not enough: older instances take a value of another
// version for an ended session, and leave it in place.
const sessionVersion = 2

// fields are what is kept of s, with the time at which the client last got a fresh value.
func (s *Session) fields(f *seal.Fields, seen *time.Time) {
	f.Times(&s.StartedAt, &s.ExpiresAt, seen)
	seal.Int(f, &s.Access)
	f.Texts(&s.ID, &s.Agent.Issuer, &s.Agent.ID, &s.Model, &s.Scenario, &s.UserID, &s.ProfileID, &s.GrantID, &s.loginID)
	f.Words(&s.Actions)
	f.Later(&s.RedirectURL, &s.SiteMark, &s.AgentMark, &s.UserMark, &s.Epoch)
	if f.More() {
		seal.Int(f, &s.GrantEra)
	}
	if f.More() {
		f.Texts(&s.Subject, &s.SID, &s.SubjectMark)
		f.Words(&s.Scopes)
	}
	if f.More() {
		f.Texts(&s.ParentID)
	}
	f.Rest(&s.rest)
}

// seal returns s as it is kept, seen now.
func (s *Session) seal() []byte {
	f, now := seal.WriteTo(append(make([]byte, 0, 320), sessionVersion)), time.Now()
	s.fields(f, &now)
	return f.Written()
}

func parseSession(value string) (s *Session, seen time.Time, err error) {
	if len(value) == 0 || value[0] != sessionVersion {
		return nil, seen, errors.New("session is of another version")
	}
	f, s := seal.ReadFrom(value[1:]), &Session{}
	s.fields(f, &seen)
	return s, seen, f.Err()
}

// EndSession ends the session with this ID on its next request, at every instance that shares the RevocationStore. If
// tokens are kept for it, the server is then asked to revoke them. With the default Config.Revocations, a restart undoes it.
func (rp *RelyingParty) EndSession(ctx context.Context, sessionID string) error {
	return rp.register.End(ctx, marks.Session(sessionID))
}

// EndAgentSessions ends all existing sessions of an agent, like EndSession.
func (rp *RelyingParty) EndAgentSessions(ctx context.Context, agent Agent) error {
	return rp.register.End(ctx, marks.Agent(agent))
}

// EndUserSessions ends all existing agent sessions that act for a user, like EndSession.
func (rp *RelyingParty) EndUserSessions(ctx context.Context, userID string) error {
	return rp.register.EndUser(ctx, userID)
}

// EndAllSessions ends all existing agent sessions of the site, like EndSession. To end them for
// good, change Config.Session.Epoch.
func (rp *RelyingParty) EndAllSessions(ctx context.Context) error {
	return rp.register.End(ctx, marks.Site)
}

// ForgetAgent frees an agent from the account that it acts in, so that its owner can connect it or be asked. It ends the
// agent's grants and sessions. It makes the stores forget which account the agent entered, and the profile that is linked to
// one. Operators call it when an owner says that a stranger has connected their agent, or lured it into an account. humanID
// is the operator, for the audit trail; the site decides who may call it. To keep an agent out, use grants.Rules.
//
// It goes on after an error and returns all errors; then call it again. It returns errors.ErrUnsupported if a store keeps
// something and is no [Forgetter]. A site with several relying parties calls it on each.
func (rp *RelyingParty) ForgetAgent(ctx context.Context, humanID string, agent Agent) error {
	return rp.personal().Forget(ctx, humanID, agent)
}

// EraseUser erases what is kept of an account that is gone: call it when the UserStore no longer finds the account. It ends
// the sessions of its agents, has the server revoke their tokens, and has each store that is an [Eraser] delete what it has:
// tokens, grants with all that belongs to them, profiles and links. Events stay, under a pseudonym, if Config.Erasers has the
// trail. The receipt says what each store did, and what is left. humanID is who deleted it; empty for the site itself.
//
// It goes on after an error and returns all errors; then call it again. It returns errors.ErrUnsupported if a part of
// the scenario keeps something and is no Eraser; of other stores, the receipt says so. Call it once for each ClientID. A request
// under way at another instance can still leave a row or an event: call it again after two minutes. See docs/personal-data.md.
func (rp *RelyingParty) EraseUser(ctx context.Context, humanID, userID string) (Receipt, error) {
	return rp.personal().Erase(ctx, humanID, userID)
}

// ExportUser writes all that is kept of an account to w, as one JSON document: see [Export]. It has no secret, but what the
// agents did. A store that is no [Exporter] is named in it. After an error, the document is not complete, nor JSON.
func (rp *RelyingParty) ExportUser(ctx context.Context, userID string, w io.Writer) error {
	return rp.personal().Export(ctx, userID, w)
}

// Shutdown waits for background work: refreshes, confirmations, revocations, and the events on their way to
// Config.Audit, with the refusals counted so far. Later refusals are not counted. A refresh that is cut off costs a
// session its tokens. No refresh, confirmation or revocation is started any more, so call it after
// [http.Server.Shutdown]. It returns an error if ctx ends first.
func (rp *RelyingParty) Shutdown(ctx context.Context) error {
	errs := []error{rp.tokens.Shutdown(ctx)}
	if err := rp.server.Settle(ctx); err != nil {
		errs = append(errs, fmt.Errorf("wait for revocations: %w", err))
	}
	errs = append(errs, rp.book.Wait(ctx), rp.trail.Shutdown(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("authagent: %w", err)
	}
	return nil
}
