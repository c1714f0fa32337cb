package authagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/wire"
)

type contextKey struct{}

// attached is what a request's context carries: the session, or nil for a
// request that was looked at and has none, and what another relying party of the
// same site attached before.
type attached struct {
	rp      *RelyingParty
	session *Session
	before  *attached
}

// FromContext returns the agent session of a request that came through the
// middleware, and whether there is one.
func FromContext(ctx context.Context) (*Session, bool) {
	a, _ := ctx.Value(contextKey{}).(*attached)
	for ; a != nil; a = a.before {
		if a.session != nil { // of several relying parties, the innermost that knows the agent
			return a.session, true
		}
	}
	return nil, false
}

// Attach puts the agent's session, if there is one, into the request's context.
// Requests of anybody else pass unchanged. A session with AccessRead passes with
// GET and HEAD only, and the answer is marked Cache-Control: no-store unless the
// handler says otherwise, here as behind every other middleware of this package.
func (rp *RelyingParty) Attach(next http.Handler) http.Handler {
	return rp.guard(next, func(*http.Request, *Session) error { return nil })
}

// RequireAgent lets signed-in agents through, whatever their access, and nobody
// else. A browser that shows a page is sent to sign in; anything else is answered
// with status 401.
func (rp *RelyingParty) RequireAgent(next http.Handler) http.Handler {
	return rp.guard(next, func(_ *http.Request, s *Session) error {
		if s == nil {
			return fail(ErrNoSession, "require agent", "nobody is signed in")
		}
		return nil
	})
}

// RequireAccess returns a middleware that lets through the agents that have at
// least this access to their user's data. It is what belongs in front of
// anything that shows or changes such data: an agent with a FreshProfile has
// none.
func (rp *RelyingParty) RequireAccess(least Access) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return rp.guard(next, func(_ *http.Request, s *Session) error {
			switch {
			case s == nil:
				return fail(ErrNoSession, "require access", "nobody is signed in")
			case s.Access < least:
				return fail(ErrAccess, "require access", "the session's access is %s, %s is needed", s.Access, least)
			}
			return nil
		})
	}
}

// ForbidAgents lets everybody through but signed-in agents, whatever their
// access. Put it in front of what a human must do in person: changing e-mail
// address or password, payment, deletion, and managing agents. A site with
// several relying parties needs that of each of them there.
func (rp *RelyingParty) ForbidAgents(next http.Handler) http.Handler {
	return rp.guard(next, func(_ *http.Request, s *Session) error {
		if s != nil {
			return fail(ErrAgentForbidden, "forbid agents", "an agent is signed in")
		}
		return nil
	})
}

// guard is all of the middleware: load the session, check, attach, pass on.
func (rp *RelyingParty) guard(next http.Handler, check func(*http.Request, *Session) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What an agent sees is nobody else's, in no cache.
		w.Header().Set("Cache-Control", "no-store")
		addVary(w.Header(), "Cookie")
		s, loaded, err := rp.session(w, r)
		if err == nil {
			err = check(r, s)
		}
		if err == nil && s != nil {
			err = rp.readOnly(r, s)
		}
		if err != nil {
			rp.refuse(w, r, s, err)
			return
		}
		if !loaded {
			before, _ := r.Context().Value(contextKey{}).(*attached)
			r = r.WithContext(context.WithValue(r.Context(), contextKey{}, &attached{rp, s, before}))
		}
		next.ServeHTTP(w, r)
	})
}

func addVary(h http.Header, name string) {
	for _, have := range h["Vary"] {
		if strings.EqualFold(have, name) {
			return
		}
	}
	h.Add("Vary", name)
}

// session returns the request's session, nil for none. It is loaded once per
// request, however many middlewares ask; loaded says that it was before.
func (rp *RelyingParty) session(w http.ResponseWriter, r *http.Request) (s *Session, loaded bool, err error) {
	a, _ := r.Context().Value(contextKey{}).(*attached)
	for ; a != nil; a = a.before {
		if a.rp == rp {
			return a.session, true, nil
		}
	}
	err = rp.protect("load session", func() error {
		s, err = rp.load(w, r)
		return err
	})
	if errors.Is(err, ErrNoSession) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, siteError("load session", err)
	}
	return s, false, nil
}

// load returns a session that holds in every respect, or ErrNoSession.
func (rp *RelyingParty) load(w http.ResponseWriter, r *http.Request) (*Session, error) {
	s, err := rp.sessions.Load(w, r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if s == nil || !time.Now().Before(s.ExpiresAt) || s.Agent.Issuer != rp.config.Issuer || s.Agent.ID == "" {
		return nil, rp.discard(w, r, s, ErrNoSession)
	}
	switch ended, err := rp.revoked(ctx, s); {
	case err != nil:
		return nil, err
	case ended:
		return nil, rp.discard(w, r, s, ErrNoSession)
	}
	own := *s // the site may have given others the same one
	s = &own
	most := s.Access
	err = rp.config.Scenario.CheckSession(ctx, s)
	s.Access = min(s.Access, most) // a check lowers, whatever it says
	if reason, refused := reasonOf(err); refused {
		return nil, rp.discard(w, r, s, reason)
	}
	return s, err
}

// discard takes a session that no longer holds away from the client.
func (rp *RelyingParty) discard(w http.ResponseWriter, r *http.Request, s *Session, why Reason) error {
	if err := rp.sessions.End(w, r); err != nil {
		return err
	}
	if s != nil && why != ErrNoSession {
		rp.record(r, EventSessionEnded, s, &Error{Reason: why, Step: "check session", RequestID: newRequestID()})
	}
	return ErrNoSession
}

// readOnly refuses what a session with AccessRead may not do. The method is the
// request's own: headers and fields that claim another one are not looked at. An
// upgraded connection could carry anything.
func (rp *RelyingParty) readOnly(r *http.Request, s *Session) error {
	if s.Access != AccessRead || r.URL.Path == rp.config.LogoutPath {
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return fail(ErrReadOnly, "enforce read-only access", "the session may read, and %s is not GET or HEAD", answer.Token(r.Method))
	}
	if len(r.Header["Upgrade"]) > 0 { // Get would see the first of several lines, and libraries read them all
		return fail(ErrReadOnly, "enforce read-only access", "the session may read, and not upgrade the connection")
	}
	return nil
}

// refuse answers a request that the middleware does not let through.
func (rp *RelyingParty) refuse(w http.ResponseWriter, r *http.Request, s *Session, err error) {
	e := asError(err)
	if e.Reason == ErrNoSession && isPageLoad(r) {
		// The way back is this page; returnTarget makes sure that it is one.
		target := rp.config.LoginPath
		if back := rp.returnTarget(r.URL.RequestURI()); back != rp.config.ReturnTo {
			target += "?return_to=" + url.QueryEscape(back)
		}
		redirect(w, target)
		return
	}
	e.RequestID = newRequestID()
	if e.Reason != ErrNoSession {
		rp.record(r, EventPermissionDenied, s, e)
	}
	rp.answer(w, r, e)
}

// isPageLoad reports whether a browser is showing a page, which it can show a
// sign-in page instead of.
func isPageLoad(r *http.Request) bool {
	if r.Method != http.MethodGet || len(r.Header["Upgrade"]) > 0 || !wantsPage(r) {
		return false
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// wantsPage reports whether the client is a browser that wants HTML. A program
// that says nothing gets JSON.
func wantsPage(r *http.Request) bool { return answer.WantsHTML(r.Header["Accept"]) }

// protect calls f, which calls code of the site, and turns a panic into an
// error: a doubt about who is signed in must never let a request through, and an
// agent is to be told.
func (rp *RelyingParty) protect(step string, f func() error) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			rp.config.Logger.Error("authagent: panic", "step", step, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = siteError(step, errors.New("panic"))
		}
	}()
	return f()
}

// answer answers a request that was refused, in one place for the whole package.
func (rp *RelyingParty) answer(w http.ResponseWriter, r *http.Request, e *Error) {
	h := w.Header()
	addVary(h, "Accept")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	signIn := rp.origin + rp.config.LoginPath
	if e.Status() == http.StatusUnauthorized { // RFC 9110 section 15.5.2 demands a challenge
		h.Set("WWW-Authenticate", `AuthAgent sign_in="`+signIn+`"`)
	}
	if e.Status() == http.StatusUnauthorized || e.Reason.again() {
		e.signIn = signIn
	}
	switch {
	case rp.config.ErrorHandler != nil:
		rp.config.ErrorHandler(w, r, e)
	case wantsPage(r):
		rp.page.Write(w, e.problem(), rp.config.ReturnTo)
	default:
		e.WriteProblem(w)
	}
}

// again reports whether starting a new sign-in is what to do next.
func (r Reason) again() bool {
	switch r {
	case ErrState, ErrStateExpired, ErrStateUsed, ErrAuthorization, ErrCode, ErrToken, ErrRequest, ErrDenied,
		ErrClient, ErrNotReady, ErrUnavailable, ErrTimeout, ErrOverloaded:
		return true
	}
	return false
}

// EventName names a kind of event. The names are stable.
type EventName string

// The events.
const (
	EventLoginStarted     EventName = "login_started"
	EventLoginSucceeded   EventName = "login_succeeded"
	EventLoginFailed      EventName = "login_failed"
	EventSessionEnded     EventName = "session_ended"
	EventPermissionDenied EventName = "permission_denied"
)

// An Event is something that an audit trail records.
type Event struct {
	Name       EventName
	Time       time.Time // in UTC
	RequestID  string    // the one that a refused client was given; empty otherwise
	Method     string    // of the request
	RemoteAddr string    // of the connection, as net/http has it
	Issuer     string    // of the relying party
	SessionID  string    // this and the following as far as they are known
	Agent      Agent
	Scenario   string
	UserID     string
	ProfileID  string
	Access     Access
	Reason     Reason // why it was refused or ended; empty otherwise
	Detail     string // for people: the text of the error
}

// record puts an event into the log and into the audit trail.
func (rp *RelyingParty) record(r *http.Request, name EventName, s *Session, e *Error) {
	event := Event{
		Name: name, Time: time.Now().UTC(), Method: answer.Token(r.Method), RemoteAddr: r.RemoteAddr, Issuer: rp.config.Issuer,
	}
	if s != nil {
		event.SessionID, event.Agent, event.Scenario = s.ID, s.Agent, s.Scenario
		event.UserID, event.ProfileID, event.Access = s.UserID, s.ProfileID, s.Access
	}
	level := slog.LevelInfo
	if e != nil {
		event.RequestID, event.Reason, event.Detail = e.RequestID, e.Reason, e.Error()
		if s == nil {
			event.Agent = e.agent
		}
		if fault := e.Fault(); fault != FaultAgent {
			level = slog.LevelError
		}
	}
	if name == EventLoginStarted {
		level = slog.LevelDebug
	}
	ctx := context.WithoutCancel(r.Context())
	if rp.config.Logger.Enabled(ctx, level) {
		rp.config.Logger.LogAttrs(ctx, level, "authagent: "+string(name), event.attributes()...)
	}
	if rp.config.Audit != nil {
		rp.audit.Deliver(delivery{ctx, event})
	}
}

// attributes are what is not empty, under stable names.
func (e Event) attributes() []slog.Attr {
	attributes := []slog.Attr{slog.String("issuer", e.Issuer), slog.String("remote_addr", e.RemoteAddr)}
	for _, a := range [...]struct{ key, value string }{
		{"request_id", e.RequestID}, {"agent_session", e.SessionID}, {"performed_by", e.Agent.ID}, {"on_behalf_of", e.UserID},
		{"profile", e.ProfileID}, {"scenario", e.Scenario}, {"reason", string(e.Reason)}, {"detail", e.Detail},
	} {
		if a.value != "" {
			attributes = append(attributes, slog.String(a.key, a.value))
		}
	}
	return attributes
}

// delivery is an event on its way to Config.Audit.
type delivery struct {
	ctx   context.Context
	event Event
}

func (rp *RelyingParty) deliver(d delivery) { rp.config.Audit(d.ctx, d.event) }

// A Reason says in one word why something was refused or failed. Reasons are
// stable, and are errors: errors.Is(err, authagent.ErrState). As errors they print
// with the package's name before them; string(reason) is the bare code.
type Reason string

func (r Reason) Error() string { return "authagent: " + string(r) }

// The reasons beside ErrNoSession.
const (
	ErrMethod         Reason = "method_not_allowed"   // the handler takes another HTTP method
	ErrNotNavigation  Reason = "not_a_navigation"     // prefetched or embedded, not opened
	ErrCrossOrigin    Reason = "cross_origin"         // sent by another site's page
	ErrRequest        Reason = "invalid_request"      // parameters malformed, missing or repeated
	ErrState          Reason = "state_mismatch"       // the response answers no login that this browser began
	ErrStateExpired   Reason = "state_expired"        // the login began too long ago
	ErrStateUsed      Reason = "state_used"           // the login has come to its end already
	ErrIssuer         Reason = "issuer_mismatch"      // the response is of another authorization server
	ErrDenied         Reason = "access_denied"        // the authorization server was told no
	ErrAuthorization  Reason = "authorization_failed" // the authorization server reports another error
	ErrCode           Reason = "code_refused"         // the code is not good (any more)
	ErrClient         Reason = "client_refused"       // client ID and secret are refused, or the server's database is down
	ErrToken          Reason = "token_refused"        // the server does not stand by the token it gave
	ErrIdentity       Reason = "identity_mismatch"    // the token speaks of somebody or something else
	ErrScope          Reason = "insufficient_scope"   // the server granted less than the scenario needs
	ErrResponse       Reason = "invalid_response"     // the server's answer cannot be accepted
	ErrNotReady       Reason = "server_not_ready"     // what the server says of itself could not be had, or is not acceptable
	ErrUnavailable    Reason = "server_unavailable"   // the server does not answer
	ErrTimeout        Reason = "server_timeout"       // the server does not answer in time
	ErrOverloaded     Reason = "overloaded"           // too many sign-ins at once
	ErrNoAccount      Reason = "no_account"           // the agent's owner has no account here
	ErrLink           Reason = "link_refused"         // the agent may not enter the account
	ErrStore          Reason = "store_failed"         // a store or hook of the site failed
	ErrAccess         Reason = "access_too_low"       // the session has less access than is needed
	ErrReadOnly       Reason = "agent_read_only"      // the session may only read
	ErrAgentForbidden Reason = "agent_forbidden"      // no agent may do this
)

// A Fault says who has to do something about an error. Faults are errors:
// errors.Is(err, authagent.FaultServer).
type Fault string

func (f Fault) Error() string { return "authagent: fault of the " + string(f) }

// The faults.
const (
	FaultAgent   Fault = "agent"   // the agent, or whoever sent the request
	FaultSite    Fault = "site"    // the site: its settings or its stores
	FaultServer  Fault = "server"  // the authorization server
	FaultNetwork Fault = "network" // what is in between; a retry may help
)

// An Error is why a request was refused or a step failed. Its text is for the
// site's log. It contains no secret and nothing that a client or the server
// wrote. errors.Is matches its Reason, its Fault and what it wraps.
type Error struct {
	Reason     Reason
	Step       string        // what was being done
	Err        error         // what went wrong; may be nil
	RetryAfter time.Duration // when to try again, if that may help; zero otherwise
	RequestID  string        // in the answer and in the log; empty outside of a request

	agent  Agent  // who it was, once that is established
	signIn string // where to sign in, if that is what to do next
}

func (e *Error) Error() string {
	text := "authagent: " + e.Step + ": " + string(e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's Reason or Fault.
func (e *Error) Is(target error) bool { return target == e.Reason || target == e.Fault() }

// Fault returns whose fault the error is.
func (e *Error) Fault() Fault {
	var w *wire.Error
	if errors.As(e.Err, &w) && w.Kind == wire.Unavailable {
		if w.Status != 0 {
			return FaultServer // it did answer
		}
		return FaultNetwork
	}
	return e.Reason.outcome().fault
}

// Status returns the HTTP status that the error is answered with.
func (e *Error) Status() int { return e.Reason.outcome().status }

// Title says in a few words what happened, as clients are told: a constant text.
func (e *Error) Title() string { return e.Reason.outcome().title }

// Detail says in a sentence or two what happened and what can be done.
func (e *Error) Detail() string { return e.Reason.outcome().detail }

// WriteProblem answers with application/problem+json (RFC 9457), as a program
// gets it. A Config.ErrorHandler that is about pages alone leaves programs to it.
func (e *Error) WriteProblem(w http.ResponseWriter) { answer.WriteProblem(w, e.problem()) }

func (e *Error) problem() answer.Problem {
	return answer.Problem{
		Status: e.Status(), Title: e.Title(), Detail: e.Detail(), Code: string(e.Reason), RequestID: e.RequestID,
		Retry: e.RetryAfter > 0, SignIn: e.signIn,
	}
}

func fail(reason Reason, step, format string, args ...any) *Error {
	e := &Error{Reason: reason, Step: step, Err: fmt.Errorf(format, args...)}
	if reason.outcome().retry {
		e.RetryAfter = retryAfter
	}
	return e
}

// retryAfter is when a client is told to try again where nothing else is known.
const retryAfter = 5 * time.Second

// siteError is the error of something that the site provides: what it says if it
// is a reason, and a fault of the site if it is not.
func siteError(step string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if reason, ok := reasonOf(err); ok {
		return &Error{Reason: reason, Step: step, Err: err}
	}
	return &Error{Reason: ErrStore, Step: step, Err: err, RetryAfter: retryAfter}
}

func reasonOf(err error) (Reason, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason, e.Fault() == FaultAgent
	}
	var reason Reason
	return reason, errors.As(err, &reason)
}

// asError returns err as an Error of this request alone: a site may return one
// and the same from many.
func asError(err error) *Error {
	var e *Error
	if !errors.As(siteError("handle request", err), &e) {
		return &Error{Reason: ErrStore, Step: "handle request"}
	}
	own := *e
	return &own
}

// outcome is what a reason means to whom it is told.
type outcome struct {
	status        int
	fault         Fault
	retry         bool // asking anew, later, may succeed
	title, detail string
}

// outcome is the one place that says how each refusal is answered. The texts
// are constant: an agent takes what it reads for an instruction, so nobody
// else's words may be in them.
func (r Reason) outcome() outcome {
	switch r {
	case ErrNoSession:
		return outcome{401, FaultAgent, false, "Sign-in required", "No agent is signed in. Sign in and ask again."}
	case ErrMethod:
		return outcome{405, FaultAgent, false, "Method not allowed", "This address takes another HTTP method."}
	case ErrNotNavigation:
		return outcome{403, FaultAgent, false, "Not opened", "This address is to be opened, not loaded in advance or inside something else."}
	case ErrCrossOrigin:
		return outcome{403, FaultAgent, false, "Sent by another site", "The request was sent by a page of another site."}
	case ErrRequest:
		return outcome{400, FaultAgent, false, "Malformed request", "The parameters are malformed, missing or repeated."}
	case ErrState:
		return outcome{400, FaultAgent, false, "No such sign-in", "This browser has no sign-in under way that this response belongs to. Start again."}
	case ErrStateExpired:
		return outcome{400, FaultAgent, false, "Sign-in expired", "The sign-in took too long. Start again."}
	case ErrStateUsed:
		return outcome{400, FaultAgent, false, "Sign-in already finished", "This response has been used. Start again."}
	case ErrIssuer:
		return outcome{400, FaultAgent, false, "Another server", "The response does not come from the authorization server that was asked."}
	case ErrDenied:
		return outcome{403, FaultAgent, false, "Sign-in refused", "The authorization server was told to refuse this sign-in."}
	case ErrAuthorization:
		return outcome{400, FaultServer, false, "Sign-in failed", "The authorization server reports an error. Start again."}
	case ErrCode:
		return outcome{400, FaultAgent, false, "Sign-in not accepted", "The authorization server does not accept the code. Start again."}
	case ErrClient:
		return outcome{502, FaultServer, true, "Authorization server refused", "The authorization server refused this site. Start again later."}
	case ErrToken:
		return outcome{400, FaultServer, true, "Sign-in not confirmed", "The authorization server did not confirm the sign-in. Start again."}
	case ErrIdentity:
		return outcome{400, FaultServer, false, "Identity not confirmed", "What the authorization server says of the agent does not fit together."}
	case ErrScope:
		return outcome{403, FaultAgent, false, "Too little granted", "The authorization server granted less than this site needs."}
	case ErrResponse:
		return outcome{502, FaultServer, false, "Authorization server failed", "The authorization server gave an answer that this site does not accept."}
	case ErrNotReady:
		return outcome{503, FaultServer, true, "Sign-in unavailable", "The authorization server cannot be used at the moment. Start again later."}
	case ErrUnavailable:
		return outcome{502, FaultNetwork, true, "Authorization server unavailable", "The authorization server does not answer. Start again later."}
	case ErrTimeout:
		return outcome{504, FaultNetwork, true, "Authorization server unavailable", "The authorization server does not answer in time. Start again later."}
	case ErrOverloaded:
		return outcome{503, FaultSite, true, "Too many sign-ins", "Too many sign-ins are under way. Start again later."}
	case ErrNoAccount:
		return outcome{403, FaultAgent, false, "No account", "The agent's owner has no account here that the agent may enter."}
	case ErrLink:
		return outcome{403, FaultAgent, false, "Not linked", "The agent may not enter the account."}
	case ErrAccess:
		return outcome{403, FaultAgent, false, "Access too low", "The agent's access to its user's data is not enough for this."}
	case ErrReadOnly:
		return outcome{403, FaultAgent, false, "Read-only", "The agent may only read, so nothing was changed. GET and HEAD are allowed."}
	case ErrAgentForbidden:
		return outcome{403, FaultAgent, false, "Not for agents", "No agent may do this. It is for the account's owner in person."}
	case ErrStore:
		return outcome{500, FaultSite, true, "Site error", "Something went wrong at this site. Try again later."}
	}
	// A reason of the site's own, from its scenario, policy or session check.
	return outcome{403, FaultAgent, false, "Refused", "This site refuses the request."}
}
