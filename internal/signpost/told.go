package signpost

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/authagent-go/authagent/internal/permit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/provider"
)

// Told returns the problems of which agents are told beforehand.
func Told() (problems []Problem) {
	for _, row := range reasons.All() {
		if row.Has(reasons.Told) {
			problems = append(problems, Problem{Code: row.Code, Status: row.Status, Title: row.Title, Detail: row.Detail})
		}
	}
	return problems
}

// With returns s with what follows from how the site talks to its server.
func (s *Site) With(p provider.Settings) *Site {
	s.Label, s.ByUser, s.People = p.ButtonLabel, p.SubjectIsUser, p.OnPerson != nil
	return s
}

// A Scope is what a scope of the server allows at most.
type Scope struct {
	Access  string   `json:"access"` // "none", "read" or "full"
	Actions []string `json:"actions,omitempty"`
}

// Scopes returns what there is to say of permissions, and nil if there are none.
func Scopes[A interface {
	permit.Access
	fmt.Stringer
}](permissions permit.Map[A]) map[string]Scope {
	if permissions == nil {
		return nil
	}
	scopes := make(map[string]Scope, len(permissions))
	for scope, p := range permissions {
		scopes[scope] = Scope{Access: p.Access.String(), Actions: slices.Sorted(slices.Values(p.Actions))}
	}
	return scopes
}

// scopesAllowAll reports whether there are agents whom their scopes do not limit.
func (s *Site) scopesAllowAll() bool {
	if s.Scopes == nil {
		return true
	}
	for _, scope := range s.Scopes {
		if scope.Access == "full" {
			return true
		}
	}
	return false
}

// scopesAllow reports whether a scope allows an action by its name.
func (s *Site) scopesAllow(action string) bool {
	for _, scope := range s.Scopes {
		if slices.Contains(scope.Actions, action) {
			return true
		}
	}
	return false
}

// scopes says what each scope allows, and what to do about one that is missing.
func (s *Site) scopes() []string {
	if len(s.Scopes) == 0 {
		return nil
	}
	lines := []string{"The scopes that the authorization server grants you limit this: you may do at most what they allow together." +
		" Actions need a scope that lets you read as well.", ""}
	for _, name := range slices.Sorted(maps.Keys(s.Scopes)) {
		lines = append(lines, "- `"+name+"`: "+s.Scopes[name].says())
	}
	return append(lines, "", "The error insufficient_scope means that you lack a scope. Have your owner grant it at the authorization server, then sign in again.", "")
}

// says names the actions too, except where all are allowed.
func (s Scope) says() string {
	switch actions := "the actions " + strings.Join(s.Actions, ", "); {
	case len(s.Actions) == 0 && s.Access == "none":
		return "nothing"
	case len(s.Actions) == 0 || s.Access == "full":
		return s.Access
	case s.Access == "none":
		return actions
	default:
		return s.Access + ", and " + actions
	}
}
