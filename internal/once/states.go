package once

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/memory"
	"github.com/authagent-go/authagent/internal/meter"
)

// A Store is authagent.StateStore.
type Store interface {
	UseState(ctx context.Context, id string, until time.Time) (first bool, err error)
}

// States make each state usable once: in this process, and at all instances if they share a
// store. Its fields are set before its first use. It is safe for concurrent use.
type States struct {
	Shared Store          // nil for none
	Panics failure.Panics // of the store
	Skew   time.Duration  // how far clocks of instances may be apart
	Task   time.Duration  // what follows a first use takes no longer
	Meter  *meter.Meter   // nil for none

	here memory.States
}

// A Use is what comes of using a state.
type Use int8

// The outcomes.
const (
	First    Use = iota
	Repeated     // it was used before
	UnderWay     // it was used at another instance, which may still be busy with what follows
)

// Use uses a state that expires at until. A spare use brings nothing in, so a flood of those
// takes no room from others. The error is memory.ErrFull or the store's; a store that fails
// has used nothing up, so the same can be tried again.
func (s *States) Use(ctx context.Context, state string, until time.Time, spare bool) (Use, error) {
	text := append(make([]byte, 0, 64), state...) // on the stack
	sum := sha256.Sum256(text)                    // a store has no use for the state itself
	id := base64.RawURLEncoding.EncodeToString(sum[:16])
	first, err := s.useShared(ctx, id, until.Add(s.Skew))
	if first && err == nil {
		first, err = s.useHere(ctx, id, until.Add(time.Minute), spare) // our own clock may be set back a little
	}
	switch {
	case err != nil:
		return Repeated, err
	case first:
		return First, nil
	case s.Shared != nil && !s.here.Has(id) && s.mayBeUnderWay(id, until):
		return UnderWay, nil
	}
	return Repeated, nil
}

func (s *States) useShared(ctx context.Context, id string, until time.Time) (first bool, err error) {
	if s.Shared == nil {
		return true, nil
	}
	err = s.Panics.Protect("use state", func() error {
		first, err = s.Shared.UseState(ctx, id, until)
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		s.Meter.StoreFailed(meter.States)
	}
	return first, err
}

// useHere uses a state in this process. There may be no room for it here; if a shared store
// has let it pass, it passes all the same.
func (s *States) useHere(ctx context.Context, id string, until time.Time, spare bool) (first bool, err error) {
	if spare {
		return s.here.UseSpare(id, until), nil
	}
	first, err = s.here.UseState(ctx, id, until)
	if errors.Is(err, memory.ErrFull) && s.Shared != nil {
		return true, nil
	}
	return first, err
}

// mayBeUnderWay reports whether another instance may be busy with a state that was used
// there: for as long as that can take, since this instance was asked first.
func (s *States) mayBeUnderWay(id string, until time.Time) bool {
	if s.here.UseSpare("asked "+id, until) {
		s.here.UseSpare("wait "+id, time.Now().Add(s.Task))
	}
	return s.here.Has("wait " + id)
}
