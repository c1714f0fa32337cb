package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// run runs one statement within the timeout, again if it had to give way to another.
func (s *Store) run(ctx context.Context, step string, statement func(context.Context, querier) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.turn != nil {
		if err := s.turn.send(ctx, statement); err != nil {
			return s.named(step, err)
		}
		return nil
	}
	err := s.again(ctx, func() error {
		if err := s.ready(ctx, s.db); err != nil {
			return err
		}
		return s.onPrimary(ctx, func(q querier) error { return statement(ctx, q) })
	})
	if err != nil {
		return s.failed(ctx, step, s.suspect(ctx, err))
	}
	return nil
}

// again calls f until no other statement makes its own give way, or ctx ends.
func (s *Store) again(ctx context.Context, f func() error) error { return again(ctx, s.engine, f) }

func again(ctx context.Context, e engine, f func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 64*time.Millisecond) {
		err := f()
		if err == nil || e.fault(err) != gaveWay {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + jitter(pause)):
		}
	}
}

// jitter returns a random duration below most, so that statements which met do not meet
// again.
func jitter(most time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.NativeEndian.Uint64(b[:]) % uint64(most))
}

// suspect looks at the schema again after an error that has no sentinel: tables may have
// changed since they were last looked at.
func (s *Store) suspect(ctx context.Context, err error) error {
	if ctx.Err() != nil || s.engine.fault(err).sentinel() != nil || isSchema(err) {
		return err
	}
	if schema := s.checkSchema(ctx, s.db); isSchema(schema) {
		return fmt.Errorf("%w: %w", schema, err)
	}
	return err
}

func isSchema(err error) bool {
	return errors.Is(err, ErrNotMigrated) || errors.Is(err, ErrNewerSchema)
}

// failed says what an error of the database means.
func (s *Store) failed(ctx context.Context, step string, err error) error {
	stats := s.db.Stats()
	if s.engine.fault(err).sentinel() == nil && ctx.Err() != nil && stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		err = fmt.Errorf("%w: all %d of the pool are in use: %w", ErrNoConnection, stats.MaxOpenConnections, err)
	}
	return s.named(step, err)
}

// named adds the step to an error, and the error of this package for what it means.
func (s *Store) named(step string, err error) error {
	if meaning := s.engine.fault(err).sentinel(); meaning != nil {
		err = fmt.Errorf("%w: %w", meaning, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", step, err)
}
