package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/authagent-go/authagent"
)

// Tokens is a tokens.Store.
type Tokens struct {
	Client   redis.UniversalClient
	Replicas int // that have a write before it counts as done; 0 for none
}

// replaceValue sets a key to ARGV[2], for ARGV[3] milliseconds, if its value is ARGV[1], or
// if it has none and ARGV[1] is empty. It returns 1 if it did. It also does if the value is
// ARGV[2] already, since a client that has lost its connection sends the command again.
var replaceValue = redis.NewScript(`
local have = redis.call('GET', KEYS[1]) or ''
if have ~= ARGV[1] and have ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// SaveTokens implements tokens.Store.
func (s *Tokens) SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error {
	ttl := max(time.Until(expires), time.Second).Milliseconds()
	name := key("tokens", sessionID)
	var saved *redis.Cmd
	err := write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder {
		saved = replaceValue.Eval(ctx, on, []string{name}, old, sealed, ttl)
		return saved
	})
	if err != nil {
		return fmt.Errorf("redisstore: save tokens: %w", err)
	}
	if n, err := saved.Int(); err != nil || n != 1 {
		return authagent.ErrConflict
	}
	return nil
}

// LoadTokens implements tokens.Store.
func (s *Tokens) LoadTokens(ctx context.Context, sessionID string) ([]byte, error) {
	sealed, err := s.Client.Get(ctx, key("tokens", sessionID)).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, authagent.ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("redisstore: load tokens: %w", err)
	}
	return sealed, nil
}

// DeleteTokens implements tokens.Store.
func (s *Tokens) DeleteTokens(ctx context.Context, sessionID string) error {
	name := key("tokens", sessionID)
	if err := write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder { return on.Del(ctx, name) }); err != nil {
		return fmt.Errorf("redisstore: delete tokens: %w", err)
	}
	return nil
}
