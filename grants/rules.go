package grants

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/problem"
)

// Rules are a site's rules for all agents. The zero value lets everybody in. Lists
// match exactly. Domains are in ASCII, and their case does not matter. An agent that is
// on both an Allow and a Deny list stays out.
type Rules struct {
	// Paused is the kill switch: no agent signs in, and no session of one is
	// served, until it is off again. Humans are not touched.
	Paused bool `json:"paused"`

	// AllowIssuers, AllowAgents and AllowDomains let in only what they name, if
	// they name anything. Domains are those of the owner's e-mail address; a
	// scenario that does not ask for it lets nobody in while AllowDomains names any.
	AllowIssuers []string          `json:"allow_issuers,omitempty"`
	AllowAgents  []authagent.Agent `json:"allow_agents,omitempty"`
	AllowDomains []string          `json:"allow_domains,omitempty"`

	// DenyIssuers, DenyAgents and DenyDomains keep out what they name. While
	// DenyDomains names any, a scenario that asks for the address refuses an agent
	// whose address is not plain (see [authagent.ParseEmail]), because its domain is
	// not certain.
	DenyIssuers []string          `json:"deny_issuers,omitempty"`
	DenyAgents  []authagent.Agent `json:"deny_agents,omitempty"`
	DenyDomains []string          `json:"deny_domains,omitempty"`
}

func (r Rules) admitAgent(agent authagent.Agent) error {
	switch {
	case slices.Contains(r.DenyIssuers, agent.Issuer), slices.Contains(r.DenyAgents, agent),
		len(r.AllowIssuers) > 0 && !slices.Contains(r.AllowIssuers, agent.Issuer),
		len(r.AllowAgents) > 0 && !slices.Contains(r.AllowAgents, agent):
		return problem.Blocked
	}
	return nil
}

func (r Rules) admitEmail(email string) error {
	if hasDomain(r.DenyDomains, email) || len(r.AllowDomains) > 0 && !hasDomain(r.AllowDomains, email) {
		return problem.Blocked
	}
	return nil
}

// hasDomain reports whether one of domains is exactly the domain of a plain
// address in lower case.
func hasDomain(domains []string, email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return domain != "" && slices.ContainsFunc(domains, func(d string) bool { return claims.LowerASCII(d) == domain })
}

// Admit implements [authagent.Rules]: it holds every sign-in and every request of an
// agent to the rules in the Store. The kill switch and the rules about agents and
// issuers count on the next request at every instance. The rules about domains count on
// the next sign-in.
func (p *Policy) Admit(ctx context.Context, agent authagent.Agent, email func() (string, error)) error {
	p.obeyed.Store(true)
	rules, err := p.store.Rules(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("grants: read rules: %w", err)
	case rules.Paused:
		return problem.Paused
	case agent == authagent.Agent{}: // nobody is known yet
		return nil
	}
	err = rules.admitAgent(agent)
	if err != nil || email == nil || len(rules.AllowDomains) == 0 && len(rules.DenyDomains) == 0 {
		return err
	}
	address, err := email()
	if err != nil {
		return err
	}
	return rules.admitEmail(address)
}

// SetRules replaces the rules of the site and records who did. It is for the site's own
// administration: the site controls who may call it.
//
// It also works in a process without a relying party, such as a tool: all relying
// parties that read the Store obey the rules on the next request. In such a process it
// logs a warning, because nothing there obeys the rules. A relying party reads them if
// p is its scenario's LinkPolicy or its Config.Rules.
func (p *Policy) SetRules(ctx context.Context, humanID string, r Rules) error {
	before, err := p.store.Rules(ctx)
	if err == nil {
		err = p.store.SetRules(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("grants: set rules: %w", err)
	}
	event := EventRules
	switch {
	case r.Paused && !before.Paused:
		event = EventPaused
	case before.Paused && !r.Paused:
		event = EventResumed
	}
	p.audit(ctx, audit.Event{Name: event, HumanID: humanID})
	if !p.obeyed.Load() {
		p.logger().WarnContext(ctx, "grants: the rules are stored, and no relying party of this process reads them: "+
			"make this Policy the LinkPolicy of its scenario or its Config.Rules, unless they are read elsewhere")
	}
	return nil
}
