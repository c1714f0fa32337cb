package kept

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/stores"
)

// noUserStore says why tokens cannot be found by their account.
const noUserStore = "the store is no tokens.UserStore, and cannot find tokens by their account"

// Asked returns who is asked about the tokens of an account: t, or nil if none are kept.
func (t *Tokens[S]) Asked() any {
	if t == nil {
		return nil
	}
	return t
}

// EraseUser implements [stores.Eraser]: the server is asked to revoke the tokens that are kept for an
// account, and they are deleted.
func (t *Tokens[S]) EraseUser(ctx context.Context, e *stores.Erasure) error {
	all, err := t.store.UserTokens(ctx, e.UserID)
	if errors.Is(err, errors.ErrUnsupported) {
		e.Leave("tokens", noUserStore+"; they are deleted when their session is used again, or have expired", time.Time{})
		return nil
	}
	if err != nil {
		return fmt.Errorf("find tokens of account: %w", err)
	}
	e.Count("tokens", 0)
	var errs []error
	for _, k := range all {
		s := t.site.Session(t.site.Owner(k))
		live, err := t.keeper.Erase(ctx, s)
		switch {
		case errors.Is(err, tokens.ErrAltered):
			e.Leave("the tokens of a session", "they are another relying party's, or sealed with a key that is not in SessionKeys", k.Expires)
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("delete tokens: %w", err))
		default:
			e.Count("tokens", 1)
		}
		if live != nil {
			e.Leave("an access token at the server", "the server has not accepted that it is revoked", time.Time{})
		}
		t.revoked(ctx, s, live)
	}
	return errors.Join(errs...)
}

// A record is what an export says of the tokens of a session: that there are some.
type record struct {
	Session   string    `json:"session"`
	Agent     string    `json:"agent"`
	ExpiresAt time.Time `json:"expires_at"`
}

// ExportUser implements [stores.Exporter].
func (t *Tokens[S]) ExportUser(ctx context.Context, x *stores.Export) error {
	all, err := t.store.UserTokens(ctx, x.UserID)
	if errors.Is(err, errors.ErrUnsupported) {
		x.Missing(noUserStore)
		return nil
	}
	if err != nil {
		return fmt.Errorf("find tokens of account: %w", err)
	}
	if err := x.Begin("tokens"); err != nil {
		return err
	}
	for _, k := range all {
		if err := x.Add("tokens", record{k.SessionID, k.AgentID, k.Expires.UTC()}); err != nil {
			return err
		}
	}
	return nil
}
