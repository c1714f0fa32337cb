package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/stores"
)

// A Part is what a scenario is made of, and may hold an agent to an account.
type Part struct {
	Name  string
	Is    any
	Keeps bool // it holds agents to accounts, whether or not it can forget them
}

// Parts are what a scenario is made of. It embeds them, and so is an authagent.Forgetter, an Eraser and an
// Exporter, which asks them in their order.
type Parts []Part

// ForgetAgent implements [stores.Forgetter]. A part that keeps something and is no Forgetter is an error: a
// success would be believed.
func (p Parts) ForgetAgent(ctx context.Context, humanID string, agent audit.Agent) error {
	var errs []error
	for _, part := range p {
		if forgetter, ok := part.Is.(stores.Forgetter); ok {
			errs = append(errs, forgetter.ForgetAgent(ctx, humanID, agent))
		} else if part.Keeps {
			errs = append(errs, fmt.Errorf("the %s is no Forgetter: %w", part.Name, errors.ErrUnsupported))
		}
	}
	return errors.Join(errs...)
}

// EraseUser implements [stores.Eraser]. A part that keeps something and is no Eraser is an error, and the
// receipt names it.
func (p Parts) EraseUser(ctx context.Context, e *stores.Erasure) error {
	var errs []error
	for _, part := range p {
		eraser, ok := part.Is.(stores.Eraser)
		if !ok && !part.Keeps {
			continue
		}
		errs = append(errs, e.In(part.Name, func() error {
			if !ok {
				e.Leave("what it keeps", "it is no Eraser", time.Time{})
				return fmt.Errorf("the %s is no Eraser: %w", part.Name, errors.ErrUnsupported)
			}
			return eraser.EraseUser(ctx, e)
		}))
	}
	return errors.Join(errs...)
}

// ExportUser implements [stores.Exporter]. A part that keeps something and is no Exporter is named in the
// document.
func (p Parts) ExportUser(ctx context.Context, x *stores.Export) error {
	for _, part := range p {
		exporter, ok := part.Is.(stores.Exporter)
		if !ok && !part.Keeps {
			continue
		}
		err := x.In(part.Name, func() error {
			if !ok {
				x.Missing("it is no Exporter")
				return nil
			}
			return exporter.ExportUser(ctx, x)
		})
		if err != nil {
			return err // or a part of the document would be taken for the whole
		}
	}
	return nil
}
