package database

import (
	"context"
	"errors"
	"time"
)

// Sessions keeps the sessions of humans; it is an scs.CtxStore.
type Sessions struct{ DB *DB }

// FindCtx returns the data of a session, and whether there is one.
func (s Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = s.DB.one(ctx, `SELECT data FROM shop_sessions WHERE token_hash = ? AND expires_at > ?`, []any{hash(token), time.Now().Unix()}, &data)
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	return data, err == nil, err
}

// CommitCtx adds a session or replaces it.
func (s Sessions) CommitCtx(ctx context.Context, token string, data []byte, expires time.Time) error {
	_, err := s.DB.exec(ctx, `INSERT INTO shop_sessions (token_hash, data, expires_at) VALUES (?, ?, ?)
		ON CONFLICT (token_hash) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`, hash(token), data, expires.Unix())
	return err
}

// DeleteCtx deletes a session. Without one it does nothing.
func (s Sessions) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.DB.exec(ctx, `DELETE FROM shop_sessions WHERE token_hash = ?`, hash(token))
	return err
}

// Find is FindCtx without a context.
func (s Sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (s Sessions) Commit(token string, data []byte, expires time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expires)
}

// Delete is DeleteCtx without a context.
func (s Sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// DeleteExpired deletes what is of no use any more.
func (db *DB) DeleteExpired(ctx context.Context) error {
	now := time.Now().Unix()
	_, sessions := db.exec(ctx, `DELETE FROM shop_sessions WHERE expires_at <= ?`, now)
	_, confirmations := db.exec(ctx, `DELETE FROM shop_confirmations WHERE expires_at <= ?`, now)
	return errors.Join(sessions, confirmations)
}
