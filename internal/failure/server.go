package failure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/problem"
)

// OfServer says what an error of the back channel means for a sign-in.
func OfServer(step string, err error) error {
	if err == nil {
		return nil
	}
	var w *wire.Error
	switch {
	case wire.Unproven(err), errors.Is(err, wire.ErrPanic):
		return OfStore(step, err)
	case errors.Is(err, identity.ErrMismatch):
		return because(reasons.IdentityMismatch, step, err)
	case errors.Is(err, wire.ErrInactive):
		return because(reasons.TokenRefused, step, err)
	case errors.Is(err, wire.ErrNowhereToPush), errors.Is(err, wire.ErrPushedOnly):
		return because(reasons.ServerNotReady, step, err)
	case !errors.As(err, &w):
		return because(reasons.InvalidResponse, step, err)
	}
	e := because(reasonOfServer(w), step, err)
	if w.RetryAfter > 0 {
		e.RetryAfter = w.RetryAfter
	}
	return e
}

func reasonOfServer(w *wire.Error) problem.Reason {
	switch {
	case errors.Is(w, wire.ErrKeys):
		return reasons.KeysUnreadable
	case w.Kind == wire.Overloaded:
		return reasons.Overloaded
	case w.Kind == wire.Unavailable && w.Timeout():
		return reasons.ServerTimeout
	case w.Kind == wire.Unavailable:
		return reasons.Unavailable
	case w.Kind == wire.Malformed:
		return reasons.InvalidResponse
	case w.Kind == wire.Invalid:
		return reasons.TokenRefused
	case w.Code == "invalid_client" || w.Code == "unauthorized_client":
		return reasons.ClientRefused
	case w.Step == wire.PushStep && w.Kind == wire.Refused: // before anybody has signed in: of what the site asks
		return reasons.ClientRefused
	case w.Code == "invalid_grant":
		return reasons.CodeRefused
	}
	return reasons.TokenRefused
}

// OfResponse is the error that an authorization response reports; nil if it reports
// none. Its text is not passed on: anybody can write a link with one.
func OfResponse(r *wire.Response) error {
	switch r.Error {
	case "":
		return nil
	case "access_denied":
		return New(reasons.AccessDenied, "read response", "the server reports access_denied")
	case "temporarily_unavailable", "server_error":
		return New(reasons.Unavailable, "read response", "the server reports %s", r.Error)
	}
	return New(reasons.AuthorizationFailed, "read response", "the server reports an error")
}

// OfApproval says why a request cannot be put before an owner.
func OfApproval(err error) error {
	var r *approval.Refusal
	if errors.As(err, &r) {
		return New(problem.Reason(r.Code), "read request", "%s", r.Text)
	}
	return OfSite("read request", err)
}

// OfTokens says what an error about kept tokens means to the site.
func OfTokens(step string, err error) error {
	var pause *tokens.Pause
	var w *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tokens.ErrEnded):
		return because(problem.NoSession, step, err)
	case errors.Is(err, wire.ErrInactive):
		return because(reasons.NotConfirmed, step, err)
	case errors.Is(err, tokens.ErrNone):
		return because(reasons.NoTokens, step, err)
	case errors.Is(err, tokens.ErrShutdown):
		return because(reasons.Unavailable, step, err)
	case errors.As(err, &pause):
		e := because(reasons.Unavailable, step, err)
		if pause.Err != nil {
			e = As(OfServer(step, pause.Err)).Cause
		}
		e.RetryAfter = max(time.Until(pause.Until), time.Second)
		return e
	case errors.Is(err, identity.ErrMismatch), errors.As(err, &w):
		return OfServer(step, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("authagent: %s: %w", step, err)
	}
	return OfSite(step, err)
}
