package grants

import (
	"errors"
	"net/http"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/action"
)

// needsProof reports whether a single action is to be confirmed in person: see ConfirmAbove.
func (p *Policy) needsProof(a Approval) bool {
	return a.Amount.Value <= 0 || a.Amount.Value > p.ConfirmAbove[a.Amount.Currency] // which is 0 for any other currency
}

// widensAllowance is the widening of the form that lets an agent act up to an amount.
func (h *pageHandler) widensAllowance(r *http.Request, to reader, human string) (*unproven, error) {
	t, err := h.readTerms(r)
	if err != nil {
		return nil, err
	}
	g, err := h.policy.ofOwner(r.Context(), human, t.GrantID)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.allowance(r.Context(), t.GrantID, t.Action)
	switch {
	case err != nil && !errors.Is(err, authagent.ErrNotFound):
		return nil, err
	case g.Now() != Approved || a.Terms != t.Seen: // it could come to be what the form says before it is decided
		return nil, authagent.ErrConflict
	}
	given := h.policy.given(t, to.now)
	if !a.under(g).widens(given, to.now) {
		return nil, nil
	}
	label, err := h.label(r, to, human, g)
	if err != nil {
		return nil, err
	}
	u := &unproven{grant: &g}
	u.Text = to.Text("owner.confirm.allow", "agent", label, "within", h.policy.within(to, given), "day", to.Day(given.ExpiresAt.In(to.zone), to.now))
	u.Digest = decided{
		Form: "allow", UserID: human, ID: g.ID, Version: t.Seen, Agent: g.Agent, Subject: g.Subject, Scenario: g.Scenario,
		Actions: []string{t.Action}, For: t.For, Amount: t.Limit.String(), Days: t.Days,
	}.digest()
	return u, nil
}

// given is the allowance that terms give.
func (p *Policy) given(t Terms, now time.Time) Allowance {
	return Allowance{GrantID: t.GrantID, Action: t.Action, Limit: t.Limit, Days: t.Days, ExpiresAt: now.Add(p.allowedFor(t)), Terms: t.Seen + 1}
}

// widens reports whether b gives an agent more than a does: a larger amount, for another period or
// in another currency, or for longer.
func (a Allowance) widens(b Allowance, now time.Time) bool {
	return !a.inForce(now) || b.Limit.Currency != a.Limit.Currency || b.Limit.Value > a.Limit.Value || b.Days != a.Days || b.ExpiresAt.After(a.ExpiresAt)
}

// widensTaking is the widening of the form that says what has become of an action: that it was not
// done gives its amount back.
func (h *pageHandler) widensTaking(r *http.Request, to reader, human string) (*unproven, error) {
	s, err := h.readSettled(r)
	if err != nil || s.performed {
		return nil, err
	}
	g, err := h.policy.ofOwner(r.Context(), human, s.grantID)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.allowance(r.Context(), s.grantID, s.action)
	if err != nil {
		return nil, err
	}
	t, ok := a.unknown(s.taking)
	if !ok {
		return nil, authagent.ErrNotFound
	}
	label, err := h.label(r, to, human, g)
	if err != nil {
		return nil, err
	}
	amount := a.amount(t)
	u := &unproven{grant: &g}
	u.Text = to.Text("owner.confirm.settle", "agent", label, "amount", h.policy.limitIn(to, s.action, amount))
	u.Digest = decided{
		Form: "settle", UserID: human, ID: s.taking, Version: a.Terms, Agent: g.Agent, Scenario: g.Scenario, Actions: []string{s.action},
		Amount: amount.String(), What: string(action.NothingDone),
	}.digest()
	return u, nil
}
