package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/panics"
)

// What an agent is told does not depend on whether there is an account, and the
// time that it takes must not either: LNK-11. Filing a request shares the store,
// its database and the machine with this answer and the next ones. So the same
// calls are made in the same order for every address, whether an account has it or
// not, and whatever its owner decided: Privileged and, in the account's turn, OwnerGrants,
// CreateGrant and UpdateGrant, and then one event. Where there is nothing to file, they are made for a
// shadow: one grant for each Policy, of no agent, for an account that does not exist. It is pending and
// has expired, so that a store that forgets such requests forgets it as well.
//
// No answer waits for any of it. The events have a goroutine of their own, and
// notices another one.

// A request is one that waits to be filed.
type request struct {
	ctx context.Context
	authagent.LinkRequest
}

func newShadow() Grant {
	return Grant{
		ID: newID(), Version: 1, Agent: authagent.Agent{Issuer: "none", ID: newID()}, Scenario: "none", UserID: newID(),
		State: Pending, Access: authagent.AccessNone, Name: "no agent: see LNK-11",
	}
}

// ask has an agent's request put before the owner of the account, in the
// background.
func (p *Policy) ask(ctx context.Context, r authagent.LinkRequest) {
	lost, start := p.requests.add(cmp.Or(r.Subject, r.Email), request{context.WithoutCancel(ctx), r})
	for _, r := range lost {
		p.dropped(r.ctx, r.LinkRequest, "too many requests wait to be filed")
	}
	if start {
		p.under.Go(p.fileAll)
	}
}

func (p *Policy) fileAll() {
	for {
		r, ok := p.requests.next()
		if !ok {
			return
		}
		p.filing <- struct{}{}
		p.do(r.ctx, func(ctx context.Context) error { return p.file(ctx, r.LinkRequest) })
		p.filing.give()
	}
}

// file puts an agent's request before the owner of the account, once for each
// agent and within limits, or does the same work in vain. The caller has the turn
// of p.filing.
func (p *Policy) file(ctx context.Context, r authagent.LinkRequest) error {
	if r.User != nil && p.isErased(r.User.ID) { // while the request waited
		r.User, r.NoUser = nil, "the account was erased"
	}
	privileged, unknown := p.privilegedFor(ctx, r)
	var g Grant
	var refusal string
	err := p.inTurn(ctx, p.userOf(r), func(ctx context.Context, store Store) (err error) {
		g, refusal, err = p.fileIn(ctx, store, r, privileged, unknown != nil)
		return err
	})
	if err = errors.Join(unknown, err); err != nil {
		refusal = cmp.Or(refusal, "the store failed")
	}
	if refusal != "" {
		p.dropped(ctx, r, refusal)
		return err
	}
	p.meter().AskedOwner(meter.Asked)
	p.auditAside(ctx, eventOf(EventPending, g, ""))
	p.notify(ctx, Notice{Kind: EventPending, UserID: g.UserID, Grant: &g, From: r.RemoteAddr})
	return nil
}

// fileIn does what file does in the account's turn. It says why the request is dropped, if so.
func (p *Policy) fileIn(ctx context.Context, store Store, r authagent.LinkRequest, privileged, unknown bool) (g Grant, refusal string, err error) {
	all, err := store.OwnerGrants(ctx, p.userOf(r))
	if err != nil {
		err = fmt.Errorf("find grants of account: %w", err)
	}
	refusal = p.refusal(r, all, privileged, unknown || err != nil)
	want, have := p.shadow, Grant{}
	want.RequestedAt, want.ExpiresAt = time.Now(), time.Now()
	if refusal == "" {
		want, have = p.asFiled(r, all)
	}
	g, failed := write(ctx, store, p.shadow, want, have)
	if err == nil && errors.Is(failed, authagent.ErrConflict) { // and nothing is wrong with the store
		return g, cmp.Or(refusal, "another instance has filed it"), nil
	}
	return g, refusal, errors.Join(err, failed)
}

// userOf returns the account that a request is for; without one the shadow's, where what is done tells nothing.
func (p *Policy) userOf(r authagent.LinkRequest) string {
	if r.User != nil {
		return r.User.ID
	}
	return p.shadow.UserID
}

// privilegedFor reports whether the account that a request is for is privileged.
func (p *Policy) privilegedFor(ctx context.Context, r authagent.LinkRequest) (privileged bool, err error) {
	err = panics.Catch(func() (err error) { privileged, err = p.isPrivileged(ctx, p.userOf(r)); return err })
	if r.User == nil {
		return false, nil
	}
	return privileged, err
}

// asFiled is the grant that a request is filed as, and the one whose place it takes, if
// any.
func (p *Policy) asFiled(r authagent.LinkRequest, all []Grant) (want, have Grant) {
	want = newGrant(r, Pending, p.pendingFor())
	want.Nickname = nicknameOf(all, want)
	if i := slices.IndexFunc(all, same(r)); i >= 0 {
		have = all[i]
		want.Era, want.AskedBefore = have.anew(), have.askedBefore()
		if have.letIn() {
			want.DecidedAt = have.DecidedAt // so that it goes on holding the agent
		}
	}
	return want, have
}

// refusal says why a request is not put before the owner of the account, which has
// all these grants, if so.
func (p *Policy) refusal(r authagent.LinkRequest, all []Grant, privileged, failed bool) string {
	have := slices.IndexFunc(all, same(r))
	switch {
	case p.OwnerStartedOnly:
		return "only an owner may connect an agent (OwnerStartedOnly)"
	case r.User == nil:
		return cmp.Or(r.NoUser, "there is no account to enter")
	case failed:
		return "the store or Privileged failed"
	case have >= 0 && all[have].Now() == Pending:
		return "the request waits for the owner already"
	case have >= 0 && all[have].claimed():
		return "the owner is letting the agent in"
	case have >= 0 && all[have].Now() != Expired:
		return "the owner has decided already: " + string(all[have].Now())
	case privileged:
		return "the account is privileged"
	}
	return cmp.Or(p.hasEnough(all), p.mayBeAsked(all))
}

// write stores g, in the place of an expired request of the same agent, if there is
// one. It makes the same two calls in any case.
func write(ctx context.Context, store Store, shadow, g, expired Grant) (Grant, error) {
	have, created, err := store.CreateGrant(ctx, g)
	if err != nil {
		return Grant{}, fmt.Errorf("file request: %w", err)
	}
	change := g
	switch {
	case created: // nothing is left to be changed, and nothing is
		change = shadow
		change.ID = change.Agent.ID
	case g.UserID == shadow.UserID:
		change.ID, change.Version = have.ID, have.Version
	default: // without an expired one, another instance was faster: a conflict
		change.ID, change.Version = cmp.Or(expired.ID, shadow.Agent.ID), expired.Version
	}
	changed, err := store.UpdateGrant(ctx, change)
	switch {
	case created:
		return have, nil
	case err != nil:
		return Grant{}, fmt.Errorf("file request: %w", err)
	}
	return changed, nil
}

// dropped records a request that no owner will hear of.
func (p *Policy) dropped(ctx context.Context, r authagent.LinkRequest, why string) {
	e := audit.Event{
		Name: EventDropped, Issuer: r.Agent.Issuer, Agent: r.Agent, Scenario: r.Scenario, RemoteAddr: r.RemoteAddr,
		Outcome: audit.Refused, Detail: why,
	}
	outcome := meter.NoAccount
	if r.User != nil {
		e.UserID, outcome = r.User.ID, meter.Dropped
	}
	p.meter().AskedOwner(outcome)
	p.auditAside(ctx, e)
}
