package grants

import (
	"embed"
	"html/template"
	"maps"
	"slices"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/scenario"
)

//go:embed pages
var pageFiles embed.FS

const styleName = "style.css"

// PageTemplate returns a new copy of the template that [Handler] uses by default:
// to change parts of, or to start from. Its file is pages/agents.html in this
// package, and it has all the words of the page.
func PageTemplate() *template.Template {
	return template.Must(template.New("agents.html").Funcs(template.FuncMap{"frame": framePart}).ParseFS(pageFiles, "pages/*"))
}

// A Page is what Policy.Template is executed with: the agents of one account.
//
// In texts that an agent has chosen or sent, invisible characters are written out, as
// in ‹U+202E›. html/template escapes these texts. Mark them as the agent's words. IDs
// and versions are for the forms, see [Handler].
type Page struct {
	PageFrame

	// Path is where the page is; forms are posted to paths below it.
	Path string

	// Done is what the human has just done: "approved", "changed", "denied",
	// "suspended", "revoked", "revoked-all", "session-ended", "connected",
	// "action-approved" or "action-denied". It is empty if nothing.
	Done string

	Requests  []PageAgent    // agents that wait to be let in
	Approvals []PageApproval // single actions that wait to be approved
	Agents    []PageAgent    // agents that may act
	Others    []PageAgent    // agents that may not: denied, suspended, revoked, expired
	Decided   []PageApproval // single actions that were decided lately

	// OwnerStartedOnly says that agents do not ask by themselves.
	OwnerStartedOnly bool
}

// A PageAgent is one grant and all that there is about it.
type PageAgent struct {
	Grant
	Path         string
	Used         *LastUse     // nil if the grant was never used
	Sessions     []Activity   // live ones, the latest seen first
	MoreSessions int          // live sessions that are not in Sessions
	Deeds        []PageDeed   // the latest first
	Allowed      []PageAction // what Grant.Actions names
	Offered      []PageAction // what an owner can allow
	Periods      []PagePeriod // how long an owner can allow it for
}

// MayHaveFull reports whether AccessFull would mean anything: some scenarios
// give no more than AccessRead.
func (a PageAgent) MayHaveFull() bool { return scenario.MayHaveFull(a.Scenario) }

// MayApprove reports whether an agent can be let in after all. An agent whose request
// was not decided in time has to ask again.
func (a PageAgent) MayApprove() bool {
	return a.State != Expired || !a.DecidedAt.IsZero()
}

// A PageAction is an action that an agent can be allowed by name.
type PageAction struct {
	Name    string
	Text    string // what Policy.Actions says that it is; its name if that says nothing
	Allowed bool   // to this agent
}

// A PagePeriod is how long an agent can be let in for.
type PagePeriod struct {
	Days    int
	Default bool
}

func (p PagePeriod) duration() time.Duration { return time.Duration(p.Days) * 24 * time.Hour }

// A PageDeed is something that an agent did or was refused.
type PageDeed struct {
	Deed
	Text    string // what Policy.Actions or Policy.Approvals says of its action; empty for none
	Refused string // why, as problem.Reason has it; empty if it was not
}

// periods are what an owner can choose from, up to Policy.ApprovedFor.
func (p *Policy) periods() (all []PagePeriod) {
	longest := p.approvedFor()
	for _, days := range [...]int{1, 7, 30, 90} {
		if period := (PagePeriod{Days: days}); period.duration() <= longest {
			period.Default = period.duration() == longest
			all = append(all, period)
		}
	}
	return all
}

func (p *Policy) newPage(o Overview) Page {
	page := Page{Path: p.path(), OwnerStartedOnly: p.OwnerStartedOnly}
	for _, g := range o.Grants {
		a := p.newPageAgent(g, o)
		switch g.State {
		case Pending:
			page.Requests = append(page.Requests, a)
		case Approved:
			page.Agents = append(page.Agents, a)
		default:
			page.Others = append(page.Others, a)
		}
	}
	for _, a := range o.Approvals {
		if a.Now() == Pending {
			page.Approvals = append(page.Approvals, p.newPageApproval(a))
		} else {
			page.Decided = append(page.Decided, p.newPageApproval(a))
		}
	}
	return page
}

func (p *Policy) newPageAgent(g Grant, o Overview) PageAgent {
	g.Agent, g.Name, g.Model, g.RequestedFrom = showAgent(g.Agent), claims.Show(g.Name), claims.Show(g.Model), claims.Show(g.RequestedFrom)
	g.Subject = claims.Show(g.Subject)
	a := PageAgent{Grant: g, Path: p.path(), Periods: p.periods(), MoreSessions: o.MoreSessions[g.ID]}
	for _, use := range o.Uses {
		if use.GrantID == g.ID {
			use.RemoteAddr = claims.Show(use.RemoteAddr)
			a.Used = &use
		}
	}
	for _, s := range o.Sessions {
		if s.GrantID == g.ID {
			s.RemoteAddr = claims.Show(s.RemoteAddr)
			a.Sessions = append(a.Sessions, s)
		}
	}
	for _, d := range o.Deeds {
		if d.GrantID == g.ID {
			a.Deeds = append(a.Deeds, p.newPageDeed(d))
		}
	}
	for _, name := range g.Actions {
		a.Allowed = append(a.Allowed, PageAction{Name: name, Text: p.actionText(name), Allowed: true})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		a.Offered = append(a.Offered, PageAction{Name: name, Text: p.actionText(name), Allowed: slices.Contains(g.Actions, name)})
	}
	return a
}

// showAgent writes an agent so that an owner who compares it sees each difference.
func showAgent(a authagent.Agent) authagent.Agent {
	return authagent.Agent{Issuer: claims.Spell(a.Issuer), ID: claims.Spell(a.ID)}
}

func (p *Policy) newPageDeed(d Deed) PageDeed {
	deed := PageDeed{Deed: d, Refused: string(d.Reason)}
	if d.Action != "" {
		deed.Text = p.actionText(d.Action)
	}
	return deed
}
