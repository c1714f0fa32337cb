// Package permit says what an agent may do at most by the scopes that the server has granted it.
package permit

import (
	"cmp"
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
					return fmt.Errorf("%q allows %s: %w", scope, name, err)
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

// Grants refuses an action that no scope allows, so that no owner is asked about it. full is the access
// that includes all actions.
func (m Map[A]) Grants(scopes []string, action string, full A) error {
	if m.allows(scopes, action, 0, full) {
		return nil
	}
	return m.refuse(scopes, action, 0, full, "no scope that the server has granted allows "+action)
}

// Reaches refuses access that no scope gives.
func (m Map[A]) Reaches(scopes []string, access, full A) error {
	if m.allows(scopes, "", access, full) {
		return nil
	}
	return m.refuse(scopes, "", access, full, "no scope that the server says it has granted allows that much (Config.Permissions)")
}

func (m Map[A]) refuse(scopes []string, action string, access, full A, why string) error {
	return &failure.Failure{
		Cause:  failure.New(reasons.InsufficientScope, "read scope", "%s", why),
		Scopes: m.Needed(scopes, action, access, full),
	}
}

// allows reports whether scopes allow an action, if it is not empty, and access.
func (m Map[A]) allows(scopes []string, action string, access, full A) bool {
	most, limits := m.Most(scopes)
	return !limits || most.Access >= access && (action == "" || most.Access == full || most.Access > 0 && slices.Contains(most.Actions, action))
}

// Needed returns all scopes that an agent needs for an action, if it is not empty, and access: those it
// has, and of the others the ones that allow the least. It is nil if no scopes allow that.
func (m Map[A]) Needed(have []string, action string, access, full A) []string {
	have = m.Kept(have)
	if m.allows(have, action, access, full) {
		return have
	}
	more := slices.DeleteFunc(m.Scopes(), func(scope string) bool { return slices.Contains(have, scope) })
	slices.SortStableFunc(more, func(a, b string) int {
		return cmp.Or(cmp.Compare(m[a].Access, m[b].Access), cmp.Compare(len(m[a].Actions), len(m[b].Actions)))
	})
	for i, scope := range more {
		if with := append(slices.Clone(have), scope); m.allows(with, action, access, full) {
			return with
		}
		for _, other := range more[:i] { // such as one that reads beside one that names the action
			if with := append(slices.Clone(have), other, scope); m.allows(with, action, access, full) {
				return with
			}
		}
	}
	return nil
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
