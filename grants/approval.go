package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/problem"
)

// The states of an approval that was let through, once. Grants do not have them.
const (
	Reserved State = "reserved" // the action is being performed
	Used     State = "used"     // it was performed
	Unknown  State = "unknown"  // nobody knows whether it was: the process ended in between
)

// An Approval is a single request of an agent that its owner is asked about. It
// is for exactly this request, and for one time.
type Approval struct {
	ID      string          `json:"id"`
	Version int64           `json:"version"` // grows with each change
	UserID  string          `json:"-"`
	GrantID string          `json:"grant,omitempty"`
	Agent   authagent.Agent `json:"agent"`
	Action  string          `json:"action"`
	Digest  string          `json:"-"` // of the request (see action.Request), its description and its amount
	State   State           `json:"state"`

	// Description is what the action would do, as the site has described the agent's request; see
	// Policy.Describe. Words of the agent may be in it. It is empty if the site says nothing.
	Description string `json:"description,omitempty"`

	Method      string `json:"method"`
	Host        string `json:"host,omitempty"`
	Target      string `json:"target"` // path and query
	ContentType string `json:"content_type,omitempty"`
	Body        []byte `json:"-"`

	// Amount is what the action costs, as Policy.Amount has read it; the zero value if that says
	// nothing.
	Amount Amount `json:"amount,omitzero"`

	RequestedAt time.Time `json:"requested_at"`
	ExpiresAt   time.Time `json:"expires_at"`

	// Reservation names the one performance that the approval was let through for, at ReservedAt.
	// Until is when the approval ends if that performance does nothing.
	Reservation string    `json:"reservation,omitempty"`
	ReservedAt  time.Time `json:"reserved_at,omitzero"`
	Until       time.Time `json:"-"`
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
// ([action.Request]), so that its page can send it again. An ID has it because
// every store, of whatever age, keeps one as it is. Nothing is decided by it.
const completeMark = "-c"

// remembered is how long it is known what became of an action, so that the same
// request is not put before the owner again.
const remembered = 24 * time.Hour

// actionRetry is when an agent is told to ask again.
const actionRetry = 15 * time.Second

// Approve implements [action.Approver]: it reserves the owner's approval of a request, once. The
// handler gets the request from the approval's record. A request that the owner was not asked
// about passes without a question if an allowance covers it ([Policy.Allow]).
//
// What the owner approves is the request together with its description ([Policy.Describe]) and
// its amount ([Policy.Amount]). With another one, it is another request.
//
// An approval rests on the grant of the session. If the grant is not in force any more,
// the approval is denied, and Approve returns problem.NoSession.
func (p *Policy) Approve(ctx context.Context, r action.Request) (reserved *action.Reservation, path string, err error) {
	want, err := p.wanted(ctx, r)
	if err != nil {
		return nil, "", err
	}
	asking := p.asking.of(want.UserID)
	if err := asking.take(ctx); err != nil {
		return nil, "", err
	}
	defer asking.give()
	all, err := p.store.OwnerApprovals(ctx, want.UserID)
	if err != nil {
		return nil, "", fmt.Errorf("grants: find approvals of account: %w", err)
	}
	have, known := of(all, want)
	if !known {
		if reserved, err = p.take(ctx, r, want); reserved != nil || err != nil {
			return reserved, "", err
		}
		if err := p.mayAsk(all); err != nil {
			return nil, "", err
		}
		if err := count(r.CountFiling); err != nil { // here, since nothing else waits in a turn
			return nil, "", err
		}
	}
	return p.reserve(ctx, r, have, want)
}

// of returns the one of all approvals of an account that is for the same request as want.
func of(all []Approval, want Approval) (have Approval, known bool) {
	i := slices.IndexFunc(all, func(a Approval) bool { return a.Digest == want.Digest })
	if i < 0 {
		return Approval{}, false
	}
	return all[i], true
}

// wanted is the approval that a request needs. What the site says of the request comes before every
// limit on what owners are asked and on what is performed: those count what is new or approved, and
// without its description no request can be found. How often an agent can have a request described is
// for Config.Limits.Agent and Owner, which a guard asks before it comes here.
func (p *Policy) wanted(ctx context.Context, r action.Request) (Approval, error) {
	description, err := p.describe(ctx, r)
	if err != nil {
		return Approval{}, err
	}
	amount, err := p.amountOf(ctx, r)
	if err != nil {
		return Approval{}, err
	}
	now := time.Now()
	id := newID()
	if r.Complete {
		id += completeMark
	}
	return Approval{
		ID: id, Version: 1, UserID: r.UserID, GrantID: r.GrantID, Agent: r.Agent, Action: r.Action, State: Pending,
		Digest: approval.Described(r.Digest, description, amount.String()), Description: description, Amount: amount,
		Method: r.Method, Host: r.Host, Target: r.Target, ContentType: r.ContentType, Body: r.Body,
		RequestedAt: now, ExpiresAt: now.Add(p.pendingFor()),
	}, nil
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
	_, stands, err := p.restsOn(ctx, a)
	return stands, err
}

// restsOn is rests for an approval that has a grant, which it returns.
func (p *Policy) restsOn(ctx context.Context, a Approval) (g Grant, stands bool, err error) {
	g, err = p.store.Grant(ctx, a.GrantID)
	switch {
	case errors.Is(err, authagent.ErrNotFound):
		return g, false, nil
	case err != nil:
		return g, false, fmt.Errorf("grants: find grant of approval: %w", err)
	}
	return g, g.Now() == Approved && g.UserID == a.UserID, nil
}

// approvalPath is where an agent can look at how an approval stands.
func (p *Policy) approvalPath(id string) string { return p.path() + approvalsPath + id }

// asked tells the owner of an approval that is new.
func (p *Policy) asked(ctx context.Context, r action.Request, a Approval) error {
	if err := p.stands(ctx, a); err != nil {
		return err
	}
	p.notify(ctx, Notice{Kind: EventActionAsked, UserID: a.UserID, Approval: &a, Action: p.words(a.Action), From: r.RemoteAddr})
	return pending()
}

func pending() error {
	return &problem.Error{
		Reason: problem.ApprovalPending, Step: "ask for approval", RetryAfter: actionRetry,
		Err: errors.New("the owner has yet to decide"),
	}
}

// mayAsk bounds what an owner is asked about who has all these approvals: what waits, and what
// was denied in the last hour, lest a denial makes room for more of it.
func (p *Policy) mayAsk(all []Approval) error {
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
	return nil
}

// count calls what counts. A request that was made by hand has nothing that does.
func count(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}
