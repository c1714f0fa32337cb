// Package asked makes of what was read of an agent's request what its owner is asked, and
// holds what was approved against it.
package asked

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/approval"
)

// A Question is what an owner is asked about.
type Question struct {
	Action string
	Read   *approval.Request
	Route  *http.Request // see action.Request
}

// Request returns the question as an Approver gets it, with who asks and what else by says.
func (q Question) Request(scenario string, by action.Request) action.Request {
	r := by
	r.Action, r.Route = q.Action, q.Route
	r.Method, r.Host, r.Target, r.ContentType, r.Body = q.Read.Method, q.Read.Host, q.Read.Target, q.Read.ContentType, q.Read.Body
	r.Complete, r.Digest = q.Read.Complete, q.Read.Digest(r.Agent.Issuer, r.Agent.ID, scenario, r.UserID, q.Action)
	return r
}

// Approve makes of what was read what is reserved for the request that was asked about.
func (q Question) Approve(scenario string, asked action.Request, reserved *action.Reservation) error {
	if reserved == nil {
		return errors.New("the Approver has approved nothing, without an error")
	}
	got := reserved.Request
	*q.Read = q.Read.With(got.Method, got.Host, got.Target, got.ContentType, got.Body)
	if q.Request(scenario, asked).Digest != asked.Digest {
		return errors.New("the Approver has approved another request than it was asked about")
	}
	return nil
}

// endIn is how long recording how an action has ended may take.
const endIn = 10 * time.Second

// Perform calls serve, which performs the action that is reserved, and records how that has
// ended. If that cannot be recorded it calls lost.
func Perform(ctx context.Context, reserved *action.Reservation, serve func(), lost func(error)) {
	end := reserved.EndUnknown // as after a panic
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endIn)
		defer cancel()
		if err := end(ctx); err != nil {
			lost(err)
		}
	}()
	serve()
	end = reserved.End
}
