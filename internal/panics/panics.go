// Package panics turns panics of a site's code into errors. Outside of a request, where
// much of that code is called, a panic would end the process.
package panics

import (
	"fmt"
	"runtime/debug"
)

// An Error is a panic that was caught.
type Error struct {
	Value any
	Stack []byte
}

// Error names the type of the value alone, which may hold a secret.
func (e *Error) Error() string { return fmt.Sprintf("panic: %T\n%s", e.Value, e.Stack) }

// Catch calls f and returns its error, or an *Error if it panics.
func Catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Error{v, debug.Stack()}
		}
	}()
	return f()
}
