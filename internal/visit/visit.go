// Package visit attaches to a request who sends it, as far as the relying parties of a site
// know.
package visit

import "context"

// A Visitor is who sends a request, as far as a relying party knows.
type Visitor[S any] struct {
	Session *S     // of the agent; nil if no agent is signed in
	Former  *S     // a session that has ended, if it may go on elsewhere: with a copy of the cookie, or at another relying party
	Human   string // whom Config.Human named, whatever else the browser has
	Asked   bool   // whether Config.Human was asked
	Ended   bool   // the browser has the cookie of a session that has ended
	Paused  bool   // the agent's session waits until agents are let in again
}

// Person returns the human who is recognised. Beside an agent's session, even an ended one,
// nobody is.
func (v Visitor[S]) Person() string {
	if v.Session != nil || v.Ended {
		return ""
	}
	return v.Human
}

// Attached is a request's context and what a middleware of a relying party adds to it. Nil
// is what no middleware has added to.
type Attached[P comparable, S any] struct {
	context.Context
	Party   P
	Before  *Attached[P, S] // of another relying party of the same site, or of an outer middleware
	Visitor Visitor[S]
	Allowed bool // the request performs an action that the session may perform
	Begun   bool // it is on record that the request changes something
}

type key struct{}

// To returns what was attached last.
func To[P comparable, S any](ctx context.Context) *Attached[P, S] {
	a, _ := ctx.Value(key{}).(*Attached[P, S])
	return a
}

// Value returns a itself for its key, and what the request's context has for others.
func (a *Attached[P, S]) Value(of any) any {
	if of == (key{}) {
		return a
	}
	return a.Context.Value(of)
}

// By returns what a relying party has attached last.
func (a *Attached[P, S]) By(party P) *Attached[P, S] {
	for a != nil && a.Party != party {
		a = a.Before
	}
	return a
}

// Session returns the agent's session, or nil: of several relying parties, that of the
// innermost which knows the agent.
func (a *Attached[P, S]) Session() *S {
	for ; a != nil; a = a.Before {
		if s := a.Visitor.Session; s != nil {
			return s
		}
	}
	return nil
}

// Person returns the human who is recognised, or "". Whoever knows more was asked later.
func (a *Attached[P, S]) Person() string {
	for ; a != nil; a = a.Before {
		if person := a.Visitor.Person(); person != "" || a.Visitor.Session != nil {
			return person
		}
	}
	return ""
}

// Elsewhere reports whether another relying party has seen a session that has ended, or with
// alive one that holds. That party may know no people, and have let the request pass.
func (a *Attached[P, S]) Elsewhere(party P, alive bool) bool {
	for ; a != nil; a = a.Before {
		if a.Party != party && (a.Visitor.Ended || alive && a.Visitor.Session != nil) {
			return true
		}
	}
	return false
}
