package kept

import (
	"context"
	"errors"

	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/meter"
	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/internal/wire"
)

// guard calls f, which calls the store.
func (t *Tokens[S]) guard(step string, f func() error) error {
	err := t.site.Panics.Protect(step, f)
	switch {
	case err == nil, errors.Is(err, t.keeper.NotFound), errors.Is(err, t.keeper.Conflict), errors.Is(err, context.Canceled):
	default:
		t.site.Meter.StoreFailed(meter.Tokens)
	}
	return err
}

// refreshed records what came of a request to refresh tokens.
func (t *Tokens[S]) refreshed(err error) {
	var refusal *wire.Error
	outcome := meter.OK
	switch {
	case err == nil:
	case errors.As(err, &refusal) && refusal.Kind == wire.Refused && refusal.Code == "invalid_grant":
		outcome = meter.Refused
	default:
		outcome = meter.Failed
	}
	t.site.Meter.Kept(meter.Refresh, outcome)
}

// confirmed records what came of a look whether the server stands by a session. A session that has ended, or that has no
// tokens, was not asked about.
func (t *Tokens[S]) confirmed(err error) {
	switch {
	case err == nil:
		t.site.Meter.Kept(meter.Confirmation, meter.OK)
	case errors.Is(err, tokens.ErrNone), errors.Is(err, tokens.ErrEnded):
	case errors.Is(err, wire.ErrInactive), errors.Is(err, identity.ErrMismatch):
		t.site.Meter.Kept(meter.Confirmation, meter.Refused)
	default:
		t.site.Meter.Kept(meter.Confirmation, meter.Failed)
	}
}
