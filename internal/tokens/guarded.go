package tokens

import (
	"context"
	"time"
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
