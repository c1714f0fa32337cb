// Package scenario has the names of the scenarios of package authagent. A name is all
// that sessions, grants and profiles keep of a scenario.
package scenario

// The names of those that know the account of an agent.
const (
	FullAccount       = "FullAccount"
	ContextualProfile = "ContextualProfile"
)

// MayHaveFull reports whether full access would mean anything in the scenario of that
// name. A scenario of the site's own may give it.
func MayHaveFull(name string) bool { return name != ContextualProfile }
