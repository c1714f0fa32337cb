package memstore

import (
	"context"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/tokens"
)

// Tokens is a [tokens.Store], and finds tokens by their account ([tokens.UserStore]).
type Tokens struct {
	mu    sync.Mutex
	kept  map[string]sealedTokens
	sweep time.Time
}

type sealedTokens struct {
	value   string
	expires time.Time
	of      tokens.Kept // empty if nobody has said whose they are
}

// SaveTokens implements [tokens.Store].
func (t *Tokens) SaveTokens(_ context.Context, sessionID string, old, sealed []byte, expires time.Time) error {
	return t.save(sessionID, old, sealed, expires, tokens.Kept{})
}

// SaveUserTokens implements [tokens.UserStore].
func (t *Tokens) SaveUserTokens(_ context.Context, k tokens.Kept, sealed []byte) error {
	return t.save(k.SessionID, nil, sealed, k.Expires, k)
}

func (t *Tokens) save(sessionID string, old, sealed []byte, expires time.Time, of tokens.Kept) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	have, ok := t.kept[sessionID]
	if ok != (len(old) > 0) || have.value != string(old) {
		return authagent.ErrConflict
	}
	if t.kept == nil {
		t.kept = make(map[string]sealedTokens)
	}
	if ok {
		of = have.of
	}
	of.Expires = expires
	t.kept[sessionID] = sealedTokens{string(sealed), expires, of}
	return nil
}

// UserTokens implements [tokens.UserStore].
func (t *Tokens) UserTokens(_ context.Context, userID string) (all []tokens.Kept, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, have := range t.kept {
		if have.of.UserID == userID && userID != "" {
			all = append(all, have.of)
		}
	}
	return all, nil
}

// forget drops what has expired, now and then.
func (t *Tokens) forget(now time.Time) {
	if now.Before(t.sweep) {
		return
	}
	for id, have := range t.kept {
		if now.After(have.expires) {
			delete(t.kept, id)
		}
	}
	t.sweep = now.Add(time.Minute)
}

// LoadTokens implements [tokens.Store].
func (t *Tokens) LoadTokens(_ context.Context, sessionID string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	have, ok := t.kept[sessionID]
	if !ok {
		return nil, authagent.ErrNotFound
	}
	return []byte(have.value), nil
}

// DeleteTokens implements [tokens.Store].
func (t *Tokens) DeleteTokens(_ context.Context, sessionID string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, sessionID)
	return nil
}
