package grants

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/authagent-go/authagent/audit"
)

// A PageAgent is what the page "agent.html" of Policy.Template is executed with: all that
// there is about one agent in an account.
type PageAgent struct {
	PageFrame
	Texts
	Path  string // of the list; forms are posted to paths below it
	Site  string // the site's host
	Done  string // as in Page
	ID    string // in the path of this page, below Path and "agents/", and for the field "agent" of forms
	Label PageName

	Grants   []PageGrant   // one for each scenario, those in force first
	Unknown  []PageUnknown // what nobody knows whether it was done, the oldest first
	Used     *LastUse      // nil if it was never used
	Sessions []PageSession
	More     int        // live sessions that are not in Sessions
	Deeds    []PageDeed // one page of them, the latest first

	Number, Pages int    // of the page of deeds
	Before, After string // links to the pages of deeds beside this one; empty where there is none
}

// First is the first of Grants.
func (a PageAgent) First() PageGrant { return a.Grants[0] }

// Undo returns the grant that the owner has just revoked, nil if there is none. One whose time
// was over then is none: to undo that would give it time anew.
func (a PageAgent) Undo() *PageGrant {
	i := slices.IndexFunc(a.Grants, func(g PageGrant) bool { return g.State == Revoked && g.ID == a.ID && g.Keeps() })
	if a.Done != "revoked" || i < 0 {
		return nil
	}
	return &a.Grants[i]
}

// A PageSession is a live session.
type PageSession struct {
	Activity
	Texts
}

// A PageDeed is something that an agent did or was refused.
type PageDeed struct {
	Deed
	Texts
	Text    string // in words
	Refused bool
}

// Bare reports whether the words say so little that the route helps.
func (d PageDeed) Bare() bool {
	return d.Route != "" && d.Action == "" && d.Event != audit.LoginSucceeded && d.Event != audit.SessionEnded
}

const deedsPage = 10 // deeds on a page

// newPageAgent returns the page of the agent that has the grant with this ID; false if the
// account has no such grant.
func (p *Policy) newPageAgent(to reader, o Overview, id string, page int) (PageAgent, bool) {
	if o = o.of(id); len(o.Grants) == 0 {
		return PageAgent{}, false
	}
	view := PageAgent{Texts: Texts{to}, Path: p.path(), ID: id, Used: o.lastUsed(o.Grants), Label: newPageName(to, nicknameOf(o.Grants, o.Grants[0]), row{grants: o.Grants}.named())}
	for _, g := range o.Grants {
		shown := p.newPageGrant(to, g, o)
		shown.Several = len(o.Grants) > 1
		view.Grants = append(view.Grants, shown)
		view.More += o.MoreSessions[g.ID]
	}
	for _, u := range first(p.unknown(o), cardsPage) {
		shown := p.newPageUnknown(to, u, o)
		shown.Agent = id
		view.Unknown = append(view.Unknown, shown)
	}
	for _, s := range o.Sessions {
		s.RemoteAddr = showAddress(s.RemoteAddr)
		view.Sessions = append(view.Sessions, PageSession{s, view.Texts})
	}
	view.Pages = max(1, (len(o.Deeds)+deedsPage-1)/deedsPage)
	view.Number = min(page, view.Pages)
	if view.Number > 1 {
		view.Before = "?page=" + strconv.Itoa(view.Number-1)
	}
	if view.Number < view.Pages {
		view.After = "?page=" + strconv.Itoa(view.Number+1)
	}
	from := (view.Number - 1) * deedsPage
	for _, d := range o.Deeds[from:min(from+deedsPage, len(o.Deeds))] {
		view.Deeds = append(view.Deeds, PageDeed{d, view.Texts, p.deed(to, d), d.Outcome == audit.Refused})
	}
	return view, true
}

// of returns what an overview has of the agent that has the grant with this ID, the grants
// in force first; nothing if there is no such grant.
func (o Overview) of(id string) Overview {
	i := slices.IndexFunc(o.Grants, func(g Grant) bool { return g.ID == id })
	if i < 0 {
		return Overview{}
	}
	key, ids := keyOf(o.Grants[i]), make(map[string]bool)
	some := Overview{MoreSessions: make(map[string]int)}
	for _, other := range o.Grants {
		if keyOf(other) == key {
			ids[other.ID] = true
			some.Grants = append(some.Grants, other)
			if n := o.MoreSessions[other.ID]; n > 0 {
				some.MoreSessions[other.ID] = n
			}
		}
	}
	slices.SortStableFunc(some.Grants, func(a, b Grant) int { return cmp.Compare(a.rowPlace(), b.rowPlace()) })
	some.Approvals = only(o.Approvals, func(a Approval) bool { return ids[a.GrantID] })
	some.Allowances = only(o.Allowances, func(a Allowance) bool { return ids[a.GrantID] })
	some.Sessions = only(o.Sessions, func(s Activity) bool { return ids[s.GrantID] })
	some.Uses = only(o.Uses, func(u LastUse) bool { return ids[u.GrantID] })
	some.Deeds = only(o.Deeds, func(d Deed) bool { return ids[d.GrantID] })
	return some
}

func only[T any](all []T, of func(T) bool) (some []T) {
	for _, v := range all {
		if of(v) {
			some = append(some, v)
		}
	}
	return some
}
