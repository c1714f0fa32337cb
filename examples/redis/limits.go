package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent/limits"
)

// Limits is a limits.Store. Time is that of Redis, in microseconds.
//
// The keys of one script have to be on one server, and those of one Take are not, in a
// Redis Cluster. There, each budget is asked by itself, and what was taken is given back if a
// later one has none. So a client may for a moment be refused what it has.
//
// There is no Replicas: after a failover, some of the last events are not counted.
type Limits struct{ Client redis.UniversalClient }

// taken takes one event of each key, or none. ARGV has, for each, the time between two events and the
// period. It returns the longest wait, or 0. Where the time is out of reach, since the
// clock went back or the period was another one, there is room for that one event.
var taken = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local wait, next = 0, {}
for i, key in ipairs(KEYS) do
	local every, period = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
	local whole = tonumber(redis.call('GET', key) or 0)
	next[i] = whole > now + period and now + period or math.max(now, whole) + every
	wait = math.max(wait, next[i] - now - period)
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
	redis.call('SET', key, string.format('%.0f', next[i]), 'PX', math.ceil((next[i] - now) / 1000))
end
return 0`)

// givenBack gives one event of each key back. ARGV has the times between two events.
var givenBack = redis.NewScript(`
for i, key in ipairs(KEYS) do
	local whole = redis.call('GET', key)
	if whole then redis.call('SET', key, string.format('%.0f', whole - ARGV[i]), 'KEEPTTL') end
end
return 0`)

// Take implements limits.Store.
func (s *Limits) Take(ctx context.Context, budgets ...limits.Budget) (wait time.Duration, err error) {
	if _, cluster := s.Client.(*redis.ClusterClient); !cluster {
		return s.take(ctx, budgets)
	}
	for i := range budgets {
		wait, err := s.take(ctx, budgets[i:i+1])
		if err == nil && wait > 0 && i > 0 {
			err = s.Return(ctx, budgets[:i]...)
		}
		if err != nil || wait > 0 {
			return wait, err
		}
	}
	return 0, nil
}

func (s *Limits) take(ctx context.Context, budgets []limits.Budget) (time.Duration, error) {
	var keys []string
	var args []any
	for _, b := range budgets {
		keys, args = append(keys, key("limit", b.Key)), append(args, every(b), b.Rate.Per.Microseconds())
	}
	wait, err := taken.Run(ctx, s.Client, keys, args...).Int64()
	if err != nil {
		return 0, fmt.Errorf("redisstore: take from budget: %w", err)
	}
	return time.Duration(wait) * time.Microsecond, nil
}

// every is the time between two events at the steady rate, in microseconds.
func every(b limits.Budget) int64 { return max(1, b.Rate.Per.Microseconds()/int64(b.Rate.N)) }

// Return implements limits.Store.
func (s *Limits) Return(ctx context.Context, budgets ...limits.Budget) error {
	for _, b := range budgets {
		if err := givenBack.Run(ctx, s.Client, []string{key("limit", b.Key)}, every(b)).Err(); err != nil {
			return fmt.Errorf("redisstore: give back to budget: %w", err)
		}
	}
	return nil
}
