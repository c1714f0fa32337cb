package tokens

import (
	"context"
	"errors"
	"time"

	kept "github.com/authagent-go/authagent/tokens"
)

// Guarded is a site's store whose panics are errors: most calls come from goroutines
// that no server recovers.
type Guarded struct {
	Store   Store
	Protect func(step string, f func() error) error // calls f, and makes an error of a panic
}

// SaveTokens implements Store.
func (g Guarded) SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error {
	return g.Protect("save tokens", func() error { return g.Store.SaveTokens(ctx, sessionID, old, sealed, expires) })
}

// LoadTokens implements Store.
func (g Guarded) LoadTokens(ctx context.Context, sessionID string) (value []byte, err error) {
	err = g.Protect("load tokens", func() error {
		value, err = g.Store.LoadTokens(ctx, sessionID)
		return err
	})
	return value, err
}

// DeleteTokens implements Store.
func (g Guarded) DeleteTokens(ctx context.Context, sessionID string) error {
	return g.Protect("delete tokens", func() error { return g.Store.DeleteTokens(ctx, sessionID) })
}

// SaveUserTokens is that of a UserStore, and SaveTokens of any other.
func (g Guarded) SaveUserTokens(ctx context.Context, k kept.Kept, sealed []byte) error {
	store, ok := g.Store.(kept.UserStore)
	if !ok || k.UserID == "" {
		return g.SaveTokens(ctx, k.SessionID, nil, sealed, k.Expires)
	}
	return g.Protect("save tokens", func() error { return store.SaveUserTokens(ctx, k, sealed) })
}

// UserTokens is that of a UserStore. Of any other, it returns errors.ErrUnsupported.
func (g Guarded) UserTokens(ctx context.Context, userID string) (all []kept.Kept, err error) {
	store, ok := g.Store.(kept.UserStore)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	err = g.Protect("find tokens of account", func() error {
		all, err = store.UserTokens(ctx, userID)
		return err
	})
	return all, err
}
