package accounts

import (
	"errors"
	"fmt"
)

// A Part is what a scenario is made of, and may hold an agent to an account.
type Part struct {
	Name  string
	Is    any
	Keeps bool // it holds agents to accounts, whether or not it can forget them
}

// Forget has each part forget that is an F, such as authagent.Forgetter. A part that keeps
// something and cannot forget it is an error: a success would be believed.
func Forget[F any](from func(F) error, parts ...Part) error {
	var errs []error
	for _, part := range parts {
		if forgetter, ok := part.Is.(F); ok {
			errs = append(errs, from(forgetter))
		} else if part.Keeps {
			errs = append(errs, fmt.Errorf("the %s is no Forgetter: %w", part.Name, errors.ErrUnsupported))
		}
	}
	return errors.Join(errs...)
}
