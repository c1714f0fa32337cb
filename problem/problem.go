// Package problem says why requests are refused and what has failed. A [Reason] says it
// in one word. An [Error] has what a site's log needs. A [Fault] says who has to do
// something about it. All of them are errors, for errors.Is:
//
//	if errors.Is(err, problem.NoAccount) { ... }
//
// A scenario, a policy, a session check or a handler of the site's own returns a Reason, or
// an error that wraps one, to refuse something. A reason of the site's own making, such as
// problem.Reason("not_in_this_country"), is answered with status 403.
//
// Reasons that have no constant here occur only in events, logs and answers. The table
// of all reasons is in docs/reasons.md.
package problem

import (
	"errors"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/reasons"
)

// A Reason says in one word why something was refused or failed. Reasons are stable.
// As errors they print with the name of the module before them; string(reason) is the
// bare code.
type Reason string

func (r Reason) Error() string { return prefix + string(r) }

// The reasons that a site's own code returns or asks about.
const (
	NoSession      Reason = "no_session"      // nobody is signed in, or not any more
	HumanRequired  Reason = "human_required"  // no human is signed in, or another one
	AgentForbidden Reason = "agent_forbidden" // no agent may do this
	ReadOnly       Reason = "agent_read_only" // the session may only read
	AccessTooLow   Reason = "access_too_low"  // the session has less access than is needed

	NoAccount      Reason = "no_account"      // the agent's owner has no account here
	LinkRefused    Reason = "link_refused"    // the agent may not enter the account
	ApprovalNeeded Reason = "approval_needed" // the account's owner has not approved the agent
	Suspended      Reason = "link_suspended"  // the owner's approval is suspended
	Blocked        Reason = "agent_blocked"   // the site lets no such agent in
	Paused         Reason = "agents_paused"   // the site lets no agent in at the moment
	Limited        Reason = "rate_limited"    // too much in too short a time

	ActionNotGranted Reason = "action_not_granted" // the session may not perform this action
	ApprovalPending  Reason = "approval_pending"   // the owner has yet to decide about this one action
	ActionDenied     Reason = "action_denied"      // the owner has refused this one action

	InvalidRequest Reason = "invalid_request" // parameters malformed, missing or repeated
	NotFound       Reason = "not_found"       // there is no such thing, or it is somebody else's
	Conflict       Reason = "conflict"        // it has changed since the caller saw it
	StoreFailed    Reason = "store_failed"    // a store or hook of the site failed
)

// A Fault says who has to do something about an error.
type Fault string

func (f Fault) Error() string { return prefix + "fault of the " + string(f) }

// The faults.
const (
	Agent   Fault = "agent"   // the agent, or whoever sent the request
	Site    Fault = "site"    // the site: its settings or its stores
	Server  Fault = "server"  // the authorization server
	Network Fault = "network" // what is in between; a retry may help
)

// An Error is why a request was refused or a step failed. Its text is for the
// site's log. It contains no secret and nothing that a client or the server
// wrote. errors.Is matches its Reason, its Fault and what it wraps.
type Error struct {
	Reason     Reason
	Step       string        // what was being done
	Err        error         // what went wrong; may be nil
	RetryAfter time.Duration // when to try again, if that may help; zero otherwise
	RequestID  string        // in the answer and in the log; empty outside of a request
	Field      string        // the form field that it is about, as the site names it; empty for none
	Back       string        // the path on this site where a page leads on to; empty means Config.ReturnTo
}

func (e *Error) Error() string {
	return prefix + e.Step + ": " + string(e.Reason) + e.why()
}

// why is what went wrong, without what has been said in front of it: the package's
// name, which the errors of this package and of authagent begin with, and the reason.
func (e *Error) why() string {
	if e.Err == nil {
		return ""
	}
	text := strings.ReplaceAll(": "+e.Err.Error(), ": "+prefix, ": ")
	return strings.TrimSuffix(strings.ReplaceAll(text, "\n"+prefix, "\n"), ": "+string(e.Reason))
}

// prefix is what errors of authagent begin with.
const prefix = "authagent: "

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's Reason or Fault.
func (e *Error) Is(target error) bool { return target == e.Reason || target == e.Fault() }

// Fault returns whose fault the error is.
func (e *Error) Fault() Fault {
	var unreachable interface{ Unreachable() (answered, ok bool) } // an error of the back channel
	if errors.As(e.Err, &unreachable) {
		switch answered, ok := unreachable.Unreachable(); {
		case ok && answered:
			return Server
		case ok:
			return Network
		}
	}
	return Fault(e.row().Fault)
}

// Status returns the HTTP status that the error is answered with.
func (e *Error) Status() int { return e.row().Status }

// Title says in a few words what happened. It is a constant text, which clients are
// told.
func (e *Error) Title() string { return e.row().Title }

// Detail says in a sentence or two what happened and what can be done.
func (e *Error) Detail() string { return e.row().Detail }

func (e *Error) row() reasons.Row { return reasons.Of(string(e.Reason)) }
