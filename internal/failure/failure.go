// Package failure makes the errors that requests are refused with, and says what the
// errors of stores, of the authorization server and of kept tokens mean.
package failure

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// RetryAfter is when a client is told to try again where nothing else is known.
const RetryAfter = 5 * time.Second

// New returns an error with a reason. Where a retry may help, it says when.
func New(reason problem.Reason, step, format string, args ...any) *problem.Error {
	if len(args) == 0 {
		return because(reason, step, errors.New(format))
	}
	return because(reason, step, fmt.Errorf(format, args...))
}

func because(reason problem.Reason, step string, err error) *problem.Error {
	e := &problem.Error{Reason: reason, Step: step, Err: err}
	if reasons.Of(string(reason)).Has(reasons.Retry) {
		e.RetryAfter = RetryAfter
	}
	return e
}

// OfSite is the error of something that the site provides: what it says if it
// is a reason, and a fault of the site if it is not. So is what a store says to this
// package, such as ErrNotFound, wherever it gets to: a store decides nothing.
func OfSite(step string, err error) error {
	if err == nil {
		return nil
	}
	var e *problem.Error
	if errors.As(err, &e) {
		return err
	}
	if reason, ok := ReasonOf(err); ok {
		return because(reason, step, err)
	}
	return OfStore(step, err)
}

// OfAgent is OfSite for something that was done with an agent whose identity is established.
func OfAgent(agent audit.Agent, step string, err error) error {
	if err == nil {
		return nil
	}
	f := As(OfSite(step, err))
	f.Agent = agent
	return f
}

// OfStore is the fault of a store that failed, whatever its error is.
func OfStore(step string, err error) *problem.Error {
	return &problem.Error{Reason: problem.StoreFailed, Step: step, Err: err, RetryAfter: RetryAfter}
}

// ReasonOf returns the reason that err gives, and whether it decides about the agent.
func ReasonOf(err error) (reason problem.Reason, decides bool) {
	if err == nil { // on the way of every request that passes, so nothing is allocated
		return "", false
	}
	var e *problem.Error
	if errors.As(err, &e) {
		return e.Reason, e.Fault() == problem.Agent
	}
	var found problem.Reason
	decides = errors.As(err, &found)
	return found, decides
}

// A Failure is an error of a request and what answering it needs beside.
type Failure struct {
	*Cause
	Agent    audit.Agent // who it was, once that is established
	Action   string      // what was to be done
	Location string      // where to look at how it stands
	Stay     bool        // a human is signed in, whom the sign-in page would send straight back

	Scopes []string // all scopes that are needed, where too little was granted

	Compare   string // the comparison code of a request that its owner has to decide; empty for none
	OwnerPage string // the path where its owner decides; empty if it is not known
}

// Cause is the error that the site gets.
type Cause = problem.Error

// Unwrap returns the error that the site gets.
func (f *Failure) Unwrap() error { return f.Cause }

// As returns err as a failure of this request alone: a site may return the same error
// from many requests. It returns nil for no error.
func As(err error) *Failure {
	if err == nil {
		return nil
	}
	f := new(Failure)
	if !errors.As(err, &f) {
		f = &Failure{Cause: &problem.Error{Reason: problem.StoreFailed, Step: "handle request"}}
		errors.As(OfSite("handle request", err), &f.Cause)
	}
	own, cause := *f, *f.Cause
	own.Cause = &cause
	return &own
}

// Outcome is what an event with this failure has come to; nil is no failure.
func (f *Failure) Outcome() string {
	switch {
	case f == nil:
		return audit.OK
	case f.Reason == problem.ApprovalPending:
		return audit.Pending
	case f.Fault() == problem.Agent:
		return audit.Refused
	}
	return audit.Failed
}

// NewRequestID returns a name for a request, which has to be another one each
// time and need not be secret: 80 bits of math/rand, in letters and digits.
func NewRequestID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // five bits each
	var text [16]byte
	for _, part := range [...][]byte{text[:8], text[8:]} {
		bits := rand.Uint64()
		for i := range part {
			part[i] = letters[bits%32]
			bits /= 32
		}
	}
	return string(text[:])
}
