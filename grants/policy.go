package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/logs"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/pseudonyms"
	"github.com/authagent-go/authagent/internal/settings"
	"github.com/authagent-go/authagent/internal/sink"
	"github.com/authagent-go/authagent/internal/wiring"
	"github.com/authagent-go/authagent/messages"
)

// A Policy is the [authagent.LinkPolicy] that asks the owner. Make one with
// [OwnerApproval] and set its fields before it is used; their zero values are the
// safe defaults. Its methods are safe for concurrent use.
type Policy struct {
	// Notify tells an owner, by mail or otherwise, that there is something to see or to
	// decide. [Notice] has the mail, ready to be sent. Notify is called in the background,
	// one call at a time. What matters most comes first, and owners take turns. Of each
	// kind, an owner gets one notice in a minute and, after three, one in ten minutes.
	// What comes in between is told together, see [Notice.Count]. What is not urgent is
	// told together once in 24 hours (EventDigest). In an hour, an owner is told of three
	// networks that an agent comes from. By default nobody is told.
	Notify func(context.Context, Notice)

	// Audit gets an event for each change of a grant or approval, and for each request
	// of an agent that was not let in. If a relying party's Config.Audit is not set,
	// Policy.Audit gets its events as well. If both are the same function, each event
	// comes once. Two goroutines call it: one of them has the events of the background,
	// so that no answer waits for those. A slow or broken function holds up nobody, but
	// loses events when 4096 of a goroutine are waiting. The default is Config.Audit of
	// the first relying party that has one.
	Audit func(context.Context, audit.Event)

	// Logger gets what an operator wants to know; nil means slog.Default().
	Logger *slog.Logger

	// Path is where Handler is mounted, as browsers ask for it, with a slash at its
	// end. The default is "/account/agents/".
	Path string

	// Actions are the actions that an owner can allow by name, each with a few
	// words that say to a human what it is: "orders:create": "Place orders".
	Actions map[string]string

	// Reading says what an agent sees that may read: "orders, addresses and invoices". It
	// stands where the owner is told that an agent may see "your ..."; without it, that is
	// "your account".
	Reading string

	// Approvals are the actions that are approved one at a time, see
	// [authagent.RelyingParty.RequireApproval], each with a few words that say to a
	// human what it is: "payouts:create": "Pay out money". No owner can allow one for
	// good, so New refuses a name that is in Actions too. An action without words is
	// shown by its name.
	Approvals map[string]string

	// Describe says in one sentence what a request of an agent would do, such as "Refund order 2, Pine
	// cone small, $12.50". It is asked about each action behind RequireApproval, each time that the
	// agent sends the request, and concurrently. ctx is the request's, with the agent's session in
	// it. request.HTTP has the form and the path values. Nil, or "", means that the owner is shown
	// the raw request alone. How often an agent can make it run is bounded by Limits.Agent and
	// Limits.Owner of authagent.Config alone: the limits of actions count what is new to the owner,
	// which is not known before.
	//
	// The owner decides on that sentence: if it is another one when the agent sends the request again,
	// because a price has changed, the owner is asked again, and the earlier approval lets nothing
	// through. An approval of the same sentence still counts, as long as it is valid. So the text must
	// depend only on the request and on what is to be done, and not on the time.
	//
	// The text may have in it what the agent wrote: it is shown as the site's account of the agent's
	// request. Invisible characters are removed from it. A text of more than 200 characters is
	// refused, because its owner has to see all of it. An error refuses the request, and nothing is
	// asked of the owner. If it is or wraps a problem.Reason, such as problem.NotFound for an order
	// that does not exist, the agent is told that; any other error is the site's fault.
	Describe func(ctx context.Context, request action.Request) (string, error)

	// Amount says what a request of an agent costs. It is asked about each action behind
	// RequireApproval, like Describe and with the same errors, and reads the amount from
	// request.HTTP as the handler does. The zero value means that the request has no amount. An
	// owner who approves the request approves this amount: another one at the retry is another
	// action.
	Amount func(ctx context.Context, request action.Request) (Amount, error)

	// Allowances are those of Approvals that owners can allow up to an amount, each with the
	// currencies to choose from. Within an allowance, the agent passes at once. A request waits for
	// the owner if its Amount is not positive, is in another currency, or is more than what is left.
	// It needs Amount, and a Store that is an [AllowanceStore].
	Allowances map[string][]Currency

	// InTransaction are those of Approvals whose handlers perform the action in a transaction of the
	// database in which the Store is, and record in it that the action was performed: see
	// sqlstore.Grants.Use. Such an action happens exactly once or not at all, also if the process
	// ends in between. Any other happens at most once, and then its owner is told that nobody knows
	// whether it happened. Each of these handlers has to call Use: if one does not, and the process
	// ends, the action counts as not performed. It needs a Store that is a [Settler].
	InTransaction []string

	// Confirm asks the human for a proof that they are there in person before [Handler] does what
	// gives an agent more: to let it in or let it in again, to connect it, to give it more access,
	// another action or a longer time, to allow it something up to an amount, and to approve a single
	// action. What stops an agent or gives it less never asks. Package grants/passkey has one. By
	// default nobody is asked, and an agent that drives its owner's browser can press the buttons there.
	//
	// It counts for Handler alone. Decide, DecideAction and LinkByOwner do as they are told. So where
	// Confirm is set, do not mount authagent.RelyingParty.ConnectHandler yourself: Handler has it.
	// ApproveByConsent and DangerouslyApproveByEmail ask nobody either.
	Confirm Confirmer

	// ConfirmAbove are amounts, by their currency in its smallest unit, up to which a single action is
	// approved without Confirm. By default, and where an action has no Amount or one in another
	// currency, each is confirmed.
	ConfirmAbove map[string]int64

	// Template replaces the page of Handler, to give it the site's own looks. It is executed
	// with a [Page]. It may define four more pages. "agent.html" is executed with a
	// [PageAgent]. From "leave.html", a human who connects an agent goes on to the server where agents
	// sign in; it is executed with a [PageLeave], and nothing but a link in it leads on. "standing.html"
	// shows an agent how its request stands; it is executed with a [PageStanding]. "confirm.html" asks for the
	// proof of Confirm; it is executed with a [PageConfirm]. The pages may use style sheets, images and
	// fonts of the site's own origin, and no scripts but the one of that proof. Nil means
	// [PageTemplate].
	Template *template.Template

	// Locale returns the language and time zone of an account, for its owner's page and mails. It may
	// be nil, and so may be what it returns: see [Locale].
	Locale func(ctx context.Context, userID string) (Locale, error)

	// OwnerStartedOnly lets only owners connect agents: no agent can ask to be let in.
	OwnerStartedOnly bool

	// PendingFor is how long a request waits for the owner. The default is 24 hours,
	// and New refuses more than 7 days. ApprovedFor is how long an approved agent may
	// act before its owner is asked again; the default is 90 days. ActionFor is how
	// long an approved action waits for the agent to perform it; the default is an
	// hour.
	PendingFor, ApprovedFor, ActionFor time.Duration

	// MaxAgents is how many agents an account may have; the default is 10. MaxNotices
	// is how many requests the owner of an account is asked about in an hour. The
	// default is 3. In 24 hours it is at most four times as many, by default 12. So
	// nobody can flood an owner, neither at once nor slowly. Further requests are
	// dropped. MaxActions is how many single actions may wait for one owner; the
	// default is 20. They hold across instances if the Store is a [TurnTaker], and
	// for each Policy otherwise.
	MaxAgents, MaxNotices, MaxActions int

	// Privileged reports accounts that no agent may ever enter, such as those of the
	// site's staff. It is called at each sign-in of an approved agent as well. When an
	// account becomes privileged, call RevokeAll to end the sessions in it. If no
	// account has an agent's address, it is called with an ID that no account has, and
	// its answer does not count: so the time it takes tells nobody whether there is an
	// account. By default no account is privileged.
	Privileged func(ctx context.Context, userID string) (bool, error)

	// ApproveByConsent are the issuers, exactly as in authagent.Config.Issuer, at which an owner's
	// consent is enough: the server has named the agent and its scopes to the owner, who has agreed
	// there. An agent that acts for the server's user enters that user's account without asking its
	// owner here as well. It gets what its scopes allow (authagent.Config.Permissions) or, without
	// that setting, read access. The owner is told, and gets a grant like any other: it is on the page,
	// can be changed and ended, and from then on the owner is asked. It needs a UserStore that is an
	// [authagent.SubjectFinder].
	ApproveByConsent []string

	// DangerouslyApproveByEmail admits agents without asking the owner first. See
	// [EmailApproval].
	DangerouslyApproveByEmail *EmailApproval

	store    Store
	site     atomic.Pointer[authagent.Site] // the first that New has introduced
	measured atomic.Pointer[meter.Meter]    // that of the first with Metrics; nil for none
	english  func() *messages.Language      // the language without a site
	filing   turn                           // of filing a request or giving a grant: one at a time, so that limits hold
	requests fair[request]                  // to be filed
	shadow   Grant                          // is written where there is no request to file
	post     *post                          // the notices on their way to owners
	asking   turns                          // one action is put before its owner at a time, so that MaxActions holds
	under    sync.WaitGroup                 // the work in the background
	trail    *sink.Sink[delivery]
	aside    *sink.Sink[delivery] // for events of the background: no answer waits for them
	touched  seen
	touching sink.Aside                                         // records what was touched
	warnings fair[warning]                                      // to be told
	warned   *limit.Limiter                                     // warnings, by grant and its end
	obeyed   atomic.Bool                                        // a relying party of this process reads the rules
	fallback atomic.Pointer[func(context.Context, audit.Event)] // for events, without Audit
	moves    *limit.Limiter                                     // notices of new networks, by grant
	noes     *limit.Limiter                                     // deeds that were refused, by grant
	erased   pseudonyms.Names                                   // of accounts that are gone, for what comes later
	changes  *limit.Limiter                                     // deeds that changed something, by kind
	routine  *limit.Limiter                                     // other deeds, by kind
	humans   *limit.Limiter                                     // looks for the account of who sees the page
	looks    atomic.Int64                                       // of those that are under way
}

// OwnerApproval returns a Policy that keeps grants in store.
func OwnerApproval(store Store) *Policy {
	p := &Policy{
		store: store, filing: make(turn, 1), shadow: newShadow(),
		moves: limit.New(maxMoves, time.Hour), noes: limit.New(maxNoes, time.Hour),
		changes: limit.New(maxChanges, 24*time.Hour), routine: limit.New(maxRoutine, 24*time.Hour), humans: limit.New(1, time.Hour),
		warned: limit.New(1, 24*time.Hour), english: sync.OnceValue(messages.English),
		erased: pseudonyms.Names{Lifetime: settings.MaxLifetime}, // of whichever relying party
	}
	p.post = newPost(p)
	lost := func(why string) { p.logger().Error("grants: audit event lost", "why", why) }
	p.trail, p.aside = sink.New(p.deliver, lost), sink.New(p.deliver, lost)
	return p
}

// maxPendingFor is the most that PendingFor can be.
const maxPendingFor = 7 * 24 * time.Hour

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
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		if !wiring.IsAction(name) {
			bad("Actions: %q is not the name of an action", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Approvals)) {
		if !wiring.IsAction(name) {
			bad("Approvals: %q is not the name of an action", name)
		}
		if _, offered := p.Actions[name]; offered {
			bad("Approvals: %q is in Actions too, which an owner can allow for good", name)
		}
	}
	errs = append(errs, p.checkAllowances()...)
	if slices.Contains(p.ApproveByConsent, "") || p.OwnerStartedOnly && len(p.ApproveByConsent) > 0 {
		bad("ApproveByConsent: has to be a list of issuers, and has no effect with OwnerStartedOnly")
	}
	if e := p.DangerouslyApproveByEmail; e != nil {
		errs = append(errs, e.check())
		p.logger().Warn("grants: agents are admitted by their owner's e-mail address alone (DangerouslyApproveByEmail)",
			"issuers", e.Issuers, "domains", e.Domains)
	}
	return errors.Join(errs...)
}

// CheckAction says what is wrong with the action of a guarded route, such as one that
// no owner could ever allow. The guard is RequireAction or, with each, RequireApproval.
// See [authagent.LinkPolicy].
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

func (p *Policy) logger() *slog.Logger { return logs.Safe(cmp.Or(p.Logger, slog.Default())) }

func (p *Policy) path() string { return cmp.Or(p.Path, "/account/agents/") }

func (p *Policy) pendingFor() time.Duration { return cmp.Or(p.PendingFor, 24*time.Hour) }

func (p *Policy) approvedFor() time.Duration { return cmp.Or(p.ApprovedFor, 90*24*time.Hour) }

func (p *Policy) actionFor() time.Duration { return cmp.Or(p.ActionFor, time.Hour) }

func (p *Policy) maxAgents() int { return cmp.Or(p.MaxAgents, 10) }

func (p *Policy) maxNotices() int { return cmp.Or(p.MaxNotices, 3) }

func (p *Policy) maxActions() int { return cmp.Or(p.MaxActions, 20) }

// actionText is what a human is told that an action is.
func (p *Policy) actionText(name string) string {
	return cmp.Or(p.words(name), strings.ReplaceAll(name, ":", ": "))
}

// words are those that the site has for an action, if it has any.
func (p *Policy) words(name string) string { return cmp.Or(p.Actions[name], p.Approvals[name]) }
