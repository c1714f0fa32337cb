package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/problem"
)

// EmailApproval names the agents that enter an account without approval, because an
// authorization server says that their owner has the account's e-mail address. Accounts
// can be taken over in this way: whoever can write that address at the server gets in.
// Both lists are needed and match exactly. The account's owner is told, and gets a
// grant that can be revoked. The owner must have verified the address at the site.
type EmailApproval struct {
	Issuers []string // exactly as in Config.Issuer
	Domains []string // of the address, in ASCII; case does not matter
}

// check reports every setting that is wrong.
func (e *EmailApproval) check() error {
	var errs []error
	for _, setting := range [...]struct {
		name string
		list []string
	}{{"Issuers", e.Issuers}, {"Domains", e.Domains}} {
		if len(setting.list) == 0 || slices.ContainsFunc(setting.list, func(s string) bool { return s == "" || strings.Contains(s, "*") }) {
			errs = append(errs, fmt.Errorf("grants: DangerouslyApproveByEmail: %s has to be a list of exact names", setting.name))
		}
	}
	return errors.Join(errs...)
}

// covers reports whether r is let in without its owner, whose account r.User is.
func (e *EmailApproval) covers(r authagent.LinkRequest) bool {
	return e != nil && r.User.EmailVerified && slices.Contains(e.Issuers, r.Agent.Issuer) && hasDomain(e.Domains, r.Email)
}

// consented reports whether r is let in since its owner has consented at the server, which has named
// the agent and its scopes to them. The account is the one that the site has recorded for the
// server's user: an e-mail address does not lead there.
func (p *Policy) consented(r authagent.LinkRequest) bool {
	return r.BySubject && slices.Contains(p.ApproveByConsent, r.Agent.Issuer)
}

// noConsent says why ApproveByConsent lets in no agent of a site, where it is set. Nothing else would
// tell: without consent, the owner is asked.
func (p *Policy) noConsent(site authagent.Site) string {
	switch {
	case len(p.ApproveByConsent) == 0:
		return ""
	case !site.BySubject:
		return "it needs Provider.SubjectIsUser and a UserStore with UserBySubject"
	case !slices.Contains(p.ApproveByConsent, site.Issuer):
		return "no entry is equal to Config.Issuer, byte for byte"
	}
	return ""
}

// unasked says why r is let in without its owner, who is not asked here. It is empty if they are.
func (p *Policy) unasked(r authagent.LinkRequest) Cause {
	switch {
	case r.User == nil, p.OwnerStartedOnly:
		return ""
	case p.consented(r):
		return CauseConsent
	case p.DangerouslyApproveByEmail.covers(r):
		return CauseEmail
	}
	return ""
}

// approveUnasked lets an agent in without its owner, or has the owner asked.
func (p *Policy) approveUnasked(ctx context.Context, r authagent.LinkRequest, cause Cause) (authagent.Principal, error) {
	if err := p.filing.take(ctx); err != nil {
		return authagent.Principal{}, err
	}
	defer p.filing.give()
	if err := p.erased.Refuse(r.User.ID); err != nil { // EraseUser has had the turn
		return authagent.Principal{}, fmt.Errorf("grants: let agent in: %w", err)
	}
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
	return p.giveUnasked(ctx, r, cause)
}

// giveUnasked lets an agent in for which nothing speaks against it.
func (p *Policy) giveUnasked(ctx context.Context, r authagent.LinkRequest, cause Cause) (authagent.Principal, error) {
	want := newGrant(r, Approved, p.approvedFor())
	if cause == CauseConsent && r.Permitted != nil { // without, nobody has said what the scopes are good for
		want.Access, want.Actions = r.Access, p.offered(r.Permitted.Actions)
	}
	g, created, err := p.claimNew(ctx, want)
	switch {
	case err != nil:
		return authagent.Principal{}, err
	case created:
	case g.Now() == Approved && g.Email == r.Email: // another instance was faster
		return g.link(), nil
	case g.claimed() && g.Version == 1 && g.Email == r.Email: // another instance is about to; one of the two does
		if err := p.alone(ctx, g); err != nil {
			return authagent.Principal{}, err
		}
	default: // it was denied, revoked or has expired: from then on its owner is asked
		p.ask(ctx, r)
		return authagent.Principal{}, problem.ApprovalNeeded
	}
	want.ID, want.Version = g.ID, g.Version
	switch g, err = p.admit(ctx, want, g.lapsed()); {
	case errors.Is(err, errEnough):
		p.dropped(ctx, r, enough)
		return authagent.Principal{}, problem.ApprovalNeeded
	case errors.Is(err, authagent.ErrConflict):
		return p.linked(ctx, r)
	case err != nil:
		return authagent.Principal{}, fmt.Errorf("grants: approve agent: %w", err)
	}
	p.changed(ctx, EventApproved, g, "", cause)
	return g.link(), nil
}

// offered returns those of names that an owner could allow, once each.
func (p *Policy) offered(names []string) (offered []string) {
	for _, name := range names {
		if _, ok := p.Actions[name]; ok && !slices.Contains(offered, name) {
			offered = append(offered, name)
		}
	}
	return offered
}

// stopped reports whether the account's owner has said no to the agent before, in
// whatever scenario, or has yet to say yes to what waits or has expired, which may be in place
// of a no that ForgetAgent has undone; or whether the owner of another account has let it in.
// Then no address and no consent lets it into this one.
func (p *Policy) stopped(ctx context.Context, r authagent.LinkRequest) (bool, error) {
	all, err := p.agentGrants(ctx, r.Agent)
	if err != nil {
		return false, err
	}
	return heldElsewhere(all, Grant{UserID: r.User.ID, Subject: r.Subject}) || slices.ContainsFunc(all, func(g Grant) bool {
		return g.UserID == r.User.ID && g.Now() != Approved && !g.claimed()
	}), nil
}
