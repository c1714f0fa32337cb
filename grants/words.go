package grants

import (
	"cmp"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authagent-go/authagent"
	"github.com/authagent-go/authagent/audit"
	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/limit"
	"github.com/authagent-go/authagent/internal/scenario"
	"github.com/authagent-go/authagent/problem"
)

// Texts are the words of a page, in the language and time zone of its reader. They are
// taken by their keys, as in {{.T "owner.title"}}. The keys are those of package messages,
// each with its placeholders: {{.T "owner.page" "n" .Number "all" .Pages}}.
type Texts struct{ reader reader }

// T returns a text, which html/template escapes.
func (t Texts) T(key string, args ...any) string { return t.reader.Text(key, args...) }

// Rich returns a text as HTML, with its values escaped and what is strong in it marked.
func (t Texts) Rich(key string, args ...any) template.HTML { return t.reader.HTML(key, args...) }

// Count returns a text for n things.
func (t Texts) Count(key string, n int) string { return t.reader.Count(key, n) }

// Lang is for the lang attribute of the page.
func (t Texts) Lang() string { return t.reader.Tag() }

// Ago says how long ago something was, with the date and time behind it.
func (t Texts) Ago(at time.Time) template.HTML {
	return t.timed(at, t.reader.Ago(at, t.reader.now.In(t.reader.zone)))
}

// Day says on which day something is, with the date and time behind it.
func (t Texts) Day(at time.Time) template.HTML {
	return t.timed(at, t.reader.Day(at.In(t.reader.zone), t.reader.now))
}

// Moment says a date and a time.
func (t Texts) Moment(at time.Time) template.HTML {
	return t.timed(at, t.reader.Moment(at.In(t.reader.zone)))
}

func (t Texts) timed(at time.Time, text string) template.HTML {
	title := ""
	if moment := t.reader.Moment(at.In(t.reader.zone)); moment != text {
		title = ` title="` + template.HTMLEscapeString(moment) + `"`
	}
	return template.HTML(`<time datetime="` + at.UTC().Format(time.RFC3339) + `"` + title + `>` + template.HTMLEscapeString(text) + `</time>`)
}

// A PageName is what an agent is called.
type PageName struct {
	Nickname string // the owner's word
	Claimed  string // what the agent calls itself; to be marked as such
	Short    string // the end of its ID, as it is written out
	texts    Texts
}

// String returns the name in a line of plain text: what the agent calls itself is in
// quotation marks.
func (n PageName) String() string {
	switch {
	case n.Nickname != "":
		return n.Nickname
	case n.Claimed != "":
		return n.texts.T("owner.name.claimed", "name", n.Claimed)
	}
	return n.texts.T("owner.name.none", "id", n.Short)
}

// HTML returns the name for a page, isolated from the text around it.
func (n PageName) HTML() template.HTML {
	return template.HTML("<bdi>" + template.HTMLEscapeString(n.String()) + "</bdi>")
}

// Unchecked reports whether the name is the agent's own word.
func (n PageName) Unchecked() bool { return n.Nickname == "" && n.Claimed != "" }

func newPageName(to reader, nickname string, g Grant) PageName {
	const shown = 6
	id := []rune(g.Agent.ID)
	short := claims.Spell(string(id))
	if len(id) > shown {
		short = "…" + claims.Spell(strings.TrimLeft(string(id[len(id)-shown:]), "_-"))
	}
	return PageName{Nickname: claims.Show(nickname), Claimed: claims.Show(g.Name), Short: short, texts: Texts{to}}
}

// host is that of the site; empty before a relying party uses the policy.
func (p *Policy) host() string {
	site := p.site.Load()
	if site == nil {
		return ""
	}
	_, host, _ := strings.Cut(site.Origin, "://")
	return host
}

// reading is what an owner is told that an agent sees that may read.
func (p *Policy) reading(to reader) string {
	own, _ := to.Lookup("reading")
	if reading := cmp.Or(own, p.Reading); reading != "" {
		return to.Text("owner.reading", "reading", reading)
	}
	return to.Text("owner.reading.all")
}

// actionIn is what an owner is told that an action is, in the owner's language.
func (p *Policy) actionIn(to reader, name string) string {
	own, _ := to.Lookup("action." + name)
	return cmp.Or(own, p.actionText(name))
}

// may says what a grant gives while it is in force, as the end of a sentence: "see your
// account, and place orders".
func (p *Policy) may(to reader, g Grant) string {
	switch {
	case g.Access == authagent.AccessNone:
		return to.Text("owner.may.none")
	case g.Access == authagent.AccessFull && scenario.MayHaveFull(g.Scenario):
		return to.Text("owner.may.full")
	}
	read := to.Text("owner.may.read", "reading", p.reading(to))
	if len(g.Actions) == 0 {
		return read
	}
	return to.Text("owner.may.and", "read", read, "actions", p.listed(to, g.Actions))
}

// askedEach says what an agent has to ask its owner about each time; empty if nothing.
func (p *Policy) askedEach(to reader, g Grant, o Overview) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(p.Approvals)), func(name string) bool {
		return o.allowance(g.ID, name).inForce(to.now) && p.Allows(name)
	})
	return p.listed(to, names)
}

// listed has actions inside of a sentence.
func (p *Policy) listed(to reader, names []string) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = to.Inside(p.actionIn(to, name))
	}
	return to.List(texts)
}

// standing says how a grant stands that gives nothing now.
func (t Texts) standing(g Grant) template.HTML {
	switch state := g.Now(); {
	case state == Pending:
		return t.Rich("owner.state.pending", "ago", t.Ago(g.RequestedAt))
	case state == Expired && g.DecidedAt.IsZero():
		return t.Rich("owner.state.undecided", "day", t.Day(g.ExpiresAt))
	case state == Expired:
		return t.Rich("owner.state.expired", "day", t.Day(g.ExpiresAt))
	default:
		key := "owner.state." + string(state)
		if because := key + "." + string(g.Cause); t.has(because) {
			key = because
		}
		return t.Rich(key, "day", t.Day(g.DecidedAt))
	}
}

func (t Texts) has(key string) bool {
	_, has := t.reader.Lookup(key)
	return has
}

// deed says what an agent did, and why it was refused.
func (p *Policy) deed(to reader, d Deed) string {
	event := d.Event
	if event == audit.ActionPerformed && d.Outcome != "" && d.Outcome != audit.OK { // as a Journal knows
		event = "action_tried"
	}
	text, known := to.Lookup("owner.deed." + string(event))
	if !known {
		text = string(d.Event)
	}
	if d.Action != "" {
		text = to.Text("owner.deed.action", "deed", text, "action", to.Inside(p.actionIn(to, d.Action)))
	}
	if d.Reason == "" || d.Reason == problem.ApprovalPending {
		return text
	}
	why, known := to.Lookup("owner.reason." + string(d.Reason))
	if !known {
		why = string(d.Reason)
	}
	return to.Text("owner.deed.why", "deed", text, "why", why)
}

// showAddress is a client's address without its port, which tells an owner nothing.
func showAddress(addr string) string {
	return cmp.Or(limit.Address(addr), claims.Show(addr))
}

// number returns a positive number of a query, and 1 in place of anything else.
func number(s string) int {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return n
	}
	return 1
}
