package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/reasons"
	"github.com/authagent-go/authagent/problem"
)

// Used is the state of an approval whose action was let through, once. Grants do
// not have it.
const Used State = "used"

// An Approval is a single request of an agent that its owner is asked about. It
// is for exactly this request, and for one time.
type Approval struct {
	ID      string          `json:"id"`
	Version int64           `json:"version"` // grows with each change
	UserID  string          `json:"-"`
	GrantID string          `json:"grant,omitempty"`
	Agent   authagent.Agent `json:"agent"`
	Action  string          `json:"action"`
	Digest  string          `json:"-"` // of the request (see authagent.ActionRequest) and its description
	State   State           `json:"state"`

	// Description is what the action would do, as the site has described the agent's request; see
	// Policy.Describe. Words of the agent may be in it. It is empty if the site says nothing.
	Description string `json:"description,omitempty"`

	Method      string `json:"method"`
	Host        string `json:"host,omitempty"`
	Target      string `json:"target"` // path and query
	ContentType string `json:"content_type,omitempty"`
	Body        []byte `json:"-"`

	RequestedAt time.Time `json:"requested_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Now returns the approval's state at this moment: an approval whose time is over is
// Expired.
func (a Approval) Now() State {
	if !time.Now().Before(a.ExpiresAt) {
		return Expired
	}
	return a.State
}

// completeMark ends the ID of an approval whose request was complete
// ([authagent.ActionRequest]), so that its page can send it again. An ID has it because
// every store, of whatever age, keeps one as it is. Nothing is decided by it.
const completeMark = "-c"

// remembered is how long it is known what became of an action, so that the same
// request is not put before the owner again.
const remembered = 24 * time.Hour

// actionRetry is when an agent is told to ask again.
const actionRetry = 15 * time.Second

// Approve implements [authagent.Approver]: it lets a request through after its owner
// has approved it, and only once. The handler gets the request from the approval's
// record.
//
// What the owner approves is the request together with its description ([Policy.Describe]).
// With another description, it is another request.
//
// An approval rests on the grant of the session. If the grant is not in force any more,
// the approval is denied, and Approve returns problem.NoSession.
func (p *Policy) Approve(ctx context.Context, r authagent.ActionRequest) (approved authagent.ActionRequest, path string, err error) {
	// What is described comes before every limit on what owners are asked and on what is performed:
	// those count what is new or approved, and without its description no request can be found. How
	// often an agent can have a request described is for Config.Limits.Agent and Owner, which a guard
	// asks before it comes here.
	description, err := p.describe(ctx, r)
	if err != nil {
		return approved, "", err
	}
	want := p.newApproval(r, description)
	asking := p.asking.of(want.UserID)
	if err := asking.take(ctx); err != nil {
		return approved, "", err
	}
	defer asking.give()
	if err := p.mayAsk(ctx, r, want); err != nil {
		return approved, "", err
	}
	for range 3 { // each further time because somebody else changed it in between
		a, created, err := p.store.CreateApproval(ctx, want)
		if err != nil {
			return approved, "", fmt.Errorf("grants: create approval: %w", err)
		}
		path = p.approvalPath(a.ID)
		switch state := a.Now(); {
		case created:
			return approved, path, p.asked(ctx, r, a)
		case state == Expired: // nobody decided, or the agent came too late: it is a new request
			want.ID, want.Version = a.ID, a.Version
			if a, err = p.store.UpdateApproval(ctx, want); err == nil {
				return approved, path, p.asked(ctx, r, a)
			}
		case state == Approved:
			if err = p.use(ctx, r, a); err == nil {
				r.Method, r.Host, r.Target, r.ContentType, r.Body = a.Method, a.Host, a.Target, a.ContentType, a.Body
				return r, path, nil
			}
		case state == Denied:
			return approved, path, problem.ActionDenied
		case state == Used:
			return approved, path, problem.Reason(reasons.ApprovalUsed)
		default:
			return approved, path, pending()
		}
		if !errors.Is(err, authagent.ErrConflict) {
			return approved, path, fmt.Errorf("grants: use approval: %w", err)
		}
	}
	return approved, "", fmt.Errorf("grants: use approval: %w", problem.Conflict)
}

func (p *Policy) newApproval(r authagent.ActionRequest, description string) Approval {
	now := time.Now()
	id := newID()
	if r.Complete {
		id += completeMark
	}
	return Approval{
		ID: id, Version: 1, UserID: r.Session.UserID, GrantID: r.Session.GrantID, Agent: r.Session.Agent,
		Action: r.Action, Digest: approval.Described(r.Digest, description), State: Pending, Description: description,
		Method: r.Method, Host: r.Host, Target: r.Target, ContentType: r.ContentType, Body: r.Body,
		RequestedAt: now, ExpiresAt: now.Add(p.pendingFor()),
	}
}

// count calls what counts. A request that was made by hand has nothing that does.
func count(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// use uses an approval up.
func (p *Policy) use(ctx context.Context, r authagent.ActionRequest, a Approval) error {
	if err := p.stands(ctx, a); err != nil {
		return err
	}
	if err := count(r.CountPerforming); err != nil {
		return err
	}
	a.State, a.ExpiresAt = Used, time.Now().Add(remembered)
	_, err := p.store.UpdateApproval(ctx, a)
	return err
}

// stands denies an approval whose grant is not in force. It is asked after the
// approval is in the store: whoever stops a grant denies the approvals that there
// are, and one that comes later finds the grant stopped.
func (p *Policy) stands(ctx context.Context, a Approval) error {
	stands, err := p.rests(ctx, a)
	if err != nil || stands {
		return err
	}
	if _, err := p.applyAction(ctx, a, "", false); err != nil && !errors.Is(err, authagent.ErrConflict) { // or somebody else has
		return err
	}
	return problem.NoSession
}

// rests reports whether the grant that an approval was asked under is in force.
// Without one, the approval rests on the site's own link policy.
func (p *Policy) rests(ctx context.Context, a Approval) (bool, error) {
	if a.GrantID == "" {
		return true, nil
	}
	g, err := p.store.Grant(ctx, a.GrantID)
	switch {
	case errors.Is(err, authagent.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("grants: find grant of approval: %w", err)
	}
	return g.Now() == Approved && g.UserID == a.UserID, nil
}

// approvalPath is where an agent can look at how an approval stands.
func (p *Policy) approvalPath(id string) string { return p.path() + approvalsPath + id }

// asked tells the owner of an approval that is new.
func (p *Policy) asked(ctx context.Context, r authagent.ActionRequest, a Approval) error {
	if err := p.stands(ctx, a); err != nil {
		return err
	}
	p.notify(ctx, Notice{Kind: EventActionAsked, UserID: a.UserID, Approval: &a, Action: p.words(a.Action), From: r.Session.RemoteAddr})
	return pending()
}

func pending() error {
	return &problem.Error{
		Reason: problem.ApprovalPending, Step: "ask for approval", RetryAfter: actionRetry,
		Err: errors.New("the owner has yet to decide"),
	}
}

// mayAsk bounds what an owner is asked about: what waits, and what was denied in the
// last hour, lest a denial makes room for more of it. It counts what is new. What
// waits already may go on waiting.
func (p *Policy) mayAsk(ctx context.Context, r authagent.ActionRequest, want Approval) error {
	all, err := p.store.OwnerApprovals(ctx, want.UserID)
	if err != nil {
		return fmt.Errorf("grants: find approvals of account: %w", err)
	}
	if slices.ContainsFunc(all, func(a Approval) bool { return a.Digest == want.Digest }) {
		return nil
	}
	waiting := 0
	for _, a := range all {
		if state := a.Now(); state == Pending || state == Denied && time.Since(a.RequestedAt) < time.Hour {
			waiting++
		}
	}
	if waiting >= p.maxActions() {
		return &problem.Error{
			Reason: problem.Limited, Step: "ask for approval", RetryAfter: time.Hour,
			Err: fmt.Errorf("%d actions wait for the owner or were denied lately", waiting),
		}
	}
	return count(r.CountFiling)
}
