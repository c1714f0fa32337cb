// Package redisstore shows how to keep sessions, revocations, used states, tokens and
// limits in Redis. It is an example: copy it into your site, and test your copy with
// package storetest, as the tests here do.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis.example:6379"})
//	rp, err := authagent.New(authagent.Config{
//		// …
//		Session: authagent.SessionSettings{Store: &redisstore.Sessions{Client: client}},
//		Revocations:  &redisstore.Revocations{Client: client},
//		States:       &redisstore.States{Client: client},
//		Limits:       limits.Settings{Store: &redisstore.Limits{Client: client}},
//		Tokens:       tokens.Settings{Store: &redisstore.Tokens{Client: client}},
//	})
//
// It uses the client that Redis itself keeps up. Of the gorilla stores for Redis,
// boj/redistore (v1.4.1 of March 2025) was tried and left aside: it sends its
// commands without the request's context, so that a Redis that hangs holds up
// requests for as long as it likes, and its Save brings a session back that a
// logout in another tab has just ended, which storetest finds.
//
// # Redis forgets
//
// A revocation that is lost is a session that goes on. So Redis must not evict
// what is here (maxmemory-policy noeviction), and must write before it answers
// (appendonly yes, appendfsync always) where a logout is to survive a crash.
//
// A replica that is promoted may lack the last writes of the primary. What is lost then:
//
//   - a revocation: a session that was ended goes on, until it expires;
//   - the end of a session: likewise;
//   - a state: a login could be finished a second time, in the browser that began it;
//   - tokens: the value before comes back, with a refresh token that is used up. The
//     session's tokens cannot be renewed, and the session ends when it is confirmed next;
//   - a session that has just begun: the agent signs in once more.
//
// The field Replicas of each store has every write wait until that many replicas have it,
// for at most a second. If they do not, the write returns [ErrNotReplicated] and the request
// is refused, though the primary may keep what was written. Set it to the number of all
// replicas that may be promoted: then no answer that said "done" is lost by a failover. With
// fewer, the one that is promoted may be one that did not have the write. A primary that was
// replaced without knowing it takes no such write, since it has no replicas; set
// min-replicas-to-write too, so that it takes no other write either.
//
// A SQL database promises more: see package sqlstore, and keep revocations and states there
// if in doubt.
package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"
)

// prefix begins all keys.
const prefix = "authagent:"

// key names what may be long, secret or both by its SHA-256.
func key(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return prefix + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// States is an authagent.StateStore.
type States struct {
	Client   redis.UniversalClient
	Replicas int // that have a write before it counts as done; 0 for none
}

// UseState implements authagent.StateStore.
func (s *States) UseState(ctx context.Context, id string, until time.Time) (first bool, err error) {
	// A time to live that has passed would delete the key at once.
	ttl := max(time.Until(until), time.Minute)
	name := key("state", id)
	err = write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder {
		return on.SetArgs(ctx, name, 1, redis.SetArgs{Mode: "NX", TTL: ttl})
	})
	switch {
	case errors.Is(err, redis.Nil): // it was there
		return false, nil
	case err != nil:
		return false, fmt.Errorf("redisstore: use state: %w", err)
	}
	return true, nil
}

// Revocations is an authagent.RevocationStore.
type Revocations struct {
	Client   redis.UniversalClient
	Replicas int // that have a write before it counts as done; 0 for none
}

// mark sets a key to ARGV[1], and its time to live to the greater of what that is and
// ARGV[2].
var mark = redis.NewScript(`
local ttl = math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2]))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ttl)
return 1`)

// Revoke implements authagent.RevocationStore.
func (s *Revocations) Revoke(ctx context.Context, name, as string, until time.Time) error {
	ttl := max(time.Until(until), time.Second).Milliseconds()
	name = key("revoked", name)
	if err := write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder {
		return mark.Eval(ctx, on, []string{name}, as, ttl)
	}); err != nil {
		return fmt.Errorf("redisstore: revoke: %w", err)
	}
	return nil
}

// Marks implements authagent.RevocationStore.
func (s *Revocations) Marks(ctx context.Context, names []string) ([]string, error) {
	marks := make([]string, len(names))
	if len(names) == 0 {
		return marks, nil
	}
	// In one round trip. MGET would not do in a cluster, where keys are apart.
	pipe := s.Client.Pipeline()
	found := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		found[i] = pipe.Get(ctx, key("revoked", name))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("redisstore: look for revocations: %w", err)
	}
	for i, f := range found {
		value, err := f.Result()
		if err != nil && !errors.Is(err, redis.Nil) { // of several, Exec returned the first, which may have been Nil
			return nil, fmt.Errorf("redisstore: look for revocations: %w", err)
		}
		marks[i] = value
	}
	return marks, nil
}

// Sessions is a sessions.Store of values that are strings, as authagent's are.
// The client has a random ID and Redis its SHA-256.
type Sessions struct {
	Client   redis.UniversalClient
	Replicas int // that have a write before it counts as done; 0 for none
}

// browserSession is how long a session is kept whose cookie says nothing.
const browserSession = 24 * time.Hour

// Get implements sessions.Store.
func (s *Sessions) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New implements sessions.Store. A cookie that names no session is as good as
// none; an error means that it cannot be known.
func (s *Sessions) New(r *http.Request, name string) (*sessions.Session, error) {
	gs := sessions.NewSession(s, name)
	gs.IsNew = true
	gs.Options = &sessions.Options{Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	cookie, err := r.Cookie(name)
	if err != nil || cookie.Value == "" {
		return gs, nil
	}
	data, err := s.Client.Get(r.Context(), key("session", cookie.Value)).Bytes()
	if errors.Is(err, redis.Nil) {
		return gs, nil
	}
	var values map[string]string
	if err == nil {
		err = json.Unmarshal(data, &values)
	}
	if err != nil {
		return gs, fmt.Errorf("redisstore: load session: %w", err)
	}
	for k, v := range values {
		gs.Values[k] = v
	}
	gs.ID, gs.IsNew = cookie.Value, false
	return gs, nil
}

// Save implements sessions.Store. With a negative MaxAge the session is deleted.
func (s *Sessions) Save(r *http.Request, w http.ResponseWriter, gs *sessions.Session) error {
	if err := s.store(r.Context(), gs); err != nil {
		return fmt.Errorf("redisstore: save session: %w", err)
	}
	http.SetCookie(w, sessions.NewCookie(gs.Name(), gs.ID, gs.Options))
	return nil
}

func (s *Sessions) store(ctx context.Context, gs *sessions.Session) error {
	if gs.Options == nil {
		return errors.New("it has no Options")
	}
	if gs.Options.MaxAge < 0 {
		name := key("session", gs.ID)
		return write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder { return on.Del(ctx, name) })
	}
	values := make(map[string]string, len(gs.Values))
	for k, v := range gs.Values {
		name, ok := k.(string)
		value, isString := v.(string)
		if !ok || !isString {
			return fmt.Errorf("a value is a %T under a %T, and only strings are kept", v, k)
		}
		values[name] = value
	}
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	lasts := browserSession
	if gs.Options.MaxAge > 0 {
		lasts = time.Duration(gs.Options.MaxAge) * time.Second
	}
	id, mode := gs.ID, "XX" // where it still exists: a logout may have been faster
	if id == "" {
		id, mode = rand.Text(), "NX"
	}
	name := key("session", id)
	err = write(ctx, s.Client, s.Replicas, name, func(on redis.Cmdable) redis.Cmder {
		return on.SetArgs(ctx, name, data, redis.SetArgs{Mode: mode, TTL: lasts})
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	gs.ID = id
	return nil
}
