package grants

import (
	"cmp"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/authagent-go/authagent"
)

// A PageAllowance is what an owner has allowed an agent to do without a question, or can allow:
// one for each action in Policy.Allowances.
type PageAllowance struct {
	Texts
	ID      string // is on the page once
	Path    string
	GrantID string
	Agent   string // for the field "agent"
	Action  string
	Text    string        // what the site says that the action is
	Allowed bool          // an allowance is in force
	Says    template.HTML // what it allows, as in "Up to 50.00 USD in 30 days, until 3 March. 12.50 USD used, 37.50 USD left."
	Open    int           // how many actions are being done within it
	Seen    int64         // for the field "seen"

	Value      string // for the field "amount"
	Currencies []PageChoice
	Per        []PageChoice
	Periods    []PageChoice

	Wrong string // what is wrong with the amount that was typed in; empty for nothing
}

// A PageChoice is an entry of a list to choose from.
type PageChoice struct {
	Value, Text string
	Chosen      bool
}

// perDays are the periods that an amount can be for. 0 is no period: it is for all of the time.
var perDays = [...]int{1, 7, 30, 0}

// maxTyped is how much of an amount is shown again that was typed in.
const maxTyped = 40

// allowances returns what a grant allows without a question, or could: nothing if it is not in
// force or has nobody's data to act on.
func (p *Policy) allowances(to reader, g Grant, o Overview) (all []PageAllowance) {
	if g.Now() != Approved || g.Access == authagent.AccessNone {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.Allowances)) {
		view := PageAllowance{
			Texts: Texts{to}, ID: g.ID + "-" + strconv.Itoa(len(all)), Path: p.path(), GrantID: g.ID, Agent: g.ID, Action: name, Text: p.actionIn(to, name),
		}
		a := o.allowance(g.ID, name)
		view.Seen = a.Terms
		if a.inForce(to.now) {
			view.Allowed, view.Says = true, p.allowanceIn(to, a)
			view.Open = len(only(a.Open, func(t Taking) bool { return !t.Unknown }))
			if c, known := p.currency(name, a.Limit.Currency); known {
				view.Value = to.decimal(a.Limit.Value, c)
			}
		}
		view.choose(p, a.Limit.Currency, a.Days, 0)
		all = append(all, view)
	}
	return all
}

// choose fills the lists of a form, with what was chosen before.
func (v *PageAllowance) choose(p *Policy, currency string, per, days int) {
	v.Currencies, v.Per, v.Periods = nil, nil, nil
	for _, c := range p.Allowances[v.Action] {
		v.Currencies = append(v.Currencies, PageChoice{c.Code, c.Code, c.Code == currency})
	}
	if v.Seen == 0 {
		per = cmp.Or(per, 30)
	}
	for _, n := range perDays {
		v.Per = append(v.Per, PageChoice{strconv.Itoa(n), v.reader.per(n), n == per})
	}
	for _, period := range p.periods() {
		chosen := days == period.Days || days == 0 && period.Default
		v.Periods = append(v.Periods, PageChoice{strconv.Itoa(period.Days), v.Count("owner.choice.days", period.Days), chosen})
	}
}

// per says how long a period is, as in "in 7 days".
func (r reader) per(days int) string {
	if days == 0 {
		return r.Text("owner.allow.total")
	}
	return r.Count("owner.allow.per", days)
}

// Only returns the one currency that there is; empty if there are several.
func (v PageAllowance) Only() string {
	if len(v.Currencies) == 1 {
		return v.Currencies[0].Value
	}
	return ""
}

// allowance returns the one that a grant has for an action; one that is not in force if there is none.
func (o Overview) allowance(grantID, name string) Allowance {
	i := slices.IndexFunc(o.Allowances, func(a Allowance) bool { return a.GrantID == grantID && a.Action == name })
	if i < 0 {
		return Allowance{}
	}
	return o.Allowances[i]
}

// inForce reports whether anything could be taken of a, now or in a later period.
func (a Allowance) inForce(now time.Time) bool {
	return !a.Stopped && now.Before(a.ExpiresAt)
}

// allowanceIn says what an allowance allows.
func (p *Policy) allowanceIn(to reader, a Allowance) template.HTML {
	amount := func(value int64) template.HTML {
		return template.HTML(template.HTMLEscapeString(p.limitIn(to, a.Action, Amount{Value: value, Currency: a.Limit.Currency})))
	}
	return Texts{to}.Rich("owner.allow.says", "amount", amount(a.Limit.Value), "per", template.HTML(template.HTMLEscapeString(to.per(a.Days))),
		"until", Texts{to}.Day(a.ExpiresAt), "used", amount(a.at(to.now).Taken), "left", amount(a.left(to.now)))
}

// within says up to which amount an agent may do something, as in "pay out money up to 50.00 USD
// in 30 days".
func (p *Policy) within(to reader, a Allowance) string {
	return to.Text("owner.may.upto", "action", to.Inside(p.actionIn(to, a.Action)), "amount", p.limitIn(to, a.Action, a.Limit), "per", to.per(a.Days))
}

// mayWithin adds to what an agent may do what it may do without a question, by these grants.
func (p *Policy) mayWithin(to reader, may string, of []Grant, o Overview) string {
	var all []string
	for _, a := range o.Allowances {
		given := slices.ContainsFunc(of, func(g Grant) bool { return g.ID == a.GrantID && g.State == Approved })
		if given && a.inForce(to.now) && p.Allows(a.Action) {
			all = append(all, p.within(to, a))
		}
	}
	if len(all) == 0 {
		return may
	}
	return to.Text("owner.may.within", "may", may, "allowed", to.List(all))
}

// A PageUnknown is an action that was let through, and of which nobody knows whether it was done.
type PageUnknown struct {
	PageApproval
	Taking string // the one of an allowance that it is; empty for a single action
	Agent  string // for the field "agent"; empty on the list
}

// Key is on a page once.
func (u PageUnknown) Key() string { return cmp.Or(u.ID, u.Taking) }

// When is when the action began.
func (u PageUnknown) When() time.Time {
	if u.ReservedAt.IsZero() {
		return u.RequestedAt
	}
	return u.ReservedAt
}

// An unknownAction is what a PageUnknown shows.
type unknownAction struct {
	approval Approval
	taking   string
}

// unknown returns what nobody knows how it has ended, the oldest first.
func (p *Policy) unknown(o Overview) (all []unknownAction) {
	for _, a := range o.Approvals {
		if a.Now() == Unknown {
			all = append(all, unknownAction{approval: a})
		}
	}
	for _, a := range o.Allowances {
		for _, t := range a.Open {
			if t.Unknown && p.Allows(a.Action) { // see Policy.allowance
				all = append(all, unknownAction{a.approval(t), t.ID})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b unknownAction) int { return a.approval.RequestedAt.Compare(b.approval.RequestedAt) })
	return all
}

func (p *Policy) newPageUnknown(to reader, u unknownAction, o Overview) PageUnknown {
	view := PageUnknown{PageApproval: p.newPageApproval(to, u.approval, o), Taking: u.taking}
	view.State = Unknown // an approval without an end of its own looks like one that is over
	return view
}

// waits says why an action waits for its owner although an allowance is in force; "" if nothing is
// to be said.
func (p *Policy) waits(to reader, a Approval, o Overview) string {
	have := o.allowance(a.GrantID, a.Action)
	switch {
	case !have.inForce(to.now) || a.Amount == (Amount{}):
		return ""
	case a.Amount.Currency != have.Limit.Currency:
		return to.Text("owner.action.other-currency", "limit", p.limitIn(to, a.Action, have.Limit))
	case a.Amount.Value > have.left(to.now):
		left := Amount{Value: have.left(to.now), Currency: have.Limit.Currency}
		return to.Text("owner.action.above", "left", p.limitIn(to, a.Action, left))
	}
	return ""
}

// allowanceJSON is what a program gets of an allowance: with what it allows in words, and what is
// left of it.
type allowanceJSON struct {
	Allowance
	Text string `json:"text"`
	Left int64  `json:"left"`
}

func (p *Policy) newAllowanceJSON(to reader, a Allowance) allowanceJSON {
	a = a.at(to.now)
	return allowanceJSON{a, to.Beginning(p.within(to, a)), a.left(to.now)}
}
