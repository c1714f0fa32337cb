package grants

import (
	"context"
	"fmt"
	"slices"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/problem"
)

// Rules are what a site lays down for all agents. The zero value lets everybody
// in. Lists match exactly; a domain in ASCII, whatever its case. An agent that
// is on both an Allow and a Deny list stays out.
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

	// DenyIssuers, DenyAgents and DenyDomains keep out what they name.
	DenyIssuers []string          `json:"deny_issuers,omitempty"`
	DenyAgents  []authagent.Agent `json:"deny_agents,omitempty"`
	DenyDomains []string          `json:"deny_domains,omitempty"`
}

func (r Rules) admitAgent(agent authagent.Agent) error {
	switch {
	case r.Paused:
		return problem.Paused
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

// Enforce returns a scenario that holds every sign-in and every request of an
// agent to the rules in rules, and is otherwise like s. What the rules say of
// agents and issuers, and the kill switch, counts on the next request at every
// instance; what they say of domains, on the next sign-in.
func Enforce(rules RuleStore, s authagent.Scenario) authagent.Scenario { return &enforced{s, rules} }

type enforced struct {
	authagent.Scenario
	rules RuleStore
}

// Unwrap returns the scenario that is held to the rules.
func (e *enforced) Unwrap() authagent.Scenario { return e.Scenario }

func (e *enforced) read(ctx context.Context) (Rules, error) {
	rules, err := e.rules.Rules(ctx)
	if err != nil {
		return Rules{}, fmt.Errorf("grants: read rules: %w", err)
	}
	return rules, nil
}

// CheckLogin is asked before a login starts.
func (e *enforced) CheckLogin(ctx context.Context) error {
	rules, err := e.read(ctx)
	switch checker, ok := as[interface{ CheckLogin(context.Context) error }](e.Scenario); {
	case err != nil:
		return err
	case rules.Paused:
		return problem.Paused
	case ok:
		return checker.CheckLogin(ctx)
	}
	return nil
}

// as returns the first of s and those that it wraps that is a T: a method of a
// wrapper hides that of what it wraps.
func as[T any](s authagent.Scenario) (found T, ok bool) {
	for s != nil {
		if found, ok = s.(T); ok {
			return found, true
		}
		wrapper, wraps := s.(interface{ Unwrap() authagent.Scenario })
		if !wraps {
			break
		}
		s = wrapper.Unwrap()
	}
	return found, false
}

// SignIn implements [authagent.Scenario].
func (e *enforced) SignIn(ctx context.Context, in *authagent.SignIn) (authagent.Principal, error) {
	if err := e.admit(ctx, in); err != nil {
		return authagent.Principal{}, err
	}
	return e.Scenario.SignIn(ctx, in)
}

// Connect passes on what the scenario can.
func (e *enforced) Connect(ctx context.Context, in *authagent.SignIn, userID string) error {
	connector, ok := as[interface {
		Connect(ctx context.Context, in *authagent.SignIn, userID string) error
	}](e.Scenario)
	if !ok {
		return fmt.Errorf("grants: scenario %s cannot connect agents", e.Name())
	}
	if err := e.admit(ctx, in); err != nil {
		return err
	}
	return connector.Connect(ctx, in, userID)
}

func (e *enforced) admit(ctx context.Context, in *authagent.SignIn) error {
	rules, err := e.read(ctx)
	if err == nil {
		err = rules.admitAgent(in.Agent)
	}
	if err != nil || len(rules.AllowDomains) == 0 && len(rules.DenyDomains) == 0 {
		return err
	}
	if !slices.Contains(e.Scopes(), "email") { // it is not asked for, so it must not be seen either
		return rules.admitEmail("")
	}
	owner, err := in.UserInfo(ctx)
	if err != nil {
		return err
	}
	return rules.admitEmail(owner.Email)
}

// CheckSession implements [authagent.SessionChecker].
func (e *enforced) CheckSession(ctx context.Context, s *authagent.Session) error {
	rules, err := e.read(ctx)
	if err == nil {
		err = rules.admitAgent(s.Agent)
	}
	if err != nil {
		return err
	}
	return e.Scenario.CheckSession(ctx, s)
}

// SetRules replaces the rules of the site and records who did. It is for the
// site's own administration, whose access control it leaves to the site.
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
	return nil
}
