package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Overview is what an owner sees.
type Overview struct {
	Grants     []Grant     `json:"grants"`     // those that wait first, then the latest decided
	Approvals  []Approval  `json:"approvals"`  // the oldest first
	Allowances []Allowance `json:"allowances"` // also those that are over
	Sessions   []Activity  `json:"sessions"`   // of agents that may act, the latest seen first, of each grant at most 50
	Uses       []LastUse   `json:"uses"`       // of each grant that was used
	Deeds      []Deed      `json:"deeds"`      // the latest first; of what was done often, not each time

	// MoreSessions is how many live sessions are not in Sessions, by the grant's ID. All
	// end when the grant is revoked or suspended.
	MoreSessions map[string]int `json:"more_sessions,omitempty"`
}

const (
	maxSessions = 50   // sessions of a grant that an owner is shown
	maxDeeds    = 50   // deeds of a grant, and beyond them one of each kind
	readDeeds   = 2000 // deeds of an account that are looked at for that
)

// Overview returns all that there is about the agents of an account.
func (p *Policy) Overview(ctx context.Context, userID string) (o Overview, err error) {
	o, err = p.agentsOf(ctx, userID)
	sessions, sessionsErr := p.store.OwnerActivity(ctx, userID)
	deeds, deedsErr := p.store.OwnerDeeds(ctx, userID, readDeeds)
	if err := errors.Join(err, sessionsErr, deedsErr); err != nil {
		return Overview{}, fmt.Errorf("grants: read overview: %w", err)
	}
	o.Deeds = shownDeeds(deeds)
	approved := make(map[string]bool)
	for _, g := range o.Grants {
		approved[g.ID] = g.State == Approved
	}
	sessions = slices.DeleteFunc(sessions, func(s Activity) bool { return !approved[s.GrantID] })
	slices.SortFunc(sessions, laterSeen)
	o.Sessions, o.MoreSessions = shownSessions(sessions)
	return o, nil
}

// agentsOf returns what the list of agents shows: an Overview without sessions and deeds, of which an account may have
// thousands.
func (p *Policy) agentsOf(ctx context.Context, userID string) (o Overview, err error) {
	var errs [4]error
	o.Grants, errs[0] = p.store.OwnerGrants(ctx, userID)
	o.Approvals, errs[1] = p.approvalsOf(ctx, userID)
	o.Uses, errs[2] = p.store.OwnerUses(ctx, userID)
	o.Allowances, errs[3] = p.allowancesOf(ctx, userID)
	if err := errors.Join(errs[:]...); err != nil {
		return Overview{}, fmt.Errorf("grants: read agents: %w", err)
	}
	place := make(map[string]int, len(o.Grants))
	for i, g := range o.Grants {
		place[g.ID] = i
	}
	for i, a := range o.Allowances {
		if at, known := place[a.GrantID]; known {
			o.Allowances[i] = a.under(o.Grants[at])
		}
	}
	for i, g := range o.Grants {
		o.Grants[i].State = g.Now()
		if g.State == Pending { // what was decided before is no decision about it
			o.Grants[i].DecidedAt = time.Time{}
		}
	}
	o.sort()
	return o, nil
}

// sort puts what stores return in no order into one that is the same each time.
func (o *Overview) sort() {
	slices.SortFunc(o.Grants, func(a, b Grant) int {
		return cmp.Or(
			cmp.Compare(a.place(), b.place()), b.DecidedAt.Compare(a.DecidedAt), b.RequestedAt.Compare(a.RequestedAt), cmp.Compare(a.ID, b.ID),
		)
	})
	slices.SortFunc(o.Approvals, func(a, b Approval) int { return cmp.Or(a.RequestedAt.Compare(b.RequestedAt), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(o.Uses, func(a, b LastUse) int { return cmp.Or(b.SeenAt.Compare(a.SeenAt), cmp.Compare(a.GrantID, b.GrantID)) })
}

// place puts those that wait first.
func (g Grant) place() int {
	if g.State == Pending {
		return 0
	}
	return 1
}

func laterSeen(a, b Activity) int {
	return cmp.Or(b.SeenAt.Compare(a.SeenAt), cmp.Compare(a.SessionID, b.SessionID))
}

// shownSessions returns the first sessions of each grant, and how many more there are.
func shownSessions(all []Activity) (shown []Activity, more map[string]int) {
	of := make(map[string]int)
	for _, s := range all {
		if of[s.GrantID]++; of[s.GrantID] <= maxSessions {
			shown = append(shown, s)
			continue
		}
		if more == nil {
			more = make(map[string]int)
		}
		more[s.GrantID]++
	}
	return shown, more
}

// shownDeeds returns what an owner is shown of deeds, the latest first. Of each grant
// each kind is there, whatever else the agent does, and however much others do.
func shownDeeds(all []Deed) (shown []Deed) {
	of, same := make(map[string]int), make(map[Deed]int)
	for _, d := range all {
		same[d.kind()]++
		if n := same[d.kind()]; n == 1 || n <= maxSame && of[d.GrantID] < maxDeeds {
			of[d.GrantID]++
			shown = append(shown, d)
		}
	}
	return shown
}

// kind is the same for deeds that are the same to an owner, but for their time.
func (d Deed) kind() Deed {
	d.At, d.UserID, d.Reason = time.Time{}, "", ""
	return d
}

// overviewJSON is what a program gets in place of the page: an Overview with what the
// agents may do in words, the comparison codes of requests, and of what is to be approved
// the bodies, in base64.
type overviewJSON struct {
	Grants     []grantJSON     `json:"grants"`
	Approvals  []approvalJSON  `json:"approvals"`
	Allowances []allowanceJSON `json:"allowances"`
	Sessions   []Activity      `json:"sessions"`
	Uses       []LastUse       `json:"uses"`
	Deeds      []Deed          `json:"deeds"`
	More       map[string]int  `json:"more_sessions,omitempty"`
}

type grantJSON struct {
	Grant
	May   string   `json:"may,omitempty"`   // of a grant in force
	Codes []string `json:"codes,omitempty"` // of one that waits
}

func (p *Policy) newGrantJSON(to reader, g Grant) grantJSON {
	out := grantJSON{Grant: g}
	switch g.Now() {
	case Approved:
		out.May = to.Beginning(p.may(to, g))
	case Pending:
		out.Codes = p.codes(g)
	}
	return out
}

type approvalJSON struct {
	Approval
	Text string `json:"text"`
	Body []byte `json:"body,omitempty"`
}

func (p *Policy) newApprovalJSON(to reader, a Approval) approvalJSON {
	return approvalJSON{a, p.actionIn(to, a.Action), a.Body}
}

func (p *Policy) newOverviewJSON(to reader, o Overview) overviewJSON {
	out := overviewJSON{Grants: []grantJSON{}, Approvals: []approvalJSON{}, Allowances: []allowanceJSON{}, Sessions: list(o.Sessions), Uses: list(o.Uses), Deeds: list(o.Deeds), More: o.MoreSessions}
	for _, g := range o.Grants {
		out.Grants = append(out.Grants, p.newGrantJSON(to, g))
	}
	for _, a := range o.Approvals {
		out.Approvals = append(out.Approvals, p.newApprovalJSON(to, a))
	}
	for _, a := range o.Allowances {
		out.Allowances = append(out.Allowances, p.newAllowanceJSON(to, a))
	}
	return out
}

// list returns s as an empty list where it is nil, which JSON has as null.
func list[T any](s []T) []T { return append([]T{}, s...) }

// approvalsOf returns the approvals of an account, as far as it is known how they have ended.
func (p *Policy) approvalsOf(ctx context.Context, userID string) ([]Approval, error) {
	all, err := p.store.OwnerApprovals(ctx, userID)
	for i := range all {
		if settled, failed := p.settle(ctx, all[i]); failed != nil {
			p.logger().Warn("grants: could not find out how an action has ended", "approval", all[i].ID, "err", failed)
		} else {
			all[i] = settled
		}
	}
	return all, err
}

// allowancesOf is like approvalsOf.
func (p *Policy) allowancesOf(ctx context.Context, userID string) ([]Allowance, error) {
	all, err := p.ownerAllowances(ctx, userID)
	for i := range all {
		if settled, failed := p.settleOpen(ctx, all[i]); failed != nil {
			p.logger().Warn("grants: could not find out how an action within an allowance has ended", "allowance", all[i].ID, "err", failed)
		} else {
			all[i] = settled.at(time.Now())
		}
	}
	slices.SortFunc(all, func(a, b Allowance) int {
		return cmp.Or(cmp.Compare(a.GrantID, b.GrantID), cmp.Compare(a.Action, b.Action))
	})
	return all, err
}
