//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// A release is what instances are started with.
type release struct {
	argv []string
	env  []string // beside the instance's own
}

// withKeys returns the release with other session keys, the first of which encrypts.
func (r release) withKeys(keys ...string) release {
	r.env = append(r.env[:len(r.env):len(r.env)], "AUTH_AGENT_SESSION_KEYS="+strings.Join(keys, ","))
	return r
}

func newKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return hex.EncodeToString(key)
}

// roll replaces instances one by one, as a deployment does: each is stopped by SIGTERM, after
// which it says that it is not ready and finishes what it has begun. The next one has its turn
// when the proxy has found that the new process is ready.
func (f *fleet) roll(ctx context.Context, to release, instances ...*instance) error {
	for _, i := range instances {
		if err := i.stop(syscall.SIGTERM); err != nil {
			f.ledger.fault(stopFailed, "%v: %s", err, i.tail())
		}
		i.inProxy.up.Store(false) // it was found to be so while the instance drained
		i.use(to)
		if err := i.start(ctx); err != nil {
			return err
		}
		if err := i.inProxy.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deploy puts the release of today in the place of the one before it. Its first instance
// migrates the schema, under the others.
func (f *fleet) deploy(ctx context.Context) error {
	was, err := f.schema(ctx)
	if err != nil {
		return err
	}
	if err := f.roll(ctx, f.now, f.instances...); err != nil {
		return err
	}
	is, err := f.schema(ctx)
	if err == nil && is <= was {
		f.ledger.fault(notAsIntended, "the schema had version %d before the deployment and has %d after it: see the constant before", was, is)
	}
	f.ledger.count(fmt.Sprintf("deployments that took the schema from version %d to %d", was, is))
	return errors.Join(err, f.oldEnded(ctx))
}

// oldEnded notes what is there when the last instance of the release before has ended, which
// kept no journal.
func (f *fleet) oldEnded(ctx context.Context) error {
	for _, table := range acts {
		var last int64
		if err := f.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(id), 0) FROM `+table).Scan(&last); err != nil {
			return err
		}
		f.lastOld[table] = last
	}
	return nil
}

// schema returns the version of the schema.
func (f *fleet) schema(ctx context.Context) (version int, err error) {
	err = f.db.QueryRowContext(ctx, `SELECT MAX(version) FROM authagent_migrations`).Scan(&version)
	return version, err
}

// rollBack puts the release before today's in the place of one instance, on the schema of
// today, for a while: what is done in an emergency.
func (f *fleet) rollBack(ctx context.Context) error {
	if err := f.roll(ctx, f.then, f.instances[0]); err != nil {
		return err
	}
	sleep(ctx, f.plan.gap)
	return errors.Join(f.roll(ctx, f.now, f.instances[0]), f.oldEnded(ctx))
}

// replaceKey is one of the three steps of docs/production.md.
func (f *fleet) replaceKey(keys ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		f.now = f.now.withKeys(keys...)
		return f.roll(ctx, f.now, f.instances...)
	}
}

// removeKey is the third of them. A site waits for Session.Lifetime before it. Here the agents
// sign out of what they began before the second step was done.
func (f *fleet) removeKey(keys ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		f.leave.Add(1)
		if err := f.awaitLeft(ctx); err != nil {
			return err
		}
		return f.replaceKey(keys...)(ctx)
	}
}

// awaitLeft waits until agents have left all sessions that they are to leave, and finished all
// sign-ins that could be among those.
func (f *fleet) awaitLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		left, leave := 0, int(f.leave.Load())
		f.ledger.do(func() {
			for generation, n := range f.ledger.signing {
				if generation < leave {
					left += n
				}
			}
			for _, s := range f.ledger.sessions {
				if ending, _ := s.state(); s.generation < leave && !ending {
					left++
				}
			}
		})
		if left == 0 {
			return nil
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("agents do not leave the sessions of the old key: %d are left: %w", left, ctx.Err())
		}
	}
}
