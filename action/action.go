// Package action has what is between an agent that wants to do something and its owner: the
// [Request], the [Approver] who is asked, and the [Reservation] of the one time that the action
// may be performed. It is what authagent.RelyingParty's RequireApproval and Approve work with.
package action

import (
	"context"
	"net/http"

	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/approval"
)

// An Approver asks the owner of an account about a single action of an agent. grants.Policy is
// one. It is safe for concurrent use.
type Approver interface {
	// Approve reserves the owner's approval of this request for one performance of the action:
	// once for each approval, however many callers ask at the same time. The reservation has the
	// request as the owner has approved it: request with Method, Host, Target, ContentType and
	// Body from the approval's record. The handler gets these. A request with another Digest is
	// refused as the site's fault.
	//
	// Otherwise the error says why not, such as problem.ApprovalPending if the owner has yet to
	// decide. path is where the agent can see how its request stands; empty for nowhere. ctx has
	// the agent's session in it.
	//
	// An Approver calls CountFiling before it shows a new request to the owner, and
	// CountPerforming before it reserves an approval. It returns their errors.
	Approve(ctx context.Context, request Request) (reserved *Reservation, path string, err error)
}

// A Request is what an agent wants to do.
type Request struct {
	Agent      audit.Agent
	UserID     string // on whose behalf
	SessionID  string
	GrantID    string // of the session; empty if its link policy has no grants
	RemoteAddr string // the client's address, without a port
	Action     string

	// What is sent. A request that is no HTTP request has a Body alone: the payload.
	Method      string
	Host        string // that the client has named, with its port if it has named one
	Target      string // path and query, as the client has sent them
	ContentType string
	Body        []byte // without the fields that RequireApproval was told to ignore

	// Complete says that Method, Target, ContentType and Body are all that an agent has to send
	// again: there is no Idempotency-Key and no ignored field. A page can send such a request.
	Complete bool

	// Digest is the same for the same action and request of the same agent for the same user, and
	// for nothing else. Of a form, it covers the fields in their order, but not their encoding; of
	// the headers, Content-Type and Idempotency-Key, another of which does the same thing twice.
	// Of a payload it covers each byte.
	Digest string

	// CountFiling counts a request that is new to its owner against Config.Limits.Actions. If the
	// limit is reached, it returns an error and counts nothing. CountPerforming counts an action
	// that is about to be performed, in a budget of its own, unless Approve then returns an error.
	CountFiling, CountPerforming func() error

	// Route is what the router has made of the address, with the path values; nil if there is none.
	Route *http.Request
}

// HTTP returns the request as an HTTP request with the context ctx, for a function that describes
// it to owners. It has what the handler can rely on (see RequireApproval), without the ignored
// fields. Each call returns another one. HTTP returns nil if this is no HTTP request.
func (r Request) HTTP(ctx context.Context) *http.Request {
	return approval.HTTP(ctx, r.Route, r.Method, r.Host, r.Target, r.ContentType, r.Body)
}
