package grants

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/claims"
)

//go:embed pages
var pageFiles embed.FS

const styleName = "style.css"

// PageTemplate returns a new copy of the template that [Handler] uses by default:
// to change parts of, or to start from. Its file is pages/agents.html in this
// package, and it has all the words of the page.
func PageTemplate() *template.Template {
	return template.Must(template.New("agents.html").ParseFS(pageFiles, "pages/*"))
}

// A Page is what Policy.Template is executed with: the agents of one account.
//
// Texts that an agent has chosen or sent have everything written out in them that
// cannot be seen, such as ‹U+202E›; html/template escapes them. Mark them as the
// agent's words. IDs and versions are for the forms, see [Handler].
type Page struct {
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
func (a PageAgent) MayHaveFull() bool { return a.Scenario != readOnlyScenario }

const readOnlyScenario = "ContextualProfile" // see authagent.ContextualProfile

// MayApprove reports whether an agent can be let in after all. One whose request
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

// A PageApproval is a single action with all that would be done.
type PageApproval struct {
	Approval
	Path      string
	Text      string      // what Policy.Approvals or Policy.Actions says of its action
	PlainPath string      // the path of Target without its escapes; empty if it has none
	Query     []PageField // of Target
	Fields    []PageField // the body of a form, in its order; or else
	Body      string      // the body as it is: JSON is indented and without its escapes, and what is no text is dumped in hexadecimal
	Binary    bool        // it is no text
}

// A PageField is a field of a form or query.
type PageField struct{ Name, Value string }

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

func (p *Policy) newPageApproval(a Approval) PageApproval {
	view := PageApproval{Approval: a, Path: p.path(), Text: p.actionText(a.Action)}
	view.State, view.Agent = a.Now(), showAgent(a.Agent)
	view.Target, view.ContentType, view.Method, view.Host = claims.Show(a.Target), claims.Show(a.ContentType), claims.Show(a.Method), claims.Show(a.Host)
	path, query, _ := strings.Cut(a.Target, "?")
	if plain, err := url.PathUnescape(path); err == nil && plain != path {
		view.PlainPath = claims.Show(plain)
	}
	all, _ := approval.Query(query)
	view.Query = showFields(all)
	view.showBody(a)
	return view
}

// showBody shows all of a body, in the form that a human can judge best, and as it
// is wherever it is not exactly what it says it is.
func (v *PageApproval) showBody(a Approval) {
	var indented bytes.Buffer
	decoded, isJSON := approval.JSON(a.Body)
	parsed, isForm := approval.Fields(a.ContentType, a.Body)
	hasMore := slices.ContainsFunc(parsed, func(f approval.Field) bool { return f.HasMore })
	switch {
	case len(a.Body) == 0:
	case !utf8.Valid(a.Body):
		v.Body, v.Binary = hex.Dump(a.Body), true
	case isForm && !hasMore:
		v.Fields = showFields(parsed)
	case isJSON && indents(decoded) && json.Indent(&indented, decoded, "", "  ") == nil:
		v.Body = claims.Show(indented.String())
	case isJSON:
		v.Body = claims.Show(string(decoded))
	default:
		v.Body = claims.Show(string(a.Body))
	}
}

// maxIndented bounds what is added to a body to indent it.
const maxIndented = 64 << 10

// indents reports whether a body stays small when it is indented: one that is
// nested deeply, "[[[[", would grow by the square of its length.
func indents(body []byte) bool {
	added, depth := 0, 0
	for _, c := range body {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
		default:
			continue
		}
		if added += 1 + 2*max(depth, 0); added > maxIndented { // in a string it adds nothing, and errs on the safe side
			return false
		}
	}
	return true
}

func showFields(fields []approval.Field) []PageField {
	all := make([]PageField, len(fields))
	for i, f := range fields {
		all[i] = PageField{claims.Show(f.Name), claims.Show(f.Value)}
	}
	return all
}

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
