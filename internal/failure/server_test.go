package failure_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/internal/identity"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/internal/tokens"
	"github.com/authagent-go/authagent/internal/wire"
	"github.com/authagent-go/authagent/problem"
)

// late is the error of a connection that took too long.
type late struct{ error }

func (late) Timeout() bool { return true }

// TestOfServer: each error of the back channel has its reason, with the step and the cause.
func TestOfServer(t *testing.T) {
	broken := errors.New("broken")
	unavailable := wire.Error{Kind: wire.Unavailable, Err: broken}
	for name, test := range map[string]struct {
		err  error
		want problem.Reason
	}{
		"no secret":       {wire.ErrSecret, problem.StoreFailed},
		"no assertion":    {wire.ErrAssertion, problem.StoreFailed},
		"nowhere to push": {wire.ErrNowhereToPush, reasons.ServerNotReady},
		"pushed only":     {wire.ErrPushedOnly, reasons.ServerNotReady},
		"push refused":    {&wire.Error{Kind: wire.Refused, Step: wire.PushStep, Code: "invalid_request"}, reasons.ClientRefused},
		"push away":       {&wire.Error{Kind: wire.Unavailable, Step: wire.PushStep}, reasons.Unavailable},
		"panic":           {&wire.Error{Kind: wire.Unavailable, Err: wire.ErrPanic}, problem.StoreFailed},
		"another agent":   {identity.ErrMismatch, reasons.IdentityMismatch},
		"inactive":        {wire.ErrInactive, reasons.TokenRefused},
		"anything else":   {broken, reasons.InvalidResponse},
		"no keys":         {&wire.Error{Kind: wire.Unavailable, Err: wire.ErrKeys}, reasons.KeysUnreadable},
		"overloaded":      {&wire.Error{Kind: wire.Overloaded}, reasons.Overloaded},
		"late":            {&wire.Error{Kind: wire.Unavailable, Err: late{broken}}, reasons.ServerTimeout},
		"away":            {&unavailable, reasons.Unavailable},
		"malformed":       {&wire.Error{Kind: wire.Malformed}, reasons.InvalidResponse},
		"invalid":         {&wire.Error{Kind: wire.Invalid}, reasons.TokenRefused},
		"client unknown":  {&wire.Error{Kind: wire.Refused, Code: "invalid_client"}, reasons.ClientRefused},
		"client may not":  {&wire.Error{Kind: wire.Refused, Code: "unauthorized_client"}, reasons.ClientRefused},
		"code refused":    {&wire.Error{Kind: wire.Refused, Code: "invalid_grant"}, reasons.CodeRefused},
		"refused somehow": {&wire.Error{Kind: wire.Refused}, reasons.TokenRefused},
	} {
		err := failure.OfServer("a step", fmt.Errorf("around: %w", test.err))
		var e *problem.Error
		if !errors.As(err, &e) || e.Reason != test.want || e.Step != "a step" || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	if err := failure.OfServer("a step", nil); err != nil {
		t.Error(err)
	}
	for asked, want := range map[time.Duration]time.Duration{0: failure.RetryAfter, time.Minute: time.Minute} {
		e := failure.As(failure.OfServer("a step", &wire.Error{Kind: wire.Overloaded, RetryAfter: asked}))
		if e.RetryAfter != want {
			t.Errorf("asked for %v: %v", asked, e.RetryAfter)
		}
	}
}

// TestOfTokens: likewise for kept tokens. A request that went away is no fault.
func TestOfTokens(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		err  error
		want problem.Reason
	}{
		"ended":         {tokens.ErrEnded, problem.NoSession},
		"inactive":      {wire.ErrInactive, reasons.NotConfirmed},
		"none":          {tokens.ErrNone, reasons.NoTokens},
		"shutting down": {tokens.ErrShutdown, reasons.Unavailable},
		"pause":         {&tokens.Pause{}, reasons.Unavailable},
		"refused pause": {&tokens.Pause{Err: &wire.Error{Kind: wire.Overloaded}}, reasons.Overloaded},
		"another agent": {identity.ErrMismatch, reasons.IdentityMismatch},
		"server":        {&wire.Error{Kind: wire.Malformed}, reasons.InvalidResponse},
		"store":         {broken, problem.StoreFailed},
		"canceled":      {context.Canceled, ""},
		"late":          {context.DeadlineExceeded, ""},
	} {
		err := failure.OfTokens("a step", fmt.Errorf("around: %w", test.err))
		var e *problem.Error
		if errors.As(err, &e) != (test.want != "") || e != nil && (e.Reason != test.want || e.Step != "a step") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if e == nil && (!errors.Is(err, test.err) || err.Error() != "authagent: a step: around: "+test.err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := failure.OfTokens("a step", nil); err != nil {
		t.Error(err)
	}
	for _, left := range []time.Duration{-time.Hour, time.Hour} {
		got := failure.As(failure.OfTokens("a step", &tokens.Pause{Until: time.Now().Add(left)})).RetryAfter
		if want := max(left, time.Second); got > want || got < want-time.Minute {
			t.Errorf("pause of %v: %v", left, got)
		}
	}
}

// TestOfResponse: what a link can say is not repeated, beyond the codes that are known.
func TestOfResponse(t *testing.T) {
	for code, want := range map[string]problem.Reason{
		"access_denied": reasons.AccessDenied, "temporarily_unavailable": reasons.Unavailable, "server_error": reasons.Unavailable,
		"made_up": reasons.AuthorizationFailed,
	} {
		err := failure.OfResponse(&wire.Response{Error: code})
		if e := failure.As(err); e == nil || e.Reason != want {
			t.Errorf("%s: %v", code, err)
		}
	}
	if err := failure.OfResponse(&wire.Response{}); err != nil {
		t.Error(err)
	}
}

// TestOfSite: what a site's code returns counts as it is meant, and everything else is its fault.
func TestOfSite(t *testing.T) {
	broken := errors.New("broken")
	own := &problem.Error{Reason: problem.NoSession, Step: "another step", Err: broken}
	for name, test := range map[string]struct {
		err  error
		want problem.Reason
		step string
	}{
		"its own":  {own, problem.NoSession, "another step"},
		"a reason": {problem.ApprovalPending, problem.ApprovalPending, "a step"},
		"a fault":  {broken, problem.StoreFailed, "a step"},
	} {
		e := failure.As(failure.OfSite("a step", test.err))
		if e == nil || e.Reason != test.want || e.Step != test.step {
			t.Errorf("%s: %v", name, e)
		}
	}
	if failure.OfSite("a step", nil) != nil || failure.As(nil) != nil {
		t.Error("no error is one")
	}
	refused := failure.As(failure.OfApproval(&approval.Refusal{Code: problem.InvalidRequest, Text: "too long"}))
	if failed := failure.As(failure.OfApproval(broken)); refused.Reason != problem.InvalidRequest || failed.Reason != problem.StoreFailed {
		t.Errorf("%v, %v", refused, failed)
	}
}
