package grants

import (
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/scenario"
)

// A Page is what Policy.Template is executed with: a view of the agents of one account.
type Page struct {
	PageFrame
	Texts
	Path string // where the page is; forms are posted to paths below it
	Site string // the site's host

	// Done is what the human has just done: "approved", "changed", "denied",
	// "denied-all", "suspended", "revoked", "revoked-all", "renamed", "hidden",
	// "session-ended", "connected", "action-approved", "action-denied", "allowed",
	// "allowance-stopped" or "settled". It is empty if nothing.
	Done string

	// View is what the page shows: "" what waits and the agents that may act, "waiting" all
	// that waits, "past" the agents that may not act, or "actions" the single actions that
	// were decided lately.
	View   string
	Hidden bool   // the view "past" has those that the owner has hidden, in place of the others
	Query  string // what was searched for

	Requests    []PageGrant    // agents that wait to be let in
	Approvals   []PageApproval // single actions that wait to be approved
	Unknown     []PageUnknown  // actions of which the owner has to find out whether they were done
	Restored    []PageRow      // agents that stand still since the site was restored from a backup (CauseRestored), until the owner decides
	Waiting     int            // how many of these four there are
	Undecided   int            // how many of them are Requests and Approvals
	MoreWaiting int            // how many are not on this page
	Agents      []PageRow      // the agents of this view, of which there may be several pages
	Decided     []PageApproval // of the view "actions"

	// How many there are on all pages.
	Allowed, Past, HiddenPast, Actions int

	Number, Pages int    // of this page, and how many the view has
	Before, After string // links to the pages beside this one; empty where there is none

	Reading string // what an agent sees that may read, as in "your account"

	// OwnerStartedOnly says that agents do not ask by themselves.
	OwnerStartedOnly bool

	// ByConsent says that an agent also gets in without an approval here, if its owner has agreed to
	// it at the server where it signs in (Policy.ApproveByConsent).
	ByConsent bool
}

// Searchable reports whether there is so much that searching it helps.
func (p Page) Searchable() bool {
	return p.Query != "" || p.View == "" && p.Allowed > searchable || p.View == "past" && p.Past+p.HiddenPast > searchable
}

// A PageRow is an agent in a list: all its grants in the account.
type PageRow struct {
	Texts
	ID       string // of the grant in Link
	Link     string // the path of its page
	Label    PageName
	May      string        // what it may do, as in "See your account, and place orders"
	Standing template.HTML // how it stands, if it may not act
	Used     *LastUse      // nil if it was never used
	Ends     time.Time     // when its time is over, if that is soon
}

const (
	rowsPage   = 25 // agents or decided actions on a page
	cardsFirst = 3  // what waits, above the agents
	cardsPage  = 10 // what waits, on a page of its own
	searchable = 10
	endsSoon   = 14 * 24 * time.Hour
	maxQuery   = 100
)

// A shown says what an owner wants to see of the list.
type shown struct {
	view   string
	hidden bool
	query  string
	page   int
}

// The parameters of the page's address: each view has one, with the value 1.
var views = [...]string{"waiting", "past", "actions"}

func newShown(q url.Values) (s shown) {
	for _, view := range views {
		if q.Get(view) == "1" {
			s.view = view
		}
	}
	query := []rune(claims.Text(q.Get("q"))) // anybody can write a link with anything
	return shown{view: s.view, hidden: s.view == "past" && q.Get("hidden") == "1", query: string(query[:min(len(query), maxQuery)]), page: number(q.Get("page"))}
}

// link returns the link to a page of the same view.
func (s shown) link(page int) string {
	q := url.Values{}
	if s.view != "" {
		q.Set(s.view, "1")
	}
	if s.hidden {
		q.Set("hidden", "1")
	}
	if s.query != "" {
		q.Set("q", s.query)
	}
	q.Set("page", strconv.Itoa(page))
	return "?" + q.Encode()
}

func (p *Policy) newPage(to reader, o Overview, s shown) Page {
	page := Page{Texts: Texts{to}, Path: p.path(), View: s.view, Hidden: s.hidden, Query: s.query, Reading: p.reading(to), OwnerStartedOnly: p.OwnerStartedOnly, ByConsent: len(p.ApproveByConsent) > 0, Number: 1, Pages: 1}
	allowed, past, hidden := o.rows(s.query)
	page.Allowed, page.Past, page.HiddenPast = len(allowed), len(past), len(hidden)
	requests, asked, decided := o.waiting()
	all := queue(p.unknown(o), requests, asked, o.restored())
	page.Waiting, page.Undecided, page.Actions = len(all), len(requests)+len(asked), len(decided)
	switch {
	case s.view == "waiting":
		page.wait(p, to, o, cut(&page, s, all, cardsPage))
	case s.hidden:
		page.list(p, to, o, cut(&page, s, hidden, rowsPage))
	case s.view == "past":
		page.list(p, to, o, cut(&page, s, past, rowsPage))
	case s.view == "actions":
		for _, a := range cut(&page, s, decided, rowsPage) {
			page.Decided = append(page.Decided, p.newPageApproval(to, a, o))
		}
	default:
		page.list(p, to, o, cut(&page, s, allowed, rowsPage))
		if page.Number == 1 && s.query == "" {
			page.wait(p, to, o, first(all, cardsFirst))
		}
	}
	page.MoreWaiting = page.Waiting - len(page.Requests) - len(page.Approvals) - len(page.Unknown) - len(page.Restored)
	return page
}

// A waiting is one of four: a request to enter, a single action, an action of which nobody
// knows how it has ended, or an agent that a restored backup has stopped.
type waiting struct {
	request  *Grant
	action   *Approval
	unknown  *unknownAction
	restored *row
}

// queue has what waits in the order of the page: what nobody knows about, single actions, of
// agents that are let in already, agents that were let in before, and then requests to enter.
func queue(unknown []unknownAction, requests []Grant, asked []Approval, restored []row) (all []waiting) {
	for i := range unknown {
		all = append(all, waiting{unknown: &unknown[i]})
	}
	for i := range asked {
		all = append(all, waiting{action: &asked[i]})
	}
	for i := range restored {
		all = append(all, waiting{restored: &restored[i]})
	}
	for i := range requests {
		all = append(all, waiting{request: &requests[i]})
	}
	return all
}

func first[T any](all []T, n int) []T { return all[:min(n, len(all))] }

// cut returns the part of all that is on the page that is asked for, and says on the page
// where that is.
func cut[T any](page *Page, s shown, all []T, n int) []T {
	page.Pages = max(1, (len(all)+n-1)/n)
	page.Number = min(s.page, page.Pages)
	if page.Number > 1 {
		page.Before = s.link(page.Number - 1)
	}
	if page.Number < page.Pages {
		page.After = s.link(page.Number + 1)
	}
	from := (page.Number - 1) * n
	return all[from:min(from+n, len(all))]
}

func (page *Page) wait(p *Policy, to reader, o Overview, all []waiting) {
	for _, w := range all {
		switch {
		case w.unknown != nil:
			page.Unknown = append(page.Unknown, p.newPageUnknown(to, *w.unknown, o))
		case w.action != nil:
			page.Approvals = append(page.Approvals, p.newPageApproval(to, *w.action, o))
		case w.restored != nil:
			page.Restored = append(page.Restored, p.newPageRow(to, *w.restored, o))
		default:
			page.Requests = append(page.Requests, p.newPageGrant(to, *w.request, o))
		}
	}
}

func (page *Page) list(p *Policy, to reader, o Overview, rows []row) {
	for _, r := range rows {
		page.Agents = append(page.Agents, p.newPageRow(to, r, o))
	}
}

// waiting returns what waits for the owner, and the single actions that were decided, the
// latest first.
func (o Overview) waiting() (requests []Grant, asked, decided []Approval) {
	for _, g := range o.Grants {
		if g.State == Pending {
			requests = append(requests, g)
		}
	}
	for _, a := range o.Approvals {
		if a.Now() == Pending {
			asked = append(asked, a)
		} else {
			decided = append(decided, a)
		}
	}
	slices.Reverse(decided)
	return requests, asked, decided
}

// A row is all grants of an agent in an account, those in force first.
type row struct {
	grants   []Grant
	nickname string
}

// agents returns the grants of each agent.
func (o Overview) agents() (all []row) {
	at := make(map[agentKey]int)
	for _, g := range o.Grants {
		i, known := at[keyOf(g)]
		if !known {
			i = len(all)
			at[keyOf(g)] = i
			all = append(all, row{})
		}
		all[i].grants = append(all[i].grants, g)
		if all[i].nickname == "" {
			all[i].nickname = g.Nickname
		}
	}
	for _, r := range all {
		slices.SortStableFunc(r.grants, func(a, b Grant) int { return a.rowPlace() - b.rowPlace() })
	}
	return all
}

// restored returns the agents of which a restored backup has stopped something, until the owner decides.
func (o Overview) restored() (some []row) {
	for _, r := range o.agents() {
		if i := slices.IndexFunc(r.grants, Grant.restored); i >= 0 {
			r.grants[0], r.grants[i] = r.grants[i], r.grants[0] // by which the row is known
			some = append(some, r)
		}
	}
	return some
}

// restored reports whether a restored backup has stopped the agent, and its owner has not decided yet.
func (g Grant) restored() bool { return g.State == Suspended && g.Cause == CauseRestored && !g.Hidden }

// rows returns the agents that may act, and those that may not: the ones that the owner
// wants to see, and the others. What only waits is none of them.
func (o Overview) rows(query string) (allowed, past, hidden []row) {
	for _, r := range o.agents() {
		if !r.matches(query) {
			continue
		}
		switch g := r.grants[0]; {
		case g.State == Approved:
			allowed = append(allowed, r)
		case g.State == Pending, slices.ContainsFunc(r.grants, Grant.restored):
		case g.Hidden:
			hidden = append(hidden, r)
		default:
			past = append(past, r)
		}
	}
	return allowed, past, hidden
}

// agentKey is the same for the grants that are one row.
type agentKey struct{ issuer, id, subject string }

func keyOf(g Grant) agentKey { return agentKey{g.Agent.Issuer, g.Agent.ID, g.Subject} }

// rowPlace is where a grant stands among those of its agent: what is in force, what is over
// and shown, what is hidden, and what waits, which stands above all agents.
func (g Grant) rowPlace() int {
	switch {
	case g.State == Approved:
		return 0
	case g.State == Pending:
		return 3
	case g.Hidden:
		return 2
	}
	return 1
}

// matches reports whether the owner's word, the agent's words or the ID of an agent have
// what was searched for, in capital letters or small ones.
func (r row) matches(query string) bool {
	query = strings.ToLower(query)
	texts := []string{r.nickname}
	for _, g := range r.grants {
		texts = append(texts, g.Name, g.Model, g.Agent.ID)
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), query) })
}

func (p *Policy) newPageRow(to reader, r row, o Overview) PageRow {
	g := r.grants[0]
	view := PageRow{Texts: Texts{to}, ID: g.ID, Link: p.agentPath(g.ID), Label: newPageName(to, r.nickname, r.named()), Used: o.lastUsed(r.grants)}
	if g.State != Approved {
		view.Standing = view.standing(g)
		return view
	}
	var all Grant
	for _, g := range r.grants {
		if g.State != Approved {
			continue
		}
		if !scenario.MayHaveFull(g.Scenario) {
			g.Access = min(g.Access, authagent.AccessRead)
		}
		all.Access = max(all.Access, g.Access)
		all.Actions = append(all.Actions, g.Actions...)
		if time.Until(g.ExpiresAt) < endsSoon {
			view.Ends = g.ExpiresAt
		}
	}
	all.Actions = slices.Compact(slices.Sorted(slices.Values(all.Actions)))
	view.May = to.Beginning(p.mayWithin(to, p.may(to, all), r.grants, o))
	return view
}

// named returns a grant that says what the agent calls itself; the first if none does.
func (r row) named() Grant {
	if i := slices.IndexFunc(r.grants, func(g Grant) bool { return g.Name != "" }); i >= 0 {
		return r.grants[i]
	}
	return r.grants[0]
}

// lastUsed returns the last use of several grants, nil if there is none.
func (o Overview) lastUsed(of []Grant) (last *LastUse) {
	for _, g := range of {
		if use := o.used(g); use != nil && (last == nil || use.SeenAt.After(last.SeenAt)) {
			last = use
		}
	}
	return last
}

// agentPath is the path of an agent's own page, by one of its grants.
func (p *Policy) agentPath(grantID string) string {
	return p.path() + agentsPath + url.PathEscape(grantID)
}
