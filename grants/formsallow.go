package grants

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/answer"
	"github.com/authagent-go/authagent/problem"
)

// These forms say what an agent may do without a question, and how an action has ended that nobody
// knows about. Those that let an agent do more are allow, and settle with the outcome nothing_done:
// it gives back an amount, or lets an agent ask once more.

// settlePath is what a form about a single action is posted to.
const settlePath = approvalsPath + "settle"

func (h *pageHandler) allowForms() []form {
	return []form{
		{"allow", "allowed", h.confirmed(h.widensAllowance, h.allow)},
		{"stop-allowance", "allowance-stopped", h.stopAllowance},
		{"settle", "settled", h.confirmed(h.widensTaking, h.settleTaking)},
		{settlePath, "settled", h.settleAction},
	}
}

func (h *pageHandler) allow(r *http.Request, to reader, human string) (any, error) {
	terms, err := h.readTerms(r)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.Allow(r.Context(), human, terms)
	if err != nil {
		return nil, err
	}
	return h.policy.newAllowanceJSON(to, a), nil
}

func (h *pageHandler) stopAllowance(r *http.Request, to reader, human string) (any, error) {
	id, name, err := h.ofAllowance(r)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.StopAllowance(r.Context(), human, id, name)
	if err != nil {
		return nil, err
	}
	return h.policy.newAllowanceJSON(to, a), nil
}

func (h *pageHandler) settleTaking(r *http.Request, to reader, human string) (any, error) {
	s, err := h.readSettled(r)
	if err != nil {
		return nil, err
	}
	if err := h.policy.SettleTaking(r.Context(), human, s.grantID, s.action, s.taking, s.performed); err != nil {
		return nil, err
	}
	return h.overview(r, to, human)
}

func (h *pageHandler) settleAction(r *http.Request, to reader, human string) (any, error) {
	id, version, err := seenVersion(r)
	if err != nil {
		return nil, err
	}
	performed, err := outcomeOf(r)
	if err != nil {
		return nil, err
	}
	a, err := h.policy.SettleAction(r.Context(), human, id, version, performed)
	return h.policy.newApprovalJSON(to, a), err
}

// ofAllowance reads which allowance a form is about.
func (h *pageHandler) ofAllowance(r *http.Request) (grantID, name string, err error) {
	if grantID, err = field(r, "id"); err != nil {
		return "", "", err
	}
	if name, err = field(r, "action"); err != nil || !h.policy.Allows(name) {
		return "", "", malformed("action")
	}
	return grantID, name, nil
}

// A settled is what an owner has found out about an action within an allowance.
type settled struct {
	grantID, action, taking string
	performed               bool
}

func (h *pageHandler) readSettled(r *http.Request) (s settled, err error) {
	if s.grantID, s.action, err = h.ofAllowance(r); err != nil {
		return settled{}, err
	}
	if s.taking, err = field(r, "taking"); err != nil {
		return settled{}, err
	}
	s.performed, err = outcomeOf(r)
	return s, err
}

// outcomeOf reads whether an action was performed, which has to be said in so many words.
func outcomeOf(r *http.Request) (performed bool, err error) {
	outcome, err := field(r, "outcome")
	switch {
	case err == nil && outcome == string(action.Performed):
		return true, nil
	case err == nil && outcome == string(action.NothingDone):
		return false, nil
	}
	return false, malformed("outcome")
}

// readTerms reads what an owner allows. The amount is read last: what is wrong with it is said on
// the page, beside what else was chosen.
func (h *pageHandler) readTerms(r *http.Request) (t Terms, err error) {
	if t.GrantID, t.Action, err = h.ofAllowance(r); err != nil {
		return Terms{}, err
	}
	code, err := field(r, "currency")
	i := slices.IndexFunc(h.policy.Allowances[t.Action], func(c Currency) bool { return c.Code == code })
	if err != nil || i < 0 {
		return Terms{}, malformed("currency")
	}
	per, err := field(r, "per")
	n := slices.IndexFunc(perDays[:], func(days int) bool { return per == strconv.Itoa(days) })
	if err != nil || n < 0 {
		return Terms{}, malformed("per")
	}
	t.Days = perDays[n]
	var d Decision
	if err := h.readPeriod(r, &d); err != nil || d.Keep {
		return Terms{}, malformed("days")
	}
	t.For = d.For
	seen, err := field(r, "seen")
	if err != nil {
		return Terms{}, err
	}
	if t.Seen, err = strconv.ParseInt(seen, 10, 64); err != nil || t.Seen < 0 {
		return Terms{}, malformed("seen")
	}
	typed := r.PostForm["amount"]
	if len(typed) != 1 {
		return Terms{}, malformed("amount")
	}
	currency, wrong := h.policy.Allowances[t.Action][i], ""
	if t.Limit, wrong = readAmount(typed[0], currency); wrong != "" {
		t.Limit.Currency = code
		return Terms{}, &problem.Error{Reason: problem.InvalidRequest, Step: "read form", Field: "amount", Err: &wrongAmount{t, currency, typed[0], wrong}}
	}
	return t, nil
}

// A wrongAmount is a form whose amount cannot be read. Its text is for the log, and has nothing of
// what was typed in.
type wrongAmount struct {
	terms    Terms
	currency Currency
	typed    string
	wrong    string
}

func (w *wrongAmount) Error() string { return "the amount is malformed: " + w.wrong }

// showAgain answers with the page of the agent, where the form is open, has what was typed in, and
// says what is wrong with the amount. It reports false where there is no such page.
func (h *pageHandler) showAgain(w http.ResponseWriter, r *http.Request, to reader, human string, err error) (bool, error) {
	var wrong *wrongAmount
	if !errors.As(err, &wrong) || !answer.WantsHTML(r.Header["Accept"]) {
		return false, nil
	}
	overview, err := h.policy.Overview(r.Context(), human)
	if err != nil {
		return false, err
	}
	page, found := h.policy.newPageAgent(to, overview, wrong.terms.GrantID, 1)
	if !found || !page.again(h.policy, wrong) {
		return false, nil
	}
	if page.After != "" { // which is below the path of the page, and not of the form
		page.After = h.policy.agentPath(page.ID) + page.After
	}
	page.Site, page.PageFrame = h.rp.Host(), h.frame(w, to)
	return true, h.showAs(w, http.StatusBadRequest, h.lookup("agent.html"), page)
}

// again opens the form of an allowance with what was typed in, and reports whether there is one.
func (a PageAgent) again(p *Policy, wrong *wrongAmount) bool {
	for _, g := range a.Grants {
		for i := range g.Allowances {
			v := &g.Allowances[i]
			if v.GrantID != wrong.terms.GrantID || v.Action != wrong.terms.Action {
				continue
			}
			typed := []rune(wrong.typed)
			v.Value = string(typed[:min(len(typed), maxTyped)])
			v.choose(p, wrong.terms.Limit.Currency, wrong.terms.Days, int(wrong.terms.For/(24*time.Hour)))
			v.Wrong = v.T("owner.allow.wrong."+wrong.wrong, "currency", wrong.currency.Code, "digits", wrong.currency.Digits)
			return true
		}
	}
	return false
}
