package authagent

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/accounts"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/asked"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/deed"
	"github.com/authagent-go/authagent/internal/door"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/refuse"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/visit"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/messages"
	"github.com/authagent-go/authagent/problem"
)

// This file holds the way from a request to who acts in it, the guards, and what is answered.

// Who sends a request, and what a middleware attaches of that to the request.
type (
	visitor  = visit.Visitor[Session]
	attached = visit.Attached[*RelyingParty, Session]
)

func attachedTo(ctx context.Context) *attached { return visit.To[*RelyingParty, Session](ctx) }

// FromContext returns the agent session of a request that came through the middleware, and whether there is one.
func FromContext(ctx context.Context) (*Session, bool) {
	s := attachedTo(ctx).Session()
	return s, s != nil
}

// HumanFromContext returns the ID of the human who sends the request, and whether there is one. It
// works behind the middlewares that recognise people by Config.Human, whose names begin with Require.
func HumanFromContext(ctx context.Context) (userID string, ok bool) {
	userID = attachedTo(ctx).Person()
	return userID, userID != ""
}

// visitor returns who sends the request. It is found out once per request, however many middlewares
// ask. before is what an outer middleware of this relying party has attached.
func (rp *RelyingParty) visitor(w http.ResponseWriter, r *http.Request) (v visitor, before *attached, err error) {
	if before = attachedTo(r.Context()).By(rp); before != nil {
		return before.Visitor, before, nil
	}
	v, err = rp.find(w, r)
	return v, nil, err
}

// find is visitor without what was found out before.
func (rp *RelyingParty) find(w http.ResponseWriter, r *http.Request) (visitor, error) {
	s, err := rp.load(w, r)
	switch {
	case err == nil:
		return visitor{Session: s}, nil
	case err == error(errEnded):
		return visitor{Ended: true, Former: s}, nil
	case isAbsent(err):
		return visitor{}, nil
	case s != nil && errors.Is(err, problem.Paused):
		return visitor{Session: s, Paused: true}, nil
	}
	return visitor{}, failure.OfSite("load session", err)
}

// look is visitor for a caller that only wants to know. It sets no cookie.
func (rp *RelyingParty) look(r *http.Request) (visitor, error) {
	v, _, err := rp.visitor(browser.Nowhere{}, r)
	return v, err
}

// Attach puts the agent's session, if there is one, into the request's context. All other requests pass unchanged, so the site's
// own checks belong inside. A session with less than AccessFull to its user's data passes with GET and HEAD only; an agent without
// a user passes with every method. As behind every middleware here, the answer has Cache-Control: no-store by default.
//
// Put [RelyingParty.RequireAction] and [RelyingParty.RequireApproval] outside of Attach, which
// would refuse what they allow. But if next is an [http.ServeMux] and has a middleware or handler of
// this relying party for the request, Attach lets that one decide.
func (rp *RelyingParty) Attach(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "Attach", attaches: true, admits: everybody, next: next}
}

// RequireAgent lets only signed-in agents through. Agents with a user and less than AccessFull may
// only read (GET and HEAD). A person gets status 403, a stranger 401 or, in a browser, a sign-in page.
func (rp *RelyingParty) RequireAgent(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "RequireAgent", admits: agentsAlone, next: next}
}

// RequireAccess returns a middleware that lets through agents with at least this access to their user's data, and people who
// are signed in to the site (Config.Human). Strangers are refused, and agents without a user. Put it in front of whatever
// shows or changes such data. It panics if least is AccessNone.
func (rp *RelyingParty) RequireAccess(least Access) func(http.Handler) http.Handler {
	wiring.NeedsAccess("RequireAccess", least.String())
	return rp.require("RequireAccess", nil, func(_ *http.Request, s *Session) (*action.Reservation, error) {
		return nil, rp.hasAccess(s, least)
	})
}

// hasAccess checks whether a session has at least this access.
func (rp *RelyingParty) hasAccess(s *Session, least Access) error {
	if err := rp.permits.Reaches(s.Scopes, least, AccessFull); err != nil {
		return err
	}
	if s.Access < least {
		return failure.New(problem.AccessTooLow, "require access", "the session's access is %s, %s is needed", s.Access, least)
	}
	return nil
}

// RequireAction returns a middleware for a route that performs the named action, such as "orders:create", whatever its method.
// It lets through agents with AccessFull, and those whose grant names the action ([Session.May]), even if they may otherwise
// only read. It lets through people who are signed in to the site (Config.Human), and no strangers. To let in only agents, put
// RequireAgent inside. It panics if the name is empty or has white space in it.
//
// Put it outside of the other middlewares of this package, which let a read-only session only read.
func (rp *RelyingParty) RequireAction(name string) func(http.Handler) http.Handler {
	if !wiring.IsAction(name) {
		panic("authagent: " + strconv.Quote(name) + " is not the name of an action")
	}
	wired := rp.actions.Add(wiring.ByName, name, nil, func() error {
		if s, ok := scenario.As[interface{ checkAction(name string) error }](rp.config.Scenario); ok {
			return s.checkAction(name)
		}
		return nil
	})
	return rp.require(wiring.ByName, wired, func(r *http.Request, s *Session) (*action.Reservation, error) {
		return nil, rp.mayPerform(r.Context(), s, name, wired)
	})
}

// mayPerform checks whether a session may perform an action, and counts it. wired is the action of a route; nil for none.
func (rp *RelyingParty) mayPerform(ctx context.Context, s *Session, name string, wired *wiring.Action) error {
	const step = "perform action"
	switch {
	case s.Access == AccessNone && (s.UserID == "" || rp.permits.Grants(s.Scopes, name, AccessFull) == nil):
		return failure.New(problem.AccessTooLow, step, "the session has no access to a user's data")
	case !s.May(name):
		if err := wired.Err(); err != nil { // the agent is not sent to its owner, who could do nothing
			return failure.New(problem.AccessTooLow, step, "no owner can allow %s: %w", name, err)
		}
		if err := rp.permits.Grants(s.Scopes, name, AccessFull); err != nil {
			return err
		}
		return failure.New(problem.ActionNotGranted, step, "the session may not perform %s", name)
	}
	return rp.limits.Action(ctx, name, s.Agent, s.UserID)
}

// SessionByToken returns the session of an agent that has sent r with an access token (Config.API), for what stands behind no
// guard, such as an MCP server: there, each tool says what it needs, by [Session.Access], [RelyingParty.Perform] and
// [RelyingParty.Approve]. Everybody else is refused, people too. It counts in Limits. Answer its error with
// [RelyingParty.ServeError].
func (rp *RelyingParty) SessionByToken(r *http.Request) (*Session, error) {
	v, err := rp.look(r)
	switch {
	case err != nil:
		return nil, err
	case v.Session == nil, v.Session.Door != audit.API:
		return nil, errNobody
	case v.Paused:
		return nil, failure.New(problem.Paused, "load session", "agents are paused")
	}
	if err := rp.limits.Request(r.Context(), v.Session.Agent, v.Session.UserID); err != nil {
		return nil, err
	}
	return v.Session, nil
}

// RequireApproval returns a middleware for a route that performs an action so risky that the agent's owner is asked about each
// single request. The first request is answered with status 202 and Retry-After, and Location says where to look. After the
// owner has approved it, the same request passes once, whatever the session's access; but with Config.Permissions, a granted
// scope has to allow the action. Use it in place of [RelyingParty.RequireAction]. As there, people pass and strangers do not. A
// person's request is not changed.
//
// ignored names form fields that say nothing, such as a CSRF token. They are neither shown to the owner nor part of what is
// approved. The handler gets them from the new request, and must not let them decide anything else.
//
// In an agent's request, the handler can rely on what the owner has approved: Method, Host, RequestURI, URL, the path values
// of the router, the Content-Type, Content-Length and Idempotency-Key headers, and the body with all that is parsed from it.
// It must not rely on other headers, cookies, or context values from outside of RequireApproval, which the owner is not shown.
//
// docs/owner-approval.md lists what is removed, and what is refused since its owner could not be shown it, such as a body
// over 16 KiB. Put whatever parses forms or reads bodies (CSRF check, method override, logger) inside; if it runs outside,
// agents get status 500, and the log says why.
//
// The approval is used up when the handler returns, whatever it answers. A handler that has done nothing, and will not,
// gives it back with NothingDone of [action.ReservationFrom]. It panics if approver is nil, or if the name is empty or has
// white space in it.
func (rp *RelyingParty) RequireApproval(name string, approver action.Approver, ignored ...string) func(http.Handler) http.Handler {
	if !wiring.IsAction(name) || approver == nil {
		panic("authagent: RequireApproval needs the name of an action and an Approver")
	}
	wired := rp.actions.Add(wiring.Each, name, approver, func() error {
		if checker, ok := approver.(actionChecker); ok {
			return checker.CheckAction(name, true)
		}
		return nil
	})
	return rp.require(wiring.Each, wired, func(r *http.Request, s *Session) (*action.Reservation, error) {
		if s.Access == AccessNone && (s.UserID == "" || rp.permits.Grants(s.Scopes, name, AccessFull) == nil) {
			return nil, failure.New(problem.AccessTooLow, "ask for approval", "the session has no access to a user's data, and nobody to ask")
		}
		return rp.approve(r, s, name, approver, ignored)
	})
}

// RequireHuman lets through only humans who are signed in to the site, as Config.Human says. No agent passes, even in a
// browser where a human is signed in as well. Put it in front of what a human must do in person: changing e-mail address
// or password, payment, deletion, and managing agents. Attach of the site's other relying parties that keep sessions of
// their own (Config.Session.Own) goes around it. It panics if Config.Human is not set.
func (rp *RelyingParty) RequireHuman(next http.Handler) http.Handler {
	if rp.config.Human == nil {
		panic("authagent: RequireHuman needs Config.Human")
	}
	return &guard{rp: rp, name: "RequireHuman", forbids: true, admits: people, next: next}
}

// ForbidAgents refuses signed-in agents, whatever their access, and lets everybody else through. Check inside who is
// signed in to the site, or use [RelyingParty.RequireHuman]. A browser in which an agent's session has ended passes too,
// unless Config.Human names a person in it. Each relying party of a site needs its own ForbidAgents.
func (rp *RelyingParty) ForbidAgents(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "ForbidAgents", forbids: true, admits: everybody, next: next}
}

// require returns a middleware that lets people through, and the agents that pass check. performs
// is the action of the route; nil for none.
func (rp *RelyingParty) require(name string, performs *wiring.Action, check agentCheck) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return &guard{rp: rp, name: name, action: performs.String(), performs: performs, admits: people, check: check, next: next}
	}
}

// A guard is one middleware of this package around a handler. All guards do the same: find out who
// the visitor is, check, attach, pass on.
//
// Every request passes through it, so three things save time: the session is read from its cookie in
// place (jar.Jar), the visitor goes into a context of our own (attached), and a stranger gets an answer
// that New has prepared (refuse.Refuser.Nobody).
type guard struct {
	rp       *RelyingParty
	name     string // of the method that made it, for the operator
	action   string // that the route performs; empty for none
	performs *wiring.Action
	attaches bool // it is Attach
	forbids  bool // no agent passes
	admits   audience
	check    agentCheck // what an agent has to pass as well; nil for nothing
	next     http.Handler
}

// An agentCheck is what an agent has to pass. It returns what it has reserved for the handler.
type agentCheck func(*http.Request, *Session) (*action.Reservation, error)

// An audience is who passes a guard beside agents.
type audience int8

const (
	everybody   audience = iota // strangers too
	people                      // who is signed in to the site
	agentsAlone                 // nobody
)

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && browser.Path(r) == g.rp.config.Paths.Logout {
		g.rp.LogoutHandler().ServeHTTP(w, r) // everybody may sign out
		return
	}
	if g.performs != nil {
		g.performs.First(g.warn)
	}
	refuse.KeepPrivate(w.Header(), g.rp.door != nil)
	had, before, err := g.rp.visitor(w, r)
	v, reserved := had, (*action.Reservation)(nil)
	if err == nil {
		if v, reserved, err = g.admit(r, had, before); err != nil && g.leaves(r, err) {
			err = nil
		}
	}
	var begun *deed.Deed
	if err == nil {
		begun, err = g.begin(r, v, before, reserved)
	}
	if err != nil {
		g.rp.refuse(w, r, v.Session, g.action, err)
		return
	}
	if before == nil || g.action != "" || v != had || begun != nil {
		a := &attached{Context: r.Context(), Party: g.rp, Before: attachedTo(r.Context()), Visitor: v}
		a.Allowed, a.Begun = g.action != "" || before != nil && before.Allowed, begun != nil || before != nil && before.Begun
		r = r.WithContext(a)
	}
	g.rp.book.Serve(w, r, begun, reserved, g.next)
}

// begin records that the request of an agent is let through to an action. With a Journal it puts on record, before it is done,
// whatever the request may change: once, unless a guard further inside is sure to do so.
func (g *guard) begin(r *http.Request, v visitor, before *attached, reserved *action.Reservation) (*deed.Deed, error) {
	if v.Session == nil || !g.rp.book.Wants(r.Context(), g.action) {
		return nil, nil
	}
	event := audit.Event{Action: g.action}
	if g.action == "" && (before != nil && before.Begun || browser.Reads(r) && !browser.Upgrades(r) || g.leads(r, &event.Route)) {
		return nil, nil
	}
	return g.rp.book.Open(r.Context(), g.rp.eventOf(r, event, v.Session), reserved)
}

// warn tells the operator of an action that does not fit what owners can allow.
func (g *guard) warn(err error) {
	g.rp.config.Logger.Warn("authagent: the action of a route does not fit what owners can allow", "guard", g.name, "action", g.action, "why", err)
}

// admit checks whether the visitor may pass. It may find out more about the visitor.
func (g *guard) admit(r *http.Request, v visitor, before *attached) (visitor, *action.Reservation, error) {
	if v.Session == nil {
		v, err := g.admitHuman(r, v)
		return v, nil, err
	}
	reserved, err := g.admitAgent(r, v, before)
	return v, reserved, err
}

func (g *guard) admitAgent(r *http.Request, v visitor, before *attached) (*action.Reservation, error) {
	if before == nil && !v.Paused {
		if err := g.rp.limits.Request(r.Context(), v.Session.Agent, v.Session.UserID); err != nil {
			return nil, err
		}
	}
	allowed := g.action != "" || before != nil && before.Allowed
	switch {
	case g.forbids:
		return nil, failure.New(problem.AgentForbidden, g.name, "an agent is signed in")
	case v.Paused:
		return nil, failure.New(problem.Paused, g.name, "agents are paused")
	case g.check == nil:
		return nil, g.readOnly(r, v.Session, allowed)
	case g.action == "":
		if _, err := g.check(r, v.Session); err != nil {
			return nil, err
		}
		return nil, g.readOnly(r, v.Session, allowed)
	}
	if err := g.readOnly(r, v.Session, allowed); err != nil { // before a limit or an approval is used up
		return nil, err
	}
	return g.check(r, v.Session)
}

// readOnly refuses what a session with less than AccessFull to its user's data may not do, unless the request performs an
// action that it is allowed by name.
func (g *guard) readOnly(r *http.Request, s *Session, allowed bool) error {
	if s.UserID == "" || s.Access == AccessFull {
		return nil
	}
	return refuse.Changes(r, g.name, allowed)
}

// admitHuman checks a visitor who is no agent. Beside the cookie of an agent's session nobody is recognised: whatever ended or
// hid that session must not turn the agent into the person whose browser it works in. A person who is signed in there gets a
// page to sign the agent out, and no redirect, since the site's sign-in page would send them straight back.
func (g *guard) admitHuman(r *http.Request, v visitor) (visitor, error) {
	if g.admits == everybody && !v.Ended && !attachedTo(r.Context()).Elsewhere(g.rp, false) {
		return v, nil // also beside the session of another relying party, whose guards decide
	}
	v, err := g.knowsPeople(r, v).recognise(r, v)
	if err != nil {
		return v, err
	}
	beside := v.Ended || g.rp.another(r)
	switch {
	case v.Human == "" && g.admits == everybody:
		return v, nil
	case v.Human == "" && g.forbids:
		return v, g.noHuman(r)
	case v.Human == "":
		return v, errNobody
	case g.admits == agentsAlone && beside:
		return v, &failure.Failure{Cause: failure.New(problem.NoSession, g.name, "no agent is signed in any more"), Stay: true}
	case g.admits == agentsAlone:
		return v, failure.New(reasons.AgentRequired, g.name, "a human is signed in, and no agent")
	case beside:
		return v, failure.New(problem.AgentForbidden, g.name, "the browser has the cookie of an agent's session, which may have ended")
	}
	return v, nil
}

// noHuman is why a visitor does not pass whom Config.Human does not know.
func (g *guard) noHuman(r *http.Request) error {
	if _, another := FromContext(r.Context()); another {
		return failure.New(problem.AgentForbidden, g.name, "an agent of another relying party is signed in")
	}
	return failure.New(problem.HumanRequired, g.name, "no human is signed in")
}

// knowsPeople returns the relying party to ask who is signed in: the guard's own. If a session has
// ended and the guard's own knows nobody, one whose middleware is outside may.
func (g *guard) knowsPeople(r *http.Request, v visitor) *RelyingParty {
	if g.admits != everybody || !v.Ended {
		return g.rp
	}
	for a := attachedTo(r.Context()); g.rp.config.Human == nil && a != nil; a = a.Before {
		if a.Party.config.Human != nil {
			return a.Party
		}
	}
	return g.rp
}

// recognise asks who is signed in to the site, once in a request.
func (rp *RelyingParty) recognise(r *http.Request, v visitor) (visitor, error) {
	if v.Asked || rp.config.Human == nil {
		return v, nil
	}
	human, err := failure.Ask(rp.panics, "ask who is signed in", func() (string, error) { return rp.config.Human(r) })
	v.Human, v.Asked = human, true
	return v, failure.OfSite("ask who is signed in", err)
}

// another reports whether the browser has, or had, a session at another relying party of the site.
func (rp *RelyingParty) another(r *http.Request) bool {
	return attachedTo(r.Context()).Elsewhere(rp, true) || rp.cookies.Carries(r)
}

// leaves reports whether Attach leaves what it would refuse to its mux, which has a guard or handler of this relying party.
func (g *guard) leaves(r *http.Request, err error) bool {
	if _, ok := g.next.(*http.ServeMux); !ok || !g.attaches || errors.Is(err, problem.Limited) || errors.Is(err, problem.Site) && !errors.Is(err, problem.Paused) {
		return false
	}
	return g.leads(r, new(string))
}

// leads reports whether a request goes on to a guard or handler of this relying party, and sets route to its pattern.
func (g *guard) leads(r *http.Request, route *string) bool {
	next := g.next
	if mux, ok := next.(*http.ServeMux); ok {
		next, *route = mux.Handler(r)
	}
	switch inner := next.(type) {
	case *guard:
		return inner.rp == g.rp
	case *endpoint: // such as LoginHandler, where an agent whose session has ended signs in anew
		return inner.rp == g.rp
	}
	return false
}

// approve reserves what the session's owner has approved, and makes r of it.
func (rp *RelyingParty) approve(r *http.Request, s *Session, name string, approver action.Approver, ignored []string) (*action.Reservation, error) {
	read, err := approval.Read(r, ignored)
	if err != nil {
		return nil, failure.OfApproval(err)
	}
	// A body can take as long as the agent likes. Its session may have ended since.
	switch now, err := rp.load(browser.Nowhere{}, r); {
	case isAbsent(err), err == nil && now.ID != s.ID:
		return nil, failure.New(problem.NoSession, "ask for approval", "the session has ended while the request was read")
	case err != nil:
		return nil, failure.OfSite("load session", err)
	}
	reserved, path, err := rp.reserve(r.Context(), s, asked.Question{Action: name, Read: &read, Route: approval.Route(r)}, approver)
	if err != nil {
		e := failure.As(err)
		e.Location = path
		return nil, e
	}
	read.Give(r)
	return reserved, nil
}

// refuse answers a request that the middleware does not let through.
func (rp *RelyingParty) refuse(w http.ResponseWriter, r *http.Request, s *Session, action string, err error) {
	_, human := HumanFromContext(r.Context())
	if err == error(errNobody) && !human && rp.refuser.Nobody(w, r) {
		return
	}
	f := failure.As(err)
	if rp.refuser.Lead(w, r, f, human) {
		return
	}
	f.RequestID, f.Action = failure.NewRequestID(), action
	if f.Reason == reasons.InsufficientScope && action != "" {
		f.Scopes = rp.permits.Needed(f.Scopes, action, AccessNone, AccessFull)
	}
	switch f.Reason {
	case problem.NoSession, problem.HumanRequired, reasons.AgentRequired, reasons.InvalidCredentials: // no agent was there to be denied anything
	case problem.ApprovalPending:
		rp.record(r, audit.ActionPending, s, action, f)
	default:
		if door.IsNews(err) {
			rp.record(r, audit.PermissionDenied, s, action, f)
		}
	}
	rp.refuser.Refuse(w, r, f, rp.asVisitor(r))
}

// asVisitor is who sends a request, for what answers it.
func (rp *RelyingParty) asVisitor(r *http.Request) refuse.Visitor {
	_, human := HumanFromContext(r.Context())
	return refuse.Visitor{Human: human, IsAgent: func() bool {
		v, err := rp.look(r)
		return err == nil && (v.Session != nil || v.Ended || rp.another(r))
	}}
}

// ServeError answers a request of a site's own handler as this package answers its own: with a page for a browser,
// application/problem+json for a program, or what Config.ErrorHandler makes of it. An error that is neither a
// [problem.Error] nor a [problem.Reason] is a fault of the site.
func (rp *RelyingParty) ServeError(w http.ResponseWriter, r *http.Request, err error) {
	answer.Protect(w.Header())
	var v visitor
	if failure.As(err).Agent == (Agent{}) { // otherwise it says whose request it is, which took long enough to find out
		v, _ = rp.look(r)
	}
	rp.refuse(w, r, v.Session, "", err)
}

// Host returns the host of Config.RedirectURL, by which pages name the site.
func (rp *RelyingParty) Host() string { return rp.signpost.Host() }

// CheckOrigin returns a [problem.Error] for a request that a browser sends for a page of another origin, unless the method is
// GET, HEAD or OPTIONS. The handlers of this package call it; a site's own handlers can too.
//
// The site's origin is that of Config.RedirectURL, whatever Host header a proxy has written: a browser that sends no
// Sec-Fetch-Site is refused at another host name. A request with neither that nor Origin is a program's and passes.
func (rp *RelyingParty) CheckOrigin(r *http.Request) error {
	return refuse.CrossOrigin(r, rp.origin)
}

// ReturnTo returns the path to go to after a person has signed in on the site's own page, Config.SignInPath. It is the
// request's ?return_to= if that is a path on this site that is safe to redirect to, else Config.ReturnTo. A sign-in form posts
// to an address with the same ?return_to=.
func (rp *RelyingParty) ReturnTo(r *http.Request) string {
	return rp.refuser.ReturnPath(browser.ReturnTo(r))
}

// Language returns the one of Config.Languages that a page for this request is in.
func (rp *RelyingParty) Language(r *http.Request) *messages.Language { return rp.refuser.Language(r) }

// A Frame is what the templates "header", "footer" and "back" of Config.Pages put around a page.
type Frame struct{ Header, Footer, Back template.HTML }

// Frame returns the frame for a page of this site, and sets the headers that say its language.
func (rp *RelyingParty) Frame(w http.ResponseWriter, lang *messages.Language) Frame {
	return Frame(rp.refuser.Frame(w.Header(), lang))
}

// A Page is what the templates of Config.Pages are executed with. Its texts are constants, and the
// paths are on this site. For the parts of the frame, it has only Lang and Home.
type Page struct {
	Title, Detail string // in the language Lang
	Lang          *messages.Language
	Status        int           // of the answer
	Code          string        // the Reason why the request was refused; empty on the signed-out page
	RequestID     string        // finds the request in the log; empty on the signed-out page
	Retry         bool          // asking again, later, may succeed
	Home          string        // the path of the way back
	Field         string        // the form field that a refusal is about; empty for none
	Button        template.HTML // signs in; empty where that is not what to do next
	SignIn        string        // the path of the site's own sign-in page, if that is what to do next
	SignOut       string        // the path to POST to, if an agent is signed in, or was, and is to be signed out
	Approval      string        // the path where an agent sees how its request stands, if that waits for its owner; the browser goes there by itself
	Session       *Session      // the agent's, if one is signed in; only on the signed-out page
	Account       string        // what the site calls the account that it acts in (User.Name), or its ID; empty for none
	Compare       string        // the comparison code of an agent that waits for its owner; empty for none
	OwnerPage     string        // the URL of the page where that owner decides; empty if it is not known
}

func (rp *RelyingParty) newRefuser() *refuse.Refuser {
	c := rp.config
	var origins []string
	if c.RequirePOST {
		origins = wire.Origins(append(slices.Clone(c.Provider.EndpointOrigins), c.Issuer, c.Provider.Endpoints.Authorization)...)
	}
	return refuse.New(refuse.Site{
		Signpost: rp.signpost, Pages: answer.NewPages(rp.Host(), signpost.Style, c.Pages, origins...), Logger: c.Logger,
		Callback: rp.callback, Link: c.Paths.Link, SignIn: c.SignInPath, ReturnTo: c.ReturnTo, Own: c.ErrorHandler,
		Page: func(f refuse.Refusal) any {
			return Page{
				Title: f.Heading, Detail: f.Text, Lang: f.Lang, Status: f.Status(), Code: string(f.Reason), RequestID: f.RequestID, Retry: f.RetryAfter > 0,
				Home: f.Home, Field: f.Field, Button: f.Button, SignIn: f.SignIn, SignOut: f.SignOut, Approval: f.Approval, Compare: f.Compare, OwnerPage: f.OwnerPage,
			}
		},
		Framed:    func(lang *messages.Language) any { return Page{Lang: lang, Home: c.ReturnTo} },
		Languages: c.Languages, ChooseLanguage: c.Language, Panics: rp.panics,
	}, errNobody)
}

// SignedOutHandler shows whether an agent is signed in, which, and in whose account ([User.Name]), a
// program in JSON. To say so after signing out, name its path as the return_to of LogoutHandler.
func (rp *RelyingParty) SignedOutHandler() http.Handler {
	return &endpoint{rp, audit.LogoutFailed, rp.serveSignedOut}
}

func (rp *RelyingParty) serveSignedOut(w http.ResponseWriter, r *http.Request) error {
	if err := refuse.Allow(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	v, _, err := rp.visitor(w, r)
	if err != nil {
		return err
	}
	lang := rp.Language(r)
	page := Page{Lang: lang, Status: http.StatusOK, Home: rp.config.ReturnTo, Button: rp.signpost.OwnButton("")}
	page.Title, page.Detail = lang.Text("signed_out.title"), lang.Text("signed_out.detail")
	said := refuse.Standing{SignIn: rp.signpost.LoginURL()}
	if s := v.Session; s != nil {
		page.Title, page.Detail, page.Button = lang.Text("signed_in.title"), lang.Text("signed_in.detail"), ""
		page.SignOut, page.Session = rp.config.Paths.Logout+"?return_to="+url.QueryEscape(rp.refuser.ReturnPath(browser.Path(r))), s
		if page.Account, err = rp.accountName(r.Context(), s); err != nil {
			return err
		}
		said.SignedIn, said.Agent, said.UserID, said.Account = true, &s.Agent, s.UserID, page.Account
	}
	return rp.refuser.Tell(w, r, answer.Page{Name: answer.SignedOut, Status: page.Status, Lang: lang, Data: page}, said)
}

// Button returns "Sign in with Auth Agent", or Provider.ButtonLabel, for a page of the site: a link to LoginHandler or,
// with RequirePOST, a form. It works under a strict Content-Security-Policy; but add the server's origin to a form-action
// beside 'self', because Chromium applies it to redirects too. DiscoveryHandler serves its style sheet. returnTo is the
// path to land on; the default is Config.ReturnTo. In a template it is a function:
//
//	template.New("page").Funcs(template.FuncMap{"signInButton": rp.Button})
//
//	{{signInButton "/orders"}}
func (rp *RelyingParty) Button(returnTo string) template.HTML {
	if rp.refuser.ReturnPath(returnTo) != returnTo {
		returnTo = ""
	}
	return rp.signpost.Button(returnTo)
}

// LinkHandler lets an agent that has come to the API with an access token go on in a browser. A POST with the token, and path
// and description in JSON or a form, is answered with url, an address that is good once, for expires_in seconds. A page there
// shows the agent, the account, the path, and the agent's words. Its button starts a session that may do no more than the token,
// and ends with its session. It is refused beside a person or another agent. Mount it at Config.Paths.Link, outside of guards.
func (rp *RelyingParty) LinkHandler() http.Handler {
	return &endpoint{rp, audit.LoginFailed, rp.links.Serve}
}

// Paths are where the handlers are mounted: paths on this site.
type Paths struct {
	// Login and Logout are the paths of LoginHandler and LogoutHandler. By default they are beside RedirectURL's path.
	Login, Logout string

	// Link is the path of LinkHandler, such as "/auth/agent/link". If it is set, agents are told of it. It needs Config.API.
	Link string

	// Discovery is the path of DiscoveryHandler, such as "/auth.md". If it is set, refusals link to
	// it, and each names its problem by an address there.
	Discovery string
}

// DiscoveryHandler tells agents how to sign in, and what they may do then. It can be mounted at several paths and answers
// by their ending: ".md" and ".txt" are a text for /auth.md or /llms.txt, ".css" is the style sheet of Button, anything
// else is JSON. Config.Paths.Discovery names it to agents.
func (rp *RelyingParty) DiscoveryHandler() http.Handler { return rp.signpost }

// ResourceMetadataHandler serves the metadata of the site's API (RFC 9728), by which agents find the server. Mount it at
// api.MetadataPath(Config.API.Resource), on the resource's host. It takes GET and HEAD. Without Config.API it answers 404.
func (rp *RelyingParty) ResourceMetadataHandler() http.Handler {
	return http.HandlerFunc(rp.signpost.ServeMetadata)
}

func (rp *RelyingParty) newSignpost() *signpost.Site {
	c := rp.config
	site := &signpost.Site{
		Origin: rp.origin, LoginPath: c.Paths.Login, LogoutPath: c.Paths.Logout, LinkPath: c.Paths.Link, Discovery: c.Paths.Discovery, POST: c.RequirePOST,
		Issuer: c.Issuer, Scenario: c.Scenario.Name(), Problems: signpost.Told(), Resource: signpost.ResourceOf(c.API), Actions: rp.actions.Told, Scopes: signpost.Scopes(rp.permits),
	}
	if s, ok := scenario.As[interface{ access() Access }](c.Scenario); ok {
		site.Access, site.Owner = rp.permits.AtMost(s.access()).String(), s.access() > AccessNone
	}
	return site.With(c.Provider)
}

// accountName is what the site calls the account of a session: its ID by default.
func (rp *RelyingParty) accountName(ctx context.Context, s *Session) (string, error) {
	users, ok := scenario.As[interface{ known() accounts.Users[User] }](rp.config.Scenario)
	if !ok {
		return s.UserID, nil
	}
	return failure.Ask(rp.panics, "find user", func() (string, error) { return users.known().Name(ctx, s.UserID) })
}
