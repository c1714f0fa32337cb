package sqlstore

import (
	"context"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/tokens"
)

// Tokens is a [tokens.Store], and finds tokens by their account ([tokens.UserStore]). Session, user and agent
// IDs have at most 255 bytes.
type Tokens struct{ s *Store }

// Tokens returns the store of sealed tokens.
func (s *Store) Tokens() *Tokens { return &Tokens{s} }

const (
	insertTokens     = `INSERT INTO authagent_tokens (session_id, sealed, expires_at) VALUES (?, ?, ?)`
	insertUserTokens = `INSERT INTO authagent_tokens (session_id, sealed, expires_at, user_id, agent_id) VALUES (?, ?, ?, ?, ?)`
	replaceTokens    = `UPDATE authagent_tokens SET sealed = ?, expires_at = ? WHERE session_id = ? AND sealed = ?`
	selectTokens     = `SELECT sealed FROM authagent_tokens WHERE session_id = ?`
	deleteTokens     = `DELETE FROM authagent_tokens WHERE session_id = ?`
)

// SaveTokens implements [tokens.Store].
func (t *Tokens) SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error {
	const step = "save tokens"
	if err := checkFields(step, field{"session ID", sessionID, maxID}); err != nil {
		return err
	}
	var saved int64
	var err error
	if len(old) == 0 {
		saved, err = t.s.exec(ctx, step, t.s.engine.insertNew(insertTokens), sessionID, sealed, nanos(expires))
	} else {
		saved, err = t.s.exec(ctx, step, replaceTokens, sealed, nanos(expires), sessionID, old)
	}
	if err == nil && saved == 0 {
		err = authagent.ErrConflict
	}
	return err
}

// LoadTokens implements [tokens.Store]. It also returns tokens that have
// expired, until DeleteExpired removes them. The session decides whether they count.
func (t *Tokens) LoadTokens(ctx context.Context, sessionID string) (sealed []byte, err error) {
	found, err := t.s.row(ctx, "load tokens", selectTokens, []any{sessionID}, &sealed)
	if err == nil && !found {
		err = authagent.ErrNotFound
	}
	return sealed, err
}

// DeleteTokens implements [tokens.Store].
func (t *Tokens) DeleteTokens(ctx context.Context, sessionID string) error {
	_, err := t.s.exec(ctx, "delete tokens", deleteTokens, sessionID)
	return err
}

// SaveUserTokens implements [tokens.UserStore].
func (t *Tokens) SaveUserTokens(ctx context.Context, k tokens.Kept, sealed []byte) error {
	const step = "save tokens"
	if err := checkFields(step, field{"session ID", k.SessionID, maxID}, field{"user ID", k.UserID, maxID}, field{"agent ID", k.AgentID, maxID}); err != nil {
		return err
	}
	saved, err := t.s.exec(ctx, step, t.s.engine.insertNew(insertUserTokens), k.SessionID, sealed, nanos(k.Expires), k.UserID, k.AgentID)
	if err == nil && saved == 0 {
		err = authagent.ErrConflict
	}
	return err
}

// UserTokens implements [tokens.UserStore]. It does not know whose tokens an earlier version of this package has
// saved.
func (t *Tokens) UserTokens(ctx context.Context, userID string) ([]tokens.Kept, error) {
	const step = "find tokens of account"
	if err := checkUser(step, userID); err != nil {
		return nil, err
	}
	all, err := list(ctx, t.s, step, tokensOfUser, []any{userID}, func(k *tokens.Kept) []any {
		return []any{&k.SessionID, &k.AgentID, instant{&k.Expires}}
	})
	for i := range all {
		all[i].UserID = userID
	}
	return all, err
}
