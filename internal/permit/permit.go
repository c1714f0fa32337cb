// Package permit says what an agent may do at most by the scopes that the server has granted it.
package permit

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/wiring"
)

// An Access is authagent.Access: more is greater, and nothing is 0.
type Access interface{ ~int8 }

// A Permission is authagent.Permission.
type Permission[A Access] struct {
	Access  A
	Actions []string
}

// A Map says what each scope allows. A nil Map limits nothing.
type Map[A Access] map[string]Permission[A]

// Of returns the Map of permissions of another type, and nil for nil.
func Of[A Access, P ~struct {
	Access  A
	Actions []string
}](permissions map[string]P) Map[A] {
	if permissions == nil {
		return nil
	}
	m := make(Map[A], len(permissions))
	for scope, p := range permissions {
		m[scope] = Permission[A](p)
	}
	return m
}

// Scopes returns the scopes that allow something, in order.
func (m Map[A]) Scopes() []string { return slices.Sorted(maps.Keys(m)) }

// Check returns what there cannot be: full is the greatest access, most what the scenario gives. policy
// may know which actions no owner could allow, for good or one request at a time (CheckAction).
func (m Map[A]) Check(full, most A, policy any) error {
	checker, knows := policy.(interface{ CheckAction(string, bool) error })
	for _, scope := range m.Scopes() {
		p := m[scope]
		if p.Access < 0 || p.Access > full || slices.ContainsFunc(p.Actions, func(name string) bool { return !wiring.IsAction(name) }) {
			return fmt.Errorf("%q allows an access or an action that there cannot be", scope)
		}
		for _, name := range p.Actions {
			if knows && checker.CheckAction(name, true) != nil {
				if err := checker.CheckAction(name, false); err != nil {
					return fmt.Errorf("%q allows %s, which no owner could: %w", scope, name, err)
				}
			}
		}
	}
	switch all, _ := m.Most(m.Scopes()); {
	case len(m) == 0:
	case most == 0:
		return errors.New("has no effect: the scenario gives no access to anybody's data")
	case all.Access == 0:
		return errors.New("no scope allows AccessRead, without which no agent can do anything")
	}
	return nil
}

// Most returns what scopes allow together, and whether anything is limited by scopes.
func (m Map[A]) Most(scopes []string) (most Permission[A], limits bool) {
	for _, scope := range scopes {
		p := m[scope]
		most.Access = max(most.Access, p.Access)
		most.Actions = append(most.Actions, p.Actions...)
	}
	return most, m != nil
}

// AtMost returns what is left of access for an agent that all scopes were granted to.
func (m Map[A]) AtMost(access A) A {
	if most, limits := m.Most(m.Scopes()); limits {
		return min(access, most.Access)
	}
	return access
}

// Grants refuses an action that no scope allows, so that no owner is asked about it.
func (m Map[A]) Grants(scopes []string, action string, full A) error {
	most, limits := m.Most(scopes)
	if !limits || most.Access == full || most.Access > 0 && slices.Contains(most.Actions, action) {
		return nil
	}
	return failure.New(reasons.InsufficientScope, "perform action", "no scope that the server has granted allows %s", action)
}

// Lower takes from access and actions what scopes do not allow, and from somebody without access all
// actions. full is the access that includes all actions.
func (m Map[A]) Lower(access *A, actions *[]string, scopes []string, full A) {
	if most, limits := m.Most(scopes); limits && most.Access < full {
		if *access == full {
			*actions = most.Actions
		}
		*access = min(*access, most.Access)
		*actions = slices.DeleteFunc(slices.Clone(*actions), func(name string) bool { return !slices.Contains(most.Actions, name) })
	}
	if *access == 0 {
		*actions = nil
	}
}

// Kept returns those of scopes that say something.
func (m Map[A]) Kept(scopes []string) []string {
	if m == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { _, counts := m[scope]; return !counts })
}
