package grants

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/authagent-go/authagent/audit"
)

// In which words owners are told of an event is in package messages (mail.txt), and when, in
// Notice.rank and Notice.isCalm. What the page says of what an agent has done is in its
// template ("deed").

// The events of this package, for Policy.Audit, and the kinds of notices.
const (
	EventPending          audit.Name = "link_pending"    // an agent asks to enter an account
	EventDropped          audit.Name = "link_dropped"    // the agent asks, but the owner is not asked; Detail says why, for the operator alone
	EventApproved         audit.Name = "link_approved"   // the owner lets it in
	EventChanged          audit.Name = "link_changed"    // the owner changes what it may do
	EventDenied           audit.Name = "link_denied"     // the owner does not let it in
	EventSuspended        audit.Name = "link_suspended"  // its e-mail address has changed, or the owner wants it to stop
	EventRevoked          audit.Name = "link_revoked"    // the owner no longer lets it in
	EventActionAsked      audit.Name = "action_asked"    // it wants to do something that the owner has to approve
	EventActionApproved   audit.Name = "action_approved" // Detail is what the owner was told that it does; see Policy.Describe
	EventActionDenied     audit.Name = "action_denied"
	EventAllowed          audit.Name = "allowance_set"     // the owner allows it something up to an amount, or changes that
	EventAllowanceStopped audit.Name = "allowance_stopped" // the owner no longer does, or the agent was stopped
	EventGivenBack        audit.Name = "action_given_back" // an action was let through, and nothing was done
	EventUnknown          audit.Name = "action_unknown"    // an action was let through, and nobody knows whether it was performed
	EventSettled          audit.Name = "action_settled"    // the owner has said whether it was; Detail is the outcome
	EventFirstUse         audit.Name = "link_first_used"   // it acts for the first time
	EventNewNetwork       audit.Name = "link_new_network"  // it acts from a network that it has not used before
	EventExpiring         audit.Name = "link_expiring"     // its approval ends soon; for notices alone, as are the two above
	EventDigest           audit.Name = "digest"            // several things that are not urgent; for notices alone
	EventRenamed          audit.Name = "link_renamed"      // the owner calls it something else
	EventHidden           audit.Name = "link_hidden"       // the owner does not want to see it any more; it decides nothing
	EventRules            audit.Name = "rules_changed"
	EventPaused           audit.Name = "agents_paused" // the kill switch
	EventResumed          audit.Name = "agents_resumed"
	EventNotConfirmed     audit.Name = "confirmation_failed" // a proof that the owner is there in person was not accepted; nothing was decided
	EventUnknownHuman     audit.Name = "human_unknown"       // Config.Human returns an ID that the UserStore does not know
)

func eventOf(name audit.Name, g Grant, humanID string) audit.Event {
	return audit.Event{
		Name: name, Issuer: g.Agent.Issuer, Agent: g.Agent, UserID: g.UserID, HumanID: humanID, GrantID: g.ID, Scenario: g.Scenario,
		Access: g.Access.String(), RemoteAddr: g.RequestedFrom,
	}
}

// changed tells everybody that a grant has changed, and why. humanID is who did it, empty
// for the package itself.
func (p *Policy) changed(ctx context.Context, event audit.Name, g Grant, humanID string, cause Cause) {
	e := eventOf(event, g, humanID)
	e.Detail = string(cause)
	p.audit(ctx, e)
	p.notify(ctx, Notice{Kind: event, UserID: g.UserID, Grant: &g, Cause: cause})
}

func (p *Policy) audit(ctx context.Context, e audit.Event) {
	p.pass(context.WithoutCancel(ctx), p.log(ctx, e))
}

// auditAside is audit for what happens in the background. It waits for nobody, and
// nobody waits for it.
func (p *Policy) auditAside(ctx context.Context, e audit.Event) {
	e = p.log(ctx, e)
	if p.auditFunc() != nil {
		p.aside.Add(delivery{context.WithoutCancel(ctx), e})
	}
}

func (p *Policy) log(ctx context.Context, e audit.Event) audit.Event {
	e.Time, e.Count = time.Now().UTC(), 1
	e.Outcome = cmp.Or(e.Outcome, audit.OK)
	e = p.erased.In(e)
	if logger := p.logger(); logger.Enabled(ctx, slog.LevelInfo) { // under the keys that a relying party's events have
		logger.LogAttrs(ctx, slog.LevelInfo, "grants: "+string(e.Name), e.LogValue().Group()...)
	}
	return e
}

// pass passes an event on to the audit trail, and starts nothing where there is none.
func (p *Policy) pass(ctx context.Context, e audit.Event) {
	if p.auditFunc() != nil {
		p.trail.Deliver(delivery{ctx, e})
	}
}

// auditFunc is Policy.Audit or, without it, the Config.Audit of the first relying party
// that has one.
func (p *Policy) auditFunc() func(context.Context, audit.Event) {
	if p.Audit != nil {
		return p.Audit
	}
	if first := p.fallback.Load(); first != nil {
		return *first
	}
	return nil
}

// delivery is an event on its way to the audit trail.
type delivery struct {
	ctx   context.Context
	event audit.Event
}

// deliver asks again whether the account was erased: the event may have waited.
func (p *Policy) deliver(d delivery) { p.auditFunc()(d.ctx, p.erased.In(d.event)) }
