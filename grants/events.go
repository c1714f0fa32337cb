package grants

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/limit"
)

// The events of this package, for Policy.Audit, and the kinds of notices.
const (
	EventPending        audit.Name = "link_pending"   // an agent asks to enter an account
	EventDropped        audit.Name = "link_dropped"   // and the owner is not asked: Detail says why, for the operator alone
	EventApproved       audit.Name = "link_approved"  // the owner lets it in
	EventChanged        audit.Name = "link_changed"   // and lets it do something else
	EventDenied         audit.Name = "link_denied"    // the owner does not let it in
	EventSuspended      audit.Name = "link_suspended" // its e-mail address has changed, or the owner wants it to stop
	EventRevoked        audit.Name = "link_revoked"   // the owner no longer lets it in
	EventActionAsked    audit.Name = "action_asked"   // it wants to do something that the owner has to approve
	EventActionApproved audit.Name = "action_approved"
	EventActionDenied   audit.Name = "action_denied"
	EventFirstUse       audit.Name = "link_first_used"  // it acts for the first time
	EventNewNetwork     audit.Name = "link_new_network" // it acts from a network that it has not used before
	EventRules          audit.Name = "rules_changed"
	EventPaused         audit.Name = "agents_paused" // the kill switch
	EventResumed        audit.Name = "agents_resumed"
	EventUnknownHuman   audit.Name = "human_unknown" // Config.Human returns an ID that the UserStore does not know
)

// A Notice is something that an owner should hear of.
type Notice struct {
	Kind     audit.Name // EventPending, EventApproved, EventSuspended, EventActionAsked and so on
	UserID   string     // whom to tell
	Grant    *Grant     // what it is about, or
	Approval *Approval  // the single action
	Action   string     // what Policy.Approvals or Policy.Actions says of it; empty if they say nothing
	Path     string     // where on the site to see and decide it, signed in

	// Count is how many of its kind it tells of. Of several, Grant or Approval is the
	// first; the page has all.
	Count int
}

// Text says in plain English what has happened. All of it is the site's and
// constant but for the agent's ID, which whoever registered the agent has chosen: one that is not a
// short plain word, and could have a text or an address of its own in it, is left out.
func (n Notice) Text() string {
	switch {
	case n.Count == 2:
		return n.text() + " There is one more notice of this kind."
	case n.Count > 2:
		return n.text() + " There are " + strconv.Itoa(n.Count-1) + " more notices of this kind."
	}
	return n.text()
}

func (n Notice) text() string {
	agent := "agent"
	switch {
	case n.Grant != nil:
		agent = named(n.Grant.Agent.ID)
	case n.Approval != nil:
		agent = named(n.Approval.Agent.ID)
	}
	switch n.Kind {
	case EventPending:
		return "The " + agent + " asks to act in your account. Nothing is open to it unless you approve it."
	case EventApproved:
		return "The " + agent + " may now act in your account."
	case EventChanged:
		return "What the " + agent + " may do in your account has been changed."
	case EventDenied:
		return "The " + agent + " was refused."
	case EventSuspended:
		return "The " + agent + " has been stopped: its owner's e-mail address has changed, or you suspended it. Approve it anew if it is still yours."
	case EventRevoked:
		return "The " + agent + " may no longer act in your account."
	case EventActionAsked:
		if n.Action != "" {
			return "The " + agent + " wants to do something that needs your approval: " + n.Action + "."
		}
		return "The " + agent + " wants to do something that needs your approval."
	case EventFirstUse:
		return "The " + agent + " acts in your account for the first time."
	case EventNewNetwork:
		return "The " + agent + " acts in your account from a new network address."
	}
	return "There is news about the " + agent + "."
}

// maxNamed is how long an ID may be that is named in a mail.
const maxNamed = 24

// named is "agent" and its ID, if that is nothing but a short word, or two: a mail that
// says "agent Win_at_evil_example asks ..." would be an attacker's, in the site's name.
func named(id string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	parts := strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' })
	if len(id) > maxNamed || len(parts) < 1 || len(parts) > 2 || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return "agent"
	}
	return "agent " + id
}

// changed tells everybody that a grant has changed. humanID is who did it, empty
// for the package itself.
func (p *Policy) changed(ctx context.Context, event audit.Name, g Grant, humanID string) {
	p.audit(ctx, eventOf(event, g, humanID))
	p.notify(ctx, Notice{Kind: event, UserID: g.UserID, Grant: &g})
}

func eventOf(name audit.Name, g Grant, humanID string) audit.Event {
	return audit.Event{
		Name: name, Issuer: g.Agent.Issuer, Agent: g.Agent, UserID: g.UserID, HumanID: humanID, GrantID: g.ID, Scenario: g.Scenario,
		Access: g.Access.String(), RemoteAddr: g.RequestedFrom,
	}
}

// dropped records a request that no owner will hear of.
func (p *Policy) dropped(ctx context.Context, r authagent.LinkRequest, why string) {
	e := audit.Event{
		Name: EventDropped, Issuer: r.Agent.Issuer, Agent: r.Agent, Scenario: r.Scenario, RemoteAddr: r.RemoteAddr,
		Outcome: audit.Refused, Detail: why,
	}
	if r.User != nil {
		e.UserID = r.User.ID
	}
	p.auditAside(ctx, e)
}

// findHuman leaves an event, once an hour, where the site's Human returns an ID that
// its UserStore does not know: no agent's request could ever get to the page.
func (p *Policy) findHuman(ctx context.Context, rp *authagent.RelyingParty, humanID string) {
	if p.humans.Allow(humanID) > 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	p.under.Go(func() {
		p.do(ctx, func(ctx context.Context) error {
			switch _, err := rp.FindUser(ctx, humanID); {
			case errors.Is(err, authagent.ErrNotFound):
				p.auditAside(ctx, audit.Event{
					Name: EventUnknownHuman, HumanID: humanID, Outcome: audit.Failed,
					Detail: "Config.Human returns an ID that the UserStore does not know (UserByID); no agent can ask for an account with it",
				})
			case err != nil && !errors.Is(err, errors.ErrUnsupported):
				return err
			}
			return nil
		})
	})
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
	e.Outcome = or(e.Outcome, audit.OK)
	p.logger().InfoContext(ctx, "grants: "+string(e.Name), "event", e)
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

func (p *Policy) deliver(d delivery) { p.auditFunc()(d.ctx, d.event) }

// Observer is for [authagent.New], which calls it: see [authagent.LinkPolicy]. What it
// returns keeps what agents do, for their owners to see. No event reaches one audit
// function twice: those of the relying party go to its Config.Audit, here site, and to
// Policy.Audit where that is not set; those of the Policy the other way round.
func (p *Policy) Observer(site func(context.Context, audit.Event)) func(context.Context, audit.Event) {
	p.obeyed.Store(true)
	if site != nil {
		p.fallback.CompareAndSwap(nil, &site)
	}
	return func(ctx context.Context, e audit.Event) {
		if err := protect(func() error { return p.record(ctx, e) }); err != nil {
			p.logger().Warn("grants: could not record what an agent did", "event", e.Name, "err", err)
		}
		if site == nil {
			p.pass(ctx, e)
		}
	}
}

func (p *Policy) record(ctx context.Context, e audit.Event) error {
	if e.Name == audit.SessionEnded {
		if err := p.store.EndActivity(ctx, e.SessionID); err != nil {
			return err
		}
	}
	if e.UserID == "" || e.GrantID == "" || e.Outcome != audit.OK && p.noes.Allow(e.GrantID) > 0 {
		return nil
	}
	d := Deed{
		GrantID: e.GrantID, UserID: e.UserID, At: e.Time, Event: e.Name, Action: e.Action, Route: e.Route, Outcome: e.Outcome, Reason: e.Reason,
	}
	if p.repeats(e).Allow(strings.Join([]string{d.GrantID, string(d.Event), d.Action, d.Route, d.Outcome}, "\x00")) > 0 {
		return nil
	}
	return p.store.AddDeed(ctx, d)
}

// repeats bounds how often the same deed is recorded.
func (p *Policy) repeats(e audit.Event) *limit.Limiter {
	reads := e.Method == http.MethodGet || e.Method == http.MethodHead
	if e.Name == audit.ActionPerformed && e.Outcome == audit.OK && !reads {
		return p.changes
	}
	return p.routine
}

// kind is the same for deeds that are the same to an owner, but for their time.
func (d Deed) kind() Deed {
	d.At, d.UserID, d.Reason = time.Time{}, "", ""
	return d
}

// shownDeeds returns what an owner is shown of deeds, the latest first. Of each grant
// each kind is there, whatever else the agent does, and however much others do.
func shownDeeds(all []Deed) (shown []Deed) {
	of, same := make(map[string]int), make(map[Deed]int)
	for _, d := range all {
		same[d.kind()]++
		if n := same[d.kind()]; n == 1 || n <= maxSame && of[d.GrantID] < maxDeeds {
			of[d.GrantID]++
			shown = append(shown, d)
		}
	}
	return shown
}

// seen remembers which sessions were recorded from which network within the last
// minute, so that a request costs a write now and then only. The zero value is ready.
type seen struct {
	mu    sync.Mutex
	at    map[string]time.Time
	swept time.Time
}

// first reports whether a session is seen from a network for the first time in a minute.
func (s *seen) first(session, network string, now time.Time) bool {
	id := session + " " + network
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string]time.Time)
	}
	if now.Sub(s.at[id]) < time.Minute {
		return false
	}
	if now.Sub(s.swept) > time.Minute {
		for old, at := range s.at {
			if now.Sub(at) > time.Minute {
				delete(s.at, old)
			}
		}
		s.swept = now
	}
	s.at[id] = now
	return true
}
