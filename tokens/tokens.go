// Package tokens has the settings by which the tokens of sessions are kept, and the store that keeps them.
// They are the field Tokens of authagent.Config.
package tokens

import (
	"context"
	"time"
)

// Settings say whether the tokens of sessions are kept, and how.
type Settings struct {
	// Store keeps the tokens, encrypted, so that a site can call an API as the agent and have long
	// sessions confirmed. By default no token is kept.
	Store Store

	// ConfirmEvery is how often the server is asked whether it still stands by a session whose
	// tokens are kept. It is asked in the background, when the session is used. If the server
	// disowns the session twice, at least 30 seconds apart, the session ends. The default is 15
	// minutes; a negative value means never.
	ConfirmEvery time.Duration

	// ConfirmGrace ends a session that is due to be confirmed but could not be confirmed for this
	// long, because the server or a store gave no answer. By default such a session goes on.
	ConfirmGrace time.Duration
}

// A Store keeps the tokens of sessions, and all instances of a site share it. It never sees a
// token: each value is encrypted, bound to its session and agent, and unlike all earlier ones.
//
// A refresh token can be used once, so one of several instances must be the first to replace a
// value: SaveTokens compares and replaces in one step. After any error but authagent.ErrConflict and
// authagent.ErrNotFound, nobody knows whether something was done. Implementations are safe for
// concurrent use.
type Store interface {
	// SaveTokens replaces old, the value of a session, with sealed. old is byte for byte the value
	// that LoadTokens returned or an earlier SaveTokens kept; it is empty if the session has no
	// value yet. If the session's value differs from old, or only one of the two is empty,
	// SaveTokens changes nothing and returns authagent.ErrConflict. Of concurrent calls with one old,
	// at any number of instances, at most one succeeds.
	//
	// The value is of no use after expires, and may be forgotten then.
	SaveTokens(ctx context.Context, sessionID string, old, sealed []byte, expires time.Time) error

	// LoadTokens returns the value that was saved last, or authagent.ErrNotFound if there is none: never
	// saved, deleted, or forgotten after its time. The caller may change what it returns.
	LoadTokens(ctx context.Context, sessionID string) ([]byte, error)

	// DeleteTokens removes the value, whatever it is. Without one it returns nil.
	DeleteTokens(ctx context.Context, sessionID string) error
}

// A UserStore is a [Store] that finds the tokens that are kept for an account, so that they can be
// erased and revoked when the account is (EraseUser of authagent.RelyingParty). With any other store,
// they stay until their time is over.
type UserStore interface {
	Store

	// SaveUserTokens is SaveTokens for a session that has no value yet, and notes whose it is. k.UserID
	// is not empty. For tokens without a user, SaveTokens is called.
	SaveUserTokens(ctx context.Context, k Kept, sealed []byte) error

	// UserTokens returns whose tokens are kept for an account, in no order. It may leave out those
	// whose time is over.
	UserTokens(ctx context.Context, userID string) ([]Kept, error)
}

// Kept says whose tokens are kept.
type Kept struct {
	SessionID string
	UserID    string    // the account for which the agent acts
	AgentID   string    // the agent's ID at the server
	Expires   time.Time // when the value is of no use any more
}
