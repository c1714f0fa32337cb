package site

import (
	"context"
	"runtime"

	"github.com/alexedwards/argon2id"

	"github.com/authagent-go/authagent/problem"
)

// A hasher hashes passwords, a few at once: each takes 64 MiB and every core, and
// anybody can send one. Who would wait behind too many is told to come again.
type hasher struct {
	turn  chan struct{} // of those that are hashed
	queue chan struct{} // of those and of those that wait
}

func newHasher() hasher {
	n := runtime.GOMAXPROCS(0)
	return hasher{turn: make(chan struct{}, n), queue: make(chan struct{}, 16*n)}
}

// do calls f when it is its turn.
func (h hasher) do(ctx context.Context, f func() error) error {
	select {
	case h.queue <- struct{}{}:
	default:
		return problem.Reason("overloaded")
	}
	defer func() { <-h.queue }()
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.turn }()
	return f()
}

// hash returns the hash of a password.
func (h hasher) hash(ctx context.Context, password string) (hash string, err error) {
	err = h.do(ctx, func() error {
		hash, err = argon2id.CreateHash(password, argon2id.DefaultParams)
		return err
	})
	return hash, err
}

// matches reports whether a password is the one of a hash.
func (h hasher) matches(ctx context.Context, password, hash string) (ok bool, err error) {
	err = h.do(ctx, func() error {
		ok, err = argon2id.ComparePasswordAndHash(password, hash)
		return err
	})
	return ok, err
}
