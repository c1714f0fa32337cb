package grants

import "time"

// overviewJSON is what a program gets in place of the page: an Overview with the
// bodies of what is to be approved, in base64, and what it is in words.
type overviewJSON struct {
	Grants    []Grant        `json:"grants"`
	Approvals []approvalJSON `json:"approvals"`
	Sessions  []Activity     `json:"sessions"`
	Uses      []LastUse      `json:"uses"`
	Deeds     []Deed         `json:"deeds"`
	More      map[string]int `json:"more_sessions,omitempty"`
}

type approvalJSON struct {
	Approval
	Text string `json:"text"`
	Body []byte `json:"body,omitempty"`
}

func (p *Policy) newApprovalJSON(a Approval) approvalJSON {
	return approvalJSON{a, p.actionText(a.Action), a.Body}
}

func (p *Policy) newOverviewJSON(o Overview) overviewJSON {
	out := overviewJSON{Grants: list(o.Grants), Approvals: []approvalJSON{}, Sessions: list(o.Sessions), Uses: list(o.Uses), Deeds: list(o.Deeds), More: o.MoreSessions}
	for _, a := range o.Approvals {
		out.Approvals = append(out.Approvals, p.newApprovalJSON(a))
	}
	return out
}

// list returns s as an empty list where it is nil, which JSON has as null.
func list[T any](s []T) []T { return append([]T{}, s...) }

// A standing is how an approval stands, as its agent is told. Its texts are
// constant, like everything that an agent reads.
type standing struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Detail      string    `json:"detail"`
	Retry       bool      `json:"retry"` // whether to send the request again, sooner or later
	Action      string    `json:"action"`
	Method      string    `json:"method"`
	Target      string    `json:"target"`
	RequestedAt time.Time `json:"requested_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func newStanding(a Approval) standing {
	s := standing{
		ID: a.ID, State: a.Now(), Action: a.Action, Method: a.Method, Target: a.Target, RequestedAt: a.RequestedAt, ExpiresAt: a.ExpiresAt,
	}
	switch s.State {
	case Pending:
		s.Detail, s.Retry = "The account's owner has yet to decide. Look again after the time that Retry-After says.", true
	case Approved:
		s.Detail, s.Retry = "The account's owner has approved this request. Send the same request again: it is let through once.", true
	case Denied:
		s.Detail = "The account's owner has refused this request. Nothing was done."
	case Used:
		s.Detail = "This request was approved once and has been let through once."
	default:
		s.Detail = "The time is over. Nothing was done. The same request, sent again, is put before the account's owner anew."
	}
	return s
}
