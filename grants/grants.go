// Package grants gives the owner of an account control over the agents that act
// in it: which may enter, with what access, until when, and which single actions
// they may perform.
//
// A grant lets one agent, known by issuer and ID, act for one account. It begins
// as a request that the agent makes by signing in, or with the owner, who connects
// an agent in person. Nothing opens until the owner has said yes, and an e-mail
// address decides nothing but whom to ask.
//
//	store := &memstore.Grants{} // or a shared one
//	owners := grants.OwnerApproval(store)
//	owners.Actions = map[string]string{"orders:create": "Place orders"}
//	owners.Approvals = map[string]string{"payouts:create": "Pay out money"}
//	owners.Notify = sendMail
//
//	rp, err := authagent.New(authagent.Config{
//		// ...
//		Scenario: authagent.FullAccount(users, owners),
//		Human:    signedInUser,
//	})
//	mux.Handle("/account/agents/", grants.Handler(owners, rp))
//	mux.Handle("POST /orders", rp.RequireAction("orders:create")(orders))
//	mux.Handle("POST /payouts", rp.RequireApproval("payouts:create", owners)(payouts))
//
// The relying party obeys the rules of the store ([Policy.SetRules]), and gives the
// Policy the events that its page shows. One whose scenario has no LinkPolicy is given
// the rules as its Config.Rules.
//
// [Handler] is the page on which owners see and decide all of it. [Policy] has the
// same as methods, for a site that draws its own.
//
// Every decision counts on the agent's next request, at every instance that
// shares the [Store]. No agent can take one: the page lets nobody through but a
// human who is signed in where no agent is.
package grants

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/logs"
	"github.com/authagent-go/authagent/internal/sink"
	"github.com/authagent-go/authagent/problem"
)

// State is how a grant stands.
type State string

// The states of a grant. A grant whose time is over is Expired, whatever the
// store has: see [Grant.Now].
const (
	Pending   State = "pending"   // the agent has asked, the owner has yet to decide
	Approved  State = "approved"  // the agent may act
	Suspended State = "suspended" // it may not, until the owner approves it anew
	Denied    State = "denied"    // the owner said no
	Revoked   State = "revoked"   // the owner said yes, and then no
	Expired   State = "expired"   // nobody decided in time, or the approval has run out
)

// A Grant is what one agent may do in one account.
type Grant struct {
	ID       string           `json:"id"`
	Version  int64            `json:"version"` // grows with each change
	Agent    authagent.Agent  `json:"agent"`
	Scenario string           `json:"scenario"`
	UserID   string           `json:"user_id"`
	State    State            `json:"state"`
	Access   authagent.Access `json:"access"`
	Actions  []string         `json:"actions,omitempty"` // beyond Access, by name

	// Name and Model are what the agent says of itself. They are for display, and
	// to be marked as such.
	Name  string `json:"name,omitempty"`
	Model string `json:"model,omitempty"`

	// Subject is the user of the authorization server for whom the agent acts, where
	// Config.Provider.SubjectIsUser is set. The grant is for this one alone: the same agent acts
	// for others too. It is empty where the agent has no user but its owner, as at Auth
	// Agent.
	Subject string `json:"subject,omitempty"`

	// Email is the owner's address as the authorization server had it when the
	// grant was asked for or approved. One that has changed suspends the grant.
	Email string `json:"-"`

	RequestedAt   time.Time `json:"requested_at"`
	RequestedFrom string    `json:"requested_from,omitempty"` // the client's address
	DecidedAt     time.Time `json:"decided_at,omitzero"`
	ExpiresAt     time.Time `json:"expires_at"`

	// Era grows when the agent is let in anew, or asks anew, after it had been
	// stopped or its time was over; 0 until then. Sessions of another era have
	// ended, whether or not they were used in between. It is no time: see anew.
	Era int64 `json:"era,omitempty"`
}

// anew is what Era is to be if the agent asks or is let in now. It only has to grow;
// that it is as great as a time is for the oldest instances, which take it for the
// time before which sessions have ended.
func (g Grant) anew() int64 {
	if g.State == Pending || g.State == Denied || g.Now() == Approved { // no session has ended with it
		return g.Era
	}
	return max(g.Era+1, time.Now().UnixNano())
}

// Now returns the grant's state at this moment: a pending or approved grant whose time
// is over is Expired. A suspended one stays Suspended: its owner's no has no end.
func (g Grant) Now() State { return g.at(time.Now()) }

func (g Grant) at(now time.Time) State {
	if (g.State == Pending || g.State == Approved) && !now.Before(g.ExpiresAt) {
		return Expired
	}
	return g.State
}

// A Policy is the [authagent.LinkPolicy] that asks the owner. Make one with
// [OwnerApproval] and set its fields before it is used; their zero values are the
// safe defaults. Its methods are safe for concurrent use.
type Policy struct {
	// Notify tells an owner, by mail or otherwise, that there is something to see
	// or to decide. It is called in the background, one at a time: first for what
	// matters most, and for the owners in turn. Of each kind an owner gets one
	// notice in a minute and, after three, one in ten minutes; what comes in between
	// is told together, see [Notice.Count]. Do not put a link that decides into the
	// message: the owner decides on the page, signed in. Of the networks that an agent comes from, an owner is told of three
	// in an hour. By default nobody is told.
	Notify func(context.Context, Notice)

	// Audit gets an event for each change of a grant or approval, and for each request
	// of an agent that was not let in. Where Config.Audit of a relying party is not
	// set, it gets the events of that as well. With the same function in both places
	// each event comes once. Two
	// goroutines call it: one with the events of the background, so that no answer
	// waits for those. A slow or broken function does not hold up anybody, but
	// loses events when 4096 of a goroutine are waiting. The default is Config.Audit
	// of the first relying party that has one.
	Audit func(context.Context, audit.Event)

	// Logger gets what an operator wants to know; nil means slog.Default().
	Logger *slog.Logger

	// Path is where Handler is mounted, as browsers ask for it, with a slash at its
	// end. The default is "/account/agents/".
	Path string

	// Actions are the actions that an owner can allow by name, each with a few
	// words that say to a human what it is: "orders:create": "Place orders".
	Actions map[string]string

	// Approvals are the actions that are approved one at a time, see
	// [authagent.RelyingParty.RequireApproval], each with a few words that say to a
	// human what it is: "payouts:create": "Pay out money". No owner can allow one
	// for good, so that New refuses a name that is in Actions too. An action
	// without words is shown by its name.
	Approvals map[string]string

	// Template replaces the page of Handler, to give it the site's own looks or
	// another language. It is executed with a [Page], and may define "leave.html",
	// the short page from which a human who connects an agent goes on to the
	// address that it is executed with. Its pages may use style sheets, images and
	// fonts of the site's own origin, and no scripts. Nil means [PageTemplate].
	Template *template.Template

	// OwnerStartedOnly lets owners connect agents, and no agent ask.
	OwnerStartedOnly bool

	// PendingFor is how long a request waits for the owner. The default is 24
	// hours, and more than 7 days are refused by New. ApprovedFor is how long an
	// approved agent may act before its owner is asked again; the default is 90
	// days. ActionFor is how long an approved action waits for the agent to
	// perform it; the default is an hour.
	PendingFor, ApprovedFor, ActionFor time.Duration

	// MaxAgents is how many agents an account may have; the default is 10.
	// MaxNotices is how many requests an account is asked about in an hour, and at
	// most four times as many in 24 hours, so that nobody can flood its owner, at
	// once or with patience; the default is 3, and so 12 in 24 hours. Further ones
	// are dropped. MaxActions is how many single actions may wait for one owner; the
	// default is 20.
	MaxAgents, MaxNotices, MaxActions int

	// Privileged reports accounts that no agent may ever enter, such as those of
	// the site's staff. It is asked at each sign-in of an approved agent as well;
	// RevokeAll ends the sessions that there are when an account becomes one. Where
	// no account has an agent's address, it is asked about an ID that no account has,
	// so that the time it takes tells nobody; its answer does not count then. By
	// default there is none.
	Privileged func(ctx context.Context, userID string) (bool, error)

	// DangerouslyApproveByEmail admits agents without asking the owner first. See
	// there.
	DangerouslyApproveByEmail *EmailApproval

	store    Store
	filing   turn           // of filing a request or giving a grant: one at a time, so that limits hold
	requests fair[request]  // to be filed
	shadow   Grant          // is written where there is no request to file
	renewed  renewals       // in the turn of filing
	post     *post          // the notices on their way to owners
	asking   turns          // one action is put before its owner at a time, so that MaxActions holds
	under    sync.WaitGroup // the work in the background
	trail    *sink.Sink[delivery]
	aside    *sink.Sink[delivery] // for events of the background: no answer waits for them
	touched  seen
	obeyed   atomic.Bool                                        // a relying party of this process reads the rules
	fallback atomic.Pointer[func(context.Context, audit.Event)] // for events, without Audit
	moves    *limit.Limiter                                     // notices of new networks, by grant
	noes     *limit.Limiter                                     // deeds that were refused, by grant
	changes  *limit.Limiter                                     // deeds that changed something, by kind
	routine  *limit.Limiter                                     // other deeds, by kind
	humans   *limit.Limiter                                     // looks for the account of who sees the page
}

// EmailApproval names the agents that enter an account without being approved,
// because an authorization server says that its owner's e-mail address is the
// account's. That is the way accounts are taken over: whoever can write that
// address at the server is in. Both lists are needed and match exactly. The
// account's owner is told, gets a grant that can be revoked, and has to have
// verified the address at the site.
type EmailApproval struct {
	Issuers []string // exactly as in Config.Issuer
	Domains []string // of the address, in ASCII; case does not matter
}

// OwnerApproval returns a Policy that keeps grants in store.
func OwnerApproval(store Store) *Policy {
	p := &Policy{
		store: store, filing: make(turn, 1), shadow: newShadow(),
		moves: limit.New(maxMoves, time.Hour), noes: limit.New(maxNoes, time.Hour),
		changes: limit.New(maxChanges, 24*time.Hour), routine: limit.New(maxRoutine, 24*time.Hour), humans: limit.New(1, time.Hour),
	}
	p.post = newPost(p)
	lost := func(why string) { p.logger().Error("grants: audit event lost", "why", why) }
	p.trail, p.aside = sink.New(p.deliver, lost), sink.New(p.deliver, lost)
	return p
}

const (
	maxPendingFor = 7 * 24 * time.Hour

	// backgroundTimeout bounds each piece of work in the background.
	backgroundTimeout = 10 * time.Second

	// In askedFor, an owner is asked at most askedTimes as often as MaxNotices says.
	askedFor   = 24 * time.Hour
	askedTimes = 4

	// maxNoes is how many refused or waiting requests of an agent its owner is shown
	// in an hour: with a flood of them an agent could hide what it did.
	maxNoes = 20

	// maxChanges is how many equal changes by an agent are recorded in 24 hours, and
	// maxRoutine how many equal sign-ins, reads and refusals: so few that readDeeds
	// reach back for days. Of equal ones an owner is shown maxSame.
	maxChanges = 20
	maxRoutine = 5
	maxSame    = 5

	// maxMoves is how many notices of new networks an owner gets in an hour about
	// one agent, which may have as many networks as it likes.
	maxMoves = 3
)

// Check reports every setting that is wrong. [authagent.New] calls it.
func (p *Policy) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("grants: "+format, args...)) }
	if p.store == nil {
		bad("OwnerApproval: the Store is nil")
	}
	if p.PendingFor < 0 || p.PendingFor > maxPendingFor {
		bad("PendingFor: %v is not between 0 and %v", p.PendingFor, maxPendingFor)
	}
	if p.ApprovedFor < 0 || p.ActionFor < 0 {
		bad("ApprovedFor, ActionFor: must not be negative")
	}
	if p.MaxAgents < 0 || p.MaxNotices < 0 || p.MaxActions < 0 {
		bad("MaxAgents, MaxNotices, MaxActions: must not be negative")
	}
	if p.Path != "" && (!strings.HasPrefix(p.Path, "/") || !strings.HasSuffix(p.Path, "/") || strings.HasPrefix(p.Path, "//")) {
		bad("Path: %q does not begin and end with one slash", p.Path)
	}
	for name := range p.Actions {
		if !isAction(name) {
			bad("Actions: %q is not the name of an action", name)
		}
	}
	for name := range p.Approvals {
		if !isAction(name) {
			bad("Approvals: %q is not the name of an action", name)
		}
		if _, offered := p.Actions[name]; offered {
			bad("Approvals: %q is in Actions too, which an owner can allow for good", name)
		}
	}
	if e := p.DangerouslyApproveByEmail; e != nil {
		for name, list := range map[string][]string{"Issuers": e.Issuers, "Domains": e.Domains} {
			if len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return s == "" || strings.Contains(s, "*") }) {
				bad("DangerouslyApproveByEmail: %s has to be a list of exact names", name)
			}
		}
		p.logger().Warn("grants: agents are admitted by their owner's e-mail address alone (DangerouslyApproveByEmail)",
			"issuers", e.Issuers, "domains", e.Domains)
	}
	return errors.Join(errs...)
}

// CheckAction says what is wrong with the name of an action that a route is guarded by
// (RequireAction or, with each, RequireApproval), such as that no owner could ever allow
// it. See [authagent.LinkPolicy].
func (p *Policy) CheckAction(name string, each bool) error {
	_, offered := p.Actions[name]
	_, approved := p.Approvals[name]
	switch {
	case each && offered:
		return errors.New("it is in Policy.Actions: an owner who allows it there would be asked all the same; move it to Policy.Approvals")
	case each && !approved:
		return errors.New("it is not in Policy.Approvals: owners would be shown a bare name")
	case !each && approved:
		return errors.New("it is in Policy.Approvals, which owners approve one at a time: guard the route by RequireApproval")
	case !each && !offered:
		return errors.New("it is not in Policy.Actions, so that no owner can allow it by name")
	}
	return nil
}

func isAction(name string) bool { return name != "" && !strings.ContainsFunc(name, unicode.IsSpace) }

func (p *Policy) logger() *slog.Logger { return logs.Safe(or(p.Logger, slog.Default())) }

func (p *Policy) path() string { return or(p.Path, "/account/agents/") }

func (p *Policy) pendingFor() time.Duration { return or(p.PendingFor, 24*time.Hour) }

func (p *Policy) approvedFor() time.Duration { return or(p.ApprovedFor, 90*24*time.Hour) }

// or returns value, or otherwise where value is zero.
func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Link implements [authagent.LinkPolicy]. An agent that has no approved grant gets
// problem.ApprovalNeeded, whether the account exists or not and whatever its owner
// decided. What there is to do for the owner is done in the background. The same
// work is done where there is nothing to do, so that not even the time of this
// answer or of the next one tells.
func (p *Policy) Link(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	link, err := p.linked(ctx, r)
	switch {
	case err != problem.ApprovalNeeded:
	case r.User != nil && !p.OwnerStartedOnly && p.DangerouslyApproveByEmail.covers(r):
		return p.approveByEmail(ctx, r)
	default:
		p.ask(ctx, r)
	}
	return link, err
}

// linked returns the link by which the agent enters, and problem.ApprovalNeeded if no owner
// has given it one.
func (p *Policy) linked(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	all, err := p.entries(ctx, r.Agent)
	if err != nil {
		return authagent.Principal{}, fmt.Errorf("grants: find grants of agent: %w", err)
	}
	switch g, found, err := inForce(all, r); {
	case err != nil:
		return authagent.Principal{}, err
	case !found:
		return authagent.Principal{}, problem.ApprovalNeeded
	case g.State == Suspended:
		return authagent.Principal{}, problem.Suspended
	case g.Email != r.Email:
		return authagent.Principal{}, p.suspend(ctx, g, r.Email)
	default:
		if privileged, err := p.isPrivileged(ctx, g.UserID); err != nil {
			return authagent.Principal{}, err
		} else if privileged {
			return authagent.Principal{}, problem.LinkRefused
		}
		return g.link(), nil
	}
}

// entries returns the grants by which an agent may be able to enter.
func (p *Policy) entries(ctx context.Context, agent authagent.Agent) ([]Grant, error) {
	if finder, ok := p.store.(EntryFinder); ok {
		return finder.Entries(ctx, agent)
	}
	return p.store.AgentGrants(ctx, agent)
}

func (p *Policy) isPrivileged(ctx context.Context, userID string) (bool, error) {
	if p.Privileged == nil {
		return false, nil
	}
	privileged, err := p.Privileged(ctx, userID)
	if err != nil {
		return false, fmt.Errorf("grants: ask whether account is privileged: %w", err)
	}
	return privileged, nil
}

func (g Grant) link() authagent.Principal {
	return authagent.Principal{UserID: g.UserID, Access: g.Access, Actions: g.Actions, GrantID: g.ID, GrantEra: g.Era}
}

// inForce returns the grant by which an agent enters: the approved one, or the
// one that would be if it were not suspended. Where two instances have let the agent
// into two accounts at the same moment, there are two until one of them has taken its
// own back (alone), and the agent enters neither: no clock could say which was first.
// A grant for another user of the server, or from when that was not kept, is none.
func inForce(all []Grant, r authagent.LinkRequest) (only Grant, found bool, err error) {
	for _, g := range all {
		if state := g.Now(); g.Scenario != r.Scenario || g.Subject != r.Subject || state != Approved && state != Suspended {
			continue
		}
		if found && g.UserID != only.UserID {
			return Grant{}, false, errElsewhere
		}
		only, found = g, true
	}
	return only, found, nil
}

// suspend stops a grant whose agent has got another owner's address: the agent ID
// may have been given anew, to somebody else.
func (p *Policy) suspend(ctx context.Context, g Grant, email string) error {
	g.State, g.Email = Suspended, email // the owner who approves it anew does so with the new address
	g, err := p.store.UpdateGrant(ctx, g)
	if errors.Is(err, authagent.ErrConflict) {
		return problem.Suspended // somebody was faster; the next sign-in sees what they did
	}
	if err != nil {
		return fmt.Errorf("grants: suspend grant: %w", err)
	}
	p.stopActions(ctx, g, "")
	p.changed(ctx, EventSuspended, g, "")
	return problem.Suspended
}

func (e *EmailApproval) covers(r authagent.LinkRequest) bool {
	return e != nil && r.User.EmailVerified && slices.Contains(e.Issuers, r.Agent.Issuer) && hasDomain(e.Domains, r.Email)
}

// hasDomain reports whether one of domains is exactly the domain of a plain
// address in lower case.
func hasDomain(domains []string, email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return domain != "" && slices.ContainsFunc(domains, func(d string) bool { return lowerASCII(d) == domain })
}

// lowerASCII lowers ASCII letters and leaves all others alone: some fold into
// ASCII ones.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func (p *Policy) approveByEmail(ctx context.Context, r authagent.LinkRequest) (authagent.Principal, error) {
	if err := p.filing.take(ctx); err != nil {
		return authagent.Principal{}, err
	}
	defer p.filing.give()
	if link, err := p.linked(ctx, r); err != problem.ApprovalNeeded {
		return link, err // another sign-in of the agent was faster
	}
	switch stopped, err := p.stopped(ctx, r); {
	case err != nil:
		return authagent.Principal{}, err
	case stopped:
		p.ask(ctx, r)
		return authagent.Principal{}, problem.ApprovalNeeded
	}
	switch refusal, err := p.mayHaveAnother(ctx, r.User.ID); {
	case err != nil:
		return authagent.Principal{}, err
	case refusal != "":
		p.dropped(ctx, r, refusal)
		return authagent.Principal{}, problem.ApprovalNeeded
	}
	want := p.newGrant(r, Approved, p.approvedFor())
	g, created, err := p.claimNew(ctx, want)
	switch {
	case err != nil:
		return authagent.Principal{}, err
	case !created && g.Now() == Approved && g.Email == r.Email: // another instance was faster
		return g.link(), nil
	case !created && g.claimed() && g.Version == 1 && g.Email == r.Email: // another instance is about to; one of the two does
		if err := p.alone(ctx, g); err != nil {
			return authagent.Principal{}, err
		}
	case !created: // it was denied, revoked or has expired: from then on its owner is asked
		p.ask(ctx, r)
		return authagent.Principal{}, problem.ApprovalNeeded
	}
	want.ID, want.Version = g.ID, g.Version
	switch g, err = p.store.UpdateGrant(ctx, want); {
	case errors.Is(err, authagent.ErrConflict):
		return p.linked(ctx, r)
	case err != nil:
		return authagent.Principal{}, fmt.Errorf("grants: approve agent: %w", err)
	}
	p.changed(ctx, EventApproved, g, "")
	return g.link(), nil
}

// stopped reports whether the account's owner has said no to the agent before, in
// whatever scenario, or the owner of another account has let it in: then no address
// lets it into this one.
func (p *Policy) stopped(ctx context.Context, r authagent.LinkRequest) (bool, error) {
	all, err := p.store.AgentGrants(ctx, r.Agent)
	if err != nil {
		return false, fmt.Errorf("grants: find grants of agent: %w", err)
	}
	return heldElsewhere(all, Grant{UserID: r.User.ID, Subject: r.Subject}) || slices.ContainsFunc(all, func(g Grant) bool {
		return g.UserID == r.User.ID && (g.State == Denied || g.State == Revoked || g.State == Suspended)
	}), nil
}

func (p *Policy) newGrant(r authagent.LinkRequest, state State, lifetime time.Duration) Grant {
	now := time.Now()
	g := Grant{
		ID: newID(), Version: 1, Agent: r.Agent, Subject: r.Subject, Scenario: r.Scenario, UserID: r.User.ID, State: state, Access: authagent.AccessRead,
		Name: r.Name, Model: r.Model, Email: r.Email, RequestedAt: now, RequestedFrom: r.RemoteAddr, ExpiresAt: now.Add(lifetime),
	}
	if state == Approved {
		g.DecidedAt = now
	}
	return g
}

func newID() string { return strings.ToLower(rand.Text()) }

// mayHaveAnother says why an account may have no further agent, if so.
func (p *Policy) mayHaveAnother(ctx context.Context, userID string) (refusal string, err error) {
	switch privileged, err := p.isPrivileged(ctx, userID); {
	case err != nil:
		return "", err
	case privileged:
		return "the account is privileged", nil
	}
	all, err := p.store.OwnerGrants(ctx, userID)
	if err != nil {
		return "", fmt.Errorf("grants: find grants of account: %w", err)
	}
	return p.hasEnough(all), nil
}

// hasEnough says why an account that has all these grants may have no further
// agent, if so.
func (p *Policy) hasEnough(all []Grant) (refusal string) {
	agents := make(map[authagent.Agent]bool)
	for _, g := range all {
		if g.Now() == Approved {
			agents[g.Agent] = true
		}
	}
	if len(agents) >= or(p.MaxAgents, 10) {
		return "the account has as many agents as it may have"
	}
	return ""
}

// LinkByOwner is for [authagent.RelyingParty.ConnectHandler]: a human who is signed in has
// connected the agent to their own account. The grant lets it read; more is a
// choice of its own.
//
// No connection moves an agent. One that the owner of another account has let in,
// and has not revoked, is refused with problem.LinkRefused, and nothing changes; so
// whoever connects or approves an agent first has it. [Policy.ForgetAgent] frees an
// agent that a stranger has connected.
func (p *Policy) LinkByOwner(ctx context.Context, r authagent.LinkRequest) error {
	if err := p.filing.take(ctx); err != nil {
		return err
	}
	defer p.filing.give()
	all, err := p.store.AgentGrants(ctx, r.Agent)
	if err != nil {
		return fmt.Errorf("grants: find grants of agent: %w", err)
	}
	have := slices.IndexFunc(all, func(g Grant) bool { return g.UserID == r.User.ID && same(r)(g) })
	want := p.newGrant(r, Approved, p.approvedFor())
	if heldElsewhere(all, want) {
		return errElsewhere
	}
	approved := have >= 0 && all[have].Now() == Approved
	if have >= 0 {
		want.ID, want.Version, want.RequestedAt = all[have].ID, all[have].Version, all[have].RequestedAt
		want.Era = all[have].anew()
		if approved { // to connect it once more changes nothing that the owner has chosen
			want.Access, want.Actions, want.ExpiresAt = all[have].Access, all[have].Actions, all[have].ExpiresAt
		}
	}
	if !approved {
		switch refusal, err := p.mayHaveAnother(ctx, r.User.ID); {
		case err != nil:
			return err
		case refusal != "":
			return fmt.Errorf("grants: %s: %w", refusal, problem.LinkRefused)
		}
	}
	if have >= 0 && !approved {
		if err := p.forgetActions(ctx, want); err != nil {
			return err
		}
	}
	var claimed Grant
	if have >= 0 {
		claimed, err = p.claim(ctx, all[have])
	} else {
		var created bool
		if claimed, created, err = p.claimNew(ctx, want); err == nil && !created {
			err = authagent.ErrConflict
		}
	}
	if err == nil {
		want.Version = claimed.Version
		want, err = p.store.UpdateGrant(ctx, want)
	}
	if errors.Is(err, authagent.ErrConflict) {
		err = problem.Conflict // for the human, who can try again
	}
	if err != nil {
		return fmt.Errorf("grants: connect agent: %w", err)
	}
	p.changed(ctx, EventApproved, want, r.User.ID)
	return nil
}

// CheckSession implements [authagent.SessionChecker]: a session lives as long as
// its grant, and has what the grant has now.
func (p *Policy) CheckSession(ctx context.Context, s *authagent.Session) error {
	g, err := p.store.Grant(ctx, s.GrantID)
	now := time.Now()
	switch state := g.at(now); {
	case errors.Is(err, authagent.ErrNotFound):
		return problem.LinkRefused
	case err != nil:
		return fmt.Errorf("grants: find grant of session: %w", err)
	case state == Suspended:
		return problem.Suspended
	case state != Approved || g.Agent != s.Agent || g.UserID != s.UserID || g.Scenario != s.Scenario,
		s.GrantEra != g.Era:
		return problem.LinkRefused
	}
	s.Access, s.Actions = g.Access, g.Actions
	network := or(limit.Network(s.RemoteAddr), s.RemoteAddr)
	if p.touched.first(s.ID, network, now) {
		p.touch(ctx, s, g, network, now)
	}
	return nil
}

// touch records that a grant is used. It is for owners to see, and no reason to
// refuse a request.
func (p *Policy) touch(ctx context.Context, s *authagent.Session, g Grant, network string, now time.Time) {
	use, err := p.store.Touch(ctx, Activity{
		SessionID: s.ID, GrantID: s.GrantID, UserID: s.UserID, RemoteAddr: s.RemoteAddr, Network: network,
		StartedAt: s.StartedAt, SeenAt: now, ExpiresAt: s.ExpiresAt,
	})
	switch {
	case err != nil:
		p.logger().Warn("grants: could not record that a grant was used", "grant", s.GrantID, "err", err)
	case use == FirstUse:
		p.notify(ctx, Notice{Kind: EventFirstUse, UserID: g.UserID, Grant: &g})
	case use == NewNetwork && p.moves.Allow(s.GrantID) == 0:
		p.notify(ctx, Notice{Kind: EventNewNetwork, UserID: g.UserID, Grant: &g})
	}
}
