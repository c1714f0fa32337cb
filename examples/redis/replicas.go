package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotReplicated says that fewer replicas than Replicas have a write. The primary may
// keep it, or lose it in a failover.
var ErrNotReplicated = errors.New("too few replicas have what was written")

// replicated bounds the wait for replicas. Keep it below the client's ReadTimeout.
const replicated = time.Second

// write sends one command for a key. If replicas is positive, it also waits until that many
// have what was written. WAIT counts what its own connection has written, so both go in one
// pipeline, which is one connection to one server.
func write(ctx context.Context, client redis.UniversalClient, replicas int, key string, send func(redis.Cmdable) redis.Cmder) error {
	if replicas <= 0 {
		return send(client).Err()
	}
	if cluster, ok := client.(*redis.ClusterClient); ok { // WAIT has no key by which a pipeline could choose the server
		node, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return err
		}
		client = node
	}
	pipe := client.Pipeline()
	sent, wait := send(pipe), pipe.Do(ctx, "WAIT", replicas, replicated.Milliseconds())
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	have, err := wait.Int()
	if err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	}
	if have < replicas {
		return fmt.Errorf("%w: %d of %d", ErrNotReplicated, have, replicas)
	}
	return sent.Err()
}
