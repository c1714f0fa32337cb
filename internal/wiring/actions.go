// Package wiring remembers which actions the routes of a site are guarded by, so
// that a name which nobody can ever allow is found.
package wiring

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// maxActions bounds what is remembered for a site that makes guards at run time.
const maxActions = 4096

// Actions are the actions that a site guards routes by. The zero value is ready. It
// is safe for concurrent use.
type Actions struct {
	mu    sync.Mutex
	known map[string]*Action
	order []*Action
}

// An Action is guarded by one kind of guard.
type Action struct {
	Guard, Name string

	check func() error
	once  sync.Once
}

// Add remembers an action, and returns the one that is remembered if it was added
// before. check says what is wrong with the name; it is called later, when the site
// is complete.
func (a *Actions) Add(guard, name string, check func() error) *Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := guard + " " + name
	if known := a.known[key]; known != nil {
		return known
	}
	added := &Action{Guard: guard, Name: name, check: check}
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

// Err says what is wrong with the name, nil for nothing. A check that panics says
// nothing about the name.
func (a *Action) Err() (err error) {
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

// AreNames reports whether all of names can name an action: none is empty or has white
// space in it.
func AreNames(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return name == "" || strings.ContainsFunc(name, unicode.IsSpace) })
}
