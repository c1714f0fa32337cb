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

// PageTemplate returns a new copy of the template that [Handler] uses by default: to change
// parts of, or to start from. Its files are in the folder pages of this package: agents.html
// is executed with a [Page], agent.html with a [PageAgent]. Their words are texts of package
// messages, with keys that begin with "owner.".
//
// These blocks are for a site to replace, and are on all pages. "title" is the page's title;
// the others are empty: "header" and "footer" stand before and after the main part, and
// "back" at its beginning, for a way back to the account.
func PageTemplate() *template.Template {
	return template.Must(template.New("agents.html").Funcs(template.FuncMap{"frame": framePart}).ParseFS(pageFiles, "pages/*"))
}

// A PageGrant is one grant and what an owner can decide about it.
//
// In texts that an agent has chosen or sent, invisible characters are written out, as
// in ‹U+202E›. html/template escapes these texts. Mark them as the agent's words. IDs
// and versions are for the forms, see [Handler].
type PageGrant struct {
	Grant
	Texts
	Path    string
	Site    string // the site's host
	Label   PageName
	Codes   []string     // the comparison codes of a request; the agent shows the first, or another while keys rotate
	May     string       // what the grant gives, as in "see your account, and place orders"
	Read    string       // what it gives without full access and actions
	Again   string       // what it gives without full access and what the site no longer offers
	Asks    string       // what the agent has to ask about each time, empty if nothing
	Reading string       // what it sees that may read, as in "your account"
	Used    *LastUse     // nil if the grant was never used
	Offered []PageAction // what an owner can allow
	Periods []PagePeriod // how long an owner can allow it for
	Several bool         // the agent has grants in several scenarios

	Allowances []PageAllowance // what it may do without a question, and what it could be allowed so
}

// MayHaveFull reports whether AccessFull would mean anything: some scenarios
// give no more than AccessRead.
func (g PageGrant) MayHaveFull() bool { return scenario.MayHaveFull(g.Scenario) }

// HasFull reports whether the grant gives full access, or gave it.
func (g PageGrant) HasFull() bool { return g.Access == authagent.AccessFull && g.MayHaveFull() }

// MayApprove reports whether an agent can be let in after all. An agent whose request
// was not decided in time has to ask again.
func (g PageGrant) MayApprove() bool {
	return g.State != Expired || !g.DecidedAt.IsZero()
}

// Over reports whether the agent may not act and does not wait.
func (g PageGrant) Over() bool { return g.State.over() }

// Keeps reports whether the time that the grant has can be kept.
func (g PageGrant) Keeps() bool { return g.keeps() }

// KeepText says until when that is.
func (g PageGrant) KeepText() string {
	return g.T("owner.choice.keep", "day", g.reader.Day(g.ExpiresAt.In(g.reader.zone), g.reader.now))
}

// Gave reports whether the grant once gave something: its owner had let the agent in.
func (g PageGrant) Gave() bool { return g.Over() && g.State != Denied && !g.DecidedAt.IsZero() }

// How says in which way the agent acts.
func (g PageGrant) How() string { return g.ofScenario("owner.detail.how."+g.Scenario, g.Scenario) }

// As says in which way the agent acts, as a heading above what it may do.
func (g PageGrant) As() string {
	return g.ofScenario("owner.agent.as."+g.Scenario, g.T("owner.agent.as", "scenario", g.Scenario))
}

func (g PageGrant) ofScenario(key, other string) string {
	if text, ok := g.reader.Lookup(key); ok {
		return text
	}
	return other
}

// Standing says how a grant stands that is not in force.
func (g PageGrant) Standing() template.HTML { return g.standing(g.Grant) }

// Days is for how many days the agent is let in unless the owner chooses another time; 0 if
// that is less than a day.
func (g PageGrant) Days() int {
	for _, period := range g.Periods {
		if period.Default {
			return period.Days
		}
	}
	return 0
}

// A PageAction is an action that an agent can be allowed by name.
type PageAction struct {
	Name    string
	Text    string // what the site says that it is; its name if that says nothing
	Allowed bool   // to this agent, now or before it was stopped
}

// A PagePeriod is how long an agent can be let in for.
type PagePeriod struct {
	Days    int
	Default bool
}

func (p PagePeriod) duration() time.Duration { return time.Duration(p.Days) * 24 * time.Hour }

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

func (p *Policy) newPageGrant(to reader, g Grant, o Overview) PageGrant {
	view := PageGrant{
		Texts: Texts{to}, Path: p.path(), Site: p.host(), Periods: p.periods(), Label: newPageName(to, nicknameOf(o.Grants, g), g),
		May: p.may(to, g), Asks: p.askedEach(to, g, o), Allowances: p.allowances(to, g, o), Reading: p.reading(to), Used: o.used(g),
	}
	if g.State == Pending {
		view.Codes = p.codes(g)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		had := g.State != Pending && slices.Contains(g.Actions, name) // nothing is chosen beforehand for an agent that asks
		view.Offered = append(view.Offered, PageAction{Name: name, Text: p.actionIn(to, name), Allowed: had})
	}
	again := Grant{Access: authagent.AccessRead}
	view.Read = p.may(to, again)
	for _, a := range view.Offered {
		if a.Allowed {
			again.Actions = append(again.Actions, a.Name)
		}
	}
	view.Again = p.may(to, again)
	view.Grant = showGrant(g)
	return view
}

// showGrant writes out what cannot be seen of what others have written.
func showGrant(g Grant) Grant {
	if g.Subject == g.Agent.ID { // a guest, which acts for no user of the server
		g.Subject = ""
	}
	g.Agent, g.Name, g.Model, g.Subject = showAgent(g.Agent), claims.Show(g.Name), claims.Show(g.Model), claims.Show(g.Subject)
	g.Nickname, g.RequestedFrom = claims.Show(g.Nickname), showAddress(g.RequestedFrom)
	return g
}

// showAgent writes an agent so that an owner who compares it sees each difference.
func showAgent(a authagent.Agent) authagent.Agent {
	return authagent.Agent{Issuer: claims.Spell(a.Issuer), ID: claims.Spell(a.ID)}
}

// used returns the last use of a grant, nil if there is none.
func (o Overview) used(g Grant) *LastUse {
	for _, use := range o.Uses {
		if use.GrantID == g.ID {
			use.RemoteAddr = showAddress(use.RemoteAddr)
			return &use
		}
	}
	return nil
}
