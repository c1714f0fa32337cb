package failure

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/authagent-go/authagent/internal/panics"
)

// Panics turns panics of the site's code into errors: a doubt about who is signed in
// must never let a request through, and an agent is to be told.
type Panics struct{ Logger *slog.Logger }

// Protect calls f, which calls code of the site.
func (p Panics) Protect(step string, f func() error) error {
	err := panics.Catch(f)
	if caught, panicked := err.(*panics.Error); panicked {
		return p.caught(step, caught.Value, caught.Stack)
	}
	return err
}

// Ask is Protect for a question.
func Ask[T any](p Panics, step string, f func() (T, error)) (answer T, err error) {
	err = p.Protect(step, func() (err error) {
		answer, err = f()
		return err
	})
	return answer, err
}

// Recover, deferred, turns a panic into an error. http.ErrAbortHandler is no exception:
// some of this is called from goroutines, where that panic ends the process like any
// other.
func (p Panics) Recover(step string, err *error) {
	if value := recover(); value != nil {
		*err = p.caught(step, value, debug.Stack())
	}
}

func (p Panics) caught(step string, value any, stack []byte) error {
	p.Log(step, value, stack)
	return OfStore(step, errors.New("panic"))
}

// Log logs what code of the site panicked with: its type, as the value may hold a
// secret.
func (p Panics) Log(step string, value any, stack []byte) {
	p.Logger.Error("authagent: panic", "step", step, "panic", fmt.Sprintf("%T", value), "stack", string(stack))
}
