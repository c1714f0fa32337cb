package authagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/browser"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/signpost"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/problem"
)

type contextKey struct{}

// attached is a request's context and what the middleware adds to it: who the
// visitor is, whether the request performs an action that the session may perform,
// and what another relying party of the same site, or an outer middleware,
// attached before.
type attached struct {
	context.Context
	rp      *RelyingParty
	before  *attached
	visitor visitor
	allowed bool
}

// A visitor is who sends a request, as far as a relying party knows.
type visitor struct {
	session *Session // of the agent; nil where no agent is signed in
	human   string   // whom Config.Human named, whatever else the browser has
	asked   bool     // whether Config.Human was asked
	ended   bool     // the browser has the cookie of a session that has ended
	former  *Session // that session, where it may go on elsewhere: with a copy of the cookie, or at another relying party
	paused  bool     // the agent's session waits until agents are let in again
}

// person returns the human who is recognised: in a browser that has an agent's
// session, be it one that has ended, nobody is.
func (v visitor) person() string {
	if v.session != nil || v.ended {
		return ""
	}
	return v.human
}

func attachedTo(ctx context.Context) *attached {
	a, _ := ctx.Value(contextKey{}).(*attached)
	return a
}

// Value returns a itself for its key, and what the request's context has for others.
func (a *attached) Value(key any) any {
	if key == (contextKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// FromContext returns the agent session of a request that came through the
// middleware, and whether there is one.
func FromContext(ctx context.Context) (*Session, bool) {
	for a := attachedTo(ctx); a != nil; a = a.before {
		if s := a.visitor.session; s != nil { // of several relying parties, the innermost that knows the agent
			return s, true
		}
	}
	return nil, false
}

// HumanFromContext returns the ID of the human who sends the request, and whether
// there is one: behind every middleware that has recognised a person by
// Config.Human, which are those whose names begin with Require.
func HumanFromContext(ctx context.Context) (userID string, ok bool) {
	for a := attachedTo(ctx); a != nil; a = a.before {
		if person := a.visitor.person(); person != "" || a.visitor.session != nil {
			return person, person != ""
		}
	}
	return "", false
}

// Attach puts the agent's session, if there is one, into the request's context.
// Requests of anybody else pass unchanged, so the site's own checks belong inside.
// A session with less than AccessFull to its user's data passes with GET and HEAD
// only; an agent without a user passes with every method. The answer is marked
// Cache-Control: no-store unless the handler says otherwise, here as behind every
// other middleware of this package.
//
// [RelyingParty.RequireAction] and [RelyingParty.RequireApproval] go outside of
// Attach, as Attach would refuse what they allow. There is one exception: if next is
// an [http.ServeMux] and what it has for the request is a middleware or handler of this
// relying party, Attach leaves the decision to that.
func (rp *RelyingParty) Attach(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "Attach", attaches: true, admits: everybody, next: next}
}

// RequireAgent lets signed-in agents through, and nobody else. With a user and less
// than AccessFull they may read (GET and HEAD). A stranger is answered with status 401, in
// a browser that shows a page by the site's sign-in page, and a person with status 403.
func (rp *RelyingParty) RequireAgent(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "RequireAgent", admits: agentsAlone, next: next}
}

// errNobody is why a request is refused that comes without a session, from an
// agent that has not signed in yet or from anybody else.
var errNobody = fail(problem.NoSession, "require sign-in", "nobody is signed in")

// RequireAccess returns a middleware that lets through the agents that have at
// least this access to their user's data, and people who are signed in to the site
// (Config.Human). Strangers are refused. It is what belongs in front of anything
// that shows or changes such data: an agent without a user has none.
func (rp *RelyingParty) RequireAccess(least Access) func(http.Handler) http.Handler {
	return rp.require("RequireAccess", nil, func(_ *http.Request, s *Session) error {
		if s.Access < least || s.Access == AccessNone && s.UserID != "" {
			return fail(problem.AccessTooLow, "require access", "the session's access is %s, %s is needed", s.Access, least)
		}
		return nil
	})
}

// require returns a middleware that lets people through, and the agents that pass
// check. performs is the action of the route; nil for none.
func (rp *RelyingParty) require(name string, performs *wiring.Action, check func(*http.Request, *Session) error) func(http.Handler) http.Handler {
	action := ""
	if performs != nil {
		action = performs.Name
	}
	return func(next http.Handler) http.Handler {
		return &guard{rp: rp, name: name, action: action, performs: performs, admits: people, check: check, next: next}
	}
}

// ForbidAgents lets everybody through but signed-in agents, whatever their
// access; who is signed in to the site is for the site to check inside, or for
// [RelyingParty.RequireHuman]. A browser in which an agent's session has ended passes
// too, unless Config.Human names somebody in it: what stops an agent must not make
// its browser a person's. A site with several relying parties needs ForbidAgents
// of each of them there.
func (rp *RelyingParty) ForbidAgents(next http.Handler) http.Handler {
	return &guard{rp: rp, name: "ForbidAgents", forbids: true, admits: everybody, next: next}
}

// RequireHuman lets humans through who are signed in to the site, as Config.Human
// says, and nobody else: no agent whatever its access, even in a browser where a
// human is signed in as well. Put it in front of what a human must do in person:
// changing e-mail address or password, payment, deletion, and managing agents. A
// site with several relying parties that keep sessions of their own (Config.Session.Own)
// puts Attach of each of the others around it. It panics if Config.Human is not set.
func (rp *RelyingParty) RequireHuman(next http.Handler) http.Handler {
	if rp.config.Human == nil {
		panic("authagent: RequireHuman needs Config.Human")
	}
	return &guard{rp: rp, name: "RequireHuman", forbids: true, admits: people, next: next}
}

// human returns the human who is signed in where no agent is.
func (rp *RelyingParty) human(w http.ResponseWriter, r *http.Request) (userID string, err error) {
	if rp.config.Human == nil {
		return "", siteError("ask who is signed in", errors.New("Config.Human is not set"))
	}
	v, before, err := rp.visitor(w, r)
	if err != nil {
		return "", err
	}
	g := guard{rp: rp, name: "ConnectHandler", forbids: true, admits: people}
	v, err = g.admit(r, v, before)
	return v.person(), err
}

// RequireAction returns a middleware for a route that performs the named action,
// such as "orders:create", whatever its method. Agents pass that may do it: those
// with AccessFull, and those whose grant names the action ([Session.May]), even where
// they may otherwise only read. People pass who are signed in to the site
// (Config.Human), strangers do not. To let agents in only, put RequireAgent inside.
//
// It goes outside of the other middlewares of this package: they hold a read-only
// session to reading unless they are told by this one what is being done. It
// panics if the name is empty or has white space in it.
func (rp *RelyingParty) RequireAction(name string) func(http.Handler) http.Handler {
	if !areActions([]string{name}) {
		panic("authagent: " + strconv.Quote(name) + " is not the name of an action")
	}
	wired := rp.actions.Add("RequireAction", name, func() error {
		if s, ok := scenarioAs[interface{ checkAction(name string) error }](rp.config.Scenario); ok {
			return s.checkAction(name)
		}
		return nil
	})
	return rp.require("RequireAction", wired, func(_ *http.Request, s *Session) error {
		switch {
		case s.Access == AccessNone:
			return fail(problem.AccessTooLow, "perform action", "the session has no access to a user's data")
		case !s.May(name):
			if err := wired.Err(); err != nil { // the agent is not sent to its owner, who could do nothing
				return fail(problem.AccessTooLow, "perform action", "no owner can allow %s: %w", name, err)
			}
			return fail(problem.ActionNotGranted, "perform action", "the session may not perform %s", name)
		}
		return rp.limits.action(s, name)
	})
}

// areActions reports whether all of names can name an action.
func areActions(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return name == "" || strings.ContainsFunc(name, unicode.IsSpace) })
}

// An Approver asks the owner of an account about a single action of an agent.
// grants.Policy is one. It is safe for concurrent use.
type Approver interface {
	// Approve uses up the owner's approval of this request, once for each approval,
	// however many ask at the same time. It returns the request as the owner has
	// approved it: request with Method, Host, Target, ContentType and Body from the
	// approval's record. The handler gets these. What has another Digest is refused
	// as the site's fault.
	//
	// Otherwise the error says why not, problem.ApprovalPending where the owner has yet to
	// decide. path is where the agent can look at how it stands; empty for nowhere.
	//
	// An Approver calls CountFiling before it puts a new request before the owner,
	// and CountPerforming before it uses up an approval, and returns their errors.
	Approve(ctx context.Context, request ActionRequest) (approved ActionRequest, path string, err error)
}

// An ActionRequest is what an agent wants to do.
type ActionRequest struct {
	Session     *Session
	Action      string
	Method      string
	Host        string // that the client has named, with its port if it has named one
	Target      string // path and query, as the client has sent them
	ContentType string
	Body        []byte // without the fields that RequireApproval was told to ignore

	// Digest is the same for the same action and request of the same agent for the
	// same user, and for nothing else. Of a form it counts which fields there are, in
	// their order, and not how they are encoded. An agent that wants to do the
	// same thing twice says so with another Idempotency-Key header. No other header
	// but Content-Type is part of it.
	Digest string

	// CountFiling counts a request that is new to its owner against
	// Config.Limits.Actions. It returns an error, and counts nothing, where the limit is
	// reached. CountPerforming counts an action that is about to be performed, in a budget
	// of its own. If Approve then returns an error, it does not count. RequireApproval
	// sets both.
	CountFiling, CountPerforming func() error
}

// RequireApproval returns a middleware for a route that performs an action so
// risky that the agent's owner is asked about each single request. The first
// request is answered with status 202 and Retry-After, and Location says where
// to look; once the owner has approved it, the same request passes, once,
// whatever the access of the session. People pass, and strangers do not, as with
// [RelyingParty.RequireAction], in whose place it stands; a person's request stays as it is.
//
// ignored names form fields that say nothing, such as a CSRF token that is
// another on each page. They are neither shown to the owner nor part of what is
// approved, and the handler gets them from the new request. The handler must not let
// them decide anything else.
//
// Of an agent's request a handler behind this can rely on these, which the owner
// has approved: Method, Host, RequestURI, URL, the path values of the router, the
// Content-Type, Content-Length and Idempotency-Key headers, and the body with all that
// is parsed from it. It must not go by any other header or cookie (X-Forwarded-Host and
// the like included), nor by what something outside of RequireApproval has put into
// the context: none of that is shown to the owner. Trailers are taken away, and so
// are headers that claim another method or address, or whose name has anything but
// letters, digits and hyphens.
//
// Refused are requests with a body of more than 16 KiB or an address of more than 8
// KiB, since the owner sees all of it; with a Content-Encoding, a Content-Range, several
// Content-Types or an Upgrade, since the owner would not see what they mean; and with
// a query, form or JSON that is malformed or that programs read in different ways: a
// semicolon in a form, a name twice in JSON. docs/owner-approval.md has all of it. Whatever
// parses forms or reads bodies (CSRF check, method override, logger) goes inside: where
// it has done so outside, agents get status 500, and the log says why.
//
// It panics if approver is nil, or if the name is empty or has white space in it.
func (rp *RelyingParty) RequireApproval(action string, approver Approver, ignored ...string) func(http.Handler) http.Handler {
	if !areActions([]string{action}) || approver == nil {
		panic("authagent: RequireApproval needs the name of an action and an Approver")
	}
	wired := rp.actions.Add("RequireApproval", action, func() error {
		if checker, ok := approver.(actionChecker); ok {
			return checker.CheckAction(action, true)
		}
		return nil
	})
	return rp.require("RequireApproval", wired, func(r *http.Request, s *Session) error {
		if s.Access == AccessNone {
			return fail(problem.AccessTooLow, "ask for approval", "the session has no access to a user's data, and nobody to ask")
		}
		return rp.approve(r, s, action, approver, ignored)
	})
}

// approve makes r what the session's owner has approved.
func (rp *RelyingParty) approve(r *http.Request, s *Session, action string, approver Approver, ignored []string) error {
	const step = "ask for approval"
	read, err := approval.Read(r, ignored)
	if err != nil {
		return refusal(err)
	}
	// A body can take as long as the agent likes, and its session may have ended since.
	switch now, err := rp.load(headerSink{}, r); {
	case isAbsent(err), err == nil && now.ID != s.ID:
		return fail(problem.NoSession, step, "the session has ended while the request was read")
	case err != nil:
		return siteError("load session", err)
	}
	digest := func(q approval.Request) string {
		return q.Digest(s.Agent.Issuer, s.Agent.ID, s.Scenario, s.UserID, action)
	}
	budget := rp.limits.budget(s, action)
	request := ActionRequest{
		Session: s, Action: action, Method: read.Method, Host: read.Host, Target: read.Target, ContentType: read.ContentType, Body: read.Body,
		Digest: digest(read), CountFiling: budget.file, CountPerforming: budget.perform,
	}
	var approved ActionRequest
	var path string
	err = rp.protect(step, func() error {
		approved, path, err = approver.Approve(r.Context(), request)
		return err
	})
	if err = budget.settle(err); err != nil {
		e := asFailure(siteError(step, err))
		e.location = path
		return e
	}
	read = read.With(approved.Method, approved.Host, approved.Target, approved.ContentType, approved.Body)
	if digest(read) != request.Digest {
		return siteError(step, errors.New("the Approver has approved another request than it was asked about"))
	}
	read.Give(r)
	return nil
}

// refusal is the error of a request that cannot be put before its owner.
func refusal(err error) error {
	var r *approval.Refusal
	if errors.As(err, &r) {
		return fail(problem.Reason(r.Code), "read request", "%s", r.Text)
	}
	return siteError("read request", err)
}

// A guard is one middleware of this package around a handler. All of them do the
// same: find out who the visitor is, check, attach, pass on.
//
// It is on the way of every request, so three things in it are as they are for
// the time they save. The default session is read out of its cookie where it is,
// without the store (storeSessions.read). The visitor goes into the request in a
// context of our own (attached), which is one allocation and no search. And who
// has not signed in gets an answer that New has prepared (refuseNobody).
type guard struct {
	rp       *RelyingParty
	name     string // of the method that made it, for the operator
	action   string // that the route performs; empty for none
	performs *wiring.Action
	attaches bool // it is Attach
	forbids  bool // no agent passes
	admits   audience
	check    func(*http.Request, *Session) error // what an agent has to pass beyond that; nil for nothing
	next     http.Handler
}

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
		g.rp.LogoutHandler().ServeHTTP(w, r) // whoever may do nothing else may sign out
		return
	}
	if g.performs != nil {
		g.performs.First(g.warn)
	}
	keepPrivate(w.Header())
	had, before, err := g.rp.visitor(w, r)
	v := had
	if err == nil {
		if v, err = g.admit(r, had, before); err != nil && g.leaves(r, err) {
			err = nil
		}
	}
	if err != nil {
		g.rp.refuse(w, r, v.session, g.action, err)
		return
	}
	if v.session != nil && g.action != "" {
		g.rp.record(r, audit.ActionPerformed, v.session, g.action, nil)
	}
	if before == nil || g.action != "" || v != had {
		ctx := r.Context()
		allowed := g.action != "" || before != nil && before.allowed
		r = r.WithContext(&attached{ctx, g.rp, attachedTo(ctx), v, allowed})
	}
	g.next.ServeHTTP(w, r)
}

// warn tells the operator of an action that does not fit what owners can allow.
func (g *guard) warn(err error) {
	g.rp.config.Logger.Warn("authagent: the action of a route does not fit what owners can allow", "guard", g.name, "action", g.action, "why", err)
}

// admit checks whether the visitor may pass. It may find out more about it.
func (g *guard) admit(r *http.Request, v visitor, before *attached) (visitor, error) {
	if v.session == nil {
		return g.admitHuman(r, v)
	}
	return v, g.admitAgent(r, v, before)
}

func (g *guard) admitAgent(r *http.Request, v visitor, before *attached) error {
	if before == nil && !v.paused {
		if err := g.rp.limits.request(v.session); err != nil {
			return err
		}
	}
	switch {
	case g.forbids:
		return fail(problem.AgentForbidden, g.name, "an agent is signed in")
	case v.paused:
		return fail(problem.Paused, g.name, "agents are paused")
	case g.check == nil:
		return g.readOnly(r, v.session, before != nil && before.allowed)
	case g.action == "":
		if err := g.check(r, v.session); err != nil {
			return err
		}
		return g.readOnly(r, v.session, before != nil && before.allowed)
	}
	if err := g.readOnly(r, v.session, true); err != nil { // before a limit or an approval is used up
		return err
	}
	return g.check(r, v.session)
}

// admitHuman checks a visitor who is no agent. Beside the cookie of an agent's
// session nobody is recognised: whatever ended the agent's session, or hid it, must
// not turn the agent into the person whose browser it works in. Who is signed in
// there gets a page from which to sign the agent out, and no redirect, since the
// site's sign-in page would send them straight back.
func (g *guard) admitHuman(r *http.Request, v visitor) (visitor, error) {
	if g.admits == everybody && !v.ended && !g.rp.endedElsewhere(r) {
		return v, nil // also beside the session of another relying party, whose guards decide
	}
	v, err := g.knowsPeople(r, v).recognise(r, v)
	if err != nil {
		return v, err
	}
	beside := v.ended || g.rp.another(r)
	switch {
	case v.human == "" && g.admits == everybody:
		return v, nil
	case v.human == "" && g.forbids:
		return v, g.noHuman(r)
	case v.human == "":
		return v, errNobody
	case g.admits == agentsAlone && beside:
		return v, &failure{cause: fail(problem.NoSession, g.name, "no agent is signed in any more"), stay: true}
	case g.admits == agentsAlone:
		return v, fail(reasons.AgentRequired, g.name, "a human is signed in, and no agent")
	case beside:
		return v, fail(problem.AgentForbidden, g.name, "the browser has the cookie of an agent's session, which may have ended")
	}
	return v, nil
}

// noHuman is why a visitor does not pass who is nobody to Config.Human.
func (g *guard) noHuman(r *http.Request) error {
	if _, another := FromContext(r.Context()); another {
		return fail(problem.AgentForbidden, g.name, "an agent of another relying party is signed in")
	}
	return fail(problem.HumanRequired, g.name, "no human is signed in")
}

// recognise asks who is signed in to the site, once in a request.
func (rp *RelyingParty) recognise(r *http.Request, v visitor) (visitor, error) {
	if v.asked || rp.config.Human == nil {
		return v, nil
	}
	const step = "ask who is signed in"
	err := rp.protect(step, func() (err error) {
		v.human, err = rp.config.Human(r)
		return err
	})
	v.asked = true
	return v, siteError(step, err)
}

// another reports whether the browser has a session at another relying party of
// the site, or had one.
func (rp *RelyingParty) another(r *http.Request) bool {
	for a := attachedTo(r.Context()); a != nil; a = a.before {
		if a.rp != rp && (a.visitor.session != nil || a.visitor.ended) {
			return true
		}
	}
	return rp.cookies.Carries(r)
}

// endedElsewhere reports whether a relying party whose middleware is outside of this
// one has seen a session that has ended. It may know nobody, and have let it pass.
func (rp *RelyingParty) endedElsewhere(r *http.Request) bool {
	for a := attachedTo(r.Context()); a != nil; a = a.before {
		if a.rp != rp && a.visitor.ended {
			return true
		}
	}
	return false
}

// knowsPeople returns the relying party to ask who is signed in: the guard's own. Where
// a session has ended and it knows nobody, one whose middleware is outside may.
func (g *guard) knowsPeople(r *http.Request, v visitor) *RelyingParty {
	if g.admits != everybody || !v.ended {
		return g.rp
	}
	for a := attachedTo(r.Context()); g.rp.config.Human == nil && a != nil; a = a.before {
		if a.rp.config.Human != nil {
			return a.rp
		}
	}
	return g.rp
}

// leaves reports whether Attach leaves what it would refuse to the middleware or
// handler of this relying party that its mux has for the request, which knows more.
func (g *guard) leaves(r *http.Request, err error) bool {
	mux, ok := g.next.(*http.ServeMux)
	if !ok || !g.attaches || errors.Is(err, problem.Limited) || errors.Is(err, problem.Site) && !errors.Is(err, problem.Paused) {
		return false
	}
	switch inner, _ := mux.Handler(r); inner := inner.(type) {
	case *guard:
		return inner.rp == g.rp
	case *endpoint: // such as LoginHandler, where an agent whose session has ended signs in anew
		return inner.rp == g.rp
	}
	return false
}

// limiters count what Limits bound.
type limiters struct {
	logins, callbacks addressLimiter
	agent, owner      *limit.Limiter
	actions, filings  map[string]*limit.Limiter
}

func newLimiters(l Limits) limiters {
	made := limiters{
		logins: addressLimiter{l.Logins.limiter()}, callbacks: addressLimiter{l.Callbacks.limiter()},
		agent: l.Agent.limiter(), owner: l.Owner.limiter(),
		actions: make(map[string]*limit.Limiter, len(l.Actions)), filings: make(map[string]*limit.Limiter, len(l.Actions)),
	}
	for name, rate := range l.Actions {
		made.actions[name], made.filings[name] = rate.limiter(), rate.limiter()
	}
	return made
}

func (r Rate) or(n int) Rate {
	if r.N == 0 {
		r.N = n
	}
	return r
}

func (r Rate) limiter() *limit.Limiter {
	if r.Per == 0 {
		r.Per = time.Minute
	}
	return limit.New(r.N, r.Per)
}

type addressLimiter struct{ *limit.Limiter }

func (l addressLimiter) check(step, address string) error {
	if key := limit.AddressKey(address); key != "" {
		return limited(step, l.Allow(key))
	}
	return nil
}

// request counts a request of an agent. One that exceeds its own limit does not
// use up its owner's.
func (l *limiters) request(s *Session) error {
	if l.agent != nil {
		if err := limited("count agent's requests", l.agent.Allow(agentKey(s.Agent))); err != nil {
			return err
		}
	}
	if l.owner != nil && s.UserID != "" {
		return limited("count owner's requests", l.owner.Allow(s.UserID))
	}
	return nil
}

func (l *limiters) action(s *Session, name string) error {
	limiter, who := l.actions[name], s.UserID
	if limiter == nil {
		return nil
	}
	if who == "" {
		who = agentKey(s.Agent)
	}
	return limited("count actions", limiter.Allow(who))
}

// A budget counts what comes of one request that needs approval: that it is put
// before its owner, or performed. That an agent asks again how it stands is neither.
type budget struct {
	userID           string
	filings, actions *limit.Limiter
	performing       bool
}

func (l *limiters) budget(s *Session, name string) *budget {
	return &budget{userID: s.UserID, filings: l.filings[name], actions: l.actions[name]}
}

func (b *budget) file() error {
	return limited("count requests for approval", b.filings.Allow(b.userID))
}

func (b *budget) perform() error {
	if b.performing {
		return nil
	}
	err := limited("count actions", b.actions.Allow(b.userID))
	b.performing = err == nil
	return err
}

// settle counts an action of which the Approver has not said that it is performed,
// and does not count one that was refused in the end.
func (b *budget) settle(err error) error {
	if err == nil {
		return b.perform()
	}
	if b.performing {
		b.actions.Return(b.userID)
	}
	return err
}

func limited(step string, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	e := fail(problem.Limited, step, "the limit is reached")
	e.RetryAfter = wait
	return e
}

// keepPrivate says that what an agent sees is nobody else's, in no cache.
func keepPrivate(h http.Header) {
	values := [...]string{"no-store", "Cookie", ""} // in one place, with room for another Vary
	h["Cache-Control"] = values[0:1:1]
	if len(h["Vary"]) == 0 {
		h["Vary"] = values[1:2:3]
		return
	}
	addVary(h, "Cookie")
}

func addVary(h http.Header, name string) {
	for _, have := range h["Vary"] {
		if strings.EqualFold(have, name) {
			return
		}
	}
	h["Vary"] = append(h["Vary"], name)
}

// visitor returns who sends the request. It is found out once per request, however
// many middlewares ask; before is what the one outside of this one has attached.
func (rp *RelyingParty) visitor(w http.ResponseWriter, r *http.Request) (v visitor, before *attached, err error) {
	for a := attachedTo(r.Context()); a != nil; a = a.before {
		if a.rp == rp {
			return a.visitor, a, nil
		}
	}
	s, err := rp.load(w, r)
	switch {
	case err == nil:
		return visitor{session: s}, nil, nil
	case err == error(errEnded):
		return visitor{ended: true, former: s}, nil, nil
	case isAbsent(err):
		return visitor{}, nil, nil
	case s != nil && errors.Is(err, problem.Paused):
		return visitor{session: s, paused: true}, nil, nil
	}
	return visitor{}, nil, siteError("load session", err)
}

// isAbsent reports whether load has found that there is no session. What the site's
// code returns is neither of these two, whatever its name.
func isAbsent(err error) bool { return err == error(errNobody) || err == error(errEnded) }

// errEnded is errNobody where there was a session, which has ended.
var errEnded = fail(problem.NoSession, "load session", "the session has ended")

// load returns a session that holds in every respect, or errNobody or errEnded. With
// problem.Paused it returns the session as well, and so it does with errEnded where the
// session may go on elsewhere.
func (rp *RelyingParty) load(w http.ResponseWriter, r *http.Request) (s *Session, err error) {
	defer rp.recovered("load session", &err)
	s, err = rp.sessions.Load(w, r)
	switch {
	case errors.Is(err, ErrNoSession):
		return nil, errNobody
	case errors.Is(err, ErrSessionEnded):
		if s != nil && (s.ID == "" || s.Agent.Issuer != rp.config.Issuer) {
			s = nil
		}
		return s, errEnded
	case err != nil:
		return nil, err
	}
	ctx := r.Context()
	switch rp.standing(s) {
	case isOver:
		return nil, rp.over(w, s)
	case isElsewhere:
		return s, errEnded
	}
	switch ended, err := rp.revoked(ctx, s); {
	case err != nil:
		return nil, err
	case ended:
		return nil, rp.over(w, s)
	}
	if rp.config.Session.Own != nil {
		own := *s // the site may have given others the same one
		s = &own
	}
	s.RemoteAddr = rp.clientAddr(r)
	err = rp.config.Scenario.CheckSession(ctx, s)
	if s.UserID == "" || s.Access < AccessNone || s.Access > AccessFull { // there is nobody whose data it could have access to
		s.Access = AccessNone
	}
	if s.Access == AccessNone {
		s.Actions = nil
	}
	if err == nil {
		rp.confirm(s)
		return s, nil
	}
	if reason, ok := reasonOf(err); ok && reason != problem.Paused {
		return nil, rp.endRefused(w, r, s, reason)
	}
	return s, err
}

// over says that a session does not hold any more. The client keeps its cookie, as
// one of a session that has ended, until somebody signs out, an agent signs in, or the
// cookie's Max-Age is over: without it the browser would be the person's again who is
// signed in there.
func (rp *RelyingParty) over(w http.ResponseWriter, s *Session) error {
	if own, ok := rp.sessions.(*storeSessions); ok {
		own.unset(w) // no fresh cookie for a session that has ended
	}
	if s != nil {
		rp.releaseTokens(s)
	}
	return errEnded
}

// endRefused ends a session that the scenario refuses, so that it stays ended even
// if the scenario would have it again.
func (rp *RelyingParty) endRefused(w http.ResponseWriter, r *http.Request, s *Session, why problem.Reason) error {
	if err := rp.EndSession(r.Context(), s.ID); err != nil {
		return err
	}
	if why != problem.NoSession {
		rp.record(r, audit.SessionEnded, s, "", &failure{cause: &problem.Error{Reason: why, Step: "check session", RequestID: newRequestID()}})
	}
	return rp.over(w, s)
}

// readOnly refuses what a session with less than AccessFull to its user's data may
// not do, unless the request performs an action that it is allowed by name. The
// method is the request's own: headers and fields that claim another one are not
// looked at. An upgraded connection could carry anything, and so could a tunnel, which
// CONNECT opens in HTTP/1.1 and an upgrade is in HTTP/2 (RFC 8441).
func (g *guard) readOnly(r *http.Request, s *Session, allowed bool) error {
	const step = "enforce read-only access"
	if s.UserID == "" || s.Access == AccessFull {
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !allowed {
		return fail(problem.ReadOnly, step, "%s refused: the session may read, and %s is not GET or HEAD; "+
			"where the route has RequireAction or RequireApproval, put that outside of %[1]s", g.name, answer.Token(r.Method))
	}
	if len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect { // Get would see the first of several lines, and libraries read them all
		return fail(problem.ReadOnly, step, "%s refused: the session may read, and not upgrade the connection", g.name)
	}
	return nil
}

// refuse answers a request that the middleware does not let through.
func (rp *RelyingParty) refuse(w http.ResponseWriter, r *http.Request, s *Session, action string, err error) {
	if rp.refuseNobody(w, r, err) {
		return
	}
	e := asFailure(err)
	if target := rp.signInPage(r, e); target != "" && isPageLoad(r) {
		redirect(w, target)
		return
	}
	e.RequestID, e.action = newRequestID(), action
	switch e.Reason {
	case problem.NoSession, problem.HumanRequired, reasons.AgentRequired: // no agent was there to be denied anything
	case problem.ApprovalPending:
		rp.record(r, audit.ActionPending, s, action, e)
	default:
		rp.record(r, audit.PermissionDenied, s, action, e)
	}
	rp.answer(w, r, e)
}

// signInPage returns where a stranger signs in, and comes back from: the site's own
// page if there is one, else LoginHandler for an agent. It is empty for whoever is
// signed in already, and on the site's page itself.
func (rp *RelyingParty) signInPage(r *http.Request, e *failure) string {
	if _, human := HumanFromContext(r.Context()); human || e.stay || e.Reason != problem.NoSession && e.Reason != problem.HumanRequired {
		return ""
	}
	switch own := rp.config.SignInPath; {
	case own != "" && browser.Path(r) == own:
		return ""
	case own != "":
		return own + "?return_to=" + url.QueryEscape(rp.backFrom(r, e))
	case e.Reason == problem.HumanRequired || rp.config.RequirePOST:
		return ""
	}
	if back := rp.returnFrom(r, e); back != "" {
		return rp.config.Paths.Login + "?return_to=" + url.QueryEscape(back)
	}
	return rp.config.Paths.Login
}

// backFrom is where to land after what a refusal leads to: on the page that was
// refused, if it can be shown by a GET.
func (rp *RelyingParty) backFrom(r *http.Request, e *failure) string {
	if r.Method == http.MethodGet {
		return rp.returnTarget(browser.Target(r))
	}
	return cmp.Or(e.Back, browser.Back(r), rp.config.ReturnTo)
}

// refuseNobody gives the answer that was prepared, if the request is one of a
// program that has not signed in. Each agent begins as one, and so does whoever
// floods the site. It is what answer would write, but for the request's ID.
func (rp *RelyingParty) refuseNobody(w http.ResponseWriter, r *http.Request, err error) bool {
	if err != error(errNobody) || rp.config.ErrorHandler != nil || wantsPage(r) {
		return false
	}
	if _, human := HumanFromContext(r.Context()); human {
		return false
	}
	rp.demandSignIn(w.Header())
	rp.nobody.Write(w, newRequestID())
	return true
}

// demandSignIn sets the challenge that RFC 9110 section 15.5.2 demands of status
// 401, and where to sign in.
func (rp *RelyingParty) demandSignIn(h http.Header) {
	addVary(h, "Accept")
	h["Www-Authenticate"] = []string{rp.challenge}
	h["Link"] = append(h["Link"], rp.links...)
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

// protect calls f, which calls code of the site.
func (rp *RelyingParty) protect(step string, f func() error) (err error) {
	defer rp.recovered(step, &err)
	return f()
}

// recovered, deferred, turns a panic of the site's code into an error: a doubt
// about who is signed in must never let a request through, and an agent is to be
// told. http.ErrAbortHandler is no exception: some of this is called from
// goroutines, where that panic ends the process like any other.
func (rp *RelyingParty) recovered(step string, err *error) {
	if p := recover(); p != nil {
		logPanic(rp.config.Logger, step, p, debug.Stack())
		*err = siteError(step, errors.New("panic"))
	}
}

// logPanic logs what code of the site panicked with: its type, as the value may
// hold a secret.
func logPanic(l *slog.Logger, step string, value any, stack []byte) {
	l.Error("authagent: panic", "step", step, "panic", fmt.Sprintf("%T", value), "stack", string(stack))
}

// ServeError answers a request with an error as this package answers its own: a
// page for a browser, application/problem+json for a program, or what
// Config.ErrorHandler makes of it. It is for handlers of a site's own. An error
// that is neither an [problem.Error] nor a [problem.Reason] is a fault of the site.
func (rp *RelyingParty) ServeError(w http.ResponseWriter, r *http.Request, err error) {
	answer.Protect(w.Header())
	v, _, _ := rp.visitor(headerSink{}, r)
	rp.refuse(w, r, v.session, "", err)
}

// answer answers a request that was refused, in one place for the whole package.
func (rp *RelyingParty) answer(w http.ResponseWriter, r *http.Request, e *failure) {
	h := w.Header()
	addVary(h, "Accept")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.location != "" {
		h.Set("Location", e.location)
	}
	switch status := e.Status(); {
	case e.Reason == problem.HumanRequired: // RFC 9110 section 15.5.2 demands a challenge, and no agent is to try
		h.Set("WWW-Authenticate", "Human")
	case status == http.StatusUnauthorized:
		rp.demandSignIn(h)
	case status == http.StatusForbidden:
		h["Link"] = append(h["Link"], rp.links...)
	}
	if _, human := HumanFromContext(r.Context()); !human || e.Reason == reasons.AgentRequired { // others who are signed in as a human are not to sign in as an agent
		e.signpost = rp.signpost
	}
	switch {
	case rp.config.ErrorHandler != nil && rp.config.ErrorHandler(w, r, e.cause):
	case wantsPage(r):
		rp.showPage(w, answer.Refused, rp.refusalPage(r, e))
	default:
		answer.WriteProblem(w, e.problem())
	}
}

func (rp *RelyingParty) refusalPage(r *http.Request, e *failure) Page {
	p := Page{
		Title: e.Title(), Detail: e.Detail(), Status: e.Status(), Code: string(e.Reason), RequestID: e.RequestID,
		Retry: e.RetryAfter > 0, Home: cmp.Or(e.Back, browser.Back(r), rp.config.ReturnTo), Field: e.Field, SignOut: rp.signOut(r, e),
	}
	if e.problem().SignIn != "" {
		p.Button = rp.signpost.OwnButton(rp.returnFrom(r, e))
	}
	if rp.config.SignInPath != "" {
		p.SignIn = rp.signInPage(r, e)
	}
	return p
}

// showPage answers with a page. A mistake in the site's template is for its log.
func (rp *RelyingParty) showPage(w http.ResponseWriter, name string, p Page) {
	if err := rp.pages.Write(w, name, p.Status, p); err != nil {
		rp.config.Logger.Error("authagent: page failed", "page", name, "error", err)
	}
}

// returnFrom is where to land after signing in from the page that a refusal is
// answered with: where the agent wanted to be, if it can be there by a GET.
func (rp *RelyingParty) returnFrom(r *http.Request, e *failure) string {
	if e.Reason != problem.NoSession && e.Reason != reasons.AgentRequired || r.Method != http.MethodGet {
		return ""
	}
	if back := rp.returnTarget(browser.Target(r)); back != rp.config.ReturnTo {
		return back
	}
	return ""
}

// signOut returns where a person who meets an agent's session in their own
// browser can end it, and come back as themselves; empty if that is not what is
// in the way.
func (rp *RelyingParty) signOut(r *http.Request, e *failure) string {
	if e.Reason != problem.AgentForbidden {
		return ""
	}
	v, _, err := rp.visitor(headerSink{}, r)
	if err != nil || v.session == nil && !v.ended && !rp.another(r) {
		return ""
	}
	return rp.config.Paths.Logout + "?return_to=" + url.QueryEscape(rp.backFrom(r, e))
}

// record puts an event into the log and into the audit trail.
func (rp *RelyingParty) record(r *http.Request, name audit.Name, s *Session, action string, e *failure) {
	level := levelOf(name, e)
	if rp.config.Audit == nil && !rp.config.Logger.Enabled(r.Context(), level) {
		return // before what is nobody's to read is put together
	}
	human, _ := HumanFromContext(r.Context())
	rp.emit(r.Context(), audit.Event{
		Name: name, Method: answer.Token(r.Method), Route: r.Pattern, RemoteAddr: rp.clientAddr(r), HumanID: human, Action: action,
	}, s, e)
}

// levelOf is the level at which an event is logged.
func levelOf(name audit.Name, e *failure) slog.Level {
	switch {
	case name == audit.LoginStarted:
		return slog.LevelDebug
	case e != nil && e.Fault() != problem.Agent && e.Reason != problem.Paused: // of agents at fault there are many, and a pause is what the site wants
		return slog.LevelError
	}
	return slog.LevelInfo
}

// emit is record for what need not belong to a request.
func (rp *RelyingParty) emit(ctx context.Context, event audit.Event, s *Session, e *failure) {
	event.Time, event.Issuer, event.Count = time.Now().UTC(), rp.config.Issuer, 1
	if event.Outcome == "" {
		event.Outcome = e.outcome()
	}
	if s != nil {
		event = withSession(event, s)
	}
	if e != nil {
		event.RequestID, event.Reason, event.Detail = e.RequestID, e.Reason, e.Error()
		if s == nil {
			event.Agent = e.agent
		}
	}
	ctx = context.WithoutCancel(ctx)
	if level := levelOf(event.Name, e); rp.config.Logger.Enabled(ctx, level) {
		rp.config.Logger.LogAttrs(ctx, level, "authagent: "+string(event.Name), event.LogValue().Group()...)
	}
	if rp.config.Audit == nil || isRefusal(event) && rp.refusals.Count(kindOf(event), event) {
		return
	}
	rp.audit.Deliver(delivery{ctx, event})
}

// isRefusal reports whether e is one of the events of which a client can cause as
// many as it sends requests.
func isRefusal(e audit.Event) bool {
	return (e.Name == audit.LoginFailed || e.Name == audit.PermissionDenied) && (e.Outcome == audit.Refused || e.Outcome == audit.Failed)
}

// kindOf has the fields that refusals have in common which are counted together.
func kindOf(e audit.Event) audit.Event {
	kind := audit.Event{
		Name: e.Name, Reason: e.Reason, Route: e.Route, Action: e.Action,
		Agent: e.Agent, UserID: e.UserID, HumanID: e.HumanID, GrantID: e.GrantID, Scenario: e.Scenario,
	}
	if e.Agent == (Agent{}) {
		kind.RemoteAddr = limit.Network(e.RemoteAddr)
	}
	return kind
}

// deliverCounted passes on n refusals of a kind as one event.
func (rp *RelyingParty) deliverCounted(last audit.Event, n int) {
	last.Time, last.Count = time.Now().UTC(), n
	rp.audit.Add(delivery{context.Background(), last})
}

// withSession fills in whose event it is.
func withSession(e audit.Event, s *Session) audit.Event {
	e.SessionID, e.Agent, e.UserID = s.ID, s.Agent, s.UserID
	e.Scenario, e.ProfileID, e.GrantID, e.Access = s.Scenario, s.ProfileID, s.GrantID, s.Access.String()
	return e
}

// delivery is an event on its way to Config.Audit.
type delivery struct {
	ctx   context.Context
	event audit.Event
}

func (rp *RelyingParty) deliver(d delivery) { rp.config.Audit(d.ctx, d.event) }

// A failure is an error of a request and what answering it needs beside.
type failure struct {
	*cause
	agent    Agent          // who it was, once that is established
	signpost *signpost.Site // where to sign in, once the error is answered
	action   string         // what was to be done
	location string         // where to look at how it stands
	stay     bool           // a human is signed in, whom the sign-in page would send straight back
}

type cause = problem.Error

// Unwrap returns the error that the site gets.
func (f *failure) Unwrap() error { return f.cause }

// outcome is what an event with this error has come to; nil is no error.
func (f *failure) outcome() string {
	switch {
	case f == nil:
		return audit.OK
	case f.Reason == problem.ApprovalPending:
		return audit.Pending
	case f.Fault() == problem.Agent:
		return audit.Refused
	}
	return audit.Failed
}

// problem is what a program is told.
func (f *failure) problem() answer.Problem {
	row := reasons.Of(string(f.Reason))
	p := answer.Problem{
		Status: row.Status, Title: row.Title, Detail: row.Detail, Code: row.Code, RequestID: f.RequestID,
		Retry: f.RetryAfter > 0, Action: f.action, Approval: f.location, Field: f.Field,
	}
	if f.Reason == problem.ReadOnly {
		p.Allowed = signpost.ReadMethods()
	}
	if f.signpost == nil {
		return p
	}
	p.Type = f.signpost.ProblemType(row.Code)
	if f.Reason == problem.HumanRequired {
		return p
	}
	if p.Status == http.StatusUnauthorized {
		p.Issuer = f.signpost.Issuer
	}
	if p.Status == http.StatusUnauthorized || row.Has(reasons.Again) {
		p.SignIn = f.signpost.LoginURL()
		if f.signpost.POST {
			p.SignInMethod = http.MethodPost
		}
	}
	return p
}

func fail(reason problem.Reason, step, format string, args ...any) *problem.Error {
	e := &problem.Error{Reason: reason, Step: step}
	if len(args) == 0 {
		e.Err = errors.New(format)
	} else {
		e.Err = fmt.Errorf(format, args...)
	}
	if reasons.Of(string(reason)).Has(reasons.Retry) {
		e.RetryAfter = retryAfter
	}
	return e
}

// retryAfter is when a client is told to try again where nothing else is known.
const retryAfter = 5 * time.Second

// siteError is the error of something that the site provides: what it says if it
// is a reason, and a fault of the site if it is not. So is what a store says to this
// package, such as ErrNotFound, wherever it gets to: a store decides nothing.
func siteError(step string, err error) error {
	if err == nil {
		return nil
	}
	var e *problem.Error
	if errors.As(err, &e) {
		return err
	}
	if reason, ok := reasonOf(err); ok {
		e := &problem.Error{Reason: reason, Step: step, Err: err}
		if reasons.Of(string(reason)).Has(reasons.Retry) {
			e.RetryAfter = retryAfter
		}
		return e
	}
	return &problem.Error{Reason: problem.StoreFailed, Step: step, Err: err, RetryAfter: retryAfter}
}

func reasonOf(err error) (problem.Reason, bool) {
	var e *problem.Error
	if errors.As(err, &e) {
		return e.Reason, e.Fault() == problem.Agent
	}
	var reason problem.Reason
	return reason, errors.As(err, &reason)
}

// asFailure returns err as a failure of this request alone: a site may return one
// and the same error from many.
func asFailure(err error) *failure {
	f := new(failure)
	if !errors.As(err, &f) {
		f = &failure{cause: &problem.Error{Reason: problem.StoreFailed, Step: "handle request"}}
		errors.As(siteError("handle request", err), &f.cause)
	}
	own, cause := *f, *f.cause
	own.cause = &cause
	return &own
}
