// Package wiring knows the names of actions, and remembers which of them the routes of
// a site are guarded by, so that a name which nobody can ever allow is found.
package wiring

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// IsAction reports whether name can name an action.
func IsAction(name string) bool { return name != "" && !strings.ContainsFunc(name, unicode.IsSpace) }

// NeedsAccess panics if a guard is to demand an access that there is not, or none, which
// demands nothing.
func NeedsAccess(guard, access string) {
	if access != "read" && access != "full" {
		panic("authagent: " + guard + " needs AccessRead or AccessFull, and not " + strconv.Quote(access))
	}
}

// maxActions bounds what is remembered for a site that makes guards at run time.
const maxActions = 4096

// Actions are the actions that a site guards routes by. The zero value is ready. It
// is safe for concurrent use.
type Actions struct {
	mu    sync.Mutex
	known map[string]*Action
	order []*Action
}

// The guards that perform actions, by the names of the methods that make them.
const (
	ByName = "RequireAction"   // the owner allows the action for good
	Each   = "RequireApproval" // the owner approves each single request
)

// Within names those actions of Each, for Told, that an owner can allow up to an amount.
const Within = "within an amount"

// An allower is an Approver of Each that says so, such as grants.Policy.
type allower interface {
	Allows(name string) bool
}

// Told returns the names of the actions that a kind of guard guards, as agents are told
// of them: in the order of the alphabet, since routes are mounted in any. What no owner
// can allow by name is left out, so that no agent asks for it.
func (a *Actions) Told(guard string) (names []string) {
	a.Each(func(action *Action) {
		if guard == Within && action.allows() || action.Guard == guard && (guard != ByName || action.Err() == nil) {
			names = append(names, action.Name)
		}
	})
	slices.Sort(names)
	return names
}

// An Action is guarded by one kind of guard.
type Action struct {
	Guard, Name string

	approver any
	check    func() error
	once     sync.Once
}

// Add remembers an action, and returns the one that is remembered if it was added
// before. approver is who approves it, nil for nobody. check says what is wrong with the
// name; it is called later, when the site is complete.
func (a *Actions) Add(guard, name string, approver any, check func() error) *Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := guard + " " + name
	if known := a.known[key]; known != nil {
		return known
	}
	added := &Action{Guard: guard, Name: name, approver: approver, check: check}
	if len(a.order) < maxActions {
		if a.known == nil {
			a.known = make(map[string]*Action)
		}
		a.known[key], a.order = added, append(a.order, added)
	}
	return added
}

// Each calls f for each action in the order in which they were added.
func (a *Actions) Each(f func(*Action)) {
	a.mu.Lock()
	all := a.order[:len(a.order):len(a.order)]
	a.mu.Unlock()
	for _, action := range all {
		f(action)
	}
}

// allows reports whether an owner can allow the action up to an amount. An approver that
// panics allows nothing.
func (a *Action) allows() (yes bool) {
	defer func() { _ = recover() }()
	by, ok := a.approver.(allower)
	return ok && by.Allows(a.Name)
}

// String returns the name; empty for none.
func (a *Action) String() string {
	if a == nil {
		return ""
	}
	return a.Name
}

// Err says what is wrong with the name, nil for nothing. A nil Action has no name. A check that panics says
// nothing about the name.
func (a *Action) Err() (err error) {
	if a == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			err = errors.New("the check of the name panicked")
		}
	}()
	return a.check()
}

// First passes what is wrong with the name to report, at the first call.
func (a *Action) First(report func(error)) {
	a.once.Do(func() {
		if err := a.Err(); err != nil {
			report(err)
		}
	})
}
