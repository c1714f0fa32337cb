package memstore

import (
	"context"
	"sync"
	"time"

	"github.com/authagent-go/authagent"
)

// Tokens is an [tokens.Store].
type Tokens struct {
	mu    sync.Mutex
	kept  map[string]sealedTokens
	sweep time.Time
}

type sealedTokens struct {
	value   string
	expires time.Time
}

// SaveTokens implements [tokens.Store].
func (t *Tokens) SaveTokens(_ context.Context, sessionID string, old, sealed []byte, expires time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(time.Now())
	if have, ok := t.kept[sessionID]; ok != (len(old) > 0) || have.value != string(old) {
		return authagent.ErrConflict
	}
	if t.kept == nil {
		t.kept = make(map[string]sealedTokens)
	}
	t.kept[sessionID] = sealedTokens{string(sealed), expires}
	return nil
}

// forget drops what has expired, now and then.
func (t *Tokens) forget(now time.Time) {
	if now.Before(t.sweep) {
		return
	}
	for id, tokens := range t.kept {
		if now.After(tokens.expires) {
			delete(t.kept, id)
		}
	}
	t.sweep = now.Add(time.Minute)
}

// LoadTokens implements [tokens.Store].
func (t *Tokens) LoadTokens(_ context.Context, sessionID string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tokens, ok := t.kept[sessionID]
	if !ok {
		return nil, authagent.ErrNotFound
	}
	return []byte(tokens.value), nil
}

// DeleteTokens implements [tokens.Store].
func (t *Tokens) DeleteTokens(_ context.Context, sessionID string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, sessionID)
	return nil
}
