package grants

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/authagent-go/authagent/internal/claims"
	"github.com/authagent-go/authagent/internal/panics"
)

//go:embed mails/mail.html
var mailPage string

// A mail is what an owner is told, in words.
type mail struct {
	Lang, Site, Subject string
	What                string
	Items               []string // of a digest
	More                string   // how many more there are
	QuoteHead, Quote    string   // what a single action would do
	Code                template.HTML
	PlainCode           string
	Facts               []fact
	Words               []string // why, and what to do
	Button, Address     string
	Foot                string
}

// A fact is a line such as "When: 29 November 2026, 00:30".
type fact struct{ Name, Value string }

// written returns n with its Subject, Text and HTML. It runs in the background, since it
// asks the site and the store.
func (p *Policy) written(ctx context.Context, n Notice) Notice {
	w := writer{reader: p.reader(ctx, n.UserID, nil), policy: p, n: n, grant: p.grantOf(ctx, n)}
	if site := p.site.Load(); site != nil {
		w.origin = site.Origin
	}
	m := w.mail()
	n.Subject, n.Text = m.Subject, m.text()
	var page bytes.Buffer
	if err := p.post.page.Execute(&page, m); err != nil { // no reason to tell nothing
		p.logger().Error("grants: the HTML of a notice could not be made", "kind", n.Kind, "err", err)
		return n
	}
	n.HTML = page.String()
	return n
}

// grantOf returns the grant that a notice is about. That of a single action or an allowance
// is looked for: without it, the agent is known by its ID alone.
func (p *Policy) grantOf(ctx context.Context, n Notice) (g Grant) {
	var id string
	var known Grant
	switch {
	case n.Grant != nil:
		return *n.Grant
	case n.Approval != nil:
		id, known.Agent = n.Approval.GrantID, n.Approval.Agent
	case n.Allowance != nil:
		id, known.Agent = n.Allowance.GrantID, n.Allowance.Agent
	default:
		return Grant{}
	}
	err := panics.Catch(func() (err error) { g, err = p.store.Grant(ctx, id); return err })
	if err != nil || g.UserID != n.UserID {
		return known
	}
	return g
}

// A writer puts a notice into words.
type writer struct {
	reader
	policy *Policy
	origin string
	n      Notice
	grant  Grant
}

func (w writer) mail() mail {
	m := mail{
		Lang: w.Tag(), Site: w.host(), What: w.part("what"), Facts: w.facts(), Button: w.Text("mail.page"), Address: w.origin + w.n.Path,
		Foot: w.Text("mail.foot"),
	}
	m.Subject = w.subject()
	if m.Site != "" {
		m.Subject = w.Text("mail.subject", "site", m.Site, "what", m.Subject)
	}
	for _, item := range w.n.Items {
		m.Items = append(m.Items, w.Text("mail.digest.item", "time", w.moment(item.At), "what", w.of(item).subject()))
	}
	m.More = w.more()
	if w.n.Approval != nil {
		if m.Quote = quotable(w.n.Approval.Description); m.Quote != "" {
			m.QuoteHead = w.quoteHead()
		}
	}
	m.Code, m.PlainCode = w.code()
	for _, part := range []string{"why", "todo", "notyou"} {
		if text := w.part(part); text != "" {
			m.Words = append(m.Words, text)
		}
	}
	return m
}

func (w writer) quoteHead() string {
	if w.n.Kind == EventUnknown {
		return w.Text("mail.quote.unknown", "site", w.site())
	}
	return w.Text("mail.quote", "site", w.site())
}

// of returns w for an item of a digest, which is about a grant.
func (w writer) of(item Notice) writer {
	w.n, w.grant = item, *item.Grant
	return w
}

func (w writer) moment(t time.Time) string { return w.Moment(t.In(w.zone)) }

// kind is the part of the texts' keys that names the kind of notice.
func (w writer) kind() string {
	if _, known := w.Lookup("mail." + string(w.n.Kind) + ".subject"); known {
		return "mail." + string(w.n.Kind)
	}
	return "mail.other"
}

// part returns a part of the mail: the one about its cause, or the one about its kind.
// There may be none.
func (w writer) part(name string) string {
	key := w.kind() + "." + name
	if _, of := w.Lookup(key + "." + string(w.n.Cause)); of {
		key += "." + string(w.n.Cause)
	}
	if _, has := w.Lookup(key); !has {
		return ""
	}
	return w.Text(key, "agent", w.agent(), "site", w.site(), "action", w.action(), "until", w.moment(w.grant.ExpiresAt),
		"day", w.Day(w.grant.ExpiresAt.In(w.zone), w.now), "decided", w.moment(w.grant.DecidedAt))
}

// subject says in a few words what has happened, in one line.
func (w writer) subject() string {
	if w.action() != "" {
		if text := w.part("subject_action"); text != "" {
			return oneLine(text)
		}
	}
	return oneLine(w.part("subject"))
}

// agent names the agent as a mail may: by what its owner calls it, or by its ID, which
// whoever registered it has chosen.
func (w writer) agent() string {
	if name := w.grant.Nickname; name != "" {
		return w.Text("mail.agent.nicknamed", "name", claims.Show(name))
	}
	if id := w.grant.Agent.ID; isPlainName(id) {
		return w.Text("mail.agent.named", "id", id)
	}
	return w.Text("mail.agent.unnamed")
}

// action is what the site says that a single action is, in the owner's language if the
// site has it.
func (w writer) action() string {
	name := ""
	switch {
	case w.n.Approval != nil:
		name = w.n.Approval.Action
	case w.n.Allowance != nil:
		name = w.n.Allowance.Action
	default:
		return ""
	}
	text, _ := w.Lookup("action." + name)
	return cmp.Or(text, w.n.Action)
}

// host is that of the site; empty if no relying party uses the policy.
func (w writer) host() string {
	if u, err := url.Parse(w.origin); err == nil {
		return u.Host
	}
	return ""
}

func (w writer) site() string { return cmp.Or(w.host(), w.Text("mail.site")) }

// facts are what an owner compares with what they know.
func (w writer) facts() (facts []fact) {
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, fact{w.Text("mail.fact." + name), value})
		}
	}
	if w.n.Kind == EventDigest {
		return nil
	}
	add("action", w.action())
	if a := w.n.Approval; a != nil {
		add("amount", w.policy.costIn(w.reader, a.Action, a.Amount))
	}
	if !w.n.At.IsZero() {
		add("when", w.moment(w.n.At))
	}
	switch w.n.Kind {
	case EventFirstUse, EventNewNetwork:
		add("network", address(w.n.From))
	default:
		add("from", address(w.n.From))
	}
	switch w.n.Kind {
	case EventPending:
		add("decide", w.moment(w.grant.ExpiresAt))
	case EventActionAsked:
		add("decide", w.moment(w.n.Approval.ExpiresAt))
	case EventApproved, EventChanged:
		add("may", w.Beginning(w.policy.may(w.reader, w.grant)))
		add("until", w.moment(w.grant.ExpiresAt))
	case EventAllowed:
		add("may", w.Beginning(w.policy.within(w.reader, *w.n.Allowance)))
		add("until", w.moment(w.n.Allowance.ExpiresAt))
	}
	return facts
}

// code says by which code an owner knows their own agent.
func (w writer) code() (html template.HTML, text string) {
	if w.n.Kind != EventPending {
		return "", ""
	}
	codes := w.policy.codes(w.grant)
	if len(codes) == 0 {
		return "", ""
	}
	key, all := "mail.code.other", strings.Join(codes, ", ")
	if len(codes) == 1 {
		key = "mail.code.one"
	}
	return w.HTML(key, "code", all), w.Text(key, "code", all)
}

// more says how many further notices this one stands for.
func (w writer) more() string {
	key, n := "mail.more", w.n.Count-1
	if w.n.Kind == EventDigest {
		key, n = "mail.items", w.n.Count-len(w.n.Items)
	}
	if n <= 0 {
		return ""
	}
	return w.Count(key, n)
}
